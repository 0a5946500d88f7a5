"""Tuile, in this process: what ``tuile run`` does once it has started and looked at the archive."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

import numpy as np
from common import array as common_array
from graphs import GRAPHS

from backend.catalogue import open_catalogue
from backend.graph.run import execute
from backend.settings import Settings
from processes import heap
from processes.env import Env, Limits
from processes.load import kept

WORKLOADS = ("W1", "W2", "W3", "W4")
NAMES = {"W1": "w1.tif", "W2": "w2.nc", "W3": "ours.json", "W4": "w4.png"}
_held = {}


def versions():
    return {n: metadata.version(n) for n in ("tuile", "numpy", "numba", "dask", "xarray", "rasterio")}


def prepare(spec):
    heap.prepare()  # as the processes that compute do when they start
    products = Path(spec["products"])
    state = Path(tempfile.mkdtemp(prefix="tuile-bench-"))
    atexit.register(shutil.rmtree, state, ignore_errors=True)
    catalogue = open_catalogue(Settings(archive=[products], data_dir=state))
    catalogue.ingest([products])
    _held["env"] = Env(catalogue, limits=Limits(memory=spec["memory"], threads=spec["threads"]))


def run(workload, spec, out):
    kept.allow(0)  # what the last run unpacked is forgotten: every run reads its files itself
    kept.allow_share(spec["memory"])
    written = execute({"process_graph": GRAPHS[workload](spec)}, _held["env"], out)
    (asset,) = written
    shutil.move(asset.path, out / NAMES[workload])


def array(workload, spec, out):
    if workload == "W3":
        series_of(out / NAMES["W3"], spec, out)
    else:
        common_array(workload, spec, out)


def series_of(path, spec, out):
    """The JSON of a vector cube (dims, coords, data), as ``result.npy`` (date, band, polygon)."""
    import json

    found = json.loads(path.read_text())
    values = np.array(found["data"], dtype="f8")
    order = [found["dims"].index(d) for d in ("t", "bands", "geometry")]
    np.save(out / "result.npy", values.transpose(order))
