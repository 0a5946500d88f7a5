"""`load_stac` and `load_result`: a lazy cube of whatever lies behind a STAC address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pystac
import xarray as xr

from processes import cube as cubes
from processes.blocks import blocks_of
from processes.combine.dimensions import drop_dimension, rename_dimension
from processes.demand import WGS84_NAME, Demand
from processes.env import Env, LoadReport
from processes.errors import ProcessError, parameter_invalid
from processes.extents import box_in, parse_interval
from processes.load.described import is_instant, narrowed, open_described, whole_file
from processes.load.fetch import Fetcher, shown
from processes.load.load_collection import conditions, cube_of_items, space_of
from processes.load.rasters import LABEL
from processes.load.source import WORKING_FACTOR, instant_of
from processes.load.stac_items import Converter
from processes.load.stac_search import Found, Query, absolute, as_item, find
from processes.mask.mask_polygon import mask_polygon
from processes.registry import process

PARTS = {"temporal": "t", "bands": "bands"}


@process()
def load_stac(
    url: str,
    spatial_extent: Mapping[str, Any] | None = None,
    temporal_extent: Sequence[Any] | None = None,
    bands: Sequence[str] | None = None,
    properties: Mapping[str, Any] | None = None,
    *,
    env: Env | None = None,
) -> xr.DataArray:
    """A lazy raster cube of a STAC item, list of items, collection, catalogue, API collection or search, or job result.

    Extents, bands and properties go to the server where it searches; the pixels read are those the rest of the graph
    looks at. Integers with a nodata value and without scale stay integers, float64 and long integers without nodata are
    float64, all else is float32. Results of openEO jobs come back with the dimensions and labels they were written with; of a running job, the result is waited for.

    Raises
    ------
    ProcessError
        ``NoDataAvailable`` (nothing found, with a reason per asset that could not be used), ``AccessDenied`` (a private
        network), ``ProcessParameterInvalid``, ``TemporalExtentEmpty``.
    """
    env = env or Env()
    if not isinstance(url, str) or not url.strip():
        raise parameter_invalid("url", "it must be an address")
    box, geometries = space_of(spatial_extent)
    own = Demand(box=box, interval=parse_interval(temporal_extent, "temporal_extent"))
    where, tests = conditions(properties or {})
    wanted_box = own.box or env.demand.box
    interval = own.interval or (None, None)
    if interval == (None, None) and env.demand.interval is not None:
        interval = env.demand.interval
    query = Query(box_in(wanted_box, WGS84_NAME) if wanted_box is not None else None, interval, tuple(where))
    with Fetcher(env.fetch_allow) as fetcher:
        found = find(url.strip(), query, fetcher, env)
        documents = [i for i in found.items if _selected(i, where, tests)]
        if not documents:
            raise _nothing(url, query, properties)
        return _cube(found, documents, own, geometries, bands, url, fetcher, env)


@process()
def load_result(
    id: str,
    spatial_extent: Mapping[str, Any] | None = None,
    temporal_extent: Sequence[Any] | None = None,
    bands: Sequence[str] | None = None,
    properties: Mapping[str, Any] | None = None,
    *,
    env: Env | None = None,
) -> xr.DataArray:
    """The result of a job of the user's own, by its id, or of any job, by the signed address of its results.

    Like `load_stac`. Raises ``JobNotFound`` for an id that is not of a finished job of the user.
    """
    env = env or Env()
    if str(id).startswith(("http://", "https://")):
        return load_stac(id, spatial_extent, temporal_extent, bands, properties, env=env)
    if env.results is None:
        raise ProcessError(
            "JobNotFound", f"There is no job '{id}' here; give the signed address of its results instead of its id."
        )
    document, items = env.results.result(str(id))
    box, geometries = space_of(spatial_extent)
    own = Demand(box=box, interval=parse_interval(temporal_extent, "temporal_extent"))
    where, tests = conditions(properties or {})
    if not items and document.get("assets"):  # files without a place on Earth
        items = [as_item(document)]
    found = Found([absolute(i, "") for i in items], {str(document.get("id")): document}, document)
    query = Query(box_in(box, WGS84_NAME) if box is not None else None, own.interval or (None, None))
    documents = [i for i in found.items if query.touches(i) and _selected(i, where, tests)]
    if not documents:
        raise _nothing(str(id), query, properties)
    with Fetcher(env.fetch_allow) as fetcher:
        return _cube(found, documents, own, geometries, bands, str(id), fetcher, env, local=True)


def _nothing(url: str, query: Query, properties: Any) -> ProcessError:
    return ProcessError(
        "NoDataAvailable",
        f"{shown(url)} has no item for the extents asked for (bbox {query.bbox or 'any'}, time {query.interval}"
        f"{', with the property filters' if properties else ''}).",
    )


def _selected(item: Mapping[str, Any], where: Sequence[tuple[str, str, Any]], tests: Sequence[tuple[str, Any]]) -> bool:
    held = item.get("properties") or {}
    return all(_meets(held.get(name), op, value) for name, op, value in where) and all(
        test(held.get(name)) for name, test in tests
    )


def _meets(held: Any, op: str, value: Any) -> bool:
    if held is None:
        return False
    try:
        return {
            "=": lambda: held == value, "!=": lambda: held != value, "<": lambda: held < value,
            "<=": lambda: held <= value, ">": lambda: held > value, ">=": lambda: held >= value,
            "in": lambda: held in value, "between": lambda: value[0] <= held <= value[1],
        }[op]()  # fmt: skip
    except TypeError:
        return False


def _cube(
    found: Found, documents: Sequence[Mapping[str, Any]], own: Demand, geometries: Any, bands: Sequence[str] | None,
    url: str, fetcher: Fetcher, env: Env, *, local: bool = False,
) -> xr.DataArray:  # fmt: skip
    converter = Converter(fetcher, env, found.collections, list(bands) if bands is not None else None, _local=local)
    described = _described(found, documents)
    if described is not None and (asset := whole_file(documents, described)) is not None:
        data = open_described(converter.stored(documents[0], asset), described, [str(d.get("id")) for d in documents])
        data = narrowed(data, own, bands)
        if env.ledger is not None:
            env.ledger.append(_report(shown(url), documents, data))
        return (
            mask_polygon(data, {"type": "GeometryCollection", "geometries": list(geometries)}) if geometries else data
        )
    if bands is None and env.demand.bands and set(env.demand.bands) <= converter.offered(documents):
        converter.wanted = list(env.demand.bands)  # what only the file can tell is left to the file
    items = [i for i in converter.convert(documents) if _inside(i, own)]
    if not items:
        raise ProcessError(
            "NoDataAvailable",
            f"Nothing of {shown(url)} can be loaded. {converter.explain() or 'Nothing is in the extents.'}",
        )
    if converter.reasons:
        env.log("warning", f"Left out of {shown(url)}: {converter.explain()}", code="StorageFailure")
    labels = _spread(items)
    if labels:
        env = replace(env, demand=env.demand.with_(interval=None))  # the instants now stand for the order alone
    timeless = described is not None and not any(d.get("type") == "temporal" for d in described.values())
    static = timeless or all(i.datetime is None for i in items)
    data = cube_of_items(
        items, own, env, bands=_names(bands, items), meta=_meta(found, items, described), static=static, geometries=geometries
    )  # fmt: skip
    if labels and not static:
        data = data.assign_coords(t=[labels.get(v, _text(v)) for v in data["t"].values])
    return _as_described(data, described) if described is not None else data


def _report(name: str, documents: Sequence[Mapping[str, Any]], data: xr.DataArray) -> LoadReport:
    block = int(np.prod([max(c) for c in data.chunks or ()])) * data.dtype.itemsize * WORKING_FACTOR
    ids = tuple(str(d.get("id")) for d in documents)
    return LoadReport(name, ids, int(data.size), int(data.nbytes), blocks_of(data), block)


def _inside(item: pystac.Item, own: Demand) -> bool:
    """Whether an item's instant lies in the extent asked for: of a file with many dates some do."""
    if own.interval is None or item.datetime is None:
        return True
    start, end = (np.datetime64(v.rstrip("Z"), "ns") if v else None for v in own.interval)
    when = instant_of(item)
    return bool((start is None or when >= start) and (end is None or when < end))


