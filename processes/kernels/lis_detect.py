"""Pixel rules of the snow detection (Gascoin et al. 2019), one sweep before and one after the snow line is known.

State of a pixel after the first sweep (uint8): `NONE` no data, `ALLC` in a cloud or its shadow, `NEVER` shadow or high
cloud, `BACK` stays cloud unless snow, `P1` snow of pass 1, `CLOUD1` cloud of pass 1, `RAW` anything flagged.
"""

from __future__ import annotations

import numpy as np
from numba import njit

NONE, ALLC, NEVER, BACK, P1, CLOUD1, RAW = 1, 2, 4, 8, 16, 32, 64
# layers of the result, in order
LAYERS = ("SEB", "NDSI", "FSCTOC", "FSCOG", "QCTOC", "QCOG", "EXPERT", "QCFLAGS")
# elevations that are counted, metres
Z_LOW, Z_HIGH = -500, 9000
Z_BIN = 10  # of the regional histograms
SHADE_REACH = 500.0  # metres below the snow line down to which plain snow in relief shade is taken (mode plus)
SHADE_RED = 0.25  # least red in relief shade, of pass 2's: the sky is that much darker than the sun (mode plus)
JOINT = 200  # bins of NDSI -1..1 and of green 0..2 (0..0.5 in relief shade)
FINE = 4


@njit(nogil=True, cache=True)
def _ratio(g, s):
    """NDSI; +-inf where the sum is zero, NaN where both are."""
    total = g + s
    if total == 0.0:
        return np.nan if g == s else np.inf if g > s else -np.inf
    return (g - s) / total


@njit(nogil=True, cache=True)
def first_pass(green, red, swir, cloud, table, ndsi1, red1, red_back, every_band, state):
    """First sweep: state of each pixel.

    Parameters
    ----------
    green, red, swir : int16 (h, w), -10000 is nodata
    cloud : uint8 or uint16 (h, w); ``table`` decodes it (`processes.lis.params.cloud_table`)
    ndsi1, red1, red_back : thresholds (digital numbers)
    every_band : nodata in any band is nodata; else SWIR alone decides
    state : uint8 (h, w), written
    """
    for y in range(green.shape[0]):
        for x in range(green.shape[1]):
            g, r, s = np.float64(green[y, x]), np.float64(red[y, x]), np.float64(swir[y, x])
            c = table[cloud[y, x]]
            v = 0
            if s == -10000 or (every_band and (g == -10000 or r == -10000)):
                v |= NONE
            if c & 1:
                v |= ALLC | CLOUD1
                if r > red_back:
                    v |= BACK
            elif r > red1 and _ratio(g, s) > ndsi1:
                v |= P1
            if c & 6:
                v |= NEVER
            if c & 8:
                v |= RAW
            state[y, x] = v


