"""What STAC says of a cube: grid, footprint, bands, dimensions, times."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from backend.results.tiles import Statistics
from processes import cube as cubes

_DATE = re.compile(r"^\d{4}-\d\d-\d\d([T ].*)?$")
# A cube's band_info has these under their openEO or their STAC names.
_BAND_FIELDS = {
    "common_name": "eo:common_name",
    "eo:common_name": "eo:common_name",
    "wavelength": "eo:center_wavelength",
    "center_wavelength": "eo:center_wavelength",
    "eo:center_wavelength": "eo:center_wavelength",
    "eo:full_width_half_max": "eo:full_width_half_max",
    "gsd": "gsd",
    "unit": "unit",
    "description": "description",
}


def text(label: Any) -> str:
    """A label as text: instants as ``2024-06-01T10:50:31Z`` (with as much of a second as there is)."""
    if isinstance(label, np.datetime64):
        whole = label == label.astype("M8[s]")
        return np.datetime_as_string(label, unit="s" if whole else "ms") + "Z"
    return str(label)


def instant(label: Any) -> str | None:
    """A temporal label as an RFC 3339 instant, where it says one: week or season labels do not."""
    if isinstance(label, np.datetime64):
        return None if np.isnat(label) else text(label)
    if isinstance(label, str) and _DATE.match(label):
        try:
            return text(np.datetime64(label.rstrip("Z").replace(" ", "T"), "ms"))
        except ValueError:
            return None
    return None


def time_properties(labels: Sequence[Any], data: Any = None) -> dict[str, str]:
    """STAC ``datetime`` (one label) or ``start_datetime`` and ``end_datetime``; empty where nothing is known.

    Where no label is an instant, the interval of the products that the cube ``data`` was derived from.
    """
    times = sorted(t for label in labels if (t := instant(label)) is not None)
    times = times or list(getattr(data, "attrs", {}).get("interval", ()))
    if not times:
        return {}
    if times[0] == times[-1]:
        return {"datetime": times[0]}
    return {"start_datetime": times[0], "end_datetime": times[-1]}


def grid(data: xr.DataArray) -> GeoBox | None:
    """The cube's grid; None where it has no x and y or no CRS."""
    if cubes.dim_of(data, cubes.Y) is None or cubes.dim_of(data, cubes.X) is None or cubes.crs_of(data) is None:
        return None
    return cubes.geobox_of(data)


def projection(geobox: GeoBox) -> dict[str, Any]:
    """Fields of STAC's projection extension."""
    a, box = geobox.affine, geobox.extent.boundingbox
    fields: dict[str, Any] = {
        "proj:shape": [int(n) for n in geobox.shape],
        "proj:transform": [a.a, a.b, a.c, a.d, a.e, a.f],
        "proj:bbox": [float(v) for v in (box.left, box.bottom, box.right, box.top)],
    }
    code = crs_code(geobox.crs)
    return ({"proj:code": code} if code else {"proj:wkt2": geobox.crs.to_wkt()} if geobox.crs else {}) | fields


def crs_code(crs: Any) -> str | None:
    """``EPSG:32631``, or None for a CRS without a code."""
    return f"EPSG:{crs.epsg}" if crs is not None and crs.epsg else None


def footprint(geobox: GeoBox) -> tuple[dict[str, Any], tuple[float, float, float, float]]:
    """GeoJSON geometry and bbox of a grid in EPSG:4326, edges densified, rounded to about a centimetre."""
    from shapely import set_precision
    from shapely.geometry import mapping

    extent = geobox.extent
    shape = extent.to_crs("EPSG:4326", resolution=max(extent.boundingbox.span_x, extent.boundingbox.span_y) / 16)
    polygon = set_precision(shape.geom, 1e-7)
    if polygon.is_empty:
        polygon = shape.geom
    geometry = mapping(polygon)
    west, south, east, north = polygon.bounds
    return {"type": geometry["type"], "coordinates": _lists(geometry["coordinates"])}, (west, south, east, north)


def _lists(value: Any) -> Any:
    return [_lists(v) for v in value] if isinstance(value, (tuple, list)) else value


def band_labels(data: xr.DataArray) -> list[str] | None:
    """Band labels as text, None for a cube without bands."""
    name = cubes.dim_of(data, cubes.BANDS)
    return None if name is None else [text(label) for label in cubes.labels(data, name)]


