"""Discovery: what a client learns before it logs in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import yaml
from flask.testing import FlaskClient

from tests.unit.backend.api.conftest import API, PROCESS, Server


def test_capabilities(server: Server) -> None:
    told = server.anonymous.get(f"{API}/").json
    assert (told["type"], told["api_version"], told["stac_version"]) == ("Catalog", "1.2.0", "1.1.0")
    assert told["production"] is False
    assert told["conformsTo"] == server.anonymous.get(f"{API}/conformance").json["conformsTo"]
    rels = {x["rel"]: x["href"] for x in told["links"]}
    assert rels["web-editor"] == "https://editor.openeo.org/?server=http://localhost/openeo/1.2"
    for rel in ("self", "data", "conformance", "version-history", "about"):
        assert server.anonymous.get(rels[rel]).status_code == 200


def test_announced_names_are_those_of_the_standard(server: Server, shared: Path) -> None:
    """R and JavaScript clients compare paths by text."""
    standard = yaml.safe_load((shared / "openeo/assets/openeo-api/openapi.yaml").read_text())["paths"]
    ours = {e["path"]: set(e["methods"]) for e in server.anonymous.get(f"{API}/").json["endpoints"]}
    extensions = {
        "/collections/{collection_id}/items",
        "/collections/{collection_id}/items/{item_id}",
        "/processes/{namespace}/{process_id}",
        "/processing_parameters",
        "/health",
    }
    assert set(ours) - set(standard) == extensions
    for path in set(ours) & set(standard):
        methods = {m.upper() for m in standard[path]} - {"PARAMETERS"}
        assert ours[path] == methods, path
    assert set(standard) - set(ours) == {"/", "/.well-known/openeo", "/credentials/oidc"}


def test_oidc_is_announced_where_it_is_configured(make_server: Callable[..., Server]) -> None:
    server = make_server(oidc_providers=[{"id": "egi", "issuer": "https://aai.egi.eu/auth/realms/egi"}])
    assert {"path": "/credentials/oidc", "methods": ["GET"]} in server.anonymous.get(f"{API}/").json["endpoints"]
    assert server.anonymous.get(f"{API}/credentials/oidc").json["providers"][0]["id"] == "egi"


def test_announced_endpoints_answer(server: Server, alice: FlaskClient, job: str) -> None:
    """Walk everything that is announced: nothing is missing, nothing crashes."""
    alice.put(f"{API}/process_graphs/mine", json={"process_graph": {"a": {"process_id": "add"}}, "public": True})
    alice.put(f"{API}/files/a.txt", data=b"x")
    namespace = "u:" + alice.get(f"{API}/me").json["user_id"]
    values = {
        "collection_id": "DEM", "item_id": "item-1", "job_id": job, "process_graph_id": "mine", "path": "a.txt",
        "namespace": namespace, "process_id": "mine",
        "service_id": alice.post(f"{API}/services", json={"type": "XYZ", "process": PROCESS}).headers["OpenEO-Identifier"],
    }  # fmt: skip
    walked = 0
    for endpoint in alice.get(f"{API}/").json["endpoints"]:
        path = API + re.sub(r"{(\w+)}", lambda m: values[m[1]], endpoint["path"])
        for method in sorted(set(endpoint["methods"]) & {"GET", "HEAD"}):
            answer = alice.open(path, method=method, headers={} if "basic" not in path else {"Authorization": ""})
            expected = {"/jobs/{job_id}/results": 400, "/credentials/basic": 401, "/jobs/{job_id}/estimate": 200}
            assert answer.status_code == expected.get(endpoint["path"], 200), (path, answer.text)
            walked += 1
    assert walked > 20


def test_landing_page(server: Server) -> None:
    answer = server.anonymous.get("/")
    assert answer.content_type.startswith("text/html")
    for text in ("http://localhost/openeo/1.2/", "https://editor.openeo.org/?server=", "SENTINEL2_L2A_MAJA"):
        assert text in answer.text


def test_health_tells_a_schema_that_is_missing(server: Server) -> None:
    assert server.anonymous.get("/health").json == server.anonymous.get(f"{API}/health").json == {"status": "ok"}
    with server.database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")
    answer = server.anonymous.get("/health")
    assert answer.status_code == 503 and "tuile db upgrade" in answer.json["status"]


def test_collections_are_whole_sorted_and_without_nulls(server: Server) -> None:
    told = server.anonymous.get(f"{API}/collections").json
    assert [c["id"] for c in told["collections"]] == ["DEM", "SENTINEL2_L2A_MAJA"]
    one = server.anonymous.get(f"{API}/collections/DEM").json
    assert one == told["collections"][0] and "keywords" not in one
    rels = {x["rel"]: x["href"] for x in one["links"]}
    assert rels["license"] == "https://example.org/license"
    for rel in ("self", "root", "parent", "items", "http://www.opengis.net/def/rel/ogc/1.0/queryables"):
        assert server.anonymous.get(rels[rel]).status_code == 200


def test_collections_by_page(server: Server) -> None:
    first = server.anonymous.get(f"{API}/collections?limit=1").json
    rels = {x["rel"]: x["href"] for x in first["links"]}
    assert "prev" not in rels and rels["last"].endswith("?limit=1&offset=1")
    second = server.anonymous.get(rels["next"]).json
    assert [c["id"] for c in second["collections"]] == ["SENTINEL2_L2A_MAJA"]
    assert "next" not in {x["rel"] for x in second["links"]}


def test_items_follow_next_to_the_end(server: Server) -> None:
    href, seen = f"{API}/collections/DEM/items?limit=2&bbox=0,42,3,45", []
    while href:
        page = server.anonymous.get(href).json
        seen += [i["id"] for i in page["features"]]
        href = next((x["href"] for x in page["links"] if x["rel"] == "next"), "")
    assert seen == [f"item-{n}" for n in range(1, 6)]


def test_items_by_place_and_time(server: Server) -> None:
    def ids(query: str) -> list[str]:
        return [i["id"] for i in server.anonymous.get(f"{API}/collections/DEM/items?{query}").json["features"]]

    assert ids("datetime=2024-01-02/2024-01-03") == ["item-2", "item-3"]
    assert ids("datetime=2024-01-02T00:00:00Z") == ["item-2"]
    assert ids("datetime=../2024-01-01T00:00:00Z") == ["item-1"]
    assert ids("datetime=2024-01-05T01:00:00%2B01:00/..") == ["item-5"]
    assert ids("datetime=2024-01-05/9999-12-31") == ["item-5"] and ids("datetime=9999-12-31T23:59:59.999999Z") == []
    assert ids("datetime=0001-01-01/2024-01-01") == ["item-1"]
    assert ids("datetime=../..") == ids("") and len(ids("")) == 5
    assert ids("bbox=10,10,11,11") == []
    assert ids("bbox=0,42,0,3,45,100") == ids("")
    for bad in (
        "bbox=1,2,3",
        "bbox=0,50,1,40",
        "bbox=a,b,c,d",
        "bbox=0,0,nan,1",
        "datetime=x",
        "datetime=1/2/3",
        "after=x",
    ):
        answer = server.anonymous.get(f"{API}/collections/DEM/items?{bad}")
        assert (answer.status_code, answer.json["code"]) == (400, "ParameterInvalid"), bad


def test_items_do_not_tell_where_files_lie(server: Server) -> None:
    for path in (f"{API}/collections/DEM/items", f"{API}/collections/DEM/items/item-1"):
        answer = server.anonymous.get(path)
        assert "/archive/secret" not in answer.text and "https://example.org/B04.tif" in answer.text


def test_processes_by_page(server: Server) -> None:
    assert [p["id"] for p in server.anonymous.get(f"{API}/processes?limit=5").json["processes"]] == ["add"]
    assert server.anonymous.get(f"{API}/processes?limit=5&offset=5").json["processes"] == []
