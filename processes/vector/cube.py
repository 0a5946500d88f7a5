"""The vector cube: an `xarray.DataArray` with a dimension of geometries (see README.md of this folder).

- One dimension has the type ``geometry``; its labels are shapely geometries (empty ones included, and for features
  without geometry), xvec's layout: `indexed` gives the cube with xvec's spatial index.
- The CRS of the geometries is the coordinate ``spatial_ref``, as of raster cubes. GeoJSON is EPSG:4326.
- Properties of the features are coordinates along that dimension. Values are lazy or numpy; features without values
  have NaN for one value each and ``attrs["geometries_only"]``, so that writers leave that column out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
import xarray as xr
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from processes import cube as cubes
from processes.errors import ProcessError, dimension_missing, parameter_invalid
from processes.extents import WGS84, crs_name, transformer

NAME, PROPERTIES = "geometry", "properties"
GEOMETRIES_ONLY = "geometries_only"


def vector_cube(
    geometries: Iterable[Any],
    crs: Any,
    values: Any = None,
    *,
    dims: Sequence[str] = (NAME,),
    coords: Mapping[str, Any] | None = None,
    kinds: Mapping[str, str] | None = None,
    properties: Mapping[str, Any] | None = None,
) -> xr.DataArray:
    """A vector cube from geometries in ``crs``; the one constructor.

    Parameters
    ----------
    geometries : shapely geometries or None
    values : array over ``dims`` (which contain ``geometry``); None for features without values
    coords : labels of the other dimensions
    properties : property -> one value per geometry; renamed with ``_`` where a dimension has the name
    """
    held = as_array(geometries)
    only = values is None
    if only:
        values, dims = np.full(len(held), np.nan, "f4"), (NAME,)
    data = cubes.cube(
        values,
        dims,
        {NAME: held, **(coords or {})},
        kinds={**(kinds or {}), NAME: cubes.GEOMETRY},
        crs=crs,
    )
    if only:
        data.attrs[GEOMETRIES_ONLY] = True
    return with_properties(data, properties or {})


def as_array(geometries: Iterable[Any]) -> np.ndarray:
    """Geometries as a 1-D object array; an empty collection where there is none."""
    listed = [shapely.GeometryCollection() if g is None else g for g in geometries]
    out = np.empty(len(listed), object)
    out[:] = listed
    return out


def with_properties(data: xr.DataArray, properties: Mapping[str, Any]) -> xr.DataArray:
    """The cube with coordinates along its geometries."""
    name = dimension_of(data)
    taken = {*map(str, data.dims), "spatial_ref"}
    named = {f"{k}_" if str(k) in taken else str(k): v for k, v in properties.items()}
    return data.assign_coords({k: (name, column(v)) for k, v in named.items()}) if named else data


def column(values: Any) -> np.ndarray:
    """A property's values as an array: numbers with NaN for missing ones, everything else as objects."""
    listed = list(values)
    present = [v for v in listed if v is not None]
    if present and all(isinstance(v, (bool, np.bool_)) for v in present) and len(present) == len(listed):
        return np.array(listed, bool)
    if present and all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in listed):
        if all(abs(int(v)) < 2**63 for v in listed):
            return np.array(listed, "i8")
    elif present and all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in present):
        return np.array([np.nan if v is None else v for v in listed], "f8")
    out = np.empty(len(listed), object)
    out[:] = listed
    return out


def dimension_of(data: xr.DataArray, dimension: str | None = None) -> str:
    """The geometry dimension named, or the only one. Raises ``DimensionNotAvailable``, ``DimensionMissing``."""
    if dimension is not None:
        if cubes.kinds(data).get(dimension) != cubes.GEOMETRY:
            raise dimension_missing(dimension, cubes.dims_of(data, cubes.GEOMETRY))
        return dimension
    name = cubes.dim_of(data, cubes.GEOMETRY)
    if name is None:
        raise ProcessError("DimensionMissing", "The cube has no dimension of geometries; a vector cube is needed here.")
    return name


def geometries_of(data: xr.DataArray) -> np.ndarray:
    """The geometries, shape (n,), dtype object."""
    return data.coords[dimension_of(data)].values


def properties_of(data: xr.DataArray) -> dict[str, np.ndarray]:
    """Property -> values along the geometries."""
    name = dimension_of(data)
    return {str(k): c.values for k, c in data.coords.items() if k != name and c.dims == (name,)}


def crs_of(data: xr.DataArray) -> str:
    """CRS of the geometries as ``EPSG:n`` or WKT; EPSG:4326 where the cube does not say."""
    found = cubes.crs_of(data)
    return crs_name(str(found)) if found is not None else WGS84


def with_geometries(data: xr.DataArray, geometries: Iterable[Any], crs: Any = None) -> xr.DataArray:
    """The cube with other geometries, one for each it has, and their CRS if it is another."""
    name = dimension_of(data)
    out = data.drop_vars(name, errors="ignore").assign_coords({name: (name, as_array(geometries))})
    return cubes.with_crs(out, crs) if crs is not None else out


