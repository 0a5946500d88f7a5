"""``save_result``: mark what is to be written, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from processes.demand import Demand
from processes.registry import process


@dataclass(frozen=True)
class SaveResult:
    """A result to be written by `backend.results.write`: nothing is computed here.

    ``data`` is a raster cube (`xarray.DataArray`), a vector cube or a plain value; ``format`` as the user wrote it.
    ``steps`` are done with the files once they are written (`processes.save.exports`), in order.
    """

    data: Any
    format: str
    options: dict[str, Any] = field(default_factory=dict)
    steps: tuple[Any, ...] = ()


# Formats of which people see pixels, and nobody computes with them
PICTURES = ("PNG", "JPEG")


def save_result_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """All is wanted; of a picture no more than what is seen."""
    return {"data": demand.with_(picture=demand.picture or str(args.get("format")).upper() in PICTURES)}


@process(demand=save_result_demand)
def save_result(data: Any, format: str, options: dict[str, Any] | None = None) -> SaveResult:
    """Mark ``data`` for writing in ``format`` (case does not matter) with format ``options``."""
    return SaveResult(data, format, dict(options or {}))
