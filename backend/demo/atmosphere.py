"""The stated atmosphere of the synthetic top-of-atmosphere products.

For one band, sun and view zenith cosines mu_s and mu_v, m = 1/mu_s + 1/mu_v:

    rho_toa = Tg * (rho_p + T(mu_s) T(mu_v) rho_s / (1 - s rho_s))                                   (1)

Sources
-------
(1)  Uniform Lambertian ground: Tanre et al. 1979, Appl. Opt. 18, 3587; Vermote et al. 1997 (6S).
Tg   gases, of the form of SMAC (Rahman & Dedieu 1994, Int. J. Remote Sensing 15, 123):
     exp(a (u m)^n) for each of water vapour and ozone, exp(a (p^k m)^n) for O2, CO2, CH4 and NO2, p the pressure
     relative to 1013.25 hPa. Published SMAC coefficients of Sentinel-2A.
rho_p  single scattering by molecules, P_r / (4 (mu_s + mu_v)) (1 - exp(-m tau_r)) with P_r = 3/4 (1 + cos^2), raised
     by 1 + 1.4 tau_r for what is scattered more than once; plus that by aerosol in the thin limit,
     1.7 w tau_a P_a / (4 mu_s mu_v), P_a of Henyey & Greenstein 1941. The factors 1.4 and 1.7 were fitted to full
     radiative transfer of continental aerosol (sun at 30 degrees, AOT 0.1 to 0.5, B02 and B04: within 3 %).
T    exp(-(tau_r/2 + (1 - w f) tau_a) / mu) with f = (1 + g) / 2 + 0.05 the forward-scattered part (after Gordon 1997,
     J. Geophys. Res. 102, 17081).
s    0.92 tau_r exp(-tau_r) + w (1 - g) tau_a / 1.5 (first order of Vermote et al. 1997 and of two streams).

tau_r = tau_r0 p, tau_a = AOT(550) times the band's extinction ratio; pressure by the standard atmosphere,
p = (1 - 0.0065 z / 288.15)^5.31; vapour above height h falls off with 2.2 km.
It has no adjacency effect, no polarisation and no gas-scattering coupling: an independent, simple truth, within about
0.005 of full radiative transfer at an aerosol optical thickness up to 0.5 in the visible, at moderate sun angles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.demo.spectra import S2_BANDS

OZONE = 0.30
"""Ozone column, cm-atm."""
VAPOUR_SCALE = 2200.0


@dataclass(frozen=True)
class Gas:
    """Absorption coefficients of one band: a, n of water vapour and ozone; (a, n, k) of the well-mixed gases."""

    vapour: tuple[float, float] = (0.0, 1.0)
    ozone: tuple[float, float] = (0.0, 1.0)
    mixed: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Scatter:
    """Scattering of one band: Rayleigh optical thickness at sea level; aerosol extinction / that at 550 nm, w, g."""

    rayleigh: float
    extinction: float
    albedo: float
    asymmetry: float


GASES = {
    "B01": Gas(ozone=(-0.002501, 1.00001)),
    "B02": Gas(ozone=(-0.0243, 0.9953)),
    "B03": Gas((-0.000718, 0.908826), (-0.098452, 0.998839)),
    "B04": Gas((-0.003459, 0.777729), (-0.04993, 0.999034)),
    "B05": Gas((-0.013718, 0.772725), (-0.02037, 0.99992), ((-1.1e-05, 0.729437, 3.21957),)),
    "B06": Gas((-0.013071, 0.783733), (-0.010865, 0.99996)),
    "B07": Gas((-0.004071, 0.765951), mixed=((-0.00013, 0.951291, 2.8548),)),
    "B08": Gas((-0.028518, 0.593166), mixed=((-1.7e-05, 0.547788, 2.35908),)),
    "B8A": Gas((-0.000388, 0.917095), mixed=((-3e-05, 1.01066, 2.72562),)),
    "B09": Gas((-0.677286, 0.477175)),
    "B10": Gas((-2.99987, 0.424365), mixed=((-6e-06, 1.1134, 0.870661),)),
    "B11": Gas((-0.000626, 0.953631), mixed=((-0.016177, 0.743964, 1.34886), (-0.003867, 0.876877, 1.12729))),
    "B12": Gas(
        (-0.017274, 0.667268),
        mixed=((-0.000138, 0.941886, 1.71609), (-0.020589, 0.814293, 1.20524), (-0.001718, 0.94716, 1.02975)),
    ),
}

SCATTER = {
    "B01": Scatter(0.2369, 1.26336, 0.90029, 0.64308),
    "B02": Scatter(0.1550, 1.134, 0.898712, 0.639672),
    "B03": Scatter(0.0907, 0.979901, 0.89147, 0.63661),
    "B04": Scatter(0.0451, 0.8006, 0.88433, 0.63187),
    "B05": Scatter(0.0356, 0.746182, 0.87767, 0.63074),
    "B06": Scatter(0.0290, 0.699559, 0.86869, 0.63108),
    "B07": Scatter(0.0232, 0.651048, 0.85881, 0.63147),
    "B08": Scatter(0.0186, 0.60463, 0.84893, 0.63196),
    "B8A": Scatter(0.0155, 0.5728, 0.84146, 0.63229),
    "B09": Scatter(0.0109, 0.5134, 0.82684, 0.6338),
    "B10": Scatter(0.0024, 0.323784, 0.76802, 0.6419),
    "B11": Scatter(0.0013, 0.260476, 0.75259, 0.65526),
    "B12": Scatter(0.0004, 0.15665, 0.76153, 0.7336),
}

assert tuple(GASES) == tuple(SCATTER) == S2_BANDS


def pressure(z: NDArray | float) -> NDArray:
    """Pressure relative to sea level at height `z` (m)."""
    return (1 - 0.0065 * np.asarray(z) / 288.15) ** 5.31


def gas_transmission(band: str, air_mass: NDArray, vapour: NDArray, z: NDArray | float) -> NDArray:
    """Two-way transmission by gases above height `z` (m), with `vapour` (g/cm2) above it."""
    gas, p = GASES[band], pressure(z)
    exponent = gas.vapour[0] * (vapour * air_mass) ** gas.vapour[1] + gas.ozone[0] * (OZONE * air_mass) ** gas.ozone[1]
    for a, n, k in gas.mixed:
        exponent = exponent + a * (p**k * air_mass) ** n
    return np.exp(exponent)


def path_reflectance(
    band: str, aot: NDArray, z: NDArray | float, sun: tuple[float, float], zenith: NDArray, azimuth: NDArray
) -> NDArray:
    """Reflectance of the atmosphere alone, without gases.

    Parameters
    ----------
    aot : aerosol optical thickness at 550 nm above the ground; z : height of the ground (m)
    sun : zenith and azimuth of the sun; zenith, azimuth : of the view; degrees
    """
    model, mu_s = SCATTER[band], np.cos(np.radians(sun[0]))
    mu_v = np.cos(np.radians(zenith))
    tau_r, tau_a = model.rayleigh * pressure(z), aot * model.extinction
    relative = np.radians(np.asarray(azimuth) - sun[1])
    # scattering angle: 180 degrees when sensor and sun are on the same side
    cos_angle = -mu_s * mu_v - np.sqrt(1 - mu_s**2) * np.sqrt(1 - mu_v**2) * np.cos(relative)
    molecules = 0.75 * (1 + cos_angle**2)
    g = model.asymmetry
    aerosol = (1 - g * g) / (1 + g * g - 2 * g * cos_angle) ** 1.5
    clear = molecules / (4 * (mu_s + mu_v)) * (1 - np.exp(-tau_r * (1 / mu_s + 1 / mu_v))) * (1 + 1.4 * tau_r)
    return clear + 1.7 * model.albedo * tau_a * aerosol / (4 * mu_s * mu_v)


def transmission(band: str, aot: NDArray, z: NDArray | float, zenith: NDArray | float) -> NDArray:
    """Direct plus diffuse transmission on one way, without gases."""
    model = SCATTER[band]
    forward = (1 + model.asymmetry) / 2 + 0.05
    loss = model.rayleigh * pressure(z) / 2 + (1 - model.albedo * forward) * model.extinction * aot
    return np.exp(-loss / np.cos(np.radians(zenith)))


def spherical_albedo(band: str, aot: NDArray, z: NDArray | float) -> NDArray:
    """Reflectance of the atmosphere to light from below."""
    model = SCATTER[band]
    tau_r = model.rayleigh * pressure(z)
    return 0.92 * tau_r * np.exp(-tau_r) + model.albedo * (1 - model.asymmetry) * model.extinction * aot / 1.5


def top_of_atmosphere(
    band: str,
    ground: NDArray,
    aot: NDArray,
    vapour: NDArray,
    z: NDArray | float,
    sun: tuple[float, float],
    zenith: NDArray,
    azimuth: NDArray,
) -> NDArray:
    """Equation (1): reflectance above the atmosphere of ground with reflectance `ground`."""
    mass = 1 / np.cos(np.radians(sun[0])) + 1 / np.cos(np.radians(zenith))
    both = transmission(band, aot, z, sun[0]) * transmission(band, aot, z, zenith)
    seen = both * ground / (1 - spherical_albedo(band, aot, z) * ground)
    path = path_reflectance(band, aot, z, sun, zenith, azimuth)
    return gas_transmission(band, mass, vapour, z) * (path + seen)
