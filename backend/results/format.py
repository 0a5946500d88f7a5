"""What a result format is, and which there are.

A format opens an `Output` for one saved result. Cubes of all outputs are pulled in one pass (`backend.results.write`);
an output sees blocks in any order, from several threads, and makes its files when the last has come. Plug-ins add
formats through the entry-point group ``tuile.writers``: each names a `Format`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from backend.errors import OpenEOError
from backend.results.asset import Asset
from backend.results.tiles import Store

PREFIX = {
    "filename_prefix": {
        "description": "How file names begin.",
        "schema": {"type": "string", "default": "openEO", "pattern": r"^[\w][\w .+-]*$"},
    }
}


class Output(ABC):
    """The files of one saved result in the making.

    ``cube`` is what must be pulled (None where nothing has to be computed), ``beside`` what little else goes to `note`. `encode` may run in many threads at once,
    `write` in one at a time; `finish` and `close` come after all of them, `close` always.
    """

    cube: xr.DataArray | None = None
    beside: xr.DataArray | None = None

    def encode(self, where: tuple[slice, ...], block: np.ndarray) -> Any:
        """Work on a block that needs no lock; the result goes to `write`."""
        return block

    def write(self, where: tuple[slice, ...], payload: Any) -> None:  # noqa: B027
        """Take in what `encode` made of the block at ``where``."""

    def note(self, where: tuple[slice, ...], payload: Any) -> None:  # noqa: B027
        """Take in a block of ``beside``; may run at the same time as `write`."""

    @abstractmethod
    def finish(self) -> list[Asset]:
        """Complete the files, which lie in the target's folder."""

    def close(self) -> None:  # noqa: B027  (most outputs hold nothing)
        """Let go of temporary files and handles."""


@dataclass(frozen=True)
class Target:
    """Where an output puts its files: ``folder``, with names that begin with ``stem``."""

    folder: Path
    stem: str
    memory_limit: int = 4 << 30

    def store(self) -> Store:
        """Where unfinished tiles wait: a sixteenth of the memory limit, then the disk."""
        return Store(max(self.memory_limit // 16, 16 << 20), self.folder / f".{self.stem}.parts")

    def path(self, suffix: str, label: str = "") -> Path:
        """``folder/stem_label.suffix``."""
        return self.folder / f"{self.stem}{'_' if label else ''}{label}.{suffix}"


@dataclass(frozen=True)
class Format:
    """A format a result can be saved in.

    Attributes
    ----------
    name : as clients write it (case does not matter)
    title, description : for people; the description tells how a cube becomes files
    gis_data_types : ``raster``, ``vector``, ``table``, ``other``
    open : ``(data, options, target) -> Output``; options are checked and complete
    parameters : option -> ``{"description", "schema"}``, with the default in the schema
    """

    name: str
    title: str
    description: str
    gis_data_types: tuple[str, ...]
    open: Callable[[Any, Mapping[str, Any], Target], Output]
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Entry of ``GET /file_formats``. A parameter is a JSON Schema with a description beside; every one has a
        ``subtype``: the API's definition takes it for several things at once otherwise and its validators refuse it."""
        return {
            "title": self.title,
            "description": self.description,
            "gis_data_types": list(self.gis_data_types),
            "parameters": {
                name: {
                    "description": p["description"],
                    "required": False,
                    "subtype": name.replace("_", "-"),
                    **p["schema"],
                }
                for name, p in self.parameters.items()
            },
        }

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """``given`` with defaults, checked. Raises ``FormatUnsuitable`` naming the option that is wrong."""
        from jsonschema import Draft7Validator

        known = {name.lower(): name for name in self.parameters}
        out = {n: p["schema"]["default"] for n, p in self.parameters.items() if "default" in p["schema"]}
        for key, value in given.items():
            if value is None:
                continue
            if (name := known.get(key.lower())) is None:
                raise OpenEOError(
                    "FormatUnsuitable",
                    f"Format {self.name} has no option '{key}'; it has {', '.join(self.parameters) or 'none'}.",
                )
            problem = next(Draft7Validator(self.parameters[name]["schema"]).iter_errors(value), None)
            if problem is not None:
                raise OpenEOError("FormatUnsuitable", f"Option '{key}' of format {self.name}: {problem.message}.")
            out[name] = value
        return out


@cache
def all_formats() -> dict[str, Format]:
    """Every format by name."""
    found: dict[str, Format] = {}
    for module in ("geotiff", "netcdf", "zarrstore", "image", "plain", "tables", "models", "products"):
        for entry in import_module(f"backend.results.{module}").FORMATS:
            found[entry.name] = entry
    for point in entry_points(group="tuile.writers"):
        entry = point.load()
        found[entry.name] = entry
    return found


def get(name: str) -> Format:
    """The format called ``name`` in any case. Raises ``FormatUnsuitable`` listing what there is."""
    for entry in all_formats().values():
        if entry.name.lower() == name.lower():
            return entry
    raise OpenEOError(
        "FormatUnsuitable",
        f"The output format '{name}' is not supported. Supported formats: {', '.join(sorted(all_formats()))}.",
    )


def unsuitable(format_name: str, reason: str) -> OpenEOError:
    """``FormatUnsuitable``: the data cannot be written so."""
    return OpenEOError("FormatUnsuitable", f"The result cannot be saved as {format_name}: {reason}")
