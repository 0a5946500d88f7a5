"""`vector_to_regular_points`, `vector_to_random_points`: samples of lines and polygons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
import xarray as xr
from shapely.geometry.base import BaseGeometry

from processes.errors import ProcessError, parameter_invalid
from processes.registry import process
from processes.vector.cube import as_vector, geometries_of, with_geometries
from processes.vector.shapes import of_each, require_metres

MOST_POINTS = 5_000_000


@process()
def vector_to_regular_points(data: Any, distance: float, group: bool = True) -> xr.DataArray:
    """Points ``distance`` metres apart: centres of a grid's cells within polygons, steps along lines.

    The grid starts at the upper left corner of each geometry's bounds; a polygon that holds no centre gives its first
    coordinate. Points are returned as they are. ``group`` makes a MultiPoint per geometry, otherwise there is a label
    per point. Raises ``UnitMismatch``, ``ProcessParameterInvalid``.
    """
    if not distance > 0 or not np.isfinite(distance):
        raise parameter_invalid("distance", "it must be a number of metres above zero")
    data = as_vector(data)
    require_metres(data)
    held = geometries_of(data)
    west, south, east, north = shapely.bounds(held).T
    expected = np.nansum(((east - west) / distance + 1) * ((north - south) / distance + 1))
    if expected > MOST_POINTS:
        raise parameter_invalid(
            "distance", f"it gives up to {expected:,.0f} points, {MOST_POINTS:,} are possible; increase it"
        )
    return _sampled(data, [_regular(g, distance) for g in held], group)


def _regular(geometry: BaseGeometry | None, distance: float) -> np.ndarray:
    """Coordinates (n, 2) of the regular samples of a geometry."""
    if geometry is None or geometry.is_empty:
        return np.empty((0, 2))
    areas, lines, points = _by_dimension(geometry)
    found = [shapely.get_coordinates(p) for p in points]
    for line in lines:
        steps = np.arange(0, line.length + distance * 1e-9, distance)
        found.append(shapely.get_coordinates(shapely.line_interpolate_point(line, steps)))
    if areas:
        whole = shapely.MultiPolygon(areas)
        west, south, east, north = whole.bounds
        xs = west + (np.arange(int(np.ceil((east - west) / distance))) + 0.5) * distance
        ys = north - (np.arange(int(np.ceil((north - south) / distance))) + 0.5) * distance
        grid_x, grid_y = (a.ravel() for a in np.meshgrid(xs, ys))
        shapely.prepare(whole)
        inside = shapely.intersects_xy(whole, grid_x, grid_y)
        centres = np.column_stack([grid_x[inside], grid_y[inside]])
        found.append(centres if len(centres) else shapely.get_coordinates(whole)[:1])
    return np.concatenate(found)


def _by_dimension(geometry: BaseGeometry) -> tuple[list[Any], list[Any], list[Any]]:
    """Polygons, lines and points a geometry is made of."""
    kinds: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    stack = [geometry]
    while stack:
        part = stack.pop()
        if hasattr(part, "geoms"):
            stack.extend(reversed(part.geoms))
        elif not part.is_empty:
            kinds[2 - shapely.get_dimensions(part)].append(part)
    return kinds


@process(pure=False)
def vector_to_random_points(
    data: Any,
    geometry_count: int | None = None,
    total_count: int | None = None,
    group: bool = True,
    seed: int | None = None,
) -> xr.DataArray:
    """Random points within the geometries, at least one each: uniform over the area, the length or the points.

    ``geometry_count`` bounds the points per geometry, ``total_count`` all of them (shared evenly, the first geometries
    get what is left over); without both there is one each. Points of the input are drawn once at most.
    Raises ``CountMismatch``, ``ProcessParameterInvalid``.
    """
    data = as_vector(data)
    held = geometries_of(data)
    rng = np.random.default_rng(seed)
    full = [k for k, g in enumerate(held) if g is not None and not g.is_empty]
    wanted = dict(zip(full, _shares(len(full), geometry_count, total_count)))
    if sum(wanted.values()) > MOST_POINTS:
        raise parameter_invalid("geometry_count", f"at most {MOST_POINTS:,} points are possible")
    return _sampled(data, [_random(g, wanted.get(k, 0), rng) for k, g in enumerate(held)], group)


def _shares(geometries: int, each: int | None, total: int | None) -> list[int]:
    for name, value in (("geometry_count", each), ("total_count", total)):
        if value is not None and (value != int(value) or value < 1):
            raise parameter_invalid(name, "it must be a whole number above zero")
    if total is None:
        return [int(each or 1)] * geometries
    if total < geometries:
        raise ProcessError(
            "CountMismatch", f"'total_count' is {total}, but there are {geometries} geometries: each gets a point."
        )
    base, left = divmod(int(total), geometries) if geometries else (0, 0)
    shares = [base + (k < left) for k in range(geometries)]
    return [min(s, int(each)) for s in shares] if each is not None else shares


def _random(geometry: BaseGeometry | None, count: int, rng: np.random.Generator) -> np.ndarray:
    """Coordinates (n, 2) of random samples of a geometry."""
    if geometry is None or not count:
        return np.empty((0, 2))
    areas, lines, points = _by_dimension(geometry)
    if areas:
        return _in_area(shapely.MultiPolygon(areas), count, rng)
    if lines:
        lengths = np.cumsum([line.length for line in lines])
        at = rng.uniform(0, lengths[-1], count)
        which = np.searchsorted(lengths, at, side="right").clip(max=len(lines) - 1)
        start = np.concatenate([[0.0], lengths[:-1]])[which]
        return shapely.get_coordinates(shapely.line_interpolate_point(np.array(lines, object)[which], at - start))
    places = np.unique(shapely.get_coordinates(np.array(points, object)), axis=0)
    return places[rng.permutation(len(places))[:count]]


def _in_area(area: BaseGeometry, count: int, rng: np.random.Generator) -> np.ndarray:
    west, south, east, north = area.bounds
    share = max(area.area / max((east - west) * (north - south), 1e-300), 1e-6)
    shapely.prepare(area)
    found = np.empty((0, 2))
    for _ in range(20):  # rejection: exact, and cheap unless the area fills little of its bounds
        batch = int(min((count - len(found)) / share * 1.2 + 8, 1_000_000))
        xy = rng.uniform((west, south), (east, north), (batch, 2))
        found = np.concatenate([found, xy[shapely.contains_xy(area, xy[:, 0], xy[:, 1])]])[:count]
        if len(found) == count:
            return found
    # slivers: a random place on random lines through the area
    more: list[np.ndarray] = []
    while len(found) + len(more) < count:
        y = rng.uniform(south, north)
        cut = area.intersection(shapely.LineString([(west, y), (east, y)]))
        inside = cut if not cut.is_empty else area.representative_point()
        more.append(shapely.get_coordinates(inside.interpolate(rng.random(), normalized=True) if inside.length else inside)[0])  # fmt: skip
    return np.concatenate([found, np.array(more)])


def _sampled(data: xr.DataArray, samples: Sequence[np.ndarray], group: bool) -> xr.DataArray:
    if group:
        return with_geometries(data, [shapely.MultiPoint(s) for s in samples])
    index: Any = np.concatenate([np.full(max(len(s), 1), k) for k, s in enumerate(samples)]) if len(samples) else []
    points = [p for s in samples for p in (shapely.points(s) if len(s) else [shapely.Point()])]
    return of_each(data, np.asarray(index, dtype=int), points)
