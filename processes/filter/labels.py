"""`filter_bands`, `filter_temporal`, `filter_labels`: keep some labels of a dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes import times
from processes.callback import Callback
from processes.demand import EVERYTHING, Demand, passes
from processes.errors import ProcessError, parameter_invalid
from processes.extents import intersect_intervals, parse_interval
from processes.registry import process


def filter_bands_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Narrows the bands to those named. Common names and wavelengths need the metadata of all bands."""
    names = args.get("bands") or ()
    plain = isinstance(names, (list, tuple)) and all(isinstance(n, str) and n not in cubes.COMMON_NAMES for n in names)
    if args.get("wavelengths") or not plain:
        return {"data": demand.with_(bands=None)}
    return {"data": demand.with_(bands=tuple(dict.fromkeys(names)) or None)}


@process(demand=filter_bands_demand)
def filter_bands(
    data: xr.DataArray, bands: Sequence[str] = (), wavelengths: Sequence[Sequence[float]] = ()
) -> xr.DataArray:
    """The bands that have one of the names or common names, then those in the wavelength ranges (um), in that order.

    Raises ``BandFilterParameterMissing``, ``DimensionMissing``.
    """
    if not bands and not wavelengths:
        raise ProcessError("BandFilterParameterMissing", "Give 'bands' or 'wavelengths': neither says what to keep.")
    dimension = cubes.bands_dim(data)
    present = cubes.labels(data, dimension)
    info = data.attrs.get("band_info", {})
    chosen: list[Any] = []
    for name in bands or ():
        chosen += [name] if name in present else cubes.bands_named(data, name)
    for pair in wavelengths or ():
        if len(pair) != 2 or pair[0] > pair[1]:
            raise parameter_invalid("wavelengths", f"{list(pair)} is not a range [shortest, longest] in micrometres")
        chosen += [
            b for b in present if (w := info.get(b, {}).get("wavelength")) is not None and pair[0] <= w <= pair[1]
        ]
    keep = [present.index(b) for b in dict.fromkeys(chosen)]
    result = data.isel({dimension: np.array(keep, int)})
    if info:
        result.attrs = {**result.attrs, "band_info": {b: info[b] for b in dict.fromkeys(chosen) if b in info}}
    return result


def filter_temporal_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Narrows the interval, on the loaded temporal dimension only."""
    if args.get("dimension") not in (None, "t"):
        return {"data": demand}
    try:
        extent = parse_interval(args.get("extent"))
        return {"data": demand.with_(interval=intersect_intervals(demand.interval, extent))}
    except (ProcessError, TypeError):  # an argument that is a parameter or wrong: the process itself will tell
        return {"data": EVERYTHING}


@process(demand=filter_temporal_demand)
def filter_temporal(data: xr.DataArray, extent: Sequence[str | None], dimension: str | None = None) -> xr.DataArray:
    """The dates in the half-open interval ``[start, end)``, on ``dimension`` or else on every temporal dimension.

    Raises ``DimensionNotAvailable``, ``TemporalExtentEmpty``.
    """
    start, end = parse_interval(extent)
    if start is None and end is None:
        raise parameter_invalid("extent", "one end at least must be given")
    names = [cubes.require(data, dimension)] if dimension is not None else cubes.dims_of(data, cubes.TEMPORAL)
    if not names:
        raise ProcessError("DimensionNotAvailable", "The cube has no temporal dimension.")
    for name in names:
        instants = times.instants_of(data, name)
        inside = np.ones(len(instants), bool)
        if start is not None:
            inside &= instants >= times.parse(start)
        if end is not None:
            inside &= instants < times.parse(end)
        data = data.isel({name: np.flatnonzero(inside)})
    return data


@process(demand=passes)  # each label is judged by itself
def filter_labels(data: xr.DataArray, condition: Callback, dimension: str, context: Any = None) -> xr.DataArray:
    """The labels of ``dimension`` for which ``condition(value, context)`` is true.

    Temporal labels are handed over as RFC 3339 text. Raises ``DimensionNotAvailable``.
    """
    cubes.require(data, dimension)
    keep = []
    for i, value in enumerate(cubes.plain_labels(data, dimension)):
        verdict = condition(value=value, context=context)
        verdict = getattr(verdict, "values", verdict)
        if verdict is not None and bool(np.all(np.asarray(verdict) == True)):  # noqa: E712 - NaN is not true
            keep.append(i)
    return data.isel({dimension: np.array(keep, int)})
