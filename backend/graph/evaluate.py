"""Evaluate a plan: call the implementations in order; cubes stay lazy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pystac

from backend.errors import OpenEOError
from backend.graph.callbacks import Evaluator, Namespace
from backend.graph.parse import Node
from backend.graph.plan import Plan
from backend.graph.references import is_reference, references_in
from backend.graph.validate import UNKNOWN, static_value
from processes import cube as cubes
from processes.demand import EVERYTHING, Demand
from processes.env import Env
from processes.extents import (
    geojson_geometries,
    geometry_bounds,
    intersect,
    intersect_intervals,
    parse_bbox,
    parse_interval,
)
from processes.filter.labels import filter_bands
from processes.load.items import item_bands
from processes.load.load_collection import cube_of_items, find_items, resolve_bands, space_of
from processes.load.source import band_info
from processes.products import made_by
from processes.stages import CHAINS, make_stage, run_stage

# What a chain's input may have passed for the chain to run on whole products.
FILTERS = ("filter_bbox", "filter_spatial", "filter_temporal", "filter_bands")


def evaluate(plan: Plan, env: Env, *, namespace: Namespace | None = None) -> list[Any]:
    """Values of the plan's targets, in order: `SaveResult`, cubes or plain values. Nothing is computed.

    Raises `OpenEOError` with the node path; `processes.stages.StagePending` when a chain's stage runs elsewhere.
    """
    evaluator = GraphEvaluator(plan, env, namespace)
    return [evaluator.value(target) for target in plan.targets]


class GraphEvaluator(Evaluator):
    """The evaluator of a whole plan: hands each node its demand, and runs chains as stages."""

    def __init__(self, plan: Plan, env: Env, namespace: Namespace | None):
        super().__init__(plan.graph, env, namespace)
        self.plan = plan
        self.service: Env = env

    def _env(self, node: Node) -> Env:
        return self.service.at(node.path, self.plan.demands.get(node.id, EVERYTHING))

    def _needed(self, node: Node) -> tuple[str, ...]:
        # a chain on whole products reads them from the archive: its input cube is never made
        return () if product_input(node, self) is not None else super()._needed(node)

    def call(self, node: Node) -> Any:
        found = product_input(node, self)
        if found is None:
            return super().call(node)
        from processes.errors import ProcessError

        load, steps, params = found
        own = _extents(load, steps)
        env = self._env(node)
        try:
            properties = self.resolve(load.arguments.get("properties") or {}, load.scope)
            collection = static_value(load.arguments["id"], load.scope)
            items = find_items(collection, own, env.at(node.path), properties)
            asked = self._bands(load, steps, collection, items)
            products = run_stage(make_stage(node.process_id, items, params), env)
            if not products:
                raise ProcessError(
                    "NoDataAvailable", f"'{node.process_id}' made no product of the {len(items)} items found."
                )
            cube = cube_of_items(products, own, env, bands=_result_bands(node.process_id, items, asked, products))
            cube.attrs["made"] = made_by(node.process_id, params, items, products, cube, clipped=own.box is not None)
            return cube
        except ProcessError as error:
            raise OpenEOError.of(error, node.path) from error

    def _bands(self, load: Node, steps: list[Node], collection: str, items: Sequence[pystac.Item]) -> list[str]:
        """Bands of the chain's input cube, by name."""
        given = self.resolve(load.arguments.get("bands"), load.scope)
        offered = {i.id: item_bands(i) for i in items}
        names = resolve_bands(given, offered, self.service.catalogue.collection(collection))
        bands = {n: next(per[n] for per in offered.values() if n in per) for n in names}
        # a cube of nothing but its bands, so that the filters choose as they would on the true one
        cube = cubes.cube(np.zeros(len(names)), ["bands"], {"bands": names}, band_info=band_info(bands))
        for step in reversed(steps):
            if step.process_id == "filter_bands":
                given = {k: self.resolve(v, step.scope) for k, v in step.arguments.items() if k != "data"}
                cube = filter_bands(cube, **{k: v for k, v in given.items() if v is not None})
        return [str(n) for n in cubes.labels(cube, "bands")]


def product_input(node: Node, evaluator: Evaluator) -> tuple[Node, list[Node], dict[str, Any]] | None:
    """``(load node, filters, parameters)`` where ``node`` is a chain on a collection that was only filtered, else None.

    The last filter comes first.

    Any other cube among its arguments (a DEM of the user's own, a mask) makes it a plain array function.
    """
    if node.process_id not in CHAINS:
        return None
    params = {}
    for name, template in node.arguments.items():
        if name == "data":
            continue
        value = static_value(template, node.scope)
        if value is UNKNOWN:
            return None
        if value is not None:
            params[name] = value
    steps: list[Node] = []
    references = list(references_in(node.arguments.get("data"), node.scope))
    while len(references) == 1:
        step = evaluator.graph.nodes[references[0]]
        if step.process_id == "load_collection":
            return step, steps, params
        if step.process_id not in FILTERS or not is_reference(step.arguments.get("data"), "from_node"):
            return None
        steps.append(step)
        references = list(references_in(step.arguments["data"], step.scope))
    return None


def _result_bands(
    chain: str, items: Sequence[pystac.Item], asked: Sequence[str], products: Sequence[pystac.Item]
) -> list[str] | None:
    rule = CHAINS[chain].bands
    if rule is None:
        return None
    return rule(items, asked, list(dict.fromkeys(b for p in products for b in item_bands(p))))


def _extents(load: Node, steps: list[Node]) -> Demand:
    """The extents of a load and the filters after it, together."""
    known = {k: static_value(load.arguments.get(k), load.scope) for k in ("spatial_extent", "temporal_extent")}
    box, _ = space_of(known["spatial_extent"])
    interval = parse_interval(known["temporal_extent"], "temporal_extent")
    for step in reversed(steps):
        arguments: Mapping[str, Any] = {
            k: static_value(v, step.scope) for k, v in step.arguments.items() if k != "data"
        }
        if step.process_id == "filter_bbox":
            box = intersect(box, parse_bbox(arguments["extent"]))
        elif step.process_id == "filter_spatial":
            bounds = geometry_bounds(geojson_geometries(arguments["geometries"]))
            box = intersect(box, (*bounds, "EPSG:4326"))
        elif step.process_id == "filter_temporal":
            interval = intersect_intervals(interval, parse_interval(arguments["extent"]))
    return Demand(box=box, interval=interval)
