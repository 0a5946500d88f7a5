"""What a node wants from its input: the vocabulary of push-down.

A `Demand` is a constraint on a cube. The plan starts with "everything" at the result node and walks towards the
loads; each process maps the demand on its output to the demand on its inputs (its *demand rule*). A process
without a rule is a barrier: its inputs are asked for everything. Demands only ever say what is *not needed*, so
ignoring one is always correct and merely slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

# (west, south, east, north, crs)
Box = tuple[float, float, float, float, str]
# ISO 8601 instants, half-open [start, end); None is unbounded
Interval = tuple[str | None, str | None]


@dataclass(frozen=True)
class Demand:
    """A constraint on a cube; ``None`` means unconstrained.

    Attributes
    ----------
    box
        Pixels whose centre lies outside are not looked at. In any CRS, kept as given.
    geometries
        GeoJSON-like mappings in EPSG:4326; pixels outside all of them are not looked at (``box`` bounds them too).
    buffer
        Extra pixels around ``box`` that are looked at (kernels, neighbourhoods).
    interval
        Instants outside are not looked at.
    bands
        Band labels that are looked at.
    resolution, crs
        The grid the result will be resampled to: overviews may be used down to this resolution.
    whole
        Names of dimensions a consumer needs in one chunk (an order statistic over time names the temporal dimension).
    """

    box: Box | None = None
    geometries: tuple[Mapping[str, Any], ...] | None = None
    buffer: int = 0
    interval: Interval | None = None
    bands: tuple[str, ...] | None = None
    resolution: float | None = None
    crs: str | None = None
    whole: frozenset[str] = frozenset()

    def with_(self, **changes: Any) -> Demand:
        return replace(self, **changes)


EVERYTHING = Demand()
WGS84_NAME = "EPSG:4326"

# rule(args, demand on the output) -> {parameter that takes a cube: demand on it}
# ``args`` are the node's arguments with references left as {"from_node": ...} and callbacks as raw process graphs.
DemandRule = Callable[[Mapping[str, Any], Demand], dict[str, Demand]]


def passes(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Rule of a pixel-wise process: what is wanted of the output is wanted of ``data``."""
    return {"data": demand}
