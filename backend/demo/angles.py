"""The 5 km angle grids of Sentinel-2 metadata: 23 x 23 nodes from the upper-left corner of the tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from backend.demo.geometry import sun_angles
from backend.demo.observe import Acquisition

NODES = 23
STEP = 5000


def node_ground(acquisition: Acquisition) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Ground x, y and longitude, latitude of the nodes, each (23, 23)."""
    tile = acquisition.tile
    cols, rows = np.meshgrid(np.arange(NODES), np.arange(NODES))
    ex, ny = tile.ulx + cols * float(STEP), tile.uly - rows * float(STEP)
    x, y = acquisition.place.ground.from_crs(tile.epsg, ex, ny)
    lon, lat = Transformer.from_crs(tile.epsg, 4326, always_xy=True).transform(ex, ny)
    return x, y, lon, lat


def sun_grids(acquisition: Acquisition) -> tuple[NDArray, NDArray]:
    """Sun zenith and azimuth (degrees) at the nodes."""
    _, _, lon, lat = node_ground(acquisition)
    return sun_angles(acquisition.track.time, lon, lat)


def view_grids(acquisition: Acquisition, band: str) -> Iterator[tuple[int, NDArray, NDArray]]:
    """Detector number with its view zenith and azimuth at the nodes, NaN outside the detector's strip."""
    x, y, _, _ = node_ground(acquisition)
    track = acquisition.track
    seen = track.detector(x, y)
    for number in range(1, track.DETECTORS + 1):
        strip = seen == number
        if strip.any():
            zenith, azimuth = track.view_angles(x, y, number, band)
            yield number, np.where(strip, zenith, np.nan), np.where(strip, azimuth, np.nan)


def mean_sun(acquisition: Acquisition) -> tuple[float, float]:
    """Zenith and azimuth of the sun at the middle of the window."""
    zenith, azimuth = sun_angles(acquisition.track.time, *acquisition.tile.centre)
    return float(zenith), float(azimuth)


def mean_view(acquisition: Acquisition, band: str) -> tuple[float, float]:
    """Mean view zenith and azimuth over what the swath covers of the window: mean of the direction, not of the angle."""
    size = acquisition.tile.size
    rows = np.linspace(0, size - 2, 12).astype(int)
    points = [acquisition.place.pixels.block(int(r), int(c), 1, 1) for r in rows for c in rows]
    x, y = np.array([p[0][0, 0] for p in points]), np.array([p[1][0, 0] for p in points])
    track = acquisition.track
    number = track.detector(x, y)
    zenith, azimuth = np.radians(track.view_angles(x, y, np.maximum(number, 1), band))
    weight = (number > 0) if (number > 0).any() else np.ones_like(x)
    east = np.average(np.tan(zenith) * np.sin(azimuth), weights=weight)
    north = np.average(np.tan(zenith) * np.cos(azimuth), weights=weight)
    return float(np.degrees(np.arctan(np.hypot(east, north)))), float(np.degrees(np.arctan2(east, north)) % 360)


def rows_of(values: NDArray, digits: int) -> Sequence[str]:
    """One line of text per row of a grid, NaN as the producers write it."""
    return [" ".join("NaN" if v != v else f"{v:.{digits}f}" for v in row) for row in values.tolist()]
