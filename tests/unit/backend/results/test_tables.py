"""JSON, GeoJSON, CSV, Parquet."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xvec  # noqa: F401  (accessor)
from shapely.geometry import Point, box

from backend.errors import OpenEOError
from backend.results import write
from processes import cube as cubes
from processes.callback import LabeledArray
from processes.save.save_result import SaveResult
from tests.unit.backend.results.conftest import DATES, MakeCube


def save(data, name: str, folder: Path, **options):
    [asset] = write([SaveResult(data, name, options)], folder)
    return asset


@pytest.fixture
def vector() -> xr.DataArray:
    """Two polygons in UTM 31N, two dates, two bands; a value is missing."""
    shapes = np.array([box(300000, 4900000, 301000, 4901000), box(302000, 4900000, 303000, 4902000)], dtype=object)
    values = np.arange(8.0).reshape(2, 2, 2)
    values[0, 1, 0] = np.nan
    data = cubes.cube(
        values,
        ("geometry", "t", "bands"),
        {"geometry": shapes, "t": DATES, "bands": ["B04", "B08"], "name": ("geometry", ["a", "b"])},
        kinds={"geometry": cubes.GEOMETRY},
        derived_from=["i1"],
    )
    indexed = data.xvec.set_geom_indexes("geometry", crs=32631)
    indexed.attrs = data.attrs
    return indexed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3),
        (np.float32(0.5), 0.5),
        (math.nan, None),
        (math.inf, None),
        (np.array([1.0, np.nan]), [1.0, None]),
        (np.bool_(True), True),
        (np.datetime64("2024-06-01T10:00:00", "ns"), "2024-06-01T10:00:00Z"),
        (datetime(2024, 6, 1, tzinfo=UTC), "2024-06-01T00:00:00Z"),
        ({"a": [1, (2,)], 3: "é"}, {"a": [1, [2]], "3": "é"}),
        (LabeledArray(np.array([[1, 2]])), [[1, 2]]),
        (None, None),
        ("text", "text"),
        (Point(1, 2), {"type": "Point", "coordinates": [1.0, 2.0]}),
    ],
)
def test_values_as_json(tmp_path: Path, value, expected) -> None:
    asset = save(value, "json", tmp_path)
    assert json.loads(asset.path.read_text()) == expected and asset.media_type == "application/json"


def test_cube_as_json(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(size=(50, 60), chunks=(20, 60))
    asset = save(cube, "JSON", tmp_path)
    body = json.loads(asset.path.read_text())
    back = xr.DataArray.from_dict(body)
    np.testing.assert_array_equal(back.values.astype("f4"), cube.values)
    assert back["t"].values[0] == "2024-06-01T10:50:31Z" and back["bands"].values.tolist() == ["B04", "B03", "B02"]
    assert asset.cube == body["attrs"]["cube:dimensions"]


def test_too_much_for_json(tmp_path: Path, make_cube: MakeCube) -> None:
    with pytest.raises(OpenEOError, match="at most") as caught:
        write([SaveResult(make_cube(), "JSON")], tmp_path, memory_limit=1 << 20)
    assert caught.value.code == "FormatUnsuitable"


def test_what_has_no_json(tmp_path: Path) -> None:
    with pytest.raises(OpenEOError, match="no JSON form"):
        save(object(), "JSON", tmp_path)


def test_vector_cube_as_geojson(tmp_path: Path, vector: xr.DataArray) -> None:
    asset = save(vector, "geojson", tmp_path)
    body = json.loads(asset.path.read_text())
    assert [f["properties"]["name"] for f in body["features"]] == ["a", "b"]
    properties = body["features"][0]["properties"]
    assert properties["2024-06-01T10:50:31Z_B08"] == 1 and properties["2024-06-11T10:50:31Z_B04"] is None
    x, y = body["features"][0]["geometry"]["coordinates"][0][0]
    assert 0 < x < 1 and 44 < y < 45  # EPSG:4326, longitude first
    assert asset.bbox[0] == pytest.approx(min(p[0] for f in body["features"] for p in f["geometry"]["coordinates"][0]))
    assert asset.cube["geometry"]["type"] == "geometry" and asset.properties["derived_from"] == ["i1"]


def test_vector_cube_as_table(tmp_path: Path, vector: xr.DataArray) -> None:
    csv = pd.read_csv(save(vector, "CSV", tmp_path).path)
    assert csv.columns.tolist() == ["feature_index", "name", "t", "B04", "B08", "geometry"]
    assert csv["B08"].tolist() == [1, 3, 5, 7] and np.isnan(csv["B04"][1])
    parquet = gpd.read_parquet(save(vector, "Parquet", tmp_path).path)
    assert parquet.crs.to_epsg() == 32631 and parquet["t"].tolist() == csv["t"].tolist()
    np.testing.assert_array_equal(parquet["B08"], csv["B08"])


def test_series_and_frames(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(size=(5, 5))
    series = cubes.like(cube.mean(("y", "x")), cube)
    rows = pd.read_csv(save(series, "CSV", tmp_path, separator=";").path, sep=";")
    assert rows.columns.tolist() == ["t", "B04", "B03", "B02"] and len(rows) == 2
    frame = gpd.GeoDataFrame({"v": [1, None]}, geometry=[Point(2, 48), Point(3, 49)], crs=4326)
    asset = save(frame, "GeoJSON", tmp_path)
    body = json.loads(asset.path.read_text())
    assert [f["properties"] for f in body["features"]] == [{"v": 1.0}, {"v": None}] and asset.bbox == (2, 48, 3, 49)


@pytest.mark.parametrize(("data", "name"), [([1], "CSV"), (pd.DataFrame({"a": [1]}), "GeoJSON"), (3, "Parquet")])
def test_unsuitable(tmp_path: Path, data, name: str) -> None:
    with pytest.raises(OpenEOError) as caught:
        save(data, name, tmp_path)
    assert caught.value.code == "FormatUnsuitable"


def test_a_cube_without_bands_is_an_empty_table(make_cube: MakeCube, tmp_path: Path) -> None:
    """What `filter_bands` leaves where no name fits."""
    empty = make_cube(size=(4, 5)).isel(bands=slice(0, 0))
    (asset,) = write([SaveResult(empty, "CSV", {})], tmp_path)
    assert "bands" not in asset.path.read_text().splitlines()[0]
