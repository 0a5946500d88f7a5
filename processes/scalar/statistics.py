"""Statistics of arrays: sums, means, extremes, quantiles, running values.

Single values: nodata (None) is left out or decides, NaN spreads as IEEE 754 has it, integers stay exact. Blocks: NaN is
nodata; sums and means run in float64. An array without a usable value gives nodata.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from processes.errors import ProcessError, parameter_invalid
from processes.merging import ACCUMULATORS
from processes.registry import process
from processes.scalar.comparison import usable
from processes.scalar.values import array, elements, float_dtype, floating, number


def nothing(block: np.ndarray, *rows: int) -> np.ndarray:
    """Nodata for every pixel of a block (n, ...pixels): shape (*rows, ...pixels)."""
    return np.full((*rows, *block.shape[1:]), np.nan, float_dtype(block.dtype))


def flat(block: np.ndarray) -> np.ndarray:
    """A block as kernels want it: float, contiguous, (n, pixels)."""
    return np.ascontiguousarray(floating(block)).reshape(len(block), -1)


def numbers(values: Sequence[Any], ignore_nodata: bool) -> list[Any] | None:
    """Numbers to compute with: nodata left out; None where there is none, or nodata decides."""
    if None in values and not ignore_nodata:
        return None
    return [number(v, "data") for v in values if v is not None] or None


def _reduce(
    data: Any, ignore_nodata: bool, single: Callable[[list[Any]], Any], block: Callable[[np.ndarray], np.ndarray]
) -> Any:
    values, _ = elements(data)
    if isinstance(values, np.ndarray):
        return block(values) if len(values) else nothing(values)
    found = numbers(values, ignore_nodata)
    return None if found is None else single(found)


def _merged(name: str, data: Any, ignore_nodata: bool, single: Callable[[list[Any]], Any]) -> Any:
    """A reduction whose blocks are computed by the accumulator that also streams it."""

    def block(values: np.ndarray) -> np.ndarray:
        accumulator = ACCUMULATORS[name](ignore_nodata=ignore_nodata)
        accumulator.dtype(values.dtype)
        return accumulator.finish(accumulator.start(values))

    return _reduce(data, ignore_nodata, single, block)


def _sum(values: list[Any]) -> Any:
    if all(isinstance(v, float) for v in values) and all(map(math.isfinite, values)):
        return math.fsum(values)
    return sum(values)


def _mean(values: list[Any]) -> float:
    return _sum(values) / len(values)


def _variance(values: list[Any]) -> float | None:
    if len(values) < 2:
        return None
    mean = _mean(values)
    return _sum([(v - mean) ** 2 for v in values]) / (len(values) - 1)


def _deviation(values: list[Any]) -> float | None:
    variance = _variance(values)
    return None if variance is None else math.sqrt(variance)


def _extreme(choose: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    return lambda values: math.nan if any(v != v for v in values) else choose(values)


@process("sum", merge="sum")
def sum_(data: Any, ignore_nodata: bool = True) -> Any:
    """Sum of the elements."""
    return _merged("sum", data, ignore_nodata, _sum)


@process(merge="product")
def product(data: Any, ignore_nodata: bool = True) -> Any:
    """Product of the elements."""
    return _merged("product", data, ignore_nodata, math.prod)


@process(merge="mean")
def mean(data: Any, ignore_nodata: bool = True) -> Any:
    """Arithmetic mean."""
    return _merged("mean", data, ignore_nodata, _mean)


@process(merge="variance")
def variance(data: Any, ignore_nodata: bool = True) -> Any:
    """Sample variance (denominator n - 1); nodata for fewer than two values."""
    return _merged("variance", data, ignore_nodata, _variance)


@process(merge="sd")
def sd(data: Any, ignore_nodata: bool = True) -> Any:
    """Sample standard deviation; nodata for fewer than two values."""
    return _merged("sd", data, ignore_nodata, _deviation)


@process("min", merge="min")
def min_(data: Any, ignore_nodata: bool = True) -> Any:
    """Smallest element; keeps the dtype of a block."""
    return _merged("min", data, ignore_nodata, _extreme(min))


@process("max", merge="max")
def max_(data: Any, ignore_nodata: bool = True) -> Any:
    """Largest element; keeps the dtype of a block."""
    return _merged("max", data, ignore_nodata, _extreme(max))


@process()
def extrema(data: Any, ignore_nodata: bool = True) -> Any:
    """Minimum and maximum."""
    values, _ = elements(data)
    both = [min_(data, ignore_nodata), max_(data, ignore_nodata)]
    return array(np.stack(both)) if isinstance(values, np.ndarray) else both


@process()
def median(data: Any, ignore_nodata: bool = True) -> Any:
    """Value in the middle of the sorted elements, or the mean of the two there."""

    def block(values: np.ndarray) -> np.ndarray:
        from processes.kernels import order

        return order.median(flat(values), ignore_nodata).reshape(values.shape[1:])

    return _reduce(data, ignore_nodata, lambda v: _quantiles(v, [0.5])[0], block)


def _quantiles(values: list[Any], probabilities: Sequence[float]) -> list[Any]:
    if any(v != v for v in values):
        return [math.nan] * len(probabilities)
    ranked, found = sorted(values), []
    for p in probabilities:
        h = (len(ranked) - 1) * p
        low = math.floor(h)
        share, a = h - low, ranked[low]
        if share == 0:
            found.append(a)
            continue
        b = ranked[low + 1]
        finite = math.isfinite(a) and math.isfinite(b)
        found.append(a + share * (b - a) if finite else a * (1 - share) + b * share)
    return found


def _probabilities(probabilities: Any, q: Any) -> list[float]:
    """The probabilities asked for. Raises the exceptions of `quantiles`."""
    if probabilities is None and q is None:
        raise ProcessError("QuantilesParameterMissing", "Give probabilities, or the number of intervals.")
    if probabilities is not None and q is not None:
        raise ProcessError("QuantilesParameterConflict", "Give either probabilities or q, not both.")
    asked = q if probabilities is None else probabilities
    if isinstance(asked, int):
        if asked < 2:
            raise parameter_invalid("probabilities", f"there must be at least 2 intervals, not {asked}.")
        return [i / asked for i in range(1, asked)]
    found = [float(p) for p in asked]
    if found != sorted(found):
        raise ProcessError("AscendingProbabilitiesRequired", f"Probabilities must ascend, which {found} do not.")
    if any(not 0 <= p <= 1 for p in found):
        raise parameter_invalid("probabilities", f"probabilities lie between 0 and 1, which {found} do not.")
    return found


@process()
def quantiles(data: Any, probabilities: Any = None, q: Any = None, ignore_nodata: bool = True) -> Any:
    """Quantiles of type 7 (Hyndman and Fan 1996).

    Raises
    ------
    ProcessError
        ``QuantilesParameterMissing``, ``QuantilesParameterConflict``, ``AscendingProbabilitiesRequired``.
    """
    asked = _probabilities(probabilities, q)
    values, _ = elements(data)
    if not isinstance(values, np.ndarray):
        found = numbers(values, ignore_nodata)
        return [None] * len(asked) if found is None else _quantiles(found, asked)
    if not len(values):
        return array(nothing(values, len(asked)))
    from processes.kernels import order

    result = order.quantiles(flat(values), np.array(asked, "f8"), ignore_nodata)
    return array(result.reshape(len(asked), *values.shape[1:]))


@process(merge="count")
def count(data: Any, condition: Any = None, context: Any = None) -> Any:
    """Number of valid elements, of all (``condition`` true), or of those ``condition(x=, context=)`` is true for."""
    values, _ = elements(data)
    if not isinstance(values, np.ndarray):
        if condition is None:
            return sum(usable(v) for v in values)
        return len(values) if condition is True else sum(condition(x=v, context=context) is True for v in values)
    if condition is None or condition is True:
        accumulator = ACCUMULATORS["count"](condition=condition)
        accumulator.dtype(values.dtype)
        return accumulator.finish(accumulator.start(values))
    total = np.zeros(values.shape[1:], "f4")
    for value in values:
        answer = condition(x=value, context=context)
        total += (answer == 1) if isinstance(answer, np.ndarray) else answer is True
    return total


# running values


def _cumulate(data: Any, ignore_nodata: bool, operation: int, step: Callable[[Any, Any], Any]) -> Any:
    values, labels = elements(data)
    if isinstance(values, np.ndarray):
        from processes.kernels import order

        result = order.cumulate(flat(values), operation, ignore_nodata).reshape(values.shape)
        return array(result, labels, getattr(data, "dimension", None))
    found: list[Any] = []
    state, ended = None, False
    for value in values:
        ended = ended or (value is None and not ignore_nodata)
        if value is None or ended:
            found.append(None)
            continue
        state = number(value, "data") if state is None else step(state, number(value, "data"))
        found.append(state)
    return array(found, labels)


def _larger(a: Any, b: Any) -> Any:
    return b if b > a or b != b else a


def _smaller(a: Any, b: Any) -> Any:
    return b if b < a or b != b else a


@process()
def cumsum(data: Any, ignore_nodata: bool = True) -> Any:
    """Running sum."""
    return _cumulate(data, ignore_nodata, 0, lambda a, b: a + b)


@process()
def cumproduct(data: Any, ignore_nodata: bool = True) -> Any:
    """Running product."""
    return _cumulate(data, ignore_nodata, 1, lambda a, b: a * b)


@process()
def cummax(data: Any, ignore_nodata: bool = True) -> Any:
    """Running maximum."""
    return _cumulate(data, ignore_nodata, 2, _larger)


@process()
def cummin(data: Any, ignore_nodata: bool = True) -> Any:
    """Running minimum."""
    return _cumulate(data, ignore_nodata, 3, _smaller)
