"""HDF5 and netCDF files are read by a process beside this one: a damaged file can crash the library that reads it.

GDAL's HDF5 driver and h5py follow addresses and sizes that stand in the file; a few flipped bits make them read anywhere, or
loop. The crash then costs the reader (`processes.load.guard_child`), not the worker with all its jobs: the read fails like
that of any other unreadable file. The library reads for one thread at a time anyway, so one reader per process is enough; it
starts with the first such file and ends with this process. Only plain data comes back: JSON and pixels.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from processes.errors import ProcessError

CHILD = "processes.load.guard_child"
TIMEOUT = 300.0  # seconds without a sign of life: for a block, or a look at a whole file's headers
CHECK_TIMEOUT = 1800.0  # seconds to read a whole file
REMEMBERED = 1000  # files known to be damaged, or to be sound
MAGIC = (b"\x89HDF\r\n\x1a\n", b"CDF\x01", b"CDF\x02", b"CDF\x05")
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LENGTH = struct.Struct("<Q")  # bytes of JSON that follow

# (path, stamp) -> why it cannot be read; None: it was read whole
_known: OrderedDict[tuple[str, int], str | None] = OrderedDict()


class _Reader:
    """The process that reads, and the socket to it. Answers one question at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._popen: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def ask(self, question: Any, timeout: float, out: np.ndarray | None) -> Any:
        """The answer; pixels go to ``out``. Raises ``OSError`` where the process dies (TimeoutError: says nothing)."""
        connection = self._connected()
        connection.settimeout(timeout)
        text = json.dumps(question).encode()
        connection.sendall(LENGTH.pack(len(text)) + text)
        told = json.loads(_received(connection, LENGTH.unpack(_received(connection, LENGTH.size))[0]))
        if told.get("bytes"):
            assert out is not None and out.nbytes == told["bytes"]
            _fill(connection, out.reshape(-1).view("u1").data)
        return told

    def _connected(self) -> socket.socket:
        if self._socket is not None and self._popen is not None and self._popen.poll() is None:
            return self._socket
        self.end()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", CHILD, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # HDF5 prints its stack of errors
            )
        return self._socket

    def end(self, patience: float = 0.0) -> int:
        """Kill it, if it does not end by itself within ``patience`` seconds; what it ended with (-signal, or status)."""
        if self._socket is not None:
            self._socket.close()
        popen, self._popen, self._socket = self._popen, None, None
        if popen is None:
            return 0
        try:
            return popen.wait(patience)
        except subprocess.TimeoutExpired:
            popen.kill()
            return popen.wait()


def _received(connection: socket.socket, size: int) -> bytearray:
    out = bytearray(size)
    _fill(connection, memoryview(out))
    return out


def _fill(connection: socket.socket, out: memoryview) -> None:
    while len(out):
        got = connection.recv_into(out)
        if not got:
            raise EOFError
        out = out[got:]


_reader = _Reader()


def _forget_reader() -> None:
    global _reader
    _reader = _Reader()  # a forked child must not talk over its parent's socket


os.register_at_fork(after_in_child=_forget_reader)


def is_named(href: str) -> bool:
    """Whether this is GDAL's name of a raster inside an HDF5 or netCDF file."""
    return href[:5].upper() == "HDF5:" or href[:7].upper() == "NETCDF:"


def is_fragile(path: str) -> bool:
    """Whether a local file is HDF5 or netCDF, by its content."""
    try:
        with Path(path).open("rb") as file:
            return file.read(8).startswith(MAGIC)
    except (OSError, ValueError):
        return False


