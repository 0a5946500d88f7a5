"""What the API and the processes that draw tiles say to each other; plain data, pickled over a socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.jobs.messages import Log
from backend.services.mercator import Block, Bounds


@dataclass(frozen=True)
class Spec:
    """A service as it is drawn.

    Attributes
    ----------
    key : names the service and everything its tiles depend on; equal keys, equal tiles
    process, namespace : the graph, and the stored processes it may call
    user_id : whose files and results the graph may load
    options : of the picture (`backend.results.options.PARAMETERS`), over those of the graph's own ``save_result``
    resampling : how pixels are enlarged
    """

    key: str
    process: Mapping[str, Any]
    namespace: Mapping[str, Mapping[str, Any]]
    user_id: str
    options: Mapping[str, Any]
    resampling: str = "near"


@dataclass(frozen=True)
class About:
    """What is known of a service's picture before any tile is drawn; the same for all its tiles.

    Attributes
    ----------
    bounds : west, south, east, north of the data in metres of the web mercator plane
    metres : size of a pixel of the data, metres of the plane
    low, high : stretch, one value per band shown
    times : labels of the temporal dimension, as text; empty where there is none
    dated : whether the labels are the instants of acquisition
    """

    bounds: Bounds
    metres: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    times: tuple[str, ...] = ()
    dated: bool = False


@dataclass(frozen=True)
class Encoding:
    """Format of a tile: ``png`` or ``jpeg`` (with its quality)."""

    format: str = "png"
    quality: int = 85


@dataclass(frozen=True)
class AboutRequest:
    """Find out what is to be known of a service. ``spec`` None: the process was told before."""

    key: str
    spec: Spec | None = None


@dataclass(frozen=True)
class BlockRequest:
    """Draw the tiles of a block; ``time`` is one of the labels, None the first."""

    key: str
    about: About
    block: Block
    encoding: Encoding
    time: str | None = None
    spec: Spec | None = None


@dataclass(frozen=True)
class Unknown:
    """The process does not know the service: ask again with its specification."""


@dataclass(frozen=True)
class Found:
    """Answer to an `AboutRequest`."""

    about: About
    logs: tuple[Log, ...] = ()


@dataclass(frozen=True)
class Drawn:
    """Answer to a `BlockRequest`: files of the block's tiles, row by row; None for a tile without any data."""

    images: tuple[bytes | None, ...]
    logs: tuple[Log, ...] = ()
