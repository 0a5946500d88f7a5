"""A service's graph as a layer of a map: planned once, looked at block by block.

Each block is the graph restricted to the block's area and grid: loads read what the block shows, from overviews where it
shows less than the files hold. What comes out is put onto the block's own pixels (nearest neighbour unless the service
asks otherwise) and painted by the rules of the PNG writer, with one stretch for all tiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil, floor
from typing import Any

import dask
import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from backend.errors import OpenEOError
from backend.graph.evaluate import evaluate
from backend.graph.plan import EFFECTS, Plan, restricted
from backend.graph.run import prepare
from backend.results import format as formats
from backend.results.describe import text
from backend.results.paint import Painter, chosen, found_range, given_range, palette, widened
from backend.results.raster import Raster, raster
from backend.services.encode import encode
from backend.services.mercator import BLOCK, CRS, Block, Bounds, in_plane, resolution, zoom_of
from backend.services.messages import About, Encoding, Spec
from backend.services.search import Searches
from processes import cube as cubes
from processes.demand import EVERYTHING, Demand, View
from processes.env import Env, LoadReport
from processes.errors import ProcessError
from processes.extents import box_in, crs_name
from processes.resample.grids import grid_of
from processes.resample.warp import warp
from processes.save.save_result import SaveResult

NAME = "map tiles"
_MARGIN = 3  # pixels of the data around a block: more than the reach of any resampling offered
_HOUR = np.timedelta64(1, "h")  # more than the tiles of one pass lie apart, less than two passes
_SAMPLES = 3  # windows along each axis the stretch is taken from, where the whole cannot be looked at
PICTURES = ("png", "jpeg")
SEEING = ("load_collection", "load_stac")  # loads that heed a view


class Layer:
    """The picture a service shows.

    Parameters
    ----------
    spec : the service
    env : its owner's; stages of chains are not run here
    max_nodes, max_pixels : ``ProcessGraphComplexity`` above these (nodes of the graph; values one block reads)

    Raises `OpenEOError` for a graph that is not valid, or does more than make a picture.
    """

    def __init__(self, spec: Spec, env: Env, *, max_nodes: int, max_pixels: int):
        self.searches = Searches(env.catalogue)
        self.spec, self.max_pixels = spec, max_pixels
        self.env = replace(env, catalogue=self.searches, dispatch=NoStages())
        plan = prepare(spec.process, self.env, parameters={}, namespace=spec.namespace, max_nodes=max_nodes)
        result = plan.graph.result
        assert result is not None  # a valid graph has one
        self.plan = Plan(plan.graph, (result,), plan.demands)
        for node in plan.graph.nodes.values():
            if node.process_id in EFFECTS and node.process_id not in ("save_result", "inspect"):
                raise OpenEOError(
                    "ProcessGraphInvalid",
                    f"A web service only shows its result: '{node.process_id}' belongs into a batch job.",
                    path=node.path,
                )
        self.loads = sum(n.process_id.startswith("load_") for n in plan.graph.nodes.values())

    def about(self) -> About:
        """Extent, dates and stretch. Raises `OpenEOError` as `draw` does."""
        cube, options = self._evaluate(EVERYTHING, budget=False)
        shown = self._shown(cube, options, 0)
        grid = grid_of(shown.cube)
        box = grid.boundingbox
        bounds = in_plane(box_in((box.left, box.bottom, box.right, box.top, crs_name(str(grid.crs))), "EPSG:4326"))
        if not (bounds[0] < bounds[2] and bounds[1] < bounds[3]):
            raise OpenEOError("NoDataAvailable", "The result lies outside what a web mercator map shows.")
        metres = _pixel(grid, bounds)
        time = cubes.dim_of(cube, cubes.TEMPORAL)
        labels = [] if time is None else cubes.labels(cube, time)
        about = About(bounds, metres, (), (), tuple(text(v) for v in labels), _dated(labels))
        n = len(shown.bands or [None])
        low, high = given_range(options, shown.cube.dtype, n, NAME)
        if palette(options.get("colormap"), NAME) is not None and n > 1:
            raise _unsuitable("a colormap needs a single band; choose one with the option 'bands'.")
        if low is None or high is None:
            found = self._stretch(about, options, shown)
            low, high = (f if g is None else g for f, g in zip(found, (low, high)))
        low, high = widened(low, high)
        return replace(about, low=tuple(low.tolist()), high=tuple(high.tolist()))

    def draw(self, block: Block, about: About, time: str | None, encoding: Encoding) -> list[bytes | None]:
        """Files of the block's tiles, row by row; None for a tile without data.

        Raises `OpenEOError`: mistakes of the graph, ``ProcessGraphComplexity`` for a block that would read too much.
        """
        held = self._pixels(block.grid, about, time)
        if held is None:
            return [None] * len(block.tiles)
        values, shown, options = held
        painter = Painter(
            np.array(about.low), np.array(about.high), palette(options.get("colormap"), NAME), shown.nodata
        )
        painted = painter.paint(values, alpha=True)
        step = block.size
        out: list[bytes | None] = []
        for tile in block.tiles:
            row, col = (tile.y % block.across) * step, (tile.x % block.across) * step
            part = painted[:, row : row + step, col : col + step]
            if not part[-1].any():
                out.append(None)
                continue
            opaque = encoding.format == "jpeg" or bool((part[-1] == 255).all())
            out.append(encode(np.moveaxis(part[:-1] if opaque else part, 0, -1), encoding))
        return out

    # -- inside ------------------------------------------------------------------------------------------------------

    def _pixels(
        self, grid: GeoBox, about: About, time: str | None
    ) -> tuple[np.ndarray, Raster, Mapping[str, Any]] | None:
        """Values (bands, rows, columns) on ``grid``; None where there is no data."""
        box = grid.boundingbox
        wanted = Demand(
            box=(box.left, box.bottom, box.right, box.top, CRS),
            buffer=_MARGIN,
            interval=_around(time or about.times[0]) if about.dated else None,
            picture=True,
            view=self._view(grid, about),
        )
        try:
            cube, options = self._evaluate(wanted)
        except (OpenEOError, ProcessError) as error:
            if error.code != "NoDataAvailable":
                raise
            if self.loads < 2:
                return None
            # one of several sources has nothing here: without the area each keeps its own extent, and blocks of it that
            # are not looked at are not read
            try:
                cube, options = self._evaluate(wanted.with_(box=None, buffer=0, view=None), budget=False)
            except (OpenEOError, ProcessError) as second:
                if second.code != "NoDataAvailable":
                    raise
                return None
        index = _index(cube, about, time)
        if index is None:
            return None
        shown = self._shown(cube, options, index)
        moved = warp(shown.cube, grid_of(shown.cube), grid, self.spec.resampling)
        values = np.asarray(moved.data.compute() if dask.is_dask_collection(moved.data) else moved.data)
        return values.reshape(-1, *values.shape[-2:]), shown, options

    def _view(self, grid: GeoBox, about: About) -> View | None:
        """The grid, for loads to fill it themselves.

        By nearest neighbours that is what filling it afterwards gives; other resamplings take the pixels as they are
        where the map shows them all.
        """
        return View(grid) if self.spec.resampling == "near" or grid.resolution.x >= 2 * about.metres else None

    def _evaluate(self, demand: Demand, *, budget: bool = True) -> tuple[xr.DataArray, Mapping[str, Any]]:
        """The lazy cube of the result for a demand, and the options of the picture."""
        ledger: list[LoadReport] = []
        plan = restricted(self.plan, demand)
        if demand.view is not None and not self._all_see(plan):
            plan = restricted(self.plan, demand.with_(view=None))
        self.searches.demand = demand
        value = evaluate(plan, replace(self.env, ledger=ledger), namespace=self.spec.namespace)[0]
        pixels = sum(r.pixels for r in ledger)
        if budget and pixels > self.max_pixels:
            raise OpenEOError(
                "ProcessGraphComplexity",
                f"This part of the map reads {pixels / 1e6:,.0f} million values; at most {self.max_pixels / 1e6:,.0f} "
                "million are read for one. Zoom in, or let the graph use fewer dates or bands.",
                data={"pixels": pixels, "limit": self.max_pixels},
            )
        save = value if isinstance(value, SaveResult) else SaveResult(value, "PNG")
        own: Mapping[str, Any] = {}
        if save.format.lower() in PICTURES:
            chosen_format = formats.get(save.format)
            given = {k: v for k, v in save.options.items() if v is not None}
            own = {k: v for k, v in chosen_format.options(given).items() if k not in ("filename_prefix", "quality")}
        if not isinstance(save.data, xr.DataArray):
            raise _unsuitable("it is not a raster cube.")
        return save.data, {**own, **self.spec.options}

    def _all_see(self, plan: Plan) -> bool:
        """Whether the view comes to all loads: cubes on the grid of the map do not go together with others."""
        nodes = plan.graph.nodes.values()
        loads = [n for n in nodes if n.process_id.startswith("load_") and n.id in plan.demands]
        return all(n.process_id in SEEING and plan.demands[n.id].view is not None for n in loads)

    def _shown(self, cube: xr.DataArray, options: Mapping[str, Any], index: int) -> Raster:
        shown = raster(chosen(cube, options.get("bands"), "PNG", index), NAME)
        if cubes.crs_of(shown.cube) is None:
            raise _unsuitable("it has no coordinate reference system.")
        return shown

    def _stretch(self, about: About, options: Mapping[str, Any], shown: Raster) -> tuple[np.ndarray, np.ndarray]:
        """Percentiles of the whole picture in the size of one block; where that reads too much, of some windows."""
        try:
            samples = [self._pixels(_overview(about.bounds), about, None)]
        except OpenEOError as error:
            if error.code != "ProcessGraphComplexity":
                raise
            samples = [self._pixels(w, about, None) for w in _windows(about)]
        planes = [s[0].reshape(len(s[0]), -1) for s in samples if s is not None]
        if not planes:
            return np.zeros(len(shown.bands or [None])), np.ones(len(shown.bands or [None]))
        return found_range(list(np.concatenate(planes, axis=1)), options, shown.nodata)


class NoStages:
    """Chains are not run for a tile: their products are there already, or the service says what to do."""

    def run(self, stage: Any, env: Env) -> Any:
        raise OpenEOError(
            "ProcessGraphComplexity",
            f"'{stage.chain}' has not processed all of its {len(stage.tasks)} products yet, and a web service does not "
            "wait for that. Run this process as a batch job first; the service then shows the products it made.",
            path=env.path,
        )


def _unsuitable(reason: str) -> OpenEOError:
    return OpenEOError("FormatUnsuitable", f"The result cannot be shown as {NAME}: {reason}")


def _pixel(grid: GeoBox, bounds: Bounds) -> float:
    """Size of a pixel in metres of the plane, from the size of the whole."""
    rows, cols = grid.shape
    return max(min((bounds[2] - bounds[0]) / cols, (bounds[3] - bounds[1]) / rows), 1e-3)


def _overview(bounds: Bounds) -> GeoBox:
    """A grid of at most `BLOCK` pixels along a side over ``bounds``."""
    return _grid(bounds, max(bounds[2] - bounds[0], bounds[3] - bounds[1]) / (BLOCK - 1))


def _grid(bounds: Bounds, step: float) -> GeoBox:
    west, south, east, north = bounds
    left, top = floor(west / step), ceil(north / step)
    shape = (max(top - floor(south / step), 1), max(ceil(east / step) - left, 1))
    return GeoBox(shape, Affine(step, 0, left * step, 0, -step, top * step), CRS)


def _windows(about: About) -> list[GeoBox]:
    """Windows of a quarter block at the data's own resolution, spread over the extent."""
    step = resolution(zoom_of(about.metres))
    west, south, east, north = about.bounds
    half = BLOCK / 4 * step
    out = []
    for j in range(_SAMPLES):
        for i in range(_SAMPLES):
            x = west + (east - west) * (i + 0.5) / _SAMPLES
            y = south + (north - south) * (j + 0.5) / _SAMPLES
            out.append(_grid((x - half, y - half, x + half, y + half), step))
    return out


def _dated(labels: Sequence[Any]) -> bool:
    return bool(labels) and all(isinstance(v, np.datetime64) for v in labels)


def _around(label: str) -> tuple[str, str]:
    """An interval that holds the pass labelled so: its tiles were taken within minutes of each other."""
    instant = np.datetime64(label.rstrip("Z"), "ns")
    return f"{instant - _HOUR}Z", f"{instant + _HOUR}Z"


def _index(cube: xr.DataArray, about: About, time: str | None) -> int | None:
    """Where along time the asked label lies; None where this part of the cube does not have it.

    Instants of acquisition are the earliest of their pass, which in a part of the area may be a little later.
    """
    along = cubes.dim_of(cube, cubes.TEMPORAL)
    if along is None or not about.times:
        return 0
    labels, wanted = cubes.labels(cube, along), time or about.times[0]
    if not about.dated:
        told = [text(v) for v in labels]
        return told.index(wanted) if wanted in told else None
    if not labels:
        return None
    distance = np.abs(np.array(labels, "M8[ns]") - np.datetime64(wanted.rstrip("Z"), "ns"))
    nearest = int(distance.argmin())
    return nearest if distance[nearest] <= _HOUR else None
