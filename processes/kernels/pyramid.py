"""Loops of overview pyramids: halve a tile, sum up a tile."""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(nogil=True, cache=True)
def halve_mean_float(tile, out):
    """``out[i, j]`` = mean of the non-NaN values of the 2 x 2 cells (fewer at odd edges); NaN where there is none.

    ``tile`` (h, w) float, ``out`` (ceil(h/2), ceil(w/2)) of the same dtype. The mean is taken in float64.
    """
    h, w = tile.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            if 2 * i + 1 < h and 2 * j + 1 < w:  # nearly all cells, nearly all without NaN: no loop, no count
                total = (
                    np.float64(tile[2 * i, 2 * j])
                    + tile[2 * i, 2 * j + 1]
                    + tile[2 * i + 1, 2 * j]
                    + tile[2 * i + 1, 2 * j + 1]
                )
                if total == total:
                    out[i, j] = total * 0.25
                    continue
            total, n = 0.0, 0
            for y in range(2 * i, min(2 * i + 2, h)):
                for x in range(2 * j, min(2 * j + 2, w)):
                    v = tile[y, x]
                    if v == v:
                        total += v
                        n += 1
            out[i, j] = total / n if n else np.nan


@nb.njit(nogil=True, cache=True)
def halve_mean_int(tile, out, nodata, has_nodata):
    """As `halve_mean_float` on integers: rounded to nearest, halves up; cells equal to ``nodata`` do not count."""
    h, w = tile.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            if 2 * i + 1 < h and 2 * j + 1 < w:
                a, b = tile[2 * i, 2 * j], tile[2 * i, 2 * j + 1]
                c, d = tile[2 * i + 1, 2 * j], tile[2 * i + 1, 2 * j + 1]
                if not (has_nodata and (a == nodata or b == nodata or c == nodata or d == nodata)):
                    out[i, j] = np.floor((np.float64(a) + b + c + d) * 0.25 + 0.5)
                    continue
            total, n = 0.0, 0
            for y in range(2 * i, min(2 * i + 2, h)):
                for x in range(2 * j, min(2 * j + 2, w)):
                    v = tile[y, x]
                    if not (has_nodata and v == nodata):
                        total += v
                        n += 1
            out[i, j] = np.floor(total / n + 0.5) if n else nodata


@nb.njit(nogil=True, cache=True)
def halve_mode(tile, out, nodata, has_nodata):
    """``out[i, j]`` = the most frequent value of the 2 x 2 cells, the first of them (row by row) on a tie.

    NaN and ``nodata`` count only where there is nothing else.
    """
    h, w = tile.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            best = tile[2 * i, 2 * j]
            votes = 0
            for y in range(2 * i, min(2 * i + 2, h)):
                for x in range(2 * j, min(2 * j + 2, w)):
                    v = tile[y, x]
                    if v != v or (has_nodata and v == nodata):
                        continue
                    n = 0
                    for b in range(2 * i, min(2 * i + 2, h)):
                        for a in range(2 * j, min(2 * j + 2, w)):
                            if tile[b, a] == v:
                                n += 1
                    if n > votes:
                        best, votes = v, n
            out[i, j] = best


@nb.njit(nogil=True, cache=True)
def halve_first(tile, out):
    """``out[i, j]`` = the upper left of the 2 x 2 cells (nearest neighbour)."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = tile[2 * i, 2 * j]


# sums in any order, which lets the compiler add on vectors; NaN and infinity keep their meaning
_ANY_ORDER = {"reassoc", "nsz"}


def summary(tile, nodata, has_nodata):
    """``(n, min, max, mean, sum of squared deviations)`` of the valid cells, float64; ``n == 0``: the others are 0.

    NaN, infinities and ``nodata`` are not valid. Two passes, so that nothing cancels.
    """
    values = np.ascontiguousarray(tile).reshape(-1)
    absent = np.float64(nodata if has_nodata else np.nan)  # nothing equals NaN
    n, total = _total(values, absent)
    if n == 0:
        return 0, 0.0, 0.0, 0.0, 0.0
    low, high = _float_ends(values, absent) if values.dtype.kind == "f" else _integer_ends(values, nodata, has_nodata)
    mean = total / n
    return n, float(low), float(high), mean, _squares(values, absent, mean)


@nb.njit(nogil=True, cache=True, fastmath=_ANY_ORDER)
def _total(values, absent):
    """Number and sum of the valid values (1-D)."""
    n, total = 0, 0.0
    for i in range(values.size):
        x = np.float64(values[i])
        valid = (x - x == 0.0) & (x != absent)
        n += valid
        total += x if valid else 0.0
    return n, total


@nb.njit(nogil=True, cache=True, fastmath=_ANY_ORDER)
def _squares(values, absent, mean):
    """Sum of squared deviations from ``mean`` of the valid values (1-D)."""
    total = 0.0
    for i in range(values.size):
        x = np.float64(values[i])
        valid = (x - x == 0.0) & (x != absent)
        deviation = x - mean if valid else 0.0
        total += deviation * deviation
    return total


def _float_ends(values, absent):
    """Least and greatest valid value. Their bits are compared as integers: that is done on vectors, what minds NaN is not.

    Those of negative numbers run the other way and are turned round, before and after.
    """
    bits = values.view(f"i{values.itemsize}")
    info = np.iinfo(bits.dtype)
    least, most = bits.dtype.type(info.min), bits.dtype.type(info.max)
    ends = np.array(_ordered_ends(values, bits, values.dtype.type(absent), least, most), bits.dtype)
    return (ends ^ ((ends >> (info.bits - 1)) & most)).view(values.dtype)


@nb.njit(nogil=True, cache=True)
def _ordered_ends(values, bits, absent, least, most):
    low, high = most, least
    for i in range(values.size):
        x = values[i]
        key = bits[i] ^ (most if bits[i] < 0 else bits.dtype.type(0))
        valid = (x - x == 0) & (x != absent)
        low = min(low, key if valid else most)
        high = max(high, key if valid else least)
    return low, high


def _integer_ends(values, nodata, has_nodata):
    """Least and greatest value that is not ``nodata``."""
    if not has_nodata:
        return values.min(), values.max()
    info = np.iinfo(values.dtype)
    return _ends_but(values, values.dtype.type(nodata), values.dtype.type(info.min), values.dtype.type(info.max))


@nb.njit(nogil=True, cache=True)
def _ends_but(values, nodata, least, most):
    low, high = most, least
    for i in range(values.size):
        v = values[i]
        low = min(low, v if v != nodata else most)
        high = max(high, v if v != nodata else least)
    return low, high
