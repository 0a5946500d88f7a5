"""`stac_modify`: a merge patch on STAC metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processes.errors import parameter_invalid
from processes.registry import process


@process()
def stac_modify(data: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A STAC object with ``changes`` merged in (JSON Merge Patch, RFC 7386: null removes a field); ``data`` stays as it is.

    Raises ``ProcessParameterInvalid`` for what is not a STAC object: results that are still to be written are none yet.
    """
    if not isinstance(data, Mapping) or "stac_version" not in data:
        raise parameter_invalid(
            "data",
            "it is not a STAC object; results of this graph have none before they are written, once the job ends",
        )
    if not isinstance(changes, Mapping):
        raise parameter_invalid("changes", "it must be an object")
    return _patched(data, changes)


def _patched(target: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, Mapping):
            out[key] = _patched(out.get(key), value)
        else:
            out[key] = value
    return out
