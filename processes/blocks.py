"""Run numpy functions over the blocks of cubes: the one place that knows dask.

Everything lazy in Tuile is made by three functions: `from_blocks` (a source: one task per block), `map_blocks`
(a function on blocks, any number of cubes in, one out) and `reduce_blocks` (a reduction that streams where it can).
All three build dask `Blockwise` layers, so a chain load -> mask -> callback fuses into **one task per block**, and a
block is read, computed and dropped before the next: peak memory is a few blocks, whatever the request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.callback import LabeledArray, merge_of
from processes.merging import ACCUMULATORS


def is_lazy(data: xr.DataArray) -> bool:
    return isinstance(data.data, da.Array)


def from_blocks(
    read: Callable[..., np.ndarray],
    shape: Sequence[int],
    chunks: Sequence[Sequence[int]],
    dtype: Any,
    *args: Any,
) -> da.Array:
    """Lazy array whose block at ``location`` is ``read(location, *args)``.

    ``location`` is a tuple of ``(start, stop)`` per axis. ``read`` and ``args`` must be plain data (they travel to
    workers); ``args`` are put into the graph once, not once per block.
    """

    def block(*held: Any, block_info: Any = None) -> np.ndarray:
        return read(tuple(block_info[None]["array-location"]), *args)

    return da.map_blocks(
        block, chunks=tuple(tuple(c) for c in chunks), dtype=dtype, meta=np.empty((0,) * len(shape), dtype)
    )


def map_blocks(
    function: Callable[..., np.ndarray],
    *data: xr.DataArray,
    core: Sequence[str] = (),
    out_core: Mapping[str, int] | Sequence[str] = (),
    dtype: Any = np.float32,
    join: Any = "exact",
) -> xr.DataArray:
    """Apply ``function`` to the blocks of one or more cubes.

    Parameters
    ----------
    function
        Gets one numpy block per cube: the ``core`` dimensions the cube has come first, whole and in the order given;
        then all other dimensions (broadcast by name). Returns a block with the ``out_core`` dimensions first. Not
        called while the graph is built.
    core
        Dimensions a block holds whole.
    out_core
        Dimensions of the result that come from the function: names of unchanged core dimensions, or
        ``{name: new size}``.
    dtype
        dtype of the result.

    Returns
    -------
    A cube, dims ordered as in the first input (new dimensions last); metadata of the first input.
    """
    sizes = (
        dict(out_core)
        if isinstance(out_core, Mapping)
        else {d: next(c.sizes[d] for c in data if d in c.dims) for d in out_core}
    )
    ins = [[d for d in core if d in c.dims] for c in data]
    wholes = [
        c.chunk(dict.fromkeys(i, -1)) if is_lazy(c) and any(len(c.chunksizes[d]) > 1 for d in i) else c
        for c, i in zip(data, ins)
    ]

    def on_block(*blocks: np.ndarray) -> np.ndarray:
        # xarray hands core dimensions last; functions want them first, so that axis 0 is contiguous per pixel plane
        out = function(*(np.moveaxis(b, range(b.ndim - len(i), b.ndim), range(len(i))) for b, i in zip(blocks, ins)))
        out = np.asarray(out)
        return np.moveaxis(out, range(len(sizes)), range(out.ndim - len(sizes), out.ndim)).astype(dtype, copy=False)

    # same-named core dimensions of another size get the function's labels, not the input's
    result = xr.apply_ufunc(
        on_block,
        *wholes,
        input_core_dims=ins,
        output_core_dims=[list(sizes)],
        dask="parallelized",
        join=join,
        exclude_dims={d for d in sizes if any(d in c.dims and c.sizes[d] != n for c in data for n in [sizes[d]])},
        output_dtypes=[dtype],
        keep_attrs=False,
        dask_gufunc_kwargs={"output_sizes": sizes, "allow_rechunk": True},
    )
    first = data[0]
    for (
        d,
        n,
    ) in sizes.items():  # core dimensions lose their coordinate in apply_ufunc; unchanged ones get it back
        if d not in result.coords and d in first.coords and first.sizes[d] == n:
            result = result.assign_coords({d: first.coords[d]})
    order = [d for d in first.dims if d in result.dims] + [d for d in result.dims if d not in first.dims]
    return cubes.like(result.transpose(*order), first)


def reduce_blocks(
    data: xr.DataArray, reducer: Callable[..., Any], dimension: str, *, context: Any = None, dtype: Any = None
) -> xr.DataArray:
    """Reduce ``dimension`` with a callback ``reducer(data=LabeledArray, context=...)``.

    A reducer that is one mergeable accumulator (`callback.merge_of`) over a dimension in several chunks streams:
    partial states per chunk, combined pairwise, so no block ever holds the whole dimension. Any other reducer gets
    the dimension whole.
    """
    labels = cubes.labels(data, dimension)
    merge = merge_of(reducer)
    if merge and is_lazy(data) and len(data.chunksizes[dimension]) > 1:
        return _stream(data, dimension, *merge)
    if dtype is None:
        dtype = callback_dtype(reducer, data, dimension, context)

    def on_block(block: np.ndarray) -> np.ndarray:
        return np.asarray(reducer(data=LabeledArray(block, labels, dimension), context=context))

    return map_blocks(on_block, data, core=[dimension], dtype=dtype)


def callback_dtype(callback: Callable[..., Any], data: xr.DataArray, dimension: str | None, context: Any) -> np.dtype:
    """dtype a callback returns, found by calling it on one pixel of the cube's dtype (ones)."""
    if dimension is None:
        sample = callback(x=np.ones(1, data.dtype), context=context)
    else:
        n = data.sizes[dimension]
        sample = callback(
            data=LabeledArray(np.ones((n, 1), data.dtype), cubes.labels(data, dimension), dimension),
            context=context,
        )
    values = getattr(sample, "values", sample)
    return np.asarray(np.nan if values is None else values, dtype=None).dtype if values is not None else np.dtype("f4")


