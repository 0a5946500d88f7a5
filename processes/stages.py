"""Chains as stages: products in, products out.

A chain maps items to items: ``produce(task, out, env) -> [Item]`` writes products into the folder ``out`` and returns
the STAC items that describe them (see ``processes/load/README.md``). `ProductChain` declares it; the graph's
evaluator turns a chain node into a `Stage`, keyed by its items, parameters and the chain's version, so that a second
request for the same is free. Where the work runs is the dispatcher's business (`processes.env.Dispatch`): here
(`run_here`) or on the workers of the chain's queue, in which case the evaluator gets `StagePending` and the job goes
on when the last task has finished.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pystac

from processes.env import Env

Produce = Callable[["Task", Path, Env], list[pystac.Item]]
Split = Callable[[Sequence[pystac.Item], Mapping[str, Any]], list["Task"]]
Bands = Callable[[Sequence[pystac.Item], Sequence[str], Sequence[str]], list[str]]


@dataclass(frozen=True)
class Task:
    """One unit of a stage: plain data, so that it travels.

    ``items`` are item dicts in the order the chain wants; ``params`` plain JSON; ``key`` names its result folder.
    """

    chain: str
    items: tuple[dict[str, Any], ...]
    params: Mapping[str, Any]
    key: str

    def stac_items(self) -> list[pystac.Item]:
        return [pystac.Item.from_dict(i) for i in self.items]


@dataclass(frozen=True)
class Stage:
    """All tasks a chain node stands for."""

    chain: str
    tasks: tuple[Task, ...]

    @property
    def key(self) -> str:
        return hashlib.sha256("".join(t.key for t in self.tasks).encode()).hexdigest()[:32]


class StagePending(Exception):
    """The stage's tasks were sent to other workers; the caller stops here and is called again when they are done."""

    def __init__(self, stage: Stage):
        super().__init__(f"stage {stage.chain} {stage.key}: {len(stage.tasks)} tasks submitted")
        self.stage = stage


@dataclass(frozen=True)
class ProductChain:
    """A chain as the stage mechanism sees it.

    Attributes
    ----------
    id : process id, e.g. ``lis_snow``
    version : changes whenever the products would; part of the key
    produce : the product function, run once per task
    split : items and parameters -> tasks; default one task per item
    queue : Celery queue (``chains``, ``superres``, ``udf``)
    bands : input items, bands of the input cube, bands of the products -> bands of the result, in order; default all of
        the products
    """

    id: str
    version: str
    produce: Produce
    split: Split | None = None
    queue: str = "chains"
    bands: Bands | None = None


CHAINS: dict[str, ProductChain] = {}


def chain(declared: ProductChain) -> ProductChain:
    """Register a chain (call at import of the chain's process module)."""
    CHAINS[declared.id] = declared
    return declared


def make_task(declared: ProductChain, items: Sequence[pystac.Item], params: Mapping[str, Any]) -> Task:
    """A task whose key covers items (ids and versions), parameters and the chain's version."""
    dicts = tuple(i.to_dict(include_self_link=False, transform_hrefs=False) for i in items)
    identity = {
        "chain": declared.id,
        "version": declared.version,
        "params": params,
        "items": [
            [
                d["id"],
                d["properties"].get("updated") or d["properties"].get("created"),
                sorted(a["href"] for a in d["assets"].values()),
            ]
            for d in dicts
        ],
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:32]
    return Task(declared.id, dicts, dict(params), key)


def make_stage(chain_id: str, items: Sequence[pystac.Item], params: Mapping[str, Any]) -> Stage:
    """The stage for a chain node. ``params`` must be plain JSON."""
    declared = CHAINS[chain_id]
    tasks = declared.split(items, params) if declared.split else [make_task(declared, [i], params) for i in items]
    return Stage(chain_id, tuple(tasks))


def folder(workspace: Path, task: Task) -> Path:
    return workspace / task.chain / task.key


def finished(workspace: Path, task: Task) -> list[pystac.Item] | None:
    """Items of a task that has been done before, else None."""
    index = folder(workspace, task) / "items.json"
    if not index.is_file():
        return None
    return [pystac.Item.from_dict(d) for d in json.loads(index.read_text())]


def run_task(workspace: Path, task: Task, env: Env) -> list[pystac.Item]:
    """Do one task unless it has been done; the result folder appears whole or not at all.

    Two workers doing the same task at once both finish; the first to rename its folder wins and the other's is dropped.
    """
    if (done := finished(workspace, task)) is not None:
        return done
    target = folder(workspace.absolute(), task)  # items tell absolute paths
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.parent / f".{task.key}.{uuid.uuid4().hex}"
    scratch.mkdir()
    try:
        items = CHAINS[task.chain].produce(task, scratch, env)
        dicts = [_moved(i.to_dict(include_self_link=False, transform_hrefs=False), scratch, target) for i in items]
        (scratch / "items.json").write_text(json.dumps(dicts))
        try:
            scratch.rename(target)
        except OSError:
            if not (target / "items.json").is_file():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return finished(workspace, task) or []


def _moved(item: dict[str, Any], scratch: Path, target: Path) -> dict[str, Any]:
    for asset in item["assets"].values():
        asset["href"] = asset["href"].replace(str(scratch), str(target))
    return item


def run_here(stage: Stage, env: Env) -> list[pystac.Item]:
    """Run a stage in this process, task after task."""
    workspace = env.workspace or Path(tempfile.mkdtemp(prefix="tuile-stage-"))
    out: list[pystac.Item] = []
    for n, task in enumerate(stage.tasks, 1):
        out += run_task(workspace, task, env)
        env.log("info", f"{stage.chain}: {n} of {len(stage.tasks)} products ready")
    return out


def run_stage(stage: Stage, env: Env) -> list[pystac.Item]:
    """Items of the stage: what is finished is taken, the rest is dispatched. May raise `StagePending`."""
    if env.workspace is not None:
        done = [finished(env.workspace, t) for t in stage.tasks]
        if all(d is not None for d in done):
            return [i for d in done if d for i in d]
    return env.dispatch.run(stage, env) if env.dispatch is not None else run_here(stage, env)
