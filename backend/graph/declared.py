"""The parameters a process object declares. Apart from the parser, so that the API need not import what computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.errors import OpenEOError


def declared_parameters(process: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The ``parameters`` of a process object; none where it has none. Raises ``ProcessInvalid``."""
    declared = process.get("parameters")
    if declared is None:
        return []
    if not isinstance(declared, list):
        raise OpenEOError("ProcessInvalid", "'parameters' of a process must be an array.")
    for n, parameter in enumerate(declared):
        if not isinstance(parameter, Mapping) or not isinstance(parameter.get("name"), str):
            raise OpenEOError("ProcessInvalid", f"Parameter {n} of the process must be an object with a 'name'.")
    return declared
