"""Reducers, groups and merges against plain numpy, on cubes that chance makes up."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backend.graph.callbacks import CompiledCallback
from processes import cube as cubes
from processes.aggregate.temporal import aggregate_temporal
from processes.apply.apply import apply_dimension
from processes.blocks import is_lazy
from processes.combine.merge import merge_cubes
from processes.errors import ProcessError
from processes.mask.mask import replace_where
from processes.reduce.dimension import reduce_dimension, reduce_spatial
from tests.unit.processes.cubes.samples import CHUNKINGS, Make, computed

FEW = settings(max_examples=25, deadline=None)
numbers = st.one_of(st.floats(-1e4, 1e4, width=32), st.just(float("nan")))
arrays = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)), elements=numbers
)
chunkings = st.sampled_from(list(CHUNKINGS))
NUMPY_OF = {
    "max": np.nanmax,
    "min": np.nanmin,
    "mean": np.nanmean,
    "sum": np.nansum,
    "median": np.nanmedian,
    "variance": lambda a, axis: np.nanvar(a, axis=axis, ddof=1),
    "sd": lambda a, axis: np.nanstd(a, axis=axis, ddof=1),
}


def reducer(name: str, **options: Any) -> CompiledCallback:
    arguments = {"data": {"from_parameter": "data"}, **options}
    return CompiledCallback({"r": {"process_id": name, "arguments": arguments, "result": True}})


def by_numpy(name: str, array: np.ndarray, axis: Any) -> np.ndarray:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        out = NUMPY_OF[name](array.astype("f8"), axis=axis)
    return np.where(np.isnan(array).all(axis=axis), np.nan, out)


@FEW
@given(
    array=arrays,
    chunking=chunkings,
    name=st.sampled_from(list(NUMPY_OF)),
    dimension=st.sampled_from(["t", "bands", "y", "x"]),
)
def test_reduce_dimension(array: np.ndarray, chunking: str, name: str, dimension: str) -> None:
    data = Make(chunking)(array)
    got = computed(reduce_dimension(data, reducer(name), dimension))
    expected = by_numpy(name, array, ["t", "bands", "y", "x"].index(dimension))
    np.testing.assert_allclose(got.values, expected, rtol=1e-4, atol=1e-2)
    assert list(got.dims) == [d for d in data.dims if d != dimension]


@FEW
@given(array=arrays, chunking=chunkings, name=st.sampled_from(list(NUMPY_OF)))
def test_reduce_spatial(array: np.ndarray, chunking: str, name: str) -> None:
    got = computed(reduce_spatial(Make(chunking)(array), reducer(name)))
    np.testing.assert_allclose(got.values, by_numpy(name, array, (2, 3)), rtol=1e-4, atol=1e-2)


@FEW
@given(array=arrays, chunking=chunkings, name=st.sampled_from(list(NUMPY_OF)), data=st.data())
def test_aggregate_temporal_overlapping_and_empty_intervals(
    array: np.ndarray, chunking: str, name: str, data: Any
) -> None:
    pairs = data.draw(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4))
    intervals = [[f"2020-{a:02d}-01", f"2020-{a + b:02d}-01"] for a, b in pairs]
    labels = [f"i{k}" for k in range(len(pairs))]
    got = computed(aggregate_temporal(Make(chunking)(array), intervals, reducer(name), labels))
    for k, (a, b) in enumerate(pairs):
        inside = array[a - 1 : a + b - 1]
        expected = by_numpy(name, inside, 0) if len(inside) else np.full(array.shape[1:], np.nan)
        np.testing.assert_allclose(got.values[k], expected, rtol=1e-4, atol=1e-2)


@FEW
@given(
    array=arrays,
    chunking=chunkings,
    name=st.sampled_from([n for n in NUMPY_OF if n not in ("variance", "sd")]),
    dimension=st.sampled_from(["t", "bands", "y", "x"]),
)
def test_nodata_that_decides(array: np.ndarray, chunking: str, name: str, dimension: str) -> None:
    axis = ["t", "bands", "y", "x"].index(dimension)
    got = computed(reduce_dimension(Make(chunking)(array), reducer(name, ignore_nodata=False), dimension))
    expected = np.where(np.isnan(array).any(axis=axis), np.nan, by_numpy(name, array, axis))
    np.testing.assert_allclose(got.values, expected, rtol=1e-4, atol=1e-2)


@FEW
@given(array=arrays, chunking=chunkings, all_=st.booleans(), dimension=st.sampled_from(["t", "bands", "y", "x"]))
def test_count(array: np.ndarray, chunking: str, all_: bool, dimension: str) -> None:
    axis = ["t", "bands", "y", "x"].index(dimension)
    got = computed(reduce_dimension(Make(chunking)(array), reducer("count", condition=all_ or None), dimension))
    counted = np.full_like(array, True) if all_ else np.isfinite(array)
    np.testing.assert_array_equal(got.values, counted.sum(axis=axis))


@FEW
@given(array=arrays, chunking=chunkings, name=st.sampled_from(["first", "last"]), ignore=st.booleans())
def test_first_and_last(array: np.ndarray, chunking: str, name: str, ignore: bool) -> None:
    got = computed(reduce_dimension(Make(chunking)(array), reducer(name, ignore_nodata=ignore), "t"))
    ordered = array if name == "first" else array[::-1]
    expected = ordered[0].copy()
    for values in ordered[1:] if ignore else ():
        expected = np.where(np.isnan(expected), values, expected)
    np.testing.assert_array_equal(got.values, expected)


@FEW
@given(
    array=hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.just(1), st.integers(1, 4), st.just(2)),
                     elements=st.one_of(st.floats(-4, 4, width=32), st.just(float("nan")))),
    chunking=chunkings,
)  # fmt: skip
def test_product(array: np.ndarray, chunking: str) -> None:
    got = computed(reduce_dimension(Make(chunking)(array), reducer("product"), "t"))
    expected = np.where(np.isnan(array).all(axis=0), np.nan, np.nanprod(array.astype("f8"), axis=0))
    np.testing.assert_allclose(got.values, expected, rtol=1e-4, atol=1e-4)


@FEW
@given(
    array=arrays,
    chunking=chunkings,
    probabilities=st.lists(st.floats(0, 1), min_size=1, max_size=4, unique=True).map(sorted),
)
def test_quantiles(array: np.ndarray, chunking: str, probabilities: list[float]) -> None:
    got = computed(apply_dimension(Make(chunking)(array), reducer("quantiles", probabilities=probabilities), "t"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.nanquantile(array.astype("f8"), probabilities, axis=0)
    np.testing.assert_allclose(got.values, expected, rtol=1e-4, atol=1e-2)


@FEW
@given(size=st.integers(1, 4), first=st.integers(1, 5), chunking=chunkings, seed=st.integers(0, 99))
def test_merge_cubes_of_other_dates_needs_no_resolver(size: int, first: int, chunking: str, seed: int) -> None:
    """Without common labels the cubes follow one another; with one the resolver is missed, whatever the values."""
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(4, 2, 2, 3)).astype("f4"), rng.normal(size=(size, 2, 2, 3)).astype("f4")
    make = Make(chunking)
    cube1, cube2 = make(one, bands=("B1", "B2")), make(two, bands=("B1", "B2"), first_month=first)
    if first <= 4:
        with pytest.raises(ProcessError, match="OverlapResolverMissing"):
            merge_cubes(cube1, cube2)
    else:
        np.testing.assert_array_equal(computed(merge_cubes(cube1, cube2)).values, np.concatenate([one, two]))


@FEW
@given(array=arrays, other=st.integers(0, 999), chunking=chunkings, drop=st.sampled_from(["t", "bands", "y", "x"]))
def test_merge_cubes_with_a_cube_of_fewer_dimensions(array: np.ndarray, other: int, chunking: str, drop: str) -> None:
    """The smaller cube is repeated along what it lacks; the resolver gets x of the larger and y of the smaller."""
    axis = ["t", "bands", "y", "x"].index(drop)
    small = np.random.default_rng(other).normal(size=array.shape).astype("f4").take(0, axis=axis)
    dims = tuple(d for d in ("t", "bands", "y", "x") if d != drop)
    make = Make(chunking)
    got = computed(merge_cubes(make(array), make(small, dims), lambda x, y, context: x - 2 * y))
    np.testing.assert_allclose(got.values, array - 2 * np.expand_dims(small, axis), rtol=1e-5, atol=1e-5)


label_lists = st.lists(st.sampled_from("ABCDEF"), min_size=1, max_size=4, unique=True)


@FEW
@given(bands1=label_lists, bands2=label_lists, first=st.integers(1, 4), chunking=chunkings, seed=st.integers(0, 99))
def test_merge_cubes_of_any_labels(bands1: list[str], bands2: list[str], first: int, chunking: str, seed: int) -> None:
    """Every pixel of the result is that of one cube, the resolver's, or nodata: decided label by label."""
    rng = np.random.default_rng(seed)
    one = rng.normal(size=(3, len(bands1), 2, 3)).astype("f4")
    two = rng.normal(size=(2, len(bands2), 2, 3)).astype("f4")
    make = Make(chunking)
    got = computed(
        merge_cubes(
            make(one, bands=bands1),
            make(two, bands=bands2, first_month=first),
            lambda x, y, context: x * 1000 + y,
        )
    )
    bands = [*bands1, *(b for b in bands2 if b not in bands1)]
    month = sorted({1, 2, 3, first, first + 1})
    assert cubes.labels(got, "bands") == bands
    assert [int(str(t)[5:7]) for t in got.coords["t"].values] == month
    for i, t in enumerate(month):
        for j, b in enumerate(bands):
            a = one[t - 1, bands1.index(b)] if t <= 3 and b in bands1 else None
            c = two[t - first, bands2.index(b)] if t in (first, first + 1) and b in bands2 else None
            expected = a * 1000 + c if a is not None and c is not None else a if a is not None else c
            expected = np.full((2, 3), np.nan) if expected is None else expected
            np.testing.assert_allclose(got.values[i, j], expected, rtol=1e-5)


@FEW
@given(array=arrays, chunking=chunkings, threshold=st.floats(-100, 100))
def test_replace_where(array: np.ndarray, chunking: str, threshold: float) -> None:
    make = Make(chunking)
    where = make(array > threshold)
    got = replace_where(make(array), where, -1)
    assert is_lazy(got) == (chunking != "numpy")
    np.testing.assert_array_equal(computed(got).values, np.where(array > threshold, -1, array))


@pytest.mark.parametrize("name", ["variance", "sd"])
def test_streamed_moments_are_those_of_numpy(name: str) -> None:
    array = np.random.default_rng(0).normal(1000, 1, (40, 1, 3, 3)).astype("f4")
    array[3, 0, 1, 1] = np.nan
    got = computed(reduce_dimension(Make("dates")(array, t=np.arange(40)), reducer(name), "t"))
    expected = {"variance": np.nanvar, "sd": np.nanstd}[name](array.astype("f8"), axis=0, ddof=1)
    np.testing.assert_allclose(got.values, expected, rtol=1e-4)
