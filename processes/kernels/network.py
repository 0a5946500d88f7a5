"""Medians by a sorting network: the same exchanges for every pixel, so that they run on whole vectors of pixels.

Batcher's odd-even merge sort (Batcher 1968, "Sorting networks and their applications") for any number of values.
NaN is sorted out as +infinity and counted, so every pixel takes its median from the same sorted stack at its own rank.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

LANES = 512  # pixels worked on at once: (n, LANES) float32 stays in the first-level cache up to n = 16


@lru_cache(maxsize=256)
def exchanges(n: int) -> np.ndarray:
    """Pairs (i, j), i < j, of the network that sorts ``n`` values; shape (m, 2), int64."""
    pairs = []
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                for i in range(min(k, n - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        pairs.append((i + j, i + j + k))
            k //= 2
        p *= 2
    return np.array(pairs, np.int64).reshape(-1, 2)


@njit(nogil=True, cache=True)
def median_network(values, pairs, ignore, out):
    """Median per pixel: (n, pixels) float -> ``out`` (pixels); NaN is nodata.

    ``pairs`` is ``exchanges(n)``. With ``ignore`` False a pixel with any NaN is NaN. The mean of the two middle values
    is taken in float64.
    """
    n, pixels = values.shape
    stack = np.empty((n, LANES), values.dtype)
    count = np.empty(LANES, np.int64)
    top = np.inf
    for start in range(0, pixels, LANES):
        width = min(LANES, pixels - start)
        count[:] = 0
        for i in range(n):
            for c in range(width):
                v = values[i, start + c]
                ok = v == v
                count[c] += ok
                stack[i, c] = v if ok else top
        for e in range(pairs.shape[0]):
            a, b = stack[pairs[e, 0]], stack[pairs[e, 1]]
            for c in range(width):
                x, y = a[c], b[c]
                a[c] = x if x < y else y
                b[c] = y if x < y else x
        for c in range(width):
            k = count[c]
            if k == 0 or (not ignore and k < n):
                out[start + c] = np.nan
            else:
                h = k // 2
                if k % 2:
                    out[start + c] = stack[h, c]
                else:
                    out[start + c] = np.float64(stack[h - 1, c]) * 0.5 + np.float64(stack[h, c]) * 0.5
    return out
