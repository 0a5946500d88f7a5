"""`climatological_normal`, `anomaly`: what is usual for a time of the year, and how far from it a value is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes import times
from processes.aggregate.periods import PERIODS, label, ordinals
from processes.blocks import map_blocks, reduce_groups
from processes.callback import LabeledArray
from processes.demand import Demand
from processes.errors import parameter_invalid
from processes.merging import ACCUMULATORS
from processes.probe import decode, decoded_dtype
from processes.registry import process

_NORMALS = ("day", "month", "season", "tropical-season", "climatology-period")
# months before January that a season starts in, per season that spans two years
_WINTERS = {"season": ("djf", (12,)), "tropical-season": ("ndjfma", (11, 12))}
_NAMES = {
    "day": [f"{d:03d}" for d in range(1, 366)],
    "month": [f"{m:02d}" for m in range(1, 13)],
    "season": ["djf", "mam", "jja", "son"],
    "tropical-season": ["ndjfma", "mjjaso"],
}


class _Mean:
    """Mean of the valid values; streams."""

    merge: ClassVar[tuple[str, dict[str, Any]]] = ("mean", {})

    def __call__(self, data: LabeledArray, context: Any = None) -> np.ndarray:
        accumulator = ACCUMULATORS["mean"]()
        accumulator.dtype(data.values.dtype)
        return accumulator.finish(accumulator.start(data.values))


def climatological_normal_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """All dates count; the rest passes."""
    return {"data": demand.with_(interval=None)}


@process(demand=climatological_normal_demand)
def climatological_normal(
    data: xr.DataArray, period: str, climatology_period: Sequence[int] = (1981, 2010)
) -> xr.DataArray:
    """Mean of all valid values per time of the year, over the years from first to last (both included).

    A season that starts in the year before is taken where its months of that year are in the cube, and the one that
    ends after the last year never. Days are 001 ... 365, and 366 where the cube has leap days.
    Raises ``ProcessParameterInvalid``, ``DimensionNotAvailable``, ``TooManyDimensions``.
    """
    name = cubes.temporal_dim(data)
    if period not in _NORMALS:
        raise parameter_invalid("period", f"'{period}' is not one of {', '.join(_NORMALS)}")
    first, last = _years(climatology_period)
    instants = times.instants_of(data, name)
    years = instants.astype("datetime64[Y]").astype("i8") + 1970
    if not len(years) or years.min() > first or years.max() < last:
        span = f"from {years.min()} to {years.max()}" if len(years) else "empty"
        raise parameter_invalid("climatology_period", f"the cube is {span} and does not cover {first} to {last}")
    inside = (years >= first) & (years <= last)
    if period == "climatology-period":
        names, of = [period], np.full(len(instants), period)
    else:
        of = np.array([_of_year(label(period, o), period) for o in ordinals(period, instants)])
        names = _NAMES[period] + (["366"] if period == "day" and "366" in of[inside] else [])
    if period in _WINTERS:
        inside &= ~_cut_off(instants, first, last, *_WINTERS[period])
        inside |= _brought_in(instants, first, _WINTERS[period][1])
    groups = [np.flatnonzero(inside & (of == n)) for n in names]
    return reduce_groups(data, _Mean(), name, groups, names)


def _years(given: Sequence[int]) -> tuple[int, int]:
    try:
        first, last = (int(v) for v in given)
    except (TypeError, ValueError):
        raise parameter_invalid("climatology_period", "it must be two years [first, last]") from None
    if first > last:
        raise parameter_invalid("climatology_period", f"the first year ({first}) is after the last ({last})")
    return first, last


def _before(instants: np.ndarray, year: int, months: Sequence[int]) -> np.ndarray:
    """Instants in the given months of the year before ``year``."""
    return np.isin(ordinals("month", instants), [(year - 1) * 12 + m - 1 for m in months])


def _available(instants: np.ndarray, first: int, months: Sequence[int]) -> bool:
    have = set(ordinals("month", instants[_before(instants, first, months)]).tolist())
    return len(have) == len(months)


def _brought_in(instants: np.ndarray, first: int, months: Sequence[int]) -> np.ndarray:
    """The months before the first year that complete its first season, if all of them are there."""
    taken = _before(instants, first, months)
    return taken if _available(instants, first, months) else np.zeros_like(taken)


def _cut_off(instants: np.ndarray, first: int, last: int, season: str, months: Sequence[int]) -> np.ndarray:
    """What is left of seasons that lack their beginning, or that end after the last year."""
    ending = _before(instants, last + 1, months)
    if _available(instants, first, months):
        return ending
    length = {"djf": 2, "ndjfma": 4}[season]  # months of the season in its second year
    return ending | np.isin(ordinals("month", instants), [first * 12 + m for m in range(length)])


def anomaly_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Pixel by pixel; the normals have times of the year, not dates."""
    return {"data": demand, "normals": demand.with_(interval=None, bands=None)}


@process(demand=anomaly_demand)
def anomaly(data: xr.DataArray, normals: xr.DataArray, period: str) -> xr.DataArray:
    """``data`` minus the normal of the same time of the year; nodata where there is no normal for a label.

    Raises ``ProcessParameterInvalid``, ``DimensionNotAvailable``, ``TooManyDimensions``.
    """
    name, other = cubes.temporal_dim(data), cubes.temporal_dim(normals)
    known = [str(v) for v in cubes.plain_labels(normals, other)]
    single = period in ("single-period", "climatology-period")
    if single and len(known) != 1:
        raise parameter_invalid("normals", f"for the period '{period}' it must have one label; it has {len(known)}")
    if not single and period not in PERIODS:
        raise parameter_invalid("period", f"'{period}' is not one of {', '.join(PERIODS)}, single-period")
    wanted = [known[0]] * data.sizes[name] if single else _labels(data, name, period)
    index = np.array([known.index(w) if w in known else -1 for w in wanted], int)
    if len(index) and (index < 0).all():
        raise parameter_invalid(
            "normals", f"none of its labels ({known[:5]} ...) is that of a {period} of the data ({wanted[:5]} ...)"
        )
    missing = index < 0
    usual = normals.isel({other: np.maximum(index, 0)})
    usual = usual.rename({other: name}) if other != name else usual
    usual = usual.assign_coords({name: data.coords[name].values})
    dtype = np.result_type(decoded_dtype(data), decoded_dtype(normals), np.float32)
    gaps = xr.DataArray(missing, dims=[name], coords={name: data.coords[name].values})
    subtract = _subtract(data.attrs.get("nodata"), normals.attrs.get("nodata"), dtype)
    result = map_blocks(subtract, data, usual, gaps, dtype=dtype, join="override")
    result.attrs.pop("nodata", None)
    return result


def _subtract(nodata: Any, other: Any, dtype: np.dtype) -> Callable[..., np.ndarray]:
    def on_block(values: np.ndarray, usual: np.ndarray, gaps: np.ndarray) -> np.ndarray:
        difference = decode(values, nodata).astype(dtype, copy=False) - decode(usual, other).astype(dtype, copy=False)
        return np.where(gaps, np.asarray(np.nan, dtype), difference)

    return on_block


def _labels(data: xr.DataArray, name: str, period: str) -> list[str]:
    """What each label of the data is called in the normals."""
    given = cubes.labels(data, name)
    if given and isinstance(given[0], np.datetime64):
        given = [label(period, o) for o in ordinals(period, times.instants(given))]
    return [_of_year(str(v), period) for v in given]


def _of_year(text: str, period: str) -> str:
    """The part of a period's label that is the same every year."""
    return text if period in ("year", "decade", "decade-ad") else text.rsplit("-", 1)[-1]
