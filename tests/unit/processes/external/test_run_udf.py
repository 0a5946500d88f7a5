"""`run_udf`: code as text, file or address; in callbacks of every kind, lazy, on any number of chunks."""

from __future__ import annotations

import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import shapely

from backend.errors import OpenEOError
from backend.graph.callbacks import CompiledCallback
from backend.graph.run import check
from processes import registry
from processes.env import Env
from processes.errors import ProcessError
from processes.external.run_udf import run_udf
from tests.unit.processes.cubes.samples import Make, box, building, computed, geojson, values
from tests.unit.processes.external.part import run
from tests.unit.processes.external.toy import Toy
from tests.unit.processes.folder import Folder

NUMPY, CHUNKED = Make(), Make("everything")
BOTH = pytest.mark.parametrize("make", [NUMPY, CHUNKED], ids=["numpy", "chunked"])
RANGE = "def apply(data, context):\n    return np.nanmax(data, axis=0) - np.nanmin(data, axis=0)\n"
SCALE = "def apply(data, context):\n    return data * context['factor'] + 1\n"
TWO = "def apply(data, context):\n    return np.stack([data.min(axis=0), data.max(axis=0)])\n"
CENTRED = "def apply(data, context):\n    return data - data.mean()\n"


@pytest.fixture
def env(tmp_path: Path) -> Env:
    return Env(udf=Toy(), files=Folder(tmp_path))


def udf(code: Any, parameter: str = "data", runtime: str = "Toy", **more: Any) -> dict[str, Any]:
    arguments = {"data": {"from_parameter": parameter}, "udf": code, "runtime": runtime, **more}
    return {"process_graph": {"u": {"process_id": "run_udf", "arguments": arguments, "result": True}}}


@BOTH
def test_reduce_dimension(make: Make, env: Env) -> None:
    v = values(holes=0)
    with building():
        lazy = run(env, "reduce_dimension", make(v), dimension="t", reducer=udf(RANGE))
    np.testing.assert_allclose(computed(lazy).values, v.max(0) - v.min(0), rtol=1e-6)
    assert lazy.dims == ("bands", "y", "x")


@BOTH
@pytest.mark.parametrize("factor", [2, 5])
def test_apply_with_the_context_of_the_udf(make: Make, env: Env, factor: int) -> None:
    v = values()
    with building():
        lazy = run(env, "apply", make(v), process=udf(SCALE, "x", context={"factor": factor}))
    np.testing.assert_allclose(computed(lazy).values, v * factor + 1, rtol=1e-6)


@BOTH
def test_context_of_the_process_reaches_the_udf(make: Make, env: Env) -> None:
    callback = udf(SCALE, "x", context={"factor": {"from_parameter": "context"}})
    v = values()
    got = computed(run(env, "apply", make(v), process=callback, context=7))
    np.testing.assert_allclose(got.values, v * 7 + 1, rtol=1e-6)


@BOTH
def test_apply_dimension_finds_the_number_of_values_by_asking(make: Make, env: Env) -> None:
    v = values(holes=0)
    with building():
        lazy = run(env, "apply_dimension", make(v), dimension="t", target_dimension="extremes", process=udf(TWO))
    assert lazy.sizes["extremes"] == 2
    np.testing.assert_array_equal(computed(lazy).values, np.stack([v.min(0), v.max(0)]))


@BOTH
def test_labels_reach_the_udf(make: Make, env: Env) -> None:
    code = "def apply(data, context):\n    return data[context['labels'].index('B2')]\n"
    v = values()
    got = computed(run(env, "reduce_dimension", make(v), dimension="bands", reducer=udf(code)))
    np.testing.assert_array_equal(got.values, v[:, 1])


@BOTH
def test_apply_neighborhood(make: Make, env: Env) -> None:
    v = values(holes=0)
    size = [{"dimension": "x", "value": 5, "unit": "px"}, {"dimension": "y", "value": 4, "unit": "px"}]
    got = computed(run(env, "apply_neighborhood", make(v), size=size, process=udf(SCALE, context={"factor": 3})))
    np.testing.assert_allclose(got.values, v * 3 + 1, rtol=1e-6)


@BOTH
def test_aggregate_temporal_and_apply_polygon(make: Make, env: Env) -> None:
    v = values(holes=0)
    intervals = [["2020-01-01", "2020-03-01"], ["2020-03-01", "2020-07-01"]]
    got = computed(run(env, "aggregate_temporal", make(v), intervals=intervals, reducer=udf(RANGE)))
    expected = np.stack([np.ptp(v[:2], axis=0), np.ptp(v[2:6], axis=0)])
    np.testing.assert_allclose(got.values, expected, rtol=1e-6)
    area = geojson(box(0, 0, 50, 40))
    got = computed(run(env, "apply_polygon", make(v), geometries=area, process=udf(CENTRED))).values
    inside = np.isfinite(got)
    np.testing.assert_allclose(got[inside], v[inside] - v[inside].mean(), atol=1e-4)


