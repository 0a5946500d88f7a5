"""Relief shade from a DEM and the sun's direction.

let-it-snow looks along the ray of every pixel up to a radius and leaves a border of that radius unshaded; the sweep
here carries the shadow's height from line to line instead: every pixel is visited once and the border is not lost.
"""

from __future__ import annotations

import math

import numpy as np

from processes.errors import parameter_invalid
from processes.kernels.lis_relief import incidence, sweep


def relief_shade(
    dem: np.ndarray, pixel: float, azimuth: float, elevation: float, *, hillshade_lim: float | None = None
) -> np.ndarray:
    """Pixels in relief shade.

    Parameters
    ----------
    dem : (h, w), metres; NaN and values under -1000 count as sea level
    pixel : size of a pixel, metres
    azimuth, elevation : of the sun, degrees (clockwise from north; above the horizon)
    hillshade_lim : also mark slopes with cos(incidence) below this (self shade); None: cast shadow only

    Returns
    -------
    uint8 (h, w): 1 in shade.

    Raises
    ------
    ProcessError
        ``ProcessParameterInvalid`` for a sun at or below the horizon.
    """
    if not 0 < elevation <= 90:
        raise parameter_invalid("sun_angles", f"the sun elevation must be within 0..90 degrees, got {elevation}.")
    if dem.dtype == np.int16:
        z = np.maximum(dem, np.int16(0)) if dem.min(initial=0) <= -1000 else np.ascontiguousarray(dem)
    else:
        z = np.ascontiguousarray(dem, np.float32)
        z = np.where(np.isfinite(z) & (z > -1000), z, np.float32(0))
    a, e = math.radians(azimuth), math.radians(elevation)
    east, north = math.sin(a), math.cos(a)
    shade = np.zeros(z.shape, np.uint8)
    if elevation < 89.9:
        # length of the ray from one line to the next
        step = pixel / max(abs(east), abs(north))
        sweep(z, east, north, step * math.tan(e), shade)
    if hillshade_lim is not None:
        incidence(z, pixel, east * math.cos(e), north * math.cos(e), math.sin(e), hillshade_lim, shade)
    return shade
