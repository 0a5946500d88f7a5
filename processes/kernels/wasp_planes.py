"""Single passes over a block that numpy would make in several: classes, halved planes, stored reflectance."""

from __future__ import annotations

import numpy as np
from numba import njit

NODATA = -10000


@njit(nogil=True, cache=True)
def classify_plane(dn, cloud, water, snow, out):
    """Class of one date: 0 where no band of ``dn`` (B, h, w) has a value, else 1 cloud, 3 water, 2 snow, 4 land."""
    bands, height, width = dn.shape
    for y in range(height):
        row = out[y]
        row[:] = 0
        for b in range(bands):
            source = dn[b, y]
            for x in range(width):
                row[x] |= np.uint8(4) if source[x] != NODATA else np.uint8(0)
        for x in range(width):
            kind = (
                np.uint8(1)
                if cloud[y, x]
                else np.uint8(3)
                if water[y, x]
                else np.uint8(2)
                if snow[y, x]
                else np.uint8(4)
            )
            row[x] = kind if row[x] else np.uint8(0)


@njit(nogil=True, cache=True)
def halve_plane(values, missing, out):
    """Mean of 2 x 2 pixels in double precision, float32; NaN and ``missing`` are left out, NaN where none is left."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            total, n = 0.0, 0
            for i in range(2):
                for j in range(2):
                    v = np.float64(values[2 * y + i, 2 * x + j])
                    if v == v and v != missing:
                        total += v
                        n += 1
            out[y, x] = np.float32(total * 0.25) if n == 4 else np.float32(total / n) if n else np.float32(np.nan)


@njit(nogil=True, cache=True)
def store_reflectance(refl, out):
    """Reflectance x 10000 (float32, NaN for none) rounded once to int16, -10000 for none."""
    bands, height, width = refl.shape
    for b in range(bands):
        for y in range(height):
            for x in range(width):
                v = refl[b, y, x]
                inside = min(max(np.rint(v), np.float32(NODATA + 1)), np.float32(32767))
                out[b, y, x] = np.int16(inside) if v == v else np.int16(NODATA)
