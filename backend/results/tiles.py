"""Blocks in, whole tiles out: what every tiled format needs, whatever the chunks of the cube.

A cube arrives in blocks of any size and order, from several threads at once; files want tiles. `Tiles` holds the parts
of a tile until its last pixel has come, in a `Store`: in memory up to a budget, in a scratch file beyond. `Pyramid` does so on every overview level: a finished tile is halved and is a block of
the next level, so overviews cost no second pass and only the tiles at the moving front are held in memory.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

from processes.kernels import pyramid as kernels

Overview = Literal["average", "mode", "nearest"]


@dataclass(frozen=True)
class _OnDisk:
    offset: int
    shape: tuple[int, int]


@dataclass
class _Pending:
    missing: int
    parts: list[tuple[int, int, np.ndarray | _OnDisk]] = field(default_factory=list)


class Store:
    """Keeps parts of tiles: ``budget`` bytes in memory, the rest in a scratch file whose room is used again.

    Many bands and dates over a wide image leave a row of unfinished tiles each: what they hold grows with the request,
    and only the disk may do so.
    """

    def __init__(self, budget: int, scratch: Path | None = None):
        self.budget, self.held = budget, 0
        self._scratch, self._file, self._end = scratch, -1, 0
        self._free: dict[int, list[int]] = {}
        self._lock = Lock()

    def keep(self, part: np.ndarray) -> np.ndarray | _OnDisk:
        """Keep a copy of ``part``."""
        size = part.nbytes
        with self._lock:
            if self.held + size <= self.budget or self._scratch is None:
                self.held += size
                offset = -1
            elif free := self._free.get(size):
                offset = free.pop()
            else:
                offset, self._end = self._end, self._end + size
            if offset >= 0 and self._file < 0:
                self._file = os.open(self._scratch, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)  # type: ignore[arg-type]
        if offset < 0:
            return part.copy()
        write_all(self._file, np.ascontiguousarray(part).view("u1").reshape(-1), offset)
        return _OnDisk(offset, part.shape)  # type: ignore[arg-type]

    def take(self, kept: np.ndarray | _OnDisk, dtype: np.dtype) -> np.ndarray:
        """The part again; it is no longer kept."""
        if isinstance(kept, np.ndarray):
            with self._lock:
                self.held -= kept.nbytes
            return kept
        size = kept.shape[0] * kept.shape[1] * dtype.itemsize
        values = np.frombuffer(os.pread(self._file, size, kept.offset), dtype).reshape(kept.shape)
        with self._lock:
            self._free.setdefault(size, []).append(kept.offset)
        return values

    def close(self) -> None:
        """Remove the scratch file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._scratch is not None:
            self._scratch.unlink(missing_ok=True)


def write_all(file: int, data: np.ndarray, offset: int) -> None:
    """``pwrite`` until everything is written."""
    view = data.data
    while view:
        done = os.pwrite(file, view, offset)
        view, offset = view[done:], offset + done


