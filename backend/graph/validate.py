"""Everything that is wrong with a graph, at once, without running it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from backend.errors import OpenEOError
from backend.graph.parse import Graph, Node, Problem, Size, parse
from backend.graph.references import Scope, is_callback, is_reference, walk
from processes import registry
from processes.env import Env
from processes.errors import ProcessError
from processes.extents import parse_bbox, parse_interval


def validate(
    graph: Graph, env: Env, *, namespace: Mapping[str, Any] | None = None, visible: frozenset[str] = frozenset()
) -> list[Problem]:
    """Problems of every node: unknown processes and parameters, missing and mistyped values, unknown collections,
    bands and formats, unresolved parameters; callbacks included. ``visible`` are parameters that get a value later."""
    problems: list[Problem] = []
    around = _Around(env, namespace or {}, graph.size)
    for node in graph.nodes.values():
        problems += _node(node, around, visible)
    return problems


@dataclass(frozen=True)
class _Around:
    """What all nodes of a graph share, those of its callbacks included."""

    env: Env
    namespace: Mapping[str, Any]
    size: Size


def _node(node: Node, around: _Around, visible: frozenset[str]) -> Iterator[Problem]:
    try:
        process = registry.get(node.process_id)
        spec = process.spec
    except ProcessError as error:
        yield Problem(error.code, error.message + _closest(node.process_id), node.path)
        return
    parameters = {p["name"]: p for p in spec["parameters"]}
    for name in node.arguments:
        if name not in parameters:
            yield Problem(
                "ProcessParameterUnsupported",
                f"Process '{node.process_id}' has no parameter '{name}'; it has {', '.join(parameters) or 'none'}.", node.path,
            )  # fmt: skip
    for name, parameter in parameters.items():
        if name not in node.arguments:
            if not parameter.get("optional"):
                yield Problem(
                    "ProcessParameterRequired",
                    f"Process '{node.process_id}' requires the parameter '{name}'.",
                    node.path,
                )
            continue
        yield from _argument(node, name, parameter, process, around, visible)
    if node.process_id in _CHECKS:
        yield from _CHECKS[node.process_id](node, around.env)


def _argument(node: Node, name: str, parameter: Mapping[str, Any], process: registry.Process, around: _Around,
              visible: frozenset[str]) -> Iterator[Problem]:  # fmt: skip
    value = node.arguments[name]
    for item in walk(value):
        if is_callback(item):
            yield from _callback(node, name, item, process, around, visible)
        elif is_reference(item, "from_parameter"):
            wanted = item["from_parameter"]
            if wanted not in visible and node.scope.find(wanted)[0] == "missing":
                known = f"; there are {', '.join(sorted(visible))}" if visible else ""
                yield Problem(
                    "ProcessParameterRequired", f"Parameter '{wanted}' is used but is not defined{known}.", node.path
                )
    known_value = static_value(value, node.scope)
    if known_value is UNKNOWN or (known_value is None and parameter.get("optional")):
        return
    if (reason := mismatch(process.id, name, known_value)) is not None:
        yield Problem(
            "ProcessParameterInvalid",
            f"The value passed for parameter '{name}' in process '{process.id}' is invalid: {reason}",
            node.path,
        )


def _callback(node: Node, name: str, item: Mapping[str, Any], process: registry.Process, around: _Around,
              visible: frozenset[str]) -> Iterator[Problem]:  # fmt: skip
    problems: list[Problem] = []
    inner = parse(item["process_graph"], scope=Scope(parent=node.scope), namespace=around.namespace,
                  predefined=registry.processes(), path=(*node.path, name), problems=problems, size=around.size)  # fmt: skip
    yield from problems
    declared = process.callbacks.get(name)
    names = {p["name"] for p in declared} if declared is not None else {"value"}
    if process.id in ("fit_curve", "predict_curve"):
        names |= {"x", "parameters"}
    for child in inner.nodes.values():
        yield from _node(child, around, visible | names)


UNKNOWN = object()


def static_value(value: Any, scope: Scope) -> Any:
    """An argument whose every reference is known now, else `UNKNOWN`."""
    if is_reference(value, "from_node") or is_callback(value):
        return UNKNOWN
    if is_reference(value, "from_parameter"):
        how, found, outer = scope.find(value["from_parameter"])
        if how == "value":
            return found
        return static_value(found, outer or Scope()) if how == "template" else UNKNOWN
    if isinstance(value, Mapping):
        out = {k: static_value(v, scope) for k, v in value.items()}
        return UNKNOWN if any(v is UNKNOWN for v in out.values()) else out
    if isinstance(value, list | tuple):
        items = [static_value(v, scope) for v in value]
        return UNKNOWN if any(v is UNKNOWN for v in items) else items
    return value


@lru_cache(maxsize=2048)
def _validator(process: str, parameter: str) -> Draft202012Validator | None:
    schema = next(p["schema"] for p in registry.get(process).spec["parameters"] if p["name"] == parameter)
    options = schema if isinstance(schema, list) else [schema]
    if any(o.get("subtype") in ("datacube", "process-graph") and o.get("type") != "object" for o in options):
        return None
    return Draft202012Validator({"anyOf": [_plain(o) for o in options]} if len(options) > 1 else _plain(options[0]))


def _plain(schema: Any) -> Any:
    """A schema as JSON Schema proper: openEO's ``parameters``/``returns`` of callbacks are no keywords of it."""
    if isinstance(schema, Mapping):
        return {
            k: _plain(v)
            for k, v in schema.items()
            if k not in ("parameters", "returns", "subtype", "default", "$schema", "$id")
        }
    if isinstance(schema, list):
        return [_plain(v) for v in schema]
    return schema


