"""Relief, rivers and lakes of the synthetic world, as functions of ground position.

A large-scale noise is zero along winding lines: these are the valley floors, with a river on the line itself. The
relief rises with distance from them and carries ridged fractal detail, so crests, flanks, flat floors and plains come
in the order nature has them. Elevations run from about 250 m to 3700 m.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from backend.demo.noise import fbm, gnoise, ridged, smoothstep

VALLEY_LENGTH = 8000.0
FLOOR = 0.17


@njit(cache=True)
def valley(x: float, y: float, seed: int) -> float:
    """Signed valley coordinate: 0 on the river, about +-0.8 on the crests between two valleys."""
    wx = x + 1700.0 * gnoise(x / 6500.0, y / 6500.0, seed + 1) + 210.0 * gnoise(x / 900.0, y / 900.0, seed + 2)
    wy = y + 1700.0 * gnoise(x / 6500.0, y / 6500.0, seed + 3) + 210.0 * gnoise(x / 900.0, y / 900.0, seed + 4)
    return gnoise(wx / VALLEY_LENGTH, wy / VALLEY_LENGTH, seed + 5)


@njit(cache=True)
def mountains(x: float, y: float, seed: int) -> float:
    """0 in the plains, 1 in the high range."""
    return smoothstep(-0.45, 0.35, fbm(x / 26000.0, y / 26000.0, seed + 11, 3, 0.5))


@njit(cache=True)
def elevation(x: float, y: float, seed: int) -> float:
    """Height of the ground, metres."""
    m = mountains(x, y, seed)
    # gullies: the foot of the slopes runs in and out with the ridges above it
    rough = ridged(x / 4600.0, y / 4600.0, seed + 17, 6)
    away = abs(valley(x, y, seed)) - FLOOR + 0.13 * (rough - 0.9)
    base = 420.0 + 160.0 * gnoise(x / 60000.0, y / 60000.0, seed + 13) + 520.0 * m
    floor = 5.0 * fbm(x / 900.0, y / 900.0, seed + 15, 3, 0.5)
    if away <= 0.0:
        return base + floor
    rise = away * away / (away * (away + 0.12) + 0.13)
    fine = fbm(x / 330.0, y / 330.0, seed + 19, 3, 0.5)
    high = rise * (1150.0 + 1500.0 * rough) + 30.0 * min(1.0, 4.0 * rise) * fine
    hills = rise * (130.0 + 150.0 * rough)
    return base + floor + m * high + (1.0 - m) * hills


@njit(cache=True)
def river_distance(x: float, y: float, seed: int) -> float:
    """Metres to the middle of the nearest river (first order, good where it is below a few hundred metres)."""
    v = valley(x, y, seed)
    if abs(v) > 0.12:
        return 1e4
    gx = (valley(x + 15.0, y, seed) - valley(x - 15.0, y, seed)) / 30.0
    gy = (valley(x, y + 15.0, seed) - valley(x, y - 15.0, seed)) / 30.0
    return abs(v) / max(math.hypot(gx, gy), 2e-5)


@njit(cache=True)
def open_water(x: float, y: float, seed: int) -> float:
    """Metres inside (positive) or outside (negative) the shore of a river or lake."""
    width = 24.0 + 12.0 * gnoise(x / 1500.0, y / 1500.0, seed + 21)
    shore = width - river_distance(x, y, seed)
    away = abs(valley(x, y, seed))
    if away < FLOOR + 0.02:
        lake = gnoise(x / 1700.0, y / 1700.0, seed + 23) + 0.06 * gnoise(x / 160.0, y / 160.0, seed + 24)
        limit = 0.62 + 3.0 * max(0.0, away - FLOOR + 0.05)
        shore = max(shore, (lake - limit) * 1100.0)
    return shore


@njit(cache=True, nogil=True)
def elevation_block(x: NDArray, y: NDArray, seed: int) -> NDArray:
    """Elevation, float32, of a block of ground points."""
    out = np.empty(x.shape, np.float32)
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            out[r, c] = elevation(x[r, c], y[r, c], seed)
    return out


@njit(cache=True, nogil=True)
def gradient_block(z: NDArray, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
    """Ground-frame slope components dz/dx and dz/dy (float32) of the inner pixels of a block with a rim of one pixel.

    Central differences along rows and columns are turned into the ground frame with the local Jacobian, so two grids
    that are turned against each other give the same slope.
    """
    h, w = z.shape[0] - 2, z.shape[1] - 2
    gx, gy = np.empty((h, w), np.float32), np.empty((h, w), np.float32)
    for r in range(h):
        for c in range(w):
            i, j = r + 1, c + 1
            zc, zr = z[i, j + 1] - z[i, j - 1], z[i + 1, j] - z[i - 1, j]
            xc, xr = x[i, j + 1] - x[i, j - 1], x[i + 1, j] - x[i - 1, j]
            yc, yr = y[i, j + 1] - y[i, j - 1], y[i + 1, j] - y[i - 1, j]
            det = xc * yr - xr * yc
            gx[r, c] = (zc * yr - zr * yc) / det
            gy[r, c] = (zr * xc - zc * xr) / det
    return gx, gy


@njit(cache=True, nogil=True)
def cast_shadow(
    z: NDArray, row: int, col: int, height: int, width: int, east: float, north: float, tan_elevation: float
) -> NDArray:
    """Part of the sun's disc hidden by the relief, float32 0..1, for a window of a 10 m elevation raster.

    From each pixel the line to the sun is followed for up to 3 km (or the raster's edge) in growing steps; the highest
    horizon met is compared with the sun's elevation, softened over 0.5 degree, the size of its disc.

    Parameters
    ----------
    z : elevation raster (m), the window lies inside it at (`row`, `col`)
    east, north : unit vector to the sun in the raster's own axes
    tan_elevation : tangent of the sun's elevation
    """
    out = np.zeros((height, width), np.float32)
    for r in range(height):
        for c in range(width):
            i, j = row + r, col + c
            here, horizon, dist = z[i, j], -1.0, 20.0
            while dist < 3000.0:
                fi, fj = i - north * dist / 10.0, j + east * dist / 10.0
                i0, j0 = math.floor(fi), math.floor(fj)
                if i0 < 0 or j0 < 0 or i0 + 1 >= z.shape[0] or j0 + 1 >= z.shape[1]:
                    break
                u, v = fj - j0, fi - i0
                top = z[i0, j0] * (1 - u) + z[i0, j0 + 1] * u
                there = top * (1 - v) + (z[i0 + 1, j0] * (1 - u) + z[i0 + 1, j0 + 1] * u) * v
                horizon = max(horizon, (there - here) / dist)
                dist *= 1.22
            out[r, c] = smoothstep(-0.0045, 0.0045, (horizon - tan_elevation) / (1 + tan_elevation * tan_elevation))
    return out
