"""Relief shade: cast shadows by one sweep away from the sun, self shade from the slope."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def sweep(dem, east, north, drop, shade):
    """Mark pixels that lie below the shadow of what stands between them and the sun.

    The shadow's height is carried from pixel to pixel along the ray: H <- max(H - drop, z), so the cost does not
    depend on how long shadows are.

    Parameters
    ----------
    dem : float32 (h, w), metres
    east, north : components of the unit vector towards the sun, in pixels
    drop : metres the sun ray falls per pixel of the longer component
    shade : uint8 (h, w), written: 1 in cast shadow
    """
    h, w = dem.shape
    vertical = abs(north) >= abs(east)
    lines, length = (h, w) if vertical else (w, h)
    # source pixel in the line before (towards the sun), fractional across
    shift = (east / abs(north) if vertical else -north / abs(east)) if max(abs(east), abs(north)) > 0 else 0.0
    backwards = (north < 0) if vertical else (east > 0)  # the sun is at the high-index side
    before, now = np.full(length, -np.inf), np.empty(length)
    whole = math.floor(shift)
    part = shift - whole
    for step in range(lines):
        k = lines - 1 - step if backwards else step
        for i in range(length):
            a, b = i + whole, i + whole + 1
            high = -np.inf
            if 0 <= a < length and 0 <= b < length:
                if before[a] > -np.inf and before[b] > -np.inf:
                    high = before[a] * (1.0 - part) + before[b] * part
            elif part == 0.0 and 0 <= a < length:
                high = before[a]
            high -= drop
            z = np.float64(dem[k, i] if vertical else dem[i, k])
            dark = 1 if z < high - 1e-3 else 0
            if vertical:
                shade[k, i] = dark
            else:
                shade[i, k] = dark
            now[i] = max(z, high)
        before, now = now, before


@njit(nogil=True, cache=True)
def incidence(dem, pixel, east, north, up, limit, shade):
    """Mark pixels whose slope faces away: cos(incidence) < ``limit`` (shade is or-ed).

    Normal from central differences; the sun's unit vector is (east, north, up); ``pixel`` in metres.
    """
    h, w = dem.shape
    for y in range(h):
        above, below = max(y - 1, 0), min(y + 1, h - 1)
        for x in range(w):
            left, right = max(x - 1, 0), min(x + 1, w - 1)
            dx = (dem[y, right] - dem[y, left]) / (pixel * max(right - left, 1))
            dn = (dem[above, x] - dem[below, x]) / (pixel * max(below - above, 1))
            if (up - dx * east - dn * north) / math.sqrt(1.0 + dx * dx + dn * dn) < limit:
                shade[y, x] = 1
