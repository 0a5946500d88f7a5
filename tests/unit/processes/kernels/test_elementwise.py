"""One-pass element-wise kernels against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from processes.kernels.elementwise import normalized_difference, replace


@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i2"])
@pytest.mark.parametrize(
    "shape", [(3, 2, 90, 80), (3, 1, 90, 80), (1, 2, 90, 80), (90, 80), (90, 1), (80,), (3, 2, 1, 1), ()]
)
def test_replace_broadcasts_like_numpy(dtype, shape):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 100, (3, 2, 90, 80)).astype(dtype)
    hit = rng.random(shape) > 0.6
    value = np.dtype(dtype).type(7)
    for block in (values, values[:, ::-1], np.moveaxis(values, 0, -1).copy().transpose(3, 0, 1, 2)):
        out = replace(block, hit, value)
        assert out.dtype == block.dtype
        np.testing.assert_array_equal(out, np.where(hit, value, block))


def test_normalized_difference():
    a = np.array([3, 1, 0, np.nan, np.inf, 1, -1], "f4")
    b = np.array([1, 3, 0, 1, 1, np.nan, 1], "f4")
    out = normalized_difference(a, b)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out[:3], np.array([0.5, -0.5, np.nan], "f4"))
    assert np.isnan(out[3:]).all()
