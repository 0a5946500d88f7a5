"""``load_collection``: a lazy cube from the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pystac
import xarray as xr
from odc.geo.geobox import GeoBox

from processes.blocks import blocks_of
from processes.demand import WGS84_NAME, Box, Demand, View
from processes.env import Env, LoadReport
from processes.errors import ProcessError, parameter_invalid
from processes.extents import (
    box_in,
    crop,
    geojson_geometries,
    geometry_bounds,
    parse_bbox,
    parse_interval,
)
from processes.load.items import Band, item_bands
from processes.load.overviews import step_of
from processes.load.remote import mark_assets
from processes.load.source import (
    WORKING_FACTOR,
    RasterSource,
    Slice,
    choose_grid,
    instant_of,
    make_source,
    time_slices,
    to_cube,
)
from processes.products import records
from processes.registry import process


@process()
def load_collection(
    id: str,
    spatial_extent: Mapping[str, Any] | None = None,
    temporal_extent: Sequence[Any] | None = None,
    bands: Sequence[str] | None = None,
    properties: Mapping[str, Any] | None = None,
    *,
    env: Env | None = None,
) -> xr.DataArray:
    """Load a collection as a lazy raster cube with dims ``t, bands, y, x`` (no ``t`` for static collections).

    Parameters
    ----------
    id : collection id
    spatial_extent : bounding box or GeoJSON; pixels whose centre is inside are loaded, outside polygons is nodata
    temporal_extent : half-open ``[start, end]``
    bands : names or common names, in the order wanted; by default all but those of `Band.extra` (per band footprints and angles)
    properties : item property -> condition (a callable on the value, or a plain value for equality)

    Raises
    ------
    ProcessError
        ``CollectionNotFound``, ``ProcessParameterInvalid``, ``TemporalExtentEmpty``, ``NoDataAvailable``.
    """
    env = env or Env()
    meta = env.catalogue.collection(id)
    static = not any(d.get("type") == "temporal" for d in meta.get("cube:dimensions", {}).values())
    box, geometries = space_of(spatial_extent)
    own = Demand(box=box, interval=None if static else parse_interval(temporal_extent, "temporal_extent"))
    items = find_items(id, own, env, properties)
    return cube_of_items(items, own, env, bands=bands, meta=meta, static=static, geometries=geometries)


def space_of(extent: Mapping[str, Any] | None) -> tuple[Box | None, list[dict[str, Any]] | None]:
    """``(box, geometries)`` of a load's spatial extent: a bounding box or GeoJSON."""
    if extent is None:
        return None, None
    if "type" in extent:
        geometries = geojson_geometries(extent)
        return (*geometry_bounds(geometries), WGS84_NAME), geometries
    return parse_bbox(extent, "spatial_extent"), None


def find_items(
    collection: str, own: Demand, env: Env, properties: Mapping[str, Any] | None = None
) -> list[pystac.Item]:
    """Items of a collection inside the user's own extents; where the user gave none, inside the demanded ones.

    What the graph demands beyond that is left to `demanded`: it must not change which grid is chosen.
    """
    wanted = own.box or env.demand.box
    bbox = box_in(wanted, WGS84_NAME) if wanted is not None else None
    interval = own.interval
    if interval == (None, None) and env.demand.interval is not None:
        interval = env.demand.interval
    where, tests = conditions(properties or {})
    items = env.catalogue.search(collection, bbox=bbox, interval=interval, where=where)
    items = [i for i in items if all(test(i.properties.get(name)) for name, test in tests)]
    mark_assets(items, env.fetch_allow)
    if not items:
        raise ProcessError(
            "NoDataAvailable",
            f"Collection '{collection}' has no item for the extents asked for (bbox {_show(bbox)}, time {_show(interval)}"
            f"{', with the property filters' if properties else ''}).",
        )
    return items


