"""`apply_neighborhood`: a callback on windows of the cube, with the cells around them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from processes import cube as cubes
from processes import times
from processes.blocks import is_lazy
from processes.callback import Callback, LabeledArray
from processes.errors import dimension_missing, parameter_invalid
from processes.probe import cube_answer, decode, decoded_dtype
from processes.registry import process

_DURATION = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$"
)
_METRES_PER_DEGREE = 111_320.0
MOST_CELLS = 1 << 28  # of one window with its overlap: a window is held whole, several times


@process()
def apply_neighborhood(
    data: xr.DataArray,
    process: Callback,
    size: Sequence[Mapping[str, Any]],
    overlap: Sequence[Mapping[str, Any]] | None = None,
    context: Any = None,
) -> xr.DataArray:
    """``process(data, context)`` on windows of ``size`` (whole dimensions by default) grown by ``overlap``.

    The callback gets a cube in memory (a labelled array where one dimension only has more than one label) and returns
    one of the same shape and kind of values; what it writes in the overlap is ignored. Beyond the cube there is nodata, also where the
    cube ends inside a window, so that all windows are equally large. Integer cubes are handed over as float where they
    have nodata or need it. Raises ``DimensionNotAvailable``, ``DataCubePropertiesImmutable``.
    """
    lengths = _extents(data, size, "size")
    margins = _extents(data, overlap or [], "overlap")
    windows = {d: lengths.get(d) or data.sizes[d] for d in map(str, data.dims)}
    halo = {d: margins.get(d) or 0 for d in windows}
    _refuse_huge({d: w + 2 * halo[d] for d, w in windows.items()})
    pads = any(halo.values()) or any(data.sizes[d] % w for d, w in windows.items() if w)
    dtype = decoded_dtype(data)
    if dtype.kind != "f" and pads:
        dtype = np.dtype("f4" if data.dtype.itemsize <= 2 else "f8")
    job = _Windows(data, process, windows, halo, dtype, context)
    values: Any = job.lazy() if is_lazy(data) else job.block(data.data, (0,) * data.ndim, data.shape)
    result = cubes.like(xr.DataArray(values, dims=data.dims, coords=data.coords), data)
    result.attrs.pop("nodata", None)
    return result


class _Windows:
    """The windows of a cube and what is done to each."""

    def __init__(
        self,
        data: xr.DataArray,
        callback: Callback,
        windows: Mapping[str, int],
        halo: Mapping[str, int],
        dtype: np.dtype,
        context: Any,
    ):
        self.callback, self.context, self.dtype = callback, context, dtype
        self.windows, self.halo = dict(windows), dict(halo)
        self.source = data
        self.attrs = {k: v for k, v in data.attrs.items() if k != "nodata"}
        self.nodata = data.attrs.get("nodata")
        self.crs = data.coords.get("spatial_ref")
        self.sizes = {str(d): n for d, n in data.sizes.items()}
        self.axes = {d: data.coords[d].values if d in data.coords else np.arange(data.sizes[d]) for d in self.windows}

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "source"}  # tasks carry no cube

    def lazy(self) -> da.Array:
        """Blocks of whole windows, each with the margin it needs."""
        source = self.source.data
        chunks = {}
        for axis, (d, w) in enumerate(self.windows.items()):
            step = max(source.chunks[axis][0] // w, 1) * w if w else 1
            n = self.sizes[d]
            if step < self.halo[d] and w:
                step = -(-self.halo[d] // w) * w
            if self.halo[d] >= n:  # every block needs all of it; what lies beyond is nodata
                step = max(n, 1)
            chunks[axis] = tuple(min(step, n - i) for i in range(0, n, step)) if n else (0,)
            if len(chunks[axis]) > 1 and chunks[axis][-1] < self.halo[d]:  # a margin comes from the next block alone
                chunks[axis] = (*chunks[axis][:-2], chunks[axis][-2] + chunks[axis][-1])
        source = source.rechunk(chunks)
        depth = {a: self.halo[d] if len(chunks[a]) > 1 else 0 for a, d in enumerate(self.windows)}
        sizes = source.chunks
        starts = [np.cumsum([0, *c[:-1]]) for c in sizes]
        grown = da.overlap.overlap(source, depth=depth, boundary="none")

        def on_block(block: np.ndarray, block_info: Any = None) -> np.ndarray:
            at = block_info[0]["chunk-location"]
            begin = tuple(int(starts[a][k]) for a, k in enumerate(at))
            return self.block(block, begin, tuple(sizes[a][k] for a, k in enumerate(at)))

        return da.map_blocks(
            on_block, grown, dtype=self.dtype, chunks=source.chunks, meta=np.empty((0,) * source.ndim, self.dtype)
        )

    def block(self, block: np.ndarray, begin: tuple[int, ...], own: tuple[int, ...]) -> np.ndarray:
        """Results for a block whose ``own`` cells (without margin) start at ``begin`` in the cube."""
        values = decode(block, self.nodata).astype(self.dtype, copy=False)
        margin = [self.halo[d] if b else 0 for d, b in zip(self.windows, begin)]  # what comes before its own cells
        out = np.empty(own, self.dtype)
        for corner in product(*(range(0, n, w) for n, w in zip(own, self.windows.values()))):
            self.one(values, out, corner, margin, begin)
        return out

    def one(self, values: np.ndarray, out: np.ndarray, corner: tuple[int, ...], margin: list[int], begin: Any) -> None:
        dims = list(self.windows)
        shape = tuple(self.windows[d] + 2 * self.halo[d] for d in dims)
        window = np.full(shape, np.nan if self.dtype.kind == "f" else 0, self.dtype)
        take, put = [], []
        for axis, d in enumerate(dims):
            low = corner[axis] - self.halo[d] + margin[axis]  # in the block
            first, last = max(low, 0), min(low + shape[axis], values.shape[axis])
            take.append(slice(first, last))
            put.append(slice(first - low, last - low))
        window[tuple(put)] = values[tuple(take)]
        start = {d: begin[a] + corner[a] - self.halo[d] for a, d in enumerate(dims)}
        result = self.call(window, start)
        inner, into = [], []
        for axis, d in enumerate(dims):
            n = min(self.windows[d], out.shape[axis] - corner[axis])
            inner.append(slice(self.halo[d], self.halo[d] + n))
            into.append(slice(corner[axis], corner[axis] + n))
        out[tuple(into)] = result[tuple(inner)]

    def call(self, window: np.ndarray, start: Mapping[str, int]) -> np.ndarray:
        """The callback's answer for a window whose first cell lies at ``start`` in the cube."""
        coords = {d: _continued(self.axes[d], start[d], n) for d, n in zip(self.windows, window.shape)}
        long = [a for a, n in enumerate(window.shape) if n > 1]
        if len(long) == 1 and window.ndim == 1:
            (name,) = self.windows
            labels = coords[name]
            answer = self.callback(
                data=LabeledArray(window, list(labels) if labels.dtype.kind == "M" else labels.tolist(), name),
                context=self.context,
            )
        else:
            part = xr.DataArray(window, dims=list(self.windows), coords=coords, attrs=self.attrs)
            if self.crs is not None:
                part = part.assign_coords(spatial_ref=self.crs)
            answer = self.callback(data=part, context=self.context)
        return cube_answer(answer, list(self.windows), window.shape)


