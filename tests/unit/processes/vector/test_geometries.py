"""GeoJSON in, geometries filtered, moved, buffered and sampled."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from processes import cube as cubes
from processes.errors import ProcessError
from processes.load.load_geojson import load_geojson
from processes.vector.cube import as_vector, crs_of, from_frame, geometries_of, indexed, properties_of, vector_cube
from processes.vector.points import vector_to_random_points, vector_to_regular_points
from processes.vector.shapes import filter_vector, vector_buffer, vector_reproject

UTM = 32631


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": shapely.geometry.mapping(geometry) if geometry is not None else None}  # fmt: skip


def collection(*features: dict[str, Any]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


THREE = collection(
    feature(shapely.Point(1, 45), n=1, name="a", list=[1, 2]),
    feature(shapely.box(1, 44, 1.1, 44.1), n=2.5, list=[3]),
    feature(None, name="c"),
)


def metric(*geometries: Any, **properties: Any) -> Any:
    return vector_cube(geometries, UTM, properties=properties)


def test_features_without_values_keep_their_properties() -> None:
    data = load_geojson(THREE)
    assert cubes.kinds(data) == {"geometry": cubes.GEOMETRY}
    assert crs_of(data) == "EPSG:4326"
    assert [g.geom_type for g in geometries_of(data)] == ["Point", "Polygon", "GeometryCollection"]
    np.testing.assert_array_equal(properties_of(data)["n"], [1, 2.5, np.nan])
    assert list(properties_of(data)["name"]) == ["a", None, "c"]
    assert indexed(data).xindexes["geometry"].crs.to_epsg() == 4326


def test_properties_become_values() -> None:
    one = load_geojson(THREE, ["n"])
    np.testing.assert_array_equal(one.values, [[1], [2.5], [np.nan]])
    assert cubes.labels(one, "properties") == ["n"]
    two = load_geojson(THREE, ["n", "name"])
    assert two.values.tolist()[0] == [1, "a"] and two.values[1, 1] is None
    assert set(properties_of(two)) == {"list"}
    arrays = load_geojson(THREE, ["list"])
    assert cubes.labels(arrays, "properties") == [0, 1]
    np.testing.assert_array_equal(arrays.values, [[1, 2], [3, np.nan], [np.nan, np.nan]])


@pytest.mark.parametrize(
    "value",
    [{"type": "GeometryCollection", "geometries": []}, {"type": "Circle"}, collection(), "text",
     {"type": "Polygon", "coordinates": [[0]]}, {"type": "Point", "coordinates": [600000, 4800000]}],
)  # fmt: skip
def test_what_is_no_geojson_is_told(value: Any) -> None:
    with pytest.raises(ProcessError, match="ProcessParameterInvalid"):
        load_geojson(value)


@pytest.mark.parametrize("names", [["n", "list"], ["missing"], ["n", "n"]])
def test_properties_that_do_not_do_are_told(names: list[str]) -> None:
    with pytest.raises(ProcessError, match="ProcessParameterInvalid"):
        load_geojson(THREE, names)


def test_a_property_named_like_a_dimension_keeps_another_name() -> None:
    data = vector_cube(
        [shapely.Point(0, 0)],
        4326,
        np.zeros((1, 1)),
        dims=("geometry", "t"),
        coords={"t": ["x"]},
        properties={"t": [5]},
    )
    assert properties_of(data)["t_"].tolist() == [5]


def test_frames_and_cubes_are_taken_as_they_are() -> None:
    frame = gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(0, 0)], crs=UTM)
    data = as_vector(frame)
    assert crs_of(data) == "EPSG:32631"
    assert as_vector(data) is data
    assert from_frame(frame.geometry).sizes == {"geometry": 1}


CANDIDATES = metric(
    shapely.box(0, 0, 10, 10), shapely.box(2, 2, 4, 4), shapely.box(100, 100, 101, 101), shapely.box(5, 5, 20, 20),
    shapely.Point(), shapely.box(10, 0, 20, 10), k=[0, 1, 2, 3, 4, 5],
)  # fmt: skip


@pytest.mark.parametrize(
    ("relation", "kept"),
    [("intersects", [0, 1, 3, 5]), ("disjoint", [2]), ("equals", [0]), ("touches", [5]), ("overlaps", [3]),
     ("within", [0, 1]), ("contains", [0]), ("crosses", [])],
)  # fmt: skip
def test_filter_vector(relation: str, kept: list[int]) -> None:
    got = filter_vector(CANDIDATES, metric(shapely.box(0, 0, 6, 10), shapely.box(6, 0, 10, 10)), relation)
    assert properties_of(got)["k"].tolist() == kept


def test_filter_vector_in_another_crs() -> None:
    base = vector_reproject(metric(shapely.box(-1, -1, 11, 11)), 4326)
    assert properties_of(filter_vector(CANDIDATES, base, "within"))["k"].tolist() == [0, 1]
    with pytest.raises(ProcessError, match="relation"):
        filter_vector(CANDIDATES, base, "near")
    with pytest.raises(ProcessError, match="no geometry"):
        filter_vector(CANDIDATES, metric(shapely.Point()))


def test_vector_reproject_there_and_back() -> None:
    there = vector_reproject(load_geojson(THREE, ["n"]), UTM)
    assert crs_of(there) == "EPSG:32631"
    assert 342_000 < geometries_of(there)[0].x < 343_000
    back = vector_reproject(there, 4326)
    assert geometries_of(back)[0].x == pytest.approx(1)
    np.testing.assert_array_equal(back.values, [[1], [2.5], [np.nan]])
    assert list(properties_of(back)["name"]) == ["a", None, "c"]
    with pytest.raises(ProcessError, match="DimensionNotAvailable"):
        vector_reproject(there, 4326, "other")
    with pytest.raises(ProcessError, match="coordinate reference system"):
        vector_reproject(there, 1)


def test_vector_buffer() -> None:
    got = vector_buffer(metric(shapely.Point(0, 0), shapely.box(0, 0, 10, 10), shapely.Point(), k=[1, 2, 3]), 2)
    areas = shapely.area(geometries_of(got))
    assert areas[0] == pytest.approx(np.pi * 4, rel=0.01)
    assert areas[1] == pytest.approx(100 + 4 * 20 + np.pi * 4, rel=0.01)
    assert geometries_of(got)[2].is_empty
    assert properties_of(got)["k"].tolist() == [1, 2, 3]
    shrunk = geometries_of(vector_buffer(metric(shapely.box(0, 0, 10, 10), shapely.box(0, 0, 3, 3)), -2))
    assert shrunk[0].area == pytest.approx(36) and shrunk[1].is_empty
    with pytest.raises(ProcessError, match="UnitMismatch"):
        vector_buffer(THREE, 10)
    with pytest.raises(ProcessError, match="distance"):
        vector_buffer(metric(shapely.Point(0, 0)), 0)


def test_regular_points() -> None:
    data = metric(
        shapely.box(0, 0, 25, 20), shapely.LineString([(0, 0), (25, 0)]), shapely.Point(3, 4), shapely.box(0, 0, 1, 30),
        shapely.Point(), id=["a", "b", "c", "d", "e"], k=[0, 1, 2, 3, 4],
    )  # fmt: skip
    grouped = geometries_of(vector_to_regular_points(data, 10))
    assert {(p.x, p.y) for p in grouped[0].geoms} == {(x, y) for x in (5, 15, 25) for y in (5, 15)}
    assert [p.x for p in grouped[1].geoms] == [0, 10, 20]
    assert list(grouped[2].geoms) == [shapely.Point(3, 4)]
    assert list(grouped[3].geoms) == [shapely.Point(1, 0)], "no centre inside: the first coordinate"
    assert grouped[4].is_empty
    single = vector_to_regular_points(data, 10, group=False)
    assert properties_of(single)["k"].tolist() == [0] * 6 + [1] * 3 + [2, 3, 4]
    assert "id" not in properties_of(single)
    with pytest.raises(ProcessError, match="UnitMismatch"):
        vector_to_regular_points(THREE, 10)
    with pytest.raises(ProcessError, match="increase it"):
        vector_to_regular_points(metric(shapely.box(0, 0, 1e6, 1e6)), 1)


def test_random_points_lie_inside_and_repeat_with_a_seed() -> None:
    sliver = shapely.Polygon([(0, 0), (1000, 1000), (1000, 1000.001)])
    line = shapely.LineString([(0, 0), (10, 0), (10, 10)])
    data = metric(shapely.box(0, 0, 10, 10).difference(shapely.box(4, 4, 6, 6)), sliver, line, shapely.MultiPoint([(1, 1), (2, 2)]), shapely.Point())  # fmt: skip
    got = geometries_of(vector_to_random_points(data, 20, seed=1))
    assert [len(g.geoms) for g in got] == [20, 20, 20, 2, 0]
    for points, area in zip(got[:3], geometries_of(data)):
        assert shapely.distance(points, area) < 1e-6
        assert all(shapely.distance(p, area) < 1e-6 for p in points.geoms)
    again = geometries_of(vector_to_random_points(data, 20, seed=1))
    other = geometries_of(vector_to_random_points(data, 20, seed=2))
    assert shapely.equals(got[0], again[0]) and not shapely.equals(got[0], other[0])


def test_random_points_counts() -> None:
    boxes = [shapely.box(k, 0, k + 1, 1) for k in range(3)]
    data = metric(*boxes, k=[0, 1, 2])

    def counts(**options: Any) -> list[int]:
        return [len(g.geoms) for g in geometries_of(vector_to_random_points(data, seed=1, **options))]

    assert counts() == [1, 1, 1]
    assert counts(total_count=7) == [3, 2, 2]
    assert counts(total_count=7, geometry_count=2) == [2, 2, 2]
    single = vector_to_random_points(data, 2, group=False, seed=1)
    assert properties_of(single)["k"].tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ProcessError, match="CountMismatch"):
        counts(total_count=2)


def test_raster_cubes_are_told() -> None:
    raster = cubes.cube(np.zeros((2, 2)), ("y", "x"), {"y": [1, 0], "x": [0, 1]})
    with pytest.raises(ProcessError, match="DimensionMissing"):
        vector_buffer(raster, 5)
