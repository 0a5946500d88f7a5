"""Weighted sums over the neighbours of each pixel."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def correlate(grown, kernel, factor, replace, out):
    """``out[p, i, j] = factor * sum(kernel[a, b] * grown[p, i + a, j + b])``, summed in float64.

    ``grown`` (planes, rows + kernel rows - 1, columns + kernel columns - 1) float; NaN and infinite values in it count as
    ``replace``. The loop over a row is innermost, so that it runs on vectors.
    """
    planes, rows, cols = out.shape
    clean = np.empty(grown.shape[1:], np.float64)
    total = np.empty(cols, np.float64)
    for p in range(planes):
        for i in range(clean.shape[0]):
            for j in range(clean.shape[1]):
                v = grown[p, i, j]
                clean[i, j] = v if np.isfinite(v) else replace
        for i in range(rows):
            total[:] = 0.0
            for a in range(kernel.shape[0]):
                for b in range(kernel.shape[1]):
                    weight = kernel[a, b]
                    if weight != 0.0:
                        for j in range(cols):
                            total[j] += weight * clean[i + a, j + b]
            for j in range(cols):
                out[p, i, j] = total[j] * factor
