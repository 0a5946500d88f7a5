"""Values to shades: the loop behind pictures."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def shades(values, low, high, nodata, has_nodata, out, valid):
    """rint(255 (v - low) / (high - low)), within 0 to 255, of ``values`` (bands, h, w) into ``out`` (h, w, bands) uint8.

    A pixel of which any band is not finite, or equals ``nodata`` (of the type of ``values``), is 0 in all bands of
    ``out`` and False in ``valid`` (h, w). ``low`` and ``high`` are float64 per band. Returns the number of such pixels.
    """
    holes = 0
    bands = values.shape[0]
    for y in range(values.shape[1]):
        for x in range(values.shape[2]):
            good = True
            for b in range(bands):
                v = values[b, y, x]
                if not np.isfinite(v) or (has_nodata and v == nodata):
                    good = False
            valid[y, x] = good
            holes += not good
            for b in range(bands):
                share = 0.0
                if good:
                    share = (np.float64(values[b, y, x]) - low[b]) / (high[b] - low[b])
                    share = min(max(share, 0.0), 1.0)
                out[y, x, b] = np.uint8(np.rint(share * 255.0))
    return holes
