"""Files of the user's storage and of the web: formats, and what may not be reached."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from backend.results import formats, write
from processes import cube as cubes
from processes.env import Env
from processes.errors import ProcessError
from processes.load.fetch import Fetcher, Guard
from processes.load.load_files import load_uploaded_files, load_url
from processes.save.save_result import SaveResult
from processes.vector.cube import crs_of, geometries_of, properties_of
from tests.unit.processes.cubes.samples import Make, values
from tests.unit.processes.folder import Folder
from tests.unit.processes.load_stac.server import Site, raster

FRAME = gpd.GeoDataFrame(
    {"name": ["a", None], "n": [1, 2]}, geometry=[shapely.Point(600000, 4800000), shapely.box(6e5, 48e5, 6.1e5, 48.1e5)], crs=32631
)  # fmt: skip


@pytest.fixture
def own(tmp_path: Path) -> Env:
    return Env(files=Folder(tmp_path))


@pytest.mark.parametrize("format", ["GeoJSON", "Parquet", "GPKG"])
def test_vector_formats(format: str, own: Env, tmp_path: Path) -> None:
    file = tmp_path / "data.any"
    if format == "GeoJSON":
        file.write_text(FRAME.to_crs(4326).to_json())
    elif format == "Parquet":
        FRAME.to_parquet(file)
    else:
        FRAME.to_file(tmp_path / "data.gpkg", driver="GPKG")
        (tmp_path / "data.gpkg").rename(file)
    data = load_uploaded_files(["data.any"], format.lower(), env=own)
    assert crs_of(data) == ("EPSG:4326" if format == "GeoJSON" else "EPSG:32631")
    assert [g.geom_type for g in geometries_of(data)] == ["Point", "Polygon"]
    assert list(properties_of(data)["name"]) == ["a", None]
    numbers = load_uploaded_files(["data.any", "data.any"], format, {"properties": ["n"]}, env=own)
    np.testing.assert_array_equal(numbers.values, [[1], [2], [1], [2]])
    assert cubes.kinds(numbers) == {"geometry": cubes.GEOMETRY, "properties": cubes.OTHER}


@pytest.mark.parametrize("format", ["GTiff", "netCDF"])
def test_rasters_this_service_has_written(format: str, own: Env, tmp_path: Path) -> None:
    data = Make("everything")(values())
    written = [a.path.name for a in write([SaveResult(data, format)], tmp_path)]
    got = load_uploaded_files(written, format, env=own)
    assert got.dims == data.dims
    assert cubes.labels(got, "bands") == cubes.labels(data, "bands")
    np.testing.assert_array_equal(got["t"].values, data["t"].values)
    np.testing.assert_array_equal(got.compute(scheduler="sync").values, data.values)


def test_raster_without_a_date(own: Env, tmp_path: Path) -> None:
    raster(tmp_path / "a.tif", np.arange(12, dtype="f4").reshape(1, 3, 4))
    got = load_uploaded_files(["a.tif"], "GTiff", env=own)
    assert got.dims == ("bands", "y", "x")
    np.testing.assert_array_equal(got.compute(scheduler="sync").values[0], np.arange(12).reshape(3, 4))


@pytest.mark.parametrize("format", ["GTiff", "netCDF", "GeoJSON", "Parquet", "GPKG"])
def test_files_of_another_format_are_told(format: str, own: Env, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"nothing of the kind")
    with pytest.raises(ProcessError, match=f"'x' cannot be loaded as {format}"):
        load_uploaded_files(["x"], format, env=own)


def test_wrong_names_and_options(own: Env, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}")
    with pytest.raises(ProcessError, match="FileNotFound"):
        load_uploaded_files(["y"], "GTiff", env=own)
    with pytest.raises(ProcessError, match=r"FormatUnsuitable.*GTiff, netCDF"):
        load_uploaded_files(["x"], "XYZ", env=own)
    with pytest.raises(ProcessError, match="no option 'colour'"):
        load_uploaded_files(["x"], "GeoJSON", {"colour": 1}, env=own)


def test_formats_are_listed() -> None:
    assert {"GTiff", "netCDF", "GeoJSON", "Parquet", "GPKG"} <= set(formats()["input"])


def test_load_url(site: Site, env: Env) -> None:
    site["/a.geojson"] = json.loads(FRAME.to_crs(4326).to_json())
    data = load_url(site.url("/a.geojson"), "GeoJSON", {"properties": ["n"]}, env=env)
    np.testing.assert_array_equal(data.values, [[1], [2]])
    raster(site.folder / "a.tif", np.arange(12, dtype="f4").reshape(1, 3, 4))
    got = load_url(site.url("/a.tif"), "GTiff", env=env)
    np.testing.assert_array_equal(got.compute(scheduler="sync").values[0], np.arange(12).reshape(3, 4))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[fe80::1]", "[fc00::1]", "224.0.0.1"],
)  # fmt: skip
def test_private_networks_are_refused(host: str) -> None:
    with pytest.raises(ProcessError, match="AccessDenied"):
        load_url(f"http://{host}/a", "GeoJSON", env=Env())


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.org/a", "gopher://127.0.0.1/", "/etc/passwd", "http:///a"]
)
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(ProcessError, match="ProcessParameterInvalid"):
        load_url(url, "GeoJSON", env=Env())


def test_redirects_into_a_private_network_are_refused(site: Site, env: Env) -> None:
    site["/r"] = (302, site.base.replace("127.0.0.1", "localhost") + "/secret")
    with pytest.raises(ProcessError, match=r"AccessDenied.*localhost"):
        load_url(site.url("/r"), "GeoJSON", env=env)
    assert not [p for p, _, _ in site.requests if p == "/secret"]


def test_endless_redirects_are_told(site: Site, env: Env) -> None:
    site["/r"] = (302, "/r")
    with pytest.raises(ProcessError, match="redirects more than"):
        load_url(site.url("/r"), "GeoJSON", env=env)


def test_a_name_that_changes_its_address_is_refused_when_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebinding: public when it is checked first, private when it is connected to."""
    answers = iter(["93.184.216.34", "127.0.0.1"])
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (next(answers), 80))])
    with Fetcher() as fetcher, pytest.raises(ProcessError, match="AccessDenied"):
        fetcher.json("http://changes.example/")


def test_allowed_hosts_networks_and_ports() -> None:
    Guard(["127.0.0.1"]).check("http://127.0.0.1:8080/")
    Guard(["127.0.0.0/8"]).check("http://127.0.0.5/")
    Guard(["localhost"]).check("http://LOCALHOST/")
    Guard(["localhost:80"]).check("http://localhost/")
    with pytest.raises(ProcessError, match="AccessDenied"):
        Guard(["localhost:80"]).check("http://localhost:81/")
    with pytest.raises(ProcessError, match="AccessDenied"):
        Guard(["10.0.0.0/8"]).check("http://127.0.0.1/")


def test_answers_that_are_too_large_are_cut_off(site: Site, env: Env, tmp_path: Path) -> None:
    site["/big"] = {"a": "x" * 1_000_000}
    with Fetcher(env.fetch_allow) as fetcher, pytest.raises(ProcessError, match="is larger than"):
        fetcher.download(site.url("/big"), tmp_path / "out" / "big", most=1000)
    assert not list((tmp_path / "out").iterdir())


def test_credentials_in_addresses_do_not_show(env: Env) -> None:
    with pytest.raises(ProcessError) as caught:
        load_url("http://user:secret@127.0.0.1:9/a?key=hidden", "GeoJSON", env=replace(env, fetch_allow=("127.0.0.1",)))
    assert "secret" not in caught.value.message and "hidden" not in caught.value.message
