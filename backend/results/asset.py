"""`Asset`: one file a request produced, as writers tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asset:
    """One file a request produced.

    Attributes
    ----------
    path : where it lies
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


Progress = Callable[[float], None]  # called with 0..1, never decreasing
