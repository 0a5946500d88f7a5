"""`run_udf_externally`, `run_ogcapi`, `run_ogcapi_externally` against a server on this machine."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from openeo.udf import UdfData

from backend.errors import OpenEOError
from backend.graph.run import estimate
from processes import cube as cubes
from processes.env import Env
from processes.errors import ProcessError
from processes.external import ogcapi
from processes.external.ogcapi import run_ogcapi, run_ogcapi_externally
from processes.external.run_udf import run_udf_externally
from processes.external.wire import MOST_VALUES, in_memory
from tests.unit.processes.cubes.samples import Make, computed, values
from tests.unit.processes.external.part import run

INPUT = {"schema": {}, "minOccurs": 1}
INPUTS = {
    "scale": {"data": INPUT, "factor": INPUT},
    "range": {"series": INPUT},
    "slow": {"data": INPUT},
    "broken": {"data": INPUT},
    "sum": {"numbers": INPUT, "weight": {**INPUT, "minOccurs": 0}},
}


def array(cube: dict[str, Any]) -> np.ndarray:
    return np.array(cube["data"], "f8")  # null is NaN


def plain(values: np.ndarray) -> Any:
    return np.where(np.isnan(values), None, values.astype(object)).tolist()


class Service(http.server.BaseHTTPRequestHandler):
    """OGC API Processes at ``/api``, a UDF service at ``/udf``; what was sent is kept."""

    sent: list[Any]
    polls: int = 0

    def do_GET(self) -> None:
        id = self.path.removeprefix("/api/processes/")
        if id in INPUTS:
            self.answer(200, {"id": id, "version": "1", "inputs": INPUTS[id], "outputs": {"result": {"schema": {}}}})
        elif self.path == "/api/jobs/1":
            type(self).polls += 1
            state = "running" if self.polls < 3 else "successful"
            self.answer(200, {"jobID": "1", "status": state, "links": []})
        elif self.path == "/api/jobs/1/results":
            self.answer(200, {"result": {"value": 42}})
        elif self.path == "/api/jobs/2":
            self.answer(200, {"jobID": "2", "status": "failed", "message": "no more disk"})
        else:
            self.answer(404, {"type": "not-found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.sent.append((self.path, body))
        if self.path == "/udf":
            self.udf(body)
            return
        id, inputs = self.path.split("/")[-2], body["inputs"]
        if id == "scale":
            self.answer(200, {"result": {**inputs["data"], "data": plain(array(inputs["data"]) * inputs["factor"])}})
        elif id == "range":
            self.answer(200, {"result": {"value": plain(np.ptp(array(inputs["series"]), axis=0))}})
        elif id == "sum":
            self.answer(200, {"result": sum(inputs["numbers"])})
        elif id == "slow":
            self.answer(201, {"jobID": "1", "status": "accepted"}, Location="/api/jobs/1")
        else:
            self.answer(201, {"jobID": "2", "status": "accepted"}, Location="/api/jobs/2")

    def udf(self, body: dict[str, Any]) -> None:
        if not body["datacubes"]:
            self.answer(200, {"structured_data_list": [{"data": {"seen": body["structured_data_list"][0]["data"]}}]})
            return
        data = UdfData.from_dict(body)  # the data model as the Python client has it
        (cube,) = data.get_datacube_list()
        made = cube.get_array().astype(float).max(cube.get_array().dims[0]) * body["user_context"].get("factor", 1)
        dimensions = [
            {"name": d, **({"coordinates": made[d].values.tolist()} if d in made.coords else {})} for d in made.dims
        ]
        self.answer(200, {"datacubes": [{"id": "made", "data": plain(made.values), "dimensions": dimensions}]})

    def answer(self, status: int, document: Any, **headers: str) -> None:
        held = json.dumps(document).encode()
        self.send_response(status)
        for key, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(held))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(held)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Running:
    def __init__(self) -> None:
        self.handler = type("Handler", (Service,), {"sent": [], "polls": 0})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.api, self.udf = f"http://{self.host}/api", f"http://{self.host}/udf"
        self.env = Env(fetch_allow=(self.host,))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def sent(self) -> list[Any]:
        return self.handler.sent  # type: ignore[attr-defined]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(ogcapi, "POLL_FIRST_S", 0.01)
    running = Running()
    yield running
    running.server.shutdown()
    running.server.server_close()


def callback(process_id: str, parameter: str = "data", **arguments: Any) -> dict[str, Any]:
    arguments["data"] = {"from_parameter": parameter}
    return {"process_graph": {"e": {"process_id": process_id, "arguments": arguments, "result": True}}}


def test_ogcapi_on_a_cube_keeps_dimensions_labels_and_nodata(service: Running) -> None:
    v = values((2, 3, 4, 5), holes=0.3)
    got = run_ogcapi_externally(Make("everything")(v), service.api, "scale", {"factor": 3}, env=service.env)
    np.testing.assert_allclose(got.values, v * 3, rtol=1e-6)
    assert cubes.kinds(got) == cubes.kinds(Make()(v))
    assert list(got.coords["t"].values) == list(Make()(v).coords["t"].values)
    assert cubes.crs_of(got) == cubes.crs_of(Make()(v))
    (_, body) = service.sent[0]
    assert [d["name"] for d in body["inputs"]["data"]["dimensions"]] == ["t", "bands", "y", "x"]
    assert body["inputs"]["data"]["dimensions"][0]["coordinates"][0] == "2020-01-01T00:00:00Z"
    assert body["inputs"]["factor"] == 3


@pytest.mark.parametrize("chunking", ["numpy", "everything"])
def test_ogcapi_as_a_callback(service: Running, chunking: str) -> None:
    """The only input that is open gets the array; a plain list comes back as the pixels."""
    v = values((4, 1, 4, 5), holes=0)
    reducer = callback("run_ogcapi_externally", url=service.api, id="range")
    got = computed(run(service.env, "reduce_dimension", Make(chunking)(v), dimension="t", reducer=reducer))
    np.testing.assert_allclose(got.values, np.ptp(v, axis=0), rtol=1e-6)


def test_ogcapi_on_values_and_jobs(service: Running) -> None:
    assert run_ogcapi_externally([1, 2, 3], service.api + "/", "sum", {"weight": 1}, env=service.env) == 6
    assert run_ogcapi_externally(1, service.api, "slow", env=service.env) == 42
    assert service.handler.polls == 3  # type: ignore[attr-defined]
    with pytest.raises(ProcessError, match="no more disk"):
        run_ogcapi_externally(1, service.api, "broken", env=service.env)


@pytest.mark.parametrize(
    ("id", "context", "code"),
    [
        ("missing", {}, "InvalidOgcApiProcess"),
        ("../jobs", {}, "InvalidOgcApiProcess"),
        ("scale", {"wrong": 1}, "ProcessParameterInvalid.*no input wrong"),
        ("scale", {"data": 1, "factor": 2}, "ProcessParameterInvalid.*left open are none"),
        ("", {}, "ProcessParameterInvalid"),
    ],
)
def test_ogcapi_mistakes(service: Running, id: str, context: dict[str, Any], code: str) -> None:
    with pytest.raises(ProcessError, match=code):
        run_ogcapi_externally(1, service.api, id, context, env=service.env)
    assert service.sent == []


def test_ogcapi_of_the_service_itself(service: Running) -> None:
    """Its address is the operator's: it needs no other permission."""
    assert run_ogcapi([1, 2], "sum", env=Env(ogcapi=service.api)) == 3
    with pytest.raises(ProcessError, match="run_ogcapi_externally"):
        run_ogcapi([1, 2], "sum", env=Env())


