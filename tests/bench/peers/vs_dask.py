"""openeo-processes-dask for `tests.bench.processes_vs_dask`, its callbacks as its executors bind them."""

from __future__ import annotations

import copy
from functools import partial

import dask
import dask.array as da
import numpy as np
import psutil
import rioxarray  # noqa: F401
import xarray as xr
from common import installed
from openeo_pg_parser_networkx.pg_schema import ParameterReference
from openeo_processes_dask.process_implementations import comparison, logic, math
from openeo_processes_dask.process_implementations.arrays import array_element, array_interpolate_linear
from openeo_processes_dask.process_implementations.core import process
from openeo_processes_dask.process_implementations.cubes import (
    aggregate_spatial,
    aggregate_temporal_period,
    apply,
    apply_dimension,
    ndvi,
    reduce_dimension,
)
from openeo_processes_dask.process_implementations.math import mean, median, quantiles
from vs_common import EPSG, NUMBERS, PROBABILITIES, WORKLOADS, coords, ordered, polygons, values

__all__ = ["WORKLOADS"]
_state = {}


def cpu_seconds():
    """Of this process and of those it started: means of polygons are shared out to processes that stay."""
    me = psutil.Process()
    used = [p.cpu_times() for p in (me, *me.children(recursive=True))]
    return sum(u.user + u.system for u in used)


def versions():
    return installed("openeo-processes-dask", "xarray", "dask", "xvec", "numpy")


def prepare(spec):
    chunks = (-1, -1, spec["block"], spec["block"])
    held = values(spec)
    for name, array in (("cube", da.from_array(held, chunks=chunks, name=False)), ("numpy", held)):
        _state[name] = xr.DataArray(array, coords(spec), ["t", "bands", "y", "x"]).rio.write_crs(EPSG)
    _state["polygons"] = polygons(spec)


def _array(function, **more):
    return partial(process(function), data=ParameterReference(from_parameter="data"), **more)


def _number(name, more):
    function = getattr(comparison if name == "gt" else math, name)
    first = "base" if name == "power" else "x"
    return partial(process(function), **{first: ParameterReference(from_parameter="x")}, **more)


def _if(x, **_):
    return logic._if(value=comparison.gt(x=x, y=0.5), accept=x, reject=0)


def _evi(data, axis=None, **_):
    """The steps of a graph one after the other, without what its executor adds to each."""
    nir, red, blue = (array_element(data=data, index=k, axis=axis) for k in (3, 2, 0))
    a, b, c = math.subtract(x=nir, y=red), math.multiply(x=red, y=6), math.multiply(x=blue, y=7.5)
    d = math.add(x=math.subtract(x=math.add(x=nir, y=b), y=c), y=1)
    return math.multiply(x=2.5, y=math.divide(x=a, y=d))


def run(workload, spec, out):
    cube = _state["cube"]
    with dask.config.set(scheduler="threads", num_workers=spec["threads"]):
        if workload == "ndvi":
            result = ndvi(cube, nir="B08", red="B04")
        elif workload in NUMBERS:
            result = apply(cube, _number(*NUMBERS[workload]))
        elif workload == "if":
            result = apply(cube, _if)
        elif workload == "evi":
            result = reduce_dimension(cube, _evi, "bands")
        elif workload == "median":
            result = reduce_dimension(cube, _array(median), "t")
        elif workload == "quantiles":
            result = apply_dimension(cube, _array(quantiles, probabilities=PROBABILITIES), "t")
        elif workload == "interpolation":
            result = apply_dimension(cube.isel(bands=[0]), _array(array_interpolate_linear), "t")
        elif workload == "zonal":
            # on blocks the kernel killed it at 19 GB
            result = aggregate_spatial(_state["numpy"], copy.deepcopy(_state["polygons"]), _array(mean))
        else:
            result = aggregate_temporal_period(cube, _array(mean), "month")
        _state["result"] = result.compute()


def array(workload, spec, out):
    np.save(out / "result.npy", ordered(_state["result"]))
