"""Process graphs of the tests as callables: by the backend's compiler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processes import registry


class Graph:
    """A callback graph evaluated node by node, references resolved at any depth."""

    def __init__(self, process: Mapping[str, Any]):
        self.nodes: dict[str, Any] = dict(process["process_graph"])
        self.last = next(k for k, n in self.nodes.items() if n.get("result"))

    def __call__(self, **parameters: Any) -> Any:
        done: dict[str, Any] = {}

        def value(argument: Any) -> Any:
            if isinstance(argument, dict):
                if set(argument) == {"from_parameter"}:
                    return parameters[argument["from_parameter"]]
                if set(argument) == {"from_node"}:
                    return node(argument["from_node"])
                return Graph(argument) if "process_graph" in argument else {k: value(v) for k, v in argument.items()}
            return [value(v) for v in argument] if isinstance(argument, list) else argument

        def node(name: str) -> Any:
            if name not in done:
                arguments = {k: value(v) for k, v in self.nodes[name]["arguments"].items()}
                done[name] = registry.get(self.nodes[name]["process_id"]).function(**arguments)
            return done[name]

        return node(self.last)


def compile(process: Mapping[str, Any], names: list[str]) -> Any:
    """Callable of a callback graph whose parameters are called ``names``."""
    return Graph(process)
