"""What every answer has: CORS, JSON errors with ids, request ids, absolute addresses, compression, ETags."""

from __future__ import annotations

import gzip
import json
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from flask.testing import FlaskClient
from psycopg.errors import DiskFull
from sqlalchemy.exc import OperationalError

from backend.errors import OpenEOError
from backend.serverlog import JsonFormatter
from tests.unit.backend.api.conftest import API, PROCESS, Server

EXPOSED = (
    "Link", "Location", "OpenEO-Costs", "OpenEO-Identifier", "Accept-Ranges", "Content-Range", "Content-Length",
    "Content-Encoding", "Retry-After",
)  # fmt: skip


@pytest.mark.parametrize("path", ["/", "/.well-known/openeo", API, f"{API}/jobs", f"{API}/nothing/here", "/x/y"])
def test_preflight_everywhere_without_login(server: Server, path: str) -> None:
    answer = server.anonymous.options(path, headers={"Origin": "https://editor.openeo.org"})
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    for name in ("Authorization", "Content-Type", "Range", "Accept"):
        assert name in answer.headers["Access-Control-Allow-Headers"].split(", ")
    for name in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        assert name in answer.headers["Access-Control-Allow-Methods"]


@pytest.mark.parametrize(
    "method, path, options, status, code",
    [
        ("GET", f"{API}/nothing", {}, 404, "NotFound"),
        ("GET", "/nothing", {}, 404, "NotFound"),
        ("PUT", f"{API}/jobs", {}, 405, "MethodNotAllowed"),
        ("GET", f"{API}/me", {}, 401, "AuthenticationRequired"),
        ("GET", f"{API}/me", {"headers": {"Authorization": "Basic eA=="}}, 403, "AuthenticationSchemeInvalid"),
        ("GET", f"{API}/me", {"headers": {"Authorization": "Bearer basic//x"}}, 403, "TokenInvalid"),
        ("GET", f"{API}/credentials/basic", {}, 401, "AuthenticationRequired"),
        ("GET", f"{API}/credentials/basic", {"auth": ("a", "b")}, 403, "CredentialsInvalid"),
        (
            "GET",
            f"{API}/credentials/basic",
            {"headers": {"Authorization": "Bearer x"}},
            403,
            "AuthenticationSchemeInvalid",
        ),
        ("GET", f"{API}/collections/NONE", {}, 404, "CollectionNotFound"),
        ("GET", f"{API}/collections/NONE/items", {}, 404, "CollectionNotFound"),
        ("GET", f"{API}/collections/DEM/items/none", {}, 404, "NotFound"),
        ("GET", f"{API}/collections?limit=0", {}, 400, "ParameterInvalid"),
        ("GET", f"{API}/collections?limit=x", {}, 400, "ParameterInvalid"),
        ("GET", f"{API}/collections?limit={'9' * 40}", {}, 400, "ParameterInvalid"),
        ("GET", f"{API}/processes/u:x/none", {}, 404, "ProcessGraphNotFound"),
        ("GET", f"{API}/jobs/a%00b", {}, 404, "NotFound"),
        ("GET", f"{API}/collections/DEM/items/a%00b", {}, 404, "NotFound"),
        ("GET", f"{API}/collections/DEM/items?datetime=%00", {}, 404, "NotFound"),
        ("GET", f"{API}/credentials/basic", {"auth": ("a\0", "b")}, 403, "CredentialsInvalid"),
        ("GET", f"{API}/collections/DEM/items?datetime=0001-01-01T00:00:00%2B23:59", {}, 400, "ParameterInvalid"),
        ("GET", f"{API}/collections/DEM/items?datetime=9999-12-31T23:59:59-23:00", {}, 400, "ParameterInvalid"),
        *(
            ("GET", f"{API}/collections", {"environ_overrides": {"HTTP_HOST": host}}, 400, "ContentInvalid")
            for host in ("a b", "example.org:80application", "[::1", 'evil"<>', "example.org:999999", "x/y")
        ),
        ("GET", f"{API}/collections", {"headers": {"X-Forwarded-Port": "80 x"}}, 400, "ContentInvalid"),
        ("POST", f"{API}/validation", {}, 400, "ContentInvalid"),
        ("POST", f"{API}/validation", {"data": "{", "content_type": "application/json"}, 400, "ContentInvalid"),
        ("POST", f"{API}/validation", {"json": [1]}, 400, "ContentInvalid"),
        (
            "POST",
            f"{API}/validation",
            {"data": "[" * 100_000, "content_type": "application/json"},
            400,
            "ContentInvalid",
        ),
        ("POST", f"{API}/validation", {"data": "x", "content_type": "text/plain"}, 400, "ContentTypeInvalid"),
    ],
)
def test_errors(server: Server, method: str, path: str, options: dict, status: int, code: str) -> None:  # type: ignore[type-arg]
    answer = server.anonymous.open(path, method=method, **options)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert set(answer.json) == {"id", "code", "message", "links"}
    assert len(answer.json["message"]) > 10 and answer.content_type == "application/json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    for name in EXPOSED:
        assert name in answer.headers["Access-Control-Expose-Headers"].split(", ")


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "-Infinity",
        "1e999",
        "9" * 400,
        "9" * 5000,
        '"\\ud800"',
        '"\\u0000"',
        '{"\\udc00": 1}',
        "[" * 900 + "]" * 900,
    ],
)
def test_values_that_could_be_stored_but_not_sent_again(alice: FlaskClient, value: str) -> None:
    body = json.dumps(PROCESS).replace("null", "%s") % value
    put = f"{API}/process_graphs/mine"
    for method, path, data in (("POST", "jobs", f'{{"process": {body}}}'), ("PUT", "process_graphs/mine", body)):
        answer = alice.open(f"{API}/{path}", method=method, data=data, content_type="application/json")
        assert (answer.status_code, answer.json["code"]) == (400, "ContentInvalid")
    assert alice.get(put).status_code == 404


