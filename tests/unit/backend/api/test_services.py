"""Web services: the API around them, and their tiles as clients fetch them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
from flask.testing import FlaskClient

from backend.errors import OpenEOError
from backend.store import services as store
from backend.store.models import Service
from backend.store.types import now
from tests.unit.backend.api.conftest import API, PROCESS, Server

XML = {"w": "http://www.opengis.net/wmts/1.0", "ows": "http://www.opengis.net/ows/1.1"}


def create(client: FlaskClient, type: str = "XYZ", **more: Any) -> str:
    answer = client.post(f"{API}/services", json={"type": type, "process": PROCESS} | more)
    assert answer.status_code == 201, answer.text
    return answer.headers["OpenEO-Identifier"]


def told(client: FlaskClient, id: str) -> dict[str, Any]:
    return client.get(f"{API}/services/{id}").json


def path(client: FlaskClient, id: str) -> str:
    return urlsplit(told(client, id)["url"]).path


def tile(client: FlaskClient, id: str, z: int, x: int, y: Any) -> str:
    return path(client, id).replace("{z}", str(z)).replace("{x}", str(x)).replace("{y}", str(y))


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def test_a_life(server: Server, alice: FlaskClient) -> None:
    sent = {"type": "xyz", "process": PROCESS, "title": "Map", "description": "D", "plan": "free", "budget": 3,
            "configuration": {"tile_size": 512, "colormap": None}}  # fmt: skip
    answer = alice.post(f"{API}/services", json=sent)
    id = answer.headers["OpenEO-Identifier"]
    assert answer.status_code == 201 and answer.headers["Location"].endswith(f"{API}/services/{id}")
    assert server.maps.warmed == 1
    service = told(alice, id)
    assert (service["type"], service["title"], service["enabled"], service["plan"]) == ("XYZ", "Map", True, "free")
    assert service["process"] == PROCESS and service["configuration"]["tile_size"] == 512
    assert service["configuration"]["format"] == "png" and "colormap" not in service["configuration"]
    assert service["url"].startswith("http://localhost") and service["url"].endswith("/{z}/{x}/{y}")
    listed = alice.get(f"{API}/services").json["services"]
    assert [s["id"] for s in listed] == [id] and not {"process", "configuration", "attributes"} & listed[0].keys()
    changed = {"title": None, "enabled": False, "configuration": {"tile_size": 256}, "plan": None, "budget": None}
    assert alice.patch(f"{API}/services/{id}", json=changed).status_code == 204
    service = told(alice, id)
    assert "title" not in service and not service["enabled"] and service["configuration"]["tile_size"] == 256
    assert alice.patch(f"{API}/services/{id}", json={}).status_code == 204
    assert alice.delete(f"{API}/services/{id}").status_code == 204
    assert server.maps.forgotten == [id]
    assert code(alice.get(f"{API}/services/{id}")) == (404, "ServiceNotFound")
    assert alice.get(f"{API}/services").json["services"] == []


def test_null_means_not_given(alice: FlaskClient) -> None:
    nothing = dict.fromkeys(("title", "description", "enabled", "configuration", "plan", "budget", "log_level"))
    assert told(alice, create(alice, **nothing))["enabled"] is True


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"type": "WCS"}, "ServiceUnsupported"),
        ({"type": None}, "ServiceUnsupported"),
        ({"process": None}, "ProcessGraphMissing"),
        ({"process": {"process_graph": {"a": {"process_id": "nope", "arguments": {}, "result": True}}}}, "ProcessUnsupported"),
        ({"configuration": {"nope": 1}}, "ServiceConfigUnsupported"),
        ({"configuration": {"maxzoom": 99}}, "ServiceConfigInvalid"),
        ({"enabled": "yes"}, "ContentInvalid"),
        ({"plan": "gold"}, "BillingPlanInvalid"),
        ({"budget": -1}, "BudgetInvalid"),
        ({"title": 5}, "ContentInvalid"),
    ],
)  # fmt: skip
def test_mistakes(alice: FlaskClient, changes: dict[str, Any], expected: str) -> None:
    answer = alice.post(f"{API}/services", json={"type": "XYZ", "process": PROCESS} | changes)
    assert code(answer) == (400, expected)
    if "type" not in changes:
        answer = alice.patch(f"{API}/services/{create(alice)}", json=changes)
        assert code(answer) == (400, expected)


def test_what_is_ours_cannot_be_changed(alice: FlaskClient) -> None:
    id = create(alice)
    for name in ("id", "url", "type", "attributes", "created"):
        assert code(alice.patch(f"{API}/services/{id}", json={name: "x"})) == (400, "PropertyNotEditable")


def test_somebody_elses_does_not_exist(server: Server, alice: FlaskClient) -> None:
    id = create(alice)
    bob = server.login("bob")
    for method, below in (("get", ""), ("patch", ""), ("delete", ""), ("get", "/logs")):
        answer = getattr(bob, method)(f"{API}/services/{id}{below}", json={"title": "mine"})
        assert code(answer) == (404, "ServiceNotFound")
        assert getattr(server.anonymous, method)(f"{API}/services/{id}{below}").status_code == 401
    assert bob.get(f"{API}/services").json["services"] == [] and told(alice, id)["id"] == id
    assert server.anonymous.post(f"{API}/services", json={}).status_code == 401


def test_how_many(make_server: Callable[..., Server]) -> None:
    alice = make_server(max_services=2).login("alice")
    create(alice)
    id = create(alice)
    answer = alice.post(f"{API}/services", json={"type": "XYZ", "process": PROCESS})
    assert code(answer) == (400, "ServiceQuotaExceeded")
    alice.delete(f"{API}/services/{id}")
    create(alice)


def test_large_graphs(make_server: Callable[..., Server]) -> None:
    alice = make_server(max_nodes=3).login("alice")
    node = {"process_id": "add", "arguments": {"x": 1, "y": 2}}
    many = {str(n): node for n in range(3)} | {"r": node | {"result": True}}
    answer = alice.post(f"{API}/services", json={"type": "XYZ", "process": {"process_graph": many}})
    assert code(answer) == (400, "ProcessGraphComplexity")
    heavy = PROCESS | {"description": "x" * (5 << 20)}
    answer = alice.post(f"{API}/services", json={"type": "XYZ", "process": heavy})
    assert code(answer) == (400, "ProcessGraphComplexity")


def test_pages(alice: FlaskClient) -> None:
    made = [create(alice, title=str(n)) for n in range(3)]
    first = alice.get(f"{API}/services?limit=2").json
    assert [s["id"] for s in first["services"]] == [made[2], made[1]]
    (following,) = [k["href"] for k in first["links"] if k["rel"] == "next"]
    assert [s["id"] for s in alice.get(following).json["services"]] == [made[0]]


def test_quick_views_go_by_themselves(server: Server, alice: FlaskClient) -> None:
    quick, named = create(alice, title="Quick view"), create(alice, title="Quick view")
    assert told(alice, quick)["expires"]
    alice.patch(f"{API}/services/{named}", json={"title": "Kept"})
    url = tile(alice, quick, 3, 4, 2)
    with server.database.session() as session:
        for id in (quick, named):
            row = session.get(Service, id)
            assert row is not None
            row.expires = now() - timedelta(seconds=1) if row.expires else None
    assert code(alice.get(f"{API}/services/{quick}")) == (404, "ServiceNotFound")
    assert code(server.anonymous.get(url)) == (404, "ServiceNotFound")
    assert "expires" not in told(alice, named)
    create(alice)
    assert server.maps.forgotten == [quick]
    with server.database.session(read_only=True) as session:
        assert session.get(Service, quick) is None


def test_logs(server: Server, alice: FlaskClient) -> None:
    from backend.store import logs

    id = create(alice)
    assert alice.get(f"{API}/services/{id}/logs").json["logs"] == []
    with server.database.session() as session:
        for n in range(3):
            logs.add_log(session, id, "error", f"tile {n}", code="NoDataAvailable", path=["load"])
    first = alice.get(f"{API}/services/{id}/logs?limit=2").json
    assert [e["message"] for e in first["logs"]] == ["tile 0", "tile 1"] and first["level"] == "info"
    rest = alice.get(f"{API}/services/{id}/logs?offset={first['logs'][-1]['id']}").json
    assert [e["message"] for e in rest["logs"]] == ["tile 2"]
    alice.delete(f"{API}/services/{id}")
    with server.database.session(read_only=True) as session:
        assert logs.logs(session, id) == []


def test_tiles_need_no_login(server: Server, alice: FlaskClient) -> None:
    id = create(alice, configuration={"maxzoom": 18})
    answer = server.anonymous.get(tile(alice, id, 9, 258, 187) + "?__editorSessionId=17&x=1")
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/png", b"9/258/187 256 png None")
    assert answer.headers["Access-Control-Allow-Origin"] == "*" and "max-age" in answer.headers["Cache-Control"]
    again = server.anonymous.get(tile(alice, id, 9, 258, 187), headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    head = server.anonymous.head(tile(alice, id, 9, 258, 187))
    assert head.status_code == 200 and head.content_length == len(answer.data)
    for row, found in (
        ("187@2x", b"9/258/187 512 png None"),
        ("187.jpg", b"9/258/187 256 jpeg None"),
        ("187@2x.png", b"9/258/187 512 png None"),
    ):
        assert server.anonymous.get(tile(alice, id, 9, 258, row)).data == found
    assert server.anonymous.get(tile(alice, id, 9, 258, 187) + "?TIME=2024-05-06").data.endswith(
        b"2024-05-06T10:30:00Z"
    )


def test_configured_tiles(server: Server, alice: FlaskClient) -> None:
    id = create(alice, configuration={"tile_size": 512, "format": "jpeg"})
    answer = server.anonymous.get(tile(alice, id, 9, 258, 187))
    assert (answer.mimetype, answer.data) == ("image/jpeg", b"9/258/187 512 jpeg None")


def test_tiles_that_are_not_there(server: Server, alice: FlaskClient) -> None:
    id = create(alice, configuration={"minzoom": 5, "maxzoom": 10})
    get = server.anonymous.get
    for z, x, y in ((4, 1, 1), (11, 1, 1), (5, 32, 0), (5, 0, 32), (5, 0, 999_999_999)):
        assert code(get(tile(alice, id, z, x, y))) == (404, "TileOutOfRange")
    for row in ("x", "-1", "1.gif", "1@3x", "1%00", "9" * 50):
        assert get(tile(alice, id, 5, 1, row)).status_code == 404
    assert code(get(tile(alice, id, 5, 1, 1) + "?time=2030-01-01")) == (400, "InvalidParameterValue")


def test_the_address_is_the_key(server: Server, alice: FlaskClient, caplog: Any) -> None:
    id = create(alice)
    good = tile(alice, id, 9, 258, 187)
    secret = good.split("/xyz/")[1].split("/")[0]
    assert len(secret) >= 32
    caplog.set_level("INFO")
    for wrong in (good.replace(secret, "x"), good.replace(secret, secret[:-1] + "é"), good.replace(id, create(alice))):
        assert code(server.anonymous.get(wrong)) == (404, "ServiceNotFound")
    assert server.anonymous.get(good).status_code == 200
    assert secret not in caplog.text and "/xyz/.../9/258/187" in caplog.text
    alice.patch(f"{API}/services/{id}", json={"enabled": False})
    answer = server.anonymous.get(good)
    assert code(answer) == (404, "ServiceNotFound") and "switched off" in answer.json["message"]
    alice.patch(f"{API}/services/{id}", json={"enabled": True})
    assert server.anonymous.get(good).status_code == 200
    alice.delete(f"{API}/services/{id}")
    assert server.anonymous.get(good).status_code == 404


def test_a_change_of_what_is_shown_is_counted(server: Server, alice: FlaskClient) -> None:
    id = create(alice)

    def revision() -> int:
        with server.database.session(read_only=True) as session:
            found = store.head(session, id)
        assert found is not None
        return found.revision

    alice.patch(f"{API}/services/{id}", json={"title": "x", "enabled": True})
    assert revision() == 0
    alice.patch(f"{API}/services/{id}", json={"process": PROCESS})
    alice.patch(f"{API}/services/{id}", json={"configuration": {"min": 1}})
    assert revision() == 2


def test_failures_of_the_graph(server: Server, alice: FlaskClient) -> None:
    id = create(alice)
    server.maps.error = OpenEOError("ProcessGraphComplexity", "too much; zoom in")
    assert code(server.anonymous.get(tile(alice, id, 9, 258, 187))) == (400, "ProcessGraphComplexity")
    wmts = create(alice, "WMTS")
    answer = server.anonymous.get(path(alice, wmts) + "?request=GetCapabilities")
    report = ET.fromstring(answer.data)
    assert answer.status_code == 400 and report.tag == f"{{{XML['ows']}}}ExceptionReport"
    assert report.find("ows:Exception", XML).get("exceptionCode") == "ProcessGraphComplexity"  # type: ignore[union-attr]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_wmts_capabilities(server: Server, alice: FlaskClient) -> None:
    id = create(alice, "wmts", title="Vines & <others>\x07", configuration={"minzoom": 3, "maxzoom": 12})
    service = told(alice, id)
    assert service["attributes"]["layers"] == ["result"]
    base = urlsplit(service["url"]).path
    root = ET.fromstring(server.anonymous.get(base + "?service=wmts&request=GetCapabilities").data)
    same = server.anonymous.get(urlsplit(service["attributes"]["capabilities"]).path)
    assert same.status_code == 200 and same.mimetype == "text/xml"
    layer = root.find("w:Contents/w:Layer", XML)
    assert layer is not None
    assert layer.findtext("ows:Title", None, XML) == "Vines & <others>"
    assert layer.findtext("ows:Identifier", None, XML) == "result"
    corners = [
        float(v)
        for n in ("Lower", "Upper")
        for v in layer.findtext(f"ows:WGS84BoundingBox/ows:{n}Corner", "", XML).split()
    ]
    assert corners == pytest.approx([1, 43, 2, 44], abs=1e-6)
    dimension = layer.find("w:Dimension", XML)
    assert dimension is not None and dimension.findtext("ows:Identifier", None, XML) == "TIME"
    assert [v.text for v in dimension.findall("w:Value", XML)] == ["2024-05-01", "2024-05-06"]
    matrices = root.findall("w:Contents/w:TileMatrixSet/w:TileMatrix", XML)
    assert [m.findtext("ows:Identifier", None, XML) for m in matrices] == [str(z) for z in range(3, 13)]
    assert float(matrices[0].findtext("w:ScaleDenominator", "", XML)) == pytest.approx(559082264.0287178 / 8)
    limit = layer.findall("w:TileMatrixSetLink/w:TileMatrixSetLimits/w:TileMatrixLimits", XML)[9 - 3]
    assert [limit.findtext(f"w:{n}", None, XML) for n in ("TileMatrix", "MinTileCol", "MaxTileCol")] == [
        "9",
        "257",
        "258",
    ]
    template = layer.find("w:ResourceURL[@format='image/png']", XML).get("template")  # type: ignore[union-attr]
    url = template.format(
        Style="default", TIME="2024-05-06", TileMatrixSet="WebMercatorQuad", TileMatrix=9, TileRow=187, TileCol=258
    )  # type: ignore[union-attr]
    assert server.anonymous.get(urlsplit(url).path).data == b"9/258/187 256 png 2024-05-06T10:30:00Z"
    server.maps.times = ()
    root = ET.fromstring(server.anonymous.get(base).data)
    layer = root.find("w:Contents/w:Layer", XML)
    assert layer is not None and layer.find("w:Dimension", XML) is None
    template = layer.find("w:ResourceURL[@format='image/jpeg']", XML).get("template")  # type: ignore[union-attr]
    url = template.format(Style="default", TileMatrixSet="WebMercatorQuad", TileMatrix=9, TileRow=187, TileCol=258)  # type: ignore[union-attr]
    assert server.anonymous.get(urlsplit(url).path).data == b"9/258/187 256 jpeg None"


def test_wmts_tiles(server: Server, alice: FlaskClient) -> None:
    base = path(alice, create(alice, "WMTS"))
    asked = {"SERVICE": "WMTS", "REQUEST": "GetTile", "VERSION": "1.0.0", "LAYER": "result", "STYLE": "default",
             "FORMAT": "image/png", "TileMatrixSet": "WebMercatorQuad", "TileMatrix": "9", "TileRow": "187",
             "TileCol": "258"}  # fmt: skip
    get = server.anonymous.get
    assert get(base, query_string=asked).data == b"9/258/187 256 png None"
    assert get(base, query_string={k.lower(): v for k, v in asked.items()} | {"time": "2024-05-01"}).data.endswith(
        b"01T10:30:00Z"
    )
    assert (
        get(base, query_string=asked | {"TileMatrixSet": "EPSG:3857", "TileMatrix": "EPSG:3857:9"}).status_code == 200
    )
    for change, expected in (
        ({"LAYER": "other"}, "InvalidParameterValue"),
        ({"TileMatrixSet": "WGS84"}, "InvalidParameterValue"),
        ({"TileRow": "-1"}, "InvalidParameterValue"),
        ({"TileRow": "x"}, "InvalidParameterValue"),
        ({"TileRow": "100000"}, "TileOutOfRange"),
        ({"TileCol": ""}, "MissingParameterValue"),
        ({"FORMAT": "image/gif"}, "InvalidParameterValue"),
        ({"TIME": "1999"}, "InvalidParameterValue"),
        ({"REQUEST": "GetFeatureInfo"}, "OperationNotSupported"),
        ({"SERVICE": "WMS"}, "InvalidParameterValue"),
    ):
        answer = get(base, query_string=asked | change)
        exception = ET.fromstring(answer.data).find("ows:Exception", XML)
        assert exception is not None and exception.get("exceptionCode") == expected and answer.status_code >= 400
    assert ET.fromstring(get(base + "wrong").data).tag.endswith("ExceptionReport")


def test_tiles_are_not_among_the_endpoints(server: Server) -> None:
    listed = {e["path"]: e["methods"] for e in server.anonymous.get(f"{API}/").json["endpoints"]}
    assert listed["/services"] == ["GET", "POST"]
    assert listed["/services/{service_id}"] == ["DELETE", "GET", "PATCH"]
    assert listed["/services/{service_id}/logs"] == ["GET"]
    assert not [p for p in listed if "secret" in p]
