"""From the truth to what an instrument would deliver at the bottom of the atmosphere: light, clouds, noise."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from backend.demo.noise import normal
from backend.demo.scene import Truth, cloud_albedo
from backend.demo.spectra import CIRRUS_COLOUR, CLOUD_COLOUR, S2_BANDS, S2_CENTRE

CLOUD_SEEN = 0.05
"""Optical depth from which a cloud is in the masks; thinner rims stay in the reflectance and not in the mask."""
CLOUD_THIN = 0.015
CLOUD_THICK = 2.0
CIRRUS_SEEN = 0.02
CIRRUS_CLOUD = 0.06
SHADE_SEEN = 0.06
"""Share of direct light lost from which a pixel is masked as cloud shadow."""
SNOW_SEEN = 0.4
NOISE = (0.0010, 0.006)
"""Standard deviation of a reflectance: a floor plus a part of the reflectance."""

CIRRUS_ASYMMETRY = 0.75


def veiled(truth: Truth, band: int, ground: NDArray) -> NDArray:
    """Reflectance of ground under cloud and cirrus: two layers added, R + (1-R)^2 g / (1 - R g) for each.

    The adding method for a non-absorbing layer over a reflecting one (van de Hulst 1980, "Multiple light scattering").
    """
    low = cloud_albedo(truth.cloud)
    out = low * CLOUD_COLOUR[band] + (1 - low) ** 2 * ground / (1 - low * ground)
    scaled = (1 - CIRRUS_ASYMMETRY) * truth.cirrus
    high = scaled / (2 + scaled)
    return high * CIRRUS_COLOUR[band] + (1 - high) ** 2 * out / (1 - high * out)


def surface(truth: Truth, band: int) -> NDArray:
    """Reflectance an image without atmosphere would show in one band: lit slopes, clouds, shadows; no noise."""
    return veiled(truth, band, truth.rho[band] * truth.light(band)).astype(np.float32)


def haze_residual(truth: Truth, band: int, error: float) -> NDArray:
    """What is left of the haze when its optical thickness is estimated wrong by the factor 1 + `error`.

    Single scattering over dark ground: about 0.1 tau, falling with wavelength to the power -1.3, less over bright
    ground; zero at a reflectance of 0.35.
    """
    colour = (S2_CENTRE[S2_BANDS[band]] / 550.0) ** -1.3
    return -error * truth.aot * 0.10 * colour * (1 - truth.rho[band] / 0.35)


@njit(cache=True, nogil=True)
def digital(
    rho: NDArray, valid: NDArray, row: int, col: int, seed: int, floor: float, part: float
) -> tuple[NDArray, NDArray]:
    """Reflectance with noise, float32, and the noise itself; NaN where not valid.

    The noise of a pixel depends on its row and column in the file and the seed alone.
    """
    noisy, noise = np.empty(rho.shape, np.float32), np.empty(rho.shape, np.float32)
    for r in range(rho.shape[0]):
        for c in range(rho.shape[1]):
            if valid[r, c]:
                e = normal(row + r, col + c, seed) * (floor + part * abs(rho[r, c]))
                noise[r, c] = e
                noisy[r, c] = rho[r, c] + e
            else:
                noise[r, c] = 0.0
                noisy[r, c] = np.nan
    return noisy, noise


def to_int16(rho: NDArray) -> NDArray:
    """Reflectance times 10000, rounded, -9999..32767; -10000 where not finite."""
    scaled = np.clip(np.rint(np.nan_to_num(rho, nan=0.0) * 10000), -9999, 32767)
    return np.where(np.isfinite(rho), scaled, -10000).astype(np.int16)
