"""Zones on a grid: which cells of a block belong to which geometry, found where the block is worked on.

A cell belongs to a polygon if its centre lies inside or on the edge, to a point or line that touches it. With exact
coverage it belongs to a polygon by the share of it that the polygon covers. Zones may overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from processes.geometries import pixels_inside

NO_WEIGHTS = np.empty(0, "f8")


@dataclass(frozen=True)
class Cells:
    """Cells of the zones that touch a block.

    Attributes
    ----------
    ids : int64 (k,), ascending: which zones
    runs : int64 (n, 4): index into ``ids``, row, first column, end column
    weights : float64, one per cell of the runs; empty where all are 1
    """

    ids: np.ndarray
    runs: np.ndarray
    weights: np.ndarray


class Zones:
    """Geometries on a grid: plain data that travels to workers."""

    def __init__(self, geometries: Sequence[Any], geobox: GeoBox, exact: bool = False):
        self.geobox, self.exact = geobox, exact
        to_pixels = ~geobox.affine
        held = np.empty(len(geometries), object)
        held[:] = [_united(g) for g in geometries]
        self.geometries = shapely.transform(held, lambda xy: np.column_stack(to_pixels * (xy[:, 0], xy[:, 1])))
        bounds = shapely.bounds(self.geometries)
        self.bounds = np.where(np.isnan(bounds).any(axis=1)[:, None], [np.inf, np.inf, -np.inf, -np.inf], bounds)
        self.area = shapely.get_dimensions(self.geometries) == 2

    def __len__(self) -> int:
        return len(self.geometries)

    def near(self, rows: tuple[int, int], cols: tuple[int, int]) -> np.ndarray:
        """Zones whose bounds touch a block, ascending."""
        west, north, east, south = self.bounds.T
        return np.flatnonzero((west <= cols[1]) & (east >= cols[0]) & (north <= rows[1]) & (south >= rows[0]))

    def most_cells(self) -> np.ndarray:
        """At most so many cells of the grid each zone has: those of its bounds."""
        height, width = self.geobox.shape
        west, north, east, south = self.bounds.T
        cols = np.minimum(east, width) - np.maximum(west, 0) + 1
        rows = np.minimum(south, height) - np.maximum(north, 0) + 1
        return np.maximum(cols, 0) * np.maximum(rows, 0)

    def cells(self, rows: tuple[int, int], cols: tuple[int, int]) -> Cells:
        """Cells of the zones in the block of ``rows`` and ``cols`` ((start, stop) each), numbered from its corner."""
        ids = self.near(rows, cols)
        shape = (rows[1] - rows[0], cols[1] - cols[0])
        flat = ids[self.area[ids]]
        parts, weights = [], []
        if len(flat) and self.exact:
            found = self._covered(flat, rows, cols)
        elif len(flat):
            found = (self._scanned(flat, rows, cols, shape), NO_WEIGHTS)
        else:
            found = (np.empty((0, 4), "i8"), NO_WEIGHTS)
        parts.append(found[0])
        weights.append(found[1])
        for id in ids[~self.area[ids]]:
            runs = self._touched(int(id), rows, cols)
            parts.append(runs)
            weights.append(np.ones(int((runs[:, 3] - runs[:, 2]).sum())) if self.exact else NO_WEIGHTS)
        runs = np.concatenate(parts)
        present = np.unique(runs[:, 0])
        runs[:, 0] = np.searchsorted(present, runs[:, 0])
        return Cells(present, runs, np.concatenate(weights))

    def _scanned(
        self, ids: np.ndarray, rows: tuple[int, int], cols: tuple[int, int], shape: tuple[int, int]
    ) -> np.ndarray:
        from processes.kernels.zonal import polygon_runs

        parts, of_part = shapely.get_parts(self.geometries[ids], return_index=True)
        rings, of_ring = shapely.get_rings(parts, return_index=True)
        xy, of_vertex = shapely.get_coordinates(rings, return_index=True)
        starts = np.searchsorted(of_vertex, np.arange(len(rings) + 1))
        xs, ys = xy[:, 0] - cols[0], xy[:, 1] - rows[0]
        return polygon_runs(xs, ys, starts, ids[of_part[of_ring]], len(self), *shape)

    def _touched(self, id: int, rows: tuple[int, int], cols: tuple[int, int]) -> np.ndarray:
        """Runs of the cells that points and lines touch; a point on a cell's edge touches the cell right or below."""
        geometry = self.geometries[id]
        hit = np.zeros((rows[1] - rows[0], cols[1] - cols[0]), bool)
        if shapely.get_dimensions(geometry) == 0:
            xy = np.floor(shapely.get_coordinates(geometry)).astype("i8") - (cols[0], rows[0])
            inside = ((xy >= 0) & (xy < (hit.shape[1], hit.shape[0]))).all(axis=1)
            hit[xy[inside, 1], xy[inside, 0]] = True
        else:
            from affine import Affine

            here = shapely.transform(geometry, lambda xy: xy - (cols[0], rows[0]))
            hit = pixels_inside([here], GeoBox(hit.shape, Affine.identity(), None))
        r, c = np.nonzero(hit)
        return np.column_stack([np.full(len(r), id), r, c, c + 1]).astype("i8")

    def _covered(self, ids: np.ndarray, rows: tuple[int, int], cols: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Cells and the shares of them that polygons cover (exactextract)."""
        import geopandas as gpd
        from exactextract import exact_extract
        from exactextract.raster import NumPyRasterSource

        height, width = rows[1] - rows[0], cols[1] - cols[0]
        # exactextract wants north-up: rows are counted from below
        here = shapely.transform(
            self.geometries[ids], lambda xy: np.column_stack([xy[:, 0] - cols[0], rows[1] - xy[:, 1]])
        )
        raster = NumPyRasterSource(np.zeros((height, width), "u1"), xmin=0, ymin=0, xmax=width, ymax=height)
        # any CRS: exactextract wants the features to have one, and the raster has none to compare it with
        features = gpd.GeoDataFrame({"zone": ids}, geometry=here, crs=3857)
        found = exact_extract(raster, features, ["cell_id", "coverage"], include_cols=["zone"], output="pandas")
        zone = np.repeat(found["zone"].to_numpy(), [len(v) for v in found["cell_id"]])
        cell = np.concatenate([np.asarray(v, "i8") for v in found["cell_id"]] or [np.empty(0, "i8")])
        share = np.concatenate([np.asarray(v, "f8") for v in found["coverage"]] or [NO_WEIGHTS])
        kept = share > 0
        zone, cell, share = zone[kept], cell[kept], share[kept]
        row, col = np.divmod(cell, width)
        return np.column_stack([zone, row, col, col + 1]).astype("i8"), share


def _united(geometry: Any) -> Any:
    """A geometry of one dimension: of a mixed collection, the union of its parts of the highest dimension."""
    if geometry is None or geometry.geom_type != "GeometryCollection" or geometry.is_empty:
        return geometry if geometry is not None else shapely.Point()
    parts = shapely.get_parts(shapely.get_parts(geometry))
    highest = shapely.get_dimensions(parts).max()
    return shapely.union_all(parts[shapely.get_dimensions(parts) == highest])
