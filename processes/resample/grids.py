"""Grids of cubes: which are the same, and which a resampling makes."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS, norm_crs
from odc.geo.geobox import GeoBox

from processes import cube as cubes
from processes.errors import parameter_invalid
from processes.extents import box_in, crs_name

ALIGNS = ("lower-left", "upper-left", "lower-right", "upper-right")
# pixels: coordinates this close are the same
SAME = 1e-3
# stands in where a cube has no CRS and none is needed (both grids are in the same unknown one)
UNKNOWN = "EPSG:3857"


def grid_of(data: xr.DataArray, crs: Any = None) -> GeoBox:
    """`cube.geobox_of`, with ``crs`` for a cube that has none."""
    if cubes.crs_of(data) is None:
        data = cubes.with_crs(data, crs or UNKNOWN)
    return cubes.geobox_of(data)


def grids_of(data: xr.DataArray, target: xr.DataArray) -> tuple[GeoBox, GeoBox]:
    """Grids of two cubes; one without CRS is taken to be in the other's."""
    return grid_of(data, cubes.crs_of(target)), grid_of(target, cubes.crs_of(data))


def same_grid(a: GeoBox, b: GeoBox) -> bool:
    """Whether two grids have the same pixels."""
    return a.shape == b.shape and same_lattice(a, b) and offset(a, b) == (0, 0)


def same_lattice(a: GeoBox, b: GeoBox) -> bool:
    """Whether two grids share CRS, pixel size and phase, so that one continues the other."""
    if a.crs != b.crs:
        return False
    p, q = a.affine, b.affine
    if abs(p.a - q.a) > SAME * abs(p.a) / max(a.shape) or abs(p.e - q.e) > SAME * abs(p.e) / max(a.shape):
        return False
    col, row = ~p * (q.c, q.f)
    return bool(abs(col - round(col)) < SAME and abs(row - round(row)) < SAME)


def offset(a: GeoBox, b: GeoBox) -> tuple[int, int]:
    """(rows, columns) from the first pixel of ``a`` to that of ``b``, on one lattice."""
    col, row = ~a.affine * (b.affine.c, b.affine.f)
    return round(row), round(col)


def target_grid(source: GeoBox, resolution: Any, projection: Any, align: str) -> GeoBox:
    """Grid of ``resample_spatial``.

    In the source's CRS the new grid starts at the corner ``align`` of the source's extent and covers the extent. In
    another CRS it is anchored to multiples of the resolution, so that parts of an area get the same pixels.
    Raises ``ProcessParameterInvalid``.
    """
    if align not in ALIGNS:
        raise parameter_invalid("align", f"'{align}' is not one of {', '.join(ALIGNS)}")
    dx, dy = _steps(resolution)
    crs = _crs(projection)
    if crs is None and not dx and not dy:
        raise parameter_invalid("resolution", "give a resolution or a projection")
    if crs is not None and crs != source.crs:
        if not dx or not dy:
            natural = source.to_crs(crs, resolution="auto" if _same_units(crs, source.crs) else "fit")
            dx, dy = dx or abs(natural.resolution.x), dy or abs(natural.resolution.y)
        own = source.boundingbox
        west, south, east, north = box_in(
            (own.left, own.bottom, own.right, own.top, crs_name(str(source.crs))), str(crs)
        )
        left, right = np.floor(west / dx + SAME), np.ceil(east / dx - SAME)
        bottom, top = np.floor(south / dy + SAME), np.ceil(north / dy - SAME)
        size = (int(top - bottom), int(right - left))
        return GeoBox(size, Affine(dx, 0, left * dx, 0, -dy, top * dy), crs)
    a = source.affine
    dx, dy = dx or abs(a.a), dy or abs(a.e)
    box = source.boundingbox
    width = max(ceil((box.right - box.left) / dx - SAME), 1)
    height = max(ceil((box.top - box.bottom) / dy - SAME), 1)
    left = box.left if align.endswith("left") else box.right - width * dx
    top = box.top if align.startswith("upper") else box.bottom + height * dy
    return GeoBox((height, width), Affine(dx, 0, left, 0, -dy, top), source.crs)


def _steps(resolution: Any) -> tuple[float, float]:
    pair = resolution if isinstance(resolution, (list, tuple)) else [resolution, resolution]
    try:
        dx, dy = (float(v or 0) for v in pair)
    except (TypeError, ValueError):
        raise parameter_invalid("resolution", f"{resolution} is neither a number nor a pair of numbers") from None
    if dx < 0 or dy < 0 or not np.isfinite([dx, dy]).all():
        raise parameter_invalid("resolution", "it must not be negative")
    return dx, dy


def _crs(projection: Any) -> CRS | None:
    if projection in (None, ""):
        return None
    try:
        return norm_crs(projection)
    except Exception as error:  # pyproj and odc-geo raise many types for what is not a CRS
        raise parameter_invalid(
            "projection", f"'{projection}' is not a coordinate reference system ({error})"
        ) from None


def _same_units(a: CRS, b: Any) -> bool:
    return b is not None and a.geographic == b.geographic and a.units[0] == b.units[0]
