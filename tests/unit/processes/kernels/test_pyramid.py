"""The statistics of a tile beside numpy, for every type a file can have."""

from __future__ import annotations

import numpy as np
import pytest

from processes.kernels.pyramid import summary

TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


def _tile(dtype: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if dtype[0] == "u":
        return rng.integers(0, 200, (101, 77)).astype(dtype)
    tile = rng.normal(0, 50, (101, 77)).astype(dtype)
    if dtype[0] == "f":
        tile[::3, ::4] = np.nan
        tile[1], tile[5, 5], tile[6, 6] = -0.0, np.inf, -np.inf
    return tile


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("has_nodata", [False, True])
def test_summary_equals_numpy(dtype, has_nodata):
    tile = _tile(dtype)
    nodata = tile[0, 1] if has_nodata else tile.dtype.type(0)
    values = tile.astype("f8").ravel()
    valid = values[np.isfinite(values) & ((values != nodata) | (not has_nodata))]
    n, low, high, mean, squares = summary(tile, nodata, has_nodata)
    assert (n, low, high) == (valid.size, valid.min(), valid.max())
    np.testing.assert_allclose([mean, squares], [valid.mean(), ((valid - valid.mean()) ** 2).sum()], rtol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.0])
def test_summary_of_nothing(value):
    assert summary(np.full((3, 2), value, "f4"), np.float32(7), value == 7) == (0, 0.0, 0.0, 0.0, 0.0)


def test_summary_of_a_part_of_a_larger_array():
    tile = np.arange(60.0).reshape(6, 10)[1:3, 2:9]
    assert summary(tile, 0.0, False)[:4] == (14, 12.0, 28.0, 20.0)
