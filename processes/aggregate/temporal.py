"""`aggregate_temporal`, `aggregate_temporal_period`: groups of dates become one each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes import times
from processes.aggregate.periods import PERIODS, label, ordinals
from processes.blocks import reduce_groups
from processes.callback import Callback
from processes.callback_graphs import mergeable
from processes.demand import EVERYTHING, Demand
from processes.errors import ProcessError, parameter_invalid
from processes.registry import process

_CLOCK = re.compile(r"\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?$")


def aggregate_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Every date is needed, and the temporal dimension whole unless the reducer streams; the rest passes."""
    name = args.get("dimension") or "t"
    if name != "t":
        return {"data": EVERYTHING}
    whole = demand.whole if mergeable(args.get("reducer")) else demand.whole | {name}
    return {"data": demand.with_(interval=None, whole=whole)}


@process(demand=aggregate_demand)
def aggregate_temporal_period(
    data: xr.DataArray,
    period: str,
    reducer: Callback,
    dimension: str | None = None,
    context: Any = None,
) -> xr.DataArray:
    """One value per calendar period from the first date to the last, empty periods included.

    Raises ``TooManyDimensions``, ``DimensionNotAvailable``.
    """
    name = cubes.temporal_dim(data, dimension)
    if period not in PERIODS:
        raise parameter_invalid("period", f"'{period}' is not one of {', '.join(PERIODS)}")
    found = ordinals(period, times.instants_of(data, name))
    span = np.arange(found.min(), found.max() + 1) if len(found) else np.empty(0, "i8")
    groups = [np.flatnonzero(found == o) for o in span]
    return reduce_groups(data, reducer, name, groups, [label(period, o) for o in span], context=context)


@process(demand=aggregate_demand)
def aggregate_temporal(
    data: xr.DataArray,
    intervals: Sequence[Sequence[str | None]],
    reducer: Callback,
    labels: Sequence[Any] = (),
    dimension: str | None = None,
    context: Any = None,
) -> xr.DataArray:
    """One value per half-open interval, in the order given; intervals may overlap, be unbounded or be clock times.

    Raises ``TooManyDimensions``, ``DimensionNotAvailable``, ``TemporalExtentEmpty``,
    ``DistinctDimensionLabelsRequired``.
    """
    name = cubes.temporal_dim(data, dimension)
    instants = times.instants_of(data, name)
    groups = [np.flatnonzero(_inside(instants, start, end)) for start, end in intervals]
    names = [str(v) for v in labels or ()] or [_start(instants, i[0]) for i in intervals]
    if len(names) != len(intervals):
        raise parameter_invalid("labels", f"there are {len(names)} labels for {len(intervals)} intervals")
    if len(set(names)) < len(names):
        raise ProcessError(
            "DistinctDimensionLabelsRequired",
            "Several intervals start at the same instant; give each a label of its own in 'labels'.",
        )
    return reduce_groups(data, reducer, name, groups, names, context=context)


def _start(instants: np.ndarray, start: str | None) -> str:
    """Default label of an interval: its start as given; where it is open, the first instant there is."""
    if start is not None:
        return str(start)
    return times.text(instants.min()) if len(instants) else ".."


def _inside(instants: np.ndarray, start: str | None, end: str | None) -> np.ndarray:
    """Which instants lie in ``[start, end)``. Clock times select by time of day and may wrap around midnight."""
    clocks = [bool(_CLOCK.match(str(v))) for v in (start, end) if v is not None]
    if clocks and all(clocks):
        return _in_clock(instants, start, end)
    if any(clocks):
        raise parameter_invalid("intervals", f"[{start}, {end}] mixes a time of day and a date")
    first = times.parse(start) if start is not None else None
    last = times.parse(end) if end is not None else None
    if first is not None and last is not None and first >= last:
        raise ProcessError(
            "TemporalExtentEmpty", f"The interval [{start}, {end}] is empty: the end must be after the start."
        )
    inside = np.ones(len(instants), bool)
    if first is not None:
        inside &= instants >= first
    if last is not None:
        inside &= instants < last
    return inside


def _in_clock(instants: np.ndarray, start: str | None, end: str | None) -> np.ndarray:
    of_day = instants - instants.astype("datetime64[D]")
    low = _time_of_day(start) if start is not None else np.timedelta64(0, "ns")
    high = _time_of_day(end) if end is not None else np.timedelta64(24, "h")
    if low == high:
        raise ProcessError("TemporalExtentEmpty", f"The interval [{start}, {end}] is empty.")
    return (of_day >= low) & (of_day < high) if low < high else (of_day >= low) | (of_day < high)


def _time_of_day(clock: str) -> np.timedelta64:
    instant = times.parse(f"2000-01-02T{clock}")
    return instant - instant.astype("datetime64[D]")