def test_private_hosts_are_refused(service: Running) -> None:
    with pytest.raises(ProcessError, match="AccessDenied"):
        run_ogcapi_externally(1, service.api, "sum", env=Env())
    with pytest.raises(ProcessError, match="AccessDenied"):
        run_udf_externally(1, service.udf, env=Env())
    with pytest.raises(ProcessError, match="ProcessParameterInvalid"):
        run_udf_externally(1, "file:///etc/passwd", env=Env())
    assert service.sent == []


@pytest.mark.parametrize("chunking", ["numpy", "everything"])
def test_udf_service_as_a_callback(service: Running, chunking: str) -> None:
    v = values((4, 1, 4, 5), holes=0)
    reducer = callback("run_udf_externally", url=service.udf, context={"factor": 2})
    got = computed(run(service.env, "reduce_dimension", Make(chunking)(v), dimension="t", reducer=reducer))
    np.testing.assert_allclose(got.values, v.max(0) * 2, rtol=1e-6)
    assert service.sent[0][1]["datacubes"][0]["dimensions"][0]["name"] == "t"


def test_udf_service_on_cubes_and_values(service: Running) -> None:
    v = values((4, 1, 4, 5), holes=0)
    got = run_udf_externally(Make()(v), service.udf, env=service.env)
    assert got.dims == ("bands", "y", "x")
    np.testing.assert_allclose(got.values, v.max(0), rtol=1e-6)
    assert cubes.kinds(got) == {"bands": "bands", "y": cubes.Y, "x": cubes.X}
    assert run_udf_externally({"a": 1}, service.udf, env=service.env) == {"seen": {"a": 1}}


def test_an_estimate_asks_no_service(service: Running) -> None:
    node = {
        "process_id": "run_ogcapi_externally",
        "arguments": {"data": 1, "url": service.api, "id": "sum"},
        "result": True,
    }
    with pytest.raises(OpenEOError, match="EstimateComplexity"):
        estimate({"process_graph": {"s": node}}, service.env)
    assert service.sent == []


def test_what_is_too_large_for_a_message_says_what_to_do() -> None:
    data = Make("everything")(np.zeros((1, 1, 2001, 2000), "u1"))
    assert data.size > MOST_VALUES
    with pytest.raises(ProcessError, match="apply_neighborhood"):
        in_memory(data)
