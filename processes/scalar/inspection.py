"""`inspect`: look at data while a graph runs, without computing any of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from processes.callback import LabeledArray
from processes.demand import passes
from processes.env import Env
from processes.errors import parameter_invalid
from processes.registry import process
from processes.scalar.values import plain

_LEVELS = ("error", "warning", "info", "debug")
_LONGEST = 2000  # characters of a value that go into the log


def described(data: Any) -> Any:
    """Plain JSON that describes a value: shape and labels of cubes and blocks, other values as they are (shortened)."""
    if hasattr(data, "dims") and hasattr(data, "sizes"):  # a cube; xarray is not imported for it
        dimensions = {
            str(d): {"size": int(data.sizes[d]), "type": data.attrs.get("dims", {}).get(d, "other")} for d in data.dims
        }
        return {"type": "datacube", "dimensions": dimensions, "dtype": str(getattr(data, "dtype", ""))}
    if isinstance(data, LabeledArray):
        labels = None if data.labels is None else [plain(v) for v in data.labels[:100]]
        return {"type": "labeled-array", "labels": labels, **described(data.values)}
    if isinstance(data, np.ndarray) and data.dtype != object:
        return {"shape": list(data.shape), "dtype": str(data.dtype)}
    if isinstance(data, np.ndarray):
        return {"values": described([plain(v) for v in data])}
    value = plain(data)
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        return {"type": type(value).__name__}
    return value if len(text) <= _LONGEST else text[:_LONGEST] + " ..."


@process(pure=False, demand=passes)
def inspect(data: Any, message: str = "", code: str = "User", level: str = "info", *, env: Env | None = None) -> Any:
    """Write a description of ``data`` to the log of the request and hand ``data`` on.

    Cubes and blocks are described by their shape; nothing is computed. Raises ``ProcessParameterInvalid``.
    """
    if level not in _LEVELS:
        raise parameter_invalid("level", f"'{level}' is none of {', '.join(_LEVELS)}.")
    (env or Env()).log(level, message or "inspect", code=code, data=described(data))
    return data
