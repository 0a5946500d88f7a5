"""Grids of the snow chain: 10 m bands halved to 20 m, red averaged to coarse cells.

Both follow what Gascoin et al. 2019's chain does, so that its results can be repeated digit by digit.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# anti-aliased cubic (a = -0.5) for a factor of two, at offsets -3.5 .. 3.5 source pixels, times 256
_T0, _T1, _T2, _T3 = 111, 29, -9, -3


@njit(nogil=True, cache=True)
def _across(row, nodata, sums, holes, pairs):
    """Horizontal pass over one source row: weighted sums, and 1 in ``holes`` where nodata may be in a pixel's window.

    A window is looked at by pairs of pixels, which flags a pixel too many on each side: the slow path gives the same there.
    ``pairs`` is room for them, with two zeros on each side. Returns whether any nodata was met.
    """
    half = sums.shape[0]
    any_hole = False
    for i in range(row.shape[0]):
        any_hole |= row[i] == nodata
    # int32 arithmetic: |int16| * 304 < 2^24
    for x in range(2, half - 2):
        i = 2 * x
        sums[x] = (
            _T0 * (np.int32(row[i]) + np.int32(row[i + 1]))
            + _T1 * (np.int32(row[i - 1]) + np.int32(row[i + 2]))
            + _T2 * (np.int32(row[i - 2]) + np.int32(row[i + 3]))
            + _T3 * (np.int32(row[i - 3]) + np.int32(row[i + 4]))
        )
    if any_hole:
        for x in range(half):
            pairs[x + 2] = np.uint8(row[2 * x] == nodata) | np.uint8(row[2 * x + 1] == nodata)
        for x in range(half):
            holes[x] = pairs[x] | pairs[x + 1] | pairs[x + 2] | pairs[x + 3] | pairs[x + 4]
    return any_hole


@njit(nogil=True, cache=True)
def _weight(offset):
    """Weight (x 256) of the tap at ``offset`` -3 .. 4 from the block's first pixel."""
    k = offset if offset >= 1 else 1 - offset
    return _T0 if k == 1 else _T1 if k == 2 else _T2 if k == 3 else _T3


@njit(nogil=True, cache=True)
def _careful(src, nodata, y, x):
    """One output pixel with nodata or the image's border in its window: weights renormalised over what is there."""
    if src[2 * y + 1, 2 * x + 1] == nodata:
        return nodata
    total, weight = np.int64(0), np.int64(0)
    for j in range(max(-3, -2 * y), min(5, src.shape[0] - 2 * y)):
        for i in range(max(-3, -2 * x), min(5, src.shape[1] - 2 * x)):
            value = src[2 * y + j, 2 * x + i]
            if value != nodata:
                w = np.int64(_weight(j) * _weight(i))
                total += w * value
                weight += w
    if weight <= 0:  # little but negative taps is left
        return nodata
    return min(max(math.floor(total / weight + 0.5), -32768), 32767)


@njit(nogil=True, cache=True)
def halve_rows(src, nodata, out, first, last, offset):
    """20 m rows ``first`` .. ``last`` (exclusive) of the 10 m band ``src`` into ``out``, whose row 0 is ``offset``.

    Parameters
    ----------
    src : int16 (2h, 2w); a pixel of the result is valid exactly where the lower right of its four pixels is
    nodata : fill value of ``src`` and ``out``
    out : int16 (rows, w)

    Notes
    -----
    Separable 8 taps on an anti-aliased cubic; in fixed point, hence exact; rounded half up.
    """
    height, half = src.shape[0], out.shape[1]
    ring = np.zeros((8, half), np.int32)
    holes = np.zeros((8, half), np.uint8)
    dirty = np.zeros(8, np.bool_)
    pairs, spoilt = np.zeros(half + 4, np.uint8), np.empty(half, np.uint8)
    done = max(2 * first - 3, 0)
    for y in range(first, last):
        top, bottom = 2 * y - 3, 2 * y + 5
        for j in range(done, min(bottom, height)):
            dirty[j % 8] = _across(src[j], nodata, ring[j % 8], holes[j % 8], pairs)
        done = max(done, min(bottom, height))
        target = out[y - offset]
        if top < 0 or bottom > height:
            for x in range(half):
                target[x] = _careful(src, nodata, y, x)
            continue
        a, b, c, d = ring[top % 8], ring[(top + 1) % 8], ring[(top + 2) % 8], ring[(top + 3) % 8]
        e, f, g, h = ring[(top + 4) % 8], ring[(top + 5) % 8], ring[(top + 6) % 8], ring[(top + 7) % 8]
        for x in range(2, half - 2):
            # float64 holds these sums exactly (|sum| < 2^33) and vectorises better than int64
            s = 111.0 * (d[x] + e[x]) + 29.0 * (c[x] + f[x]) - 9.0 * (b[x] + g[x]) - 3.0 * (a[x] + h[x])
            target[x] = np.int16(min(max(math.floor(s * (1.0 / 65536.0) + 0.5), -32768.0), 32767.0))
        for x in range(min(2, half)):
            target[x] = _careful(src, nodata, y, x)
            target[half - 1 - x] = _careful(src, nodata, y, half - 1 - x)
        if dirty.any():
            spoilt[:] = 0
            for k in range(8):
                if dirty[k]:
                    for x in range(half):
                        spoilt[x] |= holes[k, x]
            for x in range(half):
                if spoilt[x]:
                    target[x] = _careful(src, nodata, y, x)


@njit(nogil=True, cache=True)
def coarse_rows(src, nodata, weights_y, start_y, weights_x, start_x, out, first, last):
    """Coarse cells ``first`` .. ``last`` (rows of cells) of ``src`` by a separable triangle filter.

    Parameters
    ----------
    src : int16 (h, w)
    weights_y, weights_x : float64 (cells, taps), zero where a tap is beyond the filter
    start_y, start_x : int64, first source row/column of each cell's taps
    out : int16 (cells_y, cells_x): rounded half up; ``nodata`` where the cell's centre pixel is
    """
    cells_y, cells_x = out.shape
    height, width = src.shape
    sums, parts = np.empty(width), np.empty(width)
    for cy in range(first, last):
        sums[:] = 0.0
        parts[:] = 0.0
        for k in range(weights_y.shape[1]):
            w, row = weights_y[cy, k], start_y[cy] + k
            if w == 0.0 or row < 0 or row >= height:
                continue
            line = src[row]
            for x in range(width):
                ok = line[x] != nodata
                sums[x] += w * line[x] if ok else 0.0
                parts[x] += w if ok else 0.0
        centre = src[int((cy + 0.5) * height / cells_y)]
        for cx in range(cells_x):
            if centre[int((cx + 0.5) * width / cells_x)] == nodata:
                out[cy, cx] = nodata
                continue
            total, weight = 0.0, 0.0
            for k in range(weights_x.shape[1]):
                w, col = weights_x[cx, k], start_x[cx] + k
                if w != 0.0 and col >= 0 and col < width:
                    total += w * sums[col]
                    weight += w * parts[col]
            out[cy, cx] = math.floor(total / weight + 0.5)
