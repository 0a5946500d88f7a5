"""Where things are: MGRS tiles, their grids, the common ground plane, the sun, the satellite.

All fields of the synthetic world are functions of metres in one local transverse Mercator plane (`Ground`), centred
between the tiles, y northward. A tile's pixels reach it through a coarse net of exactly projected nodes, so the cost of
projection does not grow with the number of pixels; the error of the net is below a centimetre.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from affine import Affine
from numba import njit
from numpy.typing import NDArray
from pyproj import CRS, Transformer

FULL_SIZE = 10980
"""Pixels of 10 m along the side of a Sentinel-2 tile."""

_BANDS = "CDEFGHJKLMNPQRSTUVWX"
_COLUMNS = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_NODE = 64


@dataclass(frozen=True)
class TileGrid:
    """A square window of a Sentinel-2 MGRS tile, on the tile's own 60 m lattice.

    Attributes
    ----------
    name : MGRS id without the leading T, as in ``31TGK``
    epsg : UTM zone
    ulx, uly : upper-left corner of the window, metres
    size : pixels of 10 m along a side, a multiple of 6
    """

    name: str
    epsg: int
    ulx: int
    uly: int
    size: int

    @property
    def transform(self) -> Affine:
        """Geotransform of the 10 m grid."""
        return Affine(10, 0, self.ulx, 0, -10, self.uly)

    def resized(self, resolution: int) -> tuple[Affine, int]:
        """Geotransform and side in pixels at `resolution` metres."""
        return Affine(resolution, 0, self.ulx, 0, -resolution, self.uly), self.size * 10 // resolution

    def lonlat(self, x: float, y: float) -> tuple[float, float]:
        """Longitude and latitude (degrees) of a point of the UTM plane."""
        lon, lat = Transformer.from_crs(self.epsg, 4326, always_xy=True).transform(x, y)
        return float(lon), float(lat)

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the window's centre."""
        half = self.size * 5
        return self.lonlat(self.ulx + half, self.uly - half)


def mgrs_origin(name: str) -> tuple[int, int, int]:
    """EPSG code and upper-left corner (metres) of a Sentinel-2 tile.

    The 100 km squares follow the MGRS lettering (NGA.STND.0037, "Universal grids"); Sentinel-2 tiles are 109.8 km wide
    and start on the multiple of 60 m at or outside the square's north-west corner (seen on 31TCJ, 31UDS, 55JEJ ...).

    Raises
    ------
    ValueError
        If the name is not a tile.
    """
    match = re.fullmatch(r"T?(\d{1,2})([C-HJ-NP-X])([A-HJ-NP-Z])([A-HJ-NP-V])", name)
    zone = int(match[1]) if match else 0
    if match is None or not 1 <= zone <= 60 or match[3] not in _COLUMNS[(zone - 1) % 3]:
        raise ValueError(f"{name!r} is not an MGRS tile such as 31TGK")
    easting = (_COLUMNS[(zone - 1) % 3].index(match[3]) + 1) * 100_000
    row = (_ROWS.index(match[4]) - (5 if zone % 2 == 0 else 0)) % 20
    south_lat = -80 + 8 * _BANDS.index(match[2])
    north = south_lat >= 0
    epsg = (32600 if north else 32700) + zone
    # rows repeat every 2000 km: take the repeat nearest to the middle of the latitude band
    _, middle = Transformer.from_crs(4326, epsg, always_xy=True).transform(6 * zone - 183, south_lat + 4)
    northing = row * 100_000 + 2_000_000 * round((middle - row * 100_000 - 50_000) / 2_000_000)
    return epsg, easting // 60 * 60, -(-(northing + 100_000) // 60) * 60


