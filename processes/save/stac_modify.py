"""`stac_modify`: a merge patch on STAC metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processes.demand import passes
from processes.errors import parameter_invalid
from processes.registry import process
from processes.save.exports import changed, patched
from processes.save.save_result import SaveResult


@process(demand=passes)
def stac_modify(data: Any, changes: Mapping[str, Any]) -> dict[str, Any] | SaveResult:
    """A STAC object with ``changes`` merged in (JSON Merge Patch, RFC 7386: null removes a field); ``data`` stays as it is.

    Of a result (``save_result``), whose STAC collection is there once it is written, the exports after this one get the
    changed collection. Raises ``ProcessParameterInvalid`` for anything else.
    """
    if not isinstance(changes, Mapping):
        raise parameter_invalid("changes", "it must be an object")
    if isinstance(data, SaveResult):
        return changed(data, changes)
    if not isinstance(data, Mapping) or "stac_version" not in data:
        raise parameter_invalid("data", "it is neither a STAC object nor what save_result returns")
    return patched(data, changes)
