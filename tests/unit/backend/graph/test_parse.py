"""The parser: shape, cost, stored processes, and every mistake with its code and path."""

from __future__ import annotations

import time

import pytest

from backend.errors import OpenEOError
from backend.graph import parse as parse_module
from backend.graph.callbacks import CompiledCallback, Evaluator
from backend.graph.parse import parse
from backend.graph.references import Scope
from backend.graph.run import check, prepare
from processes import registry
from processes.env import Env


def call(process_id, result=False, **arguments):
    return {"process_id": process_id, "arguments": arguments, **({"result": True} if result else {})}


def node(id):
    return {"from_node": id}


def parameter(name):
    return {"from_parameter": name}


def value_of(process_graph, scope=None, namespace=None):
    graph = parse(process_graph, scope=scope, namespace=namespace, predefined=registry.processes())
    return Evaluator(graph, namespace=namespace).value(graph.result)


def test_a_long_chain_is_parsed_and_evaluated_without_recursion(monkeypatch):
    chain = {"n0": call("add", x=0, y=1)}
    for i in range(1, 6000):
        chain[f"n{i}"] = call("add", x=node(f"n{i - 1}"), y=1)
    chain["n5999"]["result"] = True
    seen: list[object] = []
    check = parse_module.check_node
    monkeypatch.setattr(parse_module, "check_node", lambda raw: seen.append(raw) or check(raw))
    parse(chain)
    assert len(seen) == 6000  # each node is looked at once
    assert value_of(chain) == 6000


def test_shared_nodes_cost_once():
    diamonds = {"p0": call("add", x=0, y=1)}
    for i in range(40):
        diamonds[f"a{i}"] = call("add", x=node(f"p{i}"), y=1)
        diamonds[f"b{i}"] = call("add", x=node(f"p{i}"), y=1)
        diamonds[f"p{i + 1}"] = call("subtract", x=node(f"a{i}"), y=node(f"b{i}"))
    diamonds["p40"]["result"] = True
    assert value_of(diamonds) == 0
    assert len(parse(diamonds).nodes) == 121


def test_the_same_graph_parsed_twice_is_equal_and_not_mutated():
    raw = {"a": call("add", x=1, y=2), "b": call("multiply", True, x=node("a"), y=node("a"))}
    copy = {k: {**v, "arguments": dict(v["arguments"])} for k, v in raw.items()}
    first, second = parse(raw), parse(raw)
    assert raw == copy
    assert first.nodes["b"].arguments == second.nodes["b"].arguments and first.order == second.order


def test_a_text_that_looks_like_a_date_stays_a_text():
    for text in ("2020-01-01", "2020", "P1Y", "12:30:00", "jb-12345678-1234-1234-1234-123456789012"):
        assert value_of({"c": call("constant", True, x=text)}) == text


@pytest.mark.parametrize(
    "graph, code, words, path",
    [
        ({}, "ProcessGraphMissing", "at least one node", ()),
        ([1], "ProcessGraphInvalid", "object", ()),
        ({"a": call("add", x=1, y=2)}, "ProcessGraphInvalid", "none has it", ()),
        ({"a": call("add", True, x=1, y=2), "b": call("add", True, x=1, y=2)}, "ProcessGraphInvalid", "2 nodes", ()),
        ({"a": call("add", True, x=node("zz"), y=2)}, "ProcessGraphInvalid", "zz", ("a",)),
        ({"a": call("add", True, x=node("b"), y=2), "b": call("add", x=node("a"), y=1)}, "ProcessGraphInvalid", "circle", None),
        ({"a": call("add", True, x=node("a"), y=2)}, "ProcessGraphInvalid", "circle", ("a",)),
        ({"a": {"arguments": {}, "result": True}}, "ProcessGraphInvalid", "process_id", ("a",)),
        ({"a": {"process_id": "a b", "arguments": {}, "result": True}}, "ProcessGraphInvalid", "process_id", ("a",)),
        ({"a": {"process_id": "add", "arguments": 3, "result": True}}, "ProcessGraphInvalid", "arguments", ("a",)),
        ({"a": "text"}, "ProcessGraphInvalid", None, ()),
    ],
)  # fmt: skip
def test_mistakes_have_a_code_and_a_path(graph, code, words, path):
    with pytest.raises(OpenEOError) as caught:
        parse(graph)
    assert caught.value.code == code
    if words:
        assert words in caught.value.message
    if path is not None:
        assert caught.value.path == path


def test_too_many_nodes():
    chain = {f"n{i}": call("add", x=1, y=1) for i in range(20)}
    chain["n19"]["result"] = True
    with pytest.raises(OpenEOError, match="ProcessGraphComplexity"):
        parse(chain, max_nodes=10)


UDPS = {
    "twice": {"parameters": [{"name": "v", "schema": {}}], "process_graph": {"m": call("multiply", True, x=parameter("v"), y=2)}},
    "twice_plus": {
        "parameters": [{"name": "v", "schema": {}}, {"name": "k", "schema": {}, "optional": True, "default": 10}],
        "process_graph": {"t": call("twice", v=parameter("v")), "s": call("add", True, x=node("t"), y=parameter("k"))},
    },
    "over": {
        "parameters": [{"name": "limit", "schema": {}}],
        "process_graph": {
            "f": call("array_filter", True, data=[1, 5, 9], condition={"process_graph": {"c": call("gt", True, x=parameter("x"), y=parameter("limit"))}})
        },
    },
    "loop": {"parameters": [], "process_graph": {"l": call("loop", True)}},
}  # fmt: skip


