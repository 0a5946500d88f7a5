"""Land cover of the synthetic world: fields, forests, towns, pastures, rock, ice.

Codes are those of the OSO land-cover map (Inglada et al. 2017, doi:10.3390/rs9010095), so that classifications can be
compared with the truth layer directly.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from backend.demo.noise import fbm, gnoise, hash2, nearest_site, smoothstep, uniform
from backend.demo.terrain import FLOOR, open_water, valley

SUMMER_CROP, WINTER_CROP, GRASSLAND, VINEYARD = 11, 12, 211, 222
BROADLEAF, CONIFER, NATURAL_GRASS, MOOR = 31, 32, 34, 36
DENSE_URBAN, DIFFUSE_URBAN, ROAD, MINERAL, WATER, GLACIER = 41, 42, 44, 45, 51, 53

LEGEND = {
    SUMMER_CROP: "summer crop", WINTER_CROP: "winter crop", GRASSLAND: "grassland", VINEYARD: "vineyard",
    BROADLEAF: "broadleaf forest", CONIFER: "conifer forest", NATURAL_GRASS: "natural grassland", MOOR: "woody moorland",
    DENSE_URBAN: "dense urban", DIFFUSE_URBAN: "diffuse urban", ROAD: "road", MINERAL: "mineral surface",
    WATER: "water", GLACIER: "glacier",
}  # fmt: skip

_FARM = 1150.0
_TOWN = 4300.0
_U32 = np.uint64(0xFFFFFFFF)


@njit(cache=True)
def _field(x: float, y: float, seed: int) -> tuple[np.int64, float]:
    """Parcel hash (32 bits) and distance to its border (m): rows of fields, turned alike within one farm."""
    ci, cj, dx, dy, edge = nearest_site(x / _FARM, y / _FARM, seed + 31)
    farm = np.int64(hash2(ci, cj, seed + 33) >> np.uint64(1))
    turn = math.pi * uniform(ci, cj, seed + 34)
    u = _FARM * (dx * math.cos(turn) + dy * math.sin(turn))
    v = _FARM * (dy * math.cos(turn) - dx * math.sin(turn))
    depth = 75.0 + 150.0 * uniform(ci, cj, seed + 35)
    length = depth * (1.3 + 1.8 * uniform(ci, cj, seed + 36))
    row = math.floor(v / depth)
    u += length * uniform(row, 0, farm)
    column = math.floor(u / length)
    du, dv = u - column * length, v - row * depth
    border = min(min(du, length - du), min(dv, depth - dv))
    return np.int64(hash2(row, column, farm) & _U32), min(border, edge * _FARM)


@njit(cache=True)
def _town(x: float, y: float, seed: int) -> float:
    """1 in a town's centre, 0 at its rim, negative outside."""
    ci, cj, dx, dy, _ = nearest_site(x / _TOWN, y / _TOWN, seed + 41)
    if uniform(ci, cj, seed + 42) > 0.65:
        return -1.0
    radius = 280.0 + 900.0 * uniform(ci, cj, seed + 43) ** 2
    ragged = 0.35 * fbm(x / 320.0, y / 320.0, seed + 44, 3, 0.6)
    return 1.0 - _TOWN * math.hypot(dx, dy) / radius + ragged


@njit(cache=True)
def _urban(x: float, y: float, town: float, seed: int) -> tuple[int, np.int64]:
    """Code and hash of a pixel in a town: houses and gardens between streets."""
    ci, cj, _, _, edge = nearest_site(x / 85.0, y / 85.0, seed + 45)
    h = np.int64(hash2(math.floor(x / 22.0), math.floor(y / 22.0), seed + 46) & _U32)
    if edge * 85.0 < 6.0:
        return ROAD, h
    if town > 0.45 or uniform(ci, cj, seed + 47) < 0.12:
        return DENSE_URBAN, h
    return DIFFUSE_URBAN, h


@njit(cache=True)
def _farmland(parcel: np.int64, z: float, dry: float) -> int:
    pick = (parcel & 0xFFFF) / 65536.0 + max(0.0, z - 550.0) / 900.0
    if pick < 0.38:
        return WINTER_CROP
    if pick < 0.64:
        return SUMMER_CROP
    if pick < 0.72 and dry > 0.0:
        return VINEYARD
    return GRASSLAND


