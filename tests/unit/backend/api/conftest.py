"""A server in the process, with small stand-ins for the rooms next door (catalogue, workers, formats)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import pytest
from flask import Flask
from flask.testing import FlaskClient

from backend.app import create_app
from backend.context import SyncResult
from backend.errors import OpenEOError
from backend.graph.run import Asset
from backend.services.mercator import in_plane
from backend.services.messages import About
from backend.services.types import service_types
from backend.settings import Settings
from backend.store import jobs as store_jobs
from backend.store import logs, users
from backend.store.db import Database
from backend.store.models import JobAsset
from processes.errors import ProcessError

API = "/openeo/1.2"
PASSWORD = "correct horse"
PROCESS: dict[str, Any] = {
    "process_graph": {"one": {"process_id": "add", "arguments": {"x": 1, "y": None}, "result": True}}
}
# Interface of a process in the form of the standard, enough for clients to read.
SPECS: dict[str, dict[str, Any]] = {
    "add": {
        "id": "add",
        "summary": "Sum of two numbers",
        "description": "Adds.",
        "categories": ["math"],
        "parameters": [
            {"name": n, "description": "A number.", "schema": {"type": ["number", "null"]}} for n in ("x", "y")
        ],
        "returns": {"description": "The sum.", "schema": {"type": ["number", "null"]}},
    }
}


class FakeCatalogue:
    """Two collections; the first has five items, a day apart."""

    def collections(self) -> list[dict[str, Any]]:
        return [self.collection(i) for i in ("SENTINEL2_L2A_MAJA", "DEM")]

    def collection(self, collection_id: str) -> dict[str, Any]:
        if collection_id not in ("SENTINEL2_L2A_MAJA", "DEM"):
            raise ProcessError("CollectionNotFound", f"Collection '{collection_id}' does not exist.")
        x = {"type": "spatial", "axis": "x", "extent": [1.0, 2.0], "reference_system": 4326}
        y = {"type": "spatial", "axis": "y", "extent": [43.0, 44.0], "reference_system": 4326}
        t = {"type": "temporal", "extent": ["2024-01-01T00:00:00Z", "2024-01-05T00:00:00Z"]}
        return {
            "type": "Collection",
            "stac_version": "1.1.0",
            "stac_extensions": ["https://stac-extensions.github.io/datacube/v2.2.0/schema.json"],
            "id": collection_id,
            "title": collection_id.title(),
            "description": "For tests.",
            "keywords": None,
            "license": "other",
            "extent": {
                "spatial": {"bbox": [[1.0, 43.0, 2.0, 44.0]]},
                "temporal": {"interval": [["2024-01-01T00:00:00Z", "2024-01-05T00:00:00Z"]]},
            },
            "cube:dimensions": {"x": x, "y": y, "t": t, "bands": {"type": "bands", "values": ["B04", "B08"]}},
            "summaries": {"platform": ["sentinel-2a"], "gsd": [10, 20]},
            "links": [{"rel": "license", "href": "https://example.org/license"}],
        }

    def queryables(self, collection_id: str) -> dict[str, Any]:
        self.collection(collection_id)
        return {
            "$schema": "https://json-schema.org/draft/2019-09/schema",
            "type": "object",
            "title": collection_id,
            "properties": {"platform": {"type": "string", "enum": ["sentinel-2a"]}},
            "additionalProperties": True,
        }

    def search(
        self, collection_id: str, *, bbox: Any = None, interval: Any = None, where: Any = (), limit: Any = None,
        after: Any = None,
    ) -> list[pystac.Item]:  # fmt: skip
        self.collection(collection_id)
        start, end = interval or (None, None)
        found = []
        for day in range(1, 6):
            instant = datetime(2024, 1, day, tzinfo=UTC)
            text = instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            outside = bbox is not None and (bbox[2] < 1 or bbox[0] > 2 or bbox[3] < 43 or bbox[1] > 44)
            if outside or (start and text < start) or (end and text >= end) or (after and text <= after[0]):
                continue
            geometry = {"type": "Polygon", "coordinates": [[[1, 43], [2, 43], [2, 44], [1, 44], [1, 43]]]}
            item = pystac.Item(f"item-{day}", geometry, [1, 43, 2, 44], instant, {"eo:cloud_cover": None})
            item.add_asset("FRE", pystac.Asset("/archive/secret/B04.tif"))
            item.add_asset("remote", pystac.Asset("https://example.org/B04.tif"))
            found.append(item)
        return found[:limit]

    def item(self, collection_id: str, item_id: str) -> pystac.Item | None:
        return next((i for i in self.search(collection_id) if i.id == item_id), None)

    def generation(self) -> str:
        return "1"


class FakeJobs:
    """Moves states as the real queue does; `finish` and `fail` play the worker."""

    def __init__(self, database: Database, root: Path):
        self._database, self._root = database, root

    def start(self, job_id: str) -> None:
        with self._database.session() as session:
            if store_jobs.transition(session, job_id, ("created", *store_jobs.ENDED), "queued"):
                store_jobs.delete_assets(session, job_id)

    def cancel(self, job_id: str) -> None:
        with self._database.session() as session:
            store_jobs.transition(session, job_id, store_jobs.ACTIVE, "canceled")

    def delete_results(self, job_id: str) -> None:
        shutil.rmtree(self.folder(job_id), ignore_errors=True)
        with self._database.session() as session:
            store_jobs.delete_assets(session, job_id)

    def folder(self, job_id: str) -> Path:
        return self._root / job_id

    def finish(self, job_id: str, content: bytes = bytes(range(256)) * 40) -> None:
        self.folder(job_id).mkdir(parents=True, exist_ok=True)
        (self.folder(job_id) / "openEO.tif").write_bytes(content)
        asset = JobAsset(
            name="openEO.tif",
            media_type="image/tiff; application=geotiff; profile=cloud-optimized",
            title="Result",
            roles=["data"],
            metadata_={"proj:code": "EPSG:32631", "bands": [{"name": "ndvi"}]},
            properties={"datetime": "2024-01-01T00:00:00Z"},
            geometry={"type": "Point", "coordinates": [1.5, 43.5]},
            bbox=[1.0, 43.0, 2.0, 44.0],
            size=len(content),
        )
        with self._database.session() as session:
            assert store_jobs.claim(session, job_id, "worker")
            store_jobs.put_assets(session, job_id, [asset])
            assert store_jobs.transition(session, job_id, ("running",), "finished", owner="worker")

    def fail(self, job_id: str) -> None:
        with self._database.session() as session:
            assert store_jobs.claim(session, job_id, "worker")
            logs.add_log(session, job_id, "error", "B04.tif is truncated", code="NoDataAvailable", path=["load1"])
            assert store_jobs.transition(session, job_id, ("running",), "error", error_code="NoDataAvailable")


class FakeSync:
    """Answers with the files in ``files``; ``error`` is raised instead where set."""

    def __init__(self, database: Database, root: Path):
        self._database, self._root = database, root
        self.files: dict[str, bytes] = {"out.json": b"3"}
        self.media_type = "application/json"
        self.error: OpenEOError | None = None
        self.folder = root / "sync"

    def run(self, user_id: str, process: Any, namespace: Any, log_level: str, request_id: str) -> SyncResult:
        with self._database.session() as session:
            logs.add_log(session, request_id, "info", "computing")
        if self.error is not None:
            raise self.error
        self.folder.mkdir(parents=True)
        for name, content in self.files.items():
            (self.folder / name).write_bytes(content)
        return SyncResult(self.folder, [Asset(self.folder / n, self.media_type) for n in self.files])

    def warm(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to close."""


