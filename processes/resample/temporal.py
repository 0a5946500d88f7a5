"""`resample_cube_temporal`: the dates of another cube."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes import times
from processes.along import map_along
from processes.demand import EVERYTHING, Demand
from processes.errors import ProcessError, dimension_missing
from processes.probe import decode, decoded_dtype
from processes.registry import process


def resample_cube_temporal_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """The nearest date may be any; of the target only its dates count, and of those the ones wanted."""
    if args.get("dimension") not in (None, "t"):
        return {"data": EVERYTHING, "target": EVERYTHING}
    whole = demand.whole | {"t"} if args.get("valid_within") is not None else demand.whole
    return {"data": demand.with_(interval=None, whole=whole), "target": Demand(interval=demand.interval)}


@process(demand=resample_cube_temporal_demand)
def resample_cube_temporal(
    data: xr.DataArray,
    target: xr.DataArray,
    dimension: str | None = None,
    valid_within: float | None = None,
) -> xr.DataArray:
    """``data`` at the dates of ``target``: the nearest date's values, the earlier one's of a tie.

    With ``valid_within`` (days) each pixel takes its nearest valid value less than so many days away, else nodata.
    Raises ``DimensionNotAvailable``, ``DimensionMismatch``.
    """
    if dimension is not None:
        for side in (data, target):
            if dimension not in side.dims:
                raise dimension_missing(dimension, side.dims)
            if cubes.kind_of(side, dimension) != cubes.TEMPORAL:
                raise ProcessError("DimensionMismatch", f"Dimension '{dimension}' is not temporal in both cubes.")
        names = [dimension]
    else:
        common = cubes.dims_of(target, cubes.TEMPORAL)
        names = [d for d in cubes.dims_of(data, cubes.TEMPORAL) if d in common]
        if not names:
            raise ProcessError("DimensionMismatch", "The cubes have no temporal dimension of the same name.")
    for name in names:
        data = _resampled(data, target, name, valid_within)
    return data


def _resampled(data: xr.DataArray, target: xr.DataArray, name: str, valid_within: float | None) -> xr.DataArray:
    own, wanted = times.instants_of(data, name).astype("i8"), times.instants_of(target, name).astype("i8")
    coordinate = target.coords[name].values if name in target.coords else np.arange(target.sizes[name])
    if valid_within is None:
        if not len(own):
            raise ProcessError("DimensionMismatch", f"Dimension '{name}' of the data has no labels to choose from.")
        index = np.array([_order(own, t)[0] for t in wanted], int)
        return data.isel({name: index}).assign_coords({name: coordinate})
    limit = valid_within * 86400e9
    candidates = [[int(i) for i in _order(own, t) if abs(own[i] - t) < limit] for t in wanted]
    nodata = data.attrs.get("nodata")
    keeps = nodata is not None and data.dtype.kind in "iu"
    dtype = data.dtype
    if not keeps and dtype.kind != "f":
        dtype = np.dtype("f4" if data.dtype.itemsize <= 2 else "f8")
    fill = nodata if keeps else np.nan

    def on_block(block: np.ndarray) -> np.ndarray:
        out = np.full((len(wanted), *block.shape[1:]), fill, dtype)
        valid = block != nodata if keeps else ~np.isnan(decode(block, nodata))
        for k, order in enumerate(candidates):
            open_ = np.ones(block.shape[1:], bool)
            for i in order:
                hit = open_ & valid[i]
                out[k][hit] = block[i][hit]
                open_ &= ~hit
                if not open_.any():
                    break
        return out

    result = map_along(on_block, data, name, coordinate, cubes.TEMPORAL, dtype)
    if decoded_dtype(result) != result.dtype and not keeps:
        result.attrs.pop("nodata", None)
    return result


def _order(own: np.ndarray, instant: int) -> np.ndarray:
    """Positions by distance from an instant, the earlier first where equal."""
    return np.lexsort((own, np.abs(own - instant)))
