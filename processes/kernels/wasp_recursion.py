"""The date-by-date recursion of WASP 1.0, in its own single precision and with its truncations.

Only `mode="wasp1"` uses it. Everything here is parity: the order of the float32 operations is part of the result.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_F = np.float32
_SCALE = 10000.0  # of reflectance


@njit(inline="always")
def _stored(value, scale):
    """A float32 value as the program stores it: times ``scale``, cut towards zero, int16."""
    cut = np.int64(value * scale)
    return np.int16(min(max(cut, np.int64(-32768)), np.int64(32767)))


@njit(inline="always")
def _kept(old, value, factor, mix, take, sum_w, w, new_w):
    """A band's value after the date: averaged with ``value`` (``mix``), replaced by it (``take``) or what it was."""
    scale = _F(_SCALE)
    if mix and value >= 0:
        corrected = _F(value) * factor
        if corrected >= _F(0.0):  # false for NaN too
            value = np.int16(min(corrected, _F(32767.0)))
    r = _F(value) / scale
    if old < 0:
        kept = old
        if (mix or take) and value >= 0:
            kept = _stored(r, scale)
    elif mix and value >= 0:
        kept = _stored((sum_w * (_F(old) / scale) + w * r) / new_w, scale)
    elif take and value >= 0:
        kept = _stored(r, scale)
    else:
        kept = _stored(_F(old) / scale, scale)
    return kept


@njit(nogil=True, cache=True)
def recurse_date(dn, factor, cls, blue, weight, day, refl, best_blue, flag, total, date):
    """Take one date into the running synthesis; all state arrays change in place.

    Parameters
    ----------
    dn : (B, h, w) int16, reflectance x 10000 of the date; negative values count as nodata
    factor : (B, h, w) float32, directional factor, applied to land only; NaN leaves the pixel as it is
    cls : (h, w) uint8, class of the date: 0 nodata, 1 cloud, 2 snow, 3 water, 4 land
    blue : (h, w) float32, blue reflectance in DN, what decides between cloudy dates
    weight : (h, w) float32, total weight of the date
    day : date as stored, 0-based day of year
    refl : (B, h, w) int16 state, starts at -10000
    best_blue : (h, w) int16 state, blue of the kept cloudy date in DN
    flag : (h, w) uint8 state, 0 nodata, 1 cloud, 2 snow, 3 water, 4 land
    total : (h, w) int16 state, summed weight x 1000
    date : (h, w) int16 state, weighted mean of ``day``
    """
    bands, height, width = dn.shape
    thousand, scale, floor = _F(1000.0), _F(_SCALE), _F(1e-3)
    day32 = _F(day)
    for y in range(height):
        for x in range(width):
            before = flag[y, x]
            now = cls[y, x]
            sum_w = _F(total[y, x]) / thousand
            mean_d = _F(date[y, x])
            take = False  # the current values replace what was there
            mix = False
            if now == 4:
                mix = True
                flag[y, x] = 4
            elif now == 2 or now == 3:
                take = before != 4
                flag[y, x] = now if take else before
            elif now == 1 and (before == 0 or (before == 1 and np.int16(blue[y, x]) < best_blue[y, x])):
                take = True
                flag[y, x] = 1
                best_blue[y, x] = np.int16(blue[y, x])
            # the kept blue is read back from the int16 image, so it decays with every date like all kept values
            best_blue[y, x] = _stored(_F(best_blue[y, x]) / scale, scale)
            w = weight[y, x]
            new_w = sum_w
            if mix:
                if sum_w + w <= _F(0.0):  # the program divides zero by zero here
                    w = floor
                new_w = sum_w + w
                mean_d = day32 if before == 0 else (sum_w * mean_d + w * day32) / new_w
            elif take:
                new_w = _F(0.0)
                mean_d = day32
            for b in range(bands):
                refl[b, y, x] = _kept(refl[b, y, x], dn[b, y, x], factor[b, y, x], mix, take, sum_w, w, new_w)
            total[y, x] = _stored(new_w, thousand)
            date[y, x] = np.int16(mean_d)
