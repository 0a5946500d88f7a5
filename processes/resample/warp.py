"""Resample a cube onto another grid, block by block.

Each block of the result reads the window of the source it needs (with the margin of the method). Nearest neighbour is
a choice of source pixels and the average within a CRS a weighted sum; the other methods are GDAL's. The result does not depend on chunks: work is always done on
the tiles of one lattice (`TILE` pixels, anchored to the coordinates' origin), because GDAL's approximate
transformation and its kernels depend on the window they are given. In tiles of this size that approximation is also
some twenty times closer to the exact projection than over a whole image (measured between UTM zones).
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.warp import reproject

from processes import cube as cubes
from processes.blocks import is_lazy
from processes.errors import ProcessError, parameter_invalid
from processes.extents import transformer
from processes.kernels.grid import area_mean, gather
from processes.probe import decode, decoded_dtype
from processes.resample.grids import same_grid

METHODS = {
    "near": Resampling.nearest,
    "bilinear": Resampling.bilinear,
    "cubic": Resampling.cubic,
    "cubicspline": Resampling.cubic_spline,
    "lanczos": Resampling.lanczos,
    "average": Resampling.average,
    "mode": Resampling.mode,
    "max": Resampling.max,
    "min": Resampling.min,
    "med": Resampling.med,
    "q1": Resampling.q1,
    "q3": Resampling.q3,
    "sum": Resampling.sum,
    "rms": Resampling.rms,
}
# source pixels around a target pixel that a method looks at, at equal resolution
_RADIUS = {"near": 1, "bilinear": 1, "cubic": 2, "cubicspline": 2, "lanczos": 3}
# methods whose results are values of the source: classes stay classes
CHOOSING = frozenset({"near", "mode", "max", "min", "med", "q1", "q3"})
TILE = 512
_NODES = 16  # target pixels between the nodes where coordinates are projected exactly
MOST_PIXELS = 100_000_000_000  # of one layer: ten times France at 10 m; a task per block of it must fit into memory
_TOLERANCE = 0.01  # source pixels: error allowed between the nodes


def warp(data: xr.DataArray, source: GeoBox, target: GeoBox, method: str = "near") -> xr.DataArray:
    """``data`` (on grid ``source``) resampled onto ``target``; lazy where it is. Pixels without source are nodata.

    Integer cubes keep dtype and fill value with methods that choose values; otherwise they become float.
    """
    if method not in METHODS:
        raise parameter_invalid("method", f"'{method}' is not one of {', '.join(METHODS)}")
    if same_grid(source, target):
        return data
    y, x = cubes.spatial_dims(data)
    nodata = data.attrs.get("nodata")
    keeps = method in CHOOSING and (data.dtype.kind == "f" or nodata is not None)
    dtype = data.dtype if keeps else _floating(data)
    fill = nodata if keeps and data.dtype.kind in "iu" else np.nan
    rest = [str(d) for d in data.dims if d not in (y, x)]
    ordered = data.transpose(*rest, y, x)

    def piece(rows: tuple[int, int], cols: tuple[int, int]) -> Any:
        part = target[rows[0] : rows[1], cols[0] : cols[1]]
        window = source_window(source, part, method)
        shape = (rows[1] - rows[0], cols[1] - cols[0])
        if window is None:
            return _nothing(ordered, shape, fill, dtype)
        held = ordered.data[(..., *window)]
        grid = source[window]
        if not isinstance(held, da.Array):
            return warp_block(held, grid, part, method, fill, nodata, dtype)
        held = held.rechunk({held.ndim - 2: -1, held.ndim - 1: -1})
        return held.map_blocks(
            warp_block,
            grid,
            part,
            method,
            fill,
            nodata,
            dtype,
            dtype=dtype,
            chunks=(*held.chunks[:-2], (shape[0],), (shape[1],)),
            meta=np.empty((0,) * held.ndim, dtype),
        )

    _refuse_huge(target)
    if is_lazy(data):
        rows, cols = _target_chunks(data, source, target)
        values: Any = da.block([[piece(r, c) for c in cols] for r in rows])
    else:
        values = piece((0, target.shape[0]), (0, target.shape[1]))
    ys, xs = cubes.spatial_coords(target)
    kept = {k: c for k, c in ordered.coords.items() if not {y, x} & set(c.dims) and k != "spatial_ref"}
    result = xr.DataArray(values, dims=[*rest, y, x], coords={**kept, y: ys, x: xs}).transpose(*data.dims)
    if target.crs is not None and (cubes.crs_of(data) is not None or target.crs != source.crs):
        result = cubes.with_crs(result, target.crs)
    return cubes.like(result, data, resolution=abs(target.affine.a))


def _refuse_huge(target: GeoBox) -> None:
    """A grid nobody could write: told at once, before billions of blocks are listed."""
    pixels = target.shape[0] * target.shape[1]
    if pixels > MOST_PIXELS:
        raise ProcessError(
            "ProcessGraphComplexity",
            f"The new grid would have {target.shape[1]:,} x {target.shape[0]:,} pixels in each band and date; at most "
            f"{MOST_PIXELS:,} are possible. Check the resolution and its unit, or choose a smaller extent.",
        )


def _floating(data: xr.DataArray) -> np.dtype:
    if data.dtype.kind == "f":
        return data.dtype
    decoded = decoded_dtype(data)
    return decoded if decoded.kind == "f" else np.dtype("f8" if data.dtype.itemsize > 2 else "f4")


def _nothing(data: xr.DataArray, shape: tuple[int, int], fill: Any, dtype: Any) -> Any:
    full = (*data.shape[:-2], *shape)
    if not is_lazy(data):
        return np.full(full, fill, dtype)
    return da.full(full, fill, dtype=dtype, chunks=(*data.chunks[:-2], (shape[0],), (shape[1],)))  # type: ignore[index]


def axis_steps(source: GeoBox, target: GeoBox) -> tuple[float, float]:
    """Pixels of ``source`` per pixel of ``target`` along x and y of the target, at its centre; (1, 1) where it has no place."""
    rows, cols = target.shape
    px = np.array([cols / 2, cols / 2 + 1, cols / 2])
    py = np.array([rows / 2, rows / 2, rows / 2 + 1])
    sx, sy = to_pixels(source, target, px, py)
    if not np.isfinite([sx, sy]).all():
        return 1.0, 1.0
    return float(np.hypot(sx[1] - sx[0], sy[1] - sy[0])), float(np.hypot(sx[2] - sx[0], sy[2] - sy[0]))


def scale_of(source: GeoBox, target: GeoBox) -> float:
    """Target pixel size over source pixel size (the larger axis), measured at the target's centre."""
    return max(axis_steps(source, target))


