"""The whole flow of a request, from JSON to files: parse, validate, plan, evaluate, write.

`execute` is what jobs, synchronous requests, services and ``tuile run`` call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes.env import Env


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


def execute(
    process: Mapping[str, Any],
    env: Env,
    out: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    namespace: Mapping[str, Mapping[str, Any]] | None = None,
    on_progress: Progress | None = None,
    max_nodes: int = 10_000,
    max_pixels: int | None = None,
    default_format: str | None = None,
) -> list[Asset]:
    """Run a process graph and write what it saves into ``out``.

    Parameters
    ----------
    process
        openEO process object: ``{"process_graph": {...}}``, optionally with ``parameters``.
    env
        What the processes may ask of the service.
    out
        Existing folder for the files; on failure nothing half-written stays in it.
    parameters
        Values of the process's own parameters.
    namespace
        The user's stored processes (UDPs) by id.
    on_progress
        Called with the finished share, 0 to 1, never decreasing.
    max_nodes, max_pixels
        ``ProcessGraphComplexity`` above these.
    default_format
        Format for results without ``save_result``; None: JSON for values, netCDF for cubes.

    Returns
    -------
    One `Asset` per file, in the order saved.

    Raises
    ------
    backend.errors.OpenEOError
        For every mistake of the caller, with the node path.
    processes.stages.StagePending
        A chain's stage was sent to other workers; call again when its items are there.
    """
    raise NotImplementedError


def check(
    process: Mapping[str, Any],
    env: Env,
    *,
    namespace: Mapping[str, Mapping[str, Any]] | None = None,
    max_nodes: int = 10_000,
) -> list[dict[str, Any]]:
    """Every problem of a graph as ``{"code", "message", "path"}``; empty where it is valid. Never raises for a bad graph."""
    raise NotImplementedError


def estimate(
    process: Mapping[str, Any],
    env: Env,
    *,
    parameters: Mapping[str, Any] | None = None,
    namespace: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What a run would read and write, from the index alone: ``{"products", "pixels", "bytes_read", "output_bytes",
    "blocks", "peak_memory"}``. Raises `OpenEOError` like `execute`."""
    raise NotImplementedError