def test_bodies_that_are_no_json_say_where(alice: FlaskClient) -> None:
    answer = alice.post(f"{API}/jobs", data='{"process": }', content_type="application/json")
    assert "line 1 column 13" in answer.json["message"]


@pytest.mark.parametrize("declared", ["x", [None], [{}], [{"name": 1}]])
def test_process_parameters_that_are_none(alice: FlaskClient, declared: object) -> None:
    process = PROCESS | {"parameters": declared}
    assert alice.post(f"{API}/jobs", json={"process": process}).json["code"] == "ProcessInvalid"
    assert alice.put(f"{API}/process_graphs/mine", json=process).json["code"] == "ProcessInvalid"
    answer = alice.post(f"{API}/validation", json=process)
    assert (answer.status_code, [e["code"] for e in answer.json["errors"]]) == (200, ["ProcessInvalid"])


def test_too_large_a_body(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.api.parse.JSON_MAX", 10)
    answer = server.anonymous.post(f"{API}/validation", json=PROCESS)
    assert (answer.status_code, answer.json["code"]) == (413, "ContentTooLarge")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_crash_tells_an_id_and_nothing_else(
    server: Server, alice: FlaskClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.sync, "run", lambda *_: {}["secret detail"])
    with caplog.at_level(logging.INFO, logger="tuile.request"):
        answer = alice.post(f"{API}/result", json={"process": PROCESS})
    assert (answer.status_code, answer.json["code"]) == (500, "Internal")
    assert "secret detail" not in answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    lines = [json.loads(JsonFormatter().format(r)) for r in caplog.records]
    crash = next(x for x in lines if x.get("error") == answer.json["id"])
    assert "secret detail" in crash["stacktrace"] and crash["level"] == "error"


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (sqlite3.OperationalError("database or disk is full"), 500, "StorageFailure"),
        (DiskFull("could not extend file"), 500, "StorageFailure"),
        (sqlite3.OperationalError("database is locked"), 503, "InfrastructureBusy"),
        (psycopg.OperationalError("connection refused at db.internal"), 503, "InfrastructureBusy"),
    ],
)
def test_a_database_in_trouble(
    server: Server, alice: FlaskClient, monkeypatch: pytest.MonkeyPatch, said: Exception, status: int, code: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("INSERT", {}, said)

    monkeypatch.setattr("backend.store.jobs.create", fail)
    answer = alice.post(f"{API}/jobs", json={"process": PROCESS})
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert str(said) not in answer.text and answer.headers["Access-Control-Allow-Origin"] == "*"
    assert ("Retry-After" in answer.headers) == (status == 503)


def test_error_ids_and_requests_are_in_the_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="tuile.request"):
        answer = server.anonymous.get(f"{API}/me?signature=secret")
    lines = [json.loads(JsonFormatter().format(r)) for r in caplog.records]
    assert any(x.get("error") == answer.json["id"] for x in lines)
    access = lines[-1]
    assert (access["method"], access["path"], access["status"]) == ("GET", f"{API}/me", 401)
    assert access["request"] == answer.headers["X-Request-ID"]
    assert "secret" not in caplog.text


