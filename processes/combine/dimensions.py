"""Dimensions themselves: add, drop, rename, flatten, unflatten, name and read their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes import times
from processes.demand import EVERYTHING, Demand
from processes.errors import ProcessError, parameter_invalid
from processes.registry import process

_LOADED = frozenset({"t", "bands", "x", "y"})  # names that demand rules know
_TYPES = {
    "bands": cubes.BANDS,
    "temporal": cubes.TEMPORAL,
    "other": cubes.OTHER,
    "geometry": cubes.GEOMETRY,
}


def _exists(data: xr.DataArray, name: str) -> None:
    if name in data.dims:
        raise ProcessError("DimensionExists", f"A dimension with the name '{name}' already exists.", dimension=name)


@process()
def create_data_cube() -> xr.DataArray:
    """A cube without dimensions; its only value is nodata. `add_dimension` gives it dimensions."""
    return cubes.cube(np.float32(np.nan), [], {})


def add_dimension_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """What is wanted of the new dimension says nothing about the input."""
    kind = args.get("type", "other")
    if kind == "temporal" or args.get("name") == "t":
        return {"data": demand.with_(interval=None)}
    if kind == "bands" or args.get("name") == "bands":
        return {"data": demand.with_(bands=None)}
    return {"data": demand} if kind == "other" and args.get("name") not in _LOADED else {"data": EVERYTHING}


@process(demand=add_dimension_demand)
def add_dimension(data: xr.DataArray, name: str, label: Any, type: str = "other") -> xr.DataArray:
    """The cube with a new first dimension of one ``label`` (of geometries: WKT). Raises ``DimensionExists``."""
    _exists(data, name)
    if type == "spatial":
        taken = set(cubes.kinds(data).values())
        free = [k for k in (cubes.X, cubes.Y, "spatial:z") if k not in taken]
        if not free:
            raise ProcessError("DimensionExists", "The cube has dimensions for all spatial axes already.")
        kind = free[0]
    elif type in _TYPES:
        kind = _TYPES[type]
    else:
        raise parameter_invalid("type", f"'{type}' is not one of {', '.join([*_TYPES, 'spatial'])}")
    value = times.parse(label) if kind == cubes.TEMPORAL and _is_instant(label) else label
    if kind == cubes.GEOMETRY:
        value = _geometry(label)
    out = data.expand_dims({name: [value]})
    return cubes.like(out, data, dims={name: kind})


def _geometry(label: Any) -> Any:
    """The geometry of a label, which the standard wants to be a number or text: well-known text."""
    import shapely

    try:
        return shapely.from_wkt(label)
    except (TypeError, shapely.errors.ShapelyError) as error:
        raise parameter_invalid(
            "label", f"a dimension of geometries needs one as well-known text, such as 'POINT (3 45)', not {label!r}."
        ) from error


def _is_instant(label: Any) -> bool:
    """Whether a temporal label is a full date; others (``2020-djf``, ``before``) stay text."""
    text = str(label)
    try:
        times.parse(text)
    except ProcessError:
        return False
    return len(text) >= 10 and text[:10].count("-") == 2


def drop_dimension_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Which label is left is not known here: all of the dropped dimension is wanted."""
    name = args.get("name")
    if name == "t":
        return {"data": demand.with_(interval=None)}
    if name == "bands":
        return {"data": demand.with_(bands=None)}
    return {"data": EVERYTHING}


@process(demand=drop_dimension_demand)
def drop_dimension(data: xr.DataArray, name: str) -> xr.DataArray:
    """The cube without a dimension that has one label. Raises ``DimensionNotAvailable``, ``DimensionLabelCountMismatch``."""
    cubes.require(data, name)
    if data.sizes[name] != 1:
        raise ProcessError(
            "DimensionLabelCountMismatch",
            f"Dimension '{name}' has {data.sizes[name]} labels; reduce it, or filter it to one label, before dropping it.",
        )
    return cubes.like(data.isel({name: 0}, drop=True), data)


