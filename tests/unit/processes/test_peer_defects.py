"""Where each defect found in other openEO implementations has its regression test here, and those that lie nowhere else.

``DEFECTS`` is the list, in the order in which the defects were described: silently wrong answers first, then what is
computed while a graph is built, then what costs far too much. A test of this file checks that every test named exists.
"""

from __future__ import annotations

import importlib
from typing import Any

import dask.array as da
import numpy as np
import pytest
import shapely

from backend.graph.callbacks import CompiledCallback
from processes import cube as cubes
from processes.apply.apply import apply_dimension
from processes.load.load_geojson import load_geojson
from processes.mask.mask import mask_
from processes.scalar.arrays import array_apply, array_filter
from processes.scalar.logic import and_, not_, or_, xor
from processes.vector.aggregate import aggregate_spatial
from tests.unit.processes.cubes.samples import Make, building, computed, geojson, months, values

KNOWN = "processes.cubes.test_known_defects"
EVERY = "processes.cubes.test_every_cube_process"
PARSE = "backend.graph.test_parse"
HERE = "processes.test_peer_defects"

# defect -> module (under tests.unit) and test
DEFECTS: dict[str, tuple[str, str]] = {
    # silently wrong
    "aggregate_temporal: result of a reducer with several nodes is reused for every interval": (KNOWN, "test_aggregate_temporal_with_two_nodes_is_evaluated_for_every_interval"),
    "aggregate_temporal_period: the same for every period": (KNOWN, "test_aggregate_temporal_period_with_two_nodes_is_evaluated_for_every_period"),
    "filter_labels: condition is evaluated once": (KNOWN, "test_filter_labels_asks_the_condition_for_every_label"),
    "array_apply: callback is evaluated once": (HERE, "test_array_apply_asks_for_every_element_every_time"),
    "array_filter: condition is evaluated once": (HERE, "test_array_filter_asks_for_every_element_every_time"),
    "callback results are remembered between calls": (EVERY, "test_callback_called_again_with_other_values"),
    "parameters of stored processes and of outer graphs are not visible inside callbacks": (PARSE, "test_stored_processes_inside_callbacks_and_outer_parameters_in_them"),
    "merge_cubes: resolver max([x, y]) with nested references": (KNOWN, "test_merge_cubes_resolver_max_of_a_list_with_nested_references"),
    "reduce_dimension: sum([B0, B1]) over bands": (KNOWN, "test_reduce_dimension_bands_with_sum_of_a_list_of_bands"),
    "apply: if(x > 0.5, x, null)": (KNOWN, "test_apply_if_with_null_gives_nodata"),
    "if: both branches are evaluated": (PARSE, "test_if_takes_one_branch_only"),
    "ndvi: unsigned integers wrap around": (KNOWN, "test_ndvi_of_integers_does_not_wrap_around"),
    "subtract, gte: unsigned integers wrap around": (KNOWN, "test_subtract_and_comparison_of_unsigned_integers_do_not_wrap_around"),
    "comparisons return float": (KNOWN, "test_comparison_gives_bool_for_cubes_without_nodata"),
    "logic returns float": (HERE, "test_logic_returns_booleans"),
    "apply_kernel: transposed and flipped": (KNOWN, "test_apply_kernel_is_neither_transposed_nor_flipped"),
    "mask_polygon: holes are ignored": (KNOWN, "test_mask_polygon_holes_are_outside"),
    "mask_polygon: MultiPolygon crashes": (KNOWN, "test_mask_polygon_of_a_multipolygon"),
    "mask_polygon: wrong pixels where there are as many dates as rows": (KNOWN, "test_mask_polygon_as_many_dates_as_rows"),
    "sum, product: 0 and 1 of nothing but nodata": (KNOWN, "test_sum_of_nodata_only_is_nodata"),
    "first: infinity counts as nodata": ("processes.scalar.test_arrays", "test_first_and_last_take_infinity_for_a_value"),
    "filter_temporal: dimension is ignored, dtype changes": (KNOWN, "test_filter_temporal_honours_the_dimension_and_keeps_the_dtype"),
    "resample_spatial: the old CRS stays": (KNOWN, "test_resample_spatial_changes_the_crs"),
    "apply_dimension: quantiles": (KNOWN, "test_quantiles_in_apply_dimension"),
    "fit_curve: broken": (KNOWN, "test_fit_curve_finds_the_parameters_of_a_seasonal_model"),
    "merge_cubes: equal cubes without resolver make a dimension": (KNOWN, "test_merge_cubes_of_equal_cubes_needs_a_resolver"),
    "integer cubes with fill value": (KNOWN, "test_integer_cubes_with_fill_value"),
    # computed while the graph is built
    "eager: mask": (HERE, "test_mask_computes_nothing_early"),
    "eager: first, last": (KNOWN, "test_first_and_last_and_mask_compute_nothing_early"),
    "eager: trim_cube (which labels stay follows from the values: one streaming pass, nothing held)": ("processes.cubes.test_space", "test_trim_cube_reads_once_and_stays_lazy"),
    "eager: array_interpolate_linear, sort, order, cummin": (KNOWN, "test_array_processes_in_apply_dimension_are_lazy"),
    "eager: quantiles, array_apply, array_modify": (HERE, "test_more_array_processes_in_apply_dimension_are_lazy"),
    "eager: fit_curve, and every other cube process": (EVERY, "test_chunks_change_nothing_and_nothing_is_computed_early"),
    # far too dear
    "apply_kernel: forces one chunk": (KNOWN, "test_apply_kernel_keeps_the_chunks"),
    "load_stac: loads whole tiles for a small area": ("processes.load_stac.test_small_area", "test_load_stac_reads_the_area_and_not_the_tile"),
    "aggregate_spatial: the raster is read again for every polygon": (HERE, "test_a_hundred_polygons_read_every_block_once"),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_defect_has_its_test(defect: str) -> None:
    module, test = DEFECTS[defect]
    assert callable(getattr(importlib.import_module(f"tests.unit.{module}"), test))


def graph(process_id: str, **arguments: Any) -> CompiledCallback:
    return CompiledCallback({"n": {"process_id": process_id, "arguments": arguments, "result": True}})


def parameter(name: str) -> dict[str, str]:
    return {"from_parameter": name}


TIMES = graph("multiply", x=parameter("x"), y=parameter("context"))
ABOVE = graph("gt", x=parameter("x"), y=parameter("context"))


def test_array_apply_asks_for_every_element_every_time() -> None:
    assert array_apply([1, 2, 3], TIMES, context=10) == [10, 20, 30]
    assert array_apply([1, 2, 3], TIMES, context=-1) == [-1, -2, -3]


def test_array_filter_asks_for_every_element_every_time() -> None:
    assert array_filter([1, 5, 2, 8], ABOVE, context=2) == [5, 8]
    assert array_filter([1, 5, 2, 8], ABOVE, context=1) == [5, 2, 8]


def test_logic_returns_booleans() -> None:
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    for made, expected in (
        (and_(a, b), [True, False, False, False]),
        (or_(a, b), [True, True, True, False]),
        (xor(a, b), [False, True, True, False]),
        (not_(a), [False, False, True, True]),
    ):
        assert made.dtype == bool
        assert made.tolist() == expected
    assert and_(True, False) is False


def test_mask_computes_nothing_early() -> None:
    v, where = values(holes=0), (values((6, 3, 8, 10), 9, 0) > 0).astype("u1")
    with building():
        lazy = mask_(Make("everything")(v), Make("everything")(where))
    np.testing.assert_array_equal(computed(lazy).values, np.where(where == 1, np.nan, v))


@pytest.mark.parametrize(
    ("process", "arguments", "expect"),
    [
        ("quantiles", {"probabilities": [0.5]}, lambda v: np.median(v, 0, keepdims=True)),
        ("array_apply", {"process": {"process_graph": {"m": {"process_id": "multiply", "arguments": {"x": parameter("x"), "y": 3}, "result": True}}}}, lambda v: v * 3),
        ("array_modify", {"values": [], "index": 1, "length": 2}, lambda v: v[[0, 3, 4, 5]]),
    ],
)  # fmt: skip
def test_more_array_processes_in_apply_dimension_are_lazy(process: str, arguments: Any, expect: Any) -> None:
    v = values(holes=0)
    with building():
        lazy = apply_dimension(Make("everything")(v), graph(process, data=parameter("data"), **arguments), "t")
    np.testing.assert_allclose(computed(lazy).values, expect(v), rtol=1e-6)


def test_a_hundred_polygons_read_every_block_once() -> None:
    read: list[tuple[int, ...]] = []

    def block(block_info: Any = None) -> np.ndarray:
        where = tuple(a for a, _ in block_info[None]["array-location"])
        read.append(where)
        return np.full((1, 50, 50), where[1] + where[2], "f4")

    held = da.map_blocks(block, chunks=((1,), (50,) * 4, (50,) * 4), dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    coords = {"t": months(1), "y": 2000 - np.arange(200) * 10 - 5.0, "x": np.arange(200) * 10 + 5.0}
    data = cubes.cube(held, ("t", "y", "x"), coords, crs=32631)
    zones = [shapely.box(x, y, x + 195, y + 195) for y in range(0, 2000, 200) for x in range(0, 2000, 200)]
    assert len(zones) == 100
    got = computed(aggregate_spatial(data, load_geojson(geojson(*zones)), graph("mean", data=parameter("data"))))
    assert sorted(read) == sorted({(0, r, c) for r in range(0, 200, 50) for c in range(0, 200, 50)})
    assert got.sizes["geometry"] == 100
    first = got.values[0, 0] if got.dims[0] == "t" else got.values[0].ravel()[0]
    assert first == 150  # the lower left polygon lies in the block of rows 150-199 and columns 0-49