def _continued(labels: np.ndarray, start: int, count: int) -> np.ndarray:
    """Labels ``start .. start + count``; numbers and instants go on evenly beyond the cube, text is empty there."""
    index = np.arange(start, start + count)
    inside = (index >= 0) & (index < len(labels))
    if inside.all():
        return labels[index]
    if labels.dtype.kind in "fiuM" and len(labels):
        step = (labels[-1] - labels[0]) / max(len(labels) - 1, 1)
        if labels.dtype.kind == "M":
            first, last = labels[0], labels[-1]
        else:
            first, last, step = float(labels[0]), float(labels[-1]), float(step)
        out = np.where(index < 0, first + index * step, last + (index - len(labels) + 1) * step)
        out[inside] = labels[index[inside]]
        return out.astype(labels.dtype) if labels.dtype.kind == "M" else out
    texts = np.full(count, "", object)
    texts[inside] = labels[index[inside]]
    return texts


def _refuse_huge(window: Mapping[str, int]) -> None:
    cells = math.prod(window.values())
    if cells > MOST_CELLS:
        raise parameter_invalid(
            "overlap",
            f"a window with its overlap has {' x '.join(map(str, window.values()))} cells; {MOST_CELLS:,} are possible",
        )


def _extents(data: xr.DataArray, given: Sequence[Mapping[str, Any]], parameter: str) -> dict[str, int]:
    """Cells per dimension; dimensions with null are left out. Raises ``DimensionNotAvailable``."""
    out = {}
    for item in given:
        name = item.get("dimension")
        if name not in data.dims:
            raise dimension_missing(str(name), data.dims)
        if item.get("value") is not None:
            out[str(name)] = _cells(data, str(name), item["value"], item.get("unit"), parameter)
    return out


def _cells(data: xr.DataArray, name: str, value: Any, unit: str | None, parameter: str) -> int:
    least = 1 if parameter == "size" else 0
    kind = cubes.kind_of(data, name)
    if isinstance(value, str):
        if kind != cubes.TEMPORAL:
            raise parameter_invalid(parameter, f"a duration ({value}) is possible along a temporal dimension only")
        step = _step(times.instants_of(data, name).astype("i8")) / 1e9
        cells = _seconds(value, parameter) / step if step else 1
    elif unit == "px" or kind not in (cubes.X, cubes.Y, cubes.TEMPORAL):
        cells = float(value)
    elif kind == cubes.TEMPORAL:
        raise parameter_invalid(parameter, "along a temporal dimension give the unit 'px' or an ISO 8601 duration")
    else:
        crs = cubes.crs_of(data)
        step = abs(_step(data.coords[name].values))
        if unit == "m" and crs is not None and crs.geographic:
            step *= _METRES_PER_DEGREE
        cells = float(value) / step if step else 1
    return max(round(cells), least)


def _step(values: np.ndarray) -> float:
    return float(values[-1] - values[0]) / (len(values) - 1) if len(values) > 1 else 0.0


def _seconds(duration: str, parameter: str) -> float:
    match = _DURATION.match(duration)
    if not match or duration in ("P", "PT"):
        raise parameter_invalid(parameter, f"'{duration}' is not an ISO 8601 duration")
    units = (365.25 * 86400, 30.4375 * 86400, 7 * 86400, 86400, 3600, 60, 1)
    return sum(float(n) * u for n, u in zip(match.groups(), units) if n)
