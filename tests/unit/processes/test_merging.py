"""Accumulators: parts merged in order give what one pass gives, and what numpy gives."""

from __future__ import annotations

import numpy as np
import pytest

from processes.merging import ACCUMULATORS

rng = np.random.default_rng(7)
FLOATS = rng.normal(5, 2, (13, 4, 50)).astype("f4")
FLOATS[rng.random(FLOATS.shape) < 0.4] = np.nan
FLOATS[:, 0, 0] = np.nan
BYTES = rng.integers(0, 255, (13, 4, 50)).astype("u1")
NUMPY = {"sum": np.nansum, "mean": np.nanmean, "product": np.nanprod, "max": np.nanmax, "min": np.nanmin}


def merged(name, values, cuts, **options):
    accumulator = ACCUMULATORS[name](**options)
    dtype = accumulator.dtype(values.dtype)
    states = [accumulator.start(part) for part in np.split(values, cuts)]
    result = accumulator.finish(accumulator.merge(states))
    assert result.dtype == dtype
    return result


@pytest.mark.parametrize("values", [FLOATS, BYTES], ids=["float", "byte"])
@pytest.mark.parametrize("ignore", [True, False])
@pytest.mark.parametrize("name", ACCUMULATORS)
def test_parts_give_what_one_pass_gives(name, ignore, values):
    options = {} if name == "count" else {"ignore_nodata": ignore}
    whole = merged(name, values, [], **options)
    for cuts in ([1], [5, 6, 12], list(range(1, 13))):
        np.testing.assert_allclose(merged(name, values, cuts, **options), whole, rtol=1e-5)


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.filterwarnings("ignore:All-NaN", "ignore:Mean of empty")
def test_values_are_numpys(name):
    expected = NUMPY[name](FLOATS.astype("f8"), axis=0)
    expected[np.isnan(FLOATS).all(axis=0)] = np.nan
    np.testing.assert_allclose(merged(name, FLOATS, [4]), expected, rtol=1e-5)
    kept = merged(name, FLOATS, [4], ignore_nodata=False)
    np.testing.assert_array_equal(np.isnan(kept), np.isnan(FLOATS).any(axis=0))


def test_sd_is_the_sample_standard_deviation():
    few = np.isfinite(FLOATS).sum(axis=0) < 2
    expected = np.where(few, np.nan, np.nanstd(np.where(few, 0, FLOATS).astype("f8"), axis=0, ddof=1))
    np.testing.assert_allclose(merged("sd", FLOATS, [2, 3]), expected, rtol=1e-5)
    np.testing.assert_allclose(merged("sd", BYTES, [6]), BYTES.astype("f8").std(axis=0, ddof=1), rtol=1e-6)


def test_count_of_all_and_of_finite():
    holes = np.array([[1, np.nan], [np.inf, 2]], "f4")
    assert merged("count", holes, [1]).tolist() == [1, 1]
    assert merged("count", holes, [1], condition=True).tolist() == [2, 2]


def test_first_and_last_follow_the_order_of_the_parts():
    values = np.array([[np.nan, 1], [3, np.nan], [4, 5]], "f4")
    assert merged("first", values, [1, 2]).tolist() == [3, 1]
    assert merged("last", values, [1, 2]).tolist() == [4, 5]