def rename_dimension_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """A dimension that takes a loaded dimension's name is a barrier: later demands by that name mean another one."""
    source, target = args.get("source"), args.get("target")
    if target in _LOADED or not isinstance(source, str):
        return {"data": EVERYTHING}
    whole = frozenset(source if w == target else w for w in demand.whole)
    return {"data": demand.with_(whole=whole)}


@process(demand=rename_dimension_demand)
def rename_dimension(data: xr.DataArray, source: str, target: str) -> xr.DataArray:
    """The cube with dimension ``source`` called ``target``; its type and labels stay.

    Raises ``DimensionNotAvailable``, ``DimensionExists``.
    """
    cubes.require(data, source)
    if source == target:
        return data
    _exists(data, target)
    kinds = {target if d == source else d: k for d, k in cubes.kinds(data).items()}
    out = data.rename({source: target})
    out.attrs = {**data.attrs, "dims": kinds}
    return out


def rename_labels_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """New names of bands are translated back where all old names are given; renamed dates mean all dates."""
    name, target, source = args.get("dimension"), args.get("target"), args.get("source") or []
    if name == "t":
        return {"data": demand.with_(interval=None)}
    if name != "bands":
        return {"data": EVERYTHING if name in _LOADED else demand}
    if demand.bands is None or not isinstance(target, list) or not isinstance(source, list):
        return {"data": demand.with_(bands=None)}
    if not source or len(source) != len(target):
        return {"data": demand.with_(bands=None)}
    back = dict(zip(target, source))
    # all renamed labels must exist in the input (LabelNotAvailable otherwise): they are wanted, asked for or not
    return {"data": demand.with_(bands=tuple(dict.fromkeys([*(back.get(b, b) for b in demand.bands), *source])))}


@process(demand=rename_labels_demand)
def rename_labels(
    data: xr.DataArray, dimension: str, target: Sequence[Any], source: Sequence[Any] = ()
) -> xr.DataArray:
    """The cube with labels ``source`` of ``dimension`` called ``target``; the order of the data stays.

    Without ``source``, the labels must be 0, 1, 2 ... and the first ones are replaced.
    Raises ``DimensionNotAvailable``, ``LabelsNotEnumerated``, ``LabelMismatch``, ``LabelNotAvailable``, ``LabelExists``.
    """
    present = cubes.plain_labels(data, dimension)
    given = list(source or ())
    if not given:
        if present != list(range(len(present))):
            raise ProcessError(
                "LabelsNotEnumerated",
                f"The labels of '{dimension}' are not 0, 1, 2 ...; name those to replace in 'source'.",
            )
        given = present[: len(target)]
    if len(given) != len(target):
        raise ProcessError(
            "LabelMismatch", f"'target' has {len(target)} labels and 'source' {len(given)}: they must be as many."
        )
    given = [_as_present(v, present, data, dimension) for v in given]
    kept = [v for v in present if v not in given]
    if clash := next((v for i, v in enumerate(target) if v in kept or v in list(target)[:i]), None):
        raise ProcessError("LabelExists", f"Dimension '{dimension}' has a label '{clash}' already.")
    renamed = dict(zip(given, target))
    labels = [renamed.get(v, v) for v in present]
    out = data.assign_coords({dimension: _coordinate(labels)})
    if info := data.attrs.get("band_info"):
        out.attrs = {**data.attrs, "band_info": {renamed.get(b, b): v for b, v in info.items()}}
    return out


def _as_present(label: Any, present: list[Any], data: xr.DataArray, dimension: str) -> Any:
    """The present label that ``label`` means: instants may be written in any way."""
    if label in present:
        return label
    if cubes.labels(data, dimension) and isinstance(cubes.labels(data, dimension)[0], np.datetime64):
        instants = times.instants_of(data, dimension)
        hits = np.flatnonzero(instants == times.parse(str(label)))
        if len(hits):
            return present[int(hits[0])]
    raise ProcessError("LabelNotAvailable", f"Dimension '{dimension}' has no label '{label}'; it has {present}.")


