"""Answers against the official OpenAPI file (1.2.0), read as strictly as the official test suite does.

``nullable`` is ignored, so no null passes; formats are not checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from backend.store import logs
from tests.unit.backend.api.conftest import API, PROCESS, Server


@cache
def document(shared: Path) -> dict[str, Any]:
    return yaml.safe_load((shared / "openeo/assets/openeo-api/openapi.yaml").read_text())


def problems(shared: Path, path: str, method: str, answer: Any) -> list[str]:
    """What is wrong with a JSON answer, as the standard describes it."""
    whole = document(shared)
    responses = whole["paths"][path][method]["responses"]
    family = f"{answer.status_code // 100}XX"
    response = responses.get(str(answer.status_code)) or responses[family]
    while "$ref" in response:
        response = whole["components"]["responses"][response["$ref"].rpartition("/")[2]]
    media = answer.mimetype
    assert media in response["content"], f"{media} is not announced for {method} {path}"
    registry: Registry[Any] = Registry().with_resource("openapi", Resource.from_contents(whole, DRAFT202012))
    schema = _absolute(response["content"][media]["schema"])
    found = Draft202012Validator(schema, registry=registry).iter_errors(answer.json)
    return [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in found]


def _absolute(value: Any) -> Any:
    """References of a part of the document, made to point into the whole."""
    if isinstance(value, dict):
        return {k: f"openapi{v}" if k == "$ref" else _absolute(v) for k, v in value.items()}
    return [_absolute(v) for v in value] if isinstance(value, list) else value


# As the standard's own file wants it: no null inside the graph (clients send them all the same, and get them back).
STRICT: dict[str, Any] = {
    "process_graph": {"one": {"process_id": "add", "arguments": {"x": 1, "y": 2}, "result": True}},
    "summary": "S",
    "parameters": [],
}
PROVIDER = {
    "id": "egi",
    "issuer": "https://aai.egi.eu/auth/realms/egi",
    "title": "EGI",
    "scopes": ["openid"],
    "default_clients": [{"id": "c", "grant_types": ["urn:ietf:params:oauth:grant-type:device_code+pkce"]}],
}


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server(oidc_providers=[PROVIDER])


@pytest.fixture
def job(alice: FlaskClient) -> str:
    sent = {"process": STRICT, "title": "T", "description": "D", "plan": "free", "budget": 1}
    return alice.post(f"{API}/jobs", json=sent).headers["OpenEO-Identifier"]


@pytest.fixture
def walked(server: Server, alice: FlaskClient, job: str) -> dict[str, str]:
    """A user with one of everything."""
    alice.put(f"{API}/process_graphs/mine", json=STRICT | {"public": True})
    alice.put(f"{API}/files/a.txt", data=b"x")
    with server.database.session() as session:
        logs.add_log(session, job, "info", "loading", path=["load1"], code="X", data={"a": 1})
    server.jobs.start(job)
    server.jobs.finish(job)
    sent = {"type": "wmts", "process": STRICT, "title": "T", "description": "D", "plan": "free", "budget": 1}
    service = alice.post(f"{API}/services", json=sent | {"configuration": {"min": 0}}).headers["OpenEO-Identifier"]
    with server.database.session() as session:
        logs.add_log(session, service, "info", "drawn", path=["load1"], code="X", data={"a": 1})
    return {"collection_id": "DEM", "job_id": job, "process_graph_id": "mine", "service_id": service}


@pytest.mark.parametrize(
    "path",
    [
        "/", "/conformance", "/file_formats", "/collections", "/collections/{collection_id}",
        "/collections/{collection_id}/queryables", "/udf_runtimes", "/service_types", "/credentials/oidc", "/me",
        "/process_graphs", "/process_graphs/{process_graph_id}", "/jobs", "/jobs/{job_id}", "/jobs/{job_id}/logs",
        "/jobs/{job_id}/results", "/jobs/{job_id}/estimate", "/files",
        "/services", "/services/{service_id}", "/services/{service_id}/logs",
    ],
)  # fmt: skip
def test_get(shared: Path, alice: FlaskClient, walked: dict[str, str], path: str) -> None:
    answer = alice.get(API + path.format(**walked))
    assert answer.status_code == 200
    assert problems(shared, path, "get", answer) == []


def test_well_known(shared: Path, server: Server) -> None:
    assert problems(shared, "/.well-known/openeo", "get", server.anonymous.get("/.well-known/openeo")) == []


def test_login(shared: Path, server: Server, alice: FlaskClient) -> None:
    answer = server.anonymous.get(f"{API}/credentials/basic", auth=("alice", "correct horse"))
    assert problems(shared, "/credentials/basic", "get", answer) == []


def test_validation(shared: Path, alice: FlaskClient) -> None:
    bad = {"process_graph": {"a": {"process_id": "nope", "result": True}}}
    for body in (PROCESS, bad, {}):
        assert problems(shared, "/validation", "post", alice.post(f"{API}/validation", json=body)) == []


def test_errors(shared: Path, server: Server, alice: FlaskClient, job: str) -> None:
    server.jobs.start(job)
    server.jobs.fail(job)
    for path, client in (
        ("/jobs/{job_id}/results", alice),
        ("/jobs/{job_id}", server.anonymous),
        ("/jobs/{job_id}", server.login("bob")),
    ):
        answer = client.get(API + path.format(job_id=job))
        assert answer.status_code >= 400
        assert problems(shared, path, "get", answer) == []


def test_partial_results(shared: Path, alice: FlaskClient, job: str) -> None:
    answer = alice.get(f"{API}/jobs/{job}/results?partial=true")
    assert problems(shared, "/jobs/{job_id}/results", "get", answer) == []


def test_the_check_itself_finds_nulls(shared: Path, alice: FlaskClient, job: str) -> None:
    answer = alice.get(f"{API}/jobs/{job}")
    answer.set_data(json.dumps(answer.json | {"title": None}))
    assert problems(shared, "/jobs/{job_id}", "get", answer) == ["title: None is not of type 'string'"]
