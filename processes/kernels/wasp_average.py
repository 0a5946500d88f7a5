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
def guide_plane(dn, factor, offset, slope, aot, cls, x0, y0, step, out):
    """One band of one date as it decides between dates: corrected (and levelled) on land, NaN where there is no value.

    dn : (h, w) int16 or float32; factor : (gy, gx) node grid; offset, slope : float32, see `average_block`; aot : (h, w) or
    (1, 1); cls : (h, w) uint8; out : (h, w) float32, DN
    """
    height, width = out.shape
    row, lift = np.empty(width, np.float32), np.empty(width, np.float32)
    for i in range(height):
        _factor_row(factor, y0 + i, x0, step, row)
        _lift_row(offset, slope, aot, i, lift)
        source, kind, target = dn[i], cls[i], out[i]
        for j in range(width):
            value = _F(source[j])
            land = value * row[j] - lift[j]
            value = land if kind[j] == LAND else value
            target[j] = _F(np.nan) if source[j] == NODATA else value


@njit(nogil=True)
def _lift_row(offset, slope, aot, i, row):
    """offset + slope x aerosol of image row ``i``: what levelling takes off."""
    if aot.shape[0] == 1 and aot.shape[1] == 1:
        row[:] = offset + slope * _F(aot[0, 0])
    elif slope == _F(0.0):
        row[:] = offset
    else:
        source = aot[i]
        for j in range(row.shape[0]):
            row[j] = offset + slope * _F(source[j])


@njit(nogil=True)
def _factor_row(nodes, y, x0, step, row):
    """Linear interpolation of a node grid along image row ``y``; nodes lie every ``step`` pixels from the corner.

    Positions are those of the image, so that a pixel's factor does not depend on the block it lies in.
    """
    rows, cols = nodes.shape
    if rows == 1 and cols == 1:
        row[:] = nodes[0, 0]
        return
    at = (y + 0.5) / step
    r = min(max(int(at), 0), rows - 2)
    fy = _F(min(max(at - r, 0.0), 1.0))
    per_pixel = _F(1.0 / step)
    j, width = 0, row.shape[0]
    while j < width:
        c = min(max(int((x0 + j + 0.5) / step), 0), cols - 2)
        left = nodes[r, c] + fy * (nodes[r + 1, c] - nodes[r, c])
        rise = nodes[r, c + 1] + fy * (nodes[r + 1, c + 1] - nodes[r, c + 1]) - left
        end = width if c == cols - 2 else min(width, max(j + 1, int(np.ceil((c + 1) * step - x0 - 0.5))))
        first = _F(c)
        for k in range(j, end):
            along = (_F(np.int32(x0 + k)) + _F(0.5)) * per_pixel - first
            row[k] = left + (along if along < _F(1.0) else _F(1.0)) * rise
        j = end


@njit(nogil=True, cache=True)
def factor_plane(nodes, y0, x0, step, out):
    """The directional factor (float32) of a block at (y0, x0) from its node grid."""
    for i in range(out.shape[0]):
        _factor_row(nodes, y0 + i, x0, step, out[i])


@njit(nogil=True, cache=True)
def choose_cloudy(cls, guide, complete, cell, out):
    """Date index of minimum blue among the cloudy dates, per cell of ``cell`` x ``cell`` pixels.

    cls : (T, h, w) uint8; guide : (T, h, w) float32; complete : (T, h, w) bool, every band has a value, or (T, 1, 1);
    out : (hc, wc) int16, -1 without any, or where every pixel of the cell is seen clear. A date with every band beats one
    without; on equal blue the earlier date stays.
    """
    dates, height, width = cls.shape
    clear = np.empty((cell, width), np.uint8)
    for i in range(out.shape[0]):
        rows = min(cell, height - i * cell)
        clear[:] = 0
        for t in range(dates):
            for k in range(rows):
                kind, seen = cls[t, i * cell + k], clear[k]
                for x in range(width):
                    seen[x] |= np.uint8(kind[x] > CLOUD)
        for j in range(out.shape[1]):
            left, right = j * cell, min((j + 1) * cell, width)
            all_clear = True
            for k in range(rows):
                for x in range(left, right):
                    all_clear = all_clear and clear[k, x] != 0
            out[i, j] = -1 if all_clear else _darkest(cls, guide, complete, i * cell, rows, left, right)


