"""Digital numbers to values: the innermost loop of every load."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def scale_dn(dn, nodata, offset, scale, out, holes_only):
    """(float32(dn) + offset) * scale into ``out`` (h, w) float32, NaN where ``dn`` equals ``nodata`` or is NaN.

    ``nodata`` is float64 (NaN: none); ``offset`` and ``scale`` are float32. With ``holes_only`` only NaN pixels of
    ``out`` are written (mosaicking: first valid pixel wins). Returns the number of NaN pixels left.
    """
    holes = 0
    nan = np.float32(np.nan)
    for i in range(dn.shape[0]):
        for j in range(dn.shape[1]):
            if holes_only and not np.isnan(out[i, j]):
                continue
            v = dn[i, j]
            if v == nodata or v != v:
                out[i, j] = nan
                holes += 1
            else:
                out[i, j] = (np.float32(v) + offset) * scale
    return holes


@njit(nogil=True, cache=True)
def lookup_dn(dn, table, out, fill, holes_only):
    """table[dn] into ``out`` (h, w) of an integer type; counts pixels left equal to ``fill``. ``dn`` is unsigned."""
    holes = 0
    for i in range(dn.shape[0]):
        for j in range(dn.shape[1]):
            if holes_only and out[i, j] != fill:
                continue
            v = table[dn[i, j]]
            out[i, j] = v
            if v == fill:
                holes += 1
    return holes
