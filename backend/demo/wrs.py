"""Landsat's side of the geometry: path and row, passes, the scene's window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyproj import Transformer

from backend.demo.geometry import TileGrid, Track

# one true pass: path 5 on 2015-07-10, carried from row 9 to row 60 (23.9 s per row)
_EPOCH = datetime(2015, 7, 10, 14, 34, 36, tzinfo=UTC) + timedelta(seconds=51 * 23.9)
_CYCLE = timedelta(days=16)
_ORBITS = 233
_INCLINATION = math.radians(98.2)


@dataclass(frozen=True)
class LandsatTrack(Track):
    """One pass of Landsat-8; `relative_orbit` is the WRS-2 path. One detector stands for the whole swath."""

    ALTITUDE = 705_000.0
    HALF_SWATH = 92_500.0
    DETECTORS = 1
    STAGGER = 0.0
    BAND_STEP = 0.0


def path_row(lon: float, lat: float) -> tuple[int, int]:
    """WRS-2 path and row (descending) of the scene whose centre is nearest.

    Circular orbit of 98.2 degrees; path 1 crosses the equator southward at 64.6 W (row 60), the paths lie 360/233
    degrees apart, 248 rows make an orbit.
    """
    u = math.asin(max(-1.0, min(1.0, math.sin(math.radians(lat)) / math.sin(_INCLINATION))))
    ahead = math.degrees(math.atan(abs(math.cos(_INCLINATION)) * math.tan(u)))
    turned = math.degrees(u) / 360 * 98.9 * 60 * 360 / 86400
    crossing = lon - ahead - turned
    path = round((-64.6 - crossing) / (360 / _ORBITS)) % _ORBITS + 1
    return path, 60 - round(math.degrees(u) / (360 / 248))


def landsat_passes(path: int, row: int, start: datetime, days: float, count: int) -> list[LandsatTrack]:
    """Up to `count` passes of a path, spread evenly over the season; fewer where the 16-day cycle has no more."""
    # successive orbits lie 16 paths further west: the orbit that reaches this path after the epoch's
    orbit = (path - 5) * pow(16, -1, _ORBITS) % _ORBITS
    first = _EPOCH + orbit * _CYCLE / _ORBITS - timedelta(seconds=(60 - row) * 23.9)
    k = math.ceil((start - first) / _CYCLE)
    found = []
    while (when := first + k * _CYCLE) < start + timedelta(days=days):
        found.append(LandsatTrack(path, k * _ORBITS + orbit, "L8", when.replace(microsecond=0), -25_000.0))
        k += 1
    if len(found) <= count:
        return found
    return [found[i * len(found) // count] for i in range(count)]


def scene_window(name: str, tiles: Sequence[TileGrid], lon: float) -> TileGrid:
    """A square that covers the tiles, in the UTM zone of `lon`, pixels of 30 m with their centres on multiples of 30 m."""
    zone = int((lon + 180) // 6) + 1
    epsg = (32600 if tiles[0].epsg < 32700 else 32700) + zone
    xs, ys = [], []
    for tile in tiles:
        to = Transformer.from_crs(tile.epsg, epsg, always_xy=True)
        side = tile.size * 10
        for dx, dy in ((0, 0), (side, 0), (0, side), (side, side)):
            x, y = to.transform(tile.ulx + dx, tile.uly - dy)
            xs.append(x)
            ys.append(y)
    ulx, uly = math.floor(min(xs) / 30) * 30 - 15, math.ceil(max(ys) / 30) * 30 + 15
    side = max(max(xs) - ulx, uly - min(ys))
    return TileGrid(name, epsg, ulx, uly, math.ceil(side / 60) * 6)
