"""JSON: values as they are, cubes as xarray's dictionary."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import xarray as xr

from backend.results import describe
from backend.results.asset import Asset
from backend.results.format import PREFIX, Format, Output, Target, unsuitable
from processes import cube as cubes
from processes.callback import LabeledArray

BYTES_PER_CELL = 120  # of a number as a Python object and its text


class InMemory(Output):
    """Base of outputs that need the whole (small) cube: pulls it into an array.

    Raises ``FormatUnsuitable`` where it would not fit into the memory limit.
    """

    def __init__(self, data: Any, target: Target, name: str):
        self.data, self.target = data, target
        self.values: np.ndarray | None = None
        if isinstance(data, xr.DataArray):
            most = max(1000, target.memory_limit // 4 // BYTES_PER_CELL)
            if data.size > most:
                raise unsuitable(
                    name,
                    f"the cube has {data.size} values, at most {most} can be written so. Save it as netCDF or COG.",
                )
            self.cube = data
            self.values = np.empty(data.shape, data.dtype)

    def write(self, where: tuple[slice, ...], payload: Any) -> None:
        assert self.values is not None
        self.values[where] = payload

    def whole(self) -> xr.DataArray:
        """The cube with its values in memory."""
        return cubes.like(self.data.copy(data=self.values), self.data)


class Json(InMemory):
    """A JSON file in the making."""

    def __init__(self, data: Any, options: Mapping[str, Any], target: Target):
        super().__init__(data, target, "JSON")
        self.indent = options["indent"] or None

    def finish(self) -> list[Asset]:
        is_cube = isinstance(self.data, xr.DataArray)
        value = cube_dict(self.whole()) if is_cube else plain(self.data)
        path = self.target.path("json")
        path.write_text(json.dumps(value, allow_nan=False, indent=self.indent, ensure_ascii=False), encoding="utf-8")
        if not is_cube:
            return [Asset(path, "application/json", "JSON")]
        time = cubes.dim_of(self.data, cubes.TEMPORAL)
        return [
            Asset(
                path,
                "application/json",
                "JSON",
                metadata={"bands": describe.bands(self.data, self.data.dtype, None)},
                properties=describe.time_properties(cubes.labels(self.data, time) if time else [])
                | describe.sources(self.data),
                cube=describe.dimensions(self.data),
            )
        ]


def cube_dict(data: xr.DataArray) -> dict[str, Any]:
    """``{"dims", "coords", "data", "attrs"}`` as `xarray.DataArray.from_dict` takes it; NaN is null."""
    coords = {d: {"dims": [d], "data": [_label(v) for v in cubes.labels(data, d)]} for d in map(str, data.dims)}
    attrs = {"cube:dimensions": describe.dimensions(data)}
    return {"dims": [str(d) for d in data.dims], "coords": coords, "data": plain(data.values), "attrs": attrs}


def _label(label: Any) -> Any:
    if hasattr(label, "__geo_interface__"):
        return plain(label.__geo_interface__)
    return label if isinstance(label, (int, float, str)) else describe.text(label)


def plain(value: Any) -> Any:
    """``value`` as plain JSON: NaN and infinities become null, instants RFC 3339 text, arrays lists.

    Raises ``FormatUnsuitable`` for what has no JSON.
    """
    match value:
        case None | bool() | str():
            return value
        case np.bool_():
            return bool(value)
        case int() | np.integer():
            return int(value)
        case float() | np.floating():
            number = float(value)
            return number if math.isfinite(number) else None
        case np.datetime64():
            return None if np.isnat(value) else describe.text(value)
        case datetime() | date():
            return value.isoformat().replace("+00:00", "Z")
        case np.ndarray():
            return plain(value.item()) if value.ndim == 0 else _array(value)
        case LabeledArray():
            return plain(value.values)
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple() | set():
            return [plain(v) for v in value]
        case xr.DataArray():
            return cube_dict(value)
    if hasattr(value, "__geo_interface__"):
        return plain(value.__geo_interface__)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise unsuitable("JSON", f"a {type(value).__name__} has no JSON form.")


def _array(values: np.ndarray) -> list[Any]:
    if values.dtype.kind in "iub":
        return values.tolist()
    if values.dtype.kind == "f" and np.isfinite(values).all():
        return values.tolist()
    return [plain(v) for v in values]


FORMATS = [
    Format(
        "JSON",
        "JSON",
        "Numbers, texts, arrays and objects as they are; cubes as xarray's dictionary (dims, coords, data, attrs). NaN "
        "is null.",
        ("raster", "vector", "table", "other"),
        Json,
        PREFIX
        | {
            "indent": {
                "description": "Spaces of indentation; 0 writes everything on one line.",
                "schema": {"type": "integer", "minimum": 0, "maximum": 8, "default": 0},
            }
        },
    )
]
