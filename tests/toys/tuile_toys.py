"""Processes for tests of workers: slow, wasteful and fatal ones, and a chain. A plug-in of `tests.workers`."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac

from processes import blocks, cube
from processes.env import Env
from processes.errors import ProcessError
from processes.registry import process
from processes.stages import ProductChain, Task, chain, make_stage, run_stage

HERE = Path(__file__).parent
SIDE = 64  # pixels of a block


def _spec(name: str, *parameters: str) -> Path:
    """A definition with untyped optional parameters, written beside the plug-in's metadata."""
    path = Path(os.environ["TUILE_TEST_TOYS"]) / f"{name}.json"
    if not path.exists():
        listed = [{"name": p, "description": p, "schema": {}, "optional": True} for p in parameters]
        body = {"id": name, "description": name, "parameters": listed, "returns": {"schema": {}}}
        hidden = path.with_suffix(f".{os.getpid()}")
        hidden.write_text(json.dumps(body))
        hidden.rename(path)
    return path


def _slow(where: Any, seconds: float) -> np.ndarray:
    time.sleep(seconds)
    return np.ones([b - a for a, b in where], "f4")


@process(spec=_spec("toy_cube", "count", "seconds"))
def toy_cube(count: int = 4, seconds: float = 0.0) -> Any:
    """A cube of ``count`` blocks in a row, each ``seconds`` slow."""
    values = blocks.from_blocks(_slow, (SIDE, SIDE * count), [[SIDE], [SIDE] * count], "f4", seconds)
    coords = {"y": -10.0 * np.arange(SIDE) - 5, "x": 10.0 * np.arange(SIDE * count) + 5}
    return cube.cube(values, ("y", "x"), coords, crs="EPSG:32631")


@process(spec=_spec("toy_fault", "how", "once"))
def toy_fault(how: str, once: str | None = None, *, env: Env | None = None) -> Any:
    """Die in one way or another; with ``once`` (a path) only if that file is not there yet."""
    if once is not None and Path(once).exists():
        return 1
    if once is not None:
        Path(once).touch()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "memory":
        raise MemoryError
    if how == "greedy":
        kept = []
        for _ in range(60):  # GiB 3 at most, should nobody stop it
            kept.append(np.ones(50 << 20, "u1"))
            time.sleep(0.02)
    if how == "deep":
        toy_fault("deep")
    if how == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/path")
    if how == "bug":
        raise ZeroDivisionError("a secret detail")
    if how == "user":
        raise ProcessError("NoDataAvailable", "There is no data there.", where="nowhere")
    return 1


@process(pure=False, spec=_spec("toy_talk", "text"))
def toy_talk(text: str, *, env: Env | None = None) -> Any:
    """Log on every level and wait until it is written."""
    assert env is not None
    for level in ("debug", "info", "warning", "error"):
        env.log(level, f"{text} {level}", code="Talk", data={"n": 1})
    return text


def _produce(task: Task, out: Path, env: Env) -> list[pystac.Item]:
    time.sleep(task.params.get("seconds", 0))
    if task.params.get("fail"):
        raise ProcessError("NoDataAvailable", "The toy has no data.")
    if fatal := task.params.get("kill_once"):
        marker = Path(f"{fatal}-{task.items[0]['id']}")
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    (out / "made.txt").write_text(str(os.getpid()))
    source = task.stac_items()[0]
    made = _item(f"{source.id}-made", value=2 * source.properties["value"])
    made.add_asset("made", pystac.Asset(str(out / "made.txt")))
    return [made]


def _item(name: str, **properties: Any) -> pystac.Item:
    return pystac.Item(name, None, None, datetime(2024, 1, 1, tzinfo=UTC), properties)


chain(ProductChain("toy_chain", "1", _produce))


@process(spec=_spec("toy_stage", "count", "params"))
def toy_stage(count: int = 3, params: dict[str, Any] | None = None, *, env: Env | None = None) -> Any:
    """Sum of what the products of ``count`` tasks of the toy chain say: 2 x (1 + ... + count)."""
    assert env is not None
    items = [_item(f"i{n}", value=n) for n in range(1, count + 1)]
    return sum(i.properties["value"] for i in run_stage(make_stage("toy_chain", items, params or {}), env))
