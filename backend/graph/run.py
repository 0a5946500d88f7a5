"""The whole flow of a request, from JSON to files: parse, validate, plan, evaluate, write.

`execute` is what jobs, synchronous requests, services and ``tuile run`` call.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr

from backend.errors import OpenEOError
from backend.graph.callbacks import Namespace
from backend.graph.evaluate import evaluate
from backend.graph.parse import Graph, Problem, declared_parameters, parse
from backend.graph.plan import Plan, make_plan
from backend.graph.references import Scope
from backend.graph.validate import validate
from backend.results.asset import Asset, Progress
from processes import cube as cubes
from processes import registry
from processes.env import Env, LoadReport
from processes.errors import ProcessError
from processes.load.read import take_unreadable
from processes.save.exports import Changes
from processes.save.save_result import SaveResult


def execute(
    process: Mapping[str, Any],
    env: Env,
    out: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    namespace: Namespace | None = None,
    on_progress: Progress | None = None,
    max_nodes: int = 10_000,
    max_pixels: int | None = None,
    default_format: str | None = None,
    scheduler: str = "threads",
) -> list[Asset]:
    """Run a process graph and write what it saves into ``out``.

    Parameters
    ----------
    process
        openEO process object: ``{"process_graph": {...}}``, optionally with ``parameters``.
    env
        What the processes may ask of the service.
    out
        Existing folder for the files; on failure nothing half-written stays in it.
    parameters
        Values of the process's own parameters.
    namespace
        The user's stored processes (UDPs) by id.
    on_progress
        Called with the finished share, 0 to 1, never decreasing.
    max_nodes, max_pixels
        ``ProcessGraphComplexity`` above these.
    scheduler
        ``threads``, ``sync`` or the address of a dask.distributed scheduler.
    default_format
        Format for results without ``save_result``; None: JSON for values, netCDF for cubes.

    Returns
    -------
    One `Asset` per file, in the order saved.

    Raises
    ------
    backend.errors.OpenEOError
        For every mistake of the caller, with the node path.
    processes.stages.StagePending
        A chain's stage was sent to other workers; call again when its items are there.
    """
    ledger: list[LoadReport] = []
    plan = prepare(process, env, parameters=parameters, namespace=namespace, max_nodes=max_nodes)
    values = evaluate(plan, replace(env, ledger=ledger), namespace=namespace)
    _refuse_too_much(ledger, values, max_pixels)
    from backend.results import write_groups

    saves, steps = _written_once([_as_save(v, default_format) for v in values])
    try:
        groups = write_groups(
            saves,
            out,
            threads=env.limits.threads,
            scheduler=scheduler,
            memory_limit=env.limits.memory,
            on_progress=on_progress,
        )
    except ProcessError as error:
        raise OpenEOError.of(error) from error
    except OpenEOError as error:
        if error.code == "FormatUnsuitable" and len(plan.targets) == 1 and not error.path:
            error.path = plan.graph.nodes[plan.targets[0]].path
        raise
    for href, reason in take_unreadable().items():
        env.log("warning", f"Left out {href}: {reason}", code="StorageFailure")
    _export(env, steps, groups)
    return [asset for group in groups for asset in group]


def _written_once(saves: Sequence[SaveResult]) -> tuple[list[SaveResult], list[list[tuple[Any, ...]]]]:
    """The files to write, and for each the chains of steps done with them: one ``save_result`` may be exported twice."""
    kept: list[SaveResult] = []
    steps: list[list[tuple[Any, ...]]] = []
    for save in saves:
        for one, chains in zip(kept, steps):
            if one.data is save.data and (one.format, one.options) == (save.format, save.options):
                chains.append(save.steps)
                break
        else:
            kept.append(save)
            steps.append([save.steps])
    return kept, steps


def _export(env: Env, steps: Sequence[Sequence[tuple[Any, ...]]], groups: Sequence[Sequence[Asset]]) -> None:
    """Do what comes after writing; where it fails the request fails, and nothing stays of it."""
    try:
        for chains, files in zip(steps, groups):
            for chain in chains:
                if chain and isinstance(chain[-1], Changes):
                    env.log(
                        "warning", "stac_modify changes what is exported after it, and nothing is exported after it."
                    )
                if chain and env.exports is not None:
                    env.exports.export(chain, files)
    except BaseException as error:
        for asset in (asset for files in groups for asset in files):
            path = asset.path.parents[asset.name.count("/") - 1] if asset.folder else asset.path
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        if isinstance(error, ProcessError):
            raise OpenEOError.of(error) from error
        raise


def prepare(
    process: Mapping[str, Any],
    env: Env,
    *,
    parameters: Mapping[str, Any] | None = None,
    namespace: Namespace | None = None,
    max_nodes: int = 10_000,
) -> Plan:
    """Parse, validate and plan; raises the first problem as `OpenEOError`, with all problems in its data."""
    problems: list[Problem] = []
    graph = _parsed(process, parameters, namespace, max_nodes, problems)
    if not problems:
        problems = validate(graph, env, namespace=namespace)
    if problems:
        error = problems[0].error()
        if len(problems) > 1:
            error.message += f" ({len(problems) - 1} more problem{'s' if len(problems) > 2 else ''}; see data)"
            error.data = [p.to_json() for p in problems]
        raise error
    return make_plan(graph)


def _parsed(process: Mapping[str, Any], parameters: Mapping[str, Any] | None, namespace: Namespace | None,
            max_nodes: int, problems: list[Problem]) -> Graph:  # fmt: skip
    given = dict(parameters or {})
    for declared in declared_parameters(process):
        name = declared["name"]
        if name in given:
            continue
        if declared.get("optional") or "default" in declared:
            given[name] = declared.get("default")
        elif parameters is not None:
            problems.append(
                Problem("ProcessParameterRequired", f"The process needs a value for its parameter '{name}'.")
            )
    return parse(process.get("process_graph"), scope=Scope(values=given), namespace=namespace,
                 predefined=registry.processes(), problems=problems, max_nodes=max_nodes)  # fmt: skip


def _as_save(value: Any, default_format: str | None) -> SaveResult:
    if isinstance(value, SaveResult):
        return value
    raster = isinstance(value, xr.DataArray) and value.ndim > 0 and not cubes.dims_of(value, cubes.GEOMETRY)
    return SaveResult(value, default_format or ("netCDF" if raster else "JSON"))


def _refuse_too_much(ledger: Sequence[LoadReport], values: Sequence[Any], max_pixels: int | None) -> None:
    """Neither what is read nor what is written may be more than ``max_pixels``: few pixels resampled to millimetres, or
    a few dates to every hour of a year, keep a slot busy as long as many pixels do."""
    if max_pixels is None:
        return
    products, read = sum(len(r.items) for r in ledger), sum(r.pixels for r in ledger)
    results = [v.data if isinstance(v, SaveResult) else v for v in values]
    written = sum(c.size for c in results if isinstance(c, xr.DataArray))
    for verb, pixels, of in (("read", read, f" of {products} products"), ("write", written, "")):
        if pixels > max_pixels:
            raise OpenEOError(
                "ProcessGraphComplexity",
                f"This request {verb}s {pixels / 1e6:,.0f} million pixels{of}; a synchronous request may {verb} "
                f"{max_pixels / 1e6:,.0f} million. Run it as a batch job, or ask for less area, time or bands.",
                data={"pixels": pixels, "products": products, "limit": max_pixels},
            )


def check(
    process: Mapping[str, Any],
    env: Env,
    *,
    namespace: Namespace | None = None,
    max_nodes: int = 10_000,
) -> list[dict[str, Any]]:
    """Every problem of a graph as ``{"code", "message", "path"}``; empty where it is valid. Never raises for a bad graph."""
    problems: list[Problem] = []
    graph = _parsed(process, None, namespace, max_nodes, problems)
    declared = {p["name"] for p in declared_parameters(process)}
    found = validate(graph, env, namespace=namespace, visible=frozenset(declared))
    return [p.to_json() for p in [*problems, *found]]


def estimate(
    process: Mapping[str, Any],
    env: Env,
    *,
    parameters: Mapping[str, Any] | None = None,
    namespace: Namespace | None = None,
) -> dict[str, Any]:
    """What a run would read and write, from the index alone.

    Returns
    -------
    ``products`` (items read), ``pixels`` (values read), ``bytes_read`` (uncompressed), ``output_bytes`` (uncompressed),
    ``blocks``, ``peak_memory`` (bytes). Raises `OpenEOError` like `execute`; ``EstimateComplexity`` for chains whose
    stages have not run and for services outside.
    """
    ledger: list[LoadReport] = []
    plan = prepare(process, env, parameters=parameters, namespace=namespace)
    _nothing_outside(plan)
    values = evaluate(plan, replace(env, ledger=ledger, dispatch=_NoDispatch()), namespace=namespace)
    results = [getattr(v, "data", v) if isinstance(v, SaveResult) else v for v in values]
    output = sum(int(c.nbytes) for c in results if isinstance(c, xr.DataArray))
    return {
        "products": len({i for r in ledger for i in r.items}),
        "pixels": sum(r.pixels for r in ledger),
        "bytes_read": sum(r.bytes for r in ledger),
        "output_bytes": output,
        "blocks": sum(r.blocks for r in ledger),
        "peak_memory": max((r.block_bytes for r in ledger), default=0) * env.limits.threads,
    }


# Processes that send a whole cube elsewhere while a graph is evaluated: what they return is not known before.
OUTSIDE = frozenset({"run_udf_externally", "run_ogcapi", "run_ogcapi_externally"})


def _nothing_outside(plan: Plan) -> None:
    for node in plan.graph.nodes.values():
        if node.process_id in OUTSIDE:
            raise OpenEOError(
                "EstimateComplexity",
                f"What '{node.process_id}' returns is known once the service has been asked, which an estimate does not do.",
                path=node.path,
            )


class _NoDispatch:
    def run(self, stage: Any, env: Env) -> Any:
        raise OpenEOError(
            "EstimateComplexity",
            f"The size of the result is known once '{stage.chain}' has processed {len(stage.tasks)} products.",
            path=env.path,
        )
