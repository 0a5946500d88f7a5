"""`filter_bbox`, `filter_spatial`: keep an area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
import xarray as xr

from processes import cube as cubes
from processes.demand import EVERYTHING, Demand
from processes.errors import ProcessError
from processes.extents import EDGE, WGS84, box_in, geojson_geometries, intersect, parse_bbox
from processes.geometries import inside_cube, shapes
from processes.mask.mask import replace_where
from processes.registry import process


def filter_bbox_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Narrows the box. Buffers asked for downstream end here: no pixel outside the box is in the output."""
    try:
        box = parse_bbox(args["extent"])
        return {"data": demand.with_(box=intersect(box, demand.box) if not demand.buffer else box, buffer=0)}
    except (ProcessError, KeyError, TypeError, AttributeError):  # wrong or a parameter: the process itself will tell
        return {"data": EVERYTHING}


@process(demand=filter_bbox_demand)
def filter_bbox(data: xr.DataArray, extent: Mapping[str, Any]) -> xr.DataArray:
    """The pixels whose centre lies in the box; of a vector cube, the geometries that lie fully within it.

    Raises ``ProcessParameterInvalid``, ``DimensionMissing``.
    """
    box = parse_bbox(extent)
    if (geometry := cubes.dim_of(data, cubes.GEOMETRY)) is not None:
        return _within(data, geometry, box)
    y, x = cubes.spatial_dims(data)
    crs = cubes.crs_of(data)
    west, south, east, north = box_in(box, str(crs)) if crs is not None else box[:4]
    keep_x = _between(data.coords[x].values, west, east)
    if crs is not None and crs.geographic and box[0] > box[2]:  # across the antimeridian
        keep_x |= _between(data.coords[x].values, west - 360, east - 360)
    return _cut(data, _span(_between(data.coords[y].values, south, north)), _span(keep_x))


def _cut(data: xr.DataArray, rows: slice | np.ndarray, cols: slice | np.ndarray) -> xr.DataArray:
    """The pixels of some rows and columns. What is left may be one pixel: the cube remembers how large that is."""
    y, x = cubes.spatial_dims(data)
    out = data.isel({y: rows, x: cols})
    xs, ys = data.coords[x].values, data.coords[y].values
    if out.sizes[x] < 2 and out.sizes[y] < 2 and max(len(xs), len(ys)) > 1:
        along = xs if len(xs) > 1 else ys
        out.attrs = {**out.attrs, "resolution": abs(float(along[-1] - along[0])) / (len(along) - 1)}
    return out


def _between(centres: np.ndarray, low: float, high: float) -> np.ndarray:
    step = abs(centres[1] - centres[0]) if len(centres) > 1 else 1.0
    return (centres >= low - EDGE * step) & (centres <= high + EDGE * step)


def _span(keep: np.ndarray) -> slice | np.ndarray:
    """A slice where the kept pixels are neighbours, so that blocks are cut and not gathered."""
    found = np.flatnonzero(keep)
    if len(found) and found[-1] - found[0] + 1 > len(found):
        return found
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)


def _within(data: xr.DataArray, dimension: str, box: Any) -> xr.DataArray:
    west, south, east, north = box_in(box, str(cubes.crs_of(data) or WGS84))
    area = shapely.box(west, south, east, north)
    geometries = data.coords[dimension].values
    return data.isel({dimension: np.flatnonzero(shapely.within(geometries, area) & ~shapely.is_empty(geometries))})


def filter_spatial_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Narrows the area to the geometries, where they are GeoJSON and polygons (points and lines reach further)."""
    given = args.get("geometries")
    if not isinstance(given, Mapping) or "type" not in given:
        return {"data": EVERYTHING}
    try:
        found = geojson_geometries(given)
    except (ProcessError, KeyError, TypeError, AttributeError):
        return {"data": EVERYTHING}
    if any(g.get("type") not in ("Polygon", "MultiPolygon") for g in found):
        return {"data": demand.with_(box=None, geometries=None, buffer=0)}
    return {"data": demand.with_(box=None if demand.buffer else demand.box, geometries=tuple(found), buffer=0)}


@process(demand=filter_spatial_demand)
def filter_spatial(data: xr.DataArray, geometries: Any) -> xr.DataArray:
    """The cube cut to the bounds of the geometries, nodata outside of them.

    Polygons hold the pixels whose centre they contain, points and lines those they touch.
    Raises ``ProcessParameterInvalid``, ``DimensionMissing``.
    """
    y, x = cubes.spatial_dims(data)
    held = shapes(geometries, cubes.geobox_of(data).crs)
    rows, cols = _bounds(data, held)
    cut = _cut(data, rows, cols)
    if not cut.sizes[y] or not cut.sizes[x]:
        return cut
    return replace_where(cut, ~inside_cube(cut, held))


def _bounds(data: xr.DataArray, held: Sequence[Any]) -> tuple[Any, Any]:
    """Rows and columns of the pixels that the geometries' bounds hold; points and lines hold those they touch."""
    y, x = cubes.spatial_dims(data)
    a = cubes.geobox_of(data).affine
    area = all(g.geom_type in ("Polygon", "MultiPolygon") for g in held)
    reach_x, reach_y = (0.0, 0.0) if area else (abs(a.a) / 2, abs(a.e) / 2)
    west, south, east, north = shapely.total_bounds(np.array(held, dtype=object))
    rows = _between(data.coords[y].values, south - reach_y, north + reach_y)
    cols = _between(data.coords[x].values, west - reach_x, east + reach_x)
    return _span(rows), _span(cols)
