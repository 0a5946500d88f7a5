"""Deterministic noise in the plane: hashes, gradient noise, fractal sums.

Everything here is a pure function of (position, seed), so a field is the same wherever and in whatever blocks it is
evaluated: that is what lets two tiles in two UTM zones show the same ground. Gradient noise follows Perlin (2002),
"Improving noise", doi:10.1145/566654.566636; the integer hash is the finaliser of splitmix64 (Steele et al. 2014,
doi:10.1145/2660193.2660195).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_A = np.uint64(0x9E3779B97F4A7C15)
_B = np.uint64(0xC2B2AE3D27D4EB4F)
_C = np.uint64(0x165667B19E3779F9)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11, _S59 = (np.uint64(n) for n in (30, 27, 31, 11, 59))

_ANGLES = (np.arange(32) + 0.5) * (2 * np.pi / 32)
_GX, _GY = np.cos(_ANGLES), np.sin(_ANGLES)


@njit(inline="always")
def hash2(i: int, j: int, seed: int | np.int64) -> np.uint64:
    """64 well-mixed bits of a lattice point."""
    h = np.uint64(i) * _A ^ np.uint64(j) * _B ^ np.uint64(seed) * _C
    h = (h ^ (h >> _S30)) * _M1
    h = (h ^ (h >> _S27)) * _M2
    return h ^ (h >> _S31)


@njit(inline="always")
def uniform(i: int, j: int, seed: int | np.int64) -> float:
    """Uniform number in [0, 1) of a lattice point."""
    return np.float64(hash2(i, j, seed) >> _S11) * (1.0 / 9007199254740992.0)


@njit(inline="always")
def smoothstep(lo: float, hi: float, v: float) -> float:
    """0 below `lo`, 1 above `hi`, a cubic between."""
    t = min(max((v - lo) / (hi - lo), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@njit(inline="always")
def _corner(i: int, j: int, dx: float, dy: float, seed: int) -> float:
    k = np.int64(hash2(i, j, seed) >> _S59)
    return _GX[k] * dx + _GY[k] * dy


@njit(cache=True)
def gnoise(x: float, y: float, seed: int) -> float:
    """Gradient noise, about [-1, 1], lattice spacing 1, mean 0."""
    fx, fy = math.floor(x), math.floor(y)
    i, j = int(fx), int(fy)
    dx, dy = x - fx, y - fy
    u = dx * dx * dx * (dx * (dx * 6.0 - 15.0) + 10.0)
    v = dy * dy * dy * (dy * (dy * 6.0 - 15.0) + 10.0)
    a = _corner(i, j, dx, dy, seed)
    b = _corner(i + 1, j, dx - 1.0, dy, seed)
    c = _corner(i, j + 1, dx, dy - 1.0, seed)
    d = _corner(i + 1, j + 1, dx - 1.0, dy - 1.0, seed)
    top = a + u * (b - a)
    return 1.45 * (top + v * (c + u * (d - c) - top))


@njit(cache=True)
def fbm(x: float, y: float, seed: int, octaves: int, gain: float) -> float:
    """Sum of `octaves` of gradient noise, each twice as fine and `gain` times as strong; the first has amplitude 1."""
    total, amp = 0.0, 1.0
    for k in range(octaves):
        total += amp * gnoise(x, y, seed + 101 * k)
        # a turn between octaves hides the lattice
        x, y = 1.6 * x - 1.2 * y + 17.3, 1.2 * x + 1.6 * y - 9.1
        amp *= gain
    return total


@njit(cache=True)
def ridged(x: float, y: float, seed: int, octaves: int) -> float:
    """Ridged multifractal noise in about [0, 1.6] (Musgrave, "Texturing and Modeling", 2003): sharp crests, eroded flanks."""
    total, amp, weight = 0.0, 1.0, 1.0
    for k in range(octaves):
        n = 1.0 - abs(gnoise(x, y, seed + 101 * k))
        n *= n * weight
        total += amp * n
        weight = min(max(1.4 * n, 0.0), 1.0)
        x, y = 1.6 * x - 1.2 * y + 5.7, 1.2 * x + 1.6 * y + 3.9
        amp *= 0.46
    return total


@njit(cache=True)
def nearest_site(x: float, y: float, seed: int) -> tuple[int, int, float, float, float]:
    """Nearest site of a jittered lattice of spacing 1 (Worley 1996), and how far the cell's border is.

    Returns lattice indices of the site, offset (dx, dy) of the point from it, and the distance to the border.
    """
    ci, cj = math.floor(x), math.floor(y)
    best, second = 1e9, 1e9
    bi, bj, bx, by, sx, sy = 0, 0, 0.0, 0.0, 0.0, 0.0
    for i in range(ci - 1, ci + 2):
        for j in range(cj - 1, cj + 2):
            px = i + 0.12 + 0.76 * uniform(i, j, seed)
            py = j + 0.12 + 0.76 * uniform(i, j, seed + 7)
            d = (x - px) ** 2 + (y - py) ** 2
            if d < best:
                second, sx, sy = best, bx, by
                best, bi, bj, bx, by = d, i, j, px, py
            elif d < second:
                second, sx, sy = d, px, py
    gap = math.hypot(bx - sx, by - sy)
    edge = (second - best) / (2.0 * gap) if gap > 0 else 0.0
    return bi, bj, x - bx, y - by, edge


@njit(inline="always")
def normal(i: int, j: int, seed: int) -> float:
    """Roughly Gaussian number (sum of four 16-bit uniforms) with mean 0 and variance 1."""
    h = hash2(i, j, seed)
    s = (
        np.float64(h & np.uint64(0xFFFF))
        + np.float64((h >> np.uint64(16)) & np.uint64(0xFFFF))
        + np.float64((h >> np.uint64(32)) & np.uint64(0xFFFF))
        + np.float64(h >> np.uint64(48))
    )
    return (s / 65535.0 - 2.0) * 1.7320508
