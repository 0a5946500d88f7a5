"""Relief shade: cast shadows by one sweep away from the sun, self shade from the slope."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def sweep(dem, east, north, drop, shade):
    """Mark pixels that lie below the shadow of what stands between them and the sun.

    Parallel rays, one per pixel of the line they cross, carry the shadow's height away from the sun line by line:
    H <- max(H - drop, z), with z between two pixels where the ray passes between them. A pixel is dark if it lies below H of
    its two nearest rays. The cost does not depend on how long shadows are, and nothing is smeared on the way.

    Parameters
    ----------
    dem : float32 or int16 (h, w), metres
    east, north : components of the unit vector towards the sun, in pixels
    drop : metres the sun ray falls per pixel of the longer component
    shade : uint8 (h, w), written: 1 in cast shadow
    """
    h, w = dem.shape
    vertical = abs(north) >= abs(east)
    lines, length = (h, w) if vertical else (w, h)
    # how far a ray moves across towards the sun, per line
    shift = east / abs(north) if vertical else -north / abs(east)
    if abs(shift) < 1e-9:
        shift = 0.0
    backwards = (north < 0) if vertical else (east > 0)  # the sun is at the high-index side
    base = math.floor(min(0.0, shift * lines))
    height = np.full(length + math.ceil(abs(shift) * lines) + 3, -np.inf)
    line = np.empty(length)
    for step in range(lines):
        k = lines - 1 - step if backwards else step
        for i in range(length):
            line[i] = dem[k, i] if vertical else dem[i, k]
        moved = shift * step
        whole = math.floor(moved)
        part = moved - whole
        first = int(whole) - base
        for i in range(length):
            left, right = height[first + i], height[first + i + 1]
            if part == 0.0 or right == -np.inf:
                high = left
            elif left == -np.inf:
                high = right
            else:
                high = left * (1.0 - part) + right * part
            dark = 1 if line[i] < high - drop - 1e-3 else 0
            if vertical:
                shade[k, i] = dark
            else:
                shade[i, k] = dark
        for i in range(length + 1):
            # ray first + i crosses this line at i - part
            if part == 0.0:
                if i == length:
                    break
                z = line[i]
            elif i == 0:
                z = line[0]
            elif i == length:
                z = line[length - 1]
            else:
                z = line[i - 1] * part + line[i] * (1.0 - part)
            height[first + i] = max(height[first + i] - drop, z)


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
            dx = (np.float64(dem[y, right]) - dem[y, left]) / (pixel * max(right - left, 1))
            dn = (np.float64(dem[above, x]) - dem[below, x]) / (pixel * max(below - above, 1))
            if (up - dx * east - dn * north) / math.sqrt(1.0 + dx * dx + dn * dn) < limit:
                shade[y, x] = 1
