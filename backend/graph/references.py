"""References inside a process graph: what points at nodes, at parameters, at callbacks; what parameters mean.

Everything here walks plain JSON without recursion where users decide the depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass
class Scope:
    """What ``from_parameter`` means for a node: values known now, or templates in the graph of an outer scope."""

    values: Mapping[str, Any] = field(default_factory=dict)
    templates: Mapping[str, Any] = field(default_factory=dict)
    outer: Scope | None = None  # the scope the templates are written in
    parent: Scope | None = None  # where names not found here are looked up

    @cached_property
    def weights(self) -> Mapping[str, int]:
        """How many JSON values each template stands for, with the templates it refers to put in."""
        return {name: weight(template, self.outer) for name, template in self.templates.items()}

    def find(self, name: str) -> tuple[str, Any, Scope | None]:
        """``("value", v, None)``, ``("template", t, its scope)`` or ``("missing", None, None)``."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return "value", scope.values[name], None
            if name in scope.templates:
                return "template", scope.templates[name], scope.outer
            scope = scope.parent
        return "missing", None, None


def is_reference(value: Any, key: str) -> bool:
    return isinstance(value, Mapping) and len(value) == 1 and isinstance(value.get(key), str)


def is_callback(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("process_graph"), Mapping)


def walk(value: Any) -> Iterator[Any]:
    """References and callbacks inside an argument (callbacks are not entered), iteratively, in reading order."""
    stack = [value]
    while stack:
        item = stack.pop()
        if is_reference(item, "from_node") or is_reference(item, "from_parameter") or is_callback(item):
            yield item
        elif isinstance(item, Mapping):
            stack.extend(reversed(list(item.values())))
        elif isinstance(item, list | tuple):
            stack.extend(reversed(item))


def references_in(value: Any, scope: Scope | None) -> Iterator[str]:
    """Node ids an argument refers to, following parameters to the templates they stand for."""
    for item in walk(value):
        if "from_node" in item:
            yield item["from_node"]
        elif "from_parameter" in item:
            if scope is not None:
                how, template, outer = scope.find(item["from_parameter"])
                if how == "template":
                    yield from references_in(template, outer)
        elif scope is not None:  # a callback: what it sees of the outer parameters
            for name in free_parameters(item["process_graph"]):
                how, template, outer = scope.find(name)
                if how == "template":
                    yield from references_in(template, outer)


def weight(value: Any, scope: Scope | None) -> int:
    """JSON values in ``value`` once templates are put in place of the parameters it refers to."""
    count, stack = 0, [value]
    while stack:
        item = stack.pop()
        count += 1
        if is_reference(item, "from_parameter"):
            name, where = item["from_parameter"], scope
            while where is not None and name not in where.templates and name not in where.values:
                where = where.parent
            count += where.weights.get(name, 0) if where is not None else 0
        elif isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return count


def free_parameters(process_graph: Mapping[str, Any]) -> set[str]:
    """Names used as ``from_parameter`` anywhere in a callback, nested callbacks included."""
    names: set[str] = set()
    stack: list[Any] = [process_graph]
    while stack:
        item = stack.pop()
        if is_reference(item, "from_parameter"):
            names.add(item["from_parameter"])
        elif isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return names


def map_references(value: Any, rename: Any) -> Any:
    if is_reference(value, "from_node"):
        return {"from_node": rename(value["from_node"])}
    if is_callback(value):
        return value
    if isinstance(value, Mapping):
        return {k: map_references(v, rename) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [map_references(v, rename) for v in value]
    return value
