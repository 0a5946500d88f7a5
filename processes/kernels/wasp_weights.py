"""Cloud-distance weight of WASP: mask to coarse cells, coarse fields back to pixels.

The reduction works in integers, so that partial sums over any blocks add up to exactly the same cells.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def reduce_mask(mask, y0, x0, start_y, taps_y, start_x, taps_x, out):
    """Add one block's share of the weighted cell sums to ``out``.

    Parameters
    ----------
    mask : (h, w) uint8, 0 or 1, whose first pixel is (y0, x0) of the image
    start_y, start_x : (cells,) int64, first image row (column) that a cell looks at
    taps_y, taps_x : (cells, n) int32, weight of the n rows (columns) from there
    out : (cells_y, cells_x) int64, changed in place
    """
    height, width = mask.shape
    cells_y, ny = taps_y.shape
    cells_x, nx = taps_x.shape
    row = np.empty(width, np.int32)
    for cy in range(cells_y):
        lo, hi = max(start_y[cy], y0), min(start_y[cy] + ny, y0 + height)
        if lo >= hi:
            continue
        row[:] = 0
        for y in range(lo, hi):
            w = taps_y[cy, y - start_y[cy]]
            source = mask[y - y0]
            for x in range(width):
                row[x] += w * source[x]
        for cx in range(cells_x):
            left, right = max(start_x[cx], x0), min(start_x[cx] + nx, x0 + width)
            total = np.int64(0)
            for x in range(left, right):
                total += np.int64(taps_x[cx, x - start_x[cx]]) * np.int64(row[x - x0])
            out[cy, cx] += total


@njit(inline="always")
def _clamp(i, n):
    return min(max(i, 0), n - 1)


@njit(inline="always")
def _nodes_of_row(small, large, base, p, row_s, row_l):
    """The two fields at the nodes of an image row, two repeated on either side; the largest sum of their sizes."""
    cells_y, cells_x = small.shape
    near = 0.0
    for cx in range(cells_x):
        s = 0.0
        big = 0.0
        for k in range(4):
            cy = _clamp(base - 1 + k, cells_y)
            s += p[k] * small[cy, cx]
            big += p[k] * large[cy, cx]
        row_s[cx + 2], row_l[cx + 2] = s, big
        near = max(near, abs(s) + abs(big))
    for edge in range(2):
        row_s[edge], row_l[edge] = row_s[2], row_l[2]
        row_s[cells_x + 2 + edge], row_l[cells_x + 2 + edge] = row_s[cells_x + 1], row_l[cells_x + 1]
    return near


@njit(nogil=True, cache=True)
def weigh(small, large, aerosol, scale, y0, x0, step, phases, last_y, last_x, out):
    """Total weight of one date on a block: aerosol x distance to clouds x ``scale``.

    Parameters
    ----------
    small, large : (cells_y, cells_x) float64, the two smoothed cloud fields
    aerosol : (h, w) float32 aerosol weight of the block, or (1, 1) for one value everywhere
    scale : float32, date weight x sensor weight
    y0, x0 : first pixel of the block in the image
    step : pixels per cell
    phases : (4, step) float64 cubic weights of the four nodes around a pixel, per position in the cell
    last_y, last_x : rows (columns) beyond this one repeat it
    out : (h, w) float32
    """
    height, width = out.shape
    cells_x = small.shape[1]
    half = step // 2
    row_s, row_l = np.empty(cells_x + 4), np.empty(cells_x + 4)
    one = aerosol.shape[0] == 1 and aerosol.shape[1] == 1 and (height > 1 or width > 1)
    for i in range(height):
        y = min(y0 + i, last_y)
        base = (y + step - half) // step - 1
        near = _nodes_of_row(small, large, base, phases[:, (y + step - half) % step], row_s, row_l)
        if near == 0.0:  # no cloud anywhere near this row
            for j in range(width):
                out[i, j] = scale
        else:
            j = 0
            while j < width:
                x = min(x0 + j, last_x)
                c = _clamp((x + step - half) // step, cells_x + 1)  # node left of the pixel, in the padded row
                first = (x + step - half) % step
                n = min(step - first, width - j, max(last_x - x + 1, 1))
                s0, s1, s2, s3 = row_s[c], row_s[c + 1], row_s[c + 2], row_s[min(c + 3, cells_x + 3)]
                l0, l1, l2, l3 = row_l[c], row_l[c + 1], row_l[c + 2], row_l[min(c + 3, cells_x + 3)]
                q0, q1, q2, q3 = phases[0], phases[1], phases[2], phases[3]
                for k in range(n):
                    f = first + k
                    s = q0[f] * s0 + q1[f] * s1 + q2[f] * s2 + q3[f] * s3
                    big = q0[f] * l0 + q1[f] * l1 + q2[f] * l2 + q3[f] * l3
                    # single precision from here on, as the program has it
                    near_by, far_off = np.float32(s), np.float32(big)
                    w = (np.float32(1.0) - abs(near_by)) * (np.float32(1.0) - abs(far_off))
                    seen = (near_by < np.float32(1.0)) & (far_off < np.float32(1.0))
                    out[i, j + k] = w * scale if seen else np.float32(0.0)
                j += n
        if one:
            for j in range(width):
                out[i, j] *= aerosol[0, 0]
        else:
            for j in range(width):
                out[i, j] *= aerosol[i, j]
