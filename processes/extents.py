"""Where and when: bounding boxes, GeoJSON extents and temporal intervals as users write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import ceil, floor, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from processes.demand import Box, Interval
from processes.errors import ProcessError, parameter_invalid

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

WGS84 = "EPSG:4326"
# A pixel centre this close (in pixels) to the edge of an extent counts as inside: absorbs float noise of projections.
EDGE = 1e-6


@lru_cache(maxsize=256)
def crs_name(crs: Any) -> str:
    """Canonical text of a CRS given as EPSG code (int or text), WKT2 or PROJ: ``EPSG:n`` where it has a code."""
    try:
        parsed = CRS.from_user_input(crs if crs not in (None, "") else WGS84)
    except CRSError as error:
        raise ProcessError(
            "ProcessParameterInvalid", f"'{crs}' is not a coordinate reference system: {error}"
        ) from error
    code = parsed.to_epsg()
    return f"EPSG:{code}" if code else parsed.to_wkt()


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def is_geographic(crs: str) -> bool:
    return CRS.from_user_input(crs).is_geographic


def parse_bbox(extent: Mapping[str, Any], parameter: str = "extent") -> Box:
    """``{west, south, east, north[, crs]}`` -> `Box`.

    In geographic coordinates ``west > east`` crosses the antimeridian when the box is then under 180 degrees wide.
    Raises ``ProcessParameterInvalid`` for missing, non-finite or inverted coordinates and unknown CRS.
    """
    try:
        west, south, east, north = (float(extent[k]) for k in ("west", "south", "east", "north"))
    except KeyError as error:
        raise parameter_invalid(parameter, f"{error.args[0]} is missing") from None
    except (TypeError, ValueError):
        raise parameter_invalid(parameter, "west, south, east and north must be numbers") from None
    crs = crs_name(extent.get("crs"))
    if not all(isfinite(v) for v in (west, south, east, north)):
        raise parameter_invalid(parameter, "coordinates must be finite")
    if south > north:
        raise parameter_invalid(parameter, f"south ({south:g}) is greater than north ({north:g})")
    if west > east and not (is_geographic(crs) and west - east > 180):
        raise parameter_invalid(parameter, f"west ({west:g}) is greater than east ({east:g})")
    if is_geographic(crs) and (abs(south) > 90 or abs(north) > 90 or abs(west) > 360 or abs(east) > 360):
        raise parameter_invalid(
            parameter,
            f"longitudes and latitudes are outside the globe; set 'crs' if the numbers are metres (it is {crs})",
        )
    return west, south, east, north, crs


def box_in(box: Box, crs: str) -> tuple[float, float, float, float]:
    """Bounds (west, south, east, north) of ``box`` in another CRS, edges densified. ``west > east`` is unwrapped first."""
    west, south, east, north, source = box
    if west > east:
        east += 360.0
    if crs_name(crs) == source:
        return west, south, east, north
    points = 21
    t = np.linspace(0, 1, points)
    xs = np.concatenate(
        [west + (east - west) * t, west + (east - west) * t, np.full(points, west), np.full(points, east)]
    )
    ys = np.concatenate(
        [np.full(points, south), np.full(points, north), south + (north - south) * t, south + (north - south) * t]
    )
    x, y = transformer(source, crs).transform(xs, ys)
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    if not len(x) or not len(y):
        raise ProcessError("NoDataAvailable", f"The extent {box[:4]} ({source}) cannot be expressed in {crs}.")
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def intersect(a: Box | None, b: Box | None) -> Box | None:
    """The box inside both, in ``a``'s CRS (``b`` is enclosed by its bounds there). Empty: raises ``NoDataAvailable``."""
    if a is None or b is None:
        return a or b
    if a[0] > a[2] or (b[0] > b[2]):
        return a  # across the antimeridian: keep the first, the second is applied later as a filter
    w, s, e, n = box_in(b, a[4])
    out = (max(a[0], w), max(a[1], s), min(a[2], e), min(a[3], n), a[4])
    if out[0] > out[2] or out[1] > out[3]:
        raise ProcessError("NoDataAvailable", f"The spatial extents asked for do not touch each other: {a} and {b}.")
    return out


def geometry_bounds(geometries: Iterable[Mapping[str, Any]]) -> tuple[float, float, float, float]:
    """Bounds of GeoJSON-like geometries."""
    shapes = [g for g in map(_shape, geometries) if not g.is_empty]
    bounds = np.array([g.bounds for g in shapes])
    if not len(bounds):
        raise parameter_invalid("geometries", "there is no geometry in it")
    return (*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist())