def _stream(data: xr.DataArray, dimension: str, name: str, options: dict[str, Any]) -> xr.DataArray:
    """Streaming reduction: accumulator ``name`` over the chunks of ``dimension``."""
    accumulator = ACCUMULATORS[name](**options)
    axis = data.get_axis_num(dimension)

    def chunk(block: np.ndarray, axis: Any, keepdims: bool) -> Any:
        return accumulator.start(np.moveaxis(block, _only(axis), 0))

    def combine(states: Any, axis: Any, keepdims: bool) -> Any:
        return accumulator.merge(_flat(states))

    def finish(states: Any, axis: Any, keepdims: bool) -> np.ndarray:
        return accumulator.finish(accumulator.merge(_flat(states)))

    dtype = accumulator.dtype(data.dtype)
    values = da.reduction(
        data.data,
        chunk=chunk,
        combine=combine,
        aggregate=finish,
        axis=axis,
        dtype=dtype,
        concatenate=False,
        split_every=4,
        meta=np.empty((0,) * (data.ndim - 1), dtype),
    )
    coords = {k: c for k, c in data.coords.items() if dimension not in c.dims}
    return cubes.like(xr.DataArray(values, dims=[d for d in data.dims if d != dimension], coords=coords), data)


def _only(axis: Any) -> int:
    return axis[0] if isinstance(axis, tuple) else axis


def _flat(states: Any) -> list[Any]:
    return [s for item in states for s in _flat(item)] if isinstance(states, list) else [states]


def blocks_of(data: xr.DataArray) -> int:
    """How many blocks a cube is computed in (1 for a numpy cube)."""
    return int(np.prod([len(c) for c in data.chunks])) if data.chunks else 1


def pull(
    data: Sequence[xr.DataArray],
    write: Sequence[Callable[[tuple[slice, ...], np.ndarray], None]],
    *,
    threads: int = 2,
    scheduler: str = "threads",
    on_block: Callable[[int, int], None] | None = None,
) -> None:
    """Compute cubes block by block, handing each block to the cube's ``write(slices, block)`` as it is ready.

    One graph for all, so what they share is computed once. ``write`` is called under a lock, in no fixed order;
    ``on_block(done, total)`` follows each call. An exception in ``write`` or in a block stops the run and is raised.
    """
    from threading import Lock

    arrays, targets, lock = [], [], Lock()
    total = sum(blocks_of(d) for d in data)
    done = 0

    class Target:
        def __init__(self, put: Callable[[tuple[slice, ...], np.ndarray], None], shape: tuple[int, ...]):
            self.put, self.shape = put, shape

        def __setitem__(self, where: tuple[slice, ...], block: np.ndarray) -> None:
            nonlocal done
            with lock:
                self.put(where, block)
                done += 1
                if on_block:
                    on_block(done, total)

    for d, put in zip(data, write):
        values = d.data if is_lazy(d) else da.from_array(np.asarray(d.data), chunks=-1)
        arrays.append(values if values.ndim else values[None])
        targets.append(Target(put, values.shape))
    with dask.config.set(scheduler=scheduler if scheduler in ("threads", "sync") else None, num_workers=threads):
        da.store(arrays, targets, lock=False, compute=True, return_stored=False)  # type: ignore[arg-type]