def to_pixels(source: GeoBox, target: GeoBox, cols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates in ``target`` -> pixel coordinates (column, row) in ``source``."""
    a = target.affine
    xs, ys = a.c + a.a * cols, a.f + a.e * rows
    if source.crs != target.crs:
        xs, ys = transformer(str(target.crs), str(source.crs)).transform(xs, ys)
    b = source.affine
    return (np.asarray(xs) - b.c) / b.a, (np.asarray(ys) - b.f) / b.e


def source_window(source: GeoBox, part: GeoBox, method: str) -> tuple[slice, slice] | None:
    """Rows and columns of ``source`` that resampling onto ``part`` looks at; None where there are none."""
    rows, cols = part.shape
    n = 9  # a lattice over the whole part: borders of strongly curved projections are not enough
    px, py = (v.ravel() for v in np.meshgrid(np.linspace(0, cols, n), np.linspace(0, rows, n)))
    sx, sy = to_pixels(source, part, px, py)
    finite = np.isfinite(sx) & np.isfinite(sy)
    if not finite.any():
        return None
    margin = ceil(_RADIUS.get(method, 1) * max(scale_of(source, part), 1.0)) + 3
    spans = []
    for values, size in ((sy[finite], source.shape[0]), (sx[finite], source.shape[1])):
        low = max(int(np.floor(values.min())) - margin, 0)
        high = min(int(np.ceil(values.max())) + margin, size)
        if low >= high:
            return None
        spans.append(slice(low, high))
    return spans[0], spans[1]


def _target_chunks(
    data: xr.DataArray, source: GeoBox, target: GeoBox
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Blocks of the target: about as many pixels as a source block has, cut on the lattice."""
    y, x = cubes.spatial_dims(data)
    scale = max(scale_of(source, target), 1e-6)
    out = []
    for d, size, origin, step in (
        (y, target.shape[0], target.affine.f, target.affine.e),
        (x, target.shape[1], target.affine.c, target.affine.a),
    ):
        wanted = min(max(max(data.chunksizes[d]) / scale, 1), max(data.chunksizes[d]))
        tiles = max(round(wanted / TILE), 1)
        out.append(lattice_spans(size, origin, step, TILE * tiles))
    return out[0], out[1]


def lattice_spans(size: int, origin: float, step: float, tile: int) -> list[tuple[int, int]]:
    """Spans that cut ``size`` pixels at multiples of ``tile`` pixels counted from coordinate 0."""
    first = tile - round(origin / step) % tile
    cuts = [0, *range(first, size, tile), size] if first < size else [0, size]
    return [(a, b) for a, b in pairwise(cuts) if a < b]


def warp_block(
    block: np.ndarray,
    source: GeoBox,
    target: GeoBox,
    method: str,
    fill: Any,
    nodata: Any,
    dtype: Any,
) -> np.ndarray:
    """One block (..., rows, columns) resampled from ``source`` onto ``target``."""
    if not (block.dtype == dtype and block.dtype.kind in "iu"):
        block = decode(block, nodata).astype(dtype, copy=False)
    if method == "near" and source.crs == target.crs:
        return _choose(block, source, target, fill)
    planes = np.ascontiguousarray(block).reshape(-1, *block.shape[-2:])
    if method == "average" and source.crs == target.crs and planes.dtype.kind == "f":
        return _area_mean(planes, source, target).reshape(*block.shape[:-2], *target.shape)
    out = np.full((len(planes), *target.shape), fill, dtype)
    a = target.affine
    for r0, r1 in lattice_spans(target.shape[0], a.f, a.e, TILE):
        for c0, c1 in lattice_spans(target.shape[1], a.c, a.a, TILE):
            tile = target[r0:r1, c0:c1]
            window = source_window(source, tile, method)
            if window is None:
                continue
            held = planes[(slice(None), *window)]
            if method == "near":
                out[:, r0:r1, c0:c1] = _nearest(held, source[window], tile, fill)
            else:
                _warp_tile(held, source[window], tile, method, fill, out[:, r0:r1, c0:c1])
    return out.reshape(*block.shape[:-2], *target.shape)


def _warp_tile(planes: np.ndarray, source: GeoBox, target: GeoBox, method: str, fill: Any, out: np.ndarray) -> None:
    for plane, into in zip(planes, out):  # one at a time: validity is each plane's own
        done = np.full(into.shape, fill, into.dtype)
        reproject(
            np.ascontiguousarray(plane),
            done,
            src_transform=source.affine,
            src_crs=str(source.crs),
            src_nodata=fill,
            dst_transform=target.affine,
            dst_crs=str(target.crs),
            dst_nodata=fill,
            resampling=METHODS[method],
            num_threads=1,
        )
        into[...] = done


def _nearest(planes: np.ndarray, source: GeoBox, target: GeoBox, fill: Any) -> np.ndarray:
    """Nearest neighbour between CRSs: the source pixel that holds each projected target centre."""
    sx, sy = projected_centres(source, target)
    known = np.isfinite(sx) & np.isfinite(sy)
    ix = np.floor(np.where(known, sx, -1)).astype("i8")
    iy = np.floor(np.where(known, sy, -1)).astype("i8")
    out = np.empty((len(planes), *target.shape), planes.dtype)
    gather(planes, iy, ix, planes.dtype.type(fill), out)
    return out


def _area_mean(planes: np.ndarray, source: GeoBox, target: GeoBox) -> np.ndarray:
    """Average in one CRS: the pixels under each target pixel, weighted by the area they share."""
    rows, cols = target.shape
    sx, _ = to_pixels(source, target, np.arange(cols + 1.0), np.zeros(cols + 1))
    _, sy = to_pixels(source, target, np.zeros(rows + 1), np.arange(rows + 1.0))
    sx, sy = (np.where(np.abs(v - np.rint(v)) < 1e-6, np.rint(v), v) for v in (sx, sy))
    out = np.empty((len(planes), rows, cols), planes.dtype)
    area_mean(planes, sy[:-1], sy[1:], sx[:-1], sx[1:], out)
    return out


def projected_centres(source: GeoBox, target: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates in ``source`` of all pixel centres of ``target``, as exact as `centre_rows`."""
    sx, sy, low, share = centre_rows(source, target)
    return (_down(sx, low, share), _down(sy, low, share)) if share.any() else (sx, sy)


def centre_rows(source: GeoBox, target: GeoBox) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixel coordinates in ``source`` of the pixel centres along some rows of ``target``: from them those of all rows.

    Exact at nodes every few pixels and linear between; nodes are put closer until the error is below `_TOLERANCE`.

    Returns
    -------
    columns and rows in ``source`` (some rows, columns of ``target``)
    per row of ``target``, the first of the two rows it lies between, and its share (0 to 1) of the second. All 0: there
    is a row for each.
    """
    rows, cols = target.shape
    step = _NODES
    while step > 1:
        nodes_y, nodes_x = _nodes(rows, step), _nodes(cols, step)
        exact = _grid(source, target, nodes_x, nodes_y)
        mid_x, mid_y = (nodes_x[1:] + nodes_x[:-1]) / 2, (nodes_y[1:] + nodes_y[:-1]) / 2
        truth = _grid(source, target, mid_x, mid_y)
        middle = _between(nodes_y, mid_y)
        guess = [_down(_across(v, nodes_x, mid_x), *middle) for v in exact]
        if all(np.isfinite(t).all() and np.abs(g - t).max() < _TOLERANCE for g, t in zip(guess, truth)):
            sx, sy = (_across(v, nodes_x, np.arange(cols) + 0.5) for v in exact)
            return sx, sy, *_between(nodes_y, np.arange(rows) + 0.5)
        step //= 2
    return *_grid(source, target, np.arange(cols) + 0.5, np.arange(rows) + 0.5), np.arange(rows), np.zeros(rows)


def _nodes(count: int, step: int) -> np.ndarray:
    """Positions 0, step, ... up to and including ``count``."""
    return np.unique([*range(0, count, step), count]).astype("f8")


def _grid(source: GeoBox, target: GeoBox, cols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    px, py = np.meshgrid(cols, rows)
    sx, sy = to_pixels(source, target, px.ravel(), py.ravel())
    return sx.reshape(px.shape), sy.reshape(px.shape)


def _between(nodes: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The node before each position, and the position's share of the way to the next."""
    low = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, len(nodes) - 2)
    return low, (at - nodes[low]) / (nodes[low + 1] - nodes[low])


def _across(values: np.ndarray, nodes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Linear interpolation of ``values`` (rows, nodes) along each row."""
    low, share = _between(nodes, at)
    return values[:, low] * (1 - share) + values[:, low + 1] * share


def _down(values: np.ndarray, low: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Linear interpolation between the rows ``low`` and ``low + 1`` of ``values``."""
    return values[low] * (1 - share)[:, None] + values[low + 1] * share[:, None]


def _choose(block: np.ndarray, source: GeoBox, target: GeoBox, fill: Any) -> np.ndarray:
    """Nearest neighbour in one CRS: the source pixel that holds each target centre (the lower right one of a tie)."""
    rows, cols = target.shape
    sx, _ = to_pixels(source, target, np.arange(cols) + 0.5, np.full(cols, 0.5))
    _, sy = to_pixels(source, target, np.full(rows, 0.5), np.arange(rows) + 0.5)
    ix, iy = (np.floor(v + 1e-6).astype("i8") for v in (sx, sy))
    out = block[..., np.clip(iy, 0, source.shape[0] - 1), :][..., np.clip(ix, 0, source.shape[1] - 1)]
    outside_rows = (iy < 0) | (iy >= source.shape[0])
    outside_cols = (ix < 0) | (ix >= source.shape[1])
    out[..., outside_rows, :] = fill
    out[..., outside_cols] = fill
    return out
