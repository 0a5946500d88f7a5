"""What the ground reflects on a given day: phenology, snow, and the mixture of both with the soil.

A pixel is a linear mixture of end members: green vegetation with the fraction of its season, what lies under it, open
water, snow. The result is the reflectance of flat, clear ground: the truth every product is made from.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from backend.demo import cover as lc
from backend.demo.noise import gnoise, smoothstep
from backend.demo.spectra import ENDMEMBERS, index

_E = ENDMEMBERS
_CROP, _GRASS, _BROAD, _CONIF = index("crop"), index("grass"), index("broadleaf"), index("conifer")
_LIGHT, _DARK, _STRAW, _BRANCH = index("soil_light"), index("soil_dark"), index("straw"), index("branches")
_ROCK, _CONCRETE, _ROOF, _ASPHALT = index("rock"), index("concrete"), index("roof"), index("asphalt")
_WATER, _SILT, _NEW, _OLD = index("water"), index("silt_water"), index("snow_new"), index("snow_old")
_ICE, _GRAVEL, _FLOWER = index("ice"), index("gravel"), index("flower")


@njit(inline="always")
def _season(day: float, rise: float, rise_days: float, fall: float, fall_days: float) -> float:
    """Double logistic, 0 to 1 (Beck et al. 2006, doi:10.1016/j.rse.2005.10.021)."""
    return 1.0 / (1.0 + math.exp(-(day - rise) / rise_days)) - 1.0 / (1.0 + math.exp(-(day - fall) / fall_days))


@njit(cache=True)
def vegetation(code: int, parcel: int, z: float, day: float) -> tuple[float, float, float, int]:
    """Green fraction, share of dry matter in what lies below, share of flowers, and the green end member.

    Dates move with the parcel (sowing) and with height: spring comes 2.3 days later per 100 m.
    """
    shift = ((parcel >> 3) & 0x3F) / 63.0 * 24.0 - 12.0
    vigour = 0.82 + 0.18 * ((parcel >> 9) & 0x3F) / 63.0
    late = 2.3 * max(z - 350.0, 0.0) / 100.0
    if code == lc.WINTER_CROP:
        if (parcel & 7) == 0:  # rapeseed: early, in flower at the end of April
            bloom = math.exp(-(((day - 114.0 - 0.4 * shift - 0.5 * late) / 11.0) ** 2))
            green = 0.22 + 0.72 * vigour * _season(day, 62.0 + 0.5 * shift, 13.0, 166.0 + 0.4 * shift, 7.0)
            return green, 0.75 if day > 160.0 else 0.1, bloom, _CROP
        green = 0.16 + 0.80 * vigour * _season(
            day, 78.0 + shift + 0.5 * late, 13.0, 172.0 + 0.5 * shift + 0.5 * late, 6.5
        )
        again = 0.25 * smoothstep(265.0, 310.0, day)
        return (
            min(green * (1.0 - 0.8 * smoothstep(185.0, 200.0, day)) + again, 0.98),
            (0.85 * smoothstep(160.0, 190.0, day) * (1.0 - smoothstep(225.0, 255.0, day + shift))),
            0.0,
            _CROP,
        )
    if code == lc.SUMMER_CROP:
        green = 0.04 + 0.90 * vigour * _season(day, 168.0 + shift, 8.0, 258.0 + shift, 8.5)
        return green, 0.4 * smoothstep(262.0, 285.0, day), 0.0, _CROP
    if code == lc.GRASSLAND:
        mown = 150.0 + 2.0 * shift + 0.6 * late
        cut = 0.45 * math.exp(-max(day - mown, 0.0) / 20.0) if day > mown else 0.0
        drought = 0.22 * math.exp(-(((day - 215.0) / 26.0) ** 2)) if z < 900.0 else 0.0
        green = 0.42 + 0.5 * vigour * _season(day, 84.0 + late, 12.0, 302.0 - 0.5 * late, 16.0)
        return green * (1.0 - cut - drought), 0.55, 0.0, _GRASS
    if code == lc.VINEYARD:
        return 0.12 + 0.42 * vigour * _season(day, 126.0 + 0.3 * shift, 10.0, 288.0, 10.0), 0.15, 0.0, _CROP
    if code == lc.BROADLEAF:
        green = 0.14 + 0.83 * _season(day, 104.0 + late, 6.5, 297.0 - 0.7 * late, 8.5)
        return green, 0.5 * smoothstep(275.0 - 0.7 * late, 295.0 - 0.7 * late, day), 0.0, _BROAD
    if code == lc.CONIFER:
        return 0.88 + 0.06 * _season(day, 120.0, 20.0, 290.0, 20.0), 0.1, 0.0, _CONIF
    if code == lc.NATURAL_GRASS:
        return 0.18 + 0.60 * _season(day, 112.0 + late, 9.0, 268.0 - 0.3 * late, 13.0), 0.8, 0.0, _GRASS
    if code == lc.MOOR:
        return 0.36 + 0.42 * _season(day, 110.0 + late, 11.0, 275.0, 14.0), 0.6, 0.0, _BROAD
    if code == lc.DIFFUSE_URBAN:
        return 0.20 + 0.24 * _season(day, 95.0, 14.0, 300.0, 16.0), 0.2, 0.0, _GRASS
    if code == lc.DENSE_URBAN or code == lc.ROAD:
        return 0.05, 0.0, 0.0, _GRASS
    if code == lc.MINERAL:
        return 0.04 + 0.06 * _season(day, 130.0 + 0.5 * late, 12.0, 280.0, 14.0), 0.3, 0.0, _GRASS
    return 0.0, 0.0, 0.0, _GRASS


@njit(inline="always")
def _ground(code: int, parcel: int) -> tuple[int, int, float]:
    """Two end members of what lies under the vegetation, and the share of the second."""
    tone = ((parcel >> 15) & 0x3F) / 63.0
    if code == lc.MINERAL:
        return _ROCK, _GRAVEL, 0.35 + 0.3 * tone
    if code == lc.ROAD:
        return _ASPHALT, _CONCRETE, 0.35
    if code == lc.DENSE_URBAN or code == lc.DIFFUSE_URBAN:
        return (_ROOF if (parcel & 3) else _CONCRETE), _ASPHALT, 0.2 + 0.4 * tone
    if code == lc.BROADLEAF or code == lc.MOOR:
        return _BRANCH, _DARK, 0.2
    if code == lc.CONIFER:
        return _DARK, _BRANCH, 0.4
    if code == lc.GLACIER:
        return _ICE, _ROCK, 0.12
    return _LIGHT, _DARK, 0.25 + 0.7 * tone


@njit(cache=True)
def snow_fraction(x: float, y: float, z: float, gx: float, gy: float, trees: int, line: float, seed: int) -> float:
    """Part of the pixel where snow is seen from above.

    Logistic in the height over a snow line that wanders by some 100 m, lies 200 m lower on northern slopes, and loses
    its hold on steep rock; crowns hide three quarters of what lies under full tree cover.
    """
    slope = math.hypot(gx, gy)
    north = gy / max(slope, 0.15)  # a slope that rises to the south looks north: gy < 0
    local = line + 110.0 * gnoise(x / 3100.0, y / 3100.0, seed + 81) + 45.0 * gnoise(x / 260.0, y / 260.0, seed + 82)
    local += 200.0 * north * min(1.0, slope / 0.35)
    lying = 1.0 / (1.0 + math.exp(-(z - local) / 42.0))
    lying *= 1.0 - 0.85 * smoothstep(0.95, 1.7, slope)
    return lying * (1.0 - 0.0075 * trees) if lying > 0.004 else 0.0


@njit(cache=True, nogil=True)
def reflectance_block(
    x: NDArray,
    y: NDArray,
    z: NDArray,
    gx: NDArray,
    gy: NDArray,
    code: NDArray,
    parcel: NDArray,
    texture: NDArray,
    trees: NDArray,
    wet: NDArray,
    day: float,
    snow_line: float,
    fresh: float,
    seed: int,
) -> tuple[NDArray, NDArray]:
    """Reflectance of flat clear ground, float32 (13, h, w) in the order of `S2_BANDS`, and snow fraction (h, w)."""
    h, w = x.shape
    nb = _E.shape[1]
    rho = np.empty((nb, h, w), np.float32)
    snow = np.empty((h, w), np.float32)
    for r in range(h):
        for c in range(w):
            kind, number, height = int(code[r, c]), int(parcel[r, c]), np.float64(z[r, c])
            px, py = x[r, c], y[r, c]
            green, dry, bloom, leaf = vegetation(kind, number, height, day)
            first, second, share = _ground(kind, number)
            tex = texture[r, c] / 127.0
            green = min(max(green * (1.0 + 0.10 * tex), 0.0), 1.0)
            depth = 0.16 if trees[r, c] > 30 else 0.09
            light = 1.0 + depth * tex
            sown = 1.0 + 0.12 * (((number >> 21) & 0x1F) / 31.0 - 0.5)
            white = snow_fraction(px, py, height, gx[r, c], gy[r, c], trees[r, c], snow_line, seed)
            water = wet[r, c] / 100.0
            silt = 0.5 + 0.5 * gnoise(px / 2600.0, py / 2600.0, seed + 85)
            snow[r, c] = white * (1.0 - water)
            for b in range(nb):
                under = (1.0 - dry) * ((1.0 - share) * _E[first, b] + share * _E[second, b]) + dry * _E[_STRAW, b]
                over = (1.0 - bloom) * _E[leaf, b] + bloom * _E[_FLOWER, b]
                land = (green * over + (1.0 - green) * under * sown) * light
                pack = fresh * _E[_NEW, b] + (1.0 - fresh) * _E[_OLD, b]
                land = white * pack * (1.0 + 0.03 * tex) + (1.0 - white) * land
                pool = silt * _E[_SILT, b] + (1.0 - silt) * _E[_WATER, b]
                rho[b, r, c] = water * pool * (1.0 + 0.05 * tex) + (1.0 - water) * land
    return rho, snow
