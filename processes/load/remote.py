"""Rasters on the web, read piece by piece through the guarded session (`processes.load.fetch`).

GDAL's own web access connects to whatever a name stands for at that moment, and follows redirects unseen. Here GDAL asks
a Python file for its bytes, and every request of that file is checked as any other: scheme, host, the address connected
to, each redirect. An address for GDAL is a plain string, for it travels to workers: behind its ``#`` stand the entries
of ``Env.fetch_allow`` that let it through, and nothing where its host is public.
"""

from __future__ import annotations

import io
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, unquote, urldefrag, urlsplit

from processes.errors import ProcessError
from processes.load.fetch import Fetcher, Guard, shown

PIECE = 64 << 10  # bytes; what is read is fetched in whole pieces, neighbours in one request
KEPT_PIECES = 1024  # of all files together
_ALLOW = "allow="
_MAGIC = {
    b"II*\0": "GTiff", b"MM\0*": "GTiff", b"II+\0": "GTiff", b"MM\0+": "GTiff", b"\0\0\0\x0cjP  \r\n": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG", b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG",
}  # fmt: skip
_local = threading.local()


def is_remote(href: str) -> bool:
    """Whether an address is one of the web."""
    return href.startswith(("http://", "https://"))


def marked(url: str, allow: Sequence[str]) -> str:
    """``url`` as `open_remote` takes it, with what of ``allow`` it needs. Raises as `Guard.check`."""
    plain = urldefrag(url).url
    if not allow:
        return plain
    try:
        Guard().check(plain)
    except ProcessError as error:
        if error.code != "AccessDenied":
            raise
        return f"{plain}#{_mark(allow)}"
    return plain


def mark_assets(items: Iterable[Any], allow: Sequence[str]) -> None:
    """`marked` for the assets of catalogued items that lie on the web; each host is looked up once.

    A host that cannot be found is left for the reading to tell: perhaps nothing of it is read.
    """
    needs: dict[str, bool] = {}
    for asset in (a for i in items for a in i.assets.values() if allow and is_remote(a.href)):
        plain, host = urldefrag(asset.href).url, urlsplit(asset.href).netloc
        if host not in needs:
            try:
                needs[host] = marked(plain, allow) != plain
            except ProcessError:
                needs[host] = False
        asset.href = f"{plain}#{_mark(allow)}" if needs[host] else plain


def _mark(allow: Sequence[str]) -> str:
    return f"{_ALLOW}{','.join(quote(entry, safe='') for entry in allow)}"


def _parts(href: str) -> tuple[str, tuple[str, ...]]:
    url, fragment = urldefrag(href)
    entries = fragment.removeprefix(_ALLOW).split(",") if fragment.startswith(_ALLOW) else []
    return url, tuple(unquote(e) for e in entries)


class _Pieces:
    """Pieces of files that were read last, shared by all threads."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str, int]) -> bytes | None:
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def put(self, key: tuple[str, str, int], data: bytes) -> None:
        with self._lock:
            self._held[key] = data
            while len(self._held) > KEPT_PIECES:
                self._held.popitem(last=False)


_pieces = _Pieces()


def _fetcher(allow: tuple[str, ...]) -> Fetcher:
    """One session per thread and list of hosts: connections stay open between pieces."""
    sessions: dict[tuple[str, ...], Fetcher] = _local.__dict__.setdefault("sessions", {})
    if allow not in sessions:
        sessions[allow] = Fetcher(allow)
    return sessions[allow]


class RemoteFile(io.RawIOBase):
    """A file on the web, read by ranges. Raises `ProcessError` where it cannot be."""

    def __init__(self, href: str):
        self.url, self.allow = _parts(href)
        self._at = 0
        first, self.size, self.stamp = _fetcher(self.allow).part(self.url, 0, PIECE)
        self._keep(0, first)
        self.head = first[:16]

    def _keep(self, first: int, data: bytes) -> None:
        for k in range(0, len(data), PIECE):
            _pieces.put((self.url, self.stamp, first + k // PIECE), data[k : k + PIECE])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence])
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self.size if size is None or size < 0 else min(self._at + size, self.size)
        if stop <= self._at:
            return b""
        start = self._at
        data = b"".join(self._numbered(start // PIECE, -(-stop // PIECE)))
        self._at = stop
        return data[start % PIECE : start % PIECE + stop - start]

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _numbered(self, first: int, stop: int) -> Iterable[bytes]:
        """Pieces ``first`` to ``stop``: those at hand, and each run of missing ones by one request."""
        held = {k: _pieces.get((self.url, self.stamp, k)) for k in range(first, stop)}
        k = first
        while k < stop:
            if (known := held[k]) is not None:
                yield known
                k += 1
                continue
            end = k + 1
            while end < stop and held[end] is None:
                end += 1
            data, size, stamp = _fetcher(self.allow).part(self.url, k * PIECE, min(end * PIECE, self.size))
            if (size, stamp) != (self.size, self.stamp) or len(data) != min(end * PIECE, self.size) - k * PIECE:
                raise ProcessError("StorageFailure", f"{shown(self.url)} has changed while it was read.")
            self._keep(k, data)
            yield data
            k = end


def open_remote(href: str, **options: Any) -> Any:
    """A raster on the web, open for reading with rasterio.

    Only formats that hold their own pixels are opened. Raises ``StorageFailure``, ``AccessDenied``, ``NoDataAvailable``.
    """
    import rasterio

    failures: list[ProcessError] = []

    def opener(path: str, mode: str = "rb", **_: Any) -> RemoteFile:
        # GDAL asks for files beside the raster too (overviews, masks, world files): there are none
        if path != own:
            raise FileNotFoundError(path)
        try:
            return RemoteFile(href)
        except ProcessError as error:
            failures.append(error)
            raise OSError(error.message) from error

    with RemoteFile(href) as file:
        driver = next((d for magic, d in _MAGIC.items() if file.head.startswith(magic)), None)
        name = shown(file.url)
    own = f"{uuid.uuid4().hex}/{name.rpartition('/')[2]}"  # rasterio knows one opener per name
    if driver is None:
        raise ProcessError(
            "StorageFailure",
            f"{name} cannot be used: it is no GeoTIFF, JPEG 2000, PNG or JPEG; other rasters are not read from the web.",
        )
    try:
        return rasterio.open(own, driver=driver, opener=opener, sharing=False, **options)
    except (rasterio.errors.RasterioError, OSError) as error:
        if failures:
            raise failures[0] from error
        raise
