"""`mask`: replace the pixels that another cube names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.blocks import map_blocks
from processes.demand import Demand
from processes.errors import ProcessError, parameter_invalid
from processes.probe import decode, decoded_dtype
from processes.registry import process
from processes.resample.grids import grids_of, same_grid
from processes.resample.spatial import grown
from processes.resample.warp import warp


def mask_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Area and dates are wanted of both; the mask, which may be on another grid, with a margin. Bands of the data only."""
    margin = demand.with_(bands=None, geometries=None, box=grown(demand.box), buffer=demand.buffer + 2)
    return {"data": demand, "mask": margin}


@process("mask", demand=mask_demand)
def mask_(data: xr.DataArray, mask: xr.DataArray, replacement: Any = None) -> xr.DataArray:
    """Pixels whose mask is non-zero (or true) become ``replacement``, by default nodata.

    A mask on another grid is resampled (nearest); dimensions it lacks are broadcast. Nodata in the mask masks nothing.
    Raises ``IncompatibleDataCubes``.
    """
    return replace_where(data, compatible(data, mask), replacement)


def compatible(data: xr.DataArray, mask: xr.DataArray) -> xr.DataArray:
    """The mask on the grid and in the label order of the data. Raises ``IncompatibleDataCubes``."""
    extra = [str(d) for d in mask.dims if d not in data.dims]
    if extra:
        raise ProcessError(
            "IncompatibleDataCubes",
            f"The mask has dimensions that the data lacks ({', '.join(extra)}); reduce or drop them first.",
        )
    spatial = {cubes.X, cubes.Y}
    shared = [str(d) for d in mask.dims]
    for d in shared:
        if cubes.kind_of(mask, d) != cubes.kind_of(data, d):
            raise ProcessError("IncompatibleDataCubes", f"Dimension '{d}' is of another type in the mask.")
    on_grid = [d for d in shared if cubes.kind_of(data, d) in spatial]
    if len(on_grid) == 2:
        source, target = grids_of(mask, data)
        if not same_grid(source, target):
            mask = warp(mask, source, target)
        mask = mask.assign_coords({d: data.coords[d] for d in on_grid})
    for d in shared:
        if d in on_grid and len(on_grid) == 2:
            continue
        wanted, given = cubes.labels(data, d), cubes.labels(mask, d)
        if wanted == given:
            continue
        if sorted(map(str, wanted)) != sorted(map(str, given)):
            raise ProcessError(
                "IncompatibleDataCubes", f"Dimension '{d}' has other labels in the mask than in the data."
            )
        mask = mask.isel({d: [given.index(w) for w in wanted]})
    return mask


def replace_where(data: xr.DataArray, where: xr.DataArray, replacement: Any = None) -> xr.DataArray:
    """``data`` with ``replacement`` (None: nodata) where ``where`` is true or non-zero; same dimensions."""
    dtype, value = _written(data, replacement)
    nodata, unknown = data.attrs.get("nodata"), where.attrs.get("nodata")
    decodes = data.dtype.kind in "iu" and dtype.kind == "f"

    def on_block(block: np.ndarray, mask: np.ndarray) -> np.ndarray:
        from processes.kernels.elementwise import is_set, replace

        known = decode(mask, unknown)
        hit = mask if mask.dtype == bool else is_set(known) if known.dtype.kind == "f" else known != 0
        out = decode(block, nodata) if decodes else block
        return replace(out.astype(dtype, copy=False), hit, dtype.type(value))

    result = map_blocks(on_block, data, where, dtype=dtype, join="override")
    if decodes:
        result.attrs.pop("nodata", None)
    return result


def _written(data: xr.DataArray, replacement: Any) -> tuple[np.dtype, Any]:
    """dtype that holds the data and the replacement, and the value to write."""
    if replacement is None:
        if data.dtype.kind in "iu" and data.attrs.get("nodata") is not None:
            return data.dtype, data.attrs["nodata"]
        floating = np.dtype("f4") if data.dtype.kind == "b" or data.dtype.itemsize <= 2 else np.dtype("f8")
        return (data.dtype if data.dtype.kind == "f" else floating), np.nan
    if isinstance(replacement, str) or not np.isscalar(replacement):
        raise parameter_invalid("replacement", "the cube holds numbers; give a number, a boolean or null")
    value = np.asarray(replacement)
    number = float(value)
    if data.dtype.kind == "f" or value.dtype.kind == data.dtype.kind == "b":
        return data.dtype, replacement
    if value.dtype.kind == "f" and not number.is_integer():
        decoded = decoded_dtype(data)
        return (decoded if decoded.kind == "f" else np.dtype("f4" if data.dtype.itemsize <= 2 else "f8")), replacement
    whole = int(number)
    if data.dtype.kind == "b":
        return (
            (data.dtype, bool(whole)) if whole in (0, 1) else (np.result_type("u1", np.min_scalar_type(whole)), whole)
        )
    limits = np.iinfo(data.dtype)
    fits = limits.min <= whole <= limits.max
    return (data.dtype if fits else np.result_type(data.dtype, np.min_scalar_type(whole))), whole
