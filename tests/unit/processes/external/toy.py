"""A UDF runtime that proves the hook and nothing else: ``apply(data, context)`` in this very process, numpy in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from processes.callback import LabeledArray
from processes.env import UdfCall
from processes.errors import ProcessError


@dataclass(frozen=True)
class Toy:
    """`processes.env.UdfRuntimes`."""

    def listed(self) -> dict[str, Any]:
        return {"Toy": {"type": "language", "default": "1", "versions": {"1": {"libraries": {}}}}}

    def check(self, runtime: str, version: str | None) -> None:
        if runtime.lower() != "toy":
            raise ProcessError("InvalidRuntime", f"There is no UDF runtime '{runtime}'; there is Toy.")
        if version not in (None, "1"):
            raise ProcessError("InvalidVersion", f"The UDF runtime Toy has no version {version}; it has 1.")

    def run(self, call: UdfCall, data: Any) -> Any:
        names: dict[str, Any] = {"np": np}
        exec(call.source, names)
        given = data if isinstance(data, xr.DataArray) else getattr(data, "values", data)
        labels = data.labels if isinstance(data, LabeledArray) else None
        try:
            return names["apply"](given, {**call.context, "labels": labels})
        except Exception as error:  # the user's mistake, whatever it is
            raise ProcessError("UdfFailed", f"{type(error).__name__}: {error}") from error
