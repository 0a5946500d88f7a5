"""Order-free weighted average of WASP: one block, all dates, one rounding.

Weights are taken as integers of 1/65536 and reflectances as integers of 1/16 DN, so that every sum is an exact integer
(float64 holds them below 2**53): the result depends neither on the order of the dates nor on how blocks are cut.
"""

from __future__ import annotations

import numpy as np
from numba import njit

NODATA = -10000
WEIGHT_ONE = 65536.0
FRACTION = 16.0

CLEAR_NONE, CLOUD, SNOW, WATER, LAND = 0, 1, 2, 3, 4
_F = np.float32


@njit(nogil=True, cache=True)
def guide_plane(blue, factor, cls, x0, y0, step, out):
    """Blue reflectance (DN) that decides between dates: corrected on land, NaN where there is no value.

    blue : (h, w) int16 or float32; factor : (gy, gx) node grid; cls : (h, w) uint8; out : (h, w) float32
    """
    height, width = out.shape
    row = np.empty(width, np.float32)
    for i in range(height):
        _factor_row(factor, y0 + i, x0, step, row)
        for j in range(width):
            v = blue[i, j]
            if v == NODATA:
                out[i, j] = np.nan
            else:
                out[i, j] = _F(v) * row[j] if cls[i, j] == LAND else _F(v)


@njit(nogil=True)
def _factor_row(nodes, y, x0, step, row):
    """Linear interpolation of a node grid along image row ``y``; nodes lie every ``step`` pixels from the corner."""
    rows, cols = nodes.shape
    if rows == 1 and cols == 1:
        row[:] = nodes[0, 0]
        return
    at = (y + 0.5) / step
    r = min(max(int(at), 0), rows - 2)
    fy = min(max(at - r, 0.0), 1.0)
    j, width = 0, row.shape[0]
    while j < width:
        c = min(max(int((x0 + j + 0.5) / step), 0), cols - 2)
        left = nodes[r, c] + fy * (nodes[r + 1, c] - nodes[r, c])
        right = nodes[r, c + 1] + fy * (nodes[r + 1, c + 1] - nodes[r, c + 1])
        end = width if c == cols - 2 else min(width, max(j + 1, int(np.ceil((c + 1) * step - x0 - 0.5))))
        for k in range(j, end):
            row[k] = left + min(max((x0 + k + 0.5) / step - c, 0.0), 1.0) * (right - left)
        j = end


@njit(nogil=True, cache=True)
def factor_plane(nodes, y0, x0, step, out):
    """The directional factor (float32) of a block at (y0, x0) from its node grid."""
    for i in range(out.shape[0]):
        _factor_row(nodes, y0 + i, x0, step, out[i])


@njit(nogil=True, cache=True)
def choose_cloudy(cls, guide, complete, cell, out):
    """Date index of minimum blue among the cloudy dates, per cell of ``cell`` x ``cell`` pixels; -1 without any.

    cls : (T, h, w) uint8; guide : (T, h, w) float32; complete : (T, h, w) bool, every band has a
    value, or (T, 1, 1); out : (hc, wc)
    int16. A date with every
    band beats one without; on equal blue the earlier date stays.
    """
    dates = cls.shape[0]
    height, width = cls.shape[1:]
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            best, best_blue, best_complete = -1, 0.0, False
            for t in range(dates):
                total, n, whole = 0.0, 0, True
                for y in range(i * cell, min((i + 1) * cell, height)):
                    for x in range(j * cell, min((j + 1) * cell, width)):
                        if cls[t, y, x] == CLOUD and not np.isnan(guide[t, y, x]):
                            total += guide[t, y, x]
                            n += 1
                            whole = whole and complete[t, y % complete.shape[1], x % complete.shape[2]]
                if n == 0:
                    continue
                blue = total / n
                better = whole and not best_complete
                if best < 0 or better or (whole == best_complete and blue < best_blue):
                    best, best_blue, best_complete = t, blue, whole
            out[i, j] = best


