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
def cells_of(sx, sy, low, share, size, reduced, held, ratio, shift, edge, out):
    """Which cell of the smallest window that holds all of them each position falls in, counted row by row, into ``out``.

    Parameters
    ----------
    sx, sy : columns and rows (n, w), fractional, in pixels of a file, of the positions along ``n`` rows
    low, share : per row of ``out``, the first of the two of them it lies between, and its share (0 to 1) of the second
    size : rows and columns of the file; positions outside, and those that are not finite, are -1 in ``out``
    reduced : whether pixels are those of a reduced version of the file, of which one is ``ratio`` pixels of the file,
        the first begins at ``shift``, and there are ``held`` (each: rows, columns). Else ``held`` is ``size``.
    edge : pixels by which a position may lie before a pixel and still fall in it
    out : int64 (h, w)

    Returns
    -------
    number of positions inside, first row, last row, first column, last column of the window
    """
    inside, top, bottom, left, right = 0, np.int64(held[0]), np.int64(-1), np.int64(held[1]), np.int64(-1)
    for i in range(out.shape[0]):
        k, a = low[i], share[i]
        for j in range(out.shape[1]):
            x, y = sx[k, j], sy[k, j]
            if a:
                x, y = x * (1 - a) + sx[k + 1, j] * a, y * (1 - a) + sy[k + 1, j] * a
            out[i, j] = -1
            if not (np.isfinite(x) and np.isfinite(y)):
                continue
            col, row = np.floor(x + edge), np.floor(y + edge)
            if row < 0 or col < 0 or row >= size[0] or col >= size[1]:
                continue
            if reduced:
                row = min(max(np.floor((y - shift[0]) / ratio[0] + edge), 0.0), held[0] - 1.0)
                col = min(max(np.floor((x - shift[1]) / ratio[1] + edge), 0.0), held[1] - 1.0)
            r, c = np.int64(row), np.int64(col)
            out[i, j] = r * held[1] + c
            inside += 1
            top, bottom, left, right = min(top, r), max(bottom, r), min(left, c), max(right, c)
    width = right - left + 1
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            cell = out[i, j]
            if cell >= 0:
                row = cell // held[1]
                out[i, j] = (row - top) * width + cell - row * held[1] - left
    return inside, top, bottom, left, right


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
