"""`aggregate_spatial`: one value per geometry, of all geometries in one pass over the blocks of a raster.

Each block of the cube that touches a geometry becomes one task: the zones' cells in it are found there, and mergeable
reducers (mean, sum ...) leave only partial states behind, which are combined. Any other reducer needs the values of
each geometry together: blocks hand on the values inside the geometries, and one task per geometry calls the reducer.
Blocks that touch no geometry are never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.highlevelgraph import HighLevelGraph

from processes import cube as cubes
from processes.blocks import is_lazy
from processes.callback import Callback, LabeledArray, merge_of
from processes.demand import WGS84_NAME, Demand
from processes.env import Env
from processes.errors import ProcessError, parameter_invalid
from processes.extents import crs_name, geojson_geometries, geometry_bounds
from processes.geometries import projected
from processes.probe import answer, decode, decoded_dtype, of_nothing, reducer_dtype
from processes.registry import process
from processes.vector.cube import NAME, as_vector, crs_of, geometries_of, properties_of, vector_cube
from processes.vector.statistics import MERGEABLE, State, Statistic
from processes.vector.zones import Zones

STATISTICS = ("value", "total_count", "valid_count")
# How many partial states one task combines: more would hold more blocks' states in memory at once.
FAN_IN = 16
# Part of the memory that the values of one geometry may take while a reducer looks at them.
SHARE = 4


def aggregate_spatial_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """The bounds of the geometries, where they are GeoJSON, and a pixel around them (for points and lines)."""
    wanted = demand.with_(box=None, geometries=None, buffer=0, view=None)
    given = args.get("geometries")
    if isinstance(given, Mapping) and "type" in given:
        try:
            found = [g for g in geojson_geometries(given) if g]
            wanted = wanted.with_(box=(*geometry_bounds(found), WGS84_NAME), buffer=1)
        except (ProcessError, KeyError, TypeError, AttributeError, ValueError):
            return {"data": wanted}  # the process itself tells what is wrong
    return {"data": wanted, "geometries": Demand()}


@process(demand=aggregate_spatial_demand)
def aggregate_spatial(
    data: xr.DataArray,
    geometries: Any,
    reducer: Callback,
    target_dimension: str | None = None,
    context: Any = None,
    *,
    env: Env | None = None,
) -> xr.DataArray:
    """A vector cube: ``reducer(data, context)`` of the cells of each geometry, all other dimensions kept. float64.

    Cells belong to a polygon if their centre is inside or on its edge, to points and lines if these touch them;
    geometries may overlap. With ``context={"coverage": "exact"}`` (mergeable reducers) cells count by the share of
    them that the polygon covers; variance and sd then take the sum of shares for the number of values. The cells of
    a geometry have no order. Geometries without cells give the reducer's value of nothing (NaN, 0 for ``count``).

    Parameters
    ----------
    geometries : vector cube, GeoJSON or GeoDataFrame in any CRS; the result keeps them and their properties
    target_dimension : name of a new dimension with the labels ``value``, ``total_count`` and ``valid_count``
    env : for the memory limit

    Raises
    ------
    ProcessError
        ``TargetDimensionExists``, ``DimensionMissing``, ``ProcessParameterInvalid``, ``ProcessGraphComplexity`` where
        a reducer that does not merge would have to hold too many values of one geometry.
    """
    y, x = cubes.spatial_dims(data)
    geobox = cubes.geobox_of(data)
    features = as_vector(geometries, parameter="geometries")
    rest = [str(d) for d in data.dims if d not in (y, x)]
    if target_dimension is not None and target_dimension in (*rest, NAME):
        raise ProcessError("TargetDimensionExists", f"A dimension '{target_dimension}' already exists.")
    if NAME in rest:
        raise ProcessError("TargetDimensionExists", f"The cube has a dimension '{NAME}' already; rename it.")
    merge = merge_of(reducer)
    exact = _exact(context)
    source, target = crs_of(features), crs_name(str(geobox.crs))
    here = [g if g.is_empty else projected(g, source, target) for g in geometries_of(features)]
    zones = Zones(here, geobox, exact)
    ordered = data.transpose(*rest, y, x)
    if merge is not None and merge[0] in MERGEABLE:
        work: _Work = _Merging(ordered, zones, Statistic(merge[0], **merge[1]))
    elif exact:
        raise parameter_invalid("context", f"exact coverage is possible with {', '.join(MERGEABLE)} only")
    else:
        work = _Gathering(ordered, zones, reducer, context)
        _refuse_too_much(ordered, zones, (env or Env()).limits.memory)
    values = work.lazy() if is_lazy(ordered) else work.whole()  # (3, ...rest, geometry)
    if target_dimension is None:
        values, dims, extra = values[0], (*rest, NAME), {}
    else:
        dims, extra = (target_dimension, *rest, NAME), {target_dimension: list(STATISTICS)}
    coords = {str(k): c for k, c in data.coords.items() if set(c.dims) <= set(rest) and k != "spatial_ref"}
    result = vector_cube(
        geometries_of(features), crs_of(features), values, dims=dims, coords={**coords, **extra},
        kinds={d: k for d, k in cubes.kinds(data).items() if d in rest} | dict.fromkeys(extra, cubes.OTHER),
        properties={k: v for k, v in properties_of(features).items() if k not in coords},
    )  # fmt: skip
    kept = {k: v for k, v in data.attrs.items() if k in ("derived_from", "band_info")}
    order = (NAME, *rest, *extra)
    return cubes.like(result.transpose(*order), result, **kept)


def _exact(context: Any) -> bool:
    coverage = context.get("coverage") if isinstance(context, Mapping) else None
    if coverage not in (None, "centre", "center", "exact"):
        raise parameter_invalid("context", f"coverage '{coverage}' is neither 'centre' nor 'exact'")
    return coverage == "exact"


def _refuse_too_much(data: xr.DataArray, zones: Zones, memory: int) -> None:
    """Raises ``ProcessGraphComplexity`` where the values of one geometry do not fit."""
    if not len(zones):
        return
    planes = np.prod([max(data.chunksizes[d]) if data.chunks else data.sizes[d] for d in data.dims[:-2]], initial=1)
    cells = zones.most_cells().max()
    needed = int(cells * planes) * (decoded_dtype(data).itemsize + 8)
    if needed > memory // SHARE:
        raise ProcessError(
            "ProcessGraphComplexity",
            f"The largest geometry has up to {cells:,.0f} cells of {planes:,.0f} dates and bands ({needed >> 20} MiB); this "
            f"reducer needs them together, and {memory // SHARE >> 20} MiB are there for it. Use one that needs no more "
            f"than partial results ({', '.join(MERGEABLE)}), smaller geometries, fewer dates or a coarser resolution.",
        )


class _Work:
    """What is done to blocks (`part`) and with what came of them (`joined`), whatever runs it."""

    def __init__(self, data: xr.DataArray, zones: Zones):
        self.data, self.zones, self.nodata = data, zones, data.attrs.get("nodata")
        self.lead = data.shape[:-2]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "data"}  # the cube itself does not travel

    def floats(self, block: np.ndarray) -> np.ndarray:
        """A block as (planes, rows, columns) of floats with NaN."""
        values = decode(block, self.nodata)
        if values.dtype.kind != "f":
            values = values.astype("f8" if values.dtype.itemsize > 2 else "f4")
        return np.ascontiguousarray(values).reshape(-1, *block.shape[-2:])

    def part(self, block: np.ndarray, rows: tuple[int, int], cols: tuple[int, int]) -> Any:
        raise NotImplementedError

    def joined(self, parts: Sequence[Any], lead: tuple[int, ...]) -> np.ndarray:
        """(3, ...lead, zones) from the parts of all blocks of some planes."""
        raise NotImplementedError

    def whole(self) -> np.ndarray:
        height, width = self.zones.geobox.shape
        return self.joined([self.part(self.data.values, (0, height), (0, width))], self.lead)

    def lazy(self) -> da.Array:
        """The same over blocks: a task per block that touches a zone, a tree of joins per chunk of planes."""
        source = self.data.data
        ones = (*source.chunks[:-2], *((1,) * n for n in source.numblocks[-2:]))

        def on_block(block: np.ndarray, block_info: Any = None) -> np.ndarray:
            *_, rows, cols = block_info[0]["array-location"]
            out = np.empty((*block.shape[:-2], 1, 1), object)
            held = np.empty((), object)
            held[()] = self.part(block, tuple(rows), tuple(cols))
            out[...] = held  # one object: only the first of the planes is looked at
            return out

        parts = da.map_blocks(on_block, source, chunks=ones, dtype=object, meta=np.empty((0,) * source.ndim, object))
        name = f"{parts.name}-zones"
        graph: dict[Any, Any] = {}
        touched = self._touched(source.chunks[-2:])
        for lead in np.ndindex(*source.numblocks[:-2]):
            sizes = tuple(source.chunks[axis][k] for axis, k in enumerate(lead))
            graph |= self.graph(name, lead, [(parts.name, *lead, r, c) for r, c in touched], sizes, touched)
        chunks = ((3,), *source.chunks[:-2], self.out_chunks())
        whole = HighLevelGraph.from_collections(name, graph, dependencies=[parts])
        return da.Array(whole, name, chunks, dtype="f8")

    def _touched(self, chunks: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
        """Blocks (row, column) that a zone touches."""
        edges = [np.concatenate([[0], np.cumsum(c)]) for c in chunks]
        return [
            (r, c)
            for r in range(len(chunks[0]))
            for c in range(len(chunks[1]))
            if len(self.zones.near(tuple(edges[0][r : r + 2]), tuple(edges[1][c : c + 2])))
        ]

    def out_chunks(self) -> tuple[int, ...]:
        raise NotImplementedError

    def graph(
        self, name: str, lead: tuple[int, ...], keys: list[Any], sizes: tuple[int, ...], blocks: list[tuple[int, int]]
    ) -> dict[Any, Any]:
        """Tasks that make the result's chunks for the planes ``lead`` of the parts ``keys``."""
        raise NotImplementedError