def ask(
    path: str, what: str, /, *, timeout: float | None = None, out: np.ndarray | None = None, **arguments: Any
) -> Any:
    """What `processes.load.guard_child` says to a question about a file; pixels go to ``out``.

    Raises ``RasterioIOError`` where it cannot be read, and for one that crashed the reader or kept it busy for ``timeout``
    seconds (not asked again until the file changes). A reader that others killed (for want of memory) says nothing of the file.
    """
    key, timeout = (path, _stamp(path)), timeout or TIMEOUT
    if (reason := _known.get(key)) is not None:
        raise rasterio.errors.RasterioIOError(reason)
    with _reader.lock:
        try:
            told = _reader.ask([what, key[1], arguments], timeout, out)
        except TimeoutError:
            _reader.end()
            reason = f"reading it took more than {timeout:.0f} s"
            _remember(key, reason)
        except (EOFError, OSError):
            code = _reader.end(patience=5.0)
            name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
            if code >= 0 or -code in FROM_OUTSIDE:
                reason = f"the process that reads it ended with {name}"
            else:
                reason = f"reading it crashed the reader ({name})"
                _remember(key, reason)
    if reason is not None:
        raise rasterio.errors.RasterioIOError(reason)
    if "code" in told:
        raise ProcessError(told["code"], told["error"])
    if "error" in told:
        raise rasterio.errors.RasterioIOError(told["error"])
    return told["value"]


def check(path: str, **arguments: Any) -> None:
    """Read a file whole, once until it changes, before a library in this process may open it.

    ``layer``: only the rasters that GDAL finds at this name. Raises ``RasterioIOError`` where it cannot be read.
    """
    key = (f"{path} {json.dumps(arguments)}", _stamp(path))
    if key not in _known:
        ask(path, "check", timeout=CHECK_TIMEOUT, path=path, **arguments)
        _remember(key, None)


def _remember(key: tuple[str, int], reason: str | None) -> None:
    _known[key] = reason
    while len(_known) > REMEMBERED:
        _known.popitem(last=False)


def _stamp(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def path_of(href: str) -> str:
    """The file of a name of GDAL such as ``HDF5:/a/b.nc://B04`` or ``NETCDF:"/a/b.nc":B04``."""
    if href[:5].upper() == "HDF5:":
        return href[5:].rpartition("://")[0] or href[5:]
    if href[:7].upper() == "NETCDF:":
        return href[7:].rpartition('":')[0].lstrip('"') or href[7:]
    return href


def open_checked(href: str) -> rasterio.DatasetReader:
    """A raster open in this process, for what needs GDAL itself (warping); of HDF5 and netCDF one that was read whole before.

    Raises ``RasterioIOError``.
    """
    if is_named(href):
        check(path_of(href), layer=href)
    return rasterio.open(href)


class GuardedRaster:
    """An HDF5 or netCDF raster, with what loaders use of ``rasterio.DatasetReader``. Any thread may read.

    Raises ``RasterioIOError`` where the file cannot be opened.
    """

    driver = "HDF5Image"

    def __init__(self, href: str):
        self.name, self._path = href, path_of(href)
        told = ask(self._path, "header", href=href)
        self.count: int = told["count"]
        self.shape: tuple[int, int] = tuple(told["shape"])
        self.height, self.width = self.shape
        self.crs = rasterio.crs.CRS.from_wkt(told["crs"]) if told["crs"] else None
        self.transform = Affine(*told["transform"])
        self.dtypes: tuple[str, ...] = tuple(told["dtypes"])
        self.nodatavals: tuple[float | None, ...] = tuple(told["nodatavals"])
        self.scales: tuple[float, ...] = tuple(told["scales"])
        self.offsets: tuple[float, ...] = tuple(told["offsets"])
        self.descriptions: tuple[str | None, ...] = tuple(told["descriptions"])
        self.block_shapes = [tuple(b) for b in told["block_shapes"]]
        self.indexes = tuple(range(1, self.count + 1))
        self._tags: dict[str, str] = told["tags"]

    def tags(self) -> dict[str, str]:
        """The file's metadata."""
        return dict(self._tags)

    def overviews(self, index: int) -> list[int]:
        """None: neither format has any."""
        return []

    def read(self, index: int, *, window: Window | None = None) -> np.ndarray:
        """Stored numbers (rows, columns) of a band. Raises ``RasterioIOError``, ``IndexError``."""
        if not 1 <= index <= self.count:
            raise IndexError(f"band index {index} out of range (not in {self.indexes})")
        window = window or Window(0, 0, self.width, self.height)
        at = [int(v) for v in (window.col_off, window.row_off, window.width, window.height)]
        out = np.empty((at[3], at[2]), self.dtypes[index - 1])
        ask(self._path, "read", out=out, href=self.name, index=index, window=at)
        return out

    def close(self) -> None:
        """Nothing: the reader closes what is not asked for any more."""

    def __enter__(self) -> GuardedRaster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
