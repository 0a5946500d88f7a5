"""The median network against numpy, for every way of being nodata."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from processes.kernels.network import exchanges, median_network


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 12, 33])
@pytest.mark.parametrize("holes", [0.0, 0.4, 1.0])
def test_equals_numpy(n, holes):
    rng = np.random.default_rng(n)
    values = rng.normal(size=(n, 1100)).astype("f4")
    values[rng.random(values.shape) < holes] = np.nan
    values[:, 5] = np.inf
    out = np.empty(1100, "f4")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ignoring = np.nanmedian(values.astype("f8"), axis=0).astype("f4")
        strict = np.median(values.astype("f8"), axis=0).astype("f4")
    np.testing.assert_array_equal(median_network(values, exchanges(n), True, out), ignoring)
    np.testing.assert_array_equal(median_network(values, exchanges(n), False, out), strict)


@pytest.mark.parametrize("n", range(1, 12))
def test_the_network_sorts_every_zero_one_sequence(n):
    # the 0-1 principle (Knuth, TAOCP 3, 5.3.4): a network that sorts these sorts everything
    for code in range(1 << n):
        bits = [code >> k & 1 for k in range(n)]
        for i, j in exchanges(n):
            bits[i], bits[j] = min(bits[i], bits[j]), max(bits[i], bits[j])
        assert bits == sorted(bits)
