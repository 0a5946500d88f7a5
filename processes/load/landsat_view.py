"""Where a Landsat scene was seen from, told by its place in the swath: products without angle rasters tell nothing else.

The track goes through the middle of the scene. Its direction is that of a sun-synchronous orbit of inclination 98.2
degrees over the turning Earth: sin b = cos i / cos(latitude) for the inertial heading b (Capderou, "Handbook of satellite
orbits", chapter 5), less the speed of the ground. A point at distance d across the track sees the satellite, 705 km high,
at tan z = (R + H) sin g / ((R + H) cos g - R), g = d / R. Against the ephemeris of a scene at 72 degrees north
the zenith is good to 0.2 degrees, the azimuth to 4 (10 within 25 km of the track, where the zenith is below 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pyproj import Proj, Transformer
from pyproj.exceptions import ProjError

from processes.load.safexml import to_number

INCLINATION, ALTITUDE, RADIUS = 98.2, 705.0, 6371.0  # degrees, km, km
GROUND_SPEED, EQUATOR_SPEED = 6.77, 0.465  # km/s: of the point below the satellite, of the ground at the equator
STEP, MARGIN = 10_000.0, 2  # m between nodes, nodes beyond the corners
MAX_SIDE = 400_000.0  # m; a scene has about 240 km
CORNERS = ("UL", "UR", "LL", "LR")


@dataclass(frozen=True)
class Look:
    """Components (tan z sin a, tan z cos a) towards the satellite on nodes; ``origin`` is the upper left one."""

    code: str
    origin: tuple[float, float]
    step: float
    east: np.ndarray
    north: np.ndarray


def look(told: Mapping[str, str]) -> Look | None:
    """View of a scene from the values of its MTL; None where they do not tell it (polar grids, rolled, no corners)."""
    zone = to_number(told.get("UTM_ZONE"))
    xs, ys = ([to_number(told.get(f"CORNER_{c}_PROJECTION_{axis}_PRODUCT")) for c in CORNERS] for axis in "XY")
    rolled = told.get("NADIR_OFFNADIR", "NADIR").upper() != "NADIR"
    if zone is None or not 1 <= zone <= 60 or rolled or None in xs or None in ys:
        return None
    west, east, south, north = min(xs), max(xs), min(ys), max(ys)  # type: ignore[type-var]
    if not (0 < east - west < MAX_SIDE and 0 < north - south < MAX_SIDE):  # type: ignore[operator]
        return None
    code = f"EPSG:{32600 + int(zone)}"  # USGS numbers the south with negative northings of the north
    middle = (west + east) / 2, (south + north) / 2  # type: ignore[operator]
    try:
        lon, lat = Transformer.from_crs(code, 4326, always_xy=True).transform(*middle, errcheck=True)
        convergence = Proj(code).get_factors(lon, lat).meridian_convergence
    except ProjError:
        return None
    if abs(lat) > 81:
        return None
    origin = west - MARGIN * STEP, north + MARGIN * STEP  # type: ignore[operator]
    columns, rows = (math.ceil(side / STEP) + 2 * MARGIN + 1 for side in (east - west, north - south))  # type: ignore[operator]
    x, y = np.meshgrid(origin[0] + np.arange(columns) * STEP, origin[1] - np.arange(rows) * STEP)
    across = math.radians(track(lat) - 90)  # to the left of a descending track, which is the east
    on_grid = across - math.radians(convergence)
    distance = ((x - middle[0]) * math.sin(on_grid) + (y - middle[1]) * math.cos(on_grid)) / 1000
    angle = distance / RADIUS
    tangent = (RADIUS + ALTITUDE) * np.sin(angle) / ((RADIUS + ALTITUDE) * np.cos(angle) - RADIUS)
    return Look(code, origin, STEP, -tangent * math.sin(across), -tangent * math.cos(across))


def track(latitude: float) -> float:
    """Heading of the descending track on the ground, degrees clockwise from north."""
    ratio = math.cos(math.radians(INCLINATION)) / max(math.cos(math.radians(latitude)), 0.1427)
    heading = math.pi - math.asin(max(-1.0, min(1.0, ratio)))
    east = GROUND_SPEED * math.sin(heading) - EQUATOR_SPEED * math.cos(math.radians(latitude))
    return math.degrees(math.atan2(east, GROUND_SPEED * math.cos(heading))) % 360
