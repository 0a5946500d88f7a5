"""Calendar periods: which one an instant belongs to, and what openEO calls it.

Every period has an ordinal (an integer that grows by one from each period to the next), so that the periods between
the first and the last instant are a range, empty ones included.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PERIODS = (
    "hour",
    "day",
    "week",
    "dekad",
    "month",
    "season",
    "tropical-season",
    "year",
    "decade",
    "decade-ad",
)
_SEASONS = {12: "djf", 3: "mam", 6: "jja", 9: "son"}
_TROPICAL = {11: "ndjfma", 5: "mjjaso"}


def _months(instants: np.ndarray) -> np.ndarray:
    """Months since January of year 0."""
    return instants.astype("datetime64[M]").astype("i8") + 1970 * 12


def _days(instants: np.ndarray) -> np.ndarray:
    return instants.astype("datetime64[D]").astype("i8")


def _dekads(instants: np.ndarray) -> np.ndarray:
    day = (instants.astype("datetime64[D]") - instants.astype("datetime64[M]").astype("datetime64[D]")).astype("i8")
    return _months(instants) * 3 + np.minimum(day // 10, 2)


# 1970-01-01 was a Thursday: three days into its ISO week
_ORDINALS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hour": lambda t: t.astype("datetime64[h]").astype("i8"),
    "day": _days,
    "week": lambda t: (_days(t) + 3) // 7,
    "dekad": _dekads,
    "month": _months,
    "season": lambda t: (_months(t) + 1) // 3,
    "tropical-season": lambda t: (_months(t) + 2) // 6,
    "year": lambda t: _months(t) // 12,
    "decade": lambda t: _months(t) // 120,
    "decade-ad": lambda t: (_months(t) // 12 - 1) // 10,
}


def ordinals(period: str, instants: np.ndarray) -> np.ndarray:
    """Ordinal (int64) of the period that each instant (``datetime64``, UTC) lies in."""
    return _ORDINALS[period](instants)


def _iso_week(thursday: np.datetime64) -> tuple[int, int]:
    """ISO 8601 year and week of the week with this Thursday: the year is the Thursday's, weeks count from 1."""
    year = thursday.astype("datetime64[Y]")
    return int(year.astype("i8")) + 1970, int((thursday - year.astype("datetime64[D]")).astype("i8")) // 7 + 1


def label(period: str, ordinal: int) -> str:
    """openEO label of a period: ``2020-01`` (month), ``2020-djf`` (named after the year it starts in) ..."""
    n = int(ordinal)
    if period == "hour":
        return str(np.datetime64(n, "h")).replace("T", "-")
    if period == "day":
        day = np.datetime64(n, "D")
        first = day.astype("datetime64[Y]").astype("datetime64[D]")
        return f"{_year(day):04d}-{int((day - first).astype('i8')) + 1:03d}"
    if period == "week":
        year, week = _iso_week(np.datetime64(n * 7, "D"))
        return f"{year:04d}-{week:02d}"
    if period == "dekad":
        return f"{n // 36:04d}-{n % 36 + 1:02d}"
    if period == "month":
        return f"{n // 12:04d}-{n % 12 + 1:02d}"
    if period == "season":
        start = n * 3 - 1
        return f"{start // 12:04d}-{_SEASONS[start % 12 + 1]}"
    if period == "tropical-season":
        start = n * 6 - 2
        return f"{start // 12:04d}-{_TROPICAL[start % 12 + 1]}"
    if period == "year":
        return f"{n:04d}"
    return f"{n * 10:04d}" if period == "decade" else f"{n * 10 + 1:04d}"


def _year(day: np.datetime64) -> int:
    return int(day.astype("datetime64[Y]").astype("i8")) + 1970
