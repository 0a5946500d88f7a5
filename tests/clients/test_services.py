"""Map services with the unmodified openEO Python client, their tiles fetched as viewers do: without login."""

from __future__ import annotations

import io

import numpy as np
import pytest
import rasterio
import requests
from openeo.rest import OpenEoApiError
from PIL import Image
from pyproj import Transformer

from backend.services.mercator import Tile, in_plane, range_of

S2 = "SENTINEL2_L2A_MAJA"
ZOOM = 14


@pytest.fixture(scope="module")
def red(archive):
    """The red band of the first product of T32TLQ: (day, numbers, transform)."""
    product = sorted(archive.glob("*T32TLQ*"))[0]
    with rasterio.open(next(product.glob("*_FRE_B4.tif"))) as source:
        day = product.name.split("_")[1].split("-")[0]
        return f"{day[:4]}-{day[4:6]}-{day[6:]}", source.read(1), source.transform, source.bounds


def middle(bounds):
    to_degrees = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    x, y = to_degrees.transform((bounds.left + bounds.right) / 2, (bounds.bottom + bounds.top) / 2)
    col, _, row, _ = range_of(ZOOM, in_plane((x, y, x, y)))
    return Tile(ZOOM, col, row)


def test_types(connection):
    types = connection.list_service_types()
    assert {"XYZ", "WMTS"} == set(types)
    assert "tile_size" in types["XYZ"]["configuration"]


def test_xyz(connection, red):
    day, numbers, transform, bounds = red
    cube = connection.load_collection(S2, temporal_extent=[day, day + "T23:59:59Z"], bands=["B04"])
    configuration = {"min": 0, "max": 0.4, "maxzoom": 16}
    service = connection.create_service(cube.flat_graph(), type="xyz", title="Red", configuration=configuration)
    told = service.describe_service()
    assert (told["type"], told["title"], told["enabled"]) == ("XYZ", "Red", True)
    assert service.service_id in [s["id"] for s in connection.list_services()]
    tile = middle(bounds)
    url = told["url"].format(z=tile.z, x=tile.x, y=tile.y)
    answer = requests.get(url, timeout=60)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png"), answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert requests.get(url, headers={"If-None-Match": answer.headers["ETag"]}, timeout=60).status_code == 304
    shown = np.asarray(Image.open(io.BytesIO(answer.content)).convert("LA"))
    # the pixel under the centre of each of the tile's pixels
    west, _, east, north = tile.bounds
    step = (east - west) / 256
    cols, rows = np.meshgrid(np.arange(256) + 0.5, np.arange(256) + 0.5)
    to_grid = Transformer.from_crs("EPSG:3857", "EPSG:32632", always_xy=True)
    c, r = ~transform * to_grid.transform(west + cols * step, north - rows * step)
    inside = (c > 0) & (c < numbers.shape[1]) & (r > 0) & (r < numbers.shape[0])
    c, r = (np.clip(v.astype(int), 0, numbers.shape[0] - 1) for v in (c, r))
    valid = inside & (numbers[r, c] != -10000)
    assert valid.sum() > 10_000 and ((shown[..., 1] == 255) == valid).mean() > 0.98

    def equal(down, right):
        moved = np.roll(numbers, (down, right), (0, 1))[r, c] * np.float32(1e-4)
        return (np.abs(shown[..., 0] - np.rint(np.clip(moved / 0.4, 0, 1) * 255))[valid] <= 1).mean()

    # where two tiles of a pass overlap the other one may be shown
    assert equal(0, 0) > 0.9 > 0.6 > max(equal(*by) for by in ((0, 1), (1, 0), (0, -1), (-1, 0)))
    connection.patch(f"/services/{service.service_id}", json={"enabled": False}, expected_status=204)
    assert requests.get(url, timeout=60).status_code == 404
    service.delete_service()
    with pytest.raises(OpenEoApiError, match="ServiceNotFound"):
        service.describe_service()


def test_wmts_as_gdal_reads_it(connection, red, tmp_path):
    """GDAL's WMTS driver is what QGIS and many others use."""
    bounds = red[3]
    cube = connection.load_collection(S2, bands=["B04", "B08"]).ndvi().max_time()
    service = connection.create_service(cube.flat_graph(), type="WMTS", configuration={"min": -1, "max": 1})
    url = service.describe_service()["url"]
    capabilities = requests.get(url, params={"service": "wmts", "request": "GetCapabilities"}, timeout=120)
    assert capabilities.status_code == 200, capabilities.text
    tile = middle(bounds)
    query = {"service": "WMTS", "request": "GetTile", "version": "1.0.0", "layer": "result", "style": "default",
             "format": "image/png", "tilematrixset": "WebMercatorQuad", "tilematrix": tile.z, "tilerow": tile.y,
             "tilecol": tile.x}  # fmt: skip
    answer = requests.get(url, params=query, timeout=60)
    expected = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
    document = tmp_path / "capabilities.xml"
    document.write_bytes(capabilities.content)
    with rasterio.open(f"WMTS:{document},layer=result,tilematrix={tile.z}") as source:
        assert source.crs.to_epsg() == 3857
        window = source.window(*tile.bounds)
        got = source.read(window=window.round_offsets().round_lengths())
    assert got.shape == (4, 256, 256)
    assert (got == np.moveaxis(expected, -1, 0)).mean() > 0.99
    service.delete_service()


def test_mistakes_are_in_the_log(connection):
    cube = connection.load_collection(S2, temporal_extent=["1999-01-01", "1999-02-01"], bands=["B04"])
    service = connection.create_service(cube.flat_graph(), type="XYZ")
    url = service.describe_service()["url"].format(z=ZOOM, x=8500, y=5900)
    answer = requests.get(url, timeout=60)
    assert answer.status_code == 400 and answer.json()["code"] == "NoDataAvailable"
    (entry,) = [e for e in service.logs() if e["level"] == "error"]
    assert entry["code"] == "NoDataAvailable" and "1999" in entry["message"]
    service.delete_service()
