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


@nb.njit(nogil=True, cache=True)
def summary(tile, nodata, has_nodata):
    """``(n, min, max, mean, sum of squared deviations)`` of the valid cells, float64; ``n == 0``: the others are 0.

    NaN, infinities and ``nodata`` are not valid. Two passes, so that nothing cancels; rows are summed on their own, so
    that rounding stays small and the loop over a row has no branch.
    """
    n, low, high, total = 0, np.inf, -np.inf, 0.0
    for row in tile:
        count, part, lowest, highest = 0, 0.0, np.inf, -np.inf
        for v in row:
            x = np.float64(v)
            valid = x - x == 0.0 and not (has_nodata and v == nodata)
            count += valid
            part += x if valid else 0.0
            lowest = x if valid and x < lowest else lowest
            highest = x if valid and x > highest else highest
        n += count
        total += part
        low, high = min(low, lowest), max(high, highest)
    if n == 0:
        return 0, 0.0, 0.0, 0.0, 0.0
    mean, m2 = total / n, 0.0
    for row in tile:
        part = 0.0
        for v in row:
            x = np.float64(v)
            valid = x - x == 0.0 and not (has_nodata and v == nodata)
            part += (x - mean) ** 2 if valid else 0.0
        m2 += part
    return n, low, high, mean, m2
