"""``snow_line``: regional snow-line elevation per geometry and date (Krajci et al. 2014)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import dask
import dask.array as da
import numpy as np
import shapely
import xarray as xr
import xvec  # noqa: F401  (accessor .xvec)
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from processes import cube as cubes
from processes.env import Env
from processes.errors import parameter_invalid
from processes.extents import geojson_geometries
from processes.kernels.lis_detect import Z_HIGH, Z_LOW
from processes.lis.line import regional_snow_line, snow_line_margin
from processes.lis.snow import _elevation
from processes.registry import process

VALUES = ("RSLE", "CONFIDENCE", "CLEAR")


@process()
def snow_line(
    data: xr.DataArray,
    dem: Any = None,
    geometries: Any = None,
    step: float = 20.0,
    min_clear: float = 0.15,
    min_confidence: float = 0.0,
    *,
    env: Env | None = None,
) -> xr.DataArray:
    """Regional snow-line elevation: the elevation with least snow below and least snow-free ground above it.

    Parameters
    ----------
    data : snow cube with a band ``SEB`` (or a single band): 0 no snow, 1..100 snow, anything above no observation
    dem : elevation cube or collection id; default: collection ``DEM`` of the archive
    geometries : GeoJSON or vector cube (EPSG:4326 or with its own CRS); default: the extent of the cube. A pixel belongs
        to a geometry if its centre is inside.
    step : distance between candidate elevations, metres (10 to 50 in the literature)
    min_clear, min_confidence : least share of clear pixels and least confidence 1 - misplaced / clear for an elevation to
        be given, else NaN. CONFIDENCE and CLEAR are given always, so nothing is lost by asking for little: it is at least
        0.5 by its nature, Krajci et al. trust 0.92 and more, and snow in a forest or on mixed aspects gives 0.7 to 0.9.

    Returns
    -------
    Cube (geometry, t, bands), float32, bands RSLE (m), CONFIDENCE (0..1), CLEAR (share of clear pixels, 0..1).

    References
    ----------
    Krajci, Holko, Perdigao, Parajka 2014, J. Hydrol. 519, 1769-1778.
    """
    if not 1 <= step <= 500:
        raise parameter_invalid("step", f"it must be within 1..500 m, got {step}.")
    for name, value in (("min_clear", min_clear), ("min_confidence", min_confidence)):
        if not 0 <= value <= 1:
            raise parameter_invalid(name, f"it must be within 0..1, got {value}.")
    snow = _seb(data)
    grid = cubes.geobox_of(snow)
    y, x = cubes.spatial_dims(snow)
    time = cubes.dim_of(snow, cubes.TEMPORAL)
    shapes, crs = _shapes(geometries, grid)
    heights = _elevation(dem, snow, grid, env or Env())
    labels = cubes.labels(snow, time) if time else [None]
    planes = [(snow.isel({time: k}) if time else snow).transpose(y, x).data for k in range(len(labels))]
    lazy = isinstance(snow.data, da.Array)
    rows = [_date(plane, heights, shapes, grid, (step, min_clear, min_confidence), lazy) for plane in planes]
    values = da.stack(rows, axis=1) if lazy else np.stack(rows, axis=1)
    column = np.empty(len(shapes), dtype=object)
    column[:] = shapes
    coords: dict[str, Any] = {"geometry": column, "bands": list(VALUES)}
    if time is None:
        result = cubes.cube(values[:, 0], ["geometry", "bands"], coords)
    else:
        coords[time] = labels
        result = cubes.cube(values, ["geometry", time, "bands"], coords, kinds={time: cubes.TEMPORAL})
    return result.xvec.set_geom_indexes("geometry", crs=crs)


def _seb(data: xr.DataArray) -> xr.DataArray:
    band = cubes.dim_of(data, cubes.BANDS)
    if band is None:
        return data
    names = [str(n) for n in cubes.labels(data, band)]
    if "SEB" in names:
        return data.isel({band: names.index("SEB")}, drop=True)
    if len(names) == 1:
        return data.isel({band: 0}, drop=True)
    raise parameter_invalid("data", f"a band SEB is wanted; the cube has {', '.join(names)}.")


def _shapes(geometries: Any, grid: GeoBox) -> tuple[list[Any], str]:
    """Geometries in the CRS of the grid, in order."""
    crs = str(grid.crs)
    if geometries is None:
        return [shapely.box(*grid.boundingbox.bbox)], crs
    import geopandas

    if isinstance(geometries, xr.DataArray):
        name = next((d for d in geometries.dims if cubes.kinds(geometries)[str(d)] == cubes.GEOMETRY), None)
        if name is None:
            raise parameter_invalid("geometries", "the cube has no dimension of geometries.")
        own = getattr(geometries.xindexes.get(name), "crs", None) or "EPSG:4326"
        return list(geopandas.GeoSeries(list(geometries.coords[name].values), crs=own).to_crs(crs)), crs
    shapes = [shapely.geometry.shape(g) for g in geojson_geometries(geometries)]
    if not shapes:
        raise parameter_invalid("geometries", "there is no geometry in it.")
    return list(geopandas.GeoSeries(shapes, crs="EPSG:4326").to_crs(crs)), crs


def _date(
    plane: Any, heights: Any, shapes: Sequence[Any], grid: GeoBox, limits: tuple[float, float, float], lazy: bool
) -> Any:
    """(geometries, values) of one date."""
    if not lazy:
        return _lines([_counts(np.asarray(plane), np.asarray(heights), shapes, grid, limits[0])], limits)
    parts = []
    rows = np.concatenate([[0], np.cumsum(plane.chunks[0])]).astype(int)
    cols = np.concatenate([[0], np.cumsum(plane.chunks[1])]).astype(int)
    count = dask.delayed(_counts, pure=False)
    for a, b in pairwise(rows):
        for c, d in pairwise(cols):
            z = heights[a:b, c:d]
            z = z.rechunk(-1).to_delayed().item() if isinstance(z, da.Array) else z
            parts.append(count(plane[a:b, c:d].to_delayed().item(), z, shapes, grid[a:b, c:d], limits[0]))
    return da.from_delayed(dask.delayed(_lines, pure=False)(parts, limits), (len(shapes), len(VALUES)), np.float32)


def bin_edges(step: float) -> np.ndarray:
    """Candidate elevations, ``step`` metres apart over all elevations there are."""
    return Z_LOW + step * np.arange(math.ceil((Z_HIGH - Z_LOW) / step) + 1)


def _counts(codes: np.ndarray, heights: np.ndarray, shapes: Sequence[Any], grid: GeoBox, step: float) -> np.ndarray:
    """Pixels of each geometry between candidate elevations: int32 (geometries, 3, bins): not observed, bare, snow."""
    bins = len(bin_edges(step)) - 1
    out = np.zeros((len(shapes), 3, bins), np.int32)
    extent = shapely.box(*grid.boundingbox.bbox)
    plain = np.where(np.isfinite(codes), codes, 255) if codes.dtype.kind == "f" else codes
    kind = np.where(plain > 100, 0, np.where(plain > 0, 2, 1))
    z = np.nan_to_num(heights.astype(np.float64), nan=-1e6)
    known = (z >= Z_LOW) & (z < Z_HIGH)
    place = kind * bins + np.where(known, np.floor((z - Z_LOW) / step), 0).astype(np.int64)
    for k, shape in enumerate(shapes):
        if not shape.intersects(extent):
            continue
        inside = rasterize([(shape, 1)], grid.shape, transform=grid.affine, dtype=np.uint8) == 1
        out[k] = np.bincount(place[inside & known], minlength=3 * bins).reshape(3, bins)
    return out


def _lines(counts: Sequence[np.ndarray], limits: tuple[float, float, float], margin: bool = False) -> np.ndarray:
    """RSLE, confidence and clear share (or margin, see `snow_line_margin`) per geometry from the counts of all blocks."""
    step, min_clear, min_confidence = limits
    total = np.stack(counts).sum(axis=0, dtype=np.int64)
    out = np.full((len(total), len(VALUES)), np.nan, np.float32)
    edges = bin_edges(step)
    for k, (hidden, bare, snow) in enumerate(total):
        clear, pixels = bare.sum() + snow.sum(), bare.sum() + snow.sum() + hidden.sum()
        if pixels == 0:
            continue
        line, confidence = regional_snow_line(bare, snow, edges)
        share = clear / pixels
        good = clear > 0 and share >= min_clear and confidence >= min_confidence
        third = snow_line_margin(bare, snow, edges, line) if margin and good else share
        out[k] = line if good else np.nan, confidence if clear else np.nan, third
    return out
