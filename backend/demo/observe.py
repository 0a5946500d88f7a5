"""One acquisition over one window, block by block, and the cache of what does not change between acquisitions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from backend.demo.geometry import Ground, PixelMap, TileGrid, Track, sun_angles
from backend.demo.scene import MARGIN, Block, Statics, Truth, World
from backend.demo.terrain import cast_shadow
from backend.demo.weather import Weather

STEP = 960
"""Side of a block, pixels of 10 m: a multiple of 60 m, and about 200 MB of working memory."""

_LAYERS = {"gx": "f4", "gy": "f4", "code": "u1", "parcel": "u4", "texture": "i1", "trees": "u1", "wet": "u1"}


@dataclass(frozen=True)
class Grid:
    """The 10 m grid of a window: EPSG code, geotransform and side in pixels."""

    epsg: int
    transform: Affine
    size: int

    @classmethod
    def of(cls, tile: TileGrid) -> Grid:
        """Grid of a Sentinel-2 window."""
        return cls(tile.epsg, tile.transform, tile.size)


def blocks(size: int, rim: int = 0) -> Iterator[Block]:
    """Blocks that cover a square of `size` pixels grown by `rim` on each side, in row order."""
    for row in range(-rim, size + rim, STEP):
        for col in range(-rim, size + rim, STEP):
            yield row, col, min(STEP, size + rim - row), min(STEP, size + rim - col)


class Place:
    """A window of the world with its unchanging layers on disk, opened as memory maps.

    Parameters
    ----------
    world, ground : the world and its plane
    grid : the window
    folder : where `build` has written the layers
    """

    def __init__(self, world: World, ground: Ground, grid: Grid, folder: Path) -> None:
        self.world, self.ground, self.grid, self.folder = world, ground, grid, folder
        self.pixels = PixelMap(ground, grid.epsg, grid.transform, grid.size, MARGIN)

    def build(self) -> None:
        """Compute the layers once."""
        self.folder.mkdir(parents=True, exist_ok=True)
        size, side = self.grid.size, self.grid.size + 2 * MARGIN
        z = np.lib.format.open_memmap(self.folder / "z.npy", "w+", "f4", (side, side))
        for block in blocks(size, MARGIN):
            row, col, height, width = block
            z[row + MARGIN : row + MARGIN + height, col + MARGIN : col + MARGIN + width] = self.world.elevation(
                self.pixels, block
            )
        layers = {
            k: np.lib.format.open_memmap(self.folder / f"{k}.npy", "w+", t, (size, size)) for k, t in _LAYERS.items()
        }
        for block in blocks(size):
            row, col, height, width = block
            found = self.world.statics(self.pixels, block, self._elevation(z, block, 1))
            for name, layer in layers.items():
                layer[row : row + height, col : col + width] = getattr(found, name)
        for layer in (z, *layers.values()):
            layer.flush()

    def statics(self, block: Block) -> Statics:
        """The layers of one block."""
        row, col, height, width = block
        x, y = self.pixels.block(*block)
        found = {
            k: np.array(self._open(k)[row : row + height, col : col + width]) for k in _LAYERS
        }  # fmt: skip
        return Statics(x=x, y=y, z=self._elevation(self._open("z"), block, 0), **found)

    def relief_shade(self, block: Block, track: Track) -> NDArray:
        """Share of the sun hidden by the relief, at the instant of a pass."""
        row, col, height, width = block
        zenith, azimuth = sun_angles(track.time, self.world.lon, self.world.lat)
        east, north = self._to_grid(float(azimuth), row + height // 2, col + width // 2)
        z = self._elevation(self._open("z"), block, MARGIN).astype(np.float64)
        return cast_shadow(z, MARGIN, MARGIN, height, width, east, north, 1 / math.tan(math.radians(float(zenith))))

    def _to_grid(self, azimuth: float, row: int, col: int) -> tuple[float, float]:
        """Unit vector of a ground azimuth in the axes of the window's own grid (turned by the convergence)."""
        x, y = self.pixels.block(row, col, 2, 2)
        east, north = x[0, 1] - x[0, 0], y[0, 1] - y[0, 0]
        turn = math.atan2(north, east)
        angle = math.pi / 2 - math.radians(azimuth) - turn
        return math.cos(angle), math.sin(angle)

    def _open(self, name: str) -> NDArray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    def _elevation(self, z: NDArray, block: Block, rim: int) -> NDArray:
        row, col, height, width = block
        top, left = row + MARGIN - rim, col + MARGIN - rim
        return np.array(z[top : top + height + 2 * rim, left : left + width + 2 * rim])


@dataclass
class Acquisition:
    """One pass over one window."""

    place: Place
    tile: TileGrid
    track: Track
    weather: Weather

    def blocks(self) -> Iterator[tuple[Block, Statics, Truth]]:
        """The truth, block by block."""
        for block in blocks(self.place.grid.size):
            ground = self.place.statics(block)
            shade = self.place.relief_shade(block, self.track)
            yield block, ground, self.place.world.truth(ground, shade, self.track, self.weather)

    def sun(self) -> tuple[float, float]:
        """Zenith and azimuth (degrees) of the sun over the scene, the same for all its tiles."""
        zenith, azimuth = sun_angles(self.track.time, self.place.world.lon, self.place.world.lat)
        return float(zenith), float(azimuth)


class Sink(Protocol):
    """What turns the truth of an acquisition into files."""

    def add(self, block: Block, ground: Statics, truth: Truth) -> None:
        """Take one block."""

    def close(self, error: BaseException | None) -> None:
        """Finish the files; with an error, only let go of them."""


def coarsen(values: NDArray, factor: int) -> NDArray:
    """Mean over squares of `factor` pixels, of the last two axes."""
    *lead, h, w = values.shape
    return values.reshape(*lead, h // factor, factor, w // factor, factor).mean(axis=(-3, -1), dtype=np.float32)


def any_bits(values: NDArray, factor: int) -> NDArray:
    """Bitwise or over squares of `factor` pixels."""
    h, w = values.shape
    squares = values.reshape(h // factor, factor, w // factor, factor)
    return np.bitwise_or.reduce(np.bitwise_or.reduce(squares, axis=3), axis=1)