class Ground:
    """The common plane: transverse Mercator around (`lon`, `lat`), metres, y to true north at the centre."""

    def __init__(self, lon: float, lat: float) -> None:
        self.lon, self.lat = lon, lat
        self.crs = CRS.from_proj4(f"+proj=tmerc +lon_0={lon} +lat_0={lat} +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m")

    def from_crs(self, epsg: int, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Ground coordinates of points of another CRS."""
        return Transformer.from_crs(epsg, self.crs, always_xy=True).transform(x, y)

    def lonlat(self, x: float, y: float) -> tuple[float, float]:
        """Longitude and latitude (degrees) of a ground point."""
        lon, lat = Transformer.from_crs(self.crs, 4326, always_xy=True).transform(x, y)
        return float(lon), float(lat)


class PixelMap:
    """Ground coordinates of the pixel centres of a window, by bilinear interpolation of exactly projected nodes.

    The nodes lie on a lattice fixed to the window, so a pixel's coordinates do not depend on the block it is asked in.
    `margin` pixels around the window can be asked too.
    """

    def __init__(self, ground: Ground, epsg: int, transform: Affine, size: int, margin: int = 0) -> None:
        self.margin = margin
        first = -(-margin // _NODE)
        count = first + -(-(size + margin) // _NODE) + 2
        pixel = (np.arange(count) - first) * _NODE
        cols, rows = np.meshgrid(pixel + 0.5, pixel + 0.5)
        x, y = transform.c + transform.a * cols, transform.f + transform.e * rows
        gx, gy = ground.from_crs(epsg, x, y)
        self._first, self._x, self._y = first * _NODE, np.ascontiguousarray(gx), np.ascontiguousarray(gy)

    def block(self, row: int, col: int, height: int, width: int) -> tuple[NDArray, NDArray]:
        """Ground x and y, float64 (height, width), of pixels starting at (`row`, `col`)."""
        return (
            _bilinear(self._x, row + self._first, col + self._first, height, width),
            _bilinear(self._y, row + self._first, col + self._first, height, width),
        )


@njit(cache=True, nogil=True)
def _bilinear(nodes: NDArray, row: int, col: int, height: int, width: int) -> NDArray:
    out = np.empty((height, width))
    for r in range(height):
        i, fi = divmod(row + r, 64)
        v = fi / 64.0
        for c in range(width):
            j, fj = divmod(col + c, 64)
            u = fj / 64.0
            top = nodes[i, j] * (1 - u) + nodes[i, j + 1] * u
            out[r, c] = top * (1 - v) + (nodes[i + 1, j] * (1 - u) + nodes[i + 1, j + 1] * u) * v
    return out


def common_ground(names: Sequence[str]) -> tuple[float, float]:
    """Longitude and latitude (0.01 degree) of the middle of what all the tiles share.

    Raises
    ------
    ValueError
        If a name is no tile, or the tiles share no ground.
    """
    corners = []
    for name in names:
        grid = TileGrid(name.removeprefix("T"), *mgrs_origin(name), FULL_SIZE)
        side = FULL_SIZE * 10
        corners.append([grid.lonlat(grid.ulx + dx, grid.uly - dy) for dx in (0, side) for dy in (0, side)])
    west, east = max(min(p[0] for p in c) for c in corners), min(max(p[0] for p in c) for c in corners)
    south, north = max(min(p[1] for p in c) for c in corners), min(max(p[1] for p in c) for c in corners)
    if west >= east or south >= north:
        raise ValueError(f"tiles {', '.join(names)} share no ground: name neighbours such as 31TGK,32TLQ")
    return round((west + east) / 2, 2), round((south + north) / 2, 2)


def windows(names: Sequence[str], size: int, overlap: float) -> list[TileGrid]:
    """Windows of the tiles that overlap on the ground by about `overlap` of their width.

    The tiles are taken from west to east; the windows lie side by side around the middle of what all the tiles share,
    each moved inside its own tile and onto its 60 m lattice. Full-size tiles are returned as they are.

    Raises
    ------
    ValueError
        If the size is no multiple of 6 up to 10980, a name is no tile, or the tiles share no ground.
    """
    if size % 6 or not 6 <= size <= FULL_SIZE:
        raise ValueError(f"size must be a multiple of 6 between 6 and {FULL_SIZE} (10 m pixels): got {size}")
    grids = [TileGrid(n.removeprefix("T"), *mgrs_origin(n), FULL_SIZE) for n in names]
    lon, lat = common_ground(names)
    if size == FULL_SIZE:
        return grids
    order = sorted(range(len(grids)), key=lambda k: grids[k].centre[0])
    placed = {}
    for rank, k in enumerate(order):
        grid = grids[k]
        x, y = Transformer.from_crs(4326, grid.epsg, always_xy=True).transform(lon, lat)
        x += (rank - (len(grids) - 1) / 2) * size * 10 * (1 - overlap)
        room = (FULL_SIZE - size) * 10
        dx = min(max(round((x - size * 5 - grid.ulx) / 60) * 60, 0), room)
        dy = min(max(round((grid.uly - y - size * 5) / 60) * 60, 0), room)
        placed[k] = TileGrid(grid.name, grid.epsg, grid.ulx + dx, grid.uly - dy, size)
    return [placed[k] for k in range(len(grids))]


def sun_angles(when: datetime, lon: NDArray | float, lat: NDArray | float) -> tuple[NDArray, NDArray]:
    """Sun zenith and azimuth (degrees, clockwise from north) by Spencer's series (1971, Search 2(5), 172); 0.1 degree."""
    day = when.timetuple().tm_yday
    hours = when.hour + when.minute / 60 + (when.second + when.microsecond * 1e-6) / 3600
    g = 2 * math.pi * (day - 1 + (hours - 12) / 24) / 365
    dec = (
        0.006918 - 0.399912 * math.cos(g) + 0.070257 * math.sin(g) - 0.006758 * math.cos(2 * g)
        + 0.000907 * math.sin(2 * g) - 0.002697 * math.cos(3 * g) + 0.00148 * math.sin(3 * g)
    )  # fmt: skip
    equation = 229.18 * (
        0.000075 + 0.001868 * math.cos(g) - 0.032077 * math.sin(g)
        - 0.014615 * math.cos(2 * g) - 0.040849 * math.sin(2 * g)
    )  # fmt: skip
    hour_angle = np.radians((hours * 60 + equation + 4 * np.asarray(lon)) / 4 - 180)
    phi = np.radians(np.asarray(lat))
    cos_z = np.sin(phi) * math.sin(dec) + np.cos(phi) * math.cos(dec) * np.cos(hour_angle)
    east = -math.cos(dec) * np.sin(hour_angle)
    north = np.cos(phi) * math.sin(dec) - np.sin(phi) * math.cos(dec) * np.cos(hour_angle)
    return np.degrees(np.arccos(np.clip(cos_z, -1, 1))), np.degrees(np.arctan2(east, north)) % 360


def earth_sun_factor(when: datetime) -> float:
    """U of the Sentinel-2 metadata: (mean distance / distance)^2, d = 1 - 0.01673 cos(0.9856 (J - 4))."""
    day = when.timetuple().tm_yday
    return float((1 - 0.01673 * math.cos(math.radians(0.9856 * (day - 4)))) ** -2)


# One true pass of orbit 51 for each satellite fixes all the others: 143 orbits in 10 days
_PASSES = {
    "A": (datetime(2024, 1, 20, 10, 53, 41, 24000, tzinfo=UTC), 44807),
    "B": (datetime(2024, 3, 5, 10, 48, 19, 24000, tzinfo=UTC), 36542),
}
_CYCLE = timedelta(days=10)


@dataclass(frozen=True)
class Track:
    """One pass of Sentinel-2 as a straight line on the ground plane (descending; flat Earth over a tile's width).

    Attributes
    ----------
    relative_orbit, absolute_orbit : orbit numbers
    platform : ``A`` or ``B``
    time : instant over the scene's centre
    offset : metres from the track to the centre of the ground plane, positive where the centre is west of the track
    """

    relative_orbit: int
    absolute_orbit: int
    platform: str
    time: datetime
    offset: float

    HEADING = 193.5
    ALTITUDE = 786_000.0
    HALF_SWATH = 145_000.0
    DETECTORS = 12
    # tangent of the forward/backward look of odd/even detectors, and its spread over the bands
    STAGGER = 0.035
    BAND_ORDER = ("B02", "B08", "B03", "B10", "B04", "B05", "B11", "B06", "B07", "B8A", "B12", "B01", "B09")
    BAND_STEP = 0.0012

    def across(self, x: NDArray, y: NDArray) -> NDArray:
        """Metres west of the track (right of the flight) of ground points."""
        h = math.radians(self.HEADING + 90)
        return self.offset + x * math.sin(h) + y * math.cos(h)

    def look(self, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
        """Horizontal tangent (east, north) of the direction to the satellite, without the detectors' stagger."""
        h = math.radians(self.HEADING + 90)
        t = -self.across(x, y) / self.ALTITUDE
        return t * math.sin(h), t * math.cos(h)

    def detector(self, x: NDArray, y: NDArray) -> NDArray:
        """Number of the detector, 1..12, that sees each point; 0 outside the swath."""
        u = self.across(x, y)
        number = np.floor((u + self.HALF_SWATH) * self.DETECTORS / (2 * self.HALF_SWATH)).astype(np.int16) + 1
        return np.where(np.abs(u) < self.HALF_SWATH, np.clip(number, 1, self.DETECTORS), 0).astype(np.uint8)

    def view_angles(self, x: NDArray, y: NDArray, detector: NDArray | int, band: str) -> tuple[NDArray, NDArray]:
        """View zenith and azimuth (degrees) of `detector` in `band` at ground points."""
        east, north = self.look(x, y)
        h = math.radians(self.HEADING)
        sign = np.where(np.asarray(detector) % 2 == 1, 1.0, -1.0)
        along = sign * (self.STAGGER + self.BAND_STEP * self.BAND_ORDER.index(band))
        east, north = east + along * math.sin(h), north + along * math.cos(h)
        return np.degrees(np.arctan(np.hypot(east, north))), np.degrees(np.arctan2(east, north)) % 360


def passes(orbits: Sequence[int], start: datetime, days: float, count: int, offsets: Sequence[float]) -> list[Track]:
    """`count` passes spread evenly over `days` from `start`, the relative orbits in turn, both satellites.

    Raises
    ------
    ValueError
        If the period holds fewer passes.
    """
    found = []
    for orbit, offset in zip(orbits, offsets, strict=True):
        lag = ((orbit - 51) % 143) / 143 * _CYCLE
        for platform, (epoch, absolute) in _PASSES.items():
            k = math.ceil((start - epoch - lag) / _CYCLE)
            while (when := epoch + lag + k * _CYCLE) < start + timedelta(days=days):
                number = absolute + (orbit - 51) % 143 + 143 * k
                # the true revisit repeats to the second, not to the fraction of an orbit that the lag carries
                found.append(
                    Track(orbit, number, platform, when.replace(microsecond=24000 + 1000 * (number % 900)), offset)
                )
                k += 1
    found.sort(key=lambda t: t.time)
    if count > len(found):
        raise ValueError(f"only {len(found)} passes of orbits {list(orbits)} in {days:g} days: {count} dates asked")
    chosen: list[Track] = []
    for k in range(count):
        target = start + timedelta(days=days) * (k + 0.5) / count
        wanted = orbits[k % len(orbits)]
        free = [t for t in found if t not in chosen]
        same = [t for t in free if t.relative_orbit == wanted] or free
        chosen.append(min(same, key=lambda t: abs(t.time - target)))
    return sorted(chosen, key=lambda t: t.time)
