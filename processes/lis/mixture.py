"""Snow fraction from NDSI and brightness together: a mixture of uncertain end-members, estimated from the scene itself.

NDSI alone needs a law of mixing (linear, or the published tanh) and fails in relief shade, where SWIR is little above
the noise. Brightness alone fails where illumination differs. Both are taken here for what they are worth: green and SWIR of
a pixel are a snow and a ground spectrum, each with the scatter it shows in the scene, mixed by an unknown fraction and
lit by an unknown amplitude; the estimate is the mean of the fraction given the two bands. Model: normal
compositional model (Eismann & Stein 2007, in Chang, Hyperspectral Data Exploitation; Eches et al. 2010, IEEE
Trans. Image Process. 19, 1403-1413); amplitude as the shade end-member of Adams et al. 1986 (J. Geophys. Res. 91, 8098).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from processes.kernels.lis_detect import FINE, JOINT
from processes.kernels.lis_mixture import posterior_mean
from processes.lis.fsc import ENOUGH, GREEN, NDSI, ground_member, linear_tables, snow_member, tanh_table

FRACTIONS = np.linspace(0, 1, 21)
NOISE = (0.005, 0.004)  # of green and SWIR, reflectance
CURVE = 0.1  # how far SWIR of a half mixture may be from the straight line, share of the end-members' difference
SHADE_SNOW = (0.7, 1.6)  # green of snow in relief shade over its commonest value
AMPLITUDE = (0.1, 0.35)  # least and largest scatter of the amplitude
PURE = 0.25  # prior share of pixels without snow, and of pixels all snow; the others are spread evenly
DIM = (0.02, 0.4, 0.25)  # share of pixels in shade that no mask shows; their amplitude: mean, standard deviation
VEILED = (0.9, 0.6, 0.35)  # the same where a cloud mask is set and the cloud is looked through


@dataclass(frozen=True)
class Members:
    """End-members of one illumination: (green, SWIR) of ground and snow, their scatter, scatter of the amplitude."""

    ground: tuple[float, float]
    snow: tuple[float, float]
    ground_scatter: tuple[float, float]
    snow_scatter: tuple[float, float]
    amplitude: float


def _spread(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Median and robust standard deviation (a quarter to three quarters, over 1.35) of weighted values."""
    order = np.argsort(values, axis=None, kind="stable")
    total = np.cumsum(weights.ravel()[order])
    low, middle, high = (float(values.ravel()[order][np.searchsorted(total, q * total[-1])]) for q in (0.25, 0.5, 0.75))
    return middle, (high - low) / 1.35


def lit_members(joint: np.ndarray) -> Members | None:
    """End-members in the sun from the histogram of NDSI and green; None where snow or ground is too rare or too alike."""
    ground, snow = ground_member(joint), snow_member(joint)
    if ground is None or snow is None or snow[1] < 2 * ground[1]:
        return None
    swir = GREEN[None] * (1 - NDSI[:, None]) / (1 + NDSI[:, None])
    bare = np.where(NDSI[:, None] < 0, joint, 0)
    white = np.where(NDSI[:, None] >= snow[0] - 0.05, joint, 0)
    green0, green1 = (
        _spread(np.broadcast_to(GREEN, joint.shape), bare),
        _spread(np.broadcast_to(GREEN, joint.shape), white),
    )
    swir0, swir1 = _spread(swir, bare), _spread(swir, white)
    amplitude = float(np.clip(green1[1] / green1[0], *AMPLITUDE))
    return Members(
        (green0[0], swir0[0]), (green1[0], swir1[0]), (green0[1], swir0[1]),
        (0.02, min(swir1[1], 0.05)), amplitude,
    )  # fmt: skip


