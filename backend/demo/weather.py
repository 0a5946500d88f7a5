"""Sky and snow of each acquisition: clouds, cirrus, haze, water vapour, the snow line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist

import numpy as np
from numba import njit
from numpy.typing import NDArray

from backend.demo.noise import fbm, gnoise, smoothstep, uniform

CIRRUS_HEIGHT = 9500.0
MIN_CLOUD_CLEARANCE = 150.0

_SNOW_LINE_DAY = (1, 32, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335, 366)
_SNOW_LINE = (1250, 1050, 1150, 1500, 1950, 2400, 2800, 3150, 3150, 2800, 2050, 1500, 1250)


@dataclass(frozen=True)
class Weather:
    """State of the sky over the whole scene at one acquisition.

    Attributes
    ----------
    seed : of this date's fields
    cover : wanted share of the ground under cloud, 0..1
    size : typical size of the clouds, m
    base : height of the clouds above sea level, m
    thickness : optical depth of a cloud's middle
    cirrus : optical depth of the densest cirrus, 0 where there is none
    aot : mean aerosol optical thickness at 550 nm
    vapour : water vapour column at sea level, g/cm2
    snow_line : elevation above which the ground is white, m
    fresh : 0 old snow .. 1 new snow
    day : day of the year in the northern seasons
    """

    seed: int
    cover: float
    size: float
    base: float
    thickness: float
    cirrus: float
    aot: float
    vapour: float
    snow_line: float
    fresh: float
    day: float


def make_weather(when: datetime, rank: float, seed: int, lat: float) -> Weather:
    """Weather of one acquisition, from its date and the world's seed alone (and its place in the archive, `rank`).

    Parameters
    ----------
    rank : 0..1, how cloudy this date is among the dates of the archive: spreads the archive from clear to overcast
    lat : degrees; south of the equator the seasons are half a year later
    """
    own = seed * 1_000_003 + when.toordinal()
    draws = [uniform(k, 0, own) for k in range(10)]
    day = when.timetuple().tm_yday
    season = (day + (182 if lat < 0 else 0) - 1) % 365 + 1
    warm = 0.5 - 0.5 * math.cos(2 * math.pi * (season - 15) / 365)
    line = float(np.interp(season, _SNOW_LINE_DAY, _SNOW_LINE)) + 220 * (draws[0] - 0.5)
    return Weather(
        seed=own,
        cover=min(0.96, rank**2.1),
        size=1000 + 2200 * draws[1] * (0.3 + rank),
        base=2300 + 1500 * draws[2],
        thickness=18 + 30 * draws[3],
        cirrus=0.0 if draws[4] > 0.4 else 0.05 + 0.3 * draws[5],
        aot=0.05 + 0.30 * draws[6] ** 2,
        vapour=0.6 + 2.2 * warm + 0.8 * draws[7],
        snow_line=line,
        fresh=draws[8] * (1 - 0.8 * warm),
        day=float(season),
    )


def cloud_threshold(cover: float) -> float:
    """Level that a share `cover` of the cloud noise exceeds (the noise is near Gaussian, measured deviation 0.40)."""
    return 0.40 * NormalDist().inv_cdf(1 - min(max(cover, 1e-3), 0.999))


@njit(cache=True)
def cloud_depth(x: float, y: float, size: float, threshold: float, thickness: float, seed: int) -> float:
    """Optical depth of the cloud layer above a point of the ground plane: billows with soft rims."""
    n = fbm(x / size, y / size, seed + 1, 6, 0.5) - threshold
    if n <= 0.0:
        return 0.0
    rim = smoothstep(0.0, 0.55, n)
    return thickness * rim * math.sqrt(rim)


@njit(cache=True)
def cirrus_depth(x: float, y: float, densest: float, seed: int) -> float:
    """Optical depth of the cirrus above a point of the ground plane: long streaks in one direction."""
    if densest <= 0.0:
        return 0.0
    turn = math.pi * uniform(1, 1, seed + 3)
    u = x * math.cos(turn) + y * math.sin(turn)
    v = y * math.cos(turn) - x * math.sin(turn)
    bend = 2500.0 * gnoise(u / 15000.0, v / 15000.0, seed + 4)
    n = fbm(u / 13000.0, (v + bend) / 2600.0, seed + 5, 5, 0.5)
    return densest * smoothstep(-0.15, 0.85, n)


@njit(cache=True, nogil=True)
def haze_block(x: NDArray, y: NDArray, z: NDArray, aot: float, vapour: float, seed: int) -> tuple[NDArray, NDArray]:
    """Aerosol optical thickness at 550 nm and water vapour (g/cm2), float32, of a block.

    Both fall off with height (scale heights 2 and 2.2 km); the haze also varies over some 15 km.
    """
    a, v = np.empty(x.shape, np.float32), np.empty(x.shape, np.float32)
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            pool = 1.0 + 0.45 * fbm(x[r, c] / 15000.0, y[r, c] / 15000.0, seed + 7, 3, 0.5)
            a[r, c] = max(0.01, aot * pool * math.exp(-(z[r, c] - 400.0) / 2000.0))
            damp = 1.0 + 0.08 * gnoise(x[r, c] / 11000.0, y[r, c] / 11000.0, seed + 9)
            v[r, c] = max(0.05, vapour * damp * math.exp(-z[r, c] / 2200.0))
    return a, v


@njit(cache=True, nogil=True)
def sky_block(
    x: NDArray,
    y: NDArray,
    z: NDArray,
    toward: tuple[float, float],
    look_east: NDArray,
    look_north: NDArray,
    layer: tuple[float, float, float, float],
    cirrus: float,
    seed: int,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Clouds as the image shows them, and their shadows, for a block.

    A cloud at height H hides the ground point whose line of sight crosses it, and shades the one whose line to the sun
    does: both are displaced by (H - z) times the tangent of the direction, in the ground plane.

    Parameters
    ----------
    toward : east and north tangent of the direction to the sun
    look_east, look_north : the same of the direction to the satellite, per pixel
    layer : cloud size (m), threshold, optical depth, height (m)
    cirrus : densest optical depth

    Returns
    -------
    seen : cloud optical depth in the line of sight; thin : cirrus, the same
    shade : cloud optical depth toward the sun (vertical); veil : cirrus toward the sun. All float32.
    """
    size, threshold, thickness, base = layer
    seen, thin = np.empty(x.shape, np.float32), np.empty(x.shape, np.float32)
    shade, veil = np.empty(x.shape, np.float32), np.empty(x.shape, np.float32)
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            px, py, up = x[r, c], y[r, c], base - z[r, c]
            le, ln = look_east[r, c], look_north[r, c]
            # summits that reach into the layer stand in the clear above it
            part = smoothstep(0.0, MIN_CLOUD_CLEARANCE, up)
            seen[r, c] = part * cloud_depth(px + up * le, py + up * ln, size, threshold, thickness, seed)
            se, sn = px + up * toward[0], py + up * toward[1]
            shade[r, c] = part * cloud_depth(se, sn, size, threshold, thickness, seed)
            high = CIRRUS_HEIGHT - z[r, c]
            thin[r, c] = cirrus_depth(px + high * le, py + high * ln, cirrus, seed)
            veil[r, c] = cirrus_depth(px + high * toward[0], py + high * toward[1], cirrus, seed)
    return seen, thin, shade, veil
