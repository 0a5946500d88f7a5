"""From one pixel grid to another."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def gather(planes, rows, cols, fill, out):
    """``out[p, i, j] = planes[p, rows[i, j], cols[i, j]]``; ``fill`` where the row or column is not in the planes."""
    height, width = planes.shape[1:]
    for p in range(planes.shape[0]):
        for i in range(rows.shape[0]):
            for j in range(rows.shape[1]):
                r, c = rows[i, j], cols[i, j]
                if 0 <= r < height and 0 <= c < width:
                    out[p, i, j] = planes[p, r, c]
                else:
                    out[p, i, j] = fill


@njit(nogil=True, cache=True)
def area_mean(planes, tops, bottoms, lefts, rights, out):
    """Mean of the pixels under each target pixel, weighted by the area they share; NaN counts nothing.

    ``tops``, ``bottoms`` (per target row) and ``lefts``, ``rights`` (per target column) are the target pixels' edges
    in source pixels. Summed in float64; NaN where nothing valid is under a target pixel.
    """
    height, width = planes.shape[1:]
    for p in range(planes.shape[0]):
        for i in range(len(tops)):
            low, high = max(tops[i], 0.0), min(bottoms[i], float(height))
            for j in range(len(lefts)):
                left, right = max(lefts[j], 0.0), min(rights[j], float(width))
                total, weight = 0.0, 0.0
                for r in range(int(low), min(int(np.ceil(high)), height)):
                    tall = min(high, r + 1.0) - max(low, float(r))
                    for c in range(int(left), min(int(np.ceil(right)), width)):
                        v = planes[p, r, c]
                        if v == v:
                            share = tall * (min(right, c + 1.0) - max(left, float(c)))
                            total += share * v
                            weight += share
                out[p, i, j] = total / weight if weight > 1e-9 else np.nan
