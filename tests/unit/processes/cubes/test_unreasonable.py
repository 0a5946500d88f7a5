"""Small requests for enormous work are refused at once; geometries that are none are told as such."""

from __future__ import annotations

import time

import numpy as np
import pytest

from processes.apply.neighborhood import apply_neighborhood
from processes.errors import ProcessError
from processes.extents import geojson_geometries, geometry_bounds
from processes.resample.spatial import resample_spatial
from tests.unit.processes.cubes.samples import Make, values


def _sizes(cells: float) -> list[dict[str, object]]:
    return [{"dimension": d, "value": cells, "unit": "px"} for d in ("x", "y")]


def _twice(data, context=None):
    return data * 2


@pytest.mark.parametrize("chunking", ["numpy", "everything"])
@pytest.mark.parametrize("resolution", [0.0001, (10, 1e-9)])
def test_a_grid_of_millimetres(chunking, resolution) -> None:
    started = time.monotonic()
    with pytest.raises(ProcessError) as caught:
        resample_spatial(Make(chunking)(values()), resolution=resolution)
    assert caught.value.code == "ProcessGraphComplexity" and time.monotonic() - started < 5


@pytest.mark.parametrize("chunking", ["numpy", "everything"])
def test_an_overlap_of_a_million_kilometres(chunking) -> None:
    with pytest.raises(ProcessError) as caught:
        apply_neighborhood(Make(chunking)(values()), _twice, _sizes(4), _sizes(10**9))
    assert caught.value.code == "ProcessParameterInvalid" and "overlap" in caught.value.message


@pytest.mark.parametrize("chunking", ["numpy", "whole", "everything"])
@pytest.mark.parametrize("overlap", [7, 8, 9, 10, 11, 30])
def test_an_overlap_larger_than_the_cube(chunking, overlap) -> None:
    source = values()
    found = apply_neighborhood(Make(chunking)(source), _twice, _sizes(4), _sizes(overlap))
    np.testing.assert_array_equal(found.values, source * 2)


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Polygon", "coordinates": [[["a"]]]},
        {"type": "Polygon", "coordinates": None},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
        {"type": "Point", "coordinates": {}},
        {"type": "Point"},
        {"type": "FeatureCollection", "features": [None]},
        {"type": "FeatureCollection", "features": {"a": 1}},
        {"type": "FeatureCollection", "features": [{"geometry": "x"}]},
        {"type": "Feature", "geometry": [1]},
        {"type": "GeometryCollection", "geometries": 1},
        {"type": "GeometryCollection", "geometries": [None]},
        {"type": "Polygon", "crs": "EPSG:4326", "coordinates": [[["x"]]]},
        {"type": "Feature", "geometry": {"type": "Nonsense", "coordinates": [1, 2]}},
    ],
)
def test_geometries_that_are_none(geometry) -> None:
    with pytest.raises(ProcessError) as caught:
        geometry_bounds(geojson_geometries(geometry))
    assert caught.value.code == "ProcessParameterInvalid"