def _first(part: np.ndarray) -> Any:
    return part.flat[0]


class _Merging(_Work):
    """Reducers with partial states."""

    def __init__(self, data: xr.DataArray, zones: Zones, statistic: Statistic):
        super().__init__(data, zones)
        self.statistic = statistic

    def part(self, block: np.ndarray, rows: tuple[int, int], cols: tuple[int, int]) -> State:
        return self.statistic.start(self.floats(block), self.zones.cells(rows, cols))

    def joined(self, parts: Sequence[State], lead: tuple[int, ...]) -> np.ndarray:
        state = self.statistic.merge(parts) if parts else None
        planes = int(np.prod(lead, initial=1))
        return self.statistic.finish(state, planes, len(self.zones)).reshape(3, *lead, len(self.zones))

    def out_chunks(self) -> tuple[int, ...]:
        return (len(self.zones),)

    def graph(self, name, lead, keys, sizes, blocks):
        def merged(parts: list[Any]) -> State:
            return self.statistic.merge([_first(p) if isinstance(p, np.ndarray) else p for p in parts])

        def last(parts: list[Any]) -> np.ndarray:
            return self.joined([_first(p) if isinstance(p, np.ndarray) else p for p in parts], sizes)

        tasks: dict[Any, Any] = {}
        level = 0
        while len(keys) > FAN_IN:
            groups = [keys[i : i + FAN_IN] for i in range(0, len(keys), FAN_IN)]
            keys = [(f"{name}-{level}", *lead, n) for n in range(len(groups))]
            tasks |= {key: (merged, group) for key, group in zip(keys, groups)}
            level += 1
        tasks[(name, 0, *lead, 0)] = (last, keys)
        return tasks


