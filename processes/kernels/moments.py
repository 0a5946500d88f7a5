"""Sums, products and squared deviations along axis 0 of (n, pixels) float blocks, in float64. NaN is left out.

The inner loops run over pixels without branches, so that the compiler turns them into vector instructions.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_TILE = 4096  # pixels whose sums stay in the processor's cache while the rows pass


@njit(nogil=True, cache=True)
def sums(values):
    """Sum and number of the values that are not NaN: float64 and int32 of shape (pixels,)."""
    n, pixels = values.shape
    total = np.zeros(pixels, np.float64)
    count = np.zeros(pixels, np.int32)
    for start in range(0, pixels, _TILE):
        t, c = total[start : start + _TILE], count[start : start + _TILE]
        for i in range(n):
            row = values[i, start : start + _TILE]
            for p in range(row.size):
                v = row[p]
                valid = v == v
                t[p] += np.float64(v) if valid else 0.0
                c[p] += 1 if valid else 0
    return total, count


@njit(nogil=True, cache=True)
def quotients(total, count, out):
    """total / count into ``out`` (rounded to its type), NaN where ``count`` is 0. All of shape (pixels,)."""
    for p in range(total.size):
        n = count[p]
        out[p] = total[p] / np.float64(n) if n > 0 else np.nan


@njit(nogil=True, cache=True)
def products(values):
    """Product and number of the values that are not NaN."""
    n, pixels = values.shape
    total = np.ones(pixels, np.float64)
    count = np.zeros(pixels, np.int32)
    for i in range(n):
        row = values[i]
        for p in range(pixels):
            v = row[p]
            valid = v == v
            total[p] *= np.float64(v) if valid else 1.0
            count[p] += 1 if valid else 0
    return total, count


@njit(nogil=True, cache=True)
def deviations(values):
    """Number, mean and sum of squared deviations from the mean (Welford 1962) of the values that are not NaN."""
    n, pixels = values.shape
    count = np.zeros(pixels, np.int32)
    mean = np.zeros(pixels, np.float64)
    squares = np.zeros(pixels, np.float64)
    for i in range(n):
        row = values[i]
        for p in range(pixels):
            v = np.float64(row[p])
            valid = v == v
            k = count[p] + (1 if valid else 0)
            delta = v - mean[p] if valid else 0.0
            mean[p] += delta / np.float64(k if k > 0 else 1)
            squares[p] += delta * (v - mean[p]) if valid else 0.0
            count[p] = k
    return count, mean, squares
