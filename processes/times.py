"""Temporal labels as instants: what a label of the temporal dimension means on the time line.

A loaded cube has ``datetime64`` labels. After `aggregate_temporal`, `aggregate_temporal_period` or `rename_labels` they
are text; ISO dates and the period labels of openEO are understood as the start of what they name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.errors import ProcessError

_SEASONS = {"djf": 12, "mam": 3, "jja": 6, "son": 9, "ndjfma": 11, "mjjaso": 5}
_DATE = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(Z|[+-]\d{2}:?\d{2})?)?)?)?$"
)
_DAY_OF_YEAR = re.compile(r"(\d{4})-(\d{3})$")
_HOUR = re.compile(r"(\d{4}-\d{2}-\d{2})-(\d{2})$")
_SEASON = re.compile(r"(\d{4})-([a-z]{3,6})$")


def parse(text: str) -> np.datetime64:
    """The instant (UTC, ``datetime64[ns]``) a temporal label starts at. Raises ``ProcessParameterInvalid``.

    ``YYYY``, ``YYYY-MM``, dates, date-times with zone or without (UTC), ``YYYY-DDD`` (day of the year),
    ``YYYY-MM-DD-HH`` and ``YYYY-djf`` ... are known. ``YYYY-NN`` is a month: weeks and dekads are written alike.
    """
    text = str(text).strip()
    try:
        if m := _DATE.match(text):
            year, month, day, clock, zone = m.groups()
            value = np.datetime64(f"{year}-{month or '01'}-{day or '01'}T{clock or '00:00:00'}", "ns")
            if zone and zone != "Z":
                minutes = int(zone[1:3]) * 60 + int(zone[-2:])
                value -= np.timedelta64(minutes if zone[0] == "+" else -minutes, "m")
            return value
        if m := _DAY_OF_YEAR.match(text):
            return np.datetime64(f"{m[1]}-01-01", "ns") + np.timedelta64(int(m[2]) - 1, "D")
        if m := _HOUR.match(text):
            return np.datetime64(m[1], "ns") + np.timedelta64(int(m[2]), "h")
        if (m := _SEASON.match(text)) and m[2] in _SEASONS:
            return np.datetime64(f"{m[1]}-{_SEASONS[m[2]]:02d}-01", "ns")
    except ValueError as error:  # a thirteenth month
        raise ProcessError("ProcessParameterInvalid", f"'{text}' is not a date: {error}.") from None
    raise ProcessError("ProcessParameterInvalid", f"'{text}' is not a date or date-time (RFC 3339).")


def instants(labels: Sequence[Any]) -> np.ndarray:
    """``datetime64[ns]`` of temporal labels (datetime64 or text). Raises ``ProcessParameterInvalid``."""
    values = [v.astype("datetime64[ns]") if isinstance(v, np.datetime64) else parse(str(v)) for v in labels]
    return np.array(values, dtype="datetime64[ns]")


def instants_of(data: xr.DataArray, dimension: str) -> np.ndarray:
    """Instants of the labels along ``dimension``."""
    return instants(cubes.labels(data, dimension))


def text(instant: np.datetime64) -> str:
    """RFC 3339 text of an instant, without fractions where they are zero."""
    whole = instant.astype("datetime64[s]")
    return f"{whole if whole == instant else instant}Z"
