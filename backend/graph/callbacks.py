"""Callbacks: a process graph compiled into one function over numpy blocks or scalars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from backend.errors import OpenEOError
from backend.graph.misfits import FAULTS, misfit
from backend.graph.parse import Graph, Node, parse
from backend.graph.references import Scope, free_parameters, is_callback, is_reference, references_in, walk
from backend.graph.validate import static_value
from processes import registry
from processes.env import Env, log_to_python
from processes.errors import ProcessError

_COMPARISONS = {"eq": "=", "neq": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


Namespace = Mapping[str, Mapping[str, Any]]


class Evaluator:
    """Evaluates the nodes of one graph for one set of parameter values, on demand and without recursion.

    ``if`` asks for its condition first and then, when that is one boolean, only for the branch it takes.
    """

    def __init__(self, graph: Graph, env: Env | None = None, namespace: Namespace | None = None):
        self.graph, self.env, self.namespace = graph, env, namespace
        self.values: dict[str, Any] = {}

    def value(self, wanted: str) -> Any:
        stack = [wanted]
        while stack:
            id = stack[-1]
            if id in self.values:
                stack.pop()
                continue
            node = self.graph.nodes[id]
            missing = [r for r in self._needed(node) if r not in self.values]
            if missing:
                stack.extend(reversed(missing))
            else:
                self.values[id] = self.call(node)
                stack.pop()
        return self.values[wanted]

    def _needed(self, node: Node) -> tuple[str, ...]:
        if node.process_id != "if":
            return node.references
        condition = tuple(references_in(node.arguments.get("value"), node.scope))
        if any(r not in self.values for r in condition):
            return condition
        branch = self._branch(node)
        if branch is None:
            return node.references
        return (*condition, *references_in(node.arguments.get(branch), node.scope))

    def _branch(self, node: Node) -> str | None:
        """The branch a single boolean takes; None where the condition is an array."""
        condition = self.resolve(node.arguments.get("value"), node.scope)
        if isinstance(condition, np.ndarray | xr.DataArray) and condition.ndim:
            return None
        return "accept" if condition is not None and bool(condition) else "reject"

    def call(self, node: Node) -> Any:
        """The value of a node whose inputs are there."""
        try:
            process = registry.get(node.process_id)
            arguments = node.arguments
            if node.process_id == "if" and (branch := self._branch(node)) is not None:
                return self.resolve(arguments.get(branch), node.scope)
            return self.apply(process, node, self.arguments(process, node, arguments))
        except ProcessError as error:
            raise OpenEOError.of(error, node.path) from error

    def apply(self, process: registry.Process, node: Node, arguments: dict[str, Any]) -> Any:
        """Call a process. Raises ``ProcessParameterInvalid`` where it fails for an argument of a wrong type."""
        if process.wants_env:
            arguments["env"] = self._env(node)
        try:
            return process.function(**arguments)
        except FAULTS as error:
            if (told := misfit(process, arguments)) is not None:
                raise told from error
            raise

    def _env(self, node: Node) -> Env:
        return (self.env or Env()).at(node.path)

    def arguments(self, process: registry.Process, node: Node, given: Mapping[str, Any]) -> dict[str, Any]:
        """Resolved keyword arguments; a null where the definition does not know null means "not given"."""
        out = {}
        for name, template in given.items():
            value = self.resolve(template, node.scope)
            if value is None and name in nulls_dropped(process):
                continue
            out[name] = value
        return out

    def resolve(self, template: Any, scope: Scope) -> Any:
        """A template with references replaced by values and callbacks compiled."""
        if is_reference(template, "from_node"):
            return self.values[template["from_node"]]
        if is_reference(template, "from_parameter"):
            name = template["from_parameter"]
            how, found, outer = scope.find(name)
            if how == "missing":
                raise ProcessError("ProcessParameterRequired", f"Parameter '{name}' has no value here.")
            return found if how == "value" else self.resolve(found, outer or Scope())
        if is_callback(template):
            raw = template["process_graph"]
            return CompiledCallback(raw, self._closure(raw, scope), self.env, self.namespace)
        if isinstance(template, Mapping):
            return {k: self.resolve(v, scope) for k, v in template.items()}
        if isinstance(template, list | tuple):
            return [self.resolve(v, scope) for v in template]
        return template

    def _closure(self, process_graph: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
        """Outer parameters a callback uses, by value."""
        out = {}
        for name in free_parameters(process_graph):
            how, found, outer = scope.find(name)
            if how != "missing":
                out[name] = found if how == "value" else self.resolve(found, outer or Scope())
        return out


def nulls_dropped(process: registry.Process) -> frozenset[str]:
    """Optional parameters whose definition does not allow null."""
    cached = process.__dict__.get("_nulls_dropped")
    if cached is None:
        names = {p["name"] for p in process.spec["parameters"] if p.get("optional") and not allows_null(p["schema"])}
        cached = process.__dict__["_nulls_dropped"] = frozenset(names)
    return cached


def allows_null(schema: Any) -> bool:
    options = schema if isinstance(schema, list) else [schema]
    return any(not o or o.get("type") is None or "null" in np.atleast_1d(o["type"]) for o in options)


class CompiledCallback:
    """A callback ready to be called with numpy blocks or scalars: ``callback(data=..., context=...)``.

    Parsed once; every call evaluates afresh, so it may be called any number of times with different values. Plain
    data plus function references: it travels to workers.

    Attributes
    ----------
    merge : ``(accumulator, options)`` where the callback is one mergeable reducer on its array, else None
    labels_used : labels the callback picks from its array, or None where it may look at all of them
    comparison : ``(op, value)`` where the callback is one comparison of its parameter with a constant, else None
    pointwise : whether a pixel's result depends on nothing but that pixel's values
    """

    def __init__(
        self,
        process_graph: Mapping[str, Any],
        closure: Mapping[str, Any] | None = None,
        env: Env | None = None,
        namespace: Namespace | None = None,
    ):
        self.process_graph, self.closure, self.namespace = process_graph, dict(closure or {}), namespace
        self.graph = parse(process_graph, scope=_CALL, namespace=namespace, predefined=registry.processes())
        self.env = None if env is None else _inside(env, prepared(self.graph, self.closure, env, namespace))

    def __reduce__(self) -> Any:
        # the log stays here: its sink is no plain data
        env = None if self.env is None else replace(self.env, sink=log_to_python)
        return CompiledCallback, (self.process_graph, self.closure, env, self.namespace)

    def __call__(self, **parameters: Any) -> Any:
        if self.graph.result is None:
            raise OpenEOError("ProcessGraphInvalid", "A callback must have a result node.")
        call = _CallEvaluator(self.graph, {**self.closure, **parameters}, self.env, self.namespace)
        return call.value(self.graph.result)

    @property
    def _single(self) -> Node | None:
        return next(iter(self.graph.nodes.values())) if len(self.graph.nodes) == 1 else None

    @property
    def merge(self) -> tuple[str, dict[str, Any]] | None:
        node = self._single
        if node is None or not is_reference(node.arguments.get("data"), "from_parameter"):
            return None
        if node.arguments["data"]["from_parameter"] != "data":
            return None
        options = {k: v for k, v in node.arguments.items() if k != "data"}
        if any(isinstance(v, Mapping) for v in options.values()):
            return None
        name = registry.get(node.process_id).merge
        return (name, options) if name else None

    @property
    def pointwise(self) -> bool:
        found = [registry.get(node.process_id) for node in self.graph.nodes.values()]
        return all(p.pure and p.function.__module__.startswith("processes.scalar.") for p in found)

    @property
    def labels_used(self) -> tuple[Any, ...] | None:
        labels = []
        for node in self.graph.nodes.values():
            if "data" not in free_parameters({"": dict(node.arguments)}):
                continue
            label = node.arguments.get("label")
            if node.process_id != "array_element" or label is None or isinstance(label, Mapping):
                return None
            labels.append(label)
        return tuple(dict.fromkeys(labels))

    @property
    def comparison(self) -> tuple[str, Any] | None:
        node = self._single
        if node is None or set(node.arguments) != {"x", "y"} or node.process_id not in _COMPARISONS:
            return None
        x, y = node.arguments["x"], node.arguments["y"]
        if not is_reference(x, "from_parameter") or isinstance(y, Mapping | list):
            return None
        return _COMPARISONS[node.process_id], y


_CALL = Scope()


def _inside(env: Env, texts: Mapping[str, str]) -> Env:
    """What enters blocks of the service: its log, and what runs or fetches for the user's code. Plain data but the log."""
    return Env(sink=env.sink, udf=env.udf, ogcapi=env.ogcapi, fetch_allow=env.fetch_allow, prepared=texts)


