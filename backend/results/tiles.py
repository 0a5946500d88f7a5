"""Blocks in, whole tiles out: what every tiled format needs, whatever the chunks of the cube.

A cube arrives in blocks of any size and order, from several threads at once; files want tiles. `Tiles` holds a tile
until its last pixel has come. `Pyramid` does so on every overview level: a finished tile is halved and is a block of
the next level, so overviews cost no second pass and only the tiles at the moving front are held in memory.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

import numpy as np

from processes.kernels import pyramid as kernels

Overview = Literal["average", "mode", "nearest"]


@dataclass
class _Pending:
    values: np.ndarray
    missing: int


class Tiles:
    """Collects blocks of planes of ``height`` x ``width`` pixels into tiles.

    Tiles at the right and lower edge are as small as what lies in the image. Safe to use from several threads.
    """

    def __init__(self, height: int, width: int, tile: Sequence[int], dtype: Any):
        self.height, self.width, self.dtype = height, width, np.dtype(dtype)
        self.tile = (int(tile[0]), int(tile[1]))
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
        key = (plane, ty, tx)
        with self._lock:
            if (held := self._pending.get(key)) is None:
                shape = (bottom - top, right - left)
                held = self._pending[key] = _Pending(np.empty(shape, self.dtype), shape[0] * shape[1])
        # blocks of a cube do not overlap: each thread fills its own pixels
        held.values[y - top : y - top + part.shape[0], x - left : x - left + part.shape[1]] = part
        with self._lock:
            held.missing -= part.size
            if held.missing:
                return None
            return self._pending.pop(key).values


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
    ):
        self.nodata, self.overview, self.dtype = nodata, overview, np.dtype(dtype)
        self.levels = [Tiles(height, width, (tile, tile), dtype)]
        while overview is not None and max(height, width) > tile:
            height, width = -(-height // 2), -(-width // 2)
            self.levels.append(Tiles(height, width, (tile, tile), dtype))

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