def as_vector(value: Any, *, parameter: str = "data") -> xr.DataArray:
    """A vector cube of what a process was given: a vector cube, GeoJSON, a GeoDataFrame or a GeoSeries.

    Raises ``ProcessParameterInvalid``, ``DimensionMissing``.
    """
    if isinstance(value, xr.DataArray):
        dimension_of(value)
        return value
    if isinstance(value, Mapping):
        return from_geojson(value, parameter=parameter)
    if hasattr(value, "geometry") and hasattr(value, "to_crs"):
        return from_frame(value)
    raise parameter_invalid(parameter, "it is neither GeoJSON nor a vector cube")


def from_frame(frame: Any) -> xr.DataArray:
    """A vector cube of a GeoDataFrame or GeoSeries (EPSG:4326 where it has no CRS); columns become properties."""
    active = frame.geometry
    columns = [] if not hasattr(frame, "columns") else [c for c in frame.columns if c != active.name]
    properties = {}
    for c in columns:
        values = frame[c]
        if values.dtype.kind in "iufb":
            properties[str(c)] = values.to_numpy()
        elif values.dtype.kind == "M":
            properties[str(c)] = [None if v is None or v != v else v.isoformat() for v in values]
        else:
            properties[str(c)] = [None if _missing(v) else v for v in values]
    return vector_cube(list(active), str(active.crs.to_wkt()) if active.crs else WGS84, properties=properties)


def _missing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def from_geojson(value: Mapping[str, Any], *, parameter: str = "data", collection: bool = True) -> xr.DataArray:
    """A vector cube of a GeoJSON object, without values; a label per feature, those without geometry too.

    ``collection=False`` refuses a GeometryCollection instead of taking its members. The ``crs`` member of old GeoJSON
    is honoured. Raises ``ProcessParameterInvalid``.
    """
    features = features_of(value, parameter, collection)
    try:
        geometries = [shape(f["geometry"]) if f.get("geometry") else None for f in features]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise parameter_invalid(parameter, f"it is not valid GeoJSON ({error})") from None
    name = str(((value.get("crs") or {}).get("properties") or {}).get("name") or "")
    crs = crs_name(name) if name and "CRS84" not in name else WGS84
    _on_earth(geometries, crs, parameter)
    records = [f.get("properties") or {} for f in features]
    names = list(dict.fromkeys(k for r in records for k in r))
    properties = {k: [r.get(k) for r in records] for k in names}
    if "id" not in properties and any(f.get("id") is not None for f in features):
        properties["id"] = [f.get("id") for f in features]
    return vector_cube(geometries, crs, properties=properties)


def features_of(value: Mapping[str, Any], parameter: str = "data", collection: bool = True) -> list[dict[str, Any]]:
    """Features of a GeoJSON object, bare geometries as features without properties."""
    kind = value.get("type")
    if kind == "FeatureCollection" and isinstance(value.get("features"), list):
        features = [dict(f) for f in value["features"] if isinstance(f, Mapping)]
    elif kind == "Feature":
        features = [dict(value)]
    elif kind == "GeometryCollection" and collection:
        features = [{"geometry": g} for g in value.get("geometries", [])]
    elif kind in ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"):
        features = [{"geometry": value}]
    elif kind == "GeometryCollection":
        raise parameter_invalid(parameter, "a GeometryCollection is not possible here; give a FeatureCollection")
    else:
        raise parameter_invalid(parameter, f"'{kind}' is not a GeoJSON type")
    if not features:
        raise parameter_invalid(parameter, "there is no geometry in it")
    return features


def _on_earth(geometries: Sequence[BaseGeometry | None], crs: str, parameter: str) -> None:
    bounds = shapely.total_bounds(as_array(geometries))
    if crs == WGS84 and np.isfinite(bounds).all() and (np.abs(bounds) > (360, 90, 360, 90)).any():
        raise parameter_invalid(
            parameter, "longitudes and latitudes are outside the globe; GeoJSON is in EPSG:4326, longitude first"
        )


def reprojected(geometries: np.ndarray, source: str, target: str, *, parameter: str = "data") -> np.ndarray:
    """Geometries transformed vertex by vertex. Raises ``ProcessParameterInvalid`` where the target is not defined."""
    if crs_name(source) == crs_name(target):
        return geometries
    move = transformer(source, target).transform
    moved = shapely.transform(geometries, lambda xy: np.column_stack(move(xy[:, 0], xy[:, 1])))
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise parameter_invalid(parameter, f"a geometry reaches where {target} is not defined")
    return moved


def indexed(data: xr.DataArray) -> xr.DataArray:
    """The cube as xvec has it: with a spatial index that knows the CRS, for ``data.xvec``."""
    import xvec  # noqa: F401  (registers the accessor)

    return data.xvec.set_geom_indexes(dimension_of(data), crs=crs_of(data))