def prepared(graph: Graph, values: Mapping[str, Any], env: Env, namespace: Namespace | None) -> Mapping[str, str]:
    """Texts that the calls of a callback need (`processes.registry.Prepare`), those of callbacks inside it included.

    Asked once: a callback made inside of blocks has what the outermost was given. Raises `OpenEOError`.
    """
    if env.prepared is not None:
        return env.prepared
    texts: dict[str, str] = {}
    todo = [(graph, Scope(values=values))]
    while todo:
        inner, scope = todo.pop()
        for node in inner.nodes.values():
            around = scope if node.scope is _CALL else node.scope
            process = registry.get(node.process_id)
            if process.prepare is not None:
                known = {k: static_value(v, around) for k, v in node.arguments.items()}
                try:
                    texts.update(process.prepare(known, env))
                except ProcessError as error:
                    raise OpenEOError.of(error, (*env.path, *node.path)) from error
            for item in walk(dict(node.arguments)):
                if is_callback(item):
                    nested = parse(
                        item["process_graph"], scope=around, namespace=namespace, predefined=registry.processes()
                    )
                    todo.append((nested, around))
    return texts


class _CallEvaluator(Evaluator):
    """Evaluates a callback for one call: its parameters are the call's keywords, then the closure."""

    def __init__(self, graph: Graph, parameters: Mapping[str, Any], env: Env | None, namespace: Namespace | None):
        super().__init__(graph, env, namespace)
        self.scope = Scope(values=parameters)

    def resolve(self, template: Any, scope: Scope) -> Any:
        return super().resolve(template, self.scope if scope is _CALL else scope)
