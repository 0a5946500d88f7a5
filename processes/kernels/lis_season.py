"""Snow season per pixel from the bytes of its dates, in one pass.

Observations become bits (one word holds 64 days with an acquisition), so that finding the next change of state is a
bit scan and no daily stack is ever made: the cost per pixel is that of its few changes.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# layers of the result, in order
LAYERS = ("SCD", "SOD", "SMOD", "NOBS", "NSP", "CCD", "GAP", "SINCE", "PSL")
NODATA = 65535


@intrinsic
def _ctz(typingctx, x):
    """Index of the lowest set bit of a uint64 (64 for 0)."""

    def code(context, builder, signature, args):
        return builder.cttz(args[0], context.get_constant(types.boolean, 0))

    return types.uint64(types.uint64), code


@intrinsic
def _clz(typingctx, x):
    """Number of zeros above the highest set bit of a uint64 (64 for 0)."""

    def code(context, builder, signature, args):
        return builder.ctlz(args[0], context.get_constant(types.boolean, 0))

    return types.uint64(types.uint64), code


@intrinsic
def _ones(typingctx, x):
    """Number of set bits of a uint64."""

    def code(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), code


@njit(nogil=True, cache=True, inline="always")
def _next(words, start):
    """First set bit at or after ``start``, -1 where none."""
    w = start >> 6
    if w >= words.shape[0]:
        return -1
    masked = words[w] & (np.uint64(0xFFFFFFFFFFFFFFFF) << np.uint64(start & 63))
    while masked == 0:
        w += 1
        if w >= words.shape[0]:
            return -1
        masked = words[w]
    return (w << 6) + np.int64(_ctz(masked))  # type: ignore[call-arg]


@njit(nogil=True, cache=True, inline="always")
def _before(words, stop):
    """Last set bit before ``stop``, -1 where none."""
    if stop <= 0:
        return -1
    last = stop - 1
    w = last >> 6
    masked = words[w] & (np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(63 - (last & 63)))
    while masked == 0:
        w -= 1
        if w < 0:
            return -1
        masked = words[w]
    return (w << 6) + 63 - np.int64(_clz(masked))  # type: ignore[call-arg]


@njit(nogil=True, cache=True, inline="always")
def _word(bytes_, w, x):
    """Bits of word ``w`` of a pixel."""
    out = np.uint64(0)
    for part in range(8):
        out |= np.uint64(bytes_[w * 8 + part, x]) << np.uint64(8 * part)
    return out


@njit(nogil=True, cache=True)
def _gather(row, slot, clear, known, snow):
    """Add the bits of one date's row: a day's first clear observation wins."""
    byte, bit = slot >> 3, np.uint8(1 << (slot & 7))
    c, k, s = clear[byte], known[byte], snow[byte]
    for x in range(row.shape[0]):
        v = row[x]
        fresh = bit & ~c[x] if v <= 100 else np.uint8(0)
        c[x] |= fresh
        k[x] |= fresh
        s[x] |= fresh if v > 0 else np.uint8(0)


@njit(nogil=True, cache=True)
def _fill(heights, slot, low, high, clear, known, snow):
    """Take what no observation of the day saw as snow above ``high`` and as bare below ``low``."""
    byte, bit = slot >> 3, np.uint8(1 << (slot & 7))
    c, k, s = clear[byte], known[byte], snow[byte]
    for x in range(heights.shape[0]):
        free = bit & ~c[x]
        z = heights[x]
        above = free if z > high else np.uint8(0)
        k[x] |= above | (free if z < low else np.uint8(0))
        s[x] |= above


@njit(nogil=True, cache=True)
def _gaps(clear, day, gap, last):
    """Longest stretch of days without a clear observation so far, and the day of the last clear one."""
    byte_day = np.int16(day)
    for x in range(gap.shape[0]):
        empty = np.int16(byte_day - last[x] - 1)
        seen = clear[x]
        gap[x] = empty if seen and empty > gap[x] else gap[x]
        last[x] = byte_day if seen else last[x]


@njit(nogil=True, cache=True, inline="always")
def _periods(kw, sw, bw, days, length):
    """Follow the states of a pixel from change to change.

    Parameters
    ----------
    kw, sw, bw : words of known, snow and bare slots; days : day of each slot; ``length`` of the season

    Returns
    -------
    Days of snow; first and last day of the longest period (the first of equal ones); periods; edges up and down within
    the season.
    """
    total, periods, turns = np.int64(0), 0, 0
    best, best_first, best_last = np.int64(0), np.int64(0), np.int64(0)
    at = _next(kw, 0)
    is_snow = ((sw[at >> 6] >> np.uint64(at & 63)) & np.uint64(1)) == 1
    begin = np.int64(-1000000)
    while True:
        change = _next(bw, at) if is_snow else _next(sw, at)
        if change < 0:
            stop = np.int64(1000000)
        else:
            before = _before(kw, change)
            width_days = days[change] - days[before]
            # halfway belongs to the snow
            stop = days[before] + (width_days // 2 + 1 if is_snow else (width_days + 1) // 2)
        if is_snow:
            a = begin if begin > 0 else np.int64(0)
            b = stop if stop < length else np.int64(length)
            if b > a:
                total += np.int64(b - a)
                periods += 1
                turns += (a > 0) + (b < length)
                if b - a > best:
                    best, best_first, best_last = b - a, a, b - 1
        if change < 0:
            break
        begin, at, is_snow = stop, change, not is_snow
    return total, best_first, best_last, periods, turns


@njit(nogil=True, cache=True, inline="always")
def _lasting(cw, sw, may):
    """1 where every clear observation from slot ``may`` on is snow and there is one, else 0."""
    lasting, some = True, False
    for w in range(may >> 6, cw.shape[0]):
        after = np.uint64(0xFFFFFFFFFFFFFFFF)
        if w == may >> 6:
            after <<= np.uint64(may & 63)
        lasting &= (cw[w] & after & ~sw[w]) == 0
        some |= (cw[w] & after & sw[w]) != 0
    return 1 if lasting and some else 0


@njit(nogil=True, cache=True)
def _row_gaps(clear, days, length, gap, last, seen):
    """Longest stretch without a clear observation and the day of the last one, for a row of pixels."""
    gap[:] = 0
    last[:] = -1
    for k in range(days.shape[0]):
        if 0 <= days[k] < length:
            bit = np.uint8(1 << (k & 7))
            row = clear[k >> 3]
            for x in range(row.shape[0]):
                seen[x] = (row[x] & bit) != 0
            _gaps(seen, days[k], gap, last)


@njit(nogil=True, cache=True)
def season_rows(planes, slots, days, length, heights, low, high, use_fill, may, edges, out, first, last_row):
    """Season layers of rows ``first`` .. ``last_row``.

    Parameters
    ----------
    planes : uint8 (n, h, w), dates in order of time, of preference within a day: 0 bare, 1..100 snow, else not seen
    slots : int64 (n,), index of each plane's day; days : int64 (m,), day of each slot counted from the season's start
    length : days of the season; observations before and after serve the interpolation
    heights : int16 (h, w); low, high : float64 (m,), elevations per day, see `_fill`; ``use_fill`` uses them
    may : first slot of the perpetual-snow test
    edges : count rising and falling edges as snow periods, and 0 where never seen (as let-it-snow does)
    out : uint16 (9, h, w), written
    """
    n, m, width = planes.shape[0], days.shape[0], planes.shape[2]
    words = (m + 63) // 64
    clear = np.zeros((words * 8, width), np.uint8)
    known = np.zeros((words * 8, width), np.uint8)
    snow = np.zeros((words * 8, width), np.uint8)
    gap, last, seen = np.empty(width, np.int16), np.empty(width, np.int16), np.empty(width, np.bool_)
    cw, kw = np.empty(words, np.uint64), np.empty(words, np.uint64)
    sw, bw = np.empty(words, np.uint64), np.empty(words, np.uint64)
    for y in range(first, last_row):
        clear[:] = 0
        known[:] = 0
        snow[:] = 0
        for k in range(n):
            _gather(planes[k, y], slots[k], clear, known, snow)
        if use_fill:
            for k in range(m):
                _fill(heights[y], k, low[k], high[k], clear, known, snow)
        _row_gaps(clear, days, length, gap, last, seen)
        for x in range(width):
            observed = np.int64(0)
            for w in range(words):
                cw[w] = _word(clear, w, x)
                kw[w] = _word(known, w, x)
                sw[w] = _word(snow, w, x)
                bw[w] = kw[w] & ~sw[w]
                observed += np.int64(_ones(cw[w]))  # type: ignore[call-arg]
            out[3, y, x] = observed
            out[5, y, x] = m - observed
            if observed == 0:
                for layer in (0, 1, 2, 4, 6, 7, 8):
                    out[layer, y, x] = 0 if edges else NODATA
                continue
            total, best_first, best_last, periods, turns = _periods(kw, sw, bw, days, length)
            out[0, y, x] = total
            out[1, y, x] = best_first if total > 10 else 0
            out[2, y, x] = best_last if total > 10 else 0
            out[4, y, x] = turns if edges else periods
            out[6, y, x] = max(gap[x], length - 1 - last[x])
            out[7, y, x] = length - 1 - last[x] if last[x] >= 0 else NODATA
            out[8, y, x] = _lasting(cw, sw, may)