@njit(cache=True)
def _wild(x: float, y: float, z: float, slope: float, seed: int) -> int:
    """Forests by altitude, then moor, pasture, rock and ice."""
    patch = fbm(x / 2100.0, y / 2100.0, seed + 51, 5, 0.55)
    line = 1980.0 + 160.0 * patch
    if z > 2920.0 + 150.0 * patch and slope < 0.62:
        return GLACIER
    if slope > 1.05 + 0.35 * patch or z > 2620.0 + 190.0 * patch - 350.0 * slope:
        return MINERAL
    if z > line:
        return MOOR if z < line + 130.0 and patch > -0.1 else NATURAL_GRASS
    if patch < -0.42 - 0.25 * slope:
        return NATURAL_GRASS if z > 1100.0 else GRASSLAND
    mixed = z + 260.0 * gnoise(x / 700.0, y / 700.0, seed + 53) + 120.0 * gnoise(x / 90.0, y / 90.0, seed + 54)
    return CONIFER if mixed > 1050.0 else BROADLEAF


@njit(cache=True, nogil=True)
def cover_block(
    x: NDArray, y: NDArray, z: NDArray, gx: NDArray, gy: NDArray, seed: int
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Land cover of a block.

    Parameters
    ----------
    x, y : ground coordinates (m); z : elevation (m); gx, gy : slope components

    Returns
    -------
    code : uint8, see `LEGEND`
    parcel : uint32 hash, one per field (per house, per farm)
    texture : int8, fine brightness variation, +-127 for about +-1
    tree_cover : uint8, percent
    wet : uint8, percent of the pixel under water (soft shores)
    """
    h, w = x.shape
    code = np.empty((h, w), np.uint8)
    parcel = np.zeros((h, w), np.uint32)
    texture = np.empty((h, w), np.int8)
    trees = np.zeros((h, w), np.uint8)
    wet = np.zeros((h, w), np.uint8)
    for r in range(h):
        for c in range(w):
            px, py, pz = x[r, c], y[r, c], np.float64(z[r, c])
            slope = math.hypot(gx[r, c], gy[r, c])
            shore = open_water(px, py, seed) if slope < 0.35 else -1e4
            patch = fbm(px / 1500.0, py / 1500.0, seed + 61, 4, 0.55)
            number, border = _field(px, py, seed)
            town = _town(px, py, seed) if slope < 0.22 and pz < 1300.0 else -1.0
            floor = abs(valley(px, py, seed)) < FLOOR + 0.05
            if shore > -5.0:
                kind = WATER
            elif shore > -22.0 - 30.0 * patch and shore > -60.0:
                kind = MINERAL if patch > -0.2 else BROADLEAF
            elif town > 0.0:
                kind, number = _urban(px, py, town, seed)
            elif slope < 0.16 + 0.06 * patch and pz < 1450.0 and (patch < 0.42 or floor):
                kind = _farmland(number, pz, patch)
                if border < 4.5 and (number >> 20) % 5 < 2:
                    kind = ROAD if (number >> 24) % 3 == 0 else BROADLEAF
            else:
                kind = _wild(px, py, pz, slope, seed)
            tex = 0.6 * gnoise(px / 23.0, py / 23.0, seed + 71) + 0.5 * gnoise(px / 75.0, py / 75.0, seed + 72)
            tex += 0.35 * gnoise(px / 420.0, py / 420.0, seed + 73)
            code[r, c], parcel[r, c] = kind, number
            texture[r, c] = int(min(max(tex, -1.0), 1.0) * 127)
            wet[r, c] = int(100.0 * smoothstep(-5.0, 5.0, shore) + 0.5)
            density = 78.0 + 22.0 * patch + 14.0 * tex
            if kind in (BROADLEAF, CONIFER):
                trees[r, c] = int(min(max(density, 15.0), 100.0))
            elif kind == MOOR:
                trees[r, c] = int(min(max(density - 55.0, 0.0), 100.0))
    return code, parcel, texture, trees, wet
