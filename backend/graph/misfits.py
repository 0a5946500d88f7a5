"""Which argument is of a type that its process does not take: asked when a process failed, to tell the user's mistake from
ours.

Processes take more than their definitions say (arrays where numbers stand, in callbacks over blocks), so types are no reason
to refuse a call that works.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numba.core.errors import NumbaError

from processes.callback import LabeledArray
from processes.errors import ProcessError
from processes.registry import Process

# What code does with a value of a type it did not expect
FAULTS = (TypeError, ValueError, AttributeError, KeyError, IndexError, NumbaError)
_NAMES = {
    "null": "null", "boolean": "a boolean", "number": "a number", "string": "a text", "array": "an array",
    "object": "an object", "datacube": "a data cube", "process-graph": "a callback",
}  # fmt: skip
_KINDS = {"b": "boolean", "i": "number", "u": "number", "f": "number", "M": "string", "U": "string", "S": "string"}


def misfit(process: Process, arguments: Mapping[str, Any]) -> ProcessError | None:
    """``ProcessParameterInvalid`` for the first argument that has a type its definition does not name; None: all do."""
    for parameter in process.spec["parameters"]:
        name = parameter["name"]
        if name not in arguments or (arguments[name] is None and parameter.get("optional")):
            continue
        kinds, takes = _kinds(arguments[name]), _taken(parameter["schema"])
        if kinds and takes and not kinds & takes:
            told = " or ".join(text for kind, text in _NAMES.items() if kind in takes)
            return ProcessError(
                "ProcessParameterInvalid",
                f"The value passed for parameter '{name}' in process '{process.id}' is invalid: "
                f"it must be {told}, not {_NAMES[min(kinds)]}.",
                parameter=name,
            )
    return None


def _kinds(value: Any) -> set[str]:
    """What a value is, or may stand for; nothing: unknown."""
    if value is None:
        return {"null"}
    if isinstance(value, xr.DataArray):
        return {"datacube"}
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int | float):
        return {"number"}
    if isinstance(value, str):
        return {"string"}
    if isinstance(value, np.ndarray | np.generic):
        # in a callback over a block an array stands for the number of each pixel; of objects nothing is known
        kind = _KINDS.get(value.dtype.kind)
        return set() if kind is None else {kind, "array"} if np.ndim(value) else {kind}
    if isinstance(value, LabeledArray | list | tuple):
        return {"array"}
    if isinstance(value, Mapping):
        return {"object"}
    return {"process-graph"} if callable(value) else set()


def _taken(schema: Any) -> set[str]:
    """What a parameter takes; nothing: anything, or what cannot be told."""
    out: set[str] = set()
    for option in schema if isinstance(schema, list) else [schema]:
        types = option.get("type")
        if option.get("subtype") in ("datacube", "process-graph"):
            out.add(option["subtype"])
        elif types is None:
            return set()
        else:
            out |= {"number" if t == "integer" else t for t in (types if isinstance(types, list) else [types])}
    return out
