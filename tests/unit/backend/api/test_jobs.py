"""Batch jobs over HTTP: life, changes, logs, results, signed links."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from backend.results.asset import Asset
from backend.results.stac import asset_row
from backend.store import jobs, logs
from tests.unit.backend.api.conftest import API, PROCESS, Server


def error(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def test_create_and_describe(server: Server, alice: FlaskClient) -> None:
    sent = {
        "process": PROCESS | {"summary": "S", "description": None},
        "title": None,
        "description": "D",
        "plan": "FREE",
        "budget": 100,
        "log_level": "debug",
        "job_options": {"skip_unreadable": True},
        "status": "finished",
    }
    made = alice.post(f"{API}/jobs", json=sent)
    assert made.status_code == 201 and made.data == b""
    told = alice.get(made.headers["Location"]).json
    assert told["id"] == made.headers["OpenEO-Identifier"]
    assert told["process"] == PROCESS | {"summary": "S"}  # the null inside the graph is the user's own
    assert (told["status"], told["plan"], told["budget"], told["log_level"]) == ("created", "FREE", 100, "debug")
    assert told["job_options"] == {"skip_unreadable": True}
    assert told["created"].endswith("Z") and told["created"] == told["updated"]
    assert not {"title", "progress", "usage", "queued"} & set(told)


@pytest.mark.parametrize(
    "body, code",
    [
        ({}, "ProcessGraphMissing"),
        ({"process": None}, "ProcessGraphMissing"),
        ({"process": {}}, "ProcessGraphMissing"),
        ({"process": {"process_graph": []}}, "ProcessGraphInvalid"),
        ({"process": {"process_graph": {}}}, "ProcessGraphInvalid"),
        ({"process": {"process_graph": {"a": 1}}}, "ProcessGraphInvalid"),
        ({"process": PROCESS, "title": 1}, "ContentInvalid"),
        ({"process": PROCESS, "plan": "gold"}, "BillingPlanInvalid"),
        ({"process": PROCESS, "budget": -1}, "BudgetInvalid"),
        ({"process": PROCESS, "budget": True}, "BudgetInvalid"),
        ({"process": PROCESS, "log_level": "shout"}, "ParameterInvalid"),
    ],
)
def test_bodies_that_are_refused(alice: FlaskClient, body: dict[str, Any], code: str) -> None:
    assert error(alice.post(f"{API}/jobs", json=body)) == (400, code)
    assert alice.get(f"{API}/jobs").json["jobs"] == []


def test_list_by_page(alice: FlaskClient) -> None:
    made = [alice.post(f"{API}/jobs", json={"process": PROCESS}).headers["OpenEO-Identifier"] for _ in range(5)]
    assert {j["id"] for j in alice.get(f"{API}/jobs").json["jobs"]} == set(made)
    seen, href = [], f"{API}/jobs?limit=2"
    while href:
        page = alice.get(href).json
        seen += [j["id"] for j in page["jobs"]]
        href = next((x["href"] for x in page["links"] if x["rel"] == "next"), "")
    assert sorted(seen) == sorted(made)
    assert {x["rel"] for x in page["links"]} == {"first", "prev", "last"}


def test_change(server: Server, alice: FlaskClient, job: str) -> None:
    path = f"{API}/jobs/{job}"
    assert alice.patch(path, json={}).status_code == 204
    assert alice.patch(path, json={"title": "New", "plan": None, "job_options": {"a": 1}}).status_code == 204
    assert alice.patch(path, json={"more": 2}).status_code == 204
    told = alice.get(path).json
    assert (told["title"], told["job_options"], told["more"]) == ("New", {"a": 1}, 2)
    assert alice.patch(path, json={"title": None}).status_code == 204
    assert "title" not in alice.get(path).json
    assert error(alice.patch(path, json={"status": "finished"})) == (400, "PropertyNotEditable")
    assert error(alice.patch(path, json={"process": None})) == (400, "ProcessGraphMissing")
    assert error(alice.patch(path)) == (400, "ContentInvalid")
    alice.post(f"{path}/results")
    assert error(alice.patch(path, json={"title": "No"})) == (400, "JobLocked")


def test_life(server: Server, alice: FlaskClient, job: str) -> None:
    path = f"{API}/jobs/{job}"
    assert error(alice.get(f"{path}/results")) == (400, "JobNotFinished")
    assert alice.get(f"{path}/logs").json == {"level": "info", "logs": [], "links": []}
    for _ in range(2):  # starting what is queued changes nothing
        assert alice.post(f"{path}/results").status_code == 202
        assert alice.get(path).json["status"] == "queued"
    assert error(alice.get(f"{path}/results")) == (400, "JobNotFinished")
    server.jobs.finish(job)
    told = alice.get(path).json
    assert (told["status"], told["progress"]) == ("finished", 100)
    answer = alice.get(f"{path}/results")
    assert answer.headers["OpenEO-Costs"] == "0" and answer.json["openeo:status"] == "finished"
    assert alice.delete(f"{path}/results").status_code == 204
    assert alice.get(path).json["status"] == "finished"
    assert alice.post(f"{path}/results").status_code == 202  # again
    assert alice.delete(f"{path}/results").status_code == 204
    assert alice.get(path).json["status"] == "canceled"
    assert alice.delete(path).status_code == 204
    assert error(alice.get(path)) == (404, "JobNotFound")
    assert not server.jobs.folder(job).exists()


def test_requests_that_are_sent_twice(server: Server, alice: FlaskClient) -> None:
    """A client that lost an answer asks again. The API has no key that tells this from a second wish: what comes twice must
    do no harm."""
    body, key = {"process": PROCESS, "title": "Once"}, {"Idempotency-Key": "the same"}
    one, two = (alice.post(f"{API}/jobs", json=body, headers=key).headers["OpenEO-Identifier"] for _ in range(2))
    assert one != two and [j["status"] for j in alice.get(f"{API}/jobs").json["jobs"]] == ["created", "created"]
    for _ in range(3):
        assert alice.post(f"{API}/jobs/{one}/results").status_code == 202
    assert [alice.get(f"{API}/jobs/{j}").json["status"] for j in (one, two)] == ["queued", "created"]
    queued = alice.get(f"{API}/jobs/{one}").json["queued"]
    with server.database.session() as session:
        assert jobs.claim(session, one, "worker")
    assert alice.post(f"{API}/jobs/{one}/results").status_code == 202
    told = alice.get(f"{API}/jobs/{one}").json
    assert (told["status"], told["queued"]) == ("running", queued)
    with server.database.session(read_only=True) as session:
        job = jobs.get(session, one)
        assert job is not None and (job.lease_owner, job.attempt) == ("worker", 1)
    for _ in range(2):
        assert alice.delete(f"{API}/jobs/{one}/results").status_code == 204
        assert alice.get(f"{API}/jobs/{one}").json["status"] == "canceled"
    assert alice.delete(f"{API}/jobs/{two}").status_code == 204
    assert error(alice.delete(f"{API}/jobs/{two}")) == (404, "JobNotFound")
    for _ in range(2):
        assert alice.put(f"{API}/process_graphs/mine", json=PROCESS).status_code == 200
    assert len(alice.get(f"{API}/process_graphs").json["processes"]) == 1


def test_failed_job_answers_with_its_log_entry(server: Server, alice: FlaskClient, job: str) -> None:
    server.jobs.start(job)
    server.jobs.fail(job)
    answer = alice.get(f"{API}/jobs/{job}/results")
    assert answer.status_code == 424
    told = answer.json
    assert (told["level"], told["code"], told["message"]) == ("error", "NoDataAvailable", "B04.tif is truncated")
    assert told["path"] == [{"node_id": "load1"}] and isinstance(told["id"], str)
    partial = alice.get(f"{API}/jobs/{job}/results?partial=true")
    assert (partial.status_code, partial.json["openeo:status"]) == (200, "error")


def test_logs_by_level_offset_and_limit(server: Server, alice: FlaskClient, job: str) -> None:
    with server.database.session() as session:
        for n, level in enumerate(("info", "debug", "error", "warning")):
            logs.add_log(session, job, level, f"entry {n}")
    path = f"{API}/jobs/{job}/logs"
    told = alice.get(path).json
    assert told["level"] == "info" and [e["message"][-1] for e in told["logs"]] == ["0", "2", "3"]
    assert [e["message"][-1] for e in alice.get(f"{path}?level=warning").json["logs"]] == ["2", "3"]
    assert alice.get(f"{path}?level=debug").json["level"] == "info"  # what was not asked to keep is not shown
    first = alice.get(f"{path}?limit=1").json
    assert [e["message"][-1] for e in first["logs"]] == ["0"]
    rest = alice.get(first["links"][0]["href"]).json
    assert [e["message"][-1] for e in rest["logs"]] == ["2"]
    after = alice.get(f"{path}?offset={told['logs'][1]['id']}").json
    assert [e["message"][-1] for e in after["logs"]] == ["3"]
    assert error(alice.get(f"{path}?offset=abc")) == (400, "ParameterInvalid")
    assert error(alice.get(f"{path}?level=shout")) == (400, "ParameterInvalid")


def test_partial_results_before_the_start(server: Server, alice: FlaskClient, job: str) -> None:
    """What a federation needs: a canonical link while the job is only created, which then shows the whole life."""
    told = alice.get(f"{API}/jobs/{job}/results?partial=true").json
    canonical = next(x["href"] for x in told["links"] if x["rel"] == "canonical")
    assert "partial=true" in canonical and told["expires"].endswith("Z")
    assert server.anonymous.get(canonical).json["openeo:status"] == "running"
    server.jobs.start(job)
    server.jobs.finish(job)
    done = server.anonymous.get(canonical).json
    assert done["openeo:status"] == "finished"
    items = [x["href"] for x in done["links"] if x["rel"] == "item"]
    assert len(items) == 1 and server.anonymous.get(items[0]).json["type"] == "Feature"
    # whoever came by a link gets none that lives longer
    assert done["expires"] == told["expires"]
    href = done["assets"]["openEO.tif"]["href"]
    assert server.anonymous.get(href).status_code == 200


def test_asset_with_ranges(server: Server, alice: FlaskClient, job: str) -> None:
    server.jobs.start(job)
    server.jobs.finish(job)
    asset = alice.get(f"{API}/jobs/{job}/results").json["assets"]["openEO.tif"]
    href = asset["href"]
    assert urlsplit(href).path.endswith("/openEO.tif")
    head = server.anonymous.head(href)
    assert (head.status_code, head.data) == (200, b"")
    assert (head.headers["Content-Length"], head.headers["Accept-Ranges"]) == (str(asset["file:size"]), "bytes")
    assert head.headers["Content-Type"] == asset["type"]
    whole = server.anonymous.get(href).data
    part = server.anonymous.get(href, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.data) == (206, whole[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole)}"
    assert server.anonymous.get(href, headers={"Range": "bytes=-10"}).data == whole[-10:]
    wrong = server.anonymous.get(href, headers={"Range": "bytes=999999-"})
    assert (wrong.status_code, wrong.headers["Access-Control-Allow-Origin"]) == (416, "*")
    path = urlsplit(href).path
    assert alice.get(path).data == whole  # the owner needs no signature
    assert error(server.anonymous.get(path)) == (401, "AuthenticationRequired")


def test_signed_links_open_one_thing_only(server: Server, alice: FlaskClient, job: str) -> None:
    server.jobs.start(job)
    server.jobs.finish(job)
    query = urlsplit(alice.get(f"{API}/jobs/{job}/results").json["assets"]["openEO.tif"]["href"]).query
    for other in (f"{API}/jobs/{job}/results", f"{API}/jobs/{job}/results/assets/other.tif"):
        assert error(server.anonymous.get(f"{other}?{query}")) == (403, "PermissionsInsufficient")
    assert error(server.anonymous.get(f"{API}/jobs/{job}?{query}")) == (401, "AuthenticationRequired")
    old = server.app.extensions["tuile"].signer.query(f"job:{job}", expires=1)
    expired = server.anonymous.get(f"{API}/jobs/{job}/results", query_string=old)
    assert error(expired) == (410, "ResultLinkExpired")
    assert error(server.anonymous.get(f"{API}/jobs/{job}/results?signature=x")) == (403, "PermissionsInsufficient")
    alice.delete(f"{API}/jobs/{job}")
    path = f"{API}/jobs/{job}/results/assets/openEO.tif"
    assert error(server.anonymous.get(f"{path}?{query}")) == (404, "JobNotFound")


@pytest.mark.parametrize("name", ["../../tuile.sqlite", "..%2f..%2ftuile.sqlite", "/etc/passwd", "none.tif", "%00"])
def test_only_named_files_are_served(server: Server, alice: FlaskClient, job: str, name: str) -> None:
    server.jobs.start(job)
    server.jobs.finish(job)
    assert alice.get(f"{API}/jobs/{job}/results/assets/{name}").status_code == 404


def test_estimate(server: Server, alice: FlaskClient, job: str) -> None:
    told = alice.get(f"{API}/jobs/{job}/estimate").json
    assert isinstance(told["size"], int) and told["size"] >= 0
    assert None not in told.values()


def test_files_of_a_product_have_its_folder_in_their_names(
    server: Server, alice: FlaskClient, job: str, tmp_path: Path
) -> None:
    server.jobs.start(job)
    written = tmp_path / "P_1.tif"
    written.write_bytes(b"II*")
    moved = Asset(
        written, "image/tiff", "P", metadata={"bands": [{"name": "SEB"}]}, properties={"datetime": "2024-01-01T00:00:00Z"},
        geometry={"type": "Point", "coordinates": [1.5, 43.5]}, bbox=(1, 43, 2, 44), folder="P/MASKS",
    ).move(server.jobs.folder(job))  # fmt: skip
    assert moved.path == server.jobs.folder(job) / "P" / "MASKS" / "P_1.tif"
    with server.database.session() as session:
        assert jobs.claim(session, job, "worker")
        jobs.put_assets(session, job, [asset_row(job, 0, moved)])
        assert jobs.transition(session, job, ("running",), "finished", owner="worker")
    document = alice.get(f"{API}/jobs/{job}/results").json
    ((name, asset),) = document["assets"].items()
    assert name == "P/MASKS/P_1.tif"
    (item,) = [link["href"] for link in document["links"] if link["rel"] == "item"]
    for href in (asset["href"], server.anonymous.get(item).json["assets"][name]["href"]):
        answer = server.anonymous.get(href)
        assert answer.status_code == 200 and answer.data == b"II*"
        assert "P_1.tif" in answer.headers["Content-Disposition"] and "/" not in answer.headers["Content-Disposition"]
    for other in ("P/P_1.tif", "P/MASKS", "P/../P/MASKS/P_1.tif", "P%2F..%2F..%2Fx"):
        assert alice.get(f"{API}/jobs/{job}/results/assets/{other}").status_code == 404