def test_error_keeps_path_and_headers(server: Server, alice: FlaskClient) -> None:
    server.sync.error = OpenEOError(
        "InfrastructureBusy", "All slots are busy.", path=("a",), headers={"Retry-After": "7"}
    )
    answer = alice.post(f"{API}/result", json={"process": PROCESS})
    assert (answer.status_code, answer.json["path"], answer.headers["Retry-After"]) == (503, ["a"], "7")
    assert answer.headers["OpenEO-Identifier"]


def test_double_slashes_and_trailing_slash(server: Server, alice: FlaskClient) -> None:
    for path in (f"{API}//jobs", f"{API}/jobs/", "/openeo//1.2/jobs"):
        assert alice.get(path).status_code == 200
    assert server.anonymous.get(API).status_code == server.anonymous.get(f"{API}/").status_code == 200


def test_addresses_follow_the_proxy(server: Server) -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "tiles.example.org", "X-Forwarded-Prefix": "/eo"}
    answer = server.anonymous.get("/.well-known/openeo", headers=headers)
    assert answer.json["versions"][0]["url"] == "https://tiles.example.org/eo/openeo/1.2"


def test_addresses_follow_the_setting(make_server: Callable[..., Server]) -> None:
    server = make_server(public_url="https://tiles.example.org/eo/")
    answer = server.anonymous.get("/.well-known/openeo", headers={"X-Forwarded-Host": "evil.example"})
    assert answer.json["versions"] == [
        {"url": "https://tiles.example.org/eo/openeo/1.2", "api_version": "1.2.0", "production": True}
    ]
    client = server.login("alice")
    made = client.post(f"{API}/jobs", json={"process": PROCESS})
    assert made.headers["Location"].startswith("https://tiles.example.org/eo/openeo/1.2/jobs/")
    listed = client.get(f"{API}/jobs?limit=1&offset=1").json["links"]
    assert listed and all(x["href"].startswith("https://tiles.example.org/eo/openeo/1.2/jobs?") for x in listed)


def test_public_url_must_be_a_url(make_server: Callable[..., Server]) -> None:
    with pytest.raises(ValueError, match="TUILE_PUBLIC_URL"):
        make_server(public_url="tiles.example.org")


def test_discovery_is_revalidated_and_compressed(server: Server) -> None:
    path = f"{API}/collections"
    plain = server.anonymous.get(path)
    assert "Content-Encoding" not in plain.headers and "Accept-Encoding" in plain.headers["Vary"]
    again = server.anonymous.get(path, headers={"If-None-Match": plain.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Access-Control-Allow-Origin"] == "*"
    small = server.anonymous.get(path, headers={"Accept-Encoding": "gzip"})
    assert small.headers["Content-Encoding"] == "gzip" and gzip.decompress(small.data) == plain.data
    assert small.headers["ETag"] == plain.headers["ETag"]
    assert server.anonymous.get(path, headers={"If-None-Match": 'W/"other"'}).status_code == 200


def test_files_are_never_compressed(server: Server, alice: FlaskClient, job: str) -> None:
    server.jobs.start(job)
    server.jobs.finish(job)
    href = alice.get(f"{API}/jobs/{job}/results").json["assets"]["openEO.tif"]["href"]
    answer = server.anonymous.get(href, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers and len(answer.data) == 10240


def test_statuses_are_those_of_the_standard(shared: Path) -> None:
    standard = json.loads((shared / "openeo/assets/openeo-api/errors.json").read_text())
    wrong = {
        c: (OpenEOError(c, "x").status, e["http"])
        for c, e in standard.items()
        if OpenEOError(c, "x").status != e["http"]
    }
    assert wrong == {} and len(standard) > 50