@njit(nogil=True, cache=True)
def _lower_median(values, n, ranked):
    """The middle one of n values, the lower of the two in the middle where n is even; ``ranked`` is scratch."""
    for k in range(n):
        v = values[k]
        m = k
        while m > 0 and ranked[m - 1] > v:
            ranked[m] = ranked[m - 1]
            m -= 1
        ranked[m] = v
    return ranked[(n - 1) // 2]


@njit(nogil=True, cache=True)
def _select_row(
    cls, guide, dark, weight, choice, cell, i, days, robust, limits, share, flags, clear, values, index, ranked
):
    """Decide one row: category per pixel (``flags``), integer share of each date (``share``), number of clear dates."""
    dates, _, width = cls.shape
    for x in range(width):
        land, snow, water, cloud = 0, 0, 0, 0
        last_snow, last_water = -np.inf, -np.inf
        for t in range(dates):
            c = cls[t, i, x]
            share[t, x] = 0.0
            if c == LAND:
                index[land] = t
                values[land] = guide[t, i, x]
                land += 1
            elif c == SNOW:
                snow += 1
                last_snow = max(last_snow, days[t])
            elif c == WATER:
                water += 1
                last_water = max(last_water, days[t])
            elif c == CLOUD:
                cloud += 1
        clear[x] = land + snow + water
        if land > 0:
            flags[x] = LAND
            # the lower median is one of the values, so at least one date always stays
            lowest, highest = _F(-np.inf), _F(np.inf)
            if robust and land >= 2:
                median = _lower_median(values, land, ranked)
                lowest, highest = median - limits[1], median + limits[0]
            kept = 0
            for k in range(land):
                if not (values[k] < lowest or values[k] > highest):
                    index[kept] = index[k]
                    kept += 1
            darkest = _F(-np.inf)
            if robust and kept >= 3 and dark.shape[0] > 0:  # shadows show in the near infrared, hardly in blue
                for k in range(kept):
                    values[k] = dark[index[k], i, x]
                darkest = (_F(1.0) - limits[2]) * _lower_median(values, kept, ranked)
            for k in range(kept):
                if not (darkest > _F(0.0) and dark[index[k], i, x] < darkest):
                    share[index[k], x] = np.rint(max(weight[index[k], i, x], _F(1e-3)) * _F(WEIGHT_ONE))
        elif snow + water > 0:
            # snow and water do not mix: the class seen more often, the later one on a tie
            flags[x] = SNOW if snow > water or (snow == water and last_snow > last_water) else WATER
            for t in range(dates):
                if cls[t, i, x] == flags[x]:
                    share[t, x] = WEIGHT_ONE
        elif cloud > 0:
            flags[x] = CLOUD
            t = choice[i // cell, x // cell]
            if t < 0 or cls[t, i, x] != CLOUD:  # the cell's date does not see this pixel
                t = -1
                for k in range(dates):
                    if cls[k, i, x] == CLOUD and (t < 0 or guide[k, i, x] < guide[t, i, x]):
                        t = k
            share[t, x] = WEIGHT_ONE
        else:
            flags[x] = CLEAR_NONE


@njit(nogil=True, cache=True)
def average_block(
    dn, cls, guide, dark, weight, factor, present, days, choice, cell, y0, x0, step, robust, limits, refl, flag, total,
    date, clear,
):  # fmt: skip
    """Synthesis of one block.

    Parameters
    ----------
    dn : (T, B, h, w) int16 or float32, reflectance x 10000, -10000 for nodata
    cls : (T, h, w) uint8, class per date: 0 nodata, 1 cloud, 2 snow, 3 water, 4 land
    guide : (T, h, w) float32 blue (DN) for outliers and cloudy dates
    dark : (T, h, w) float32 corrected near infrared (DN) for shadows, or (0, 0, 0)
    weight : (T, h, w) float32 total weight
    factor : (T, B, gy, gx) float32 directional factor at nodes every ``step`` pixels from the image corner
    present : (T, B) bool, the date has the band
    days : (T,) float64, days from the synthesis date
    choice : (hc, wc) int16 from `choose_cloudy` with ``cell``
    y0, x0 : first pixel of the block in the image
    robust : drop land dates whose blue leaves [median - limits[1], median + limits[0]] (DN), from two dates on, then
        those whose ``dark`` lies below the median by more than the share limits[2], from three dates on
    refl : (B, h, w) float32 out, DN, NaN for none
    flag, clear : (h, w) uint8 out; total : (h, w) float32 out, summed weight; date : (h, w) float32 out, mean of ``days``
    """
    dates, bands, height, width = dn.shape
    share = np.zeros((dates, width), np.float32)
    factor_row = np.empty(width, np.float32)
    sum_v, sum_w, sum_d, sum_b = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    values, index, ranked = np.empty(dates, np.float32), np.empty(dates, np.int64), np.empty(dates, np.float32)
    for i in range(height):
        _select_row(
            cls, guide, dark, weight, choice, cell, i, days, robust, limits, share, flag[i], clear[i], values, index, ranked,
        )  # fmt: skip
        sum_w[:] = 0.0
        sum_d[:] = 0.0
        for t in range(dates):
            for x in range(width):
                sum_w[x] += share[t, x]
                sum_d[x] += share[t, x] * days[t]
        for x in range(width):
            none = sum_w[x] == 0.0
            date[i, x] = np.nan if none else sum_d[x] / sum_w[x]
            total[i, x] = sum_w[x] / WEIGHT_ONE if flag[i, x] == LAND else 0.0
        for b in range(bands):
            sum_v[:] = 0.0
            sum_b[:] = 0.0
            for t in range(dates):
                if not present[t, b]:
                    continue
                _factor_row(factor[t, b], y0 + i, x0, step, factor_row)
                source = dn[t, b, i]
                for x in range(width):
                    value = _F(source[x])
                    corrected = value * factor_row[x] if flag[i, x] == LAND and factor_row[x] > _F(0.0) else value
                    s = share[t, x] if source[x] != NODATA else _F(0.0)
                    sum_v[x] += np.float64(s) * np.float64(np.rint(corrected * _F(FRACTION)))
                    sum_b[x] += s
            for x in range(width):
                refl[b, i, x] = sum_v[x] / (sum_b[x] * FRACTION) if sum_b[x] > 0.0 else np.nan
