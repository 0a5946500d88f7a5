"""The tile matrix set WebMercatorQuad (OGC 17-083r4, annex D): squares of the web mercator plane, halved at each zoom."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log2, pi

from affine import Affine
from odc.geo.geobox import GeoBox

CRS = "EPSG:3857"
HALF = pi * 6378137.0  # metres from the centre of the plane to its edge
MAX_LATITUDE = 85.0511287798066  # where the square plane ends
ZOOMS = range(25)
BLOCK = 512  # pixels along the side of what is computed at once
_PIXEL = 0.28e-3  # metres: the pixel that scale denominators are told for
Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Tile:
    """A tile; ``size`` is its pixels along a side."""

    z: int
    x: int
    y: int
    size: int = 256

    @property
    def exists(self) -> bool:
        """Whether the matrix of this zoom has such a tile."""
        return self.z in ZOOMS and 0 <= self.x < 1 << self.z and 0 <= self.y < 1 << self.z

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north in metres of the plane."""
        side = 2 * HALF / (1 << self.z)
        west, north = self.x * side - HALF, HALF - self.y * side
        return west, north - side, west + side, north

    def block(self) -> Block:
        """The block the tile is computed in."""
        across = min(max(BLOCK // self.size, 1), 1 << self.z)
        return Block(self.z, self.x // across, self.y // across, self.size, across)


@dataclass(frozen=True)
class Block:
    """``across`` x ``across`` tiles computed at once: what a graph costs before its first pixel is shared by them, and
    viewers ask for neighbours. From zoom 2 on blocks lie on the lattice of `processes.resample.warp`, so that a pixel does
    not depend on the block it is computed in."""

    z: int
    x: int
    y: int
    size: int
    across: int

    @property
    def tiles(self) -> list[Tile]:
        """The block's tiles, row by row."""
        return [
            Tile(self.z, self.x * self.across + i, self.y * self.across + j, self.size)
            for j in range(self.across)
            for i in range(self.across)
        ]

    @property
    def grid(self) -> GeoBox:
        """The block's pixels."""
        pixels = self.size * self.across
        step = resolution(self.z, self.size)
        west, _, _, north = self.tiles[0].bounds
        return GeoBox((pixels, pixels), Affine(step, 0, west, 0, -step, north), CRS)

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north in metres of the plane."""
        first, last = self.tiles[0].bounds, self.tiles[-1].bounds
        return first[0], last[1], last[2], first[3]


def resolution(zoom: int, size: int = 256) -> float:
    """Metres of the plane per pixel (on the ground: times the cosine of the latitude)."""
    return 2 * HALF / (size << zoom)


def zoom_of(metres: float, size: int = 256) -> int:
    """The first zoom whose pixels are not larger than ``metres`` of the plane."""
    exact = log2(2 * HALF / (size * metres))
    return min(max(-floor(-exact + 1e-9), 0), ZOOMS[-1])


def scale_denominator(zoom: int, size: int = 256) -> float:
    """As WMTS tells it, for pixels of 0.28 mm."""
    return resolution(zoom, size) / _PIXEL


def range_of(zoom: int, bounds: Bounds) -> tuple[int, int, int, int]:
    """First and last column, first and last row of the tiles that ``bounds`` (metres of the plane) touch."""
    side, last = 2 * HALF / (1 << zoom), (1 << zoom) - 1

    def at(distance: float) -> int:
        return min(max(floor(distance / side), 0), last)

    west, south, east, north = bounds
    return at(west + HALF), at(east + HALF), at(HALF - north), at(HALF - south)


def in_plane(bbox: Bounds) -> Bounds:
    """Bounds in degrees -> metres of the plane, cut where the plane ends."""
    from processes.extents import transformer

    west, south, east, north = bbox
    south, north = max(south, -MAX_LATITUDE), min(north, MAX_LATITUDE)
    if west > east:  # across the antimeridian: the plane is cut there
        west, east = -180.0, 180.0
    x, y = transformer("EPSG:4326", CRS).transform([max(west, -180.0), min(east, 180.0)], [south, north])
    return x[0], y[0], x[1], y[1]


def in_degrees(bounds: Bounds) -> Bounds:
    """Metres of the plane -> degrees."""
    from processes.extents import transformer

    x, y = transformer(CRS, "EPSG:4326").transform([bounds[0], bounds[2]], [bounds[1], bounds[3]])
    return x[0], y[0], x[1], y[1]
