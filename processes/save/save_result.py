"""``save_result``: mark what is to be written, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from processes.demand import passes
from processes.registry import process


@dataclass(frozen=True)
class SaveResult:
    """A result to be written by `backend.results.write`: nothing is computed here.

    ``data`` is a raster cube (`xarray.DataArray`), a vector cube or a plain value; ``format`` as the user wrote it.
    """

    data: Any
    format: str
    options: dict[str, Any] = field(default_factory=dict)


@process(demand=passes)
def save_result(data: Any, format: str, options: dict[str, Any] | None = None) -> SaveResult:
    """Mark ``data`` for writing in ``format`` (case does not matter) with format ``options``."""
    return SaveResult(data, format, dict(options or {}))
