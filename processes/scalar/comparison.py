"""Comparisons. Single values: true, false or None. Blocks: see `processes.scalar.values.flags`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from processes.registry import process
from processes.scalar.values import flags, floating, is_block, plain, same_label, undefined


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def equal(x: Any, y: Any, delta: float | None = None, case_sensitive: bool = True) -> bool:
    """Whether two single values, none of them nodata, are equal: same type (one for all numbers) and same value."""
    if isinstance(x, np.datetime64) or isinstance(y, np.datetime64):
        return same_label(x, y)
    x, y = plain(x), plain(y)
    if _is_number(x) and _is_number(y):
        return bool(abs(x - y) <= delta) if delta and x != y else bool(x == y)
    if isinstance(x, str) and isinstance(y, str):
        return x == y if case_sensitive else x.casefold() == y.casefold()
    return isinstance(x, bool) and isinstance(y, bool) and x == y


def _in_blocks(x: Any, y: Any, compare: Callable[[Any, Any], Any], unlike: bool) -> np.ndarray:
    """Compare where one side is a block; ``unlike`` is the answer for a text beside a block."""
    x, y = (v if is_block(v) else plain(v) for v in (x, y))
    holes = undefined(x, y)
    shape = np.broadcast_shapes(*(v.shape for v in (x, y) if is_block(v)))
    sides = [v if is_block(v) else math.nan if v is None else v for v in (x, y)]
    if any(not is_block(v) and not isinstance(v, (int, float)) for v in sides):
        true = np.full(shape, unlike)
    else:
        with np.errstate(invalid="ignore"):
            true = compare(*sides)
    return flags(true, None if holes is None else np.broadcast_to(holes, shape))


def _difference(delta: float) -> Callable[[Any, Any], Any]:
    def close(x: Any, y: Any) -> Any:
        a, b = (floating(v) if is_block(v) else v for v in (x, y))  # unsigned integers would wrap around
        return (np.abs(a - b) <= delta) | (a == b)

    return close


@process()
def eq(x: Any, y: Any, delta: float | None = None, case_sensitive: bool = True) -> Any:
    """Whether ``x`` and ``y`` are of one type and equal; numbers up to ``delta``, texts in any case if asked."""
    if is_block(x) or is_block(y):
        return _in_blocks(x, y, _difference(delta) if delta else operator.eq, False)
    if plain(x) is None or plain(y) is None:
        return None
    return equal(x, y, delta, case_sensitive)


@process()
def neq(x: Any, y: Any, delta: float | None = None, case_sensitive: bool = True) -> Any:
    """The opposite of `eq`; None where that is None."""
    if is_block(x) or is_block(y):
        close = _difference(delta) if delta else operator.eq
        return _in_blocks(x, y, lambda a, b: ~np.asarray(close(a, b)), True)
    same = eq(x, y, delta, case_sensitive)
    return None if same is None else not same


def _ordered(x: Any, y: Any, compare: Callable[[Any, Any], Any]) -> Any:
    if is_block(x) or is_block(y):
        return _in_blocks(x, y, compare, False)
    x, y = plain(x), plain(y)
    if x is None or y is None:
        return None
    return bool(compare(x, y)) if _is_number(x) and _is_number(y) else False


@process()
def gt(x: Any, y: Any) -> Any:
    """``x > y``; false for anything but numbers."""
    return _ordered(x, y, operator.gt)


@process()
def gte(x: Any, y: Any) -> Any:
    """``x >= y``; false for anything but numbers."""
    return _ordered(x, y, operator.ge)


@process()
def lt(x: Any, y: Any) -> Any:
    """``x < y``; false for anything but numbers."""
    return _ordered(x, y, operator.lt)


@process()
def lte(x: Any, y: Any) -> Any:
    """``x <= y``; false for anything but numbers."""
    return _ordered(x, y, operator.le)


@process()
def between(x: Any, min: Any, max: Any, exclude_max: bool = False) -> Any:
    """``min <= x <= max``, or ``min <= x < max``; false where the ends are swapped."""
    from processes.scalar.logic import and_

    return and_(gte(x, min), lt(x, max) if exclude_max else lte(x, max))


# kinds of values


def _check(x: Any, floats: Callable[[np.ndarray], np.ndarray], others: bool, single: Callable[[Any], bool]) -> Any:
    """``floats`` of a float block, ``others`` for every pixel of another block, else ``single`` of the value."""
    if is_block(x):
        return floats(x) if x.dtype.kind == "f" else np.full(x.shape, others)
    return single(plain(x))


@process()
def is_nan(x: Any) -> Any:
    """Whether ``x`` is NaN."""
    return _check(x, np.isnan, False, lambda v: isinstance(v, float) and math.isnan(v))


@process()
def is_infinite(x: Any) -> Any:
    """Whether ``x`` is plus or minus infinity."""
    return _check(x, np.isinf, False, lambda v: isinstance(v, float) and math.isinf(v))


@process()
def is_nodata(x: Any) -> Any:
    """Whether ``x`` is nodata: None, or NaN in a block."""
    return _check(x, np.isnan, False, lambda v: v is None)


@process()
def is_valid(x: Any) -> Any:
    """Whether ``x`` can be used: neither nodata nor NaN nor infinite."""
    return _check(x, np.isfinite, True, usable)


def usable(value: Any) -> bool:
    """`is_valid` of a single value."""
    return math.isfinite(value) if isinstance(value, float) else value is not None
