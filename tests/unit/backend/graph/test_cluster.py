"""Requests on a dask.distributed cluster (TUILE_DASK_SCHEDULER): real workers, the same files as with threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from distributed import LocalCluster

from backend.errors import OpenEOError
from backend.graph.run import execute
from processes import blocks
from processes import cube as cubes
from processes.env import Env
from processes.errors import ProcessError


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def _reduce(data: str, process: str, dimension: str = "t") -> dict[str, Any]:
    reducer = {"r": {"process_id": process, "arguments": {"data": {"from_parameter": "data"}}, "result": True}}
    arguments = {"data": {"from_node": data}, "dimension": dimension, "reducer": {"process_graph": reducer}}
    return {"process_id": "reduce_dimension", "arguments": arguments}


def _graph(bands: list[str], last: dict[str, Any], format: str) -> dict[str, Any]:
    load = {"id": "SENTINEL2_L2A_MAJA", "spatial_extent": None, "temporal_extent": None, "bands": bands}
    save = {"data": {"from_node": "last"}, "format": format}
    return {
        "process_graph": {
            "load": {"process_id": "load_collection", "arguments": load},
            "last": last,
            "save": {"process_id": "save_result", "arguments": save, "result": True},
        }
    }


@pytest.mark.parametrize("process", ["median", "mean"])
def test_the_same_result_as_with_threads(env: Env, tmp_path: Path, address: str, process: str):
    graph = _graph(["B04", "B08"], _reduce("load", process), "COG")
    pixels, seen = [], []
    for name in ("threads", address):
        out = tmp_path / name.replace("/", "")
        out.mkdir()
        assets = execute(graph, env, out, scheduler=name, on_progress=seen.append)
        pixels.append([rasterio.open(a.path).read() for a in assets])
    assert len(pixels[0]) == len(pixels[1]) > 0
    for ours, theirs in zip(*pixels):
        np.testing.assert_array_equal(ours, theirs)
    assert seen[-1] == 1


def _pid(block: np.ndarray) -> np.ndarray:
    return np.full_like(block, os.getpid())


def _fails(block: np.ndarray) -> np.ndarray:
    raise ProcessError("ProcessParameterInvalid", "told by a worker", parameter="x")


def _cube() -> xr.DataArray:
    import dask.array as da

    return cubes.cube(da.zeros((4, 64, 64), chunks=(1, 32, 32)), ["t", "y", "x"], {"t": np.arange(4)}, crs=32631)


def test_blocks_are_computed_by_the_workers(address: str):
    found: list[int] = []
    blocks.pull(
        [blocks.map_blocks(_pid, _cube(), dtype=np.int64)],
        [lambda where, block: found.append(int(block.flat[0]))],
        scheduler=address,
    )
    assert len(found) == 16 and os.getpid() not in found


def test_equal_blocks_all_arrive(address: str):
    out = np.zeros((4, 64, 64))

    def write(where: tuple[slice, ...], block: np.ndarray) -> None:
        out[where] = block

    blocks.pull([_cube() + 1], [write], scheduler=address)
    assert (out == 1).all()


def test_an_error_in_a_worker_is_raised_here(address: str):
    with pytest.raises(ProcessError, match="told by a worker"):
        blocks.pull([blocks.map_blocks(_fails, _cube())], [lambda *_: None], scheduler=address)


def test_an_error_while_writing_stops_the_run(address: str):
    calls = []

    def write(where: tuple[slice, ...], block: np.ndarray) -> None:
        calls.append(where)
        raise OSError(28, "no space left")

    with pytest.raises(OSError, match="no space"):
        blocks.pull([blocks.map_blocks(_pid, _cube())], [write], scheduler=address)
    assert len(calls) == 1


def test_what_workers_leave_out_is_told(env: Env, tmp_path: Path, address: str, indexed: Any, log: list[Any]):
    """A file that is damaged after its ingestion: left out where that is allowed, with a warning in the job's log."""
    item = indexed.search("SENTINEL2_L2A_MAJA", limit=1)[0]
    asset = next(a for k, a in item.assets.items() if k.startswith("FRE"))
    path, held = Path(asset.href), Path(asset.href).read_bytes()
    try:
        path.write_bytes(held[: len(held) // 3])
        lenient = replace(env, limits=replace(env.limits, skip_unreadable=True))
        execute(_graph(["B04", "B08"], _reduce("load", "median"), "COG"), lenient, tmp_path, scheduler=address)
    finally:
        path.write_bytes(held)
    assert any(level == "warning" and path.name in message for level, message in log)


def test_a_scheduler_that_does_not_answer(env: Env, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("processes.cluster.CONNECT", 1.0)
    with pytest.raises(OpenEOError) as failure:
        execute(_graph(["B04"], _reduce("load", "median"), "COG"), env, tmp_path, scheduler="tcp://127.0.0.1:9")
    assert failure.value.code == "InfrastructureBusy" and "TUILE_DASK_SCHEDULER" in failure.value.message
    assert not list(tmp_path.iterdir())
