"""Geometries a process is given, whatever their form, as shapely shapes in a cube's CRS; and which pixels they hold.

A pixel belongs to a polygon if its centre lies inside or on its edge (holes are outside). It belongs to a point or a
line that touches it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
import xarray as xr
from odc.geo.geobox import GeoBox
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from processes import cube as cubes
from processes.blocks import from_blocks, is_lazy
from processes.errors import parameter_invalid
from processes.extents import WGS84, geojson_geometries, transformer

# Edges are straight in the CRS they are given in: longer ones are cut before they are projected (fraction of the bounds)
_SEGMENTS = 64


def shapes(value: Any, crs: Any, *, parameter: str = "geometries") -> list[BaseGeometry]:
    """Non-empty geometries of GeoJSON, a GeoDataFrame, GeoSeries or vector cube (`processes.vector.cube`), in ``crs``.

    Raises ``ProcessParameterInvalid`` where there is none or the GeoJSON is not valid.
    """
    found, source = _given(value, parameter)
    present = [g for g in found if g is not None and not g.is_empty]
    if not present:
        raise parameter_invalid(parameter, "there is no geometry in it")
    target = str(crs) if crs is not None else source
    return [g for g in (projected(g, source, target) for g in present) if not g.is_empty]


def polygons(value: Any, crs: Any, *, parameter: str = "mask") -> list[BaseGeometry]:
    """`shapes`, which must all be polygons or multipolygons."""
    found = shapes(value, crs, parameter=parameter)
    if other := next((g.geom_type for g in found if g.geom_type not in ("Polygon", "MultiPolygon")), None):
        raise parameter_invalid(parameter, f"it has a {other}; polygons and multipolygons only are possible here")
    return found


def _given(value: Any, parameter: str) -> tuple[list[BaseGeometry | None], str]:
    if isinstance(value, Mapping):
        try:
            return [shape(g) for g in geojson_geometries(value)], WGS84
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
            raise parameter_invalid(parameter, f"it is not valid GeoJSON ({error})") from None
    if hasattr(value, "geometry") and hasattr(value, "to_crs"):  # GeoDataFrame, GeoSeries
        return list(value.geometry), str(value.crs or WGS84)
    if isinstance(value, xr.DataArray) and (names := cubes.dims_of(value, cubes.GEOMETRY)):
        return list(value.coords[names[0]].values), str(cubes.crs_of(value) or WGS84)
    raise parameter_invalid(parameter, "it is neither GeoJSON nor a vector cube")


def projected(geometry: BaseGeometry, source: str, target: str) -> BaseGeometry:
    """A valid geometry in another CRS; long edges are cut first, as they are straight in their own CRS."""
    if source == target:
        return geometry if geometry.is_valid else shapely.make_valid(geometry)
    west, south, east, north = geometry.bounds
    step = max(east - west, north - south) / _SEGMENTS
    cut = shapely.segmentize(geometry, step) if step > 0 else geometry
    move = transformer(source, target).transform
    moved = shapely.transform(cut, lambda xy: np.column_stack(move(xy[:, 0], xy[:, 1])))
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise parameter_invalid("geometries", f"a geometry reaches where {target} is not defined; make it smaller")
    return moved if moved.is_valid else shapely.make_valid(moved)


def pixels_inside(geometries: Sequence[BaseGeometry], geobox: GeoBox) -> np.ndarray:
    """Boolean image: which pixels belong to at least one geometry (see the module's rule)."""
    from rasterio.features import rasterize

    height, width = geobox.shape
    out = np.zeros((height, width), bool)
    bounds = shapely.box(*geobox.boundingbox.bbox)
    near = [g for g in geometries if g.intersects(bounds)]
    if not near or not out.size:
        return out

    def burn(what: Iterable[BaseGeometry], touched: bool) -> np.ndarray:
        parts = [(g, 1) for g in what if not g.is_empty]
        if not parts:
            return np.zeros((height, width), bool)
        return rasterize(parts, (height, width), transform=geobox.affine, all_touched=touched, dtype="u1").astype(bool)

    areas = [p for g in near for p in _parts(g) if p.geom_type == "Polygon"]
    others = [p for g in near for p in _parts(g) if p.geom_type != "Polygon"]
    out |= burn(others, True)
    if areas:
        out |= burn(areas, False)
        # scan conversion decides centres that lie on an edge by its own rule: those cells are asked exactly
        rows, cols = np.nonzero(burn([a.boundary for a in areas], True))
        a = geobox.affine
        xs, ys = a.c + a.a * (cols + 0.5), a.f + a.e * (rows + 0.5)
        union = shapely.union_all(areas)
        shapely.prepare(union)
        exact = shapely.intersects_xy(union, xs, ys)
        out[rows, cols] = exact | burn(others, True)[rows, cols]
    return out


def _parts(geometry: BaseGeometry) -> list[BaseGeometry]:
    parts = getattr(geometry, "geoms", None)
    return [q for p in parts for q in _parts(p)] if parts is not None else [geometry]


def inside_cube(data: xr.DataArray, geometries: Sequence[BaseGeometry]) -> xr.DataArray:
    """Boolean cube (y, x) on the grid and chunks of ``data``: which pixels belong to a geometry. Lazy where it is."""
    y, x = cubes.spatial_dims(data)
    geobox = cubes.geobox_of(data)
    held = list(geometries)

    def read(location: Sequence[tuple[int, int]]) -> np.ndarray:
        (y0, y1), (x0, x1) = location
        return pixels_inside(held, geobox[y0:y1, x0:x1])

    if is_lazy(data):
        chunks = [data.chunksizes[y], data.chunksizes[x]]
        values: Any = from_blocks(read, geobox.shape, chunks, bool)
    else:
        values = read(((0, geobox.shape[0]), (0, geobox.shape[1])))
    return cubes.like(xr.DataArray(values, dims=[y, x], coords={y: data.coords[y], x: data.coords[x]}), data)
