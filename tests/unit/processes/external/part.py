"""One process, run as the evaluator runs it."""

from __future__ import annotations

from typing import Any

from backend.graph.evaluate import Evaluator
from backend.graph.parse import parse
from backend.graph.references import Scope
from processes import registry
from processes.env import Env


def run(env: Env, process_id: str, cube: Any, /, **arguments: Any) -> Any:
    """One process of a graph on a cube, as the evaluator calls it."""
    node = {"process_id": process_id, "arguments": {"data": {"from_parameter": "cube"}, **arguments}, "result": True}
    graph = parse({"p": node}, scope=Scope(values={"cube": cube}), predefined=registry.processes())
    return Evaluator(graph, env).value("p")
