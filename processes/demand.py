"""What a node wants from its input: the vocabulary of push-down.

A `Demand` is a constraint on a cube. The plan starts with "everything" at the result node and walks towards the
loads; each process maps the demand on its output to the demand on its inputs (its *demand rule*). A process
without a rule is a barrier: its inputs are asked for everything. Demands only ever say what is *not needed*, so
ignoring one is always correct and merely slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

# (west, south, east, north, crs)
Box = tuple[float, float, float, float, str]
# ISO 8601 instants, half-open [start, end); None is unbounded
Interval = tuple[str | None, str | None]


@dataclass(frozen=True)
class View:
    """A coarse grid on which pixels are only looked at, so that a load may fill it from the files' overviews.

    Either a ``grid`` (a map tile), or what `resample_spatial` was given: ``resolution``, ``projection`` and ``align``,
    which make a grid of the load's own (`processes.resample.grids.target_grid`).

    A view of the second kind stands for one resampling step: it passes only processes that hand values on as they are
    (`KEEPING`), so that nothing is computed from other values than the graph says. A view with a ``grid`` is a picture
    of the whole graph: it passes everything that works on each pixel alone (`POINTWISE`).
    """

    grid: GeoBox | None = None
    resolution: tuple[float, float] = (0.0, 0.0)
    projection: int | str | None = None
    align: str = "upper-left"


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
    whole
        Names of dimensions a consumer needs in one chunk (an order statistic over time names the temporal dimension).
    picture
        All that becomes of the cube are pictures (PNG, JPEG, map tiles).
    view
        The only grid on which the cube is looked at. A load that heeds it returns its cube on that grid.
    """

    box: Box | None = None
    geometries: tuple[Mapping[str, Any], ...] | None = None
    buffer: int = 0
    interval: Interval | None = None
    bands: tuple[str, ...] | None = None
    whole: frozenset[str] = frozenset()
    picture: bool = False
    view: View | None = None

    def with_(self, **changes: Any) -> Demand:
        return replace(self, **changes)


EVERYTHING = Demand()

# Processes whose output holds values of the input, unchanged and on its grid.
KEEPING = frozenset(
    [
        "add_dimension",
        "drop_dimension",
        "filter_bands",
        "filter_labels",
        "filter_temporal",
        "rename_dimension",
        "rename_labels",
        "save_result",
    ]
)
# Processes each pixel of whose output depends on that pixel of the input alone (for the dimensions their rules pass).
POINTWISE = KEEPING | frozenset(
    [
        "aggregate_temporal",
        "aggregate_temporal_period",
        "anomaly",
        "apply",
        "apply_dimension",
        "climatological_normal",
        "filter_bbox",
        "filter_spatial",
        "inspect",
        "mask",
        "mask_polygon",
        "merge_cubes",
        "ndvi",
        "reduce_dimension",
        "spectral_indices",
    ]
)


def carried(process_id: str, of_output: Demand, of_input: Demand) -> Demand:
    """``of_input``, which a rule of ``process_id`` made of ``of_output``, without a view that must not pass the process."""
    view = of_input.view
    if view is None or view is not of_output.view:  # a view that begins here
        return of_input
    return of_input if process_id in (KEEPING if view.grid is None else POINTWISE) else of_input.with_(view=None)


WGS84_NAME = "EPSG:4326"

# rule(args, demand on the output) -> {parameter that takes a cube: demand on it}
# ``args`` are the node's arguments with references left as {"from_node": ...} and callbacks as raw process graphs.
DemandRule = Callable[[Mapping[str, Any], Demand], dict[str, Demand]]


def passes(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Rule of a pixel-wise process: what is wanted of the output is wanted of ``data``."""
    return {"data": demand}