def demanded(items: Sequence[pystac.Item], demand: Demand) -> list[pystac.Item]:
    """The items the rest of the graph looks at; all of them rather than none, so that a cube keeps its dimensions."""
    from shapely.geometry import box as rectangle
    from shapely.geometry import shape

    out = list(items)
    if demand.interval is not None:
        start, end = (np.datetime64(v.rstrip("Z"), "ns") if v else None for v in demand.interval)
        out = [i for i in out if (start is None or instant_of(i) >= start) and (end is None or instant_of(i) < end)]
    if demand.box is not None:
        area = rectangle(*box_in(demand.box, WGS84_NAME)).buffer(0.01 + demand.buffer * 0.001)
        out = [i for i in out if i.geometry is None or shape(i.geometry).intersects(area)]
    return out or list(items[:1])


def _show(value: Any) -> str:
    return "any" if value is None else str(tuple(round(v, 5) if isinstance(v, float) else v for v in value))


def conditions(
    properties: Mapping[str, Any],
) -> tuple[list[tuple[str, str, Any]], list[tuple[str, Callable[[Any], bool]]]]:
    """Split conditions on properties into those the index answers and those tested on items (absent property: not selected)."""
    where: list[tuple[str, str, Any]] = []
    tests: list[tuple[str, Callable[[Any], bool]]] = []
    for name, condition in properties.items():
        if not callable(condition):
            where.append((name, "=", condition))
        elif (simple := getattr(condition, "comparison", None)) is not None:
            where.append((name, *simple))
        else:
            tests.append((name, partial(_holds, condition)))
    return where, tests


def _holds(condition: Callable[..., Any], value: Any) -> bool:
    return value is not None and bool(condition(value=value))


def cube_of_items(
    items: Sequence[pystac.Item],
    own: Demand,
    env: Env,
    *,
    bands: Sequence[str] | None = None,
    meta: Mapping[str, Any] | None = None,
    static: bool = False,
    geometries: Sequence[Mapping[str, Any]] | None = None,
) -> xr.DataArray:
    """Lazy cube of items: bands resolved, grid chosen and cropped to what is demanded, blocks laid out."""
    offered = {i.id: item_bands(i) for i in items}
    names = resolve_bands(bands, offered, meta)
    wanted = [b for per in offered.values() for n, b in per.items() if n in names]
    geobox = choose_grid(items, wanted, own.box, _covered(meta))
    # from here on only what the rest of the graph looks at; the grid stays the one of the user's own request
    items = demanded([i for i in items if not offered[i.id].keys().isdisjoint(names)], env.demand)
    names = demanded_bands(names, env.demand, wanted)
    if env.demand.box is not None:
        inside = crop(geobox, box_in(env.demand.box, str(geobox.crs)), env.demand.buffer)
        if inside is None:
            raise ProcessError("NoDataAvailable", "The spatial extents in the process graph do not touch each other.")
        geobox = geobox[inside]
    seen = viewed(geobox, env.demand.view, own.box)
    slices = time_slices(items, offered, names)
    if static:
        slices = [_flattened(slices)]
    source = make_source(
        slices, names, seen or geobox, skip_unreadable=env.limits.skip_unreadable, overviews=seen is not None
    )
    data = to_cube(source, env.demand, env.limits, derived_from=[i.id for i in items])
    data.attrs["products"] = records(items)
    if env.ledger is not None:
        env.ledger.append(_report(str((meta or {}).get("id", "")), items, data, source))
    if static:
        data = _without_time(data)
    if geometries is not None:
        from processes.mask.mask_polygon import mask_polygon

        data = mask_polygon(data, {"type": "GeometryCollection", "geometries": list(geometries)})
    return data