def geojson_geometries(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Geometries of a GeoJSON object (Feature, FeatureCollection, GeometryCollection or geometry), in EPSG:4326.

    A ``crs`` member (old GeoJSON) is honoured. Raises ``ProcessParameterInvalid``.
    """
    kind = value.get("type")
    if kind == "FeatureCollection":
        features = value.get("features")
        listed = features if isinstance(features, list) else []
        found = [g for f in listed if isinstance(f, Mapping) and (g := f.get("geometry"))]
    elif kind == "Feature":
        found = [value["geometry"]] if value.get("geometry") else []
    elif kind == "GeometryCollection":
        members = value.get("geometries")
        found = list(members) if isinstance(members, list) else []
    elif kind in ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"):
        found = [dict(value)]
    else:
        raise parameter_invalid("geometries", f"'{kind}' is not a GeoJSON type")
    if not found:
        raise parameter_invalid("geometries", "there is no geometry in it")
    for geometry in found:
        _shape(geometry)  # whoever uses it may rely on it
    crs = value.get("crs")
    properties = crs.get("properties") if isinstance(crs, Mapping) else None
    name = properties.get("name") if isinstance(properties, Mapping) else None
    source = crs_name(name) if name and "CRS84" not in str(name) else WGS84
    if source == WGS84:
        return [dict(g) for g in found]
    from shapely.geometry import mapping
    from shapely.ops import transform

    return [mapping(transform(transformer(source, WGS84).transform, _shape(g))) for g in found]


def _shape(geometry: Any) -> BaseGeometry:
    """The geometry of a GeoJSON object. Raises ``ProcessParameterInvalid`` where its coordinates are none."""
    import shapely.errors
    from shapely.geometry import shape

    try:
        made = shape(geometry)
        made.bounds  # noqa: B018  (some mistakes show only when somebody looks)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise parameter_invalid("geometries", f"it is not valid GeoJSON ({error})") from None
    return made


def crop(geobox: GeoBox, bounds: Sequence[float], buffer: int = 0) -> tuple[slice, slice] | None:
    """Rows and columns of the pixels whose centre lies inside ``bounds`` (west, south, east, north in the grid's CRS).

    An extent thinner than a pixel keeps the pixel its centre falls in. None where nothing is left.
    """
    a = geobox.affine
    west, south, east, north = bounds

    def span(low: float, high: float, n: int) -> slice | None:
        first, last = ceil(low - 0.5 - EDGE), floor(high - 0.5 + EDGE)
        if first > last:
            first = last = floor((low + high) / 2)
        first, last = max(first - buffer, 0), min(last + buffer, n - 1)
        return slice(first, last + 1) if first <= last else None

    cols = span((west - a.c) / a.a, (east - a.c) / a.a, geobox.shape[1])
    rows = span((north - a.f) / a.e, (south - a.f) / a.e, geobox.shape[0])
    return (rows, cols) if rows is not None and cols is not None else None


def parse_interval(extent: Sequence[Any] | None, parameter: str = "extent") -> Interval:
    """``[start, end]`` as the user wrote it -> half-open `Interval` of ISO instants (UTC), None for unbounded.

    Accepts dates, date-times, and years. Raises ``TemporalExtentEmpty`` where nothing can be inside.
    """
    if extent is None:
        return None, None
    if isinstance(extent, str) or len(extent) != 2:
        raise parameter_invalid(parameter, "it must be a list of two instants [start, end]")
    start, end = (instant(v, parameter) for v in extent)
    if start is not None and end is not None and start >= end:
        raise ProcessError(
            "TemporalExtentEmpty",
            f"The temporal extent [{extent[0]}, {extent[1]}] is empty: the end is exclusive and must be after the start.",
        )
    return start, end


def instant(value: Any, parameter: str = "extent") -> str | None:
    """ISO 8601 UTC text, microseconds dropped where zero, of a date, date-time or year; None stays None."""
    import pandas as pd

    if value is None or value == "..":
        return None
    try:
        stamp = pd.Timestamp(str(value))
    except ValueError:
        raise parameter_invalid(parameter, f"'{value}' is not a date or date-time (RFC 3339)") from None
    if stamp is pd.NaT:
        raise parameter_invalid(parameter, f"'{value}' is not a date or date-time (RFC 3339)")
    stamp = stamp.tz_convert("UTC").tz_localize(None) if stamp.tzinfo else stamp
    return stamp.isoformat() + "Z"


def intersect_intervals(a: Interval | None, b: Interval | None) -> Interval:
    """Instants inside both half-open intervals."""
    starts = [i[0] for i in (a, b) if i and i[0] is not None]
    ends = [i[1] for i in (a, b) if i and i[1] is not None]
    start, end = max(starts, default=None), min(ends, default=None)
    if start is not None and end is not None and start >= end:
        raise ProcessError("TemporalExtentEmpty", f"The temporal extents asked for do not overlap: {a} and {b}.")
    return start, end
