"""Sorting of numbers and dates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from processes.errors import ProcessError, parameter_invalid
from processes.registry import process
from processes.scalar.statistics import flat
from processes.scalar.values import array, elements, float_dtype, instant


def _key(value: Any) -> Any:
    """What a single value is sorted by: the number, or the instant of a date text in seconds."""
    if isinstance(value, str):
        moment = instant(value)
        if moment is None:
            raise parameter_invalid("data", f"'{value}' is neither a number nor a date.")
        return moment.timestamp()
    if not isinstance(value, (int, float)):
        raise parameter_invalid("data", f"expected numbers or dates, got {value!r}.")
    return value


def _positions(values: list[Any], asc: bool, nodata: bool | None) -> list[int]:
    holes = [i for i, v in enumerate(values) if v is None]
    keys = {i: _key(v) for i, v in enumerate(values) if v is not None}
    numbers = [i for i, k in keys.items() if not math.isnan(k)]
    # stable in both directions: equal elements keep their order
    ranked = sorted(numbers, key=keys.__getitem__) if asc else sorted(numbers, key=lambda i: -keys[i])
    ranked += [i for i, k in keys.items() if math.isnan(k)]
    return ranked if nodata is None else [*ranked, *holes] if nodata else [*holes, *ranked]


def _block_order(values: np.ndarray, asc: bool, nodata: bool | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions per pixel, and where they stand for nodata that was to be removed."""
    from processes.kernels import order

    places, holes = order.order(flat(values), asc, nodata is False)
    dropped = None
    if nodata is None and holes.any():
        dropped = (np.arange(len(values))[:, None] >= len(values) - holes).reshape(values.shape)
    return places.reshape(values.shape), dropped


@process()
def order(data: Any, asc: bool = True, nodata: bool | None = None) -> Any:
    """Zero-based positions that sort the array; equal elements keep their order.

    ``nodata``: None removes it (in blocks: NaN positions at the end), true puts it last, false first.
    """
    values, _ = elements(data)
    if not isinstance(values, np.ndarray):
        return _positions(values, asc, nodata)
    places, dropped = _block_order(values, asc, nodata)
    result = places.astype("f4")
    if dropped is not None:
        result[dropped] = np.nan
    return array(result)


@process()
def sort(data: Any, asc: bool = True, nodata: bool | None = None) -> Any:
    """The array in ascending or descending order; ``nodata`` as in `order`."""
    values, _ = elements(data)
    if not isinstance(values, np.ndarray):
        return [values[i] for i in _positions(values, asc, nodata)]
    places, _ = _block_order(values, asc, nodata)
    return array(np.take_along_axis(values, places.astype(np.intp), axis=0))


@process()
def rearrange(data: Any, order: Any) -> Any:
    """The elements in the order of the positions given. Raises ``ArrayElementNotAvailable``."""
    values, _ = elements(data)
    places, _ = elements(order, "order")
    if isinstance(places, np.ndarray):
        if not isinstance(values, np.ndarray):
            values = np.asarray(values, "f8").reshape(-1, *[1] * (places.ndim - 1))
        holes = np.isnan(places) if places.dtype.kind == "f" else np.zeros(places.shape, bool)
        shape = (len(values), *np.broadcast_shapes(values.shape[1:], places.shape[1:]))
        where = np.where(holes, 0, places).astype(np.intp)
        taken = np.take_along_axis(np.broadcast_to(values, shape), where, axis=0)
        if holes.any():
            taken = taken.astype(float_dtype(taken.dtype))
            taken[holes] = np.nan
        return array(taken)
    wanted = [int(p) for p in places]
    if bad := [p for p in wanted if not 0 <= p < len(values)]:
        raise ProcessError("ArrayElementNotAvailable", f"The array has {len(values)} elements, so no positions {bad}.")
    return array(values[wanted]) if isinstance(values, np.ndarray) else [values[p] for p in wanted]