@BOTH
def test_aggregate_spatial(make: Make, env: Env) -> None:
    v = values(holes=0)
    area = geojson(shapely.box(0, 0, 1, 1), box(0, 0, 50, 40))
    got = computed(run(env, "aggregate_spatial", make(v), geometries=area, reducer=udf(RANGE)))
    part = v[..., -4:, :5]
    np.testing.assert_allclose(got.isel(geometry=-1).values, np.ptp(part, axis=(-2, -1)), rtol=1e-6)


def test_a_callback_inside_a_callback(env: Env, tmp_path: Path) -> None:
    (tmp_path / "scale.py").write_text(SCALE)
    inner = udf("scale.py", "x", context={"factor": 2})
    apply = {"process_id": "array_apply", "arguments": {"data": {"from_parameter": "data"}, "process": inner}}
    callback = {"process_graph": {"a": {**apply, "result": True}}}
    v = values()
    got = computed(run(env, "apply_dimension", CHUNKED(v), dimension="t", process=callback))
    np.testing.assert_allclose(got.values, v * 2 + 1, rtol=1e-6)


def test_code_in_an_uploaded_file_is_read_once_and_travels_with_the_callback(env: Env, tmp_path: Path) -> None:
    file = tmp_path / "code" / "range.py"
    file.parent.mkdir()
    file.write_text(RANGE)
    callback = CompiledCallback(udf("code/range.py")["process_graph"], env=env)
    file.unlink()  # nothing is read again, here or on another machine
    there = cloudpickle.loads(cloudpickle.dumps(callback))
    v = values(holes=0)
    from processes.callback import LabeledArray

    for called in (callback, there):
        np.testing.assert_allclose(called(data=LabeledArray(v)), np.ptp(v, axis=0))


def test_code_behind_an_address_goes_through_the_guard(env: Env) -> None:
    class Code(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(RANGE.encode())

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Code)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/range.py"
        v = values(holes=0)
        with pytest.raises(OpenEOError, match="AccessDenied"):
            run(env, "reduce_dimension", NUMPY(v), dimension="t", reducer=udf(url))
        allowed = replace(env, fetch_allow=(f"127.0.0.1:{server.server_port}",))
        got = run(allowed, "reduce_dimension", NUMPY(v), dimension="t", reducer=udf(url))
        np.testing.assert_allclose(got.values, np.ptp(v, axis=0))
    finally:
        server.shutdown()
        server.server_close()


def test_a_whole_cube_stays_lazy_and_is_one_task(env: Env) -> None:
    v = values(holes=0)
    with building():
        lazy = run_udf(CHUNKED(v), "def apply(c, context):\n    return c.mean('t')\n", "Toy", env=env)
    assert lazy.dims == ("bands", "y", "x")
    np.testing.assert_allclose(computed(lazy).values, v.mean(0), rtol=1e-6)
    small = replace(env, limits=replace(env.limits, memory=1000))
    with pytest.raises(ProcessError, match="apply_neighborhood"):
        run_udf(CHUNKED(v), "def apply(c, context):\n    return c\n", "Toy", env=small)


def test_plain_values(env: Env) -> None:
    assert run_udf(3, "def apply(v, context):\n    return v + 1\n", "toy", "1", env=env) == 4


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"code": RANGE, "runtime": "R"}, "InvalidRuntime"),
        ({"code": RANGE, "version": "9"}, "InvalidVersion"),
        ({"code": "missing.py"}, "FileNotFound"),
        ({"code": " "}, "ProcessParameterInvalid"),
    ],
)
def test_mistakes_are_told_before_anything_is_computed(env: Env, arguments: dict[str, Any], code: str) -> None:
    with building(), pytest.raises(OpenEOError, match=code):
        run(env, "reduce_dimension", CHUNKED(values()), dimension="t", reducer=udf(**arguments))


def test_without_a_runtime_validation_and_evaluation_say_what_to_do() -> None:
    graph = {
        "g": {"process_id": "create_data_cube", "arguments": {}},
        "r": {
            "process_id": "reduce_dimension",
            "arguments": {"data": {"from_node": "g"}, "dimension": "t", "reducer": udf(RANGE)},
            "result": True,
        },
    }
    (problem,) = check({"process_graph": graph}, Env())
    assert problem["code"] == "InvalidRuntime"
    assert "no UDF runtime installed" in problem["message"] and "run_udf_externally" in problem["message"]
    assert problem["path"] == ["r", "reducer", "u"]
    assert check({"process_graph": graph}, Env(udf=Toy())) == []
    with pytest.raises(OpenEOError, match="InvalidRuntime"):
        run(Env(), "reduce_dimension", NUMPY(values()), dimension="t", reducer=udf(RANGE))


def test_equal_calls_stay_two_calls() -> None:
    assert not registry.get("run_udf").pure