def viewed(geobox: GeoBox, view: View | None, box: Box | None) -> GeoBox | None:
    """The grid on which the pixels of ``geobox`` are looked at; None where they are wanted as they are.

    A map tile is cut to ``box``, the extent of the load. The grid of a resampling replaces the load's own where it is
    at least twice as coarse: overviews have nothing to give to a finer one.
    """
    if view is None:
        return None
    if view.grid is not None:
        inside = crop(view.grid, box_in(box, str(view.grid.crs))) if box is not None else (slice(None), slice(None))
        if inside is None:
            raise ProcessError("NoDataAvailable", "The map tile lies outside the spatial extent of the data.")
        return view.grid[inside]
    from processes.resample.grids import target_grid

    target = target_grid(geobox, view.resolution, view.projection, view.align)
    return target if step_of(geobox, target) >= 2 else None


def demanded_bands(names: Sequence[str], demand: Demand, bands: Sequence[Band]) -> list[str]:
    """The names the rest of the graph looks at, by name or common name; all of them where it looks at anything else."""
    if demand.bands is None:
        return list(names)
    common: dict[str, set[str]] = {}
    for band in bands:
        if band.common_name:
            common.setdefault(band.common_name, set()).add(band.name)
    kept: set[str] = set()
    for wanted in demand.bands:
        if wanted in names:
            kept.add(wanted)
        elif wanted in common:
            kept |= common[wanted]
        else:
            return list(names)
    return [n for n in names if n in kept] or list(names)


def _report(collection: str, items: Sequence[pystac.Item], data: xr.DataArray, source: RasterSource) -> LoadReport:
    stored = sum(
        np.dtype(per[0].dtype).itemsize for s in source.slices for per in s.bands if per and per[0].source is None
    )
    return LoadReport(
        collection, tuple(i.id for i in items), int(data.size), stored * data.sizes["y"] * data.sizes["x"],
        blocks_of(data), int(np.prod([max(c) for c in data.chunks or ()])) * data.dtype.itemsize * WORKING_FACTOR,
    )  # fmt: skip


def _flattened(slices: Sequence[Any]) -> Any:
    bands = tuple(tuple(b for s in slices for b in s.bands[k]) for k in range(len(slices[0].bands)))
    return Slice(slices[0].label, tuple(i for s in slices for i in s.items), bands)


def _without_time(data: xr.DataArray) -> xr.DataArray:
    out = data.isel(t=0, drop=True)
    out.attrs = {**data.attrs, "dims": {d: k for d, k in data.attrs["dims"].items() if d != "t"}}
    return out


def _covered(meta: Mapping[str, Any] | None) -> tuple[float, ...] | None:
    boxes = ((meta or {}).get("extent") or {}).get("spatial", {}).get("bbox")
    return tuple(boxes[0][:4] if len(boxes[0]) == 4 else (*boxes[0][:2], *boxes[0][3:5])) if boxes else None


def resolve_bands(
    asked: Sequence[str] | None, offered: Mapping[str, Mapping[str, Band]], meta: Mapping[str, Any] | None = None
) -> list[str]:
    """Band names to load, in order: as asked (name or common name), else those the collection declares.

    Raises ``ProcessParameterInvalid`` naming the unknown band and those there are.
    """
    available: dict[str, Band] = {}
    for per in offered.values():
        for name, band in per.items():
            available.setdefault(name, band)
    declared = [
        v
        for d in ((meta or {}).get("cube:dimensions") or {}).values()
        if d.get("type") == "bands"
        for v in d.get("values", [])
    ]
    if asked is None:
        usual = {n for n, band in available.items() if not band.extra} or set(available)
        return [n for n in declared if n in usual] or [n for n in available if n in usual]
    common: dict[str, str] = {}
    for name, band in available.items():
        if band.common_name:
            common.setdefault(band.common_name, name)
    out: list[str] = []
    for name in asked:
        found = name if name in available else common.get(name)
        if found is None:
            known = ", ".join(sorted(set(declared) or set(available)))
            if name in declared:
                raise ProcessError("NoDataAvailable", f"No item in the extents asked for has the band '{name}'.")
            raise parameter_invalid("bands", f"band '{name}' does not exist; there are {known}")
        if found in out:
            raise parameter_invalid("bands", f"band '{name}' comes more than once")
        out.append(found)
    return out
