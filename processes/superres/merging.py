"""Coarse bands at the resolution of the fine ones: generalised Laplacian pyramid with a regression of hyperspectral kind.

For each coarse band L, a combination P = sum of w_k H_k of the fine bands is fitted so that P, seen at the coarse resolution,
resembles L. The detail of P is added to L:

    out = P + U(L - D(P))

with D the low-pass of the band's own modulation transfer function and decimation by two, and U cubic interpolation. What
is invented is bounded: degraded again, the result gives back L wherever U and D undo each other.

Sources: Aiazzi et al. (2006), PE&RS 72 (pyramid matched to the transfer function); Selva et al. (2015), IEEE JSTARS 8
(one combination of the fine bands per coarse band).
"""

from __future__ import annotations

import numpy as np

from processes.kernels.superres_glp import REACH, add_doubled, degrade, mix_bands

FACTOR = 2
# modulation transfer at the Nyquist frequency of the band's own grid; typical values of the Sentinel-2 instrument
MTF = {"B05": 0.38, "B06": 0.34, "B07": 0.34, "B8A": 0.33, "B11": 0.22, "B12": 0.23}
_HALF = 5  # taps on each side: the Gaussians above have standard deviations below 1.2 fine pixels
HALO = REACH + (_HALF + 1) // FACTOR  # coarse pixels around a block that its result depends on

__all__ = ["FACTOR", "HALO", "MTF", "degrade_taps", "fit_weights", "merge_resolutions"]


def degrade_taps(mtf: float) -> np.ndarray:
    """Low-pass of D along one axis, (10,) float32 of sum 1, symmetric about the middle of two pixels.

    A Gaussian and the mean of two pixels, together of transfer ``mtf`` (between 0 and 0.7) at a quarter of a cycle per fine
    pixel: the Nyquist frequency of the coarse grid.
    """
    if not 0 < mtf < np.cos(np.pi / 4):
        raise ValueError(f"A modulation transfer of {mtf} at Nyquist is out of reach; give one between 0 and 0.7.")
    sigma = np.sqrt(-2 * np.log(mtf / np.cos(np.pi / 4))) * 2 / np.pi
    at = np.arange(-_HALF + 1, _HALF)
    gauss = np.exp(-0.5 * (at / sigma) ** 2)
    gauss /= gauss.sum()
    return (0.5 * (np.append(gauss, 0) + np.append(0, gauss))).astype(np.float32)


def degraded(fine: np.ndarray, mtf: float) -> np.ndarray:
    """D of one band: (2 h, 2 w) float32 -> (h, w) float32; mirrored at the edges."""
    pad = _HALF - 1
    padded = np.pad(np.asarray(fine, np.float32), pad, mode="symmetric")
    out = np.empty((fine.shape[0] // FACTOR, fine.shape[1] // FACTOR), np.float32)
    degrade(padded, degrade_taps(mtf), out)
    return out


def fit_weights(high: np.ndarray, low: np.ndarray, mtf: float, clear: np.ndarray | None = None) -> np.ndarray:
    """Weights of the fine bands for one coarse band, fitted once per scene (per block they would leave seams).

    Parameters
    ----------
    high : (B, 2 h, 2 w) float32, reflectance, NaN for none
    low : (h, w) float32, the coarse band
    mtf : its modulation transfer at Nyquist
    clear : (h, w) bool, pixels to learn from; all that have values where None

    Returns
    -------
    (B,) float32; the offset of the regression does not matter, `merge_resolutions` takes it out

    Raises
    ------
    ValueError : fewer clear pixels than a fit needs
    """
    seen = np.stack([degraded(band, mtf) for band in high])
    use = np.isfinite(low) & np.isfinite(seen).all(axis=0)
    if clear is not None:
        use &= clear
    if use.sum() < 10 * len(high):
        raise ValueError(f"Only {use.sum()} clear pixels to learn from; at least {10 * len(high)} are needed.")
    known = np.column_stack([*(band[use].astype(np.float64) for band in seen), np.ones(use.sum())])
    solved, *_ = np.linalg.lstsq(known, low[use].astype(np.float64), rcond=None)
    return solved[:-1].astype(np.float32)


def merge_resolutions(high: np.ndarray, low: np.ndarray, weights: np.ndarray, mtf: float, halo: int = 0) -> np.ndarray:
    """One coarse band on the grid of the fine ones, upper left corners equal.

    Parameters
    ----------
    high : (B, 2 h, 2 w) float32, no NaN (a NaN spreads over the reach of the filters)
    low : (h, w) float32
    weights, mtf : of this band, see `fit_weights`
    halo : coarse pixels around the block in both inputs, 0 or at least `HALO`; at 0 the image is mirrored at its edges

    Returns
    -------
    (2 (h - 2 halo), 2 (w - 2 halo)) float32
    """
    if high.shape[1:] != (FACTOR * low.shape[0], FACTOR * low.shape[1]):
        raise ValueError(f"Fine bands of {high.shape[1:]} do not cover a coarse band of {low.shape} twice as dense.")
    if halo and halo < HALO:
        raise ValueError(f"A halo of {halo} is too small: the filters reach over {HALO} coarse pixels.")
    if not halo:
        high = np.pad(high, ((0, 0), *[(FACTOR * HALO, FACTOR * HALO)] * 2), mode="symmetric")
        low = np.pad(low, HALO, mode="symmetric")
    spare = (halo or HALO) - HALO
    inner = np.s_[spare : low.shape[0] - spare, spare : low.shape[1] - spare]
    low = low[inner]
    high = high[:, FACTOR * spare : high.shape[1] - FACTOR * spare, FACTOR * spare : high.shape[2] - FACTOR * spare]
    pan: np.ndarray = np.empty(high.shape[1:], np.float32)
    mix_bands(np.asarray(high, np.float32), np.asarray(weights, np.float32), pan)
    trim = HALO - REACH
    size = (low.shape[0] - 2 * trim, low.shape[1] - 2 * trim)
    below = np.empty(size, np.float32)
    skip = FACTOR * trim - (_HALF - 1)
    degrade(pan[skip : pan.shape[0] - skip, skip : pan.shape[1] - skip], degrade_taps(mtf), below)
    difference = low[trim : trim + size[0], trim : trim + size[1]] - below
    out = pan[FACTOR * HALO : -FACTOR * HALO, FACTOR * HALO : -FACTOR * HALO].copy()
    add_doubled(difference, out)
    return out