def test_stored_processes_are_put_in_place():
    graph = {"a": call("twice_plus", v=3), "b": call("twice_plus", True, v=node("a"), k=1)}
    assert value_of(graph, namespace=UDPS) == 33
    assert value_of({"o": call("over", True, limit=4)}, namespace=UDPS) == [5, 9]


def test_stored_processes_inside_callbacks_and_outer_parameters_in_them():
    callback = {"process_graph": {"t": call("twice_plus", True, v=parameter("x"), k=parameter("shift"))}}
    graph = {"a": call("array_apply", True, data=[1, 2, 3], process=callback)}
    assert value_of(graph, Scope(values={"shift": 5}), UDPS) == [7, 9, 11]


def test_stored_process_that_calls_itself_and_missing_parameter():
    with pytest.raises(OpenEOError, match="ProcessGraphComplexity"):
        parse({"a": call("loop", True)}, namespace=UDPS)
    with pytest.raises(OpenEOError, match="ProcessParameterRequired"):
        parse({"a": call("twice", True)}, namespace=UDPS)


def test_a_stored_process_cannot_shadow_a_predefined_one():
    shadow = {"add": {"parameters": [], "process_graph": {"c": call("constant", True, x=-1)}}}
    assert value_of({"a": call("add", True, x=1, y=2)}, namespace=shadow) == 3


def test_if_takes_one_branch_only():
    graph = {
        "bad": call("array_element", data=[], index=5),
        "i": call("if", True, value=True, accept="yes", reject=node("bad")),
    }
    assert value_of(graph) == "yes"
    graph["i"]["arguments"]["value"] = False
    with pytest.raises(OpenEOError, match="ArrayElementNotAvailable"):
        value_of(graph)


def test_a_callback_is_evaluated_afresh_at_every_call():
    callback = CompiledCallback({"m": call("max", True, data=[parameter("x"), parameter("y")])})
    assert [callback(x=a, y=b) for a, b in ((1, 2), (5, 3), (0, -1))] == [2, 5, 0]


def test_what_a_callback_tells_the_engine():
    assert CompiledCallback({"m": call("mean", True, data=parameter("data"))}).merge == ("mean", {})
    assert CompiledCallback({"m": call("median", True, data=parameter("data"))}).merge is None
    bands = {
        "a": call("array_element", data=parameter("data"), label="B08"),
        "b": call("array_element", data=parameter("data"), label="B04"),
        "d": call("subtract", True, x=node("a"), y=node("b")),
    }
    assert CompiledCallback(bands).labels_used == ("B08", "B04")
    bands["a"]["arguments"] = {"data": parameter("data"), "index": 1}
    assert CompiledCallback(bands).labels_used is None
    assert CompiledCallback({"c": call("lte", True, x=parameter("value"), y=20)}).comparison == ("<=", 20)


def stored(process_graph, *names):
    return {"process_graph": process_graph, "parameters": [{"name": n} for n in names]}


HOSTILE = {
    "calls itself twice": {"u": stored({"a": call("u", True), "b": call("u")})},
    "calls itself in a callback": {
        "u": stored({f"n{i}": call("array_apply", i == 0, data=[1], process={"process_graph": {"x": call("u", True)}})
                     for i in range(2)})
    },
    "callbacks in callbacks in callbacks": {
        f"u{i or ''}": stored({
            f"n{j}": call("array_apply", j == 0, data=[1], process={"process_graph": {"x": call(f"u{i + 1}", True)}})
            for j in range(4)
        })
        for i in range(40)
    },
    "an argument doubled at each call": {
        f"u{i or ''}": stored({"a": call(f"u{i + 1}", True, x=[parameter("x"), parameter("x")])} if i < 40
                              else {"a": call("array_concat", True, array1=parameter("x"), array2=[])}, "x")
        for i in range(41)
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_small_requests_that_unfold_without_end_are_refused_soon(name):
    arguments = {"x": 1} if "argument" in name else {}
    started = time.monotonic()
    problems = check(
        {"process_graph": {"p": call("u", True, **arguments)}}, Env(), namespace=HOSTILE[name], max_nodes=500
    )
    assert time.monotonic() - started < 10
    assert "ProcessGraphComplexity" in {p["code"] for p in problems}


@pytest.mark.parametrize("declared", ["x", {"name": "x"}, [None], [1], [{}], [{"name": ["x"]}]])
def test_parameters_of_a_process_that_are_none(declared):
    graph = {"a": call("add", True, x=1, y=2)}
    for do in (check, prepare):
        with pytest.raises(OpenEOError) as found:
            do({"process_graph": graph, "parameters": declared}, Env())
        assert found.value.code == "ProcessInvalid"
    assert check({"process_graph": graph, "parameters": None}, Env()) == []
