"""Defects found in other openEO implementations, one test each: none of them may appear here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely

from backend.graph.callbacks import CompiledCallback
from processes import cube as cubes
from processes.aggregate.temporal import aggregate_temporal, aggregate_temporal_period
from processes.apply.apply import apply, apply_dimension
from processes.apply.curves import fit_curve
from processes.apply.kernel import apply_kernel
from processes.apply.ndvi import ndvi
from processes.callback import LabeledArray
from processes.combine.merge import merge_cubes
from processes.errors import ProcessError
from processes.filter.labels import filter_labels, filter_temporal
from processes.mask.mask import mask_
from processes.mask.mask_polygon import mask_polygon
from processes.reduce.dimension import reduce_dimension
from processes.resample.spatial import resample_cube_spatial, resample_spatial
from tests.unit.processes.cubes.samples import Make, box, building, computed, geojson, months, values

NUMPY, CHUNKED = Make(), Make("everything")
BOTH = pytest.mark.parametrize("make", [NUMPY, CHUNKED], ids=["numpy", "chunked"])


def graph(**nodes: dict[str, Any]) -> CompiledCallback:
    """A callback; the last node is its result."""
    *_, last = nodes.values()
    last["result"] = True
    return CompiledCallback(nodes)


def parameter(name: str) -> dict[str, str]:
    return {"from_parameter": name}


def node(name: str) -> dict[str, str]:
    return {"from_node": name}


MEAN_ABSOLUTE = graph(
    mean={"process_id": "mean", "arguments": {"data": parameter("data")}},
    absolute={"process_id": "absolute", "arguments": {"x": node("mean")}},
)


@BOTH
def test_aggregate_temporal_with_two_nodes_is_evaluated_for_every_interval(make: Make) -> None:
    v = values(holes=0)
    intervals = [["2020-01-01", "2020-03-01"], ["2020-03-01", "2020-06-01"]]
    got = computed(aggregate_temporal(make(v), intervals, MEAN_ABSOLUTE))
    expected = np.stack([np.abs(v[:2].mean(0)), np.abs(v[2:5].mean(0))])
    np.testing.assert_allclose(got.values, expected, rtol=1e-5)


@BOTH
def test_aggregate_temporal_period_with_two_nodes_is_evaluated_for_every_period(make: Make) -> None:
    v = values(holes=0)
    got = computed(aggregate_temporal_period(make(v), "month", MEAN_ABSOLUTE))
    np.testing.assert_allclose(got.values, np.abs(v), rtol=1e-6)


@BOTH
def test_filter_labels_asks_the_condition_for_every_label(make: Make) -> None:
    condition = graph(neq={"process_id": "neq", "arguments": {"x": parameter("value"), "y": "B2"}})
    got = filter_labels(make(values()), condition, "bands")
    assert cubes.labels(got, "bands") == ["B1", "B3"]


@BOTH
def test_filter_labels_sees_instants_as_text(make: Make) -> None:
    condition = graph(a={"process_id": "text_begins", "arguments": {"data": parameter("value"), "pattern": "2020-02"}})
    got = filter_labels(make(values()), condition, "t")
    assert cubes.plain_labels(got, "t") == ["2020-02-01T00:00:00Z"]


@BOTH
def test_merge_cubes_resolver_max_of_a_list_with_nested_references(make: Make) -> None:
    resolver = graph(max={"process_id": "max", "arguments": {"data": [parameter("x"), parameter("y")]}})
    a, b = values(holes=0), values(seed=8, holes=0)
    got = computed(merge_cubes(make(a), make(b), resolver))
    np.testing.assert_array_equal(got.values, np.maximum(a, b))


@BOTH
def test_reduce_dimension_bands_with_sum_of_a_list_of_bands(make: Make) -> None:
    reducer = graph(
        a={"process_id": "array_element", "arguments": {"data": parameter("data"), "label": "B1"}},
        b={"process_id": "array_element", "arguments": {"data": parameter("data"), "index": 2}},
        sum={"process_id": "sum", "arguments": {"data": [node("a"), node("b")]}},
    )
    v = values(holes=0)
    got = computed(reduce_dimension(make(v), reducer, "bands"))
    np.testing.assert_allclose(got.values, v[:, 0] + v[:, 2], rtol=1e-6)


@BOTH
def test_apply_if_with_null_gives_nodata(make: Make) -> None:
    callback = graph(
        gt={"process_id": "gt", "arguments": {"x": parameter("x"), "y": 0.5}},
        pick={"process_id": "if", "arguments": {"value": node("gt"), "accept": parameter("x"), "reject": None}},
    )
    v = values()
    got = computed(apply(make(v), callback))
    np.testing.assert_array_equal(got.values, np.where(v > 0.5, v, np.nan))


@BOTH
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_ndvi_of_integers_does_not_wrap_around(make: Make, dtype: str) -> None:
    v = np.array([[[[200]], [[50]]]], dtype).repeat(4, axis=2)
    got = computed(ndvi(make(v)))
    np.testing.assert_allclose(got.values, (50 - 200) / 250, rtol=1e-6)
    assert got.dtype == np.float32


@BOTH
def test_subtract_and_comparison_of_unsigned_integers_do_not_wrap_around(make: Make) -> None:
    v = np.full((2, 2, 4, 4), 3, "u1")
    less = graph(subtract={"process_id": "subtract", "arguments": {"x": parameter("x"), "y": 5}})
    assert (computed(apply(make(v), less)).values == -2).all()
    above = graph(gte={"process_id": "gte", "arguments": {"x": parameter("x"), "y": -1}})
    assert computed(apply(make(v), above)).values.all()


@BOTH
def test_comparison_gives_bool_for_cubes_without_nodata(make: Make) -> None:
    above = graph(gt={"process_id": "gt", "arguments": {"x": parameter("x"), "y": 1}})
    got = apply(make(np.arange(16, dtype="u1").reshape(1, 1, 4, 4)), above)
    assert got.dtype == bool
    assert computed(got).values.sum() == 14


@BOTH
def test_apply_kernel_is_neither_transposed_nor_flipped(make: Make) -> None:
    v = np.zeros((1, 1, 5, 5), "f4")
    v[..., 2, 2] = 1
    kernel = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    got = computed(apply_kernel(make(v), kernel)).values[0, 0]
    # the pixel above the one (to its north) sees it under the kernel's last row
    np.testing.assert_array_equal(got[1:4, 1:4], np.array(kernel)[::-1, ::-1])
    wide = computed(apply_kernel(make(v), [[1, 2, 3]])).values[0, 0]
    np.testing.assert_array_equal(wide[2], [0, 3, 2, 1, 0])


@BOTH
def test_mask_polygon_holes_are_outside(make: Make) -> None:
    ring = shapely.Polygon(box(0, 0, 100, 80).exterior, [box(22, 22, 58, 58).exterior])
    got = computed(mask_polygon(make(np.ones((1, 1, 8, 10), "f4")), geojson(ring))).values[0, 0]
    hole = np.zeros((8, 10), bool)
    hole[2:6, 2:6] = True  # centres at 25 ... 55 m of both axes
    np.testing.assert_array_equal(np.isnan(got), hole)


@BOTH
def test_mask_polygon_of_a_multipolygon(make: Make) -> None:
    two = shapely.MultiPolygon([box(0, 0, 20, 20), box(80, 60, 100, 80)])
    got = computed(mask_polygon(make(np.ones((1, 1, 8, 10), "f4")), geojson(two))).values[0, 0]
    assert np.isfinite(got).sum() == 8
    assert np.isfinite(got[6:, :2]).all()
    assert np.isfinite(got[:2, 8:]).all()


@BOTH
def test_mask_polygon_as_many_dates_as_rows(make: Make) -> None:
    v = np.ones((8, 1, 8, 10), "f4")
    got = computed(mask_polygon(make(v), geojson(box(0, 0, 100, 40)))).values
    assert np.isnan(got[:, :, :4]).all()
    assert np.isfinite(got[:, :, 4:]).all()


@BOTH
def test_filter_temporal_honours_the_dimension_and_keeps_the_dtype(make: Make) -> None:
    data = make(np.arange(6, dtype="u1").reshape(6, 1, 1, 1))
    other = data.rename({"t": "other"}).isel(bands=0, drop=True)
    other.attrs["dims"] = {"other": cubes.TEMPORAL, "y": cubes.Y, "x": cubes.X}
    two = other.expand_dims({"t": months(2, year=2030)})
    two.attrs["dims"] = {**other.attrs["dims"], "t": cubes.TEMPORAL}
    got = filter_temporal(two, ["2020-02-01", "2020-04-01"], "other")
    assert got.sizes["other"] == 2
    assert got.sizes["t"] == 2
    assert got.dtype == np.uint8
    with pytest.raises(ProcessError, match="DimensionNotAvailable"):
        filter_temporal(data, ["2020-02-01", "2020-04-01"], "time")


@BOTH
def test_resample_spatial_changes_the_crs(make: Make) -> None:
    got = resample_spatial(make(values()), 10, 32632)
    assert cubes.crs_of(got).epsg == 32632
    assert got.coords["x"].values[0] < 200_000  # far west of zone 32
    again = resample_cube_spatial(got, make(values()))
    assert cubes.crs_of(again).epsg == 32631
    # and back: nearest twice moves a value by a pixel at most
    v = np.tile(np.arange(40, dtype="f4"), (1, 1, 40, 1))
    there = resample_spatial(make(v), 10, 32632)
    back = computed(resample_cube_spatial(there, make(v))).values
    assert np.nanmax(np.abs(back - v)) <= 2
    assert np.isfinite(back).mean() > 0.95


@BOTH
def test_quantiles_in_apply_dimension(make: Make) -> None:
    callback = graph(
        q={"process_id": "quantiles", "arguments": {"data": parameter("data"), "probabilities": [0.25, 0.5]}}
    )
    v = values(holes=0)
    got = computed(apply_dimension(make(v), callback, "t", "q"))
    np.testing.assert_allclose(got.values, np.quantile(v, [0.25, 0.5], axis=0), rtol=1e-5)


@BOTH
def test_fit_curve_finds_the_parameters_of_a_seasonal_model(make: Make) -> None:
    seconds = months(12).astype("datetime64[s]").astype("f8")
    truth = np.stack([values((4, 5), i, 0) for i in range(3)]).astype("f8")
    angle = 2 * np.pi / 31557600 * seconds[:, None, None]
    data = truth[0] + truth[1] * np.cos(angle) + truth[2] * np.sin(angle)
    data[3, 0, 0] = np.nan

    def model(x: Any, parameters: LabeledArray) -> Any:
        p = parameters.values
        return p[0] + p[1] * np.cos(2 * np.pi / 31557600 * x) + p[2] * np.sin(2 * np.pi / 31557600 * x)

    def fit(data: LabeledArray, context: Any = None) -> np.ndarray:
        return fit_curve(data, [1.0, 1.0, 1.0], model)

    got = computed(apply_dimension(make(data, ("t", "y", "x")), fit, "t", "p"))
    np.testing.assert_allclose(got.values, truth, atol=1e-6)


@BOTH
def test_merge_cubes_of_equal_cubes_needs_a_resolver(make: Make) -> None:
    with pytest.raises(ProcessError, match="OverlapResolverMissing"):
        merge_cubes(make(values()), make(values()))


@BOTH
def test_integer_cubes_with_fill_value(make: Make) -> None:
    v = np.array([[[[1, 2], [255, 4]]], [[[255, 6], [255, 8]]]], "u1")
    data = make(v, nodata=255)
    mean = graph(mean={"process_id": "mean", "arguments": {"data": parameter("data")}})
    got = computed(reduce_dimension(data, mean, "t")).values[0]
    np.testing.assert_array_equal(got, [[1, 4], [np.nan, 6]])
    add = graph(add={"process_id": "add", "arguments": {"x": parameter("x"), "y": 1}})
    got = computed(apply(data, add)).values[0, 0]
    np.testing.assert_array_equal(got, [[2, 3], [np.nan, 5]])
    masked = computed(mask_(data, make(np.array([[1, 0], [0, 0]], "u1"), ("y", "x"))))
    assert masked.dtype == np.uint8
    np.testing.assert_array_equal(masked.values[0, 0], [[255, 2], [255, 4]])


@BOTH
def test_first_and_last_and_mask_compute_nothing_early(make: Make) -> None:
    first = graph(first={"process_id": "first", "arguments": {"data": parameter("data")}})
    last = graph(last={"process_id": "last", "arguments": {"data": parameter("data")}})
    v = values()
    with building():
        a, b = reduce_dimension(make(v), first, "t"), reduce_dimension(make(v), last, "t")
    flat = v.reshape(6, -1)
    valid = np.isfinite(flat)
    expected = np.where(valid.any(0), flat[valid.argmax(0), np.arange(flat.shape[1])], np.nan).reshape(v.shape[1:])
    np.testing.assert_array_equal(computed(a).values, expected)
    expected = np.where(valid.any(0), flat[5 - valid[::-1].argmax(0), np.arange(flat.shape[1])], np.nan)
    np.testing.assert_array_equal(computed(b).values, expected.reshape(v.shape[1:]))


@BOTH
def test_sum_of_nodata_only_is_nodata(make: Make) -> None:
    v = np.full((3, 1, 2, 2), np.nan, "f4")
    for name in ("sum", "product"):
        reducer = graph(r={"process_id": name, "arguments": {"data": parameter("data")}})
        assert np.isnan(computed(reduce_dimension(make(v), reducer, "t")).values).all()


@pytest.mark.parametrize("process", ["sort", "order", "cummin", "cumsum", "array_interpolate_linear"])
def test_array_processes_in_apply_dimension_are_lazy(process: str) -> None:
    callback = graph(a={"process_id": process, "arguments": {"data": parameter("data")}})
    v = values()
    with building():
        lazy = apply_dimension(CHUNKED(v), callback, "t")
    plain = apply_dimension(NUMPY(v), callback, "t")
    np.testing.assert_allclose(computed(lazy).values, plain.values, rtol=1e-6)
    assert lazy.sizes == plain.sizes
    assert list(lazy.coords["t"].values) == list(months(6))


def test_apply_kernel_keeps_the_chunks() -> None:
    assert apply_kernel(CHUNKED(values()), [[1, 1, 1]]).chunks == CHUNKED(values()).chunks


def test_mask_of_another_grid_is_resampled_onto_the_data() -> None:
    data = NUMPY(np.zeros((1, 1, 8, 10), "f4"))
    coarse = NUMPY(np.array([[0, 1], [1, 0]], "u1"), ("y", "x"), step=50.0)
    got = mask_(data, coarse).values[0, 0]
    expected = np.zeros((8, 10), bool)
    expected[:3, 5:] = True  # rows 70-80 lie in the coarse upper row (50-100)
    expected[3:, :5] = True
    np.testing.assert_array_equal(np.isnan(got), expected)