def mismatch(process: str, parameter: str, value: Any) -> str | None:
    """Why ``value`` does not fit the parameter's schema; None where it does."""
    validator = _validator(process, parameter)
    if validator is None:
        return None
    error = best_match(validator.iter_errors(value))
    if error is None:
        return None
    where = "".join(f"[{p!r}]" for p in error.absolute_path)
    return f"{where + ': ' if where else ''}{error.message[:300]}"


def _closest(process_id: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(process_id, registry.processes(), 1)
    return f" Did you mean '{near[0]}'?" if near else ""


def _load_collection(node: Node, env: Env) -> Iterator[Problem]:
    known = {k: static_value(v, node.scope) for k, v in node.arguments.items() if k != "properties"}
    try:
        if isinstance(box := known.get("spatial_extent"), dict) and "west" in box:
            parse_bbox(box, "spatial_extent")
        if isinstance(span := known.get("temporal_extent"), list):
            parse_interval(span, "temporal_extent")
        if not isinstance(known.get("id"), str):
            return
        meta = env.catalogue.collection(known["id"])
    except ProcessError as error:
        yield Problem(error.code, error.message, node.path)
        return
    dimensions = meta.get("cube:dimensions", {}).values()
    names = [v for d in dimensions if d.get("type") == "bands" for v in d.get("values", [])]
    listed = [*(meta.get("bands") or []), *((meta.get("summaries") or {}).get("eo:bands") or [])]
    common = {b.get("eo:common_name") or b.get("common_name") for b in listed}
    bands = known.get("bands")
    for band in bands if isinstance(bands, list) else []:
        if isinstance(band, str) and names and band not in names and band not in common:
            yield Problem("ProcessParameterInvalid", f"The value passed for parameter 'bands' in process 'load_collection' is invalid: collection '{meta['id']}' has no band '{band}'; it has {', '.join(names)}.", node.path)  # fmt: skip


def _save_result(node: Node, env: Env) -> Iterator[Problem]:
    from backend.results import formats

    name = static_value(node.arguments.get("format"), node.scope)
    known = formats()["output"]
    if isinstance(name, str) and name.lower() not in {k.lower() for k in known}:
        yield Problem(
            "FormatUnsuitable",
            f"Data can't be written as '{name}'; the formats are {', '.join(sorted(known))}.",
            node.path,
        )
    elif isinstance(name, str) and isinstance(options := static_value(node.arguments.get("options"), node.scope), dict):
        from backend.results.format import get

        try:  # before a chain works for hours
            get(name).options(options)
        except OpenEOError as error:
            yield Problem(error.code, error.message, node.path)


def _run_udf(node: Node, env: Env) -> Iterator[Problem]:
    """Whether the runtime is there; without one the code cannot run, whatever it is."""
    from processes.external.run_udf import runtimes

    known = {k: static_value(node.arguments.get(k), node.scope) for k in ("runtime", "version")}
    if not isinstance(known["runtime"], str):
        return
    try:
        runtimes(env).check(known["runtime"], known["version"] if isinstance(known["version"], str) else None)
    except ProcessError as error:
        yield Problem(error.code, error.message, node.path)


_CHECKS = {"load_collection": _load_collection, "save_result": _save_result, "run_udf": _run_udf}