def _coordinate(labels: list[Any]) -> Any:
    """Labels as a coordinate; text and numbers together keep their types."""
    if len({isinstance(v, str) for v in labels}) > 1:
        out = np.empty(len(labels), object)
        out[:] = labels
        return out
    return labels


@process()
def dimension_labels(data: xr.DataArray, dimension: str) -> list[Any]:
    """Labels of a dimension, in order; instants as RFC 3339 text. Raises ``DimensionNotAvailable``."""
    return cubes.plain_labels(data, dimension)


@process()
def flatten_dimensions(
    data: xr.DataArray, dimensions: Sequence[str], target_dimension: str, label_separator: str = "~"
) -> xr.DataArray:
    """The cube with ``dimensions`` laid out one inside the other along ``target_dimension`` (type other).

    Labels are joined by the separator; the last dimension varies fastest. The new dimension is the first.
    Raises ``DimensionNotAvailable``, ``TargetDimensionExists``.
    """
    names = list(dimensions)
    for d in names:
        cubes.require(data, d)
    cubes.check_unique(names, "Dimension")
    if target_dimension in data.dims:
        raise ProcessError("TargetDimensionExists", f"A dimension '{target_dimension}' already exists.")
    labels = [""]
    for i, d in enumerate(names):
        own = [str(v) for v in cubes.plain_labels(data, d)]
        labels = own if i == 0 else [f"{a}{label_separator}{b}" for a in labels for b in own]
    rest = [d for d in data.dims if d not in names]
    moved = data.transpose(*names, *rest)
    values = moved.data.reshape((len(labels), *(data.sizes[d] for d in rest)))
    coords = {k: c for k, c in data.coords.items() if not set(c.dims) & set(names)}
    out = xr.DataArray(values, dims=[target_dimension, *rest], coords={**coords, target_dimension: labels})
    return cubes.like(out, data, dims={target_dimension: cubes.OTHER})


@process()
def unflatten_dimension(
    data: xr.DataArray, dimension: str, target_dimensions: Sequence[str], label_separator: str = "~"
) -> xr.DataArray:
    """The cube with ``dimension`` split into ``target_dimensions`` (type other) by splitting its labels.

    The labels must be all combinations of their parts, in any order. The new dimensions come first.
    Raises ``DimensionNotAvailable``, ``TargetDimensionExists``, ``ProcessParameterInvalid``.
    """
    cubes.require(data, dimension)
    names = list(target_dimensions)
    cubes.check_unique(names, "Dimension")
    if taken := next((d for d in names if d in data.dims), None):
        raise ProcessError("TargetDimensionExists", f"A dimension '{taken}' already exists.")
    split = [str(v).split(label_separator) for v in cubes.plain_labels(data, dimension)]
    if wrong := next((v for v in split if len(v) != len(names)), None):
        raise parameter_invalid(
            "label_separator",
            f"label '{label_separator.join(wrong)}' has {len(wrong)} parts for {len(names)} dimensions",
        )
    labels = [list(dict.fromkeys(v[i] for v in split)) for i in range(len(names))]
    at = {tuple(v): i for i, v in enumerate(split)}
    combinations = [tuple(own[k] for own, k in zip(labels, index)) for index in np.ndindex(*map(len, labels))]
    if len(at) != len(split) or set(combinations) != set(at):
        raise parameter_invalid(
            "data", f"the labels of '{dimension}' are not all combinations of the labels {labels}, each once"
        )
    rest = [d for d in data.dims if d != dimension]
    order = [at[c] for c in combinations]
    moved = data.transpose(dimension, *rest)
    moved = moved if order == list(range(len(order))) else moved.isel({dimension: order})
    values = moved.data.reshape((*map(len, labels), *(data.sizes[d] for d in rest)))
    coords = {k: c for k, c in data.coords.items() if dimension not in c.dims}
    out = xr.DataArray(values, dims=[*names, *rest], coords={**coords, **dict(zip(names, labels))})
    return cubes.like(out, data, dims=dict.fromkeys(names, cubes.OTHER))
