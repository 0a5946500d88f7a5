"""`reduce_dimension` and `reduce_spatial`: an array of values becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from processes import cube as cubes
from processes.blocks import reduce_blocks
from processes.callback import Callback
from processes.callback_graphs import labels_named, mergeable
from processes.demand import EVERYTHING, Demand
from processes.registry import process


def reduce_dimension_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Dimensions are known by the names a loaded cube has; any other name is a barrier.

    What is wanted of the other dimensions passes. Over ``bands`` only the bands that the reducer names are wanted.
    """
    name = args.get("dimension")
    if name == "t":
        whole = demand.whole if mergeable(args.get("reducer")) else demand.whole | {name}
        return {"data": demand.with_(interval=None, whole=whole)}
    if name == "bands":
        return {"data": demand.with_(bands=labels_named(args.get("reducer")))}
    return {"data": EVERYTHING}


@process(demand=reduce_dimension_demand)
def reduce_dimension(data: xr.DataArray, reducer: Callback, dimension: str, context: Any = None) -> xr.DataArray:
    """The cube without ``dimension``, whose values ``reducer(data, context)`` has turned into one per pixel.

    Mergeable reducers stream over the chunks of the dimension. Raises ``DimensionNotAvailable``.
    """
    cubes.require(data, dimension)
    return reduce_blocks(data, reducer, dimension, context=context)


def whole_area(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Every pixel of the input counts, at its own resolution; dates and bands pass."""
    return {"data": demand.with_(box=None, geometries=None, buffer=0, view=None)}


@process(demand=whole_area)
def reduce_spatial(data: xr.DataArray, reducer: Callback, context: Any = None) -> xr.DataArray:
    """The cube without x and y: all pixels of an image go through ``reducer`` as one array, in no particular order.

    Mergeable reducers merge the partial results of the blocks. Raises ``DimensionMissing``.
    """
    result = reduce_blocks(data, reducer, cubes.spatial_dims(data), context=context)
    return result.drop_vars("spatial_ref", errors="ignore")
