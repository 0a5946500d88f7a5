"""Stored processes, files, the account, validation, synchronous requests; and that everything is its owner's only."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend.store import users
from tests.unit.backend.api.conftest import API, PROCESS, Server


def error(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def test_account(alice: FlaskClient) -> None:
    told = alice.get(f"{API}/me").json
    assert told["name"] == "alice" and set(told) == {"user_id", "name", "storage", "links"}
    assert told["storage"]["free"] == told["storage"]["quota"] > 0


def test_stored_process(server: Server, alice: FlaskClient) -> None:
    path = f"{API}/process_graphs/evi"
    sent = PROCESS | {"id": "ignored", "summary": "EVI", "description": None, "parameters": [], "public": True}
    answer = alice.put(path, json=sent)
    assert (answer.status_code, answer.data) == (200, b"")
    told = alice.get(path).json
    assert (told["id"], told["summary"], told["public"]) == ("evi", "EVI", True)
    assert told["process_graph"] == PROCESS["process_graph"] and "description" not in told
    listed = alice.get(f"{API}/process_graphs").json["processes"]
    assert [p["id"] for p in listed] == ["evi"] and "process_graph" not in listed[0]
    canonical = next(x["href"] for x in told["links"] if x["rel"] == "canonical")
    assert server.anonymous.get(canonical).json["process_graph"] == PROCESS["process_graph"]
    assert alice.put(path, json=told | {"public": False}).status_code == 200
    assert error(server.anonymous.get(canonical)) == (404, "ProcessGraphNotFound")
    assert alice.delete(path).status_code == 204
    assert error(alice.get(path)) == error(alice.delete(path)) == (404, "ProcessGraphNotFound")


def test_stored_process_is_checked_for_structure_only(alice: FlaskClient) -> None:
    put = lambda id, body: alice.put(f"{API}/process_graphs/{id}", json=body)  # noqa: E731
    assert put("lenient", {"process_graph": {"a": {"process_id": "no_such_process"}}}).status_code == 200
    assert error(put("add", PROCESS)) == (400, "PredefinedProcessExists")
    assert error(put("a b", PROCESS)) == (400, "ProcessInvalid")
    assert error(put("x", {})) == (400, "ProcessGraphMissing")
    assert error(put("x", {"process_graph": {"a": {}}})) == (400, "ProcessGraphInvalid")
    assert error(alice.put(f"{API}/process_graphs/x")) == (400, "ContentInvalid")


def test_stored_processes_by_page(alice: FlaskClient) -> None:
    for id in "cab":
        alice.put(f"{API}/process_graphs/{id}", json=PROCESS)
    page = alice.get(f"{API}/process_graphs?limit=2").json
    assert [p["id"] for p in page["processes"]] == ["a", "b"]
    rest = alice.get(next(x["href"] for x in page["links"] if x["rel"] == "next")).json
    assert [p["id"] for p in rest["processes"]] == ["c"]


def test_files(server: Server, alice: FlaskClient) -> None:
    path = f"{API}/files/folder/new file.txt"
    put = alice.put(path, data=b"hello", content_type="application/octet-stream")
    assert put.status_code == 200 and (put.json["path"], put.json["size"]) == ("folder/new file.txt", 5)
    assert [f["path"] for f in alice.get(f"{API}/files").json["files"]] == ["folder/new file.txt"]
    assert alice.get(path).data == b"hello"
    assert alice.get(path, headers={"Range": "bytes=1-2"}).data == b"el"
    storage = alice.get(f"{API}/me").json["storage"]
    assert storage["quota"] - storage["free"] == 5
    for method in ("GET", "PUT", "DELETE"):
        answer = alice.open(f"{API}/files/folder", method=method, data=b"x" if method == "PUT" else None)
        assert error(answer) == (400, "FileOperationUnsupported")
    assert error(alice.put(f"{path}/below", data=b"x")) == (400, "FilePathInvalid")
    assert alice.delete(path).status_code == 204
    assert error(alice.get(path)) == error(alice.delete(path)) == (404, "FileNotFound")
    assert alice.get(f"{API}/files").json["files"] == []
    assert [p for p in server.settings.files_dir.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "a\\b", "%00", "x%0ay", "a" * 300, "a/" * 600 + "b", "..%2fx", "."]
)
def test_paths_stay_inside(server: Server, alice: FlaskClient, name: str) -> None:
    for method in ("PUT", "GET", "DELETE"):
        answer = alice.open(f"{API}/files/{name}", method=method)
        assert answer.status_code in (400, 404) and answer.json["code"] in ("FilePathInvalid", "NotFound"), answer.json


def test_quota(server: Server, alice: FlaskClient) -> None:
    with server.database.session() as session:
        users.by_name(session, "alice").quota = 10  # type: ignore[union-attr]
    assert alice.put(f"{API}/files/a", data=b"123456").status_code == 200
    assert error(alice.put(f"{API}/files/b", data=b"12345")) == (400, "StorageQuotaExceeded")
    assert alice.put(f"{API}/files/a", data=b"1234567890").status_code == 200  # replaced: the old one counts no more
    streamed = alice.put(f"{API}/files/b", input_stream=io.BytesIO(b"x"), environ_base={"wsgi.input_terminated": True})
    assert error(streamed) == (400, "StorageQuotaExceeded")
    assert alice.get(f"{API}/files").json["files"][0]["size"] == 10
    assert not list((server.settings.files_dir / ".uploads").iterdir())


def test_validation_lists_problems(server: Server, alice: FlaskClient) -> None:
    for client in (server.anonymous, alice):
        assert client.post(f"{API}/validation", json=PROCESS).json == {"errors": []}
        bad = client.post(f"{API}/validation", json={"process_graph": {"a": {"process_id": "nope", "result": True}}})
        assert bad.status_code == 200 and bad.json["errors"][0]["code"] == "ProcessUnsupported"
        empty = client.post(f"{API}/validation", json={})
        assert empty.status_code == 200 and empty.json["errors"][0]["code"] == "ProcessGraphMissing"


def test_validation_knows_the_users_processes(server: Server, alice: FlaskClient) -> None:
    graph = {"process_graph": {"a": {"process_id": "mine", "arguments": {}, "result": True}}}
    alice.put(f"{API}/process_graphs/mine", json=PROCESS | {"parameters": []})
    assert alice.post(f"{API}/validation", json=graph).json == {"errors": []}
    assert server.anonymous.post(f"{API}/validation", json=graph).json["errors"]


def test_synchronous_request(server: Server, alice: FlaskClient) -> None:
    answer = alice.post(f"{API}/result", json={"process": PROCESS, "plan": None, "budget": None})
    assert (answer.status_code, answer.json, answer.content_type) == (200, 3, "application/json")
    assert answer.headers["OpenEO-Costs"] == "0"
    assert int(answer.headers["Content-Length"]) == 1
    assert not server.sync.folder.exists()
    id = answer.headers["OpenEO-Identifier"]
    monitor = answer.headers["Link"]
    assert monitor.startswith("<http://localhost/openeo/1.2/result/logs/") and 'rel="monitor"' in monitor
    logged = alice.get(f"{API}/result/logs/{id}").json
    assert [e["message"] for e in logged["logs"]] == ["computing"]
    assert error(server.login("bob").get(f"{API}/result/logs/{id}")) == (404, "NotFound")


def test_several_files_come_as_tar(server: Server, alice: FlaskClient) -> None:
    server.sync.files = {"a.tif": b"A", "b.tif": b"BB"}
    answer = alice.post(f"{API}/result", json={"process": PROCESS})
    assert answer.content_type == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(answer.data)) as archive:
        assert {m.name: m.size for m in archive.getmembers()} == {"a.tif": 1, "b.tif": 2}


def test_synchronous_bodies_that_are_refused(alice: FlaskClient) -> None:
    assert error(alice.post(f"{API}/result", json={})) == (400, "ProcessGraphMissing")
    assert error(alice.post(f"{API}/result", json={"process": PROCESS, "budget": "x"})) == (400, "BudgetInvalid")
    assert error(alice.post(f"{API}/result")) == (400, "ContentInvalid")


MATRIX = [
    ("GET", "/jobs/{job}", 404),
    ("PATCH", "/jobs/{job}", 404),
    ("DELETE", "/jobs/{job}", 404),
    ("GET", "/jobs/{job}/logs", 404),
    ("GET", "/jobs/{job}/estimate", 404),
    ("GET", "/jobs/{job}/results", 404),
    ("GET", "/jobs/{job}/results?partial=true", 404),
    ("POST", "/jobs/{job}/results", 404),
    ("DELETE", "/jobs/{job}/results", 404),
    ("GET", "/jobs/{job}/results/assets/openEO.tif", 404),
    ("HEAD", "/jobs/{job}/results/assets/openEO.tif", 404),
    ("GET", "/jobs/{job}/results/items/{job}_openEO.tif", 404),
    ("GET", "/jobs/{job}/results/sources", 404),
    ("GET", "/process_graphs/mine", 404),
    ("DELETE", "/process_graphs/mine", 404),
    ("GET", "/processes/u:{user}/mine", 404),
    ("GET", "/files/a.txt", 404),
    ("DELETE", "/files/a.txt", 404),
    ("GET", "/result/logs/{request}", 404),
]


@pytest.mark.parametrize("method, path, status", MATRIX)
def test_others_find_nothing(server: Server, alice: FlaskClient, job: str, method: str, path: str, status: int) -> None:
    """The IDOR matrix: somebody else's resource does not exist, and nothing has happened to it."""
    server.jobs.start(job)
    server.jobs.finish(job)
    alice.put(f"{API}/process_graphs/mine", json=PROCESS)
    alice.put(f"{API}/files/a.txt", data=b"x")
    request = alice.post(f"{API}/result", json={"process": PROCESS}).headers["OpenEO-Identifier"]
    user = alice.get(f"{API}/me").json["user_id"]
    before = alice.get(f"{API}/jobs/{job}").json
    bob = server.login("bob")
    address = API + path.format(job=job, user=user, request=request)
    body = {"json": {"title": "stolen"}} if method == "PATCH" else {}
    assert bob.open(address, method=method, **body).status_code == status
    public = path.startswith("/processes")
    assert server.anonymous.open(address, method=method, **body).status_code == (404 if public else 401)
    assert alice.get(f"{API}/jobs/{job}").json == before
    assert alice.get(f"{API}/process_graphs/mine").status_code == alice.get(f"{API}/files/a.txt").status_code == 200
    for listing in ("jobs", "process_graphs", "files"):
        told = bob.get(f"{API}/{listing}").json
        assert [v for k, v in told.items() if k != "links"] == [[]]


def test_same_names_of_two_users_are_two_things(server: Server, alice: FlaskClient) -> None:
    bob = server.login("bob")
    for client, text in ((alice, b"A"), (bob, b"B")):
        client.put(f"{API}/files/same.txt", data=text)
        client.put(f"{API}/process_graphs/same", json=PROCESS | {"summary": text.decode()})
    assert (alice.get(f"{API}/files/same.txt").data, bob.get(f"{API}/files/same.txt").data) == (b"A", b"B")
    assert alice.get(f"{API}/process_graphs/same").json["summary"] == "A"