def _described(found: Found, documents: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """``cube:dimensions`` of job results; None for anything else."""
    if found.result is not None and found.result.get("cube:dimensions"):
        return dict(found.result["cube:dimensions"])
    several = [dict((d.get("properties") or {}).get("cube:dimensions") or {}) for d in documents]
    if all(several) and all(list(s) == list(several[0]) for s in several):
        return several[0]
    return None


def _spread(items: Sequence[pystac.Item]) -> dict[np.datetime64, str]:
    """Text labels along time by instant, where items have any that are no instants: each label gets an instant of its
    own, in the order in which labels come."""
    labels = list(dict.fromkeys(str(i.properties[LABEL]) for i in items if LABEL in i.properties))
    if not labels or all(is_instant(t) for t in labels):
        return {}
    for item in items:
        number = labels.index(str(item.properties[LABEL])) if LABEL in item.properties else len(labels)
        item.datetime = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)
    return {instant_of(i): str(i.properties[LABEL]) for i in items if LABEL in i.properties}


def _text(instant: np.datetime64) -> str:
    return f"{np.datetime_as_string(instant, unit='s')}Z"


def _names(bands: Sequence[str] | None, items: Sequence[pystac.Item]) -> list[str] | None:
    """Bands asked for, asset keys replaced by the names of their only band."""
    if bands is None:
        return None
    offered = {b["name"] for i in items for a in i.assets.values() for b in a.extra_fields["bands"]}
    alone = {
        k: a.extra_fields["bands"][0]["name"]
        for i in items
        for k, a in i.assets.items()
        if len(a.extra_fields["bands"]) == 1
    }
    return [b if b in offered else alone.get(b, b) for b in bands]


