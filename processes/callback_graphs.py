"""What can be told about a callback from its raw process graph, before anything is compiled.

Demand rules see callbacks as the user sent them: ``{"process_graph": {node: {...}}}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processes import registry

# Processes that numpy does in one pass over a block of floats.
ELEMENTARY = frozenset(
    [
        "absolute", "add", "arccos", "arcosh", "arcsin", "arctan", "arctan2", "arsinh", "artanh", "ceil", "clip", "cos",
        "cosh", "divide", "exp", "floor", "int", "ln", "multiply", "power", "sgn", "sin", "sinh", "sqrt", "subtract",
        "tan", "tanh",
    ]
)  # fmt: skip


def _nodes(callback: Any) -> Mapping[str, Any] | None:
    graph = callback.get("process_graph") if isinstance(callback, Mapping) else None
    return graph if isinstance(graph, Mapping) else None


def mergeable(callback: Any) -> bool:
    """Whether the callback is one process with a streaming accumulator (``mean``, ``max`` ...) over ``data``."""
    nodes = _nodes(callback)
    if nodes is None or len(nodes) != 1:
        return False
    (node,) = nodes.values()
    known = registry.processes().get(node.get("process_id", ""))
    arguments = node.get("arguments", {})
    return (
        known is not None
        and known.merge is not None
        and arguments.get("data") == {"from_parameter": "data"}
        and set(arguments) <= {"data", "ignore_nodata"}
    )


def labels_named(callback: Any) -> tuple[str, ...] | None:
    """Labels of ``data`` the callback looks at; None where it may look at all of them.

    Only ``array_element(data, label=...)`` says which label it wants: any other use of ``data``, an index, or the
    callback's ``context`` used as a label gives None.
    """
    nodes = _nodes(callback)
    if nodes is None:
        return None
    found: list[str] = []
    for node in nodes.values():
        arguments = node.get("arguments", {})
        if not _mentions(arguments):
            continue
        label = arguments.get("label")
        plain = node.get("process_id") == "array_element" and isinstance(label, str)
        rest = {k: v for k, v in arguments.items() if k != "data"}
        if not plain or arguments.get("data") != {"from_parameter": "data"} or _mentions(rest):
            return None
        found.append(str(label))
    return tuple(dict.fromkeys(found)) or None


def _mentions(value: Any) -> bool:
    """Whether ``data`` is used anywhere in ``value``, nested callbacks included."""
    if isinstance(value, Mapping):
        return value.get("from_parameter") == "data" or any(_mentions(v) for v in value.values())
    return isinstance(value, (list, tuple)) and any(_mentions(v) for v in value)


def elementary(callback: Any) -> bool:
    """Whether a compiled callback is one process of `ELEMENTARY`."""
    nodes = getattr(callback, "process_graph", None)
    if not isinstance(nodes, Mapping) or len(nodes) != 1:
        return False
    (node,) = nodes.values()
    return node.get("process_id") in ELEMENTARY