class Tiles:
    """Collects blocks of planes of ``height`` x ``width`` pixels into tiles.

    Tiles at the right and lower edge are as small as what lies in the image. Safe to use from several threads.
    """

    def __init__(self, height: int, width: int, tile: Sequence[int], dtype: Any, store: Store | None = None):
        self.height, self.width, self.dtype = height, width, np.dtype(dtype)
        self.tile = (int(tile[0]), int(tile[1]))
        self._store = store or Store(1 << 62)
        self._pending: dict[tuple[Hashable, int, int], _Pending] = {}
        self._lock = Lock()

    @property
    def counts(self) -> tuple[int, int]:
        """Tiles down, tiles across."""
        return -(-self.height // self.tile[0]), -(-self.width // self.tile[1])

    def put(self, plane: Hashable, y0: int, x0: int, block: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """Add a block (2-D) whose upper left pixel is (y0, x0); yields ``(tile row, tile column, values)`` of every
        tile that is whole by that. Values may be a view of ``block``."""
        th, tw = self.tile
        y1, x1 = y0 + block.shape[0], x0 + block.shape[1]
        for ty in range(y0 // th, -(-y1 // th)):
            for tx in range(x0 // tw, -(-x1 // tw)):
                top, left = ty * th, tx * tw
                bottom, right = min(top + th, self.height), min(left + tw, self.width)
                a, b, c, d = max(top, y0), min(bottom, y1), max(left, x0), min(right, x1)
                part = block[a - y0 : b - y0, c - x0 : d - x0]
                if part.shape == (bottom - top, right - left):
                    yield ty, tx, part
                elif (whole := self._add(plane, ty, tx, (top, left, bottom, right), a, c, part)) is not None:
                    yield ty, tx, whole

    def _add(
        self, plane: Hashable, ty: int, tx: int, box: tuple[int, int, int, int], y: int, x: int, part: np.ndarray
    ) -> np.ndarray | None:
        top, left, bottom, right = box
        key, shape = (plane, ty, tx), (bottom - top, right - left)
        kept = self._store.keep(part)
        with self._lock:
            if (held := self._pending.get(key)) is None:
                held = self._pending[key] = _Pending(shape[0] * shape[1])
            held.parts.append((y - top, x - left, kept))
            held.missing -= part.size
            if held.missing:
                return None
            del self._pending[key]
        whole = np.empty(shape, self.dtype)
        for row, column, stored in held.parts:
            values = self._store.take(stored, self.dtype)
            whole[row : row + values.shape[0], column : column + values.shape[1]] = values
        return whole


@dataclass
class Statistics:
    """Running statistics of one band, merged after Chan, Golub and LeVeque (1983)."""

    n: int = 0
    minimum: float = 0.0
    maximum: float = 0.0
    mean: float = 0.0
    m2: float = 0.0
    pixels: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def add(self, tile: np.ndarray, nodata: float | None) -> None:
        """Take in a tile (2-D)."""
        n, low, high, mean, m2 = kernels.summary(tile, *_nodata(tile.dtype, nodata))
        with self._lock:
            self.pixels += tile.size
            if n == 0:
                return
            if self.n == 0:
                self.n, self.minimum, self.maximum, self.mean, self.m2 = n, low, high, mean, m2
                return
            total, delta = self.n + n, mean - self.mean
            self.m2 += m2 + delta**2 * self.n * n / total
            self.mean += delta * n / total
            self.minimum, self.maximum, self.n = min(self.minimum, low), max(self.maximum, high), total

    @property
    def stddev(self) -> float:
        """Standard deviation of the pixels as a population (as GDAL has it)."""
        return float(np.sqrt(self.m2 / self.n)) if self.n else 0.0

    @property
    def valid_percent(self) -> float:
        return 100.0 * self.n / self.pixels if self.pixels else 0.0

    def to_stac(self) -> dict[str, float] | None:
        """STAC ``statistics`` object; None where no pixel is valid."""
        if not self.n:
            return None
        return {
            "minimum": self.minimum,
            "maximum": self.maximum,
            "mean": self.mean,
            "stddev": self.stddev,
            "valid_percent": round(self.valid_percent, 4),
        }


class Pyramid:
    """Tiles of an image and of its overviews, each level half the one before, until one tile holds it all."""

    def __init__(
        self,
        height: int,
        width: int,
        tile: int,
        dtype: Any,
        *,
        overview: Overview | None = "average",
        nodata: float | None = None,
        store: Store | None = None,
    ):
        self.nodata, self.overview, self.dtype = nodata, overview, np.dtype(dtype)
        self.levels = [Tiles(height, width, (tile, tile), dtype, store)]
        while overview is not None and max(height, width) > tile:
            height, width = -(-height // 2), -(-width // 2)
            self.levels.append(Tiles(height, width, (tile, tile), dtype, store))

    def put(self, plane: Hashable, y0: int, x0: int, block: np.ndarray) -> Iterator[tuple[int, int, int, np.ndarray]]:
        """Add a block of the image; yields ``(level, tile row, tile column, values)`` of every tile that is whole."""
        yield from self._put(0, plane, y0, x0, block)

    def _put(
        self, level: int, plane: Hashable, y0: int, x0: int, block: np.ndarray
    ) -> Iterator[tuple[int, int, int, np.ndarray]]:
        tiles = self.levels[level]
        for ty, tx, part in tiles.put(plane, y0, x0, block):
            values = np.ascontiguousarray(part)
            yield level, ty, tx, values
            if level + 1 < len(self.levels):
                th, tw = tiles.tile
                half = halve(values, self.overview or "nearest", self.nodata)
                yield from self._put(level + 1, plane, ty * th // 2, tx * tw // 2, half)


def halve(tile: np.ndarray, method: Overview, nodata: float | None = None) -> np.ndarray:
    """A tile (h, w) at half its resolution: (ceil(h/2), ceil(w/2)), same dtype. NaN and ``nodata`` are left out."""
    out = np.empty((-(-tile.shape[0] // 2), -(-tile.shape[1] // 2)), tile.dtype)
    if method == "nearest":
        kernels.halve_first(tile, out)
    elif method == "mode":
        kernels.halve_mode(tile, out, *_nodata(tile.dtype, nodata))
    elif tile.dtype.kind == "f":
        kernels.halve_mean_float(tile, out)
    else:
        kernels.halve_mean_int(tile, out, *_nodata(tile.dtype, nodata))
    return out


def _nodata(dtype: np.dtype, nodata: float | None) -> tuple[Any, bool]:
    """The kernels' pair ``(nodata, has_nodata)``. NaN is always nodata of floats and needs no telling."""
    if nodata is None or nodata != nodata:
        return dtype.type(0), False
    return dtype.type(nodata), True