class FakeMaps:
    """Tiles that tell where they are; ``error`` is raised instead where set."""

    def __init__(self) -> None:
        self.error: OpenEOError | None = None
        self.warmed = 0
        self.forgotten: list[str] = []
        self.times: tuple[str, ...] = ("2024-05-01T10:30:00Z", "2024-05-06T10:30:00Z")

    def about(self, service: Any) -> About:
        if self.error is not None:
            raise self.error
        return About(in_plane((1, 43, 2, 44)), 14.0, (0.0,), (1.0,), self.times, True)

    def tile(self, service: Any, tile: Any, encoding: Any, time: str | None = None) -> bytes:
        if self.error is not None:
            raise self.error
        return f"{tile.z}/{tile.x}/{tile.y} {tile.size} {encoding.format} {time}".encode()

    def forget(self, user_id: str, service_id: str) -> None:
        self.forgotten.append(service_id)

    def warm(self) -> None:
        self.warmed += 1

    def close(self) -> None:
        """Nothing to close."""


class FakeOffers:
    def file_formats(self) -> dict[str, Any]:
        gtiff = {"title": "GeoTIFF", "gis_data_types": ["raster"], "parameters": {}}
        return {"input": {"GTiff": gtiff}, "output": {"GTiff": gtiff}}

    def udf_runtimes(self) -> dict[str, Any]:
        return {}

    def service_types(self) -> dict[str, Any]:
        return service_types()

    def processing_parameters(self) -> dict[str, Any]:
        return {"create_job_parameters": []}


class Server:
    """The application with its stand-ins, and clients that are logged in."""

    def __init__(self, folder: Path, **options: Any):
        self.settings = Settings(data_dir=folder, secret_key="for tests only, long enough", **options)
        self.database = Database(self.settings.database)
        self.jobs = FakeJobs(self.database, self.settings.results_dir)
        self.sync = FakeSync(self.database, folder)
        self.maps = FakeMaps()
        self.app: Flask = create_app(
            self.settings,
            database=self.database,
            catalogue=FakeCatalogue(),
            jobs=self.jobs,
            sync=self.sync,
            maps=self.maps,
            offers=FakeOffers(),
            process_specs=lambda: SPECS,
        )
        self.anonymous: FlaskClient = self.app.test_client()

    def login(self, name: str) -> FlaskClient:
        with self.database.session() as session:
            if users.by_name(session, name) is None:
                users.set_user(session, name, PASSWORD)
        answer = self.anonymous.get(f"{API}/credentials/basic", auth=(name, PASSWORD))
        client = self.app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer basic//{answer.json['access_token']}"
        return client


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(**options: Any) -> Server:
        made.append(Server(tmp_path / f"server{len(made)}", **options))
        return made[-1]

    yield make
    for server in made:
        server.database.close()


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server()


@pytest.fixture
def alice(server: Server) -> FlaskClient:
    return server.login("alice")


@pytest.fixture
def job(alice: FlaskClient) -> str:
    """Id of a job of alice's."""
    answer = alice.post(f"{API}/jobs", json={"process": PROCESS, "title": "Mine"})
    assert answer.status_code == 201
    return answer.headers["OpenEO-Identifier"]
