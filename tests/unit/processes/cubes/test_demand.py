"""Demand rules: what a node's output needs of its inputs, and never less than it needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from processes import registry
from processes.callback_graphs import labels_named, mergeable
from processes.demand import EVERYTHING, Demand, View
from processes.extents import box_in
from tests.unit.processes.cubes.samples import SOUTH, WEST, Make, values

BOX = (WEST + 20, SOUTH + 20, WEST + 50, SOUTH + 50, "EPSG:32631")
FULL = Demand(box=BOX, interval=("2020-01-01T00:00:00Z", "2020-03-01T00:00:00Z"), bands=("B1",), buffer=1)
CUBE = {"from_node": "load"}


def rule(id: str, demand: Demand = FULL, **args: Any) -> dict[str, Demand]:
    found = registry.get(id).demand
    assert found is not None, f"{id} has no rule"
    return found({"data": CUBE, **args}, demand)


def callback(**nodes: Any) -> dict[str, Any]:
    return {"process_graph": nodes}


def element(label: Any) -> dict[str, Any]:
    return {"process_id": "array_element", "arguments": {"data": {"from_parameter": "data"}, "label": label}}


def reducer(name: str, **more: Any) -> dict[str, Any]:
    return callback(r={"process_id": name, "arguments": {"data": {"from_parameter": "data"}, **more}, "result": True})


def test_filters_narrow() -> None:
    extent = {"west": WEST, "south": SOUTH, "east": WEST + 40, "north": SOUTH + 40, "crs": 32631}
    got = rule("filter_bbox", EVERYTHING, extent=extent)["data"]
    assert got.box == (WEST, SOUTH, WEST + 40, SOUTH + 40, "EPSG:32631")
    # pixels that a kernel after the filter would look at are outside the box: they do not exist for it
    assert rule("filter_bbox", extent=extent)["data"] == FULL.with_(box=got.box, buffer=0)
    got = rule("filter_temporal", EVERYTHING, extent=["2020-02-01", None])["data"]
    assert got.interval == ("2020-02-01T00:00:00Z", None)
    both = rule("filter_temporal", extent=["2020-02-01", "2021-01-01"])["data"].interval
    assert both == ("2020-02-01T00:00:00Z", "2020-03-01T00:00:00Z")
    assert rule("filter_bands", EVERYTHING, bands=["B2", "B1"])["data"].bands == ("B2", "B1")
    polygon = {"type": "Polygon", "coordinates": [[[1, 1], [2, 1], [2, 2], [1, 1]]]}
    assert rule("filter_spatial", EVERYTHING, geometries=polygon)["data"].geometries == (polygon,)


def test_what_is_not_known_narrows_nothing() -> None:
    assert rule("filter_bands", bands=["B2"], wavelengths=[[0.4, 0.5]])["data"].bands is None
    assert rule("filter_bands", bands=["B2", "nir"])["data"].bands is None
    assert rule("filter_bands", bands={"from_parameter": "bands"})["data"].bands is None
    assert rule("filter_bbox", extent={"from_parameter": "area"})["data"] == EVERYTHING
    assert rule("filter_temporal", extent={"from_parameter": "when"})["data"] == EVERYTHING
    assert rule("filter_temporal", extent=["2020-02-01", None], dimension="other")["data"] == FULL
    assert rule("filter_spatial", geometries=CUBE)["data"] == EVERYTHING
    line = {"type": "LineString", "coordinates": [[1, 1], [2, 1]]}
    assert rule("filter_spatial", geometries=line)["data"].geometries is None


def test_reducers_over_time_want_all_dates_and_over_bands_the_bands_they_name() -> None:
    got = rule("reduce_dimension", reducer=reducer("mean"), dimension="t")["data"]
    assert got == FULL.with_(interval=None)
    got = rule("reduce_dimension", reducer=reducer("median"), dimension="t")["data"]
    assert got == FULL.with_(interval=None, whole=frozenset({"t"}))
    two = callback(a=element("B1"), b=element("B3"), c={"process_id": "add", "arguments": {"x": {"from_node": "a"}}})
    assert rule("reduce_dimension", reducer=two, dimension="bands")["data"].bands == ("B1", "B3")
    assert rule("reduce_dimension", reducer=reducer("mean"), dimension="bands")["data"].bands is None
    # names a user gave say nothing about what they stand for
    assert rule("reduce_dimension", reducer=two, dimension="kanal")["data"] == EVERYTHING
    assert rule("reduce_dimension", reducer=reducer("mean"), dimension="x")["data"] == EVERYTHING


@pytest.mark.parametrize(
    ("graph", "labels"),
    [
        (callback(a=element("B1")), ("B1",)),
        (callback(a=element("B1"), b=element("B1")), ("B1",)),
        (callback(a=element({"from_parameter": "context"})), None),
        (callback(a=element("B1"), b=reducer("max")["process_graph"]["r"]), None),
        (
            callback(a={"process_id": "array_element", "arguments": {"data": {"from_parameter": "data"}, "index": 0}}),
            None,
        ),
        (callback(a=element("B1"), b={"process_id": "f", "arguments": {"g": callback(c=element("B2"))}}), None),
        (callback(a={"process_id": "pi", "arguments": {}}), None),
        ({"from_parameter": "reducer"}, None),
        (None, None),
    ],
)
def test_labels_named_by_a_callback(graph: Any, labels: Any) -> None:
    assert labels_named(graph) == labels


def test_callbacks_that_stream() -> None:
    assert mergeable(reducer("max"))
    assert mergeable(reducer("mean", ignore_nodata=False))
    assert not mergeable(reducer("median"))
    assert not mergeable(reducer("count", condition=True))
    assert not mergeable(callback(a=element("B1"), b=reducer("max")["process_graph"]["r"]))
    assert not mergeable(reducer("nonsense"))


def test_apply_dimension_over_bands_wants_all_of_them() -> None:
    """Labels stay only where as many values come out as went in: the number of bands is part of the result."""
    two = callback(a=element("B1"), b=element("B3"))
    assert rule("apply_dimension", process=two, dimension="bands")["data"].bands is None
    got = rule("apply_dimension", process=two, dimension="t")["data"]
    assert got == FULL.with_(interval=None, whole=frozenset({"t"}))
    assert rule("apply_dimension", process=two, dimension="bands", target_dimension="t")["data"] == EVERYTHING


def test_two_cubes() -> None:
    got = rule("mask", mask={"from_node": "clouds"})
    assert got["data"] == FULL
    assert got["mask"].bands is None
    assert got["mask"].interval == FULL.interval
    assert got["mask"].box is not None
    assert got["mask"].box[0] < BOX[0]
    assert got["mask"].buffer > FULL.buffer
    got = registry.get("merge_cubes").demand({"cube1": CUBE, "cube2": {"from_node": "b"}}, FULL)  # type: ignore[misc]
    assert got["cube1"] == FULL.with_(bands=None)
    assert got["cube2"].bands is None
    assert got["cube2"].buffer > FULL.buffer


def test_neighbours_widen_and_forget_overviews() -> None:
    demand = FULL.with_(view=View(resolution=(20.0, 20.0)))
    got = rule("apply_kernel", demand, kernel=[[1, 1, 1, 1, 1]])["data"]
    assert (got.buffer, got.view) == (FULL.buffer + 2, None)
    assert rule("apply_kernel", kernel=[[1]], border="wrap")["data"] == EVERYTHING
    assert registry.get("apply_neighborhood").demand is None


def test_resampling_says_for_which_grid_pixels_are() -> None:
    got = rule("resample_spatial", resolution=20, projection=32632)["data"]
    assert (got.view, got.interval, got.bands) == (None, FULL.interval, FULL.bands)
    seen = FULL.with_(picture=True)
    assert rule("resample_spatial", seen, resolution=20)["data"].view == View(resolution=(20, 20))
    moved = rule("resample_spatial", seen, resolution=[40, 20], projection=32632, method="near", align="lower-left")
    assert moved["data"].view == View(None, (40, 20), 32632, "lower-left")
    # overviews are no mean of what the graph would take a mean of, and a view downstream is not one upstream
    assert rule("resample_spatial", seen, resolution=20, method="average")["data"].view is None
    assert rule("resample_spatial", FULL.with_(view=View(resolution=(9, 9))), resolution=20)["data"].view is None
    assert got.box is not None
    inner = box_in(BOX, "EPSG:32632")
    assert got.box[0] <= inner[0] - 5 * 20
    assert got.box[3] >= inner[3] + 5 * 20
    # in its own CRS the new grid starts at a corner of the input: cutting the input would move it
    assert rule("resample_spatial", resolution=20)["data"].box is None
    assert rule("resample_spatial", resolution={"from_parameter": "r"})["data"] == EVERYTHING
    got = rule("resample_cube_spatial", target={"from_node": "b"})
    assert got["target"].box == BOX
    assert got["target"].bands is None
    assert rule("resample_cube_spatial", target={"from_node": "b"}, method="average")["data"].box is None


def test_dimension_processes() -> None:
    assert rule("add_dimension", name="t", label="2020-01-01", type="temporal")["data"].interval is None
    assert rule("add_dimension", name="bands", label="a", type="bands")["data"].bands is None
    assert rule("add_dimension", name="z", label="a")["data"] == FULL
    assert rule("add_dimension", name="x", label=1, type="spatial")["data"] == EVERYTHING
    assert rule("drop_dimension", name="t")["data"].interval is None
    assert rule("drop_dimension", name="bands")["data"].bands is None
    assert rule("drop_dimension", name="zeit")["data"] == EVERYTHING
    whole = FULL.with_(whole=frozenset({"zeit"}))
    assert rule("rename_dimension", whole, source="t", target="zeit")["data"].whole == {"t"}
    assert rule("rename_dimension", source="other", target="bands")["data"] == EVERYTHING
    names = rule("rename_labels", dimension="bands", target=["B1", "b"], source=["red", "blue"])["data"].bands
    assert names is not None
    assert set(names) == {"red", "blue"}
    assert rule("rename_labels", dimension="bands", target=["B1"])["data"].bands is None
    assert rule("rename_labels", dimension="t", target=["a"])["data"].interval is None


def test_ndvi_wants_two_bands_by_name_or_common_name() -> None:
    assert rule("ndvi", nir="B2", red="B1")["data"].bands == ("B2", "B1")
    assert rule("ndvi")["data"].bands == ("nir", "red")  # loads know common names
    assert rule("ndvi", nir="B2", red="B1", target_band="x")["data"].bands is None


def test_periods_want_all_dates() -> None:
    got = rule("aggregate_temporal_period", period="month", reducer=reducer("median"))["data"]
    assert got == FULL.with_(interval=None, whole=frozenset({"t"}))
    assert rule("aggregate_temporal", intervals=[], reducer=reducer("mean"))["data"] == FULL.with_(interval=None)
    assert rule("aggregate_temporal", intervals=[], reducer=reducer("mean"), dimension="zeit")["data"] == EVERYTHING


def test_what_looks_at_the_whole_area() -> None:
    demand = FULL.with_(view=View(resolution=(20.0, 20.0)))
    for id in ("reduce_spatial", "aggregate_spatial_window"):
        got = rule(id, demand, reducer=reducer("mean"), size=[2, 2])["data"]
        assert got == Demand(interval=FULL.interval, bands=FULL.bands)


def test_what_looks_at_all_dates() -> None:
    got = rule("resample_cube_temporal", target={"from_node": "b"}, valid_within=3)
    assert got["data"] == FULL.with_(interval=None, whole=frozenset({"t"}))
    assert got["target"] == Demand(interval=FULL.interval)
    assert rule("climatological_normal", period="month")["data"].interval is None
    got = rule("anomaly", normals={"from_node": "b"}, period="month")
    assert got["data"] == FULL
    assert got["normals"] == FULL.with_(interval=None, bands=None)
    assert rule("filter_labels", dimension="t")["data"] == FULL


KERNEL = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    ("id", "args"),
    [
        ("apply_kernel", {"kernel": KERNEL}),
        ("resample_spatial", {"resolution": 7, "projection": 32632, "method": "cubic"}),
        ("resample_spatial", {"resolution": 40, "projection": 32632, "method": "average"}),
    ],
)
def test_reading_only_what_is_demanded_gives_the_same_pixels(id: str, args: dict[str, Any]) -> None:
    """The rule holds on real pixels: cutting the input to the demand changes nothing inside the box."""
    v = np.cumsum(values((60, 60), holes=0), axis=0)
    cube = Make()(v, ("y", "x"))
    function = registry.get(id).function
    whole = function(cube, **args)
    a = whole.sizes["x"] // 3
    part = whole.isel(x=slice(a, 2 * a), y=slice(a, 2 * a))
    xs, ys = part.coords["x"].values, part.coords["y"].values
    crs = "EPSG:32632" if "projection" in args else "EPSG:32631"
    demand = Demand(box=(xs.min(), ys.min(), xs.max(), ys.max(), crs))
    wanted = rule(id, demand, **args)["data"]
    assert wanted.box is not None
    west, south, east, north = box_in(wanted.box, "EPSG:32631")
    reach = wanted.buffer * 10
    inside = (cube.coords["x"] >= west - reach) & (cube.coords["x"] <= east + reach)
    rows = (cube.coords["y"] >= south - reach) & (cube.coords["y"] <= north + reach)
    cut = cube.isel(x=np.flatnonzero(inside), y=np.flatnonzero(rows))
    assert cut.size < cube.size
    again = function(cut, **args).sel(x=part.coords["x"], y=part.coords["y"])
    np.testing.assert_allclose(again.values, part.values, rtol=1e-4)
