"""`/collections` shows a user the own collections too, and deletes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from backend.app import create_app
from tests.unit.backend.exports.test_exports import House, sample, to_collection

API = "/openeo/1.2"


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    for name in ("ann", "bob"):
        made.user(name)
    ann = made.user("ann")
    made.upload(ann, sample())
    made.run(ann, to_collection(), job="j-1")
    return made


@pytest.fixture
def anonymous(house: House) -> FlaskClient:
    return create_app(house.settings, database=house.database).test_client()


def login(anonymous: FlaskClient, name: str) -> FlaskClient:
    token = anonymous.get(f"{API}/credentials/basic", auth=(name, "correct horse")).json["access_token"]  # type: ignore[index]
    client = anonymous.application.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer basic//{token}"
    return client


def listed(client: FlaskClient) -> list[str]:
    answer = client.get(f"{API}/collections")
    assert "Authorization" in answer.headers["Vary"]
    return [c["id"] for c in answer.json["collections"]]  # type: ignore[index]


def test_who_sees_it(anonymous: FlaskClient) -> None:
    ann, bob = login(anonymous, "ann"), login(anonymous, "bob")
    assert (listed(ann), listed(bob), listed(anonymous)) == (["MY_SNOW"], [], [])
    assert ann.get(f"{API}/collections/MY_SNOW").json["cube:dimensions"]["bands"]["values"] == ["B04", "B08"]  # type: ignore[index]
    assert len(ann.get(f"{API}/collections/MY_SNOW/items").json["features"]) == 2  # type: ignore[index]
    assert ann.get(f"{API}/collections/MY_SNOW/queryables").status_code == 200
    for path in ("", "/items", "/queryables"):
        for client in (bob, anonymous):
            assert client.get(f"{API}/collections/MY_SNOW{path}").status_code == 404


def test_who_may_delete_it(anonymous: FlaskClient) -> None:
    ann, bob = login(anonymous, "ann"), login(anonymous, "bob")
    assert anonymous.delete(f"{API}/collections/MY_SNOW").status_code == 401
    assert bob.delete(f"{API}/collections/MY_SNOW").status_code == 404
    assert ann.delete(f"{API}/collections/MY_SNOW").status_code == 204
    assert ann.delete(f"{API}/collections/MY_SNOW").status_code == 404
    assert listed(ann) == []


def test_validation_and_processes_know_the_exports(anonymous: FlaskClient) -> None:
    ann = login(anonymous, "ann")
    load = {
        "process_id": "load_collection",
        "arguments": {"id": "MY_SNOW", "spatial_extent": None, "temporal_extent": None},
    }
    save = {"process_id": "save_result", "arguments": {"data": {"from_node": "l"}, "format": "GTiff"}}
    export = {
        "process_id": "export_workspace",
        "arguments": {"data": {"from_node": "s"}, "workspace": "a b"},
        "result": True,
    }
    graph = {"process_graph": {"l": load, "s": save, "e": export}}
    (problem,) = ann.post(f"{API}/validation", json=graph).json["errors"]  # type: ignore[index]
    assert (problem["code"], problem["path"]) == ("ProcessParameterInvalid", ["e"])
    export["arguments"]["workspace"] = "a"  # type: ignore[index]
    assert ann.post(f"{API}/validation", json=graph).json["errors"] == []  # type: ignore[index]
    ids = {p["id"] for p in anonymous.get(f"{API}/processes").json["processes"]}  # type: ignore[index]
    new = {
        "export_workspace",
        "export_collection",
        "run_udf",
        "run_udf_externally",
        "run_ogcapi",
        "run_ogcapi_externally",
    }
    assert new <= ids
    stored = {**graph, "summary": "Exports", "parameters": []}
    assert ann.put(f"{API}/process_graphs/exporting", json=stored).status_code == 200
    assert ann.get(f"{API}/process_graphs/exporting").json["process_graph"]["e"]["process_id"] == "export_workspace"  # type: ignore[index]
