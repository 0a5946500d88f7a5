"""Order statistics, running values and gap filling along axis 0 of (n, pixels) float blocks.

NaN is nodata. All kernels take C-contiguous 2-D arrays and give the dtype they get; sums run in float64. They release
the GIL and are cached on disk; none uses fast maths, so NaN and infinity keep their meaning.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_SMALL = 32  # below, insertion sort beats the library's sort


@njit(nogil=True, cache=True)
def _sort(buffer, n):
    """Sort the first ``n`` values of ``buffer``; they hold no NaN."""
    if n > _SMALL:
        buffer[:n] = np.sort(buffer[:n])
        return
    for i in range(1, n):
        value = buffer[i]
        j = i
        while j > 0 and buffer[j - 1] > value:
            buffer[j] = buffer[j - 1]
            j -= 1
        buffer[j] = value


@njit(nogil=True, cache=True)
def _collect(values, p, buffer):
    """Copy the values of pixel ``p`` that are not NaN into ``buffer``; how many."""
    k = 0
    for i in range(values.shape[0]):
        v = values[i, p]
        if v == v:
            buffer[k] = v
            k += 1
    return k


@njit(nogil=True, cache=True)
def median(values, ignore):
    """Median per pixel. (n, pixels) -> (pixels,)."""
    n, pixels = values.shape
    out = np.empty(pixels, values.dtype)
    buffer = np.empty(n, values.dtype)
    for p in range(pixels):
        k = _collect(values, p, buffer)
        if k == 0 or (not ignore and k < n):
            out[p] = np.nan
            continue
        _sort(buffer, k)
        h = k // 2
        if k % 2:
            out[p] = buffer[h]
        else:
            out[p] = np.float64(buffer[h - 1]) * 0.5 + np.float64(buffer[h]) * 0.5
    return out


@njit(nogil=True, cache=True)
def quantiles(values, probabilities, ignore):
    """Quantiles of type 7 (Hyndman and Fan 1996). (n, pixels), (m,) -> (m, pixels)."""
    n, pixels = values.shape
    m = len(probabilities)
    out = np.empty((m, pixels), values.dtype)
    buffer = np.empty(n, values.dtype)
    for p in range(pixels):
        k = _collect(values, p, buffer)
        if k == 0 or (not ignore and k < n):
            out[:, p] = np.nan
            continue
        _sort(buffer, k)
        for q in range(m):
            h = (k - 1) * probabilities[q]
            low = int(np.floor(h))
            share = h - low
            a = np.float64(buffer[low])
            if share == 0.0:
                out[q, p] = a
                continue
            b = np.float64(buffer[low + 1])
            # the weighted form keeps an infinite neighbour infinite, the other one is exact for equal neighbours
            out[q, p] = a + share * (b - a) if np.isfinite(a) and np.isfinite(b) else a * (1.0 - share) + b * share
    return out


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
