"""Fractional snow cover and quality classes, as tables over NDSI percent, tree cover and quality bits.

Sources: Gascoin et al. 2020 (Remote Sensing 12, 2904) for the tanh law and the canopy correction; linear mixing between
end-members is the classical model (Vikhamar & Solberg 2003, Remote Sens. Environ. 84, 69-82).
"""

from __future__ import annotations

import numpy as np

from processes.kernels.lis_detect import FINE, JOINT

ENOUGH = 200  # pixels an end-member is estimated from, at least
NDSI = (np.arange(JOINT) + 0.5) / (JOINT // 2) - 1
GREEN = (np.arange(JOINT) + 0.5) / (JOINT // 2)


def tanh_law(ndsi: np.ndarray | float) -> np.ndarray:
    """FSC at the top of canopy, 0.5 tanh(2.65 NDSI - 1.42) + 0.5 (Gascoin et al. 2020), 0..1."""
    return 0.5 * np.tanh(2.65 * np.asarray(ndsi, float) - 1.42) + 0.5


def to_percent(fraction: np.ndarray) -> np.ndarray:
    """100 x fraction in single precision, at most 100, truncated: uint8."""
    return np.trunc((100 * np.clip(fraction, 0, 1)).astype(np.float32)).astype(np.uint8)


def tanh_table() -> np.ndarray:
    """FSC percent by NDSI percent: uint8 (256,)."""
    return to_percent(tanh_law(np.arange(256) / 100))


def snow_member(joint: np.ndarray, scale: float = 1.0) -> tuple[float, float] | None:
    """NDSI and green of snow: medians of the half of the pixels with NDSI > 0.4 whose NDSI is highest; None for too few."""
    snowy = np.where(NDSI > 0.4, joint.sum(axis=1), 0)
    if snowy.sum() < ENOUGH:
        return None
    bright = np.cumsum(snowy[::-1])[::-1] <= max(0.5 * snowy.sum(), snowy.max())
    return _median(NDSI, np.where(bright, snowy, 0)), _median(GREEN / scale, joint[bright].sum(axis=0))


def ground_member(joint: np.ndarray, scale: float = 1.0) -> tuple[float, float] | None:
    """NDSI and green of snow-free ground: medians of the pixels with NDSI < 0; None for too few."""
    bare = NDSI < 0.0
    if joint[bare].sum() < ENOUGH:
        return None
    return _median(NDSI, np.where(bare, joint.sum(axis=1), 0)), _median(GREEN / scale, joint[bare].sum(axis=0))


def unmixing(joint: np.ndarray, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray] | None:
    """Linear mixing law of a scene, from its clear pixels.

    Parameters
    ----------
    joint : int64 (JOINT, JOINT), pixels by NDSI (-1..1) and green reflectance (0..2 / scale), see `Histograms`

    Returns
    -------
    Snow fraction (201,) over NDSI -1..1 in steps of 0.01, and end-members (green, SWIR) of ground and snow (2, 2); None
    where the scene shows too little of one of the two, or no difference between them.

    Notes
    -----
    Green and SWIR of a mixture are linear in its fraction f, so NDSI(f) is a ratio of two linear functions, which
    inverts to f = (n (g0 + s0) - g0 + s0) / ((g1 - g0 - s1 + s0) - n (g1 - g0 + s1 - s0)).
    """
    ground, snow = ground_member(joint, scale), snow_member(joint, scale)
    if ground is None or snow is None or snow[1] < 2 * ground[1]:
        return None
    (n0, g0), (n1, g1) = ground, snow
    s0, s1 = g0 * (1 - n0) / (1 + n0), g1 * (1 - n1) / (1 + n1)
    n = np.linspace(-1, 1, 201)
    slope = (g1 - g0 - s1 + s0) - n * (g1 - g0 + s1 - s0)
    with np.errstate(divide="ignore", invalid="ignore"):
        f = (n * (g0 + s0) - g0 + s0) / slope
    return np.where(n >= n1, 1.0, np.where(n <= n0, 0.0, np.clip(f, 0, 1))), np.array([[g0, s0], [g1, s1]])


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    total = np.cumsum(weights)
    return float(values[np.searchsorted(total, total[-1] / 2)])


def linear_tables(joint: np.ndarray) -> np.ndarray | None:
    """Linear mixing by NDSI alone: uint8 (2, 256) by NDSI percent, lit and in relief shade; None without end-members.

    Shade is lit by the sky, which has little SWIR, so the same snow has a higher NDSI there: the law moves accordingly.
    """
    found = unmixing(joint[0])
    if found is None:
        return None
    fraction, members = found
    grid, ndsi = np.linspace(-1, 1, 201), np.arange(256) / 100
    dark = unmixing(joint[1], FINE)
    if dark is not None:
        shade = np.interp(ndsi, grid, dark[0])
    else:
        ratio = np.maximum((1 - ndsi) / (1 + ndsi), 0) / sky_colour(joint[1], members)
        shade = np.interp((1 - ratio) / (1 + ratio), grid, fraction)
    return np.stack([to_percent(np.interp(ndsi, grid, fraction)), to_percent(shade)])


def sky_colour(joint: np.ndarray, members: np.ndarray) -> float:
    """SWIR over green of the light in relief shade relative to that in the sun, 0.1..1, from snow; 1 without any."""
    if (snow := snow_member(joint, FINE)) is None:
        return 1.0
    return min(max((1 - snow[0]) / (1 + snow[0]) * float(members[1, 0] / members[1, 1]), 0.1), 1.0)


def ground_table() -> np.ndarray:
    """FSC on the ground, percent, by FSC-TOC percent and tree cover percent: uint8 (101, 256).

    min(TOC / (1 - TCD / 100), 1); TOC itself where tree cover is above 100 (unavailable).
    """
    toc = np.arange(101)[:, None] / 100
    tree = np.arange(256)[None]
    with np.errstate(divide="ignore", invalid="ignore"):
        corrected = np.minimum(toc / (1 - tree / 100.0), 1)
    corrected = np.where((tree == 100) & (toc == 0), 0, np.where(tree > 100, toc, corrected))
    return to_percent(corrected)


def quality_tables(plus: bool) -> tuple[np.ndarray, np.ndarray]:
    """Quality class 0 (best) .. 3 of FSC-TOC by quality bits (128,) and of FSC-OG by bits and tree cover (128, 256).

    let-it-snow multiplies tree cover in percent where the formula wants a fraction, so that any tree cover of 2 % or
    more gives 3; mode ``plus`` takes the fraction and counts a missing tree cover like 0.3.
    """
    b = [(np.arange(128) >> k & 1).astype(float) for k in range(7)]
    common = 100 - 30 * b[1] - 50 * b[0] - 25 * b[4] - 25 * b[2]
    tree = np.arange(256.0)
    if plus:
        tree = np.where(tree > 100, 0.3, tree / 100)

    def classes(score: np.ndarray) -> np.ndarray:
        return np.trunc(np.minimum(3, 4 - np.maximum(0, score) / 25)).astype(np.uint8)

    shade = 100 * b[6]
    return classes(common - shade), classes(common[:, None] - 80 * tree[None] - (shade[:, None] if plus else 0))
