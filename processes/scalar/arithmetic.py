"""Arithmetic: sums, products, powers, roots, logarithms, rounding, ranges."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from processes.errors import ProcessError
from processes.registry import process
from processes.scalar.values import elementwise, is_block, plain


@process()
def add(x: Any, y: Any) -> Any:
    """``x + y``."""
    return elementwise(operator.add, np.add, "x y", x, y)


@process()
def subtract(x: Any, y: Any) -> Any:
    """``x - y``."""
    return elementwise(operator.sub, np.subtract, "x y", x, y)


@process()
def multiply(x: Any, y: Any) -> Any:
    """``x * y``."""
    return elementwise(operator.mul, np.multiply, "x y", x, y)


def _quotient(x: Any, y: Any) -> Any:
    return x / y if y else np.divide(np.float64(x), np.float64(y))


@process()
def divide(x: Any, y: Any) -> Any:
    """``x / y`` after IEEE 754: a number over zero is infinite, 0 / 0 is NaN."""
    return elementwise(_quotient, np.divide, "x y", x, y)


def _remainder(x: Any, y: Any) -> Any:
    if y == 0:
        raise ProcessError("DivisionByZero", f"The remainder of {x} / 0 is not defined.")
    if math.isinf(y) and math.isfinite(x):
        return x
    return x % y if math.isfinite(x) else math.nan


def _remainders(x: Any, y: Any) -> np.ndarray:
    rest = np.mod(x, y)
    endless = np.isinf(y)
    return np.where(endless & np.isfinite(x), x, rest).astype(rest.dtype, copy=False) if np.any(endless) else rest


@process()
def mod(x: Any, y: Any) -> Any:
    """Remainder of ``x / y`` with the sign of ``y``; a finite ``x`` is its own remainder for an infinite ``y``.

    Raises
    ------
    ProcessError
        ``DivisionByZero`` for single values; in a block that pixel is NaN.
    """
    return elementwise(_remainder, _remainders, "x y", x, y)


def _power(base: Any, p: Any) -> Any:
    if isinstance(base, int) and isinstance(p, int) and 0 <= p * base.bit_length() <= 4096:
        return base**p  # exact
    return np.power(np.float64(base), np.float64(p))


def _powers(base: Any, p: Any) -> np.ndarray:
    if not is_block(p) and p != 0 and p == p:
        return base**p  # squares, roots and inverses have loops of their own; NaN stays NaN
    result = np.power(base, p)
    holes = np.isnan(base) | np.isnan(p)  # IEEE 754 says 1 ** NaN = NaN ** 0 = 1, but here NaN is nodata
    if holes.any():
        result[np.broadcast_to(holes, result.shape)] = np.nan
    return result


@process()
def power(base: Any, p: Any) -> Any:
    """``base`` to the power of ``p``; NaN for fractional powers of negative numbers."""
    return elementwise(_power, _powers, "base p", base, p)


@process()
def absolute(x: Any) -> Any:
    """Magnitude of ``x``."""
    return elementwise(abs, np.abs, "x", x)


@process()
def sgn(x: Any) -> Any:
    """-1, 0 or 1; NaN stays."""
    return elementwise(np.sign, np.sign, "x", x)


def _of_float(function: Any) -> Any:
    return lambda *values: function(*(np.float64(v) for v in values))


@process()
def sqrt(x: Any) -> Any:
    """Square root; NaN below zero."""
    return elementwise(_of_float(np.sqrt), np.sqrt, "x", x)


@process()
def exp(p: Any) -> Any:
    """e to the power of ``p``."""
    return elementwise(_of_float(np.exp), np.exp, "p", p)


@process()
def ln(x: Any) -> Any:
    """Natural logarithm; minus infinity at zero, NaN below."""
    return elementwise(_of_float(np.log), np.log, "x", x)


_LOGARITHMS = {2: np.log2, 10: np.log10, math.e: np.log}


@process()
def log(x: Any, base: Any) -> Any:
    """Logarithm of ``x`` to ``base``; exact for whole powers of 2 and 10."""
    known = None if is_block(base) else _LOGARITHMS.get(plain(base))
    if known is not None:
        return elementwise(_of_float(known), known, "x", x)

    def any_base(x: Any, base: Any) -> Any:
        # of a number as a number of Python: one of numpy would widen a block
        return np.log(x) / (np.log(base) if is_block(base) else float(np.log(np.float64(base))))

    return elementwise(_of_float(any_base), any_base, "x base", x, base)


# rounding


def _whole(function: Any) -> Any:
    return lambda x: function(x) if math.isfinite(x) else x


@process()
def ceil(x: Any) -> Any:
    """Least integer not below ``x``."""
    return elementwise(_whole(math.ceil), np.ceil, "x", x)


@process()
def floor(x: Any) -> Any:
    """Greatest integer not above ``x``."""
    return elementwise(_whole(math.floor), np.floor, "x", x)


@process("int")
def int_(x: Any) -> Any:
    """Integer part, towards zero. NaN has none, so it is nodata."""
    return elementwise(lambda x: None if math.isnan(x) else _whole(math.trunc)(x), np.trunc, "x", x)


def _rounded(x: Any, p: int) -> Any:
    return round(x, p) if isinstance(x, int) else np.round(np.float64(x), p)


@process("round")
def round_(x: Any, p: int = 0) -> Any:
    """``x`` to ``p`` decimal places, half-way cases to the even neighbour."""
    places = int(p)
    return elementwise(lambda x: _rounded(x, places), lambda x: np.asarray(np.round(x, places)), "x", x)


# ranges and indices


def _clipped(x: Any, low: Any, high: Any) -> Any:
    if math.isnan(x) or math.isnan(low) or math.isnan(high):
        return math.nan
    return low if x < low else high if x > high else x


@process()
def clip(x: Any, min: Any, max: Any) -> Any:
    """``x`` within [``min``, ``max``]. Raises ``MinMaxSwapped``."""
    low, high = plain(min), plain(max)
    if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low > high:
        raise ProcessError("MinMaxSwapped", f"The lower end {low} lies above the upper end {high}.")
    return elementwise(_clipped, np.clip, "x min max", x, min, max)


def _scaled(x: Any, low: Any, high: Any, out_low: Any, out_high: Any) -> Any:
    inside = np.minimum(np.maximum(x, np.minimum(low, high)), np.maximum(low, high))
    return (inside - low) / (high - low) * (out_high - out_low) + out_low


def _scaled_blocks(x: Any, low: Any, high: Any, out_low: Any, out_high: Any) -> np.ndarray:
    if not is_block(x) or any(is_block(v) for v in (low, high, out_low, out_high)):
        return np.asarray(_scaled(x, low, high, out_low, out_high))
    # numbers of Python keep the precision of the block; steps that change nothing are left out
    out: np.ndarray = np.clip(x, min(low, high), max(low, high))
    if low != 0:
        out -= low
    if high - low != 1:
        out /= high - low
    if out_high - out_low != 1:
        out *= out_high - out_low
    if out_low != 0:
        out += out_low
    return out


@process()
def linear_scale_range(x: Any, inputMin: Any, inputMax: Any, outputMin: Any = 0, outputMax: Any = 1) -> Any:
    """``(x - inputMin) / (inputMax - inputMin) * (outputMax - outputMin) + outputMin``, ``x`` clipped to the input range."""
    return elementwise(
        _of_float(_scaled),
        _scaled_blocks,
        "x inputMin inputMax outputMin outputMax",
        x,
        inputMin,
        inputMax,
        outputMin,
        outputMax,
    )


def _index(x: Any, y: Any) -> Any:
    return (x - y) / (x + y)


@process()
def normalized_difference(x: Any, y: Any) -> Any:
    """``(x - y) / (x + y)``; NaN where both are zero."""
    return elementwise(_of_float(_index), _index, "x y", x, y)
