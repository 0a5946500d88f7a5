"""Surface reflectance of a block at full resolution: gases, scattering, surroundings and slope in one pass.

What varies slowly is folded into five coefficients at nodes (`processes.maja.surface` derives them), which are
interpolated down the rows once per row and along the row in segments between nodes: a pixel costs one multiplication and
one addition per coefficient. The loops over a row stay short and touch few arrays, so that they compile to vector code.
"""

from __future__ import annotations

import numpy as np
from numba import njit

NODATA = -10000
SCALE = 10000.0

COEFFICIENTS = 5
GAIN, PATH, DIRECT, SKY, GROUND = range(COEFFICIENTS)

MIN_COS_INCIDENCE = 0.2  # below, the sun is taken as this high over the slope (flag bit 0)
MIN_COS_EXIT = 0.1
MIN_RATIO = 0.2  # cos(incidence) / cos(sun zenith) below which the sun grazes the slope (flag bit 1)

_F = np.float32


@njit(nogil=True, error_model="numpy")
def _spread_row(grid, y, step, x0, row):
    """Interpolate ``grid`` (gy, gx), nodes every ``step`` pixels, along image row ``y`` from column ``x0``, into ``row``."""
    nodes_y, nodes_x = grid.shape
    position = min(y / step, nodes_y - 1.0)
    top = min(int(position), max(nodes_y - 2, 0))
    below = min(top + 1, nodes_y - 1)
    down = _F(position - top)
    x = 0
    while x < row.size:
        left = min(int((x0 + x) // step), nodes_x - 1)
        right = min(left + 1, nodes_x - 1)
        end = row.size if right == left else min(row.size, int(np.ceil((left + 1) * step)) - x0)
        a = grid[top, left] + (grid[below, left] - grid[top, left]) * down
        b = grid[top, right] + (grid[below, right] - grid[top, right]) * down
        slope = _F((b - a) / step)
        start, since = x, _F(x0 + x - left * step)
        for k in range(end - x):  # counted from the node, so that blocks agree to the last bit
            row[start + k] = a + slope * (since + _F(k))
        x = end


@njit(nogil=True, error_model="numpy")
def _correct_row(source, offset, missing, gain, path, out):
    for x in range(out.size):
        value = _F(source[x])
        out[x] = (value + offset) * gain[x] - path[x] if value != missing else _F(np.nan)


@njit(nogil=True, error_model="numpy")
def _light_row(east, north, sun, view, cosine, brdf, lit, flag):
    """Cosine of the slope, the sum of the cosines of incidence and exit, the cosine of incidence, and the flags."""
    sun_e, sun_n, sun_up = sun[0], sun[1], sun[2]
    view_e, view_n, view_up = view[0], view[1], view[2]
    grazing = _F(MIN_RATIO) * sun_up
    for x in range(cosine.size):
        e, n = east[x], north[x]
        up = _F(1.0) / np.sqrt(_F(1.0) + e * e + n * n)
        cosine[x] = up
        brdf[x] = max((view_up - e * view_e - n * view_n) * up, _F(MIN_COS_EXIT))
        lit[x] = (sun_up - e * sun_e - n * sun_n) * up
    for x in range(cosine.size):
        low = np.uint8(1) if lit[x] < _F(MIN_COS_INCIDENCE) else np.uint8(0)
        flag[x] = low | (np.uint8(2) if lit[x] < grazing else np.uint8(0))
    for x in range(cosine.size):
        lit[x] = max(lit[x], _F(MIN_COS_INCIDENCE))
        brdf[x] += lit[x]


@njit(nogil=True, error_model="numpy")
def _slope_row(source, rows, cosine, brdf, lit, out):
    direct, sky, ground = rows[DIRECT], rows[SKY], rows[GROUND]
    for x in range(out.size):
        half = _F(0.5) * cosine[x]
        lit[x] = direct[x] * lit[x] + sky[x] * (_F(0.5) + half) + ground[x] * (_F(0.5) - half)
    for x in range(out.size):
        v = source[x]
        out[x] = v if v < _F(0.0) or cosine[x] == _F(1.0) else v * brdf[x] / lit[x]


@njit(nogil=True, error_model="numpy")
def _store_row(source, out):
    for x in range(out.size):
        v = np.rint(source[x] * _F(SCALE))
        inside = min(max(v, _F(NODATA + 1)), _F(32767))
        out[x] = np.int16(inside if v == v else _F(NODATA))


@njit(nogil=True, cache=True, error_model="numpy")
def correct_block(dn, offset, grids, step, y0, x0, missing, east, north, sun, view, sre, fre, flags):
    """Surface reflectance without (SRE) and with (FRE) slope correction.

    dn : (h, w) uint16 or int16 digital numbers at top of atmosphere
    offset : float32, added to ``dn``
    grids : (COEFFICIENTS, gy, gx) float32 at nodes every ``step`` pixels, the first at the image's first pixel:
        SRE = (dn + offset) GAIN - PATH;
        FRE = SRE (cos_i + cos_e) / (DIRECT cos_i + SKY (1 + cos_S) / 2 + GROUND (1 - cos_S) / 2)
    y0, x0 : the block's first pixel in the image
    missing : float32, the digital number that stands for none
    east, north : (h, w) float32, rise per metre towards east and north; or (0, 0): no slopes, ``fre`` and ``flags`` untouched
    sun, view : (3,) float32 unit vectors (east, north, up) from the ground
    sre, fre : (h, w) int16 out, reflectance x 10000, -10000 for none
    flags : (h, w) uint8 out, bit 0: the sun is too low over the slope, bit 1: it grazes it
    """
    height, width = dn.shape
    slopes = east.size > 0
    rows = np.empty((COEFFICIENTS, width), np.float32)
    flat, turned = np.empty(width, np.float32), np.empty(width, np.float32)
    cosine, brdf, lit = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    for i in range(height):
        for g in range(COEFFICIENTS if slopes else PATH + 1):
            _spread_row(grids[g], y0 + i, step, x0, rows[g])
        _correct_row(dn[i], offset, missing, rows[GAIN], rows[PATH], flat)
        _store_row(flat, sre[i])
        if slopes:
            _light_row(east[i], north[i], sun, view, cosine, brdf, lit, flags[i])
            _slope_row(flat, rows, cosine, brdf, lit, turned)
            _store_row(turned, fre[i])
