"""Tar archives of unknown origin, plain or gzipped: listed and read with limits, nothing is ever unpacked to disk."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

SUFFIXES = (".tar", ".tar.gz", ".tgz")
MAX_ENTRIES = 10_000
BOMB_RATIO, BOMB_FLOOR = 100, 1 << 30  # an archive that unpacks to over a GiB at more than 100:1 is refused


class BadTar(ValueError):
    """The archive is broken, or one that we are not willing to read; the message says why."""


class _Limited:
    """A stream that may be read up to ``limit`` bytes."""

    def __init__(self, stream: IO[bytes], limit: int):
        self.stream, self.left = stream, limit

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(data)
        if self.left < 0:
            raise BadTar("it unpacks to far more than its size: refused as a bomb")
        return data


def suffix(path: Path) -> str | None:
    """``.tar``, ``.tar.gz`` or ``.tgz`` where the name ends so, as it is written."""
    return next(
        (path.name[-len(s) :] for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(s)), None
    )


@contextmanager
def _open(path: Path) -> Iterator[tarfile.TarFile]:
    """The archive, to be gone through once from its beginning. Raises `BadTar`, OSError."""
    try:
        if path.name.lower().endswith(".tar"):
            with tarfile.open(path, "r:") as tar:
                yield tar
        else:
            limit = max(BOMB_FLOOR, BOMB_RATIO * path.stat().st_size)
            with gzip.open(path) as stream, tarfile.open(fileobj=_Limited(stream, limit), mode="r|") as tar:  # type: ignore[call-overload, arg-type]
                yield tar
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as error:
        if isinstance(error, BadTar):
            raise
        raise BadTar(f"it is damaged: {error}") from None


def members(path: Path) -> dict[str, int]:
    """Names and sizes of an archive's files.

    Raises
    ------
    BadTar
        Broken or cut short; a name that leads out of the archive, a link, a device, too many entries, a bomb.
    OSError
        Unreadable.
    """
    out: dict[str, int] = {}
    size = path.stat().st_size
    plain = path.name.lower().endswith(".tar")
    with _open(path) as tar:
        for count, info in enumerate(tar):
            if count >= MAX_ENTRIES:
                raise BadTar(f"it has more than {MAX_ENTRIES} entries")
            if info.isdir():
                continue
            name = info.name.removeprefix("./")
            if info.name.startswith(("/", "\\")) or ".." in PurePosixPath(info.name).parts or "\\" in info.name:
                raise BadTar(f"it has an unsafe member name: {info.name}")
            if not info.isreg() or info.sparse is not None:
                raise BadTar(f"its member {name} is no plain file (a link or a device)")
            if plain and info.offset_data + info.size > size:
                raise BadTar(f"it is cut short: {name} needs {info.offset_data + info.size} bytes, it has {size}")
            if "path" in info.pax_headers:
                raise BadTar(f"GDAL cannot read names as long as {name} in a tar of this format (pax): unpack it, or pack it with 'tar --format=gnu'")  # fmt: skip
            out[name] = info.size
    return out


def read_member(path: Path, member: str, limit: int) -> bytes:
    """One file of an archive.

    Raises
    ------
    BadTar
        Larger than ``limit``, or no plain file.
    OSError
        Absent or unreadable.
    """
    with _open(path) as tar:
        for info in tar:
            if info.name.removeprefix("./") != member:
                continue
            if info.size > limit:
                raise BadTar(f"{member} of {info.size} bytes is over the limit of {limit}")
            stream = tar.extractfile(info) if info.isreg() else None
            if stream is None:
                raise BadTar(f"{member} is no plain file")
            return stream.read(limit)
    raise FileNotFoundError(2, f"{member} is not in the archive", str(path))
