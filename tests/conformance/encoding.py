"""Between the tests' JSON and what processes take and give."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.callback import LabeledArray

NODATA = {"type": "nodata"}


def encode(value: Any, *, chunked: bool, callback: Callable[[dict[str, Any]], Any]) -> Any:
    """A test's argument as a process takes it. ``callback`` compiles ``{"process_graph": ...}``."""

    def inner(v: Any) -> Any:
        return encode(v, chunked=chunked, callback=callback)

    if isinstance(value, list):
        return [inner(v) for v in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("type")
    if kind == "nodata":
        return None
    if kind == "labeled-array":
        return labeled([inner(p["value"]) for p in value["data"]], [p["key"] for p in value["data"]])
    if kind == "datacube":
        return datacube(value, chunked=chunked)
    if "process_graph" in value:
        return callback(value)
    return {k: inner(v) for k, v in value.items()}


def labeled(values: list[Any], labels: list[Any]) -> LabeledArray:
    """A labelled array of single values (object dtype: openEO's semantics of scalars)."""
    held = np.empty(len(values), object)
    held[:] = values
    return LabeledArray(held, labels)


def datacube(value: dict[str, Any], *, chunked: bool) -> xr.DataArray:
    """A cube of the tests' notation: numpy, or dask in blocks of 2 along x and y and of 1 elsewhere."""
    order = value["order"]
    dimensions = [value["dimensions"][name] for name in order]
    coords = {name: _labels(d) for name, d in zip(order, dimensions)}
    kinds = {name: _kind(name, d) for name, d in zip(order, dimensions)}
    crs = next((d["reference_system"] for d in dimensions if "reference_system" in d), None)
    shape = tuple(len(c) for c in coords.values())
    numeric = np.full(shape, math.nan) if value["data"] is None else np.array(_holes(value["data"])).reshape(shape)
    nodata = value.get("nodata")
    nodata = nodata[0] if isinstance(nodata, list) else nodata
    has_fill = nodata is not None and not math.isnan(nodata) and numeric.dtype.kind in "iu"
    data = cubes.cube(numeric, order, coords, kinds=kinds, crs=crs, nodata=nodata if has_fill else None)
    if not chunked:
        return data
    return data.chunk({d: 2 if kinds[d].startswith("spatial") else 1 for d in order})


def _holes(values: Any) -> Any:
    """Nested lists with NaN for null."""
    return [_holes(v) for v in values] if isinstance(values, list) else math.nan if values is None else values


def _labels(dimension: dict[str, Any]) -> Any:
    values = dimension["values"]
    if dimension["type"] == "temporal":
        instants = [instant(v) for v in values]
        if all(i is not None for i in instants):
            return np.array([np.datetime64(i.replace(tzinfo=None), "ns") for i in instants if i], "datetime64[ns]")
    return np.array(values, dtype=object) if any(isinstance(v, str) for v in values) else values


def _kind(name: str, dimension: dict[str, Any]) -> str:
    if dimension["type"] == "spatial":
        return cubes.X if dimension.get("axis", name) == "x" else cubes.Y
    return {"temporal": cubes.TEMPORAL, "bands": cubes.BANDS}.get(dimension["type"], cubes.OTHER)


def instant(text: Any) -> dt.datetime | None:
    """The instant a date-time text with time zone stands for (UTC), else None."""
    if isinstance(text, dict) and text.get("type") == "datetime":
        text = text["value"]
    if not isinstance(text, str) or "T" not in text:
        return None
    try:
        parsed = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed.astimezone(dt.UTC) if parsed.tzinfo else None


def decode(value: Any, expected: Any) -> Any:
    """A process's result in the tests' notation. ``expected`` tells a labelled array from a plain one."""
    if isinstance(value, xr.DataArray):
        return _decode_cube(value)
    if isinstance(value, LabeledArray):
        plain = [_native(v) for v in value.values]
        if isinstance(expected, dict) and value.labels is not None:
            return {
                "type": "labeled-array",
                "data": [{"key": _native(k), "value": v} for k, v in zip(value.labels, plain)],
            }
        return plain
    if isinstance(value, (list, tuple)):
        return [decode(v, None) for v in value]
    return _native(value)


def _native(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        text = str(value.astype("datetime64[us]"))
        return text.removesuffix(".000000") + "Z"
    if isinstance(value, np.ndarray):
        return [_native(v) for v in value] if value.ndim else _native(value[()])
    return value.item() if isinstance(value, np.generic) else value


def _decode_cube(data: xr.DataArray) -> dict[str, Any]:
    dimensions: dict[str, Any] = {}
    for name, kind in cubes.kinds(data).items():
        if kind in (cubes.X, cubes.Y):
            dimensions[name] = {"type": "spatial", "axis": kind[-1]}
        else:
            dimensions[name] = {"type": kind}
        dimensions[name]["values"] = [_native(v) for v in cubes.labels(data, name)]
    values = data.compute().values
    if (fill := data.attrs.get("nodata")) is not None:
        values = np.where(values == fill, np.nan, values)
    listed = values.tolist() if data.dims else ([] if values.size and np.isnan(values).all() else values.tolist())
    return {"type": "datacube", "order": [str(d) for d in data.dims], "dimensions": dimensions, "data": listed}
