"""Directional effects of land: how its reflectance changes with the direction it is seen from.

Ross-thick kernel with hot spot and reciprocal Li-sparse kernel (Roujean et al. 1992; Lucht et al. 2000,
doi:10.1109/36.841980; hot spot after Maignan et al. 2004, doi:10.1016/j.rse.2003.11.006), with the global coefficients
of Roy et al. 2016 (doi:10.1016/j.rse.2016.01.023) relative to the isotropic one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COEFFICIENTS = {
    "B01": (0.481, 0.102), "B02": (0.481, 0.102), "B03": (0.440, 0.136), "B04": (0.340, 0.134), "B05": (0.340, 0.134),
    "B06": (0.418, 0.121), "B07": (0.496, 0.107), "B08": (0.496, 0.107), "B8A": (0.496, 0.107), "B09": (0.496, 0.107),
    "B10": (0.496, 0.107), "B11": (0.336, 0.132), "B12": (0.240, 0.145),
}  # fmt: skip
"""Volume and geometry coefficients over the isotropic one."""

_CROWN = 2.0
_HOT_SPOT = np.radians(1.5)


def kernels(sun: NDArray | float, view: NDArray | float, azimuth: NDArray | float) -> tuple[NDArray, NDArray]:
    """Volume (Ross-thick, hot spot) and geometry (Li-sparse reciprocal, crowns of height 2 over radius 1) kernels.

    Parameters
    ----------
    sun, view : zenith angles; azimuth : between both directions, 0 with the sun behind the sensor; radians
    """
    sun, view, azimuth = np.asarray(sun), np.asarray(view), np.asarray(azimuth)
    cos_s, cos_v = np.cos(sun), np.cos(view)
    cos_phase = np.clip(cos_s * cos_v + np.sin(sun) * np.sin(view) * np.cos(azimuth), -1, 1)
    phase = np.arccos(cos_phase)
    scattered = ((np.pi / 2 - phase) * cos_phase + np.sin(phase)) / (cos_s + cos_v)
    volume = 4 / (3 * np.pi) * scattered * (1 + 1 / (1 + phase / _HOT_SPOT)) - 1 / 3
    tan_s, tan_v = np.tan(sun), np.tan(view)
    secants = 1 / cos_s + 1 / cos_v
    distance = tan_s**2 + tan_v**2 - 2 * tan_s * tan_v * np.cos(azimuth)
    across = np.sqrt(np.maximum(distance, 0) + (tan_s * tan_v * np.sin(azimuth)) ** 2)
    t = np.arccos(np.clip(_CROWN / secants * across, -1, 1))
    overlap = secants / np.pi * (t - np.sin(t) * np.cos(t))
    geometry = overlap - secants + (1 + cos_phase) / (2 * cos_s * cos_v)
    return volume, geometry


def view_factor(band: str, sun: NDArray | float, view: NDArray | float, azimuth: NDArray | float) -> NDArray:
    """Reflectance seen from a direction over that seen from above, the sun being the same; angles in radians."""
    v, g = COEFFICIENTS[band]

    def shape(zenith: NDArray | float, turn: NDArray | float) -> NDArray:
        volume, geometry = kernels(sun, zenith, turn)
        return 1 + v * volume + g * geometry

    return shape(view, azimuth) / shape(0.0, 0.0)