def shade_members(joint: np.ndarray, lit: Members) -> Members | None:
    """End-members in relief shade; None where it shows no snow.

    Snow are the brighter of the pixels whose NDSI is that of snow; ground those under a quarter of its green. Where
    there is no ground it is that of the sun dimmed as snow is: the light's colour is the same for both.
    """
    plain = np.where(NDSI[:, None] > 0.6, joint, 0)
    profile = plain.sum(axis=0)
    if profile.sum() < ENOUGH:
        return None
    green = GREEN / FINE
    top = float(green[np.searchsorted(np.cumsum(profile), 0.9 * profile.sum())])
    # the commonest brightness, not the median: thin clouds that no mask saw brighten shade a lot
    smooth = np.convolve(np.where(green > 0.5 * top, profile, 0), np.ones(5), "same")
    peak = float(green[smooth.argmax()])
    swir = green[None] * (1 - NDSI[:, None]) / (1 + NDSI[:, None])
    greens = np.broadcast_to(green, joint.shape)
    white = np.where((greens > SHADE_SNOW[0] * peak) & (greens < SHADE_SNOW[1] * peak), plain, 0)
    green1, swir1 = _spread(greens, white), _spread(swir, white)
    dark = np.where(greens < 0.25 * peak, joint, 0)
    dim = green1[0] / lit.snow[0]
    blue = float(np.clip(max(swir1[0], NOISE[1]) / max(lit.snow[1], 1e-3) / dim, 0.1, 1))
    if dark.sum() >= ENOUGH:
        green0, swir0 = _spread(greens, dark), _spread(swir, dark)
    else:
        green0 = (lit.ground[0] * dim, lit.ground_scatter[0] * dim)
        swir0 = (lit.ground[1] * dim * blue, lit.ground_scatter[1] * dim * blue)
    if green1[0] < 2 * green0[0]:
        return None
    amplitude = float(np.clip(green1[1] / green1[0], *AMPLITUDE))
    return Members((green0[0], swir0[0]), (green1[0], swir1[0]), (green0[1], swir0[1]), (0.0, swir1[1]), amplitude)


def table(m: Members, scale: float = 1.0, dim: tuple[float, float, float] = DIM) -> np.ndarray:
    """Snow percent by NDSI and green: uint8 (JOINT, JOINT), bins as in `Histograms.joint`.

    Notes
    -----
    With fraction f the expected pair is u = f snow + (1 - f) ground and its covariance
    f^2 C_snow + (1 - f)^2 C_ground + noise + s_a^2 u u', where s_a is the scatter of the amplitude; the posterior mean
    over f takes the prior of `PURE` and a share of pixels of lower amplitude (``dim``, as `DIM`).
    """
    f = FRACTIONS[:, None]
    ground, snow = np.array(m.ground), np.array(m.snow)
    mean = f * snow + (1 - f) * ground
    curve = np.array([0.0, CURVE * abs(ground[1] - snow[1])])
    variance = (f * m.snow_scatter) ** 2 + ((1 - f) * m.ground_scatter) ** 2 + np.array(NOISE) ** 2
    variance = variance + (4 * f * (1 - f) * curve) ** 2
    prior = np.full(f.size, (1 - 2 * PURE) / (f.size - 2))
    prior[[0, -1]] = PURE
    parts = []
    for share, centre, sigma in ((1 - dim[0], 1.0, m.amplitude), dim):
        xx, yy = (variance + (sigma * mean) ** 2).T
        xy = sigma**2 * mean[:, 0] * mean[:, 1]
        determinant = xx * yy - xy**2
        quadratic = np.stack([-yy, 2 * xy, -xx]) / (2 * determinant)
        parts.append(np.stack([*(centre * mean).T, *quadratic, np.log(share * prior / np.sqrt(determinant))], axis=1))
    out = np.empty((JOINT, JOINT), np.uint8)
    posterior_mean(GREEN / scale, (1 - NDSI) / (1 + NDSI), FRACTIONS, np.stack(parts, axis=1), out)
    return out


def law_of_scene(joint: np.ndarray, law: str) -> tuple[str, np.ndarray, np.ndarray]:
    """FSC law of a scene and its tables.

    Parameters
    ----------
    joint : int64 (2, JOINT, JOINT) of `Histograms`
    law : ``tanh`` (published, everywhere), ``unmix`` (linear mixing by NDSI alone) or ``auto`` (`table`)

    Returns
    -------
    The law used, ``tanh``, ``unmix`` or ``mixture``: ``tanh`` where the scene shows no end-members; percent by NDSI
    percent, uint8 (2, 256), lit and in relief shade; percent by NDSI and green, uint8 (3, JOINT, JOINT), lit, in relief
    shade and through a cloud, or (3, 0, 0) where NDSI alone decides.
    """
    published, none = np.stack([tanh_table()] * 2), np.empty((3, 0, 0), np.uint8)
    if law == "unmix" and (linear := linear_tables(joint)) is not None:
        return "unmix", linear, none
    if law != "auto" or (lit := lit_members(joint[0])) is None:
        return "tanh", published, none
    shade = shade_members(joint[1], lit)
    if shade is None:  # no snow to learn the sky's light from
        percent = np.clip(np.floor(100 * NDSI + 1e-6), 0, 255).astype(int)
        dark = np.repeat(tanh_table()[percent][:, None], JOINT, axis=1)
    else:
        dark = table(shade, FINE)
    return "mixture", published, np.stack([table(lit), dark, table(lit, dim=VEILED)])
