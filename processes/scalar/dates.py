"""Dates and instants in RFC 3339 texts. A date without time is midnight UTC; leap seconds count as the second before."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from typing import Any

from processes.errors import parameter_invalid
from processes.registry import process
from processes.scalar.values import DATE, instant, plain

_TIME = re.compile(r"\d{2}:\d{2}:\d{2}")
_SECONDS = {"millisecond": 0.001, "second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}


def _instant(value: Any, name: str) -> dt.datetime:
    moment = instant(plain(value))
    if moment is None:
        raise parameter_invalid(name, f"'{value}' is no date or instant as RFC 3339 has it (2020-01-31T12:00:00Z).")
    return moment


def _time(value: Any, name: str) -> dt.time:
    """Time of day, UTC: of a time text or of an instant."""
    text = plain(value)
    if isinstance(text, str) and _TIME.fullmatch(text):
        return dt.time.fromisoformat(text)
    return _instant(text, name).astimezone(dt.UTC).time()


@process()
def date_between(x: Any, min: Any, max: Any, exclude_max: bool = False) -> bool:
    """Whether ``min <= x <= max`` (or ``x < max``); with times of day as bounds, of the time of day of ``x``."""
    bounds = [isinstance(v := plain(b), str) and _TIME.fullmatch(v) is not None for b in (min, max)]
    read: Any = _time if all(bounds) else _instant
    low, moment, high = read(min, "min"), read(x, "x"), read(max, "max")
    return low <= moment and (moment < high if exclude_max else moment <= high)


@process()
def date_difference(date1: Any, date2: Any, unit: str = "second") -> float:
    """Time from ``date1`` to ``date2``.

    Months and years are calendar months: whole ones counted from ``date1``, the rest as a share of the month it
    falls into.
    """
    start, end = _instant(date1, "date1"), _instant(date2, "date2")
    if unit in ("month", "year"):
        return _months(start.astimezone(dt.UTC), end.astimezone(dt.UTC)) / (12 if unit == "year" else 1)
    passed = (end - start) / dt.timedelta(milliseconds=1)
    return passed / (_unit(unit) * 1000)


def _unit(unit: str) -> float:
    if unit not in _SECONDS:
        raise parameter_invalid("unit", f"'{unit}' is none of {', '.join([*_SECONDS, 'month', 'year'])}.")
    return _SECONDS[unit]


def _months(start: dt.datetime, end: dt.datetime) -> float:
    if end < start:
        return -_months(end, start)
    whole = (end.year - start.year) * 12 + end.month - start.month
    if _moved(start, whole) > end:
        whole -= 1
    since = _moved(start, whole)
    return whole + (end - since) / (_moved(start, whole + 1) - since)


def _moved(moment: dt.datetime, months: int) -> dt.datetime:
    """The same day and time ``months`` later, or the last day of that month."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day)


@process()
def date_shift(date: Any, value: int, unit: str) -> str:
    """The date moved by ``value`` units, written like ``date``: with its time zone, or without time."""
    text, moment = plain(date), _instant(date, "date")
    try:
        if unit in ("month", "year"):
            moved = _moved(moment, int(value) * (12 if unit == "year" else 1))
        else:
            moved = moment + dt.timedelta(milliseconds=round(_unit(unit) * 1000) * int(value))
    except (OverflowError, ValueError, calendar.IllegalMonthError) as error:
        raise parameter_invalid("value", f"{value} {unit} from {text} is no date of the years 1 to 9999.") from error
    if DATE.fullmatch(text):
        return moved.date().isoformat()
    written = moved.isoformat(timespec="milliseconds" if moved.microsecond else "seconds")
    return written.replace("+00:00", "Z") if text.endswith(("Z", "z")) else written
