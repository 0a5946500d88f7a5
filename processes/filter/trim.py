"""`trim_cube`: drop labels without data."""

from __future__ import annotations

from typing import Any, ClassVar

import dask
import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.blocks import is_lazy, reduce_blocks
from processes.callback import LabeledArray
from processes.probe import decode
from processes.registry import process


class _Any:
    """Reducer: 1 where an array has a valid value; streams as a count does."""

    merge: ClassVar[tuple[str, dict[str, Any]]] = ("count", {})

    def __call__(self, data: LabeledArray, context: object = None) -> np.ndarray:
        values = data.values
        valid = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        return valid.sum(axis=0).astype("f4")


@process()
def trim_cube(data: xr.DataArray) -> xr.DataArray:
    """The cube without labels that have nodata only: at both ends of regular dimensions, anywhere on others.

    x, y and evenly spaced temporal dimensions are regular: they keep their step. Which labels stay depends on every
    value, so this process reads the cube once when it is called (one streaming pass over the blocks that keeps a few
    numbers); the result itself is lazy.
    """
    names = [str(d) for d in data.dims]
    counts = {
        d: reduce_blocks(data, _Any(), [o for o in names if o != d], dtype="f8") if len(names) > 1 else _valid(data)
        for d in names
    }
    if is_lazy(data):
        counts = dict(zip(counts, dask.compute(*counts.values())))
    keep = {d: _kept(data, d, np.asarray(c.values) > 0) for d, c in counts.items()}
    return data.isel(keep)


def _valid(data: xr.DataArray) -> xr.DataArray:
    nodata = data.attrs.get("nodata")
    return data.copy(data=np.isfinite(decode(np.asarray(data.values), nodata)).astype("f8"))


def _kept(data: xr.DataArray, dimension: str, has_data: np.ndarray) -> slice | np.ndarray:
    found = np.flatnonzero(has_data)
    if not len(found):
        return slice(0, 0)
    if _is_regular(data, dimension):
        return slice(int(found[0]), int(found[-1]) + 1)
    return found


def _is_regular(data: xr.DataArray, dimension: str) -> bool:
    kind = cubes.kind_of(data, dimension)
    if kind != cubes.TEMPORAL:
        return kind.startswith("spatial")
    labels = data.coords[dimension].values if dimension in data.coords else np.arange(0)
    steps = np.diff(labels.astype("i8")) if labels.dtype.kind == "M" else np.empty(0)
    return len(steps) > 1 and bool((steps == steps[0]).all())