class _Gathering(_Work):
    """Any reducer: the values of each zone together."""

    def __init__(self, data: xr.DataArray, zones: Zones, reducer: Callback, context: Any):
        super().__init__(data, zones)
        self.reducer, self.context = reducer, context
        self.dtype = np.dtype("f8" if decoded_dtype(data).itemsize > 2 and decoded_dtype(data) != "f4" else "f4")
        sample = xr.DataArray(np.empty(1, self.dtype), dims="sample")
        found = reducer_dtype(reducer, sample, 2, context)
        if found.kind not in "biuf":
            raise parameter_invalid("reducer", "it must return a number per geometry")
        self.empty = float(of_nothing(reducer, sample, "sample", context))

    def part(
        self, block: np.ndarray, rows: tuple[int, int], cols: tuple[int, int]
    ) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Zone -> (cells (n,) as numbers in the grid, values (n, planes))."""
        values = self.floats(block)
        cells = self.zones.cells(rows, cols)
        width = self.zones.geobox.shape[1]
        bounds = np.searchsorted(cells.runs[:, 0], np.arange(len(cells.ids) + 1))
        out = {}
        for k, id in enumerate(cells.ids):
            runs = cells.runs[bounds[k] : bounds[k + 1]]
            r = np.repeat(runs[:, 1], runs[:, 3] - runs[:, 2])
            c = np.concatenate([np.arange(a, b) for a, b in runs[:, 2:]])
            out[int(id)] = (r + rows[0]) * width + c + cols[0], np.ascontiguousarray(values[:, r, c].T)
        return out

    def joined(self, parts: Sequence[dict[int, Any]], lead: tuple[int, ...]) -> np.ndarray:
        done = [self.of_zone([p[k] for p in parts if k in p], lead) for k in range(len(self.zones))]
        return np.stack(done, axis=-1) if done else np.empty((3, *lead, 0))

    def of_zone(self, parts: Sequence[tuple[np.ndarray, np.ndarray]], lead: tuple[int, ...]) -> np.ndarray:
        """(3, ...lead): the reducer's value, all cells and valid cells. Cells go in the order of the grid."""
        out = np.zeros((3, *lead))
        out[0] = self.empty
        if parts:
            order = np.argsort(np.concatenate([cells for cells, _ in parts]), kind="stable")
            values = np.concatenate([v for _, v in parts])[order].reshape(-1, *lead)
            out[0] = answer(self.reducer(data=LabeledArray(values), context=self.context), lead)
            out[1], out[2] = len(values), np.isfinite(values).sum(axis=0)
        return out

    def out_chunks(self) -> tuple[int, ...]:
        return (1,) * len(self.zones)

    def graph(self, name, lead, keys, sizes, blocks):
        source = self.data.data
        edges = [np.concatenate([[0], np.cumsum(c)]) for c in source.chunks[-2:]]

        def one(id: int, parts: list[np.ndarray]) -> np.ndarray:
            found = [held[id] for part in parts if id in (held := _first(part))]
            return self.of_zone(found, sizes)[..., None]

        tasks: dict[Any, Any] = {}
        of_zone: dict[int, list[Any]] = {}
        for key, (r, c) in zip(keys, blocks):
            for id in self.zones.near(tuple(edges[0][r : r + 2]), tuple(edges[1][c : c + 2])):
                of_zone.setdefault(int(id), []).append(key)
        for id in range(len(self.zones)):
            tasks[(name, 0, *lead, id)] = (one, id, of_zone.get(id, []))
        return tasks
