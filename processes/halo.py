"""Blocks with a margin: for what looks at the neighbours of a pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.blocks import is_lazy


def map_halo(
    function: Callable[[np.ndarray], np.ndarray],
    data: xr.DataArray,
    dims: Sequence[str],
    depth: Sequence[int],
    *,
    border: str | float = 0,
    dtype: Any = np.float32,
) -> xr.DataArray:
    """Apply ``function`` to blocks with a margin of ``depth`` pixels along ``dims`` on every side.

    ``function`` gets the block with ``dims`` last, grown by the margin, and returns it without. Beyond the cube the
    margin is ``border``: a number, or a mode of `numpy.pad` (``edge``, ``symmetric``, ``reflect``, ``wrap``).
    Neighbouring blocks share what they have in common: nothing is computed twice.
    """
    rest = [str(d) for d in data.dims if d not in dims]
    ordered = data.transpose(*rest, *dims)
    first = len(rest)
    options: dict[str, Any] = {"mode": border} if isinstance(border, str) else {"constant_values": border}

    def padded(block: np.ndarray, before: Sequence[int], after: Sequence[int]) -> np.ndarray:
        widths = [(0, 0)] * first + list(zip(before, after))
        return np.pad(block, widths, **options) if any(map(any, widths)) else block

    if not is_lazy(data):
        values: Any = function(padded(ordered.data, depth, depth)).astype(dtype, copy=False)
    else:
        source = ordered.data
        for axis, d in enumerate(depth, first):  # a margin comes from the next block alone
            if min(source.chunks[axis]) <= d and len(source.chunks[axis]) > 1:
                sizes = da.overlap.ensure_minimum_chunksize(min(d + 1, source.shape[axis]), source.chunks[axis])
                source = source.rechunk({axis: sizes})
        many = {i: len(source.chunks[i]) > 1 for i in range(first, source.ndim)}
        wraps = {i: many[i] and border == "wrap" for i in many}
        grown = da.overlap.overlap(
            source,
            depth={i: depth[i - first] if many[i] else 0 for i in many},
            boundary={i: "periodic" if wraps[i] else "none" for i in many},
        )
        counts = source.numblocks

        def on_block(block: np.ndarray, block_info: Any = None) -> np.ndarray:
            at = block_info[0]["chunk-location"] if block_info else (0,) * block.ndim
            ends = [
                (
                    0 if wraps[i] or at[i] > 0 else depth[i - first],
                    0 if wraps[i] or at[i] < counts[i] - 1 else depth[i - first],
                )
                for i in many
            ]
            return function(padded(block, [e[0] for e in ends], [e[1] for e in ends])).astype(dtype, copy=False)

        values = da.map_blocks(
            on_block, grown, dtype=dtype, chunks=source.chunks, meta=np.empty((0,) * source.ndim, dtype)
        )
    result = xr.DataArray(values, dims=ordered.dims, coords=ordered.coords).transpose(*data.dims)
    return cubes.like(result, data)
