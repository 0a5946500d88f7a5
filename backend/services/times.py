"""Labels of the temporal dimension as maps name them."""

from __future__ import annotations

from collections.abc import Sequence

from backend.errors import OpenEOError

_DAY = len("2024-05-02")


def shown_times(labels: Sequence[str]) -> list[str]:
    """What clients are told: days where no day has two labels (viewers ask by day), else the labels themselves."""
    days = [v[:_DAY] for v in labels]
    return days if len(set(days)) == len(days) and all(len(d) == _DAY for d in days) else list(labels)


def label_of(labels: Sequence[str], asked: str | None) -> str | None:
    """The label a client means: itself, or the first that begins so; None for the first of all.

    Raises ``InvalidParameterValue`` telling what there is.
    """
    if asked is None or asked.strip().lower() in ("", "default", "current"):
        return None
    wanted = asked.strip()
    found = next((v for v in labels if v == wanted), None) or next((v for v in labels if v.startswith(wanted)), None)
    if found is None and wanted.endswith("Z"):
        found = next((v for v in labels if v.rstrip("Z").startswith(wanted.rstrip("Z"))), None)
    if found is None:
        known = shown_times(labels)
        told = f"it goes from {known[0]} to {known[-1]} in {len(known)} dates" if known else "there are no dates"
        raise OpenEOError("InvalidParameterValue", f"TIME '{wanted}' is not there: {told}.", data="time")
    return found
