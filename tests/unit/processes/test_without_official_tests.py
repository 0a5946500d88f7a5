"""The processes that have no official test: one small case each, computed by hand and written as literals.

``ELSEWHERE`` names the tests of those that read and write files or call services, and the two that are not offered. A
test of this file checks that nothing of the list is left out.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely
import xarray as xr

from backend.graph.callbacks import CompiledCallback
from processes import cube as cubes
from processes import registry
from processes.apply import methods
from processes.apply.apply import apply
from processes.callback import LabeledArray
from processes.env import Env
from processes.load.load_geojson import load_geojson
from processes.vector.cube import geometries_of
from tests.conformance import assets
from tests.unit.processes.cubes.samples import CRS, Make, box, computed, geojson

NAN = float("nan")
MAKE = Make()

ELSEWHERE = {
    "export_collection": ("backend.exports.test_exports", "test_a_collection_is_loaded_with_the_values_and_labels_that_went_in"),
    "export_workspace": ("backend.exports.test_exports", "test_a_workspace_is_stac_with_its_files_in_the_users_own_storage"),
    "load_collection": ("processes.load.test_load_collection", "test_equals_rasterio_bit_for_bit_on_the_source_grid"),
    "load_stac": ("processes.load_stac.test_load_stac", "test_single_item_with_other_asset_names_than_bands"),
    "load_uploaded_files": ("processes.load_stac.test_files", "test_rasters_this_service_has_written"),
    "load_url": ("processes.load_stac.test_files", "test_load_url"),
    "run_ogcapi": ("processes.external.test_services", "test_ogcapi_of_the_service_itself"),
    "run_ogcapi_externally": ("processes.external.test_services", "test_ogcapi_on_values_and_jobs"),
    "run_udf": ("processes.external.test_run_udf", "test_reduce_dimension"),
    "run_udf_externally": ("processes.external.test_services", "test_udf_service_on_cubes_and_values"),
    "save_result": ("processes.load_stac.test_round_trip", "test_result_by_job_id"),
    "stac_modify": ("processes.save.test_stac_modify", "test_examples_of_the_rfc"),
}  # fmt: skip
NOT_OFFERED = {"ard_normalized_radar_backscatter", "sar_backscatter"}  # need orbit files


def call(id: str, *args: Any, **arguments: Any) -> Any:
    return registry.get(id).function(*args, **arguments)


def reducer(id: str) -> CompiledCallback:
    return CompiledCallback(
        {"r": {"process_id": id, "arguments": {"data": {"from_parameter": "data"}}, "result": True}}
    )


def plane(values: Any) -> xr.DataArray:
    """(y, x), 10 m pixels, south up to north in the usual corner."""
    return MAKE(np.array(values, "f4"), ("y", "x"))


def series(values: Any, dates: list[str]) -> xr.DataArray:
    """One pixel over dates."""
    return MAKE(np.array(values, "f4").reshape(-1, 1, 1), ("t", "y", "x"), t=np.array(dates, "M8[ns]"))


def bands(values: Any) -> xr.DataArray:
    """One pixel of B1 (red), B2 (nir) ..."""
    return MAKE(np.array(values, "f4").reshape(-1, 1, 1), ("bands", "y", "x"))


CLOUDY = MAKE(np.array([[[5, 1]], [[0, 0.5]]], "f4"), ("bands", "y", "x"))  # the left pixel is a cloud
SQUARE = plane([[1, 2], [3, 4]])
LEFT = geojson(box(0, 0, 10, 20))  # the pixels 1 and 3
JANUARIES = series([1, 5, 3], ["2020-01-15", "2021-01-15", "2021-02-15"])
NORMALS = [3, 3, *[NAN] * 10]  # (1 + 5) / 2 in January, 3 in February
CONDITION = CompiledCallback(
    {"n": {"process_id": "neq", "arguments": {"x": {"from_parameter": "value"}, "y": "B2"}, "result": True}}
)
LINE = CompiledCallback(
    {
        "b": {"process_id": "array_element", "arguments": {"data": {"from_parameter": "parameters"}, "index": 1}},
        "a": {"process_id": "array_element", "arguments": {"data": {"from_parameter": "parameters"}, "index": 0}},
        "m": {"process_id": "multiply", "arguments": {"x": {"from_node": "b"}, "y": {"from_parameter": "x"}}},
        "s": {"process_id": "add", "arguments": {"x": {"from_node": "a"}, "y": {"from_node": "m"}}, "result": True},
    }
)
FLAT = MAKE(np.array([[1, 2], [3, 4]], "f4"), ("bands", "t"), t=np.array(["2020-01-01", "2020-02-01"], "M8[ns]"))
POINTS = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "properties": {"n": n}, "geometry": {"type": "Point", "coordinates": [x, 0.5]}}
        for n, x in ((1, 0.5), (2, 2.5))
    ],
}
UNIT = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}


def first_size(data: Any, context: Any = None) -> Any:
    """Every value of a window becomes its largest."""
    values = data.values if hasattr(data, "values") else data
    made = np.full(values.shape, values.max(), "f4")
    return data.copy(data=made) if isinstance(data, xr.DataArray) else made


def tenfold(data: Any, context: Any = None) -> Any:
    return data * 10 if isinstance(data, xr.DataArray) else data.values * 10


def fitted() -> list[float]:
    """2 + 3 x through the points of x = 0, 1, 2."""
    got = call("fit_curve", LabeledArray(np.array([2.0, 5.0, 8.0]), [0, 1, 2]), [1.0, 1.0], LINE)
    return np.round(np.ravel(np.asarray(getattr(got, "values", got), "f8")), 6).tolist()


def predicted() -> Any:
    parameters = MAKE(np.array([2, 3], "f4").reshape(2, 1, 1), ("bands", "y", "x"), bands=["a", "b"])
    return call("predict_curve", parameters, LINE, "bands", [0, 1, 10])


def clouds() -> Any:
    return call("cloud_detection", bands([5, 0]), "hand")


# process -> (call, values by hand); NaN is nodata
BY_HAND: dict[str, tuple[Callable[[], Any], Any]] = {
    "aggregate_spatial": (lambda: call("aggregate_spatial", SQUARE, LEFT, reducer("sum")), [4]),
    "aggregate_spatial_window": (lambda: call("aggregate_spatial_window", plane([[1, 2, 3, 8]]), reducer("mean"), [2, 1]), [[1.5, 5.5]]),
    "anomaly": (lambda: call("anomaly", JANUARIES, call("climatological_normal", JANUARIES, "month", [2020, 2021]), "month"), [[[-2]], [[2]], [[0]]]),
    "apply_neighborhood": (lambda: call("apply_neighborhood", plane([[1, 2, 3, 4]]), first_size, [{"dimension": "x", "value": 2, "unit": "px"}, {"dimension": "y", "value": 1, "unit": "px"}]), [[2, 2, 4, 4]]),
    "apply_polygon": (lambda: call("apply_polygon", SQUARE, LEFT, tenfold), [[10, NAN], [30, NAN]]),
    "ard_surface_reflectance": (lambda: call("ard_surface_reflectance", CLOUDY, "hand", "hand").sel(bands=["B1", "B2"]), [[[NAN, 2]], [[NAN, 1]]]),
    "atmospheric_correction": (lambda: call("atmospheric_correction", bands([5, 0.5]), "hand"), [[[10]], [[1]]]),
    "climatological_normal": (lambda: call("climatological_normal", JANUARIES, "month", [2020, 2021]), [[[v]] for v in NORMALS]),
    "cloud_detection": (clouds, [[[1]]]),
    "filter_labels": (lambda: call("filter_labels", bands([7, 8, 9]), CONDITION, "bands"), [[[7]], [[9]]]),
    "filter_vector": (lambda: call("filter_vector", load_geojson(POINTS, ["n"]), UNIT), [[1]]),
    "fit_curve": (fitted, [2, 3]),
    "predict_curve": (predicted, [[[2]], [[5]], [[32]]]),
    "flatten_dimensions": (lambda: call("flatten_dimensions", FLAT, ["bands", "t"], "all"), [1, 2, 3, 4]),
    "unflatten_dimension": (lambda: call("unflatten_dimension", call("flatten_dimensions", FLAT, ["bands", "t"], "all"), "all", ["b", "d"]), [[1, 2], [3, 4]]),
    "ndvi": (lambda: call("ndvi", bands([1, 3])), [[0.5]]),
    "reduce_spatial": (lambda: call("reduce_spatial", SQUARE, reducer("mean")), 2.5),
    "resample_cube_spatial": (lambda: call("resample_cube_spatial", plane([[1, 2], [3, 4]]), MAKE(np.zeros((1, 1), "f4"), ("y", "x"), step=20.0), "average"), [[2.5]]),
    "resample_spatial": (lambda: call("resample_spatial", plane([[1, 2], [3, 4]]), 20, method="average"), [[2.5]]),
    "resample_cube_temporal": (lambda: call("resample_cube_temporal", JANUARIES, series([0], ["2021-02-01"])), [[[3]]]),  # 14 days off; January is 17
    "trim_cube": (lambda: call("trim_cube", plane([[NAN, NAN], [NAN, 4]])), [[4]]),
    "load_geojson": (lambda: call("load_geojson", POINTS, ["n"]), [[1], [2]]),
    "inspect": (lambda: call("inspect", [1, None, 3], "look", env=Env()), [1, NAN, 3]),
}  # fmt: skip


def vector_buffer() -> list[float]:
    """A point buffered by 10 m of its own CRS: a circle's area, by shapely's 8 segments per quarter at least."""
    metres = load_geojson(geojson(shapely.Point(*box(0, 0, 0, 0).bounds[:2])))
    (circle,) = geometries_of(call("vector_buffer", call("vector_reproject", metres, CRS), 10))
    return [round(circle.area / (np.pi * 100), 1), round(circle.bounds[2] - circle.bounds[0], 3)]


def vector_reproject() -> list[float]:
    """3 E on the equator is the central meridian of UTM zone 31: 500 km east, 0 north."""
    (point,) = geometries_of(call("vector_reproject", {"type": "Point", "coordinates": [3, 0]}, 32631))
    return [round(point.x, 3), round(point.y, 3)]


def vector_to_random_points() -> list[bool]:
    (points,) = geometries_of(call("vector_to_random_points", UNIT, geometry_count=5, seed=1))
    return [len(points.geoms) == 5, shapely.geometry.shape(UNIT).covers(points)]


def vector_to_regular_points() -> list[float]:
    """A square of 30 m holds 3 x 3 points 10 m apart."""
    square = call("vector_reproject", load_geojson(geojson(box(0, 0, 30, 30))), CRS)
    (points,) = geometries_of(call("vector_to_regular_points", square, 10))
    xs = sorted({round(p.x, 2) for p in points.geoms})
    return [len(points.geoms), *np.round(np.diff(xs), 1).tolist()]


GEOMETRIES: dict[str, tuple[Callable[[], Any], Any]] = {
    "vector_buffer": (vector_buffer, [1.0, 20.0]),
    "vector_reproject": (vector_reproject, [500_000, 0]),
    "vector_to_random_points": (vector_to_random_points, [True, True]),
    "vector_to_regular_points": (vector_to_regular_points, [9, 10, 10]),
}


@pytest.fixture(autouse=True)
def hand_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods "hand": clouds are where B1 is above 1, correction doubles."""

    def detect(data: xr.DataArray, options: Any, env: Any = None) -> xr.DataArray:
        hit = apply(data.sel(bands=["B1"]), lambda x, context: x > 1)
        return cubes.like(hit.assign_coords(bands=["cloud"]), hit)

    def correct(data: xr.DataArray, options: Any, elevation_model: Any = None, env: Any = None) -> xr.DataArray:
        return apply(data, lambda x, context: x * 2)

    table = {"cloud_detection": {"hand": detect}, "atmospheric_correction": {"hand": correct}}
    monkeypatch.setattr(methods, "_methods", table)
    monkeypatch.setattr(methods, "methods", lambda kind: list(table[kind]))


