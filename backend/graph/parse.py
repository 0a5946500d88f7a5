"""From JSON to a checked graph of nodes.

`openeo-pg-parser-networkx` gives the node model (its `ProcessNode`); the graph is assembled here, because the
package's own unflattening repeats shared nodes (exponential in diamonds) and recurses once per chained node. Each
node is handed over alone, references replaced by placeholders; arguments keep the values the user wrote. This is the
only module that imports the package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import networkx as nx

from backend.errors import OpenEOError
from backend.graph.declared import declared_parameters as declared_parameters
from backend.graph.references import (
    Scope,
    map_references,
    references_in,
)

# Nested callbacks and stored processes may not go deeper than this: nobody writes such a graph by hand.
MAX_DEPTH = 50
# JSON values an argument may have once the parameters of stored processes are put in: twice the same parameter in each
# of fifty calls would be 2**50.
MAX_VALUES = 1_000_000


@dataclass
class Size:
    """What a graph amounts to with its stored processes and callbacks put in; shared by all that belong to it."""

    most: int | None = None
    nodes: int = 0

    def add(self) -> bool:
        """Count a node; False if it is one too many."""
        self.nodes += 1
        return self.most is None or self.nodes <= self.most


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a graph: openEO code, message for a person, node path."""

    code: str
    message: str
    path: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "path": list(self.path)}

    def error(self) -> OpenEOError:
        where = f" (node {'/'.join(self.path)})" if self.path else ""
        return OpenEOError(self.code, self.message + where, path=self.path)


@dataclass(frozen=True)
class Node:
    """One process call. ``arguments`` are the user's, with ``from_node`` naming nodes of the same `Graph`."""

    id: str
    process_id: str
    arguments: Mapping[str, Any]
    path: tuple[str, ...]
    scope: Scope
    result: bool = False

    @cached_property
    def references(self) -> tuple[str, ...]:
        """Ids of the nodes this one reads, also through parameters bound to nodes, in order, each once."""
        found: dict[str, None] = {}
        for argument in self.arguments.values():
            for reference in references_in(argument, self.scope):
                found.setdefault(reference)
        return tuple(found)


@dataclass
class Graph:
    """Nodes by id and the networkx graph of their references (edges run from what is read to who reads it)."""

    nodes: dict[str, Node]
    result: str | None
    G: nx.DiGraph
    size: Size = field(default_factory=Size)

    @cached_property
    def order(self) -> list[str]:
        """Node ids, what is read before who reads it; stable for equal input."""
        rank = {id: n for n, id in enumerate(self.nodes)}
        return list(nx.lexicographical_topological_sort(self.G, key=rank.__getitem__))


def parse(
    process_graph: Any,
    *,
    scope: Scope | None = None,
    namespace: Mapping[str, Mapping[str, Any]] | None = None,
    predefined: Any = (),
    path: Sequence[str] = (),
    problems: list[Problem] | None = None,
    max_nodes: int | None = None,
    size: Size | None = None,
) -> Graph:
    """Parse a flat process graph.

    Parameters
    ----------
    process_graph : the JSON object ``{node id: {process_id, arguments, ...}}``
    scope : what the graph's own parameters mean
    namespace : stored processes (UDPs) by id; their nodes are put in place of the call (ids ``call/inner``)
    predefined : ids a stored process cannot shadow
    problems : collects what is wrong; without it the first problem is raised as `OpenEOError`
    max_nodes : ``ProcessGraphComplexity`` above this, counted after stored processes are put in
    size : for a callback, the size of the graph it belongs to, in place of ``max_nodes``
    """
    size = Size(max_nodes) if size is None else size
    reader = _Reader(namespace or {}, predefined, size, [] if problems is None else problems)
    graph = reader.read(process_graph, scope or Scope(), tuple(path))
    if problems is None and reader.problems:
        raise reader.problems[0].error()
    return graph


