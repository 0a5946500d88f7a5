"""`Asset`: one file a request produced, as writers tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asset:
    """One file a request produced.

    Attributes
    ----------
    path : where it lies
    folder : folder of the results it belongs in (``a/b``), empty for files that stand alone
    media_type : e.g. ``image/tiff; application=geotiff; profile=cloud-optimized``
    title : for a person
    roles : ``data``, ``metadata``, ``thumbnail``
    metadata : STAC fields of the asset (``proj:code``, ``proj:shape``, ``proj:transform``, ``bands`` with statistics ...)
    properties : STAC fields of the item the asset belongs to (``datetime`` or interval, ``derived_from`` ids ...)
    geometry, bbox : footprint in EPSG:4326, if it has one
    cube : ``cube:dimensions`` of the cube it holds, if any
    """

    path: Path
    media_type: str
    title: str = ""
    roles: tuple[str, ...] = ("data",)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    geometry: Mapping[str, Any] | None = None
    bbox: tuple[float, float, float, float] | None = None
    cube: Mapping[str, Any] | None = None
    folder: str = ""

    @property
    def name(self) -> str:
        """Its name among the results, a relative path."""
        return f"{self.folder}/{self.path.name}" if self.folder else self.path.name

    def move(self, out: Path) -> Asset:
        """The file moved below ``out``, to its name."""
        final = out / self.name
        final.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(final)
        return replace(self, path=final)


Progress = Callable[[float], None]  # called with 0..1, never decreasing
