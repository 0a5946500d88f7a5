"""Fading of weights towards whatever a date does not see: clouds, shadows and the edge of the swath."""

from __future__ import annotations

import numpy as np
from numba import njit

FLOOR = np.float32(1e-3)


@njit(nogil=True, cache=True)
def mark_cells(unseen, y0, x0, step, cells):
    """Set the cells (``step`` pixels each) of ``cells`` that hold any pixel of ``unseen`` (h, w), whose first is (y0, x0)."""
    width = unseen.shape[1]
    any_of = np.empty(width, np.bool_)
    i = 0
    while i < unseen.shape[0]:
        row = cells[(y0 + i) // step]
        last = min(step - (y0 + i) % step, unseen.shape[0] - i)
        any_of[:] = unseen[i]
        for k in range(1, last):
            source = unseen[i + k]
            for j in range(width):
                any_of[j] |= source[j]
        for j in range(width):
            if any_of[j]:
                row[(x0 + j) // step] = True
        i += last


@njit(nogil=True, cache=True)
def fade_cells(unseen, reach):
    """Factor per cell: 0.001 in an unseen cell, then rising linearly with the distance between cell centres to 1.

    unseen : (h, w) uint8; reach : cells over which it rises. Returns (h, w) float32; exact where the array goes on for
    ``reach`` + 1 cells around.
    """
    height, width = unseen.shape
    most = int(np.ceil(reach)) + 1
    across = np.empty((height, width), np.int32)  # squared distance to the next unseen cell of the row
    some = np.zeros(height, np.bool_)
    for i in range(height):
        last = -(most + 1)
        for j in range(width):
            if unseen[i, j]:
                last = j
                some[i] = True
            across[i, j] = min(j - last, most)
        last = width + most + 1
        for j in range(width - 1, -1, -1):
            if unseen[i, j]:
                last = j
            across[i, j] = min(last - j, across[i, j])
        for j in range(width):
            across[i, j] *= across[i, j]
    factors = np.ones(most * most + 1, np.float32)  # by squared distance
    for n in range(most * most + 1):
        factors[n] = max(FLOOR, min(np.float32((np.sqrt(n) - 0.5) / reach), np.float32(1.0)))
    out = np.ones((height, width), np.float32)
    nearest = np.empty(width, np.int32)
    for i in range(height):
        nearest[:] = most * most
        near = False
        for k in range(max(i - most, 0), min(i + most + 1, height)):
            if some[k]:
                near = True
                apart, row = np.int32((k - i) * (k - i)), across[k]
                for j in range(width):
                    v = row[j] + apart
                    nearest[j] = v if v < nearest[j] else nearest[j]
        if near:
            for j in range(width):
                out[i, j] = factors[nearest[j]]
    return out


@njit(nogil=True, cache=True)
def apply_fade(factor, first_y, first_x, y0, x0, step, weight):
    """Multiply ``weight`` (h, w), whose first pixel is (y0, x0), by the cells' factors, linear between their centres.

    factor : (gy, gx) float32 of the cells from (first_y, first_x) on; beyond them the nearest cell counts.
    """
    rows, cols = factor.shape
    line = np.empty(cols + 2, np.float32)  # with the edges repeated
    fine = np.empty((cols + 1) * step, np.float32)
    skip = (
        x0 - first_x * step + step // 2
    )  # pixels of ``fine`` left of the block: it begins half a cell before the first
    for i in range(weight.shape[0]):
        at = (y0 + i + 0.5) / step - 0.5 - first_y
        low = int(np.floor(at))
        f = np.float32(at - low)
        upper, lower = factor[min(max(low, 0), rows - 1)], factor[min(max(low + 1, 0), rows - 1)]
        least = np.float32(1.0)
        for c in range(cols):
            line[c + 1] = upper[c] + f * (lower[c] - upper[c])
            least = min(least, line[c + 1])
        if least == np.float32(1.0):
            continue
        line[0], line[cols + 1] = line[1], line[cols]
        for p in range(step):
            g = np.float32((p + (0.5 if step % 2 == 0 else 1.0)) / step)
            for c in range(cols + 1):
                fine[c * step + p] = line[c] + g * (line[c + 1] - line[c])
        row = weight[i]
        for j in range(weight.shape[1]):
            row[j] *= fine[skip + j]
