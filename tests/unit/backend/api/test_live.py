"""The real openEO Python client and a real HTTP server on a free port."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import openeo
import pytest
from openeo.rest import OpenEoApiError
from waitress import wasyncore

from backend.server import listen, url_of
from backend.store import users
from tests.mock_idp import CLIENT, SECRET, mock_idp
from tests.unit.backend.api.conftest import PASSWORD, PROCESS, Server


@contextmanager
def running(server: Server) -> Iterator[str]:
    """The server behind waitress; yields its address."""
    http_server = listen(server.app, "127.0.0.1", 0)
    stop = threading.Event()

    def run() -> None:
        # waitress's own loop ends with the process only
        while not stop.is_set():
            wasyncore.loop(timeout=0.05, use_poll=True, map=http_server._map, count=1)
        wasyncore.close_all(http_server._map)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield url_of(http_server)
    finally:
        stop.set()
        thread.join(5)
        http_server.task_dispatcher.shutdown()


@pytest.fixture
def connection(server: Server) -> Iterator[openeo.Connection]:
    with server.database.session() as session:
        users.set_user(session, "alice", PASSWORD)
    with running(server) as url:
        yield openeo.connect(url).authenticate_basic("alice", PASSWORD)


def test_discovery(connection: openeo.Connection) -> None:
    assert connection.capabilities().api_version() == "1.2.0"
    assert connection.list_collection_ids() == ["DEM", "SENTINEL2_L2A_MAJA"]
    metadata = connection.collection_metadata("SENTINEL2_L2A_MAJA")
    assert metadata.band_names == ["B04", "B08"] and set(metadata.dimension_names()) == {"x", "y", "t", "bands"}
    assert [p["id"] for p in connection.list_processes()] == ["add"]
    assert connection.describe_process("add")["parameters"][0]["name"] == "x"
    assert "GTiff" in connection.list_file_formats()["output"]
    assert connection.list_udf_runtimes() == {}
    assert list(connection.list_service_types()) == ["XYZ", "WMTS"]
    assert connection.describe_account()["name"] == "alice"
    items = connection.collection_items("DEM", spatial_extent=[0, 42, 3, 45], limit=2)
    assert [i["id"] for page in items for i in page["features"]] == [f"item-{n}" for n in range(1, 6)]


def test_wrong_password(server: Server) -> None:
    with running(server) as url, pytest.raises(OpenEoApiError) as caught:
        openeo.connect(url).authenticate_basic("alice", "wrong")
    assert (caught.value.http_status_code, caught.value.code) == (403, "CredentialsInvalid")


def test_validation(connection: openeo.Connection) -> None:
    assert connection.validate_process_graph(PROCESS) == []
    errors = connection.validate_process_graph({"process_graph": {"a": {"process_id": "nope", "result": True}}})
    assert [e["code"] for e in errors] == ["ProcessUnsupported"]


def test_stored_processes(connection: openeo.Connection) -> None:
    x = {"name": "x", "description": "A number.", "schema": {"type": "number"}}
    stored = connection.save_user_defined_process(
        "mine", PROCESS["process_graph"], parameters=[x], summary="Mine", public=True
    )
    assert (stored.describe()["summary"], stored.describe()["parameters"]) == ("Mine", [x])
    assert [p["id"] for p in connection.list_user_defined_processes()] == ["mine"]
    stored.delete()
    assert connection.list_user_defined_processes() == []


def test_job(server: Server, connection: openeo.Connection, tmp_path: Path) -> None:
    job = connection.create_job(PROCESS, title="Live", additional={"skip_unreadable": True}, log_level="debug")
    assert [j["id"] for j in connection.list_jobs()] == [job.job_id]
    told = job.describe()
    assert (told["title"], told["status"], told["skip_unreadable"]) == ("Live", "created", True)
    assert connection.patch(f"/jobs/{job.job_id}", json={"title": "New"}, expected_status=204)
    assert job.describe()["title"] == "New"
    assert job.estimate()["size"] >= 0
    job.start()
    assert job.status() == "queued"
    server.jobs.finish(job.job_id)
    assert job.status() == "finished" and job.logs() == []
    files = job.get_results().download_files(tmp_path / "out")
    assert sorted(f.name for f in files) == ["job-results.json", "openEO.tif"]
    assert (tmp_path / "out" / "openEO.tif").stat().st_size == 10240
    job.delete()
    with pytest.raises(OpenEoApiError, match="JobNotFound"):
        job.describe()


def test_failed_job(server: Server, connection: openeo.Connection) -> None:
    job = connection.create_job(PROCESS)
    job.start()
    server.jobs.fail(job.job_id)
    assert [(e["level"], e["message"]) for e in job.logs(level="error")] == [("error", "B04.tif is truncated")]
    job.start()
    job.stop()
    assert job.status() == "canceled"


def test_synchronous(connection: openeo.Connection) -> None:
    assert connection.execute(PROCESS) == 3


def test_oidc_client_credentials(make_server: Callable[..., Server]) -> None:
    """The client's own login flow against the mock provider, then a call with its token."""
    with mock_idp() as idp:
        clients = [{"id": CLIENT, "grant_types": ["urn:ietf:params:oauth:grant-type:device_code+pkce"]}]
        provider = {
            "id": "mock",
            "issuer": idp.issuer,
            "title": "Mock",
            "scopes": ["openid"],
            "default_clients": clients,
        }
        with running(make_server(oidc_providers=[provider])) as url:
            connection = openeo.connect(url).authenticate_oidc_client_credentials(CLIENT, SECRET, provider_id="mock")
            assert connection.describe_account()["name"] == "carol"
            connection = openeo.connect(url).authenticate_oidc_device(
                provider_id="mock", store_refresh_token=False, max_poll_time=10
            )
            assert connection.describe_account()["name"] == "carol"


def test_gdal_reads_over_http(server: Server, connection: openeo.Connection) -> None:
    """`/vsicurl/` with HEAD and ranges on a signed link: what QGIS and viewers do."""
    import numpy as np
    import rasterio
    from rasterio.io import MemoryFile
    from rasterio.transform import from_origin

    pixels = np.arange(600 * 600, dtype="uint16").reshape(600, 600)
    profile = {"driver": "GTiff", "width": 600, "height": 600, "count": 1, "dtype": "uint16", "tiled": True}
    with MemoryFile() as memory:
        with memory.open(**profile, crs="EPSG:32631", transform=from_origin(0, 6000, 10, 10)) as target:
            target.write(pixels, 1)
        content = memory.read()
    job = connection.create_job(PROCESS)
    job.start()
    server.jobs.finish(job.job_id, content)
    href = job.get_results().get_asset("openEO.tif").href
    with rasterio.open(f"/vsicurl/{href}") as source:
        assert np.array_equal(source.read(1, window=((500, 510), (500, 510))), pixels[500:510, 500:510])


def test_head_and_proxy_headers_through_waitress(server: Server) -> None:
    with running(server) as url:
        http_connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        http_connection.request("HEAD", "/openeo/1.2/collections")
        answer = http_connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"") and int(answer.headers["Content-Length"]) > 100
        forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "tiles.example.org"}
        http_connection.request("GET", "/.well-known/openeo", headers=forwarded)
        assert b"https://tiles.example.org/openeo/1.2" in http_connection.getresponse().read()
        http_connection.request("GET", "/openeo/1.2//processes")
        assert http_connection.getresponse().status == 200
        http_connection.close()
