"""Our processes for `tests.bench.processes_vs_dask`, with callbacks compiled as in a request."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
from common import installed
from vs_common import EPSG, NUMBERS, PROBABILITIES, WORKLOADS, coords, ordered, polygons, values

from backend.graph.callbacks import CompiledCallback
from processes import cube as cubes
from processes import registry

__all__ = ["WORKLOADS"]
_state = {}


def versions():
    return installed("tuile", "xarray", "dask", "numpy")


def prepare(spec):
    chunks = (-1, -1, spec["block"], spec["block"])
    held = values(spec)
    for name, array in (("cube", da.from_array(held, chunks=chunks, name=False)), ("numpy", held)):
        _state[name] = cubes.cube(array, ["t", "bands", "y", "x"], coords(spec), crs=EPSG)
    _state["polygons"] = polygons(spec)


def _callback(process_id, **arguments):
    return _graph(n=(process_id, arguments))


def _graph(**nodes):
    """A callback of ``name=(process, arguments)``; the last node is the result."""
    found = {n: {"process_id": p, "arguments": a} for n, (p, a) in nodes.items()}
    found[list(nodes)[-1]]["result"] = True
    return CompiledCallback(found)


def _node(name):
    return {"from_node": name}


def _array(process_id, **more):
    return _callback(process_id, data={"from_parameter": "data"}, **more)


X = {"from_parameter": "x"}


def _number(process_id, more):
    first = "base" if process_id == "power" else "x"
    return _callback(process_id, **{first: X}, **more)


def _if():
    """x where x > 0.5, else 0."""
    return _graph(above=("gt", {"x": X, "y": 0.5}), chosen=("if", {"value": _node("above"), "accept": X, "reject": 0}))


def _evi():
    """2.5 (nir - red) / (nir + 6 red - 7.5 blue + 1)."""

    def band(k):
        return "array_element", {"data": {"from_parameter": "data"}, "index": k}

    def step(process_id, x, y):
        return process_id, {"x": x, "y": y}

    return _graph(
        nir=band(3), red=band(2), blue=band(0),
        a=step("subtract", _node("nir"), _node("red")), b=step("multiply", _node("red"), 6),
        c=step("multiply", _node("blue"), 7.5), d=step("add", _node("nir"), _node("b")),
        e=step("subtract", _node("d"), _node("c")), f=step("add", _node("e"), 1),
        g=step("divide", _node("a"), _node("f")), h=step("multiply", 2.5, _node("g")),
    )  # fmt: skip


def run(workload, spec, out):
    call, cube = lambda name, *a, **k: registry.get(name).function(*a, **k), _state["cube"]
    with dask.config.set(scheduler="threads", num_workers=spec["threads"]):
        if workload == "ndvi":
            result = call("ndvi", cube, nir="B08", red="B04")
        elif workload in NUMBERS:
            result = call("apply", cube, _number(*NUMBERS[workload]))
        elif workload == "if":
            result = call("apply", cube, _if())
        elif workload == "evi":
            result = call("reduce_dimension", cube, _evi(), "bands")
        elif workload == "median":
            result = call("reduce_dimension", cube, _array("median"), "t")
        elif workload == "quantiles":
            result = call("apply_dimension", cube, _array("quantiles", probabilities=PROBABILITIES), "t")
        elif workload == "interpolation":
            result = call("apply_dimension", cube.isel(bands=[0]), _array("array_interpolate_linear"), "t")
        elif workload == "zonal":
            result = call("aggregate_spatial", _state["numpy"], _state["polygons"], _array("mean"))
        else:
            result = call("aggregate_temporal_period", cube, "month", _array("mean"))
        _state["result"] = result.compute()


def array(workload, spec, out):
    np.save(out / "result.npy", ordered(_state["result"]))