@njit(nogil=True, cache=True)
def count(state, dem, green, swir, relief, row0, col0, region, skip_none, fine, local, joint, green_scale):
    """Add a block to the histograms.

    Parameters
    ----------
    state : uint8 (h, w) of `first_pass`; dem : int16 (h, w), metres; relief : uint8 (h, w), 1 in relief shade
    row0, col0 : place of the block in the scene; ``region`` pixels per side of a region
    skip_none : leave out pixels without data (they count as clear ground in let-it-snow)
    fine : int64 (3, Z_HIGH - Z_LOW): total, cloud, snow per metre of elevation
    local : int64 (regions_y, regions_x, bins, 2): clear lit pixels without and with snow per `Z_BIN` metres
    joint : int64 (2, JOINT, JOINT): clear pixels, lit and in relief shade, by NDSI and green reflectance
    green_scale : digital number of green -> reflectance

    Returns
    -------
    Number of pixels and of pass-1 snow pixels, both counted whatever their elevation.
    """
    n, snow = 0, 0
    for y in range(state.shape[0]):
        ry = (row0 + y) // region
        for x in range(state.shape[1]):
            v = state[y, x]
            if skip_none and v & NONE:
                continue
            n += 1
            is_snow = (v & P1) != 0
            snow += is_snow
            z = np.int64(dem[y, x])
            if z < Z_LOW or z >= Z_HIGH:
                continue
            fine[0, z - Z_LOW] += 1
            if v & CLOUD1:
                fine[1, z - Z_LOW] += 1
            elif is_snow:
                fine[2, z - Z_LOW] += 1
            if skip_none and not v & (ALLC | CLOUD1):
                dark = 1 if relief[y, x] == 1 else 0
                if not dark:
                    local[ry, (col0 + x) // region, (z - Z_LOW) // Z_BIN, 1 if is_snow else 0] += 1
                g, s = np.float64(green[y, x]), np.float64(swir[y, x])
                if g > 0 and s > -0.9 * g:
                    i = int((np.float64(g - s) / (g + s) + 1.0) * (JOINT // 2))
                    j = int(g * green_scale * (FINE if dark else 1) * (JOINT // 2))
                    joint[dark, min(max(i, 0), JOINT - 1), min(j, JOINT - 1)] += 1
    return n, snow


@njit(nogil=True, cache=True)
def snow_line_at(zs, region, row, col):
    """Snow line at a pixel: bilinear between the centres of regions, constant beyond the outer ones."""
    fy = min(max((row + 0.5) / region - 0.5, 0.0), zs.shape[0] - 1.0)
    fx = min(max((col + 0.5) / region - 0.5, 0.0), zs.shape[1] - 1.0)
    j, i = int(fy), int(fx)
    k, m = min(j + 1, zs.shape[0] - 1), min(i + 1, zs.shape[1] - 1)
    fy -= j
    fx -= i
    upper = zs[j, i] * (1 - fx) + zs[j, m] * fx
    lower = zs[k, i] * (1 - fx) + zs[k, m] * fx
    return upper * (1 - fy) + lower * fy


@njit(nogil=True, cache=True)
def _percent(ndsi):
    """100 x NDSI in single precision, cut to 0..255 and truncated."""
    value = np.float32(100.0 * ndsi)
    if not value > 0:
        return 0
    return 255 if value >= 255 else int(value)


@njit(nogil=True, cache=True)
def _place(ndsi, green, fine):
    """Bins of `JOINT` of an NDSI and a green reflectance (``fine``: in relief shade)."""
    i = int((min(max(ndsi, -1.0), 1.0) + 1.0) * (JOINT // 2))
    j = int(min(max(green, 0.0), 2.0) * (FINE if fine else 1) * (JOINT // 2))
    return min(i, JOINT - 1), min(j, JOINT - 1)


@njit(nogil=True, cache=True)
def _shaded_snow(plus, sky, red, ndsi, height, limits):
    """Whether a pixel in relief shade is snow; ``sky`` blue - NIR, ``height`` above the snow line.

    The sky's blue alone fires on bare ground too: mode ``plus`` wants the SWIR drop of snow as well. Snow lies lower there
    than on the lit slopes that the snow line comes from, if its NDSI is plain to see.
    """
    if not sky > limits[3]:
        return False
    if not plus:
        return height >= 0
    if height < -SHADE_REACH or red <= SHADE_RED * limits[1]:
        return False
    return ndsi > limits[5] or (ndsi > limits[0] and height >= 0)


@njit(nogil=True, cache=True)
def _is_ice(blue, green, red, nir, ndsi, limits):
    """Bare ice or bright water among pixels with the NDSI of snow; nodata says no."""
    if blue == -10000 or nir == -10000:
        return False
    bare = nir < limits[1] - limits[0] * (1.0 - ndsi) and blue < limits[2] * red and nir < limits[3] * green
    return bare or nir < limits[4] * green


@njit(nogil=True, cache=True)
def _least_fraction(height, limits):
    """Percent of snow from which a pixel counts as snow: falls between two heights above the snow line."""
    part = (height - limits[7]) / (limits[8] - limits[7])
    return limits[4] + (limits[6] - limits[4]) * min(max(part, 0.0), 1.0)


@njit(nogil=True, cache=True)
def _codes(v, snow, cloudy, little, strict):
    """What a pixel is for the fractions and for SEB: too ``little`` snow is none, or cloud again where it was."""
    kept = snow and not (strict and v & BACK)
    code = 255 if v & NONE else 100 if kept else 205 if cloudy else 0
    if code != 100 or not little:
        return code, code
    return (205, 205) if cloudy else (100, 0)


@njit(nogil=True, cache=True)
def _refined(v, red_cell, limit, plus):
    """Whether a pixel is cloud for good: under a bright cloud, in a shadow or high cloud, or made cloud by pass 1.5."""
    clouded = (v & ALLC) != 0
    bright = red_cell > limit or (plus and red_cell == -10000)
    return (clouded and bright) or (v & NEVER) != 0 or clouded != ((v & CLOUD1) != 0)


@njit(nogil=True, cache=True)
def _expert(v, p1, p2, refine, slope, ice):
    """Bits of the layer EXPERT."""
    bits = (1 if p1 else 0) | (2 if p2 else 0) | (4 if v & CLOUD1 else 0) | (8 if refine else 0)
    return bits | (16 if v & ALLC else 0) | (32 if slope else 0) | (64 if ice else 0)


@njit(nogil=True, cache=True)
def _quality(flag, tree, through, shade):
    """Bits of the layer QCFLAGS but for unknown tree cover; ``through``: snow where the cloud mask is set."""
    return (flag & 7) | (8 if 90 < tree <= 100 else 0) | (16 if through else 0) | (64 if shade else 0)


@njit(nogil=True, cache=True)
def _write(out, y, x, code, found, percent, fraction, ground, bits, tree, qc_toc, qc_og, expert):
    """Layers of one pixel, see `LAYERS`; the first, SEB, is written by the caller."""
    index = bits & 127
    out[1, y, x] = percent if found else code
    out[2, y, x] = fraction
    out[3, y, x] = ground
    out[4, y, x] = qc_toc[index] if fraction <= 100 else fraction
    out[5, y, x] = qc_og[index, tree] if ground <= 100 else ground
    out[6, y, x] = expert
    out[7, y, x] = bits | (32 if tree > 100 else 0)


@njit(nogil=True, cache=True)
def _row(
    state, green, red, swir, blue, nir, relief, tcd, geo, geo_table, dem, cells, cell_cols,
    zs, region, row, col0, limits, ice_limits, flags, fsc, mixture, green_scale, fsc_og, qc_toc, qc_og, out, y, tally,
):  # fmt: skip
    """One row of `second_pass`: its arrays without the first dimension; row ``y`` of ``out``, ``row`` of the scene."""
    run2, shaded, plus, strict, seek_ice, drop_ice = flags[0], flags[1], flags[2], flags[3], flags[4], flags[5]
    everywhere, mixed = zs.size == 1, mixture.shape[1] > 0
    line = zs[0, 0]
    for x in range(state.shape[1]):
        v = state[y, x]
        if plus and v & NONE:
            out[:6, y, x] = 255
            out[6:, y, x] = 0
            continue
        dim = relief[y, x] == 1
        g, r, ndsi = (
            np.float64(green[y, x]),
            np.float64(red[y, x]),
            _ratio(np.float64(green[y, x]), np.float64(swir[y, x])),
        )
        b, n = np.float64(blue[y, x]), np.float64(nir[y, x])
        if not everywhere:
            line = snow_line_at(zs, region, row, col0 + x)
        height = np.float64(dem[y, x]) - line
        refine = _refined(v, cells[cell_cols[x]], limits[2], plus)
        p1, p2, shade = (v & P1) != 0, False, False
        if run2 and not refine:
            p2 = height > 0 and ndsi > limits[0] and r > limits[1]
            if shaded and dim:
                shade = _shaded_snow(plus, b - n, r, ndsi, height, limits)
        snow = p1 or p2 or shade
        ice = seek_ice and snow and not dim and _is_ice(b, g, r, n, ndsi, ice_limits)
        if ice and drop_ice:
            snow, p1, p2, shade = False, False, False, False
        percent = _percent(ndsi)
        toc = fsc[1 if dim else 0, percent]
        if mixed and snow:
            i, j = _place(ndsi, g * green_scale, dim)
            toc = mixture[1 if dim else 2 if v & ALLC else 0, i, j]
        if plus:
            snow = snow and toc > 0
            percent = min(percent, 100)  # more comes of negative SWIR, and would read as a code
        unsure = shade and not p1 and not p2 and not plus
        if unsure:
            toc = 100
        cloudy = refine or (v & BACK) != 0
        code, seb = _codes(v, snow, cloudy, toc < _least_fraction(height, limits), strict)
        out[0, y, x] = seb
        if code != 255:
            tally[0] += 1
            tally[1] += seb == 100
            tally[2] += seb == 205
        found, tree, flag = code == 100, tcd[y, x], geo_table[geo[y, x]]
        # the reference marks unsure shade on pixels without data as well
        fraction = toc if found or unsure else code
        ground = fsc_og[min(toc, 100), tree] if found else code
        bits = _quality(flag, tree, seb == 100 and v & RAW, shade)
        expert = _expert(v, p1, p2, refine, flag & 8, ice)
        _write(out, y, x, code, found, percent, fraction, ground, bits, tree, qc_toc, qc_og, expert)


@njit(nogil=True, cache=True)
def second_pass(
    state, green, red, swir, blue, nir, relief, tcd, geo, geo_table, dem, red_cells, cell_rows, cell_cols,
    zs, region, row0, col0, limits, ice_limits, flags, fsc, mixture, green_scale, fsc_og, qc_toc, qc_og, out, tally,
):  # fmt: skip
    """Second sweep: all layers of the result.

    Parameters
    ----------
    state : uint8 (h, w) of `first_pass`
    green, red, swir, blue, nir : int16 (h, w)
    relief : uint8 (h, w), 1 in relief shade; tcd : uint8, percent, > 100 unavailable; geo : uint8, see ``geo_table``
    dem : int16 (h, w), metres
    red_cells : int16 (cells_y, cells_x); ``cell_rows`` (h,), ``cell_cols`` (w,) : int32 cell of each row, column
    zs : float64 (regions_y, regions_x), snow line; ``region``, ``row0``, ``col0`` place the block
    limits : float64 (9,): NDSI and red of pass 2, coarse red of a dark cloud, blue - NIR of shaded snow,
        least FSC (percent) of SEB, NDSI of pass 1, least FSC far above the snow line, heights between which it falls
    ice_limits : float64 (5,): see `processes.lis.detect.ICE`, the first two in digital numbers
    flags : bool (6,): pass 2 runs, shaded snow runs, mode ``plus``, strict cloud mask, look for ice, ice is no snow
    fsc : uint8 (2, 256) percent by NDSI percent, lit and in relief shade
    mixture : uint8 (3, JOINT, JOINT) percent by NDSI and green, lit, in relief shade and through a cloud, used instead where
        it is not empty; ``green_scale`` digital number of green -> reflectance
    fsc_og : uint8 (101, 256) by FSC and tree cover
    qc_toc : uint8 (128,) by quality bits; qc_og : uint8 (128, 256) by quality bits and tree cover
    out : uint8 (8, h, w), written, see `LAYERS`
    tally : int64 (3,), added to: pixels with data, snow, cloud
    """
    for y in range(state.shape[0]):
        _row(
            state, green, red, swir, blue, nir, relief, tcd, geo, geo_table, dem,
            red_cells[cell_rows[y]], cell_cols, zs, region, row0 + y, col0, limits, ice_limits, flags, fsc, mixture,
            green_scale, fsc_og, qc_toc, qc_og, out, y, tally,
        )  # fmt: skip