class _Reader:
    def __init__(self, namespace: Mapping[str, Any], predefined: Any, size: Size, problems: list[Problem]):
        self.namespace, self.predefined, self.size, self.problems = namespace, predefined, size, problems

    def read(self, process_graph: Any, scope: Scope, path: tuple[str, ...]) -> Graph:
        nodes: dict[str, Node] = {}
        alias: dict[str, str] = {}
        result = self._collect(process_graph, scope, path, "", nodes, alias, 0)
        graph = nx.DiGraph()
        graph.add_nodes_from(nodes)
        scopes: dict[int, Scope] = {}
        resolved = {id: renamed(node, alias, scopes) for id, node in nodes.items()}
        for id, node in resolved.items():
            for reference in node.references:
                if reference in resolved:
                    graph.add_edge(reference, id)
                else:
                    self._problem(
                        "ProcessGraphInvalid",
                        f"'{reference}' is referred to with from_node but is not a node of the process graph.",
                        node.path,
                    )
        if not nx.is_directed_acyclic_graph(graph):
            loop = [a for a, _ in nx.find_cycle(graph)]
            self._problem(
                "ProcessGraphInvalid",
                f"The nodes {' -> '.join([*loop, loop[0]])} refer to each other in a circle.",
                (*path, loop[0]),
            )
        return Graph(resolved, alias.get(result, result) if result else None, graph, self.size)

    def _collect(
        self,
        raw: Any,
        scope: Scope,
        path: tuple[str, ...],
        prefix: str,
        nodes: dict[str, Node],
        alias: dict[str, str],
        depth: int,
    ) -> str | None:
        """Add the nodes of ``raw`` under ``prefix``; id of its result node."""
        if not isinstance(raw, Mapping) or not raw:
            self._problem(
                "ProcessGraphMissing" if not raw else "ProcessGraphInvalid",
                "A process graph must be an object with at least one node.",
                path,
            )
            return None
        # a stored process adds its call to the path, a callback its node and its argument
        if depth > MAX_DEPTH or len(path) > 2 * MAX_DEPTH:
            self._problem(
                "ProcessGraphComplexity",
                f"Stored processes or callbacks call each other more than {MAX_DEPTH} deep; does one call itself?",
                path,
            )
            return None
        results = [id for id, node in raw.items() if isinstance(node, Mapping) and node.get("result") is True]
        if len(results) != 1:
            found = f"{len(results)} nodes ({', '.join(results)}) have it" if results else "none has it"
            self._problem("ProcessGraphInvalid", f"Exactly one node must have 'result': true; {found}.", path)
        for id, node in raw.items():
            if not self.size.add():
                if not any(p.code == "ProcessGraphComplexity" for p in self.problems):
                    self._problem(
                        "ProcessGraphComplexity",
                        f"The process graph has more than {self.size.most} nodes, those of stored processes and callbacks "
                        "included; split it into several jobs.",
                        path,
                    )
                break
            self._node(str(id), node, scope, path, prefix, nodes, alias, depth)
        return prefix + results[0] if results else None

    def _node(self, id: str, raw: Any, scope: Scope, path: tuple[str, ...], prefix: str, nodes: dict[str, Node], alias: dict[str, str], depth: int) -> None:  # fmt: skip
        here = (*path, id)
        if (problem := check_node(raw)) is not None:
            self._problem("ProcessGraphInvalid", problem, here)
            return
        process_id, arguments = raw["process_id"], _prefixed(raw.get("arguments") or {}, prefix)
        stored = self.namespace.get(process_id) if process_id not in self.predefined else None
        if stored is None:
            nodes[prefix + id] = Node(prefix + id, process_id, arguments, here, scope, raw.get("result") is True)
            return
        bound = dict(arguments)
        declared = declared_parameters(stored)
        for parameter in declared:
            name = parameter["name"]
            if name not in bound:
                if not parameter.get("optional") and "default" not in parameter:
                    self._problem(
                        "ProcessParameterRequired", f"Parameter '{name}' of process '{process_id}' is required.", here
                    )
                bound[name] = parameter.get("default")
        unknown = set(arguments) - {p["name"] for p in declared}
        for name in sorted(unknown):
            self._problem("ProcessParameterUnsupported", f"Process '{process_id}' has no parameter '{name}'.", here)
        inner = Scope(templates=bound, outer=scope)
        if sum(inner.weights.values()) > MAX_VALUES:
            self._problem(
                "ProcessGraphComplexity",
                f"The arguments of '{process_id}' have more than {MAX_VALUES:,} values once parameters are put in.",
                here,
            )
            return
        result = self._collect(stored.get("process_graph"), inner, here, f"{prefix}{id}/", nodes, alias, depth + 1)
        if result is not None:
            alias[prefix + id] = result

    def _problem(self, code: str, message: str, path: tuple[str, ...]) -> None:
        self.problems.append(Problem(code, message, path))


def check_node(raw: Any) -> str | None:
    """What is wrong with the shape of a node by the package's model; None where it is right."""
    from openeo_pg_parser_networkx.pg_schema import ProcessNode
    from pydantic import ValidationError

    if not isinstance(raw, Mapping):
        return "a node must be an object with 'process_id' and 'arguments'."
    arguments = raw.get("arguments")
    if not isinstance(arguments, Mapping) and arguments is not None:
        return "'arguments' must be an object."
    # Names only: the package guesses types from values (a text that looks like a date becomes one); types are checked
    # against the process definitions instead.
    placeholders = {str(name): {"from_parameter": "value"} for name in arguments or {}}
    try:
        ProcessNode.model_validate({**raw, "arguments": placeholders})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        return f"{where or 'node'}: {first['msg']}."
    return None


def _prefixed(arguments: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    """Arguments with their ``from_node`` in the names of the graph they are put into."""
    return map_references(arguments, lambda id: prefix + id) if prefix else arguments


def renamed(node: Node, alias: Mapping[str, str], scopes: dict[int, Scope]) -> Node:
    """The node with its references renamed through ``alias`` (stored processes -> result nodes, equal nodes -> one).

    ``scopes`` keeps the renamed scopes of one pass, so that nodes that shared a scope go on sharing it.
    """
    if not alias:
        return node

    def target(id: str) -> str:
        while alias.get(id, id) != id:
            id = alias[id]
        return id

    def rename(scope: Scope | None) -> Scope | None:
        if scope is None or (not scope.templates and scope.outer is None and scope.parent is None):
            return scope
        if id(scope) not in scopes:
            templates = {k: map_references(v, target) for k, v in scope.templates.items()}
            scopes[id(scope)] = Scope(scope.values, templates, rename(scope.outer), rename(scope.parent))
        return scopes[id(scope)]

    arguments = map_references(node.arguments, target)
    return Node(node.id, node.process_id, arguments, node.path, rename(node.scope) or node.scope, node.result)