def _meta(found: Found, items: Sequence[pystac.Item], described: Mapping[str, Any] | None) -> dict[str, Any]:
    """What `cube_of_items` wants to know of a collection: its id and the order of its bands."""
    id = str((found.result or {}).get("id") or next(iter(found.collections), "") or items[0].id)
    meta: dict[str, Any] = {"id": id}
    boxes = [tuple(i.bbox) for i in items if i.bbox and len(i.bbox) == 4 and i.bbox[0] <= i.bbox[2]]
    if boxes and len(boxes) == len(items):  # an extent that reaches beyond all items is cut there
        west, south, east, north = zip(*boxes)
        meta["extent"] = {"spatial": {"bbox": [[min(west), min(south), max(east), max(north)]]}}
    return meta | {"cube:dimensions": {k: v for k, v in (described or {}).items() if v.get("type") == "bands"}}


def _as_described(data: xr.DataArray, described: Mapping[str, Any]) -> xr.DataArray:
    """The cube with the names and the order of dimensions it was written with."""
    names = {v.get("type") if v.get("type") != "spatial" else v.get("axis"): k for k, v in described.items()}
    pairs = [("temporal", "t"), ("bands", "bands"), ("x", "x"), ("y", "y")]
    for kind, present in pairs:
        if present in data.dims and kind not in names and data.sizes[present] == 1 and kind in PARTS:
            data = drop_dimension(data, present)
        elif present in data.dims and kind in names and names[kind] != present:
            data = rename_dimension(data, present, names[kind])
    order = [d for d in described if d in data.dims]
    return cubes.like(data.transpose(*order, ...), data)
