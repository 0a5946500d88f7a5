"""Digital numbers to values: the innermost loop of every load."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def scale_all(dn, nodata, has_nodata, offset, scale, out):
    """(float32(dn) + offset) * scale into ``out`` (h, w) float32; NaN where ``dn`` equals ``nodata`` or is NaN.

    ``nodata`` is of the type of ``dn`` (any value where ``has_nodata`` is False); ``offset`` and ``scale`` are
    float32. Returns the number of NaN pixels. Written without branches, so that it runs on vectors.
    """
    holes = 0
    nan = np.float32(np.nan)
    for i in range(dn.shape[0]):
        bad = 0
        for j in range(dn.shape[1]):
            v = dn[i, j]
            hole = (has_nodata and v == nodata) or v != v
            out[i, j] = nan if hole else (np.float32(v) + offset) * scale
            bad += hole
        holes += bad
    return holes


@njit(nogil=True, cache=True)
def scale_holes(dn, nodata, has_nodata, offset, scale, out):
    """`scale_all` into the NaN pixels of ``out`` only (mosaicking: the first valid pixel wins); NaN pixels left."""
    holes = 0
    for i in range(dn.shape[0]):
        for j in range(dn.shape[1]):
            if not np.isnan(out[i, j]):
                continue
            v = dn[i, j]
            if (has_nodata and v == nodata) or v != v:
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
            holes += v == fill
    return holes


@njit(nogil=True, cache=True)
def decode_all(dn, nodata, has_nodata, out):
    """float32(dn) into ``out``; NaN where ``dn`` equals ``nodata`` (of the type of ``dn``). One-dimensional."""
    nan = np.float32(np.nan)
    for i in range(dn.size):
        v = dn[i]
        out[i] = nan if has_nodata and v == nodata else np.float32(v)


@njit(nogil=True, cache=True)
def take(codes, table, out):
    """table[codes] into ``out``; ``codes`` uint8, ``table`` of 256 values of the type of ``out``. One-dimensional."""
    for i in range(codes.size):
        out[i] = table[codes[i]]


@njit(nogil=True, cache=True)
def sum_rows(differences, first, out):
    """Running sums along the rows of ``differences`` (h, >= first + w), from column ``first`` on, into ``out`` (h, w).

    Both are of one integer type of 32 bits or fewer; sums wrap around as its arithmetic does (TIFF predictor 2).
    """
    for i in range(out.shape[0]):
        total = 0
        for j in range(first):
            total += differences[i, j]
        for j in range(out.shape[1]):
            total += differences[i, first + j]
            out[i, j] = total