def numbers(value: Any) -> np.ndarray:
    """Values of what a process returned."""
    made = computed(value)
    if isinstance(made, xr.DataArray):
        return np.asarray(made.values, "f8")
    return np.array([NAN if v is None else v for v in made], "f8")


@pytest.mark.parametrize("process", BY_HAND)
def test_values_by_hand(process: str) -> None:
    made, expected = BY_HAND[process]
    np.testing.assert_allclose(numbers(made()), np.array(expected, "f8"), rtol=1e-6)


@pytest.mark.parametrize("process", GEOMETRIES)
def test_geometries_by_hand(process: str) -> None:
    made, expected = GEOMETRIES[process]
    assert made() == expected


@pytest.mark.parametrize("process", ELSEWHERE)
def test_the_others_have_their_test(process: str) -> None:
    module, test = ELSEWHERE[process]
    assert callable(getattr(importlib.import_module(f"tests.unit.{module}"), test))


@pytest.mark.skipif(not (assets.shared() / "openeo").is_dir(), reason="no official openEO assets beside the checkout")
def test_none_of_the_41_is_left_out() -> None:
    from tests.conformance.cases import load
    from tests.conformance.extract_interfaces import definitions

    tested = {c.process for c in load("literal")}
    without = {d["id"] for d in definitions(assets.definitions_folder())} - tested
    assert len(without) == 41
    assert {*BY_HAND, *GEOMETRIES, *ELSEWHERE} | NOT_OFFERED == without
    assert not NOT_OFFERED & set(registry.processes())
