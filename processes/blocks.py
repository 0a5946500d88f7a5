"""Run numpy functions over the blocks of cubes: the place that knows dask (and `processes.halo`).

Everything lazy in Tuile is made by three functions: `from_blocks` (a source: one task per block), `map_blocks`
(a function on blocks, any number of cubes in, one out) and `reduce_blocks` (a reduction that streams where it can).
All three build dask `Blockwise` layers, so a chain load -> mask -> callback fuses into **one task per block**, and a
block is read, computed and dropped before the next: peak memory is a few blocks, whatever the request.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dask
import dask.array as da
import dask.local
import dask.threaded
import numpy as np
import xarray as xr

from processes import cluster, heap
from processes import cube as cubes
from processes.callback import LabeledArray, is_pointwise, merge_of
from processes.merging import ACCUMULATORS
from processes.probe import answer, array_dtype, decode, decoded_dtype, of_nothing
from processes.probe import callback_dtype as callback_dtype
from processes.slabs import in_slabs, worthwhile


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
        block,
        chunks=tuple(tuple(c) for c in chunks),
        dtype=dtype,
        meta=np.empty((0,) * len(shape), dtype),
        name=_unique("load"),
    )


def _unique(what: str) -> str:
    """Name of a layer. Never derived from its content: hashing closures costs more than it could save (the plan has
    merged equal nodes already)."""
    return f"{what}-{uuid.uuid4().hex}"


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
    data = xr.align(*data, join=join, exclude=set(core), copy=False)
    first = data[0]
    loops = list(dict.fromkeys(str(d) for c in data for d in c.dims if d not in core))
    order = [str(d) for d in first.dims if d in sizes or d in loops]
    order += [d for d in (*loops, *sizes) if d not in order]
    ins = [[d for d in core if d in c.dims] for c in data]
    moves = [
        (tuple(c.dims.index(d) for d in (*i, *(x for x in loops if x in c.dims))),
         tuple(slice(None) if d in i or d in c.dims else None for d in (*i, *loops)))
        for c, i in zip(data, ins)
    ]  # fmt: skip
    final = tuple([*sizes, *loops].index(d) for d in order)

    def on_block(*blocks: Any) -> np.ndarray:
        # core dimensions come first, so that axis 0 is whole and pixels stay contiguous; loops broadcast by name
        given = (np.transpose(_single(b), axes)[insert] for b, (axes, insert) in zip(blocks, moves))
        out = np.asarray(function(*given))
        return np.transpose(out, final).astype(dtype, copy=False)

    if not any(is_lazy(c) for c in data):
        values: Any = on_block(*(c.values for c in data))
    else:
        values = _blockwise(on_block, data, ins, order, sizes, dtype)
    coords: dict[Any, xr.DataArray] = {}
    kept = set(loops) | {d for d, n in sizes.items() if d in first.dims and first.sizes[d] == n}
    for c in data:
        for name, coord in c.coords.items():
            if set(coord.dims) <= kept and (c is first or not set(coord.dims) & set(sizes)):
                coords.setdefault(name, coord)
    return cubes.like(xr.DataArray(values, dims=order, coords=coords), first)


def _single(block: Any) -> np.ndarray:
    """The block dask hands over: lists of one where a dimension it holds whole does not go into the result."""
    while isinstance(block, list):
        (block,) = block
    return block


def _blockwise(
    on_block: Callable[..., np.ndarray], data: Sequence[xr.DataArray], ins: Sequence[Sequence[str]],
    order: Sequence[str], sizes: Mapping[str, int], dtype: Any,
) -> da.Array:  # fmt: skip
    """The dask layer of `map_blocks`. No concatenation of single chunks: that would copy every block once more."""
    arguments: list[Any] = []
    for c, i in zip(data, ins):
        if is_lazy(c) and any(len(c.chunksizes[d]) > 1 for d in i):
            c = c.chunk(dict.fromkeys(i, -1))
        values = c.data if is_lazy(c) else da.from_array(c.values, chunks=-1, name=False)
        # a core dimension is contracted, even where the result has one of the same name
        arguments += [values, tuple(f"\0{d}" if d in i else d for d in c.dims)]
    new = {d: sizes[d] for d in order if d in sizes}
    return da.blockwise(
        on_block, tuple(order), *arguments, name=_unique("blocks"), new_axes=new, concatenate=None, dtype=dtype,
        meta=np.empty((0,) * len(order), dtype),
    )  # fmt: skip


def fold_blocks(
    function: Callable[..., Any],
    finish: Callable[[list[Any]], np.ndarray],
    data: xr.DataArray,
    shape: Sequence[int],
    dtype: Any,
) -> da.Array:
    """One small array from all blocks of a cube: ``finish([function(block, offsets) for every block])``, lazy.

    ``offsets`` are the block's first index per axis. What ``function`` returns must be small, for all of it is held until
    ``finish`` has run; the result is one chunk.
    """
    values = data.data if is_lazy(data) else da.from_array(np.asarray(data.data), chunks=-1)
    starts = [np.cumsum((0, *sizes))[:-1] for sizes in values.chunks]
    parts = [
        dask.delayed(function)(block, tuple(int(s[i]) for s, i in zip(starts, at)))
        for at, block in np.ndenumerate(values.to_delayed())
    ]
    return da.from_delayed(dask.delayed(finish)(parts), tuple(shape), dtype=dtype)


def reduce_blocks(
    data: xr.DataArray,
    reducer: Callable[..., Any],
    dimension: str | Sequence[str],
    *,
    context: Any = None,
    dtype: Any = None,
) -> xr.DataArray:
    """Reduce ``dimension`` with a callback ``reducer(data=LabeledArray, context=...)``.

    A reducer that is one mergeable accumulator (`callback.merge_of`) over dimensions in several chunks streams:
    partial states per chunk, combined pairwise, so no block ever holds the whole dimension. Any other reducer gets
    the dimension whole. Several dimensions are reduced as one unlabelled array.
    """
    names = [dimension] if isinstance(dimension, str) else list(dimension)
    labels = cubes.labels(data, names[0]) if len(names) == 1 else None
    name = names[0] if len(names) == 1 else None
    length = int(np.prod([data.sizes[d] for d in names]))
    nodata = data.attrs.get("nodata")
    if dtype is None:
        dtype = array_dtype(reducer, data, length, labels, name, context)
    merge = merge_of(reducer)
    if merge and is_lazy(data) and any(len(data.chunksizes[d]) > 1 for d in names):
        return _stream(data, names, *merge, dtype=dtype)

    def values(block: np.ndarray) -> np.ndarray:
        array = decode(block, nodata).reshape(length, *block.shape[len(names) :])
        return answer(reducer(data=LabeledArray(array, labels, name), context=context), array.shape[1:])

    def on_block(block: np.ndarray) -> np.ndarray:
        axes, shape = (slice(None),) * len(names), block.shape[len(names) :]
        if worthwhile(reducer, int(np.prod(shape))):
            return in_slabs(lambda place: values(block[(*axes, *place)]), shape, dtype)
        return values(block)

    if length == 1 and data.dtype == np.uint8 and is_pointwise(reducer):
        on_block = _looked_up(on_block, len(names), dtype)  # a mask has 256 values, its image millions
    return map_blocks(on_block, data, core=names, dtype=dtype)


def _looked_up(on_block: Callable[..., np.ndarray], axes: int, dtype: Any) -> Callable[..., np.ndarray]:
    """The same function of blocks of one byte per pixel (``axes`` leading axes of length 1), by a table."""

    def by_table(block: np.ndarray) -> np.ndarray:
        from processes.kernels.dn import take  # numba only where it is needed

        codes = np.arange(256, dtype=np.uint8).reshape((1,) * axes + (256,))
        table = np.ascontiguousarray(on_block(codes).astype(dtype, copy=False))
        out = np.empty(block.shape[axes:], dtype)
        take(np.ascontiguousarray(block).reshape(-1), table, out.reshape(-1))
        return out

    return by_table


def reduce_groups(
    data: xr.DataArray,
    reducer: Callable[..., Any],
    dimension: str,
    groups: Sequence[np.ndarray],
    labels: Sequence[Any],
    *,
    context: Any = None,
) -> xr.DataArray:
    """Reduce ``dimension`` group by group; ``groups`` are index arrays (they may overlap), ``labels`` name them.

    With the dimension in one chunk there is one task per spatial block, which calls the reducer once per group. With
    several chunks each group reads the chunks it needs, and mergeable reducers stream over them. What the reducer
    says of an empty group is asked once, for all pixels; a reducer that cannot answer means nodata.
    """
    given = cubes.labels(data, dimension)
    nodata = data.attrs.get("nodata")
    full = [i for i, g in enumerate(groups) if len(g)]
    dtype = decoded_dtype(data)
    if full:  # which group is asked does not matter: the dtype does not depend on how many values there are
        probe = groups[full[0]]
        dtype = array_dtype(reducer, data, len(probe), [given[k] for k in probe], dimension, context)
    empty = of_nothing(reducer, data, dimension, context) if len(full) < len(groups) else None
    if empty is not None:
        dtype = np.result_type(dtype, empty.dtype) if full else empty.dtype
    coords = {dimension: list(labels)} if len(labels) else {dimension: np.empty(0, "U1")}

    if is_lazy(data) and len(data.chunksizes[dimension]) > 1 and full:
        parts = {
            i: reduce_blocks(data.isel({dimension: groups[i]}), reducer, dimension, context=context, dtype=dtype)
            for i in full
        }
        nothing = xr.full_like(next(iter(parts.values())), 0 if empty is None else empty.item(), dtype=dtype)
        stacked = xr.concat(
            [parts.get(i, nothing) for i in range(len(groups))],
            dim=dimension,
            coords="minimal",
            compat="override",
            combine_attrs="override",
        )
        return cubes.like(stacked.assign_coords(coords).transpose(*data.dims), data)

    parts_of = [_as_slice(g) for g in groups]  # dates of a month follow one another: no copy of them

    def on_block(block: np.ndarray) -> np.ndarray:
        values = decode(block, nodata)
        out = np.empty((len(groups), *block.shape[1:]), dtype)
        for i, g in enumerate(parts_of):
            if len(groups[i]):
                part = LabeledArray(values[g], [given[k] for k in groups[i]], dimension)
                out[i] = answer(reducer(data=part, context=context), block.shape[1:])
            else:
                out[i] = empty
        return out

    result = map_blocks(on_block, data, core=[dimension], out_core={dimension: len(groups)}, dtype=dtype)
    return cubes.like(result.assign_coords(coords), data)


def _as_slice(index: np.ndarray) -> Any:
    """Ascending neighbours as a slice, which makes a view; other indices as they are."""
    if len(index) and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def _stream(
    data: xr.DataArray, dimensions: Sequence[str], name: str, options: dict[str, Any], *, dtype: Any
) -> xr.DataArray:
    """Streaming reduction: accumulator ``name`` over the chunks of ``dimensions``."""
    accumulator = ACCUMULATORS[name](**options)
    axes = data.get_axis_num(dimensions)
    nodata = data.attrs.get("nodata")
    accumulator.dtype(decoded_dtype(data))

    def chunk(block: np.ndarray, axis: Any, keepdims: bool) -> Any:
        moved = np.moveaxis(decode(block, nodata), axes, range(len(axes)))
        return accumulator.start(moved.reshape(-1, *moved.shape[len(axes) :]))

    def combine(states: Any, axis: Any, keepdims: bool) -> Any:
        return accumulator.merge(_flat(states))

    def finish(states: Any, axis: Any, keepdims: bool) -> np.ndarray:
        return accumulator.finish(accumulator.merge(_flat(states))).astype(dtype, copy=False)

    values = da.reduction(
        data.data,
        chunk=chunk,
        combine=combine,
        aggregate=finish,
        axis=tuple(axes),
        dtype=dtype,
        concatenate=False,
        split_every=4,
        meta=np.empty((0,) * (data.ndim - len(axes)), dtype),
    )
    coords = {k: c for k, c in data.coords.items() if not set(dimensions) & set(c.dims)}
    return cubes.like(xr.DataArray(values, dims=[d for d in data.dims if d not in dimensions], coords=coords), data)


def _flat(states: Any) -> list[Any]:
    return [s for item in states for s in _flat(item)] if isinstance(states, list) else [states]


def blocks_of(data: xr.DataArray) -> int:
    """How many blocks a cube is computed in (1 for a numpy cube)."""
    return int(np.prod([len(c) for c in data.chunks])) if data.chunks else 1


def pull(
    data: Sequence[xr.DataArray],
    write: Sequence[Callable[[tuple[slice, ...], Any], None]],
    *,
    encode: Sequence[Callable[[tuple[slice, ...], np.ndarray], Any]] | None = None,
    threads: int = 2,
    scheduler: str = "threads",
    on_block: Callable[[int, int], None] | None = None,
) -> None:
    """Compute cubes block by block and hand each block on as it is ready, in no fixed order.

    One graph for all, so what they share is computed once. A block passes two stages:

    1. ``encode(slices, block)`` in the thread that computed it, many at once (compression goes here: it must release
       the GIL to be worth it, and be safe to call from several threads). Absent: the block itself.
    2. ``write(slices, what encode returned)`` under a lock of the cube.

    ``scheduler`` is ``threads``, ``sync`` or the address of a dask.distributed scheduler, whose workers then compute the
    blocks (`processes.cluster`); both stages stay in this process.

    ``on_block(done, total)`` follows each, under one lock for all. An exception in any of them, or in a block, stops
    the run and is raised; nothing is handed on after that.
    """
    from threading import Lock

    counter = Lock()
    done, stopped = 0, False

    class Target:
        def __init__(self, index: int, ndim: int):
            self.put, self.ndim, self.lock = write[index], ndim, Lock()
            self.encode = encode[index] if encode else lambda _, block: block

        def __dask_tokenize__(self) -> str:
            return _unique("target")  # dask would pickle it, and all modules it refers to, to name it

        def __setitem__(self, where: tuple[slice, ...], block: np.ndarray) -> None:
            nonlocal done, stopped
            if stopped:
                return
            try:
                if self.ndim == 0:
                    where, block = (), block[0]
                payload = self.encode(where, block)
                with self.lock:
                    if stopped:
                        return
                    self.put(where, payload)
                with counter:
                    done += 1
                    if on_block:
                        on_block(done, total)
            except BaseException:
                stopped = True
                raise

    arrays, targets = [], []
    for n, d in enumerate(data):
        # an array in memory goes in pieces too, so that encoding is shared by the threads
        pieces: Any = "16MiB" if d.dtype != object else -1  # texts: dask cannot tell their size
        values = d.data if is_lazy(d) else da.from_array(np.asarray(d.data), chunks=pieces, name=False)
        arrays.append(values if values.ndim else values[None])
        targets.append(Target(n, values.ndim))
    total = sum(a.npartitions for a in arrays)
    if scheduler not in ("threads", "sync"):
        cluster.store(arrays, targets, scheduler, threads=threads, failed=lambda: stopped)
        return
    # the function, not its name: to look a name up dask imports all of distributed first (0.3 s of the first request)
    local = dask.threaded.get if scheduler == "threads" else dask.local.get_sync
    with heap.kept(), dask.config.set(scheduler=local, num_workers=threads):
        da.store(arrays, targets, lock=False, compute=True, return_stored=False)  # type: ignore[arg-type]
