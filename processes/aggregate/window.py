"""`aggregate_spatial_window`: blocks of pixels become one each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.blocks import is_lazy
from processes.callback import Callback, LabeledArray
from processes.errors import parameter_invalid
from processes.probe import answer, decode, decoded_dtype, reducer_dtype
from processes.reduce.dimension import whole_area
from processes.registry import process
from processes.resample.grids import ALIGNS


@process(demand=whole_area)
def aggregate_spatial_window(
    data: xr.DataArray,
    reducer: Callback,
    size: Sequence[int],
    boundary: str = "pad",
    align: str = "upper-left",
    context: Any = None,
) -> xr.DataArray:
    """One value per window of ``size`` (x, y) pixels, starting at the corner ``align``.

    Where the windows do not fit the cube, it is padded with nodata or trimmed at the opposite corner. Labels are the
    centres of the windows. Raises ``ProcessParameterInvalid``, ``DimensionMissing``.
    """
    y, x = cubes.spatial_dims(data)
    if len(size) != 2 or not all(int(s) == s and s > 0 for s in size):
        raise parameter_invalid("size", "it must be two whole numbers of pixels [x, y] above zero")
    if boundary not in ("pad", "trim"):
        raise parameter_invalid("boundary", f"'{boundary}' is neither 'pad' nor 'trim'")
    if align not in ALIGNS:
        raise parameter_invalid("align", f"'{align}' is not one of {', '.join(ALIGNS)}")
    width, height = int(size[0]), int(size[1])
    rows = _fit(data.sizes[y], height, boundary, at_start=align.startswith("upper"))
    cols = _fit(data.sizes[x], width, boundary, at_start=align.endswith("left"))
    cut = data.isel({y: slice(rows[0], rows[1]), x: slice(cols[0], cols[1])})
    padded = any(rows[2:]) or any(cols[2:])
    nodata, seen = data.attrs.get("nodata"), decoded_dtype(data)
    if padded and seen.kind != "f":
        seen = np.dtype("f4" if data.dtype.itemsize <= 2 else "f8")
    dtype = reducer_dtype(reducer, xr.DataArray(np.empty(0, seen)), width * height, context)
    rest = [str(d) for d in data.dims if d not in (y, x)]
    ordered = cut.transpose(*rest, y, x)
    values = _padded(ordered, seen, nodata, rows[2:], cols[2:]) if padded else ordered.data
    on_block = partial(
        _windows, reducer=reducer, context=context, size=(height, width), nodata=nodata, seen=seen, dtype=dtype
    )
    values = _by_block(on_block, values, (height, width), dtype) if is_lazy(data) else on_block(values)
    kept = {k: c for k, c in ordered.coords.items() if not {y, x} & set(c.dims)}
    centres = {
        y: _centres(data.coords[y].values, rows, height, values.shape[-2]),
        x: _centres(data.coords[x].values, cols, width, values.shape[-1]),
    }
    out = xr.DataArray(values, dims=ordered.dims, coords={**kept, **centres}).transpose(*data.dims)
    out = cubes.like(out, data)
    out.attrs.pop("nodata", None)
    return out


def _windows(
    block: np.ndarray,
    *,
    reducer: Callback,
    context: Any,
    size: tuple[int, int],
    nodata: Any,
    seen: np.dtype,
    dtype: np.dtype,
) -> np.ndarray:
    """Values of the windows of ``size`` (rows, columns) that a block consists of."""
    height, width = size
    values = decode(block, nodata).astype(seen, copy=False)
    lead, (ny, nx) = values.shape[:-2], (values.shape[-2] // height, values.shape[-1] // width)
    windows = values.reshape(*lead, ny, height, nx, width)
    array = np.moveaxis(windows, (-3, -1), (0, 1)).reshape(height * width, *lead, ny, nx)
    result = reducer(data=LabeledArray(np.ascontiguousarray(array), None, None), context=context)
    return answer(result, array.shape[1:]).astype(dtype, copy=False)


def _by_block(function: Callable[[np.ndarray], np.ndarray], values: Any, size: tuple[int, int], dtype: np.dtype) -> Any:
    """``function`` on blocks that are cut between windows."""
    last = len(size)
    values = values.rechunk(
        {values.ndim - last + k: _multiples(values.chunks[k - last], n) for k, n in enumerate(size)}
    )
    fewer = [tuple(c // n for c in values.chunks[k - last]) for k, n in enumerate(size)]
    chunks = (*values.chunks[:-last], *fewer)
    return values.map_blocks(function, dtype=dtype, chunks=chunks, meta=np.empty((0,) * values.ndim, dtype))


def _fit(count: int, window: int, boundary: str, *, at_start: bool) -> tuple[int, int, int, int]:
    """(first, last, pad before, pad behind) cells, so that what is left is a multiple of the window."""
    over = count % window
    if not over:
        return 0, count, 0, 0
    if boundary == "trim":
        return (0, count - over, 0, 0) if at_start else (over, count, 0, 0)
    return (0, count, 0, window - over) if at_start else (0, count, window - over, 0)


def _padded(data: xr.DataArray, dtype: np.dtype, nodata: Any, rows: Sequence[int], cols: Sequence[int]) -> Any:
    widths = [(0, 0)] * (data.ndim - 2) + [tuple(rows), tuple(cols)]
    if not is_lazy(data):
        return np.pad(decode(data.data, nodata).astype(dtype), widths, constant_values=np.nan)
    values = data.data.map_blocks(lambda block: decode(block, nodata).astype(dtype), dtype=dtype)
    return da.pad(values, widths, mode="constant", constant_values=np.nan)


def _multiples(chunks: Sequence[int], window: int) -> tuple[int, ...]:
    """Chunks about as large as they are, whose borders lie between windows."""
    total, step = sum(chunks), max(max(chunks) // window, 1) * window
    return tuple(min(step, total - i) for i in range(0, total, step)) or (0,)


def _centres(labels: np.ndarray, span: tuple[int, int, int, int], window: int, count: int) -> np.ndarray:
    step = (labels[-1] - labels[0]) / (len(labels) - 1) if len(labels) > 1 else 1.0
    first = labels[0] + (span[0] - span[2]) * step
    return first + (np.arange(count) * window + (window - 1) / 2) * step
