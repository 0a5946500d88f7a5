"""Order statistics, running values and gap filling along axis 0 of (n, pixels) float blocks.

NaN is nodata. All kernels take C-contiguous 2-D arrays and give the dtype they get; sums run in float64. They release
the GIL and are cached on disk; none uses fast maths, so NaN and infinity keep their meaning.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit

_TILE = 512  # pixels sorted together: a tile of all dates stays in the processor's cache
_LONGEST = 96  # longer series are sorted pixel by pixel


@cache
def _network(n: int) -> np.ndarray:
    """Comparators of Batcher's merge-exchange sort (Knuth, The Art of Computer Programming 3, 5.2.2 M): (m, 2)."""
    pairs = []
    top = p = 1 << max(n - 1, 1).bit_length() - 1
    while p > 0:
        q, r, d = top, 0, p
        while d > 0:
            pairs += [(i, i + d) for i in range(n - d) if i & p == r]
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return np.array(pairs, np.int32).reshape(-1, 2)


@njit(nogil=True, cache=True)
def _sort_tile(values, start, width, pairs, tile, count):
    """Sort ``width`` pixels from ``start`` on into ``tile`` (n, width), NaN last; number of other values in ``count``.

    NaN becomes infinity, which sorts last: all pixels pass the same comparators, without branches.
    """
    n = values.shape[0]
    count[:] = 0
    for i in range(n):
        for j in range(width):
            v = values[i, start + j]
            valid = v == v
            tile[i, j] = v if valid else np.inf
            count[j] += 1 if valid else 0
    if n > _LONGEST:
        for j in range(width):
            tile[:, j] = np.sort(tile[:, j])
        return
    for c in range(len(pairs)):
        low, high = tile[pairs[c, 0]], tile[pairs[c, 1]]
        for j in range(width):
            a, b = low[j], high[j]
            low[j] = a if a < b else b
            high[j] = b if a < b else a


@njit(nogil=True, cache=True)
def _quantiles(values, probabilities, ignore, pairs):
    n, pixels = values.shape
    m = len(probabilities)
    out = np.empty((m, pixels), values.dtype)
    tile = np.empty((n, _TILE), values.dtype)
    count = np.empty(_TILE, np.int32)
    for start in range(0, pixels, _TILE):
        width = min(_TILE, pixels - start)
        _sort_tile(values, start, width, pairs, tile, count)
        for j in range(width):
            k = count[j]
            if k == 0 or (not ignore and k < n):
                out[:, start + j] = np.nan
                continue
            for q in range(m):
                h = (k - 1) * probabilities[q]
                low = int(h)
                share = h - low
                a = np.float64(tile[low, j])
                if share == 0.0:
                    out[q, start + j] = a
                    continue
                b = np.float64(tile[low + 1, j])
                # the weighted form keeps an infinite neighbour infinite, the other one is exact for equal neighbours
                finite = np.isfinite(a) and np.isfinite(b)
                out[q, start + j] = a + share * (b - a) if finite else a * (1.0 - share) + b * share
    return out


def quantiles(values: np.ndarray, probabilities: np.ndarray, ignore: bool) -> np.ndarray:
    """Quantiles of type 7 (Hyndman and Fan 1996). (n, pixels), (m,) float64 -> (m, pixels)."""
    return _quantiles(values, probabilities, ignore, _network(min(len(values), _LONGEST)))


def median(values: np.ndarray, ignore: bool) -> np.ndarray:
    """Median per pixel. (n, pixels) -> (pixels,)."""
    return quantiles(values, np.array([0.5]), ignore)[0]


@njit(nogil=True, cache=True)
def pick(values, step):
    """First (``step`` 1) or last (-1) value that is not NaN. (n, pixels) -> (pixels,)."""
    n, pixels = values.shape
    start = 0 if step > 0 else n - 1
    out = values[start].copy()
    holes = 0
    for p in range(pixels):
        if out[p] != out[p]:
            holes += 1
    i = start + step
    while holes > 0 and 0 <= i < n:
        for p in range(pixels):
            if out[p] != out[p] and values[i, p] == values[i, p]:
                out[p] = values[i, p]
                holes -= 1
        i += step
    return out


SUM, PRODUCT, MAXIMUM, MINIMUM = 0, 1, 2, 3


@njit(nogil=True, cache=True)
def cumulate(values, operation, ignore):
    """Running sum, product, maximum or minimum. NaN stays NaN and is skipped, or ends the series if not ignored."""
    n, pixels = values.shape
    out = np.empty((n, pixels), values.dtype)
    state = np.empty(pixels, np.float64)
    state[:] = 1.0 if operation == PRODUCT else 0.0
    begun = np.zeros(pixels, np.bool_)
    ended = np.zeros(pixels, np.bool_)
    for i in range(n):
        for p in range(pixels):
            v = np.float64(values[i, p])
            if v != v or ended[p]:
                out[i, p] = np.nan
                if not ignore:
                    ended[p] = True
                continue
            if operation == SUM:
                state[p] += v
            elif operation == PRODUCT:
                state[p] *= v
            elif not begun[p] or (operation == MAXIMUM and v > state[p]) or (operation == MINIMUM and v < state[p]):
                state[p] = v
            begun[p] = True
            out[i, p] = state[p]
    return out


@njit(nogil=True, cache=True)
def interpolate(values, x):
    """Fill NaN between two values by lines over the positions ``x`` (ascending); NaN at either end stays."""
    n, pixels = values.shape
    out = values.copy()
    before = np.full(pixels, -1, np.int64)  # row of the value last seen
    for i in range(n):
        for p in range(pixels):
            if values[i, p] != values[i, p]:
                continue
            b = before[p]
            if b >= 0 and i - b > 1:
                low, high = np.float64(values[b, p]), np.float64(values[i, p])
                span = x[i] - x[b]
                for j in range(b + 1, i):
                    share = (x[j] - x[b]) / span if span != 0.0 else 0.0
                    if np.isfinite(low) and np.isfinite(high):
                        out[j, p] = low + share * (high - low)
                    else:
                        out[j, p] = low * (1.0 - share) + high * share
            before[p] = i
    return out


@njit(nogil=True, cache=True)
def order(values, ascending, nodata_first):
    """Stable sorting positions per pixel. (n, pixels) -> (n, pixels) int32, and the number of NaN per pixel."""
    n, pixels = values.shape
    out = np.empty((n, pixels), np.int32)
    holes = np.empty(pixels, np.int32)
    index = np.empty(n, np.int32)
    for p in range(pixels):
        k = 0
        for i in range(n):
            v = values[i, p]
            if v != v:
                continue
            j = k
            while j > 0:
                w = values[index[j - 1], p]
                if (w > v) if ascending else (w < v):
                    index[j] = index[j - 1]
                    j -= 1
                else:
                    break
            index[j] = i
            k += 1
        holes[p] = n - k
        start = n - k if nodata_first else 0
        out[start : start + k, p] = index[:k]
        h = 0 if nodata_first else k
        for i in range(n):
            if values[i, p] != values[i, p]:
                out[h, p] = i
                h += 1
    return out, holes