def bands(
    data: xr.DataArray, dtype: np.dtype, nodata: float | None, statistics: Sequence[Statistics] | None = None
) -> list[dict[str, Any]]:
    """STAC ``bands`` of a file that holds the cube's bands; one nameless band for a cube without."""
    info: Mapping[str, Mapping[str, Any]] = data.attrs.get("band_info", {})
    labels = band_labels(data)
    out = []
    for n, name in enumerate(labels or [None]):
        band: dict[str, Any] = {"name": name} if name is not None else {}
        known = info.get(name or "", {})
        band |= {stac: known[key] for key, stac in _BAND_FIELDS.items() if known.get(key) is not None}
        band["data_type"] = data_type(dtype)
        if nodata is not None:
            band["nodata"] = "nan" if nodata != nodata else nodata
        if statistics is not None and (numbers := statistics[n].to_stac()):
            band["statistics"] = numbers
        out.append(band)
    return out


def data_type(dtype: np.dtype) -> str:
    """STAC's name of a dtype."""
    return dtype.name if dtype.kind in "iuf" else "other"


def dimensions(data: xr.DataArray, time: Sequence[Any] | None = None) -> dict[str, Any]:
    """``cube:dimensions`` of a cube, so that it reloads with the same dimensions. ``time`` replaces the labels of the
    temporal dimension: those a file holds."""
    out: dict[str, Any] = {}
    for name, kind in cubes.kinds(data).items():
        labels = cubes.labels(data, name) if kind != cubes.GEOMETRY else []
        if kind in (cubes.X, cubes.Y):
            out[name] = _spatial(data, name, kind)
        elif kind == cubes.TEMPORAL:
            labels = labels if time is None else list(time)
            out[name] = {"type": "temporal", "values": [text(label) for label in labels]}
            times = sorted(t for label in labels if (t := instant(label)))
            if times:
                out[name]["extent"] = [times[0], times[-1]]
        elif kind == cubes.BANDS:
            out[name] = {"type": "bands", "values": [text(label) for label in labels]}
        elif kind == cubes.GEOMETRY:
            out[name] = {"type": "geometry", "axes": ["x", "y"], **_geometry(data, name)}
        else:
            out[name] = {"type": "other", "values": [v if isinstance(v, (int, float)) else text(v) for v in labels]}
    return out


def _spatial(data: xr.DataArray, name: str, kind: str) -> dict[str, Any]:
    values = np.asarray(cubes.labels(data, name), dtype="f8")
    step = float((values[-1] - values[0]) / (len(values) - 1)) if len(values) > 1 else None
    if step is None:
        step = data.attrs.get("resolution")
    half = abs(step) / 2 if step else 0.0
    out: dict[str, Any] = {
        "type": "spatial",
        "axis": "x" if kind == cubes.X else "y",
        "extent": [float(values.min() - half), float(values.max() + half)],
    }
    if step:
        out["step"] = abs(step)
    crs = cubes.crs_of(data)
    if crs is not None:
        out["reference_system"] = crs.epsg or crs.to_wkt()
    return out


def _geometry(data: xr.DataArray, name: str) -> dict[str, Any]:
    values = data.coords[name].values if name in data.coords else []
    bounds = [g.bounds for g in values if g is not None and not g.is_empty]
    if not bounds:
        return {}
    west, south, east, north = zip(*bounds)
    out: dict[str, Any] = {
        "bbox": [min(west), min(south), max(east), max(north)],
        "geometry_types": sorted({g.geom_type for g in values if g is not None}),
    }
    crs = geometry_crs(data, name)
    if crs is not None and crs.to_epsg():
        out["reference_system"] = crs.to_epsg()
    return out


def geometry_crs(data: xr.DataArray, name: str) -> Any:
    """`pyproj.CRS` of the geometries along ``name``: the xvec index knows it, else the cube's CRS, else None."""
    import pyproj

    index = data.xindexes.get(name)
    if index is not None and getattr(index, "crs", None) is not None:
        return index.crs
    crs = cubes.crs_of(data)
    return pyproj.CRS.from_wkt(crs.to_wkt()) if crs is not None else None


def sources(data: Any) -> dict[str, list[str]]:
    """``{"derived_from": ids}`` of a cube that knows what it was made of."""
    ids = getattr(data, "attrs", {}).get("derived_from")
    return {"derived_from": list(ids)} if ids else {}
