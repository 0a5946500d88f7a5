"""Our processes for `tests.bench.processes_vs_dask`, with callbacks compiled as in a request."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
from common import installed
from vs_common import EPSG, PROBABILITIES, WORKLOADS, coords, ordered, polygons, values

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
    node = {"process_id": process_id, "arguments": arguments, "result": True}
    return CompiledCallback({"n": node})


def _array(process_id, **more):
    return _callback(process_id, data={"from_parameter": "data"}, **more)


def _number(process_id, y):
    return _callback(process_id, x={"from_parameter": "x"}, y=y)


def run(workload, spec, out):
    call, cube = lambda name, *a, **k: registry.get(name).function(*a, **k), _state["cube"]
    with dask.config.set(scheduler="threads", num_workers=spec["threads"]):
        if workload == "ndvi":
            result = call("ndvi", cube, nir="B08", red="B04")
        elif workload == "add":
            result = call("apply", cube, _number("add", 1))
        elif workload == "difference":
            result = call("apply", cube, _number("normalized_difference", 0.3))
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
