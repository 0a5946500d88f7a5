"""The plan: which nodes run, which are the same, and what each load needs to read.

Three passes over the graph, each linear: drop what no result needs, merge equal sub-graphs, push demands from the
results back to the loads (see `processes.demand`). A process without a demand rule is a barrier.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx

from backend.graph.parse import Graph, Node, renamed
from backend.graph.references import Scope, is_callback, is_reference, references_in
from backend.graph.validate import UNKNOWN, static_value
from processes import registry
from processes.demand import EVERYTHING, Demand, carried
from processes.errors import ProcessError
from processes.extents import box_in

# Processes whose effect is wanted even when no result reads them.
EFFECTS = ("save_result", "export_workspace", "export_collection", "inspect", "save_ml_model")
BARRIER = EVERYTHING.with_(whole=frozenset({"*"}))


@dataclass(frozen=True)
class Plan:
    """What will be evaluated.

    Attributes
    ----------
    graph : the nodes that are needed, equal ones merged
    targets : ids of the nodes whose values are results, in order
    demands : node id -> what is wanted of its output
    """

    graph: Graph
    targets: tuple[str, ...]
    demands: Mapping[str, Demand]


def make_plan(graph: Graph, wanted: Demand = EVERYTHING) -> Plan:
    """Plan a valid graph, of whose results ``wanted`` is looked at."""
    targets = [
        id for id, n in graph.nodes.items() if n.process_id in EFFECTS and not any(True for _ in graph.G.successors(id))
    ]
    if graph.result is not None and graph.result not in targets:
        targets.append(graph.result)
    needed = set(targets).union(*(nx.ancestors(graph.G, t) for t in targets)) if targets else set()
    same = _equal_nodes(graph, needed)
    scopes: dict[int, Scope] = {}
    kept = {id: renamed(graph.nodes[id], same, scopes) for id in graph.order if id in needed and same[id] == id}
    edges = nx.DiGraph()
    edges.add_nodes_from(kept)
    edges.add_edges_from((reference, id) for id, node in kept.items() for reference in node.references)
    reduced = Graph(kept, same.get(graph.result, graph.result) if graph.result else None, edges)
    results = tuple(dict.fromkeys(same[t] for t in targets))
    return Plan(reduced, results, _push_down(reduced, results, wanted))


def restricted(plan: Plan, demand: Demand) -> Plan:
    """The plan for a part of its results only: what ``demand`` leaves out of them need not be computed."""
    return Plan(plan.graph, plan.targets, _push_down(plan.graph, plan.targets, demand))


def _equal_nodes(graph: Graph, needed: set[str]) -> dict[str, str]:
    """Nodes that call the same pure process with the same arguments, by structural hash."""
    first: dict[str, str] = {}
    same: dict[str, str] = {}
    for id in graph.order:
        if id not in needed:
            continue
        node = graph.nodes[id]
        pure = node.process_id not in EFFECTS and registry.get(node.process_id).pure
        if not pure:
            same[id] = id
            continue
        digest = hashlib.sha256(json.dumps([node.process_id, _identity(dict(node.arguments), node, same)], sort_keys=True, default=repr).encode()).hexdigest()  # fmt: skip
        same[id] = first.setdefault(digest, id)
    return same


def _identity(value: Any, node: Node, same: Mapping[str, str]) -> Any:
    if is_reference(value, "from_node"):
        return {"from_node": same.get(value["from_node"], value["from_node"])}
    if is_callback(value) or is_reference(value, "from_parameter"):
        known = static_value(value, node.scope)
        if known is not UNKNOWN:
            return {"value": known}
        return {
            "raw": value,
            "refs": [same.get(r, r) for r in references_in(value, node.scope)],
            "scope": id(node.scope),
        }
    if isinstance(value, Mapping):
        return {k: _identity(v, node, same) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_identity(v, node, same) for v in value]
    return value


def _push_down(graph: Graph, targets: Sequence[str], looked_at: Demand) -> dict[str, Demand]:
    demands: dict[str, Demand] = dict.fromkeys(targets, looked_at)
    for id in reversed(graph.order):
        if id not in demands:  # belongs to another result than these
            continue
        node = graph.nodes[id]
        rule = registry.get(node.process_id).demand
        wanted = rule(known_arguments(node), demands[id]) if rule else {}
        for name, argument in node.arguments.items():
            for reference in references_in(argument, node.scope):
                demand = carried(node.process_id, demands[id], wanted.get(name, BARRIER))
                demands[reference] = either(demands[reference], demand) if reference in demands else demand
    return demands


def known_arguments(node: Node) -> dict[str, Any]:
    """Arguments for a demand rule: what is known now as values, the rest (node references, callbacks) as written."""
    out = {}
    for name, template in node.arguments.items():
        value = static_value(template, node.scope)
        out[name] = template if value is UNKNOWN else value
    return out


def either(a: Demand, b: Demand) -> Demand:
    """What two consumers want together: the weaker constraint of each kind."""
    box = None
    if a.box is not None and b.box is not None:
        box = a.box
        if a.box != b.box:
            try:
                w, s, e, n = box_in(b.box, a.box[4])
                box = (
                    (min(a.box[0], w), min(a.box[1], s), max(a.box[2], e), max(a.box[3], n), a.box[4])
                    if a.box[0] <= a.box[2]
                    else None
                )
            except ProcessError:
                box = None
    interval = None
    if a.interval is not None and b.interval is not None:
        starts, ends = (a.interval[0], b.interval[0]), (a.interval[1], b.interval[1])
        interval = (None if None in starts else min(starts), None if None in ends else max(ends))  # type: ignore[type-var]
    bands = None if a.bands is None or b.bands is None else tuple(dict.fromkeys((*a.bands, *b.bands)))
    return Demand(
        box=box, geometries=a.geometries if a.geometries == b.geometries else None, buffer=max(a.buffer, b.buffer),
        interval=interval, bands=bands, whole=a.whole | b.whole, picture=a.picture and b.picture,
        view=a.view if a.view == b.view else None,
    )  # fmt: skip
