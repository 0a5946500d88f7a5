"""`apply_polygon`: a callback on the part of the cube inside each polygon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from shapely.geometry.base import BaseGeometry

from processes import cube as cubes
from processes.blocks import is_lazy
from processes.callback import Callback
from processes.errors import ProcessError
from processes.geometries import pixels_inside, polygons
from processes.mask.mask import replace_where
from processes.probe import cube_answer
from processes.registry import process


@process()
def apply_polygon(
    data: xr.DataArray, geometries: Any, process: Callback, mask_value: Any = None, context: Any = None
) -> xr.DataArray:
    """``process(data, context)`` on one sub-cube per polygon: its bounds, with ``mask_value`` outside of it.

    The callback gets a cube in memory and returns one of the same shape. The result has its values inside the
    polygons and ``mask_value`` (default: nodata) elsewhere. Each sub-cube is held whole.
    Raises ``GeometriesOverlap``, ``DataCubePropertiesImmutable``, ``DimensionMissing``.
    """
    y, x = cubes.spatial_dims(data)
    geobox = cubes.geobox_of(data)
    shapes = polygons(geometries, geobox.crs, parameter="geometries")
    windows = [(g, w) for g in shapes if (w := _window(geobox, g)) is not None]
    _check_apart(geobox, windows)
    everywhere = xr.DataArray(np.array(True))
    blank = replace_where(data.isel({y: slice(0, 1), x: slice(0, 1)}), everywhere, mask_value)  # dtype and value
    ordered = data.transpose(*(d for d in data.dims if d not in (y, x)), y, x)
    parts = [_Part(ordered, geobox, g, w, process, mask_value, context, blank.dtype) for g, w in windows]
    value = mask_value
    if mask_value is None:
        value = data.attrs["nodata"] if blank.dtype.kind in "iu" else np.nan
    if is_lazy(data):
        results = [dask.delayed(p.run, pure=False)(p.source()) for p in parts]
        rows, cols = (np.cumsum([0, *data.chunksizes[d]]) for d in (y, x))
        chunk_lists = [ordered.chunksizes[d] for d in ordered.dims[:-2]]
        values: Any = _assembled(parts, results, rows, cols, chunk_lists, value, blank.dtype)
    else:
        values = np.full(ordered.shape, value, blank.dtype)
        for p in parts:
            p.paste(values, p.run(ordered[(..., *p.window)].values), 0, 0)
    out = cubes.like(xr.DataArray(values, dims=ordered.dims, coords=ordered.coords).transpose(*data.dims), data)
    if out.dtype.kind not in "iu":
        out.attrs.pop("nodata", None)
    return out


def _window(geobox: Any, geometry: BaseGeometry) -> tuple[slice, slice] | None:
    """Rows and columns of the smallest part of the grid that covers a geometry; None where they do not meet."""
    a = geobox.affine
    west, south, east, north = geometry.bounds
    cols = sorted(((west - a.c) / a.a, (east - a.c) / a.a))
    rows = sorted(((south - a.f) / a.e, (north - a.f) / a.e))
    spans = []
    for (low, high), n in ((rows, geobox.shape[0]), (cols, geobox.shape[1])):
        first, last = max(int(np.floor(low)), 0), min(int(np.ceil(high)), n)
        if first >= last:
            return None
        spans.append(slice(first, last))
    return spans[0], spans[1]


def _check_apart(geobox: Any, windows: Sequence[tuple[BaseGeometry, tuple[slice, slice]]]) -> None:
    """Raises ``GeometriesOverlap`` where a pixel belongs to two polygons; asked only where bounds meet."""
    for i, (one, (rows, cols)) in enumerate(windows):
        for other, (rows2, cols2) in windows[:i]:
            r = slice(max(rows.start, rows2.start), min(rows.stop, rows2.stop))
            c = slice(max(cols.start, cols2.start), min(cols.stop, cols2.stop))
            if r.start >= r.stop or c.start >= c.stop or not one.intersects(other):
                continue
            part = geobox[r, c]
            if (pixels_inside([one], part) & pixels_inside([other], part)).any():
                raise ProcessError(
                    "GeometriesOverlap", "Some pixels belong to several polygons; give polygons that do not overlap."
                )


class _Part:
    """One polygon: its window of the cube and what is done to it."""

    def __init__(
        self,
        data: xr.DataArray,
        geobox: Any,
        geometry: BaseGeometry,
        window: tuple[slice, slice],
        callback: Callback,
        mask_value: Any,
        context: Any,
        dtype: np.dtype,
    ):
        self.data, self.window = data, window
        self.callback, self.context, self.mask_value, self.dtype = callback, context, mask_value, dtype
        self.geometry, self.geobox = geometry, geobox[window]
        piece = data.isel({data.dims[-2]: window[0], data.dims[-1]: window[1]})
        self.dims, self.attrs = piece.dims, piece.attrs
        self.coords: Mapping[Any, Any] = dict(piece.coords)

    def source(self) -> da.Array:
        held: da.Array = self.data.data[(..., *self.window)]
        return held

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "data"}  # the cube itself does not travel

    def __dask_tokenize__(self) -> Any:
        return id(self)

    def run(self, block: np.ndarray) -> np.ndarray:
        inside = pixels_inside([self.geometry], self.geobox)
        part = xr.DataArray(block, dims=self.dims, coords=self.coords, attrs=self.attrs)
        part = replace_where(part, xr.DataArray(~inside, dims=self.dims[-2:]), self.mask_value)
        values = cube_answer(self.callback(data=part, context=self.context), self.dims, block.shape)
        return values.astype(self.dtype, copy=False)

    def paste(self, into: np.ndarray, values: np.ndarray, row: int, col: int) -> None:
        """Write the values inside the polygon into a block whose first pixel is (row, col) of the cube."""
        r0, r1 = max(self.window[0].start, row), min(self.window[0].stop, row + into.shape[-2])
        c0, c1 = max(self.window[1].start, col), min(self.window[1].stop, col + into.shape[-1])
        if r0 >= r1 or c0 >= c1:
            return
        own = (
            slice(r0 - self.window[0].start, r1 - self.window[0].start),
            slice(c0 - self.window[1].start, c1 - self.window[1].start),
        )
        inside = pixels_inside([self.geometry], self.geobox[own])
        there = into[..., r0 - row : r1 - row, c0 - col : c1 - col]
        there[...] = np.where(inside, values[(..., *own)], there)

    def touches(self, rows: tuple[int, int], cols: tuple[int, int]) -> bool:
        return (
            self.window[0].start < rows[1]
            and rows[0] < self.window[0].stop
            and self.window[1].start < cols[1]
            and cols[0] < self.window[1].stop
        )


def _assembled(
    parts: list[_Part], results: list[Any], rows: Any, cols: Any, others: Any, value: Any, dtype: np.dtype
) -> da.Array:
    """The cube from the polygons' results: blocks whole along the other dimensions, cut as the source along y and x."""
    lead = tuple(sum(c) for c in others)

    def fill(shape: tuple[int, ...], corner: tuple[int, int], *pairs: Any) -> np.ndarray:
        out = np.full(shape, value, dtype)
        for part, values in zip(pairs[0::2], pairs[1::2]):
            part.paste(out, values, *corner)
        return out

    grid = []
    for r0, r1 in pairwise(rows):
        line = []
        for c0, c1 in pairwise(cols):
            shape = (*lead, int(r1 - r0), int(c1 - c0))
            hit = [(p, v) for p, v in zip(parts, results) if p.touches((r0, r1), (c0, c1))]
            if hit:
                flat = [item for p, v in hit for item in (dask.delayed(p, pure=False, traverse=False), v)]
                task = dask.delayed(fill, pure=False)(shape, (int(r0), int(c0)), *flat)
                line.append(da.from_delayed(task, shape, dtype))
            else:
                line.append(da.full(shape, value, dtype=dtype, chunks=shape))
        grid.append(line)
    return da.block(grid)