@njit(nogil=True)
def _darkest(cls, guide, complete, top, rows, left, right):
    """The date `choose_cloudy` takes for one cell; -1 for none."""
    best, best_blue, best_complete = -1, 0.0, False
    for t in range(cls.shape[0]):
        total, n, whole = 0.0, 0, True
        for y in range(top, top + rows):
            for x in range(left, right):
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
    return best


@njit(nogil=True)
def _sort_rows(rows, n):
    """Sort the first ``n`` rows pixel by pixel, ascending: Batcher's network, whole rows at a time."""
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                for i in range(min(k, n - j - k)):
                    if (i + j) // (2 * p) == (i + j + k) // (2 * p):
                        low, high = rows[i + j], rows[i + j + k]
                        for x in range(rows.shape[1]):
                            a, b = low[x], high[x]
                            low[x] = a if a < b else b
                            high[x] = b if a < b else a
            k //= 2
        p *= 2


@njit(nogil=True)
def _lower_medians(ranked, count, out):
    """Per pixel the middle one of its ``count`` smallest of the sorted rows, the lower of two in the middle."""
    for x in range(out.shape[0]):
        out[x] = ranked[max((np.int64(count[x]) - 1) // 2, 0), x]


@njit(nogil=True)
def _drop_outliers(cls, guide, dark, i, limits, kept, count, ranked, median):
    """Of one row, which land dates stay: ``kept`` (T, w) uint8, set. The lower median is one of the values, so at least one
    date always stays; a date without a value of the band that decides stays too."""
    dates, width = kept.shape
    count[:] = 0
    for t in range(dates):
        kind, value, keep, rank = cls[t, i], guide[t, i], kept[t], ranked[t]
        for x in range(width):
            known = (kind[x] == LAND) & (value[x] == value[x])
            rank[x] = value[x] if known else _F(np.inf)
            count[x] += np.uint8(known)
    _sort_rows(ranked, dates)
    _lower_medians(ranked, count, median)
    above, below = limits[0], limits[1]
    for t in range(dates):
        kind, value, keep = cls[t, i], guide[t, i], kept[t]
        for x in range(width):
            out = (value[x] < median[x] - below) | (value[x] > median[x] + above)
            keep[x] = np.uint8((kind[x] == LAND) & (not out))
    if dark.shape[0] == 0 or dates < 3:
        return
    count[:] = 0
    for t in range(dates):
        value, keep, rank = dark[t, i], kept[t], ranked[t]
        for x in range(width):
            known = (keep[x] != 0) & (value[x] == value[x])
            rank[x] = value[x] if known else _F(np.inf)
            count[x] += np.uint8(known)
    _sort_rows(ranked, dates)
    _lower_medians(ranked, count, median)
    for x in range(width):  # shadows show in the near infrared, hardly in blue
        least = (_F(1.0) - limits[2]) * median[x]
        median[x] = least if (count[x] >= 3) & (least > _F(0.0)) else _F(-np.inf)
    for t in range(dates):
        value, keep = dark[t, i], kept[t]
        for x in range(width):
            keep[x] &= np.uint8(not (value[x] < median[x]))


@njit(nogil=True)
def _flag_row(cls, i, days, counts, flags, clear):
    """Category of each pixel of one row, and its number of clear dates. counts : (4, w) uint8, scratch."""
    dates, width = cls.shape[0], flags.shape[0]
    counts[:] = 0
    lands, snows, waters, clouds = counts[0], counts[1], counts[2], counts[3]
    for t in range(dates):
        kind = cls[t, i]
        for x in range(width):
            lands[x] += np.uint8(kind[x] == LAND)
            snows[x] += np.uint8(kind[x] == SNOW)
            waters[x] += np.uint8(kind[x] == WATER)
            clouds[x] |= np.uint8(kind[x] == CLOUD)
    for x in range(width):
        snow, water = snows[x], waters[x]
        clear[x] = lands[x] + snow + water
        # snow and water do not mix: the class seen more often
        white = SNOW if snow > water else WATER if water > 0 else CLOUD if clouds[x] > 0 else CLEAR_NONE
        flags[x] = LAND if lands[x] > 0 else white
    for x in range(width):  # the later one on a tie
        if lands[x] == 0 and snows[x] > 0 and snows[x] == waters[x]:
            latest = -np.inf
            for t in range(dates):
                if (cls[t, i, x] == SNOW or cls[t, i, x] == WATER) and days[t] >= latest:
                    both = days[t] == latest and flags[x] == WATER  # on one day: water
                    flags[x] = WATER if both else cls[t, i, x]
                    latest = days[t]


@njit(nogil=True)
def _share_row(cls, guide, weight, kept, choice, cell, i, flags, share):
    """Integer share of each date in the pixels of one row, (T, w) float32."""
    dates, _, width = cls.shape
    plain = True
    for x in range(width):
        plain = plain and flags[x] == LAND
    for t in range(dates):
        w, keep, out = weight[t, i], kept[t], share[t]
        for x in range(width):
            one = np.rint((w[x] if w[x] > _F(1e-3) else _F(1e-3)) * _F(WEIGHT_ONE))
            out[x] = one if keep[x] != 0 else _F(0.0)
    if plain:
        return
    for x in range(width):
        if flags[x] == SNOW or flags[x] == WATER:
            for t in range(dates):
                share[t, x] = _F(WEIGHT_ONE) if cls[t, i, x] == flags[x] else _F(0.0)
        elif flags[x] == CLOUD:
            t = choice[i // cell, x // cell]
            if t < 0 or cls[t, i, x] != CLOUD:  # the cell's date does not see this pixel
                t = -1
                for k in range(dates):
                    if cls[k, i, x] == CLOUD and (t < 0 or guide[k, i, x] < guide[t, i, x]):
                        t = k
            share[t, x] = WEIGHT_ONE


@njit(nogil=True)
def _land_row(cls, i, kept):
    for t in range(kept.shape[0]):
        kind, keep = cls[t, i], kept[t]
        for x in range(kept.shape[1]):
            keep[x] = np.uint8(kind[x] == LAND)


@njit(nogil=True)
def _add_date(source, factor, lift, flags, share, sum_v, sum_b):
    """Add one date of one band to the sums of one row."""
    for x in range(source.shape[0]):
        value = _F(source[x])
        turned = value * factor[x] if factor[x] > _F(0.0) else value
        value = turned - lift[x] if flags[x] == LAND else value
        s = share[x] if source[x] != NODATA else _F(0.0)
        sum_v[x] += np.float64(s) * np.float64(np.rint(value * _F(FRACTION)))
        sum_b[x] += np.float64(s)


@njit(nogil=True, cache=True)
def average_block(
    dn, cls, guide, dark, weight, factor, level, aot, present, days, choice, cell, y0, x0, step, robust, limits, refl,
    flag, total, date, clear,
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
    level : (T, B, 2) float32, what levelling takes off land: offset (DN), and DN per unit of ``aot``
    aot : (T, h, w) or (T, 1, 1) float32 or codes, what ``level`` multiplies
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
    share, ranked = np.zeros((dates, width), np.float32), np.empty((dates, width), np.float32)
    kept, counts = np.empty((dates, width), np.uint8), np.empty((4, width), np.uint8)
    factor_row, lift, median = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    sum_v, sum_w, sum_d, sum_b = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    for i in range(height):
        _flag_row(cls, i, days, counts, flag[i], clear[i])
        if robust and dates >= 2:
            _drop_outliers(cls, guide, dark, i, limits, kept, counts[0], ranked, median)
        else:
            _land_row(cls, i, kept)
        _share_row(cls, guide, weight, kept, choice, cell, i, flag[i], share)
        sum_w[:] = 0.0
        sum_d[:] = 0.0
        for t in range(dates):
            one, day = share[t], days[t]
            for x in range(width):
                sum_w[x] += np.float64(one[x])
                sum_d[x] += np.float64(one[x]) * day
        for x in range(width):
            none = sum_w[x] == 0.0
            date[i, x] = np.nan if none else sum_d[x] / sum_w[x]
            total[i, x] = sum_w[x] / WEIGHT_ONE if flag[i, x] == LAND else 0.0
        for b in range(bands):
            sum_v[:] = 0.0
            sum_b[:] = 0.0
            for t in range(dates):
                if present[t, b]:
                    _factor_row(factor[t, b], y0 + i, x0, step, factor_row)
                    _lift_row(level[t, b, 0], level[t, b, 1], aot[t], i, lift)
                    _add_date(dn[t, b, i], factor_row, lift, flag[i], share[t], sum_v, sum_b)
            for x in range(width):
                refl[b, i, x] = sum_v[x] / (sum_b[x] * FRACTION) if sum_b[x] > 0.0 else np.nan
