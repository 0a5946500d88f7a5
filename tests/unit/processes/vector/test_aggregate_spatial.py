"""`aggregate_spatial` beyond the suite of cube processes: which cells, which blocks, exact coverage, limits."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from processes import cube as cubes
from processes.demand import Demand, View
from processes.env import Env, Limits
from processes.errors import ProcessError
from processes.load.load_geojson import load_geojson
from processes.vector.aggregate import aggregate_spatial, aggregate_spatial_demand
from processes.vector.cube import properties_of
from processes.vector.zones import Zones
from tests.unit.processes.cubes.samples import SOUTH, WEST, Make, box, computed, geojson, values
from tests.unit.processes.vector.cases import Named, median

V = values(holes=0)
GRID = GeoBox((30, 40), Affine(1, 0, 0, 0, -1, 30), 32631)
XS, YS = np.meshgrid(np.arange(40) + 0.5, 29.5 - np.arange(30))
COORDINATE = st.integers(-4, 88).map(lambda v: v / 2)  # halves: vertices and edges often lie on centres


def members(geometry: Any, cuts: tuple[int, int], exact: bool = False) -> np.ndarray:
    """Weight of every cell, found in four blocks."""
    zones = Zones([geometry], GRID, exact)
    out = np.zeros(GRID.shape)
    for rows in ((0, cuts[0]), (cuts[0], 30)):
        for cols in ((0, cuts[1]), (cuts[1], 40)):
            found = zones.cells(rows, cols)
            k = 0
            for _, r, a, b in found.runs:
                out[rows[0] + r, cols[0] + a : cols[0] + b] += found.weights[k : k + b - a] if len(found.weights) else 1
                k += b - a
    return out


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=9), st.integers(1, 29), st.integers(1, 39))
def test_cells_are_those_whose_centre_intersects_the_polygon(points: Any, row: int, col: int) -> None:
    shape = shapely.make_valid(shapely.Polygon(points))
    parts = [p for p in shapely.get_parts(shape) if p.geom_type in ("Polygon", "MultiPolygon")]
    polygon = shapely.union_all(parts)
    if polygon.is_empty:
        return
    got = members(polygon, (row, col))
    assert got.max() <= 1, "a cell was counted twice"
    differ = (got > 0) != shapely.intersects_xy(polygon, XS, YS)
    edge = shapely.distance(polygon.boundary, shapely.points(XS[differ], YS[differ]))
    assert (edge < 1e-9).all()  # slanted edges through a centre are decided by rounding, nothing else


def test_vertices_edges_and_holes_on_centres() -> None:
    outer = shapely.box(2.5, 2.5, 12.5, 12.5)
    ring = outer.difference(shapely.box(4.5, 4.5, 8.5, 8.5))
    diamond = shapely.Polygon([(20.5, 5.5), (25.5, 10.5), (20.5, 15.5), (15.5, 10.5)])
    for polygon in (outer, ring, diamond):
        np.testing.assert_array_equal(members(polygon, (11, 17)), shapely.intersects_xy(polygon, XS, YS))


def test_exact_coverage_is_the_area() -> None:
    polygon = shapely.Point(20, 15).buffer(9.3).difference(shapely.box(18, 14, 21.25, 19))
    weights = members(polygon, (11, 17), exact=True)
    assert weights.sum() == pytest.approx(polygon.area, rel=1e-6)
    cell = shapely.box(11, 14, 12, 15)
    assert weights[15, 11] == pytest.approx(polygon.intersection(cell).area, abs=1e-6)


def exact(m: Make, reducer: Any) -> Any:
    zone = geojson(box(15, 15, 45, 38))
    return computed(aggregate_spatial(m(V), zone, reducer, context={"coverage": "exact"})).values[0]


@pytest.mark.parametrize("chunking", ["numpy", "everything"])
def test_exact_statistics(chunking: str) -> None:
    weights = np.zeros((8, 10))
    for r in range(8):
        for c in range(10):
            weights[r, c] = (
                box(15, 15, 45, 38).intersection(box(c * 10, 70 - r * 10, c * 10 + 10, 80 - r * 10)).area / 100
            )
    total, v = weights.sum(), V.astype("f8")
    mean = (v * weights).sum((2, 3)) / total
    squares = (weights * (v - mean[..., None, None]) ** 2).sum((2, 3))
    make = Make(chunking)
    np.testing.assert_allclose(exact(make, Named("count")), np.full((6, 3), total), rtol=1e-4)
    np.testing.assert_allclose(exact(make, Named("sum")), (v * weights).sum((2, 3)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(exact(make, Named("mean")), mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(exact(make, Named("variance")), squares / (total - 1), rtol=1e-4)
    np.testing.assert_allclose(exact(make, Named("max")), np.where(weights > 0, v, -9).max((2, 3)), rtol=1e-6)
    with pytest.raises(ProcessError, match="exact coverage"):
        exact(make, median)


@pytest.mark.parametrize("chunking", ["numpy", "everything"])
def test_points_and_lines(chunking: str) -> None:
    point = shapely.Point(WEST + 34, SOUTH + 26)
    line = shapely.LineString([(WEST + 5, SOUTH + 75), (WEST + 47, SOUTH + 75)])
    got = computed(aggregate_spatial(Make(chunking)(V), geojson(point, line), Named("sum"))).values
    np.testing.assert_allclose(got[0], V[:, :, 5, 3], rtol=1e-6)
    np.testing.assert_allclose(got[1], V[:, :, 0, :5].sum(-1, dtype="f8"), rtol=1e-6)


def test_properties_and_geometries_stay_and_outside_is_nothing() -> None:
    zones = geojson(box(0, 0, 50, 50), box(900, 900, 950, 950))
    zones["features"][0]["properties"] = {"name": "a", "t": 1}
    zones["features"].append({"type": "Feature", "properties": {"name": "none"}, "geometry": None})
    features = load_geojson(zones)
    got = aggregate_spatial(Make()(V), features, Named("mean"), "what")
    assert got.dims == ("geometry", "t", "bands", "what")
    assert list(properties_of(got)["name"]) == ["a", None, "none"]
    assert got.coords["geometry"].values[0].equals(features.coords["geometry"].values[0])
    assert np.isnan(got.values[1:, ..., 0]).all()
    assert (got.values[1:, ..., 1:] == 0).all()
    assert (got.values[0, ..., 1] == 25).all()


def test_blocks_without_geometries_are_not_computed() -> None:
    touched: list[tuple[int, ...]] = []

    def block(block_info: Any = None) -> np.ndarray:
        where = tuple(a for a, _ in block_info[None]["array-location"])
        touched.append(where)
        return np.zeros((1, 100, 100), "f4")

    held = da.map_blocks(block, chunks=((1,), (100,) * 8, (100,) * 8), dtype="f4", meta=np.empty((0, 0, 0), "f4"))
    data = cubes.cube(
        held, ("t", "y", "x"), {"t": ["a"], "y": 8000 - np.arange(800) * 10 - 5.0, "x": np.arange(800) * 10 + 5.0},
        kinds={"t": cubes.TEMPORAL}, crs=32631,
    )  # fmt: skip
    zones = load_geojson(geojson(shapely.box(1200, 100, 1800, 300), shapely.box(1900, 100, 2100, 200)))
    for reducer in (Named("mean"), median):
        touched.clear()
        computed(aggregate_spatial(data, zones, reducer, context=1))
        assert set(touched) == {(0, 700, 100), (0, 700, 200)}


def test_no_geometry_at_all_and_a_taken_dimension() -> None:
    with pytest.raises(ProcessError, match="no geometry"):
        aggregate_spatial(Make()(V), {"type": "FeatureCollection", "features": []}, Named("mean"))
    with pytest.raises(ProcessError, match="TargetDimensionExists"):
        aggregate_spatial(Make()(V), geojson(box(0, 0, 5, 5)), Named("mean"), "bands")
    with pytest.raises(ProcessError, match="DimensionMissing"):
        aggregate_spatial(Make()(V[:, :, 0, 0], ("t", "bands")), geojson(box(0, 0, 5, 5)), Named("mean"))


def test_a_reducer_that_needs_too_much_is_refused_before_anything_is_read() -> None:
    env = Env(limits=Limits(memory=1000))
    zone = geojson(box(0, 0, 100, 80))
    with pytest.raises(ProcessError, match=r"ProcessGraphComplexity.*mean"):
        aggregate_spatial(Make("everything")(V), zone, median, context=1, env=env)
    aggregate_spatial(Make("everything")(V), zone, Named("mean"), env=env)


def test_demand_is_the_bounds() -> None:
    zones = geojson(box(10, 10, 30, 30))
    wanted = aggregate_spatial_demand({"geometries": zones}, Demand(bands=("B1",), view=View(resolution=(60, 60))))[
        "data"
    ]
    assert wanted.bands == ("B1",) and wanted.view is None and wanted.buffer == 1
    assert wanted.box is not None and wanted.box[4] == "EPSG:4326"
    assert aggregate_spatial_demand({"geometries": {"from_node": "a"}}, Demand())["data"].box is None


def test_classes_with_nodata_and_wide_integers() -> None:
    v = np.arange(80, dtype="u1").reshape(1, 1, 8, 10)
    got = aggregate_spatial(Make()(v, nodata=5), geojson(box(0, 0, 100, 80)), Named("sum")).values
    assert got.item() == v.sum(dtype="i8") - 5
    wide = np.full((1, 1, 8, 10), 2**31, "i8") + np.arange(80).reshape(1, 1, 8, 10)
    assert aggregate_spatial(Make()(wide), geojson(box(0, 0, 100, 80)), Named("max")).values.item() == 2**31 + 79
