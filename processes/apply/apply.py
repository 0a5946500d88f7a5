"""`apply`, `apply_dimension`: a callback on each value, or on all values along a dimension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.along import map_along
from processes.blocks import map_blocks
from processes.callback import Callback, LabeledArray
from processes.combine.dimensions import flatten_dimensions
from processes.demand import EVERYTHING, Demand, passes
from processes.env import Env
from processes.errors import ProcessError
from processes.probe import answer, callback_dtype, decode, probe_array
from processes.registry import process
from processes.slabs import in_slabs, worthwhile


@process(demand=passes)
def apply(data: xr.DataArray, process: Callback, context: Any = None) -> xr.DataArray:
    """Each value ``x`` becomes ``process(x, context)``; dimensions and labels stay."""
    dtype = callback_dtype(process, data, None, context)
    nodata = data.attrs.get("nodata")

    def values(block: np.ndarray) -> np.ndarray:
        return answer(process(x=decode(block, nodata), context=context), block.shape)

    def on_block(block: np.ndarray) -> np.ndarray:
        if worthwhile(process, block.size):
            return in_slabs(lambda place: values(block[place]), block.shape, dtype)
        return values(block)

    return without_nodata(map_blocks(on_block, data, dtype=dtype))


def _apply_to_each(
    data: xr.DataArray, process: Callback, dimension: str, target: str, context: Any, env: Env | None
) -> xr.DataArray:
    """`apply_dimension` where the target dimension has several labels."""
    apart, joined = "__values__", "__joined__"
    result = apply_dimension(data, process, dimension, apart, context=context)
    (env or Env()).log(
        "info",
        f"apply_dimension: '{target}' had {data.sizes[target]} labels; for each the {result.sizes[apart]} values computed "
        f"from '{dimension}' follow one another in '{target}'.",
    )
    result = flatten_dimensions(result, [target, apart], joined).rename({joined: target})
    result = result.assign_coords({target: list(range(result.sizes[target]))})
    order = [d for d in data.dims if d != dimension]
    kinds = {d: k for d, k in cubes.kinds(data).items() if d != dimension}
    result = cubes.like(result.transpose(*order), data, dims=kinds)
    if kinds[target] == cubes.BANDS:
        result.attrs.pop("band_info", None)
    return without_nodata(result)


def without_nodata(data: xr.DataArray) -> xr.DataArray:
    """The cube without the fill value of its source: computed values use NaN."""
    data.attrs.pop("nodata", None)
    return data


def apply_dimension_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """The dimension is taken whole; what is wanted of the others passes. Names other than t and bands are a barrier."""
    name, target = args.get("dimension"), args.get("target_dimension")
    if target not in (None, name) and target in ("t", "bands", "x", "y"):
        return {"data": EVERYTHING}
    if name == "t":
        return {"data": demand.with_(interval=None, whole=demand.whole | {name})}
    if name == "bands":
        # bands the callback does not name count too: labels stay only if as many values come out as went in
        return {"data": demand.with_(bands=None)}
    return {"data": EVERYTHING}


@process(demand=apply_dimension_demand)
def apply_dimension(
    data: xr.DataArray,
    process: Callback,
    dimension: str,
    target_dimension: str | None = None,
    context: Any = None,
    *,
    env: Env | None = None,
) -> xr.DataArray:
    """All values along ``dimension`` become the array ``process(data, context)``, along ``target_dimension``.

    Labels stay where source and target are the same dimension and the number of values is unchanged, else they are
    0, 1, 2 ... How many values come out is found on one pixel, so it may not depend on the values.

    A target dimension of one label takes the values in. If it has several, the callback is called for each of them as
    always, and what it computes replaces them: the values of the first label, then of the second, and so on. (The
    definition rules out that they stay beside the values, and that there are fewer labels than values computed; clients
    count on this order when they name the statistics of each band with rename_labels.)
    Raises ``DimensionNotAvailable``.
    """
    cubes.require(data, dimension)
    target = target_dimension if target_dimension is not None else dimension
    if target != dimension and target in data.dims:
        kind = cubes.kind_of(data, target)
        if data.sizes[target] > 1:
            return _apply_to_each(data, process, dimension, target, context, env)
        data = data.isel({target: 0}, drop=True)
    else:
        kind = cubes.kind_of(data, dimension) if target == dimension else cubes.OTHER
    labels = cubes.labels(data, dimension)
    length, dtype = probe_array(process, data, dimension, context)
    nodata = data.attrs.get("nodata")

    def on_block(block: np.ndarray) -> np.ndarray:
        values = process(data=LabeledArray(decode(block, nodata), labels, dimension), context=context)
        values = np.asarray(getattr(values, "values", values))
        if values.ndim == 0 or len(values) != length:
            raise ProcessError(
                "ProcessParameterInvalid",
                f"The callback returned {len(values) if values.ndim else 1} values for some pixels and {length} for "
                "others; apply_dimension needs the same number everywhere.",
            )
        if values.ndim == 1 and block.ndim > 1:  # the same array for every pixel
            values = values.reshape(length, *(1,) * (block.ndim - 1))
        return answer(values, (length, *block.shape[1:]))

    unchanged = target == dimension and length == len(labels)
    named = data.coords.get(dimension, labels) if unchanged else list(range(length))
    return without_nodata(map_along(on_block, data, dimension, named, kind, dtype, target=target))
