"""`resample_spatial`, `resample_cube_spatial`: the same area on another grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, radians
from typing import Any

import xarray as xr

from processes.demand import EVERYTHING, Box, Demand, View
from processes.errors import ProcessError
from processes.extents import box_in, crs_name, is_geographic
from processes.registry import process
from processes.resample.grids import ALIGNS, grid_of, grids_of, target_grid
from processes.resample.warp import warp

_MARGIN = 4  # target pixels: more than any method's radius


def resample_spatial_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Time and bands pass; for a picture by nearest neighbours also the new grid, so that a load may fill it itself.

    An area passes, widened, only where the new grid does not depend on the extent of the input (a new projection):
    otherwise the grid starts at a corner of the input, and cutting the input would move it.
    """
    steps, projection = _pair(args.get("resolution") or 0), args.get("projection")
    if steps is None or not (projection is None or isinstance(projection, (int, str))):
        return {"data": EVERYTHING}
    crs, box = None, None
    if projection is not None:
        try:
            crs = crs_name(projection)
            margin = (_MARGIN + demand.buffer) * max(steps)
            box = _widened(demand.box, crs, margin) if demand.box and min(steps) else None
        except ProcessError:
            return {"data": EVERYTHING}
    view = None
    method, align = args.get("method") or "near", args.get("align") or "upper-left"
    if demand.picture and method == "near" and min(steps) > 0 and align in ALIGNS:
        view = View(None, steps, projection, align)
    return {"data": demand.with_(box=box, geometries=None, buffer=0, view=view)}


def _pair(resolution: Any) -> tuple[float, float] | None:
    """Pixel sizes along x and y; None for what is not known, or wrong."""
    pair = resolution if isinstance(resolution, (list, tuple)) else [resolution, resolution]
    if len(pair) != 2 or not all(isinstance(s, (int, float)) and s >= 0 for s in pair):
        return None
    return float(pair[0]), float(pair[1])


def _widened(box: Box, crs: str, margin: float) -> Box:
    """``box`` in ``crs``, with a margin (units of ``crs``) for what resampling reads around it."""
    west, south, east, north = box_in(box, crs)
    return west - margin, south - margin, east + margin, north + margin, crs


@process(demand=resample_spatial_demand)
def resample_spatial(
    data: xr.DataArray,
    resolution: float | Sequence[float] = 0,
    projection: int | str | None = None,
    method: str = "near",
    align: str = "upper-left",
) -> xr.DataArray:
    """The cube on a grid of another resolution (in units of the target CRS), projection or both.

    The grid is that of `grids.target_grid`. Raises ``ProcessParameterInvalid``, ``DimensionMissing``.
    """
    source = grid_of(data)
    return warp(data, source, target_grid(source, resolution, projection, align), method)


def resample_cube_spatial_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """The target needs the area of the output; ``data`` too, with a margin where the method's reach is known."""
    target = Demand(box=demand.box, buffer=demand.buffer)
    data = demand.with_(geometries=None, view=None)
    if args.get("method", "near") != "near":
        return {"data": data.with_(box=None, buffer=0), "target": target}
    return {"data": data.with_(box=grown(demand.box), buffer=demand.buffer + 2), "target": target}


def grown(box: Box | None, metres: float = 200.0) -> Box | None:
    """``box`` with a margin that covers nearest-neighbour reach between grids of differing pixel size and CRS."""
    if box is None:
        return None
    west, south, east, north, crs = box
    if not is_geographic(crs):
        return west - metres, south - metres, east + metres, north + metres, crs
    high = min(max(abs(south), abs(north)), 89.0)
    dy, dx = metres / 111_000, metres / (111_000 * cos(radians(high)))
    return west - dx, max(south - dy, -90.0), east + dx, min(north + dy, 90.0), crs


@process(demand=resample_cube_spatial_demand)
def resample_cube_spatial(data: xr.DataArray, target: xr.DataArray, method: str = "near") -> xr.DataArray:
    """``data`` on the grid of ``target``: its CRS, pixels and extent. Raises ``DimensionMissing``."""
    source, grid = grids_of(data, target)
    return warp(data, source, grid, method)
