"""The unmodified openEO Python client against a real server: what a user's notebook does."""

from __future__ import annotations

import time

import numpy as np
import pytest
import rasterio
import requests
import xarray as xr
from openeo.rest import OpenEoApiError

S2 = "SENTINEL2_L2A_MAJA"


@pytest.fixture
def window(archive):
    """A bbox of 60 x 50 pixels on the grid of the T32TLQ tile, and the red and infrared numbers under it."""
    product = sorted(archive.glob("*T32TLQ*"))[0]
    numbers = {}
    for band in (4, 8):
        with rasterio.open(next(product.glob(f"*_FRE_B{band}.tif"))) as source:
            left, top = source.transform.c + 1200, source.transform.f - 900
            box = (left, top - 500, left + 600, top)
            numbers[band] = source.read(1, window=source.window(*box))
    day = product.name.split("_")[1].split("-")[0]
    extent = dict(zip(("west", "south", "east", "north"), box)) | {"crs": "EPSG:32632"}
    return extent, f"{day[:4]}-{day[4:6]}-{day[6:]}", numbers


def reflectance(dn):
    return np.where(dn == -10000, np.float32(np.nan), (dn.astype("f4") + np.float32(0)) * np.float32(1e-4))


def finish(job, seconds=120):
    """Status, and every progress seen on the way."""
    seen = []
    for _ in range(seconds * 4):
        info = job.describe()
        seen.append(info.get("progress", 0))
        if info["status"] in ("finished", "error", "canceled"):
            return info["status"], seen
        time.sleep(0.25)
    raise AssertionError(f"still {info['status']} after {seconds} s")


def test_discovery(connection, served):
    assert requests.get(f"{served[0]}/.well-known/openeo", timeout=10).json()["versions"]
    assert S2 in connection.list_collection_ids()
    assert {"load_collection", "ndvi", "lis_snow", "wasp_synthesis"} <= {p["id"] for p in connection.list_processes()}
    meta = connection.describe_collection(S2)
    assert {"B04", "CLOUD", "VALID"} <= set(meta["cube:dimensions"]["bands"]["values"])
    assert connection.describe_account()["user_id"]


def test_ndvi_in_a_notebook_is_the_formula_bit_for_bit(connection, window, tmp_path):
    extent, day, numbers = window
    cube = connection.load_collection(S2, spatial_extent=extent, temporal_extent=[day, None], bands=["B04", "B08"])
    cube.ndvi(nir="B08", red="B04").reduce_dimension("t", "first").download(tmp_path / "ndvi.nc")
    got = xr.open_dataset(tmp_path / "ndvi.nc")["var"]
    red, nir = reflectance(numbers[4]), reflectance(numbers[8])
    assert got.shape == red.shape and got.dtype == np.float32
    good = ~np.isnan(red) & ~np.isnan(nir)
    np.testing.assert_array_equal(got.values[good], ((nir - red) / (nir + red))[good])
    assert got.x.values[0] == extent["west"] + 5 and got.y.values[0] == extent["north"] - 5


def test_batch_job_with_progress_logs_and_a_cog(connection, tmp_path):
    cube = connection.load_collection(S2, bands=["B04", "B08", "CLOUD"])
    clear = cube.filter_bands(["B04", "B08"]).mask(cube.band("CLOUD") == 1)
    job = clear.ndvi(nir="B08", red="B04").median_time().save_result("COG").create_job(title="NDVI", log_level="debug")
    assert job.describe()["status"] == "created" and job.logs() == []
    assert job.estimate()["size"] > 0
    job.start()
    status, progress = finish(job)
    assert status == "finished" and progress == sorted(progress) and progress[-1] == 100
    assert any(entry.level == "info" for entry in job.logs())
    results = job.get_results()
    (asset,) = results.get_assets()
    path = asset.download(tmp_path)
    with rasterio.open(path) as source:
        assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and source.overviews(1) is not None
        assert 0.2 < np.nanmean(source.read(1)) < 0.9
    # no login is needed for the links, so that a browser and GDAL can read them; without signature there is no way in
    href = asset.href
    assert requests.get(href, headers={"Range": "bytes=0-99"}, timeout=10).status_code == 206
    assert requests.get(href.split("?")[0], timeout=10).status_code in (401, 403)
    with rasterio.open(f"/vsicurl/{href}") as source:
        assert source.count == 1
    job.delete()
    with pytest.raises(OpenEoApiError) as caught:
        job.describe()
    assert caught.value.code == "JobNotFound"


def test_a_failing_job_says_why_and_where(connection):
    cube = connection.load_collection(S2, temporal_extent=["2031-01-01", "2031-02-01"], bands=["B04"])
    job = cube.max_time().save_result("GTiff").create_job(validate=False)
    job.start()
    status, _ = finish(job)
    assert status == "error"
    (entry,) = [e for e in job.logs() if e.level == "error"]
    assert "2031" in entry.message and entry["code"] == "NoDataAvailable" and "Traceback" not in entry.message
    response = connection.get(f"/jobs/{job.job_id}/results", check_error=False)
    assert response.status_code == 424 and response.json()["code"] == "NoDataAvailable"


def test_mistakes_reach_the_user(connection):
    problems = connection.validate_process_graph({"a": {"process_id": "nvdi", "arguments": {}, "result": True}})
    assert problems[0]["code"] == "ProcessUnsupported" and "ndvi" in problems[0]["message"]
    with pytest.raises(OpenEoApiError) as caught:
        connection.execute({"a": {"process_id": "add", "arguments": {"x": 1}, "result": True}}, validate=False)
    assert caught.value.code == "ProcessParameterRequired" and caught.value.http_status_code == 400


def test_values_and_stored_processes(connection):
    from openeo.api.process import Parameter
    from openeo.processes import multiply

    double = multiply(Parameter.number("x"), y=2)
    connection.save_user_defined_process("double", double, parameters=[Parameter.number("x")])
    assert [p["id"] for p in connection.list_user_defined_processes()] == ["double"]
    graph = {
        "d": {"process_id": "double", "arguments": {"x": 4}},
        "a": {"process_id": "add", "arguments": {"x": {"from_node": "d"}, "y": 1}, "result": True},
    }
    assert connection.execute(graph) == 9


def test_a_series_over_polygons(connection, window):
    extent, day, numbers = window
    from pyproj import Transformer

    to_degrees = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    west, south, east, north = (extent[k] for k in ("west", "south", "east", "north"))
    ring = [
        to_degrees.transform(x, y)
        for x, y in ((west, south), (east, south), (east, north), (west, north), (west, south))
    ]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    cube = connection.load_collection(S2, temporal_extent=[day, None], bands=["B04"])
    series = cube.aggregate_spatial(polygon, "mean").execute()
    first = np.ravel(np.asarray(_numbers(series), float))[0]
    assert first == pytest.approx(np.nanmean(reflectance(numbers[4])), abs=2e-3)


def _numbers(value):
    if isinstance(value, dict):
        return value["data"] if "data" in value else next(iter(value.values()))
    return value
