"""Processes on geometries: `filter_vector`, `vector_buffer`, `vector_reproject`. Properties and values stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
import xarray as xr
from pyproj import CRS

from processes import cube as cubes
from processes.errors import ProcessError, parameter_invalid
from processes.extents import crs_name
from processes.registry import process
from processes.vector.cube import as_vector, crs_of, dimension_of, geometries_of, reprojected, with_geometries

RELATIONS = ("intersects", "disjoint", "equals", "touches", "crosses", "overlaps", "contains", "within")


@process()
def filter_vector(data: Any, geometries: Any, relation: str = "intersects") -> xr.DataArray:
    """The geometries of ``data`` that stand in ``relation`` to the union of ``geometries``; empty ones go.

    ``within`` keeps what lies within the union, ``contains`` what contains it (OGC Simple Features). Compared in the
    CRS of ``data``. Raises ``ProcessParameterInvalid``, ``DimensionMissing``.
    """
    if relation not in RELATIONS:
        raise parameter_invalid("relation", f"'{relation}' is not one of {', '.join(RELATIONS)}")
    data, base = as_vector(data), as_vector(geometries, parameter="geometries")
    candidates = geometries_of(data)
    moved = reprojected(geometries_of(base), crs_of(base), crs_of(data), parameter="geometries")
    union = shapely.union_all(shapely.make_valid(moved[~_empty(moved)]))
    if union.is_empty:
        raise parameter_invalid("geometries", "there is no geometry in it")
    shapely.prepare(union)
    valid = shapely.make_valid(candidates)
    keep = getattr(shapely, relation)(valid, union) & ~_empty(candidates)
    return data.isel({dimension_of(data): np.flatnonzero(keep)})


def _empty(geometries: np.ndarray) -> np.ndarray:
    return shapely.is_missing(geometries) | shapely.is_empty(geometries)


@process()
def vector_reproject(data: Any, projection: int | str, dimension: str | None = None) -> xr.DataArray:
    """Geometries in another CRS (EPSG code or WKT2), transformed vertex by vertex.

    Raises ``ProcessParameterInvalid``, ``DimensionNotAvailable``.
    """
    data = as_vector(data)
    dimension_of(data, dimension)
    target = crs_name(projection)
    return with_geometries(data, reprojected(geometries_of(data), crs_of(data), target), target)


@process()
def vector_buffer(geometries: Any, distance: float) -> xr.DataArray:
    """Polygons that reach ``distance`` metres beyond the geometries (inside them, where negative).

    Quarter circles have 16 segments. Empty geometries stay, shrunk ones may become empty.
    Raises ``UnitMismatch``, ``ProcessParameterInvalid``.
    """
    if not distance or not np.isfinite(distance):
        raise parameter_invalid("distance", "it must be a number of metres other than zero")
    data = as_vector(geometries, parameter="geometries")
    require_metres(data)
    return with_geometries(data, shapely.buffer(geometries_of(data), float(distance), quad_segs=16))


def require_metres(data: xr.DataArray) -> None:
    """Raises ``UnitMismatch`` unless the CRS of the geometries measures in metres."""
    crs = CRS.from_user_input(crs_of(data))
    if crs.is_geographic or any(a.unit_name not in ("metre", "meter") for a in crs.axis_info[:2]):
        unit = crs.axis_info[0].unit_name if crs.axis_info else "unknown units"
        raise ProcessError(
            "UnitMismatch",
            f"The geometries are in {crs.name} ({unit}), the distance is in metres; use vector_reproject first, for "
            f"example to the UTM zone of the area.",
        )


def of_each(data: xr.DataArray, index: np.ndarray, geometries: Any) -> xr.DataArray:
    """The cube with label ``index[k]`` repeated for the k-th new geometry, without identifiers."""
    out = with_geometries(data.isel({dimension_of(data): index}), geometries)
    return cubes.like(out.drop_vars("id", errors="ignore"), data)
