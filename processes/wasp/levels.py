"""Dates levelled to each other: what the aerosol correction left in the acquisitions of one place.

A date that is a little brighter than the others shows as a step wherever it begins to count. Per band, the reflectance y
of date t at pixel x is taken as

    y(t, x) = m(x) + o(t) + k(t) AOT(t, x) + noise

with the surface m, and for each date an offset o and a residual k per unit of aerosol optical thickness (errors of the
aerosol correction grow with the load). m is free per pixel and eliminated; o and k are found by weighted least squares
with a prior of mean zero (ridge), so that what the data cannot tell stays zero: the level common to all dates is decided
by the dates of thin air, and by how the differences follow the aerosol inside each date. Clouds and shadows that the mask
missed, and fields that were harvested, are down-weighted (Tukey's biweight, iterated). One sample of the whole extent
decides, so the result knows no blocks.

Sources: Searle (1971), Linear Models (absorbed fixed effects); Hoerl and Kennard (1970), Technometrics 12 (ridge);
Beaton and Tukey (1974), Technometrics 16 (biweight).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from processes.kernels.wasp_average import FRACTION, LAND
from processes.wasp.composite import Block, guide_of

TYPICAL_AOT = 0.2  # where a product does not tell

WINDOWS, SIDE = 4, 100  # the sample: windows per axis, pixels
PRIOR = (30.0, 300.0)  # standard deviation of o (DN) and k (DN per unit)
NOISE = 60.0  # DN, of a pixel against its own mean
INDEPENDENT = 0.02  # share of the samples that count as independent: neighbours share their errors
TAIL = 2.0  # of the prior (Cauchy), in its standard deviations: dates farther off hardly tell the common level
FARTHEST = 2.0  # what is taken off a date at most, in the same
LEAST = 50  # samples seen on two dates or more
LEAST_SPREAD = 15.0  # DN
ROUNDS = 4
_QUANTUM = (1 / FRACTION, 1.0)  # far below what matters; keeps the last bits of sums out of the result


def sample_windows(size: int) -> list[tuple[int, int]]:
    """First pixel (a multiple of 4) and length of the windows along an axis of ``size`` pixels."""
    if size <= WINDOWS * SIDE:
        return [(0, size)]
    return [(int(i * (size - SIDE) / (WINDOWS - 1)) // 4 * 4, SIDE) for i in range(WINDOWS)]


def sample_positions(size: int, start: int = 0, length: int | None = None) -> np.ndarray:
    """Pixels looked at along an axis of ``size`` pixels, those of its part from ``start`` on counted from there.

    Every fourth of the windows, odd ones, so that a pixel of twice the size is theirs.
    """
    step = 4 if size >= WINDOWS * SIDE // 2 else 2
    every = [np.arange(first + min(1, n - 1), first + n, step) for first, n in sample_windows(size)]
    at = np.concatenate(every) - start
    return at[(at >= 0) & (at < (size if length is None else length))]


def known_aot(aot: np.ndarray) -> np.ndarray:
    """Optical thickness without gaps: unknown (NaN) is `TYPICAL_AOT`, negative is 0."""
    return np.where(np.isnan(aot), np.float32(TYPICAL_AOT), np.fmax(aot, np.float32(0))).astype(np.float32)


def fit_levels(values: np.ndarray, land: np.ndarray, aot: np.ndarray) -> np.ndarray:
    """Offset and aerosol residual of every date and band.

    Parameters
    ----------
    values : (T, B, n) float32, DN corrected for direction, NaN for none
    land : (T, n) bool, seen as clear land
    aot : (T, n) float32, aerosol optical thickness, NaN where unknown

    Returns
    -------
    (T, B, 2) float32: o (DN) and k (DN per unit of optical thickness), to be subtracted; 0 where dates cannot be compared.
    """
    dates, bands, _ = values.shape
    levels = np.zeros((dates, bands, 2), np.float32)
    thick = known_aot(aot).T.astype(np.float64)
    for b in range(bands):
        seen = (land & np.isfinite(values[:, b])).T
        use = seen.sum(axis=1) >= 2
        if dates >= 2 and use.sum() >= LEAST:
            y = np.where(seen, values[:, b].T, 0.0)[use].astype(np.float64)
            found = np.rint(_fit(y, seen[use], thick[use]) / _QUANTUM) * _QUANTUM
            found[~seen[use].any(axis=0)] = 0
            levels[:, b] = found
    return levels


def _fit(y: np.ndarray, seen: np.ndarray, aot: np.ndarray) -> np.ndarray:
    """(T, 2) o and k of one band. y, seen, aot : (n, T), 0 in ``y`` where not ``seen``."""
    pixels, dates = y.shape
    share = INDEPENDENT / NOISE**2
    count = np.maximum(seen.sum(axis=0), 1)
    typical = np.where(seen, aot, 0.0).sum(axis=0) / count
    expected = np.sqrt(PRIOR[0] ** 2 + (PRIOR[1] * typical) ** 2)  # of what is taken off a date
    trust = np.ones(dates)
    x = np.stack([np.ones_like(aot), aot], axis=2)
    weight = seen.astype(np.float64)
    found = np.zeros((dates, 2))
    for turn in range(ROUNDS):
        total = np.maximum(weight.sum(axis=1), 1e-9)
        weighted = weight[:, :, None] * x
        flat = weighted.reshape(pixels, -1)
        # the pixel's own mean is eliminated: W - W 1 (1'W1)^-1 1'W
        normal = -(flat / total[:, None]).T @ flat
        for t in range(dates):
            normal[2 * t : 2 * t + 2, 2 * t : 2 * t + 2] += weighted[:, t].T @ x[:, t]
        right = flat.T @ (-(weight * y).sum(axis=1) / total) + np.einsum("ntp,nt->tp", weighted, y).ravel()
        prior = np.outer(trust, 1 / np.square(PRIOR)).ravel()
        found = np.linalg.solve(normal * share + np.diag(prior), right * share).reshape(dates, 2)
        rest = y - found[:, 0] - found[:, 1] * aot
        off = rest - ((weight * rest).sum(axis=1) / total)[:, None]
        spread = max(1.4826 * float(np.median(np.abs(off[seen]))), LEAST_SPREAD)
        weight = seen * np.maximum(1 - (off / (4 * spread)) ** 2, 0) ** 2
        # the common level is that of most dates, not of their mean: a hazy date must not lift the others
        effect = found[:, 0] + found[:, 1] * typical
        level = _lower_median(effect, count) if turn == 0 else 0.0
        trust = 1 / (1 + ((effect - level) / (TAIL * expected)) ** 2)
    # what is farther off is no residual of the aerosol correction, but haze or a change of the surface
    return found * np.minimum(1, FARTHEST * expected / np.maximum(np.abs(effect), 1e-9))[:, None]


def _lower_median(values: np.ndarray, count: np.ndarray) -> float:
    """The value below or at which half of the observations lie; the lower one of two dates: haze brightens."""
    order = np.argsort(values)
    below = np.cumsum(count[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])


def levelled(block: Block, aot: np.ndarray, blue: int = 0) -> Block:
    """A block that is the whole extent, with the levels of its own sample.

    aot : (T, h, w) float32, NaN where unknown; blue : index of the band that decides between dates.
    """
    dates, bands, height, width = block.dn.shape
    at = np.ix_(sample_positions(height), sample_positions(width))
    values = np.empty((dates, bands, at[0].size * at[1].size), np.float32)
    for b in range(bands):
        dn = np.ascontiguousarray(block.dn[:, b])
        values[:, b] = guide_of(block, dn, block.factor[:, b])[:, at[0], at[1]].reshape(dates, -1)
    land = (block.cls[:, at[0], at[1]] == LAND).reshape(dates, -1)
    level = fit_levels(values, land, aot[:, at[0], at[1]].reshape(dates, -1))
    return replace(block, level=level, blue_level=level[:, blue], aot=known_aot(aot))
