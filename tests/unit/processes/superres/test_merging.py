"""Coarse bands on the fine grid: the formula by brute force, blocks, and what it gains over interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from processes.superres.merging import FACTOR, HALO, MTF, degrade_taps, degraded, fit_weights, merge_resolutions


def scene(seed: int, size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Four fine bands and one that follows from them but for a smooth part of its own, (4, n, n) and (n, n) float32."""
    rng = np.random.default_rng(seed)
    fields = rng.integers(0, 5, (size // 6 + 1, size // 6 + 1)).repeat(6, 0).repeat(6, 1)[:size, :size]
    spectra = rng.uniform(0.02, 0.4, (5, 5))
    grain = gaussian_filter(rng.normal(0, 0.05, (size, size)), 1)
    bands = spectra[fields].transpose(2, 0, 1) * (1 + grain)
    own = gaussian_filter(rng.normal(0, 1, (size, size)), 12) * 0.1
    mixed = 0.3 * bands[0] + 0.5 * bands[2] + 0.2 * bands[3] + 0.05 * bands[4] + own
    return bands[:4].astype(np.float32), mixed.astype(np.float32)


def keys(distance: float) -> float:
    d = abs(distance)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0.0


def by_hand(high: np.ndarray, low: np.ndarray, weights: np.ndarray, mtf: float) -> np.ndarray:
    """The docstring's formula, pixel by pixel, edges mirrored."""
    pan = np.tensordot(weights.astype(float), high.astype(float), 1)
    taps = degrade_taps(mtf).astype(float)
    pad = np.pad(pan, 20, mode="symmetric")
    wide = np.pad(low.astype(float), 10, mode="symmetric")
    seen = np.zeros_like(wide)
    for i in range(3, wide.shape[0] - 3):
        for j in range(3, wide.shape[1] - 3):
            window = pad[2 * i + 1 - 5 : 2 * i + 1 + 5, 2 * j + 1 - 5 : 2 * j + 1 + 5]
            seen[i, j] = taps @ window @ taps
    difference = wide - seen
    out = np.empty_like(pan)
    for y in range(pan.shape[0]):
        for x in range(pan.shape[1]):
            at = [(v - 0.5) / 2 for v in (y, x)]
            total = 0.0
            for i in range(int(np.floor(at[0])) - 1, int(np.floor(at[0])) + 3):
                for j in range(int(np.floor(at[1])) - 1, int(np.floor(at[1])) + 3):
                    total += keys(at[0] - i) * keys(at[1] - j) * difference[i + 10, j + 10]
            out[y, x] = pan[y, x] + total
    return out


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def test_the_formula_by_hand():
    high, truth = scene(1, 40)
    low = degraded(truth, 0.3)
    weights = np.array([0.4, -0.1, 0.5, 0.3], np.float32)
    assert merge_resolutions(high, low, weights, 0.3) == pytest.approx(by_hand(high, low, weights, 0.3), abs=2e-6)


@pytest.mark.parametrize("mtf", sorted(set(MTF.values())))
def test_the_low_pass_has_the_transfer_asked_for(mtf):
    taps = degrade_taps(mtf).astype(float)
    assert taps.sum() == pytest.approx(1, abs=1e-6)
    assert np.array_equal(taps, taps[::-1])
    response = abs(np.sum(taps * np.exp(-2j * np.pi * 0.25 * (np.arange(taps.size) - (taps.size - 1) / 2))))
    assert response == pytest.approx(mtf, abs=4e-3)  # a sampled Gaussian


def test_blocks_with_a_halo_give_the_pixels_of_the_whole():
    high, truth = scene(2)
    low = degraded(truth, 0.33)
    weights = fit_weights(high, low, 0.33)
    whole = merge_resolutions(high, low, weights, 0.33)
    for halo in (HALO, HALO + 3):
        y0, x0, h, w = 12, 17, 14, 9
        rows, cols = slice(y0 - halo, y0 + h + halo), slice(x0 - halo, x0 + w + halo)
        fine = np.s_[:, rows.start * FACTOR : rows.stop * FACTOR, cols.start * FACTOR : cols.stop * FACTOR]
        part = merge_resolutions(high[fine], low[rows, cols], weights, 0.33, halo)
        assert np.array_equal(part, whole[2 * y0 : 2 * (y0 + h), 2 * x0 : 2 * (x0 + w)])


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_it_gains_over_cubic_interpolation(seed):
    high, truth = scene(seed)
    low = degraded(truth, 0.34)
    merged = merge_resolutions(high, low, fit_weights(high, low, 0.34), 0.34)
    cubic = merge_resolutions(high, low, np.zeros(4, np.float32), 0.34)
    assert rmse(merged, truth) < 0.5 * rmse(cubic, truth)
    assert rmse(degraded(merged, 0.34), low) < 0.5 * rmse(
        degraded(cubic, 0.34), low
    )  # consistent with what was measured


def test_flat_ground_stays_flat():
    high = np.full((4, 40, 40), 0.2, np.float32)
    out = merge_resolutions(high, np.full((20, 20), 0.3, np.float32), np.array([1, 2, -1, 0.5], np.float32), 0.3)
    assert out == pytest.approx(0.3, abs=1e-6)


def test_clouds_are_left_out_of_the_fit():
    high, truth = scene(6)
    low = degraded(truth, 0.3)
    clear = np.ones(low.shape, bool)
    clear[:20] = False
    spoilt = low.copy()
    spoilt[:20] = 0.9
    kept = np.isfinite(low) & clear
    expected = fit_weights(high, np.where(kept, low, np.nan), 0.3)
    assert np.array_equal(fit_weights(high, spoilt, 0.3, clear), expected)
    assert not np.allclose(fit_weights(high, spoilt, 0.3), expected, atol=1e-3)
    with pytest.raises(ValueError, match="clear pixels"):
        fit_weights(high, low, 0.3, np.zeros(low.shape, bool))


def test_wrong_shapes_and_transfers_are_refused():
    high, truth = scene(7)
    low = degraded(truth, 0.3)
    with pytest.raises(ValueError, match="twice as dense"):
        merge_resolutions(high, low[:-1], np.ones(4, np.float32), 0.3)
    with pytest.raises(ValueError, match="too small"):
        merge_resolutions(high, low, np.ones(4, np.float32), 0.3, halo=2)
    with pytest.raises(ValueError, match="out of reach"):
        degrade_taps(0.9)
