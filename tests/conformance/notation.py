"""Published cases as they are meant, where only their notation is off.

The rules look at notation alone: never at a case's id, values or at what our processes answer. Each reads what has no
other reading, or nothing at all; a case that says something wrong stays wrong (see `tests.conformance.corrections`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processes import registry

# what is printed beside the figures
RULES = (
    "from_argument, as callbacks of openEO API 0.4 named it, is from_parameter; from_node where it names a node",
    "a callback under a name that the process does not have is the one callback it requires and was not given",
    "an array of {key, value} is a labelled array",
    "blanks and colons at the end of a key do not count",
)


def as_meant(process: str, source: Mapping[str, Any]) -> dict[str, Any]:
    """A case with the rules applied; what they do not concern is unchanged."""
    case = {k: _trimmed(v) for k, v in source.items()}
    case["arguments"] = _named(process, _parameters(case["arguments"]))
    if "returns" in case and _is_pairs(case["returns"]):
        case["returns"] = {"type": "labeled-array", "data": case["returns"]}
    return case


def _trimmed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k.rstrip(": ") or k: _trimmed(v) for k, v in value.items()}
    return [_trimmed(v) for v in value] if isinstance(value, list) else value


def _parameters(value: Any, nodes: frozenset[str] = frozenset()) -> Any:
    """References in today's notation; ``nodes`` are those of the callback around ``value``."""
    if isinstance(value, dict):
        if set(value) == {"from_argument"} and isinstance(value["from_argument"], str):
            name = value["from_argument"]
            return {"from_node" if name in nodes else "from_parameter": name}
        if isinstance(graph := value.get("process_graph"), dict):
            nodes = frozenset(graph)
        return {k: _parameters(v, nodes) for k, v in value.items()}
    return [_parameters(v, nodes) for v in value] if isinstance(value, list) else value


def _named(process: str, arguments: dict[str, Any]) -> dict[str, Any]:
    found = registry.get(process)
    parameters = {p["name"]: p for p in found.spec["parameters"]}
    strange = [k for k, v in arguments.items() if k not in parameters and isinstance(v, dict) and "process_graph" in v]
    missing = [k for k in found.callbacks if k not in arguments and not parameters[k].get("optional")]
    if len(strange) != 1 or len(missing) != 1:
        return arguments
    return {missing[0] if k == strange[0] else k: v for k, v in arguments.items()}


def _is_pairs(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(v, dict) and set(v) == {"key", "value"} for v in value)
    )
