"""Three-valued logic. Undefined is None for single values and NaN in blocks (see `processes.scalar.values.flags`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from processes.errors import parameter_invalid
from processes.registry import process
from processes.scalar.values import elements, flags, float_dtype, is_block, operand, plain

Truth = tuple[np.ndarray, np.ndarray | None]  # known to be true; undefined (None: nowhere)


def _truth(value: Any) -> Truth:
    """A side of a logical operation on blocks: boolean, or numbers where 0 is false and NaN undefined."""
    if not is_block(value):
        value = plain(value)
        return np.asarray(bool(value)), None if value is not None else np.asarray(True)
    if value.dtype == bool:
        return value, None
    holes = np.isnan(value) if value.dtype.kind == "f" else None
    true = value != 0
    return (true, None) if holes is None or not holes.any() else (true & ~holes, holes)


def _either(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return b if a is None else a if b is None else a | b


def _single(value: Any) -> bool | None:
    value = plain(value)
    return None if value is None or value != value else bool(value)


@process("and")
def and_(x: Any, y: Any) -> Any:
    """False as soon as one side is false, otherwise undefined if one is."""
    if is_block(x) or is_block(y):
        (a, ua), (b, ub) = _truth(x), _truth(y)
        true, holes = a & b, _either(ua, ub)
        if holes is not None:
            false = ~(a if ua is None else a | ua) | ~(b if ub is None else b | ub)
            holes = holes & ~false
        return flags(true, holes)
    left, right = _single(x), _single(y)
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


@process("or")
def or_(x: Any, y: Any) -> Any:
    """True as soon as one side is true, otherwise undefined if one is."""
    if is_block(x) or is_block(y):
        (a, ua), (b, ub) = _truth(x), _truth(y)
        true, holes = a | b, _either(ua, ub)
        return flags(true, None if holes is None else holes & ~true)
    left, right = _single(x), _single(y)
    if left or right:
        return True
    return None if left is None or right is None else False


@process()
def xor(x: Any, y: Any) -> Any:
    """True where exactly one side is; undefined if either is."""
    if is_block(x) or is_block(y):
        (a, ua), (b, ub) = _truth(x), _truth(y)
        return flags(a ^ b, _either(ua, ub))
    left, right = _single(x), _single(y)
    return None if left is None or right is None else left != right


@process("not")
def not_(x: Any) -> Any:
    """Negation; undefined stays undefined."""
    if is_block(x):
        true, holes = _truth(x)
        return flags(~true, holes)
    value = _single(x)
    return None if value is None else not value


@process("if")
def if_(value: Any, accept: Any, reject: Any = None) -> Any:
    """``accept`` where ``value`` is true, else ``reject``. A block chooses pixel by pixel; None becomes NaN there.

    For a single value the evaluator has computed the chosen branch only.
    """
    if not is_block(value):
        return accept if _single(value) else reject
    from processes.kernels.elementwise import choose, is_set  # numba only where it is needed

    true = is_set(value) if value.dtype in ("f4", "f8") else _truth(value)[0]
    sides = [_branch(accept, "accept"), _branch(reject, "reject")]
    if all(np.asarray(s).dtype == bool for s in sides):
        return np.where(true, *sides)
    dtype = np.result_type(np.float32, *(float_dtype(s.dtype) for s in sides if is_block(s)))
    numbers = (operand(s, "accept") for s in sides)
    # the loop is vectorised for arrays that are contiguous, not for a number that is repeated
    full = [np.asarray(v, dtype) if is_block(v) else np.full(true.shape, v, dtype) for v in numbers]
    return np.asarray(choose(true, *full))


def _branch(value: Any, name: str) -> Any:
    if isinstance(value, (str, dict)):
        raise parameter_invalid(name, f"pixels hold numbers or booleans, not {value!r}.")
    held = getattr(value, "values", value)
    if isinstance(held, list):
        held = np.asarray([np.nan if v is None else v for v in held])
    return held if is_block(held) else plain(held)


def _known(data: Any) -> tuple[np.ndarray, np.ndarray | None] | list[bool | None]:
    values, _ = elements(data)
    return [_single(v) for v in values] if isinstance(values, list) else _truth(values)


@process("all")
def all_(data: Any, ignore_nodata: bool = True) -> Any:
    """Whether all elements are true; true for no element. Not ignored, nodata makes "true" undefined."""
    known = _known(data)
    if isinstance(known, list):
        if False in known:
            return False
        return None if None in known and not ignore_nodata else True
    true, holes = known
    if holes is None:
        return true.all(axis=0)
    fine, unknown = (true | holes).all(axis=0), holes.any(axis=0)
    return fine if ignore_nodata else flags(np.asarray(fine & ~unknown), np.asarray(fine & unknown))


@process("any")
def any_(data: Any, ignore_nodata: bool = True) -> Any:
    """Whether some element is true; false for no element. Not ignored, nodata makes "false" undefined."""
    known = _known(data)
    if isinstance(known, list):
        if True in known:
            return True
        return None if None in known and not ignore_nodata else False
    true, holes = known
    some = np.asarray(true.any(axis=0))
    return some if ignore_nodata or holes is None else flags(some, np.asarray(holes.any(axis=0) & ~some))
