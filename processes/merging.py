"""Accumulators: reductions whose partial results merge, so that they stream over blocks.

Each works on blocks whose axis 0 is reduced, keeps a small state per pixel and is exact in any order of merging up to
floating-point rounding (sums are kept in float64). NaN is nodata; ``ignore_nodata=False`` makes one NaN decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def _floating(dtype: Any) -> np.dtype:
    dtype = np.dtype(dtype)
    return np.dtype("f8") if (dtype.kind in "iu" and dtype.itemsize > 2) or dtype == "f8" else np.dtype("f4")


class Accumulator:
    """Base: ``start`` on a block, ``merge`` of states in source order, ``finish`` to values (float, NaN = nodata)."""

    def __init__(self, ignore_nodata: bool = True, **_: Any):
        self.ignore = ignore_nodata

    def dtype(self, source: Any) -> np.dtype:
        self._out = _floating(source)
        return self._out

    def start(self, block: np.ndarray) -> Any:
        raise NotImplementedError

    def merge(self, states: Sequence[Any]) -> Any:
        raise NotImplementedError

    def finish(self, state: Any) -> np.ndarray:
        raise NotImplementedError


def _flat(block: np.ndarray) -> np.ndarray:
    """A block as kernels want it: float, contiguous, (n, pixels)."""
    values = block.astype(_floating(block.dtype), copy=False)
    return np.ascontiguousarray(values).reshape(len(block), -1)


class Sum(Accumulator):
    """State: (sum float64, number of valid values)."""

    def start(self, block):
        if block.dtype.kind != "f":
            return self._whole(block), np.full(block.shape[1:], len(block), "i4")
        total, n = self._kernel()(_flat(block))
        if not self.ignore:
            total[n < len(block)] = np.nan
        return total.reshape(block.shape[1:]), n.reshape(block.shape[1:])

    def _whole(self, block):
        return np.sum(block, axis=0, dtype="f8")

    def _kernel(self):
        from processes.kernels.moments import sums  # numba only where it is needed

        return sums

    def merge(self, states):
        total, n = states[0]
        for t, k in states[1:]:
            total, n = self._two(total, t), n + k
        return total, n

    def _two(self, a, b):
        return a + b

    def finish(self, state):
        total, n = state
        return np.where(n > 0, total, np.nan).astype(self._out)


class Mean(Sum):
    def finish(self, state):
        from processes.kernels.moments import quotients

        total, n = state
        out = np.empty(np.shape(total), self._out)
        quotients(np.reshape(total, -1), np.reshape(n, -1), out.reshape(-1))
        return out


class Product(Sum):
    def _whole(self, block):
        return np.prod(block, axis=0, dtype="f8")

    def _kernel(self):
        from processes.kernels.moments import products

        return products

    def _two(self, a, b):
        return a * b


class Count(Accumulator):
    """Number of valid (finite) values, or of all where ``condition`` is true. State: int32."""

    def __init__(self, condition: bool | None = None, **_: Any):
        super().__init__()
        self.all = condition is True

    def dtype(self, source):
        self._out = np.dtype("f4")
        return self._out

    def start(self, block):
        if self.all or block.dtype.kind != "f":
            return np.full(block.shape[1:], len(block), "i4")
        return np.isfinite(block).sum(axis=0, dtype="i4")

    def merge(self, states):
        return sum(states[1:], start=states[0])

    def finish(self, state):
        return state.astype(self._out)


class Max(Accumulator):
    pick: np.ufunc = np.maximum
    pick_ignoring: np.ufunc = np.fmax

    def _two(self, a, b):
        return (self.pick_ignoring if self.ignore else self.pick)(a, b)

    def dtype(self, source):
        return np.dtype(source)

    def start(self, block):
        return (self.pick_ignoring if self.ignore else self.pick).reduce(block, axis=0)

    def merge(self, states):
        out = states[0]
        for s in states[1:]:
            out = self._two(out, s)
        return out

    def finish(self, state):
        return state


class Min(Max):
    pick, pick_ignoring = np.minimum, np.fmin


class First(Accumulator):
    """First valid value in source order (the first one at all where nodata is not ignored)."""

    order = 1

    def dtype(self, source):
        return np.dtype(source)

    def start(self, block):
        return self.merge(list(block))

    def merge(self, states):
        states = states[:: self.order]
        out = states[0].copy()
        if self.ignore and out.dtype.kind == "f":
            for s in states[1:]:
                hole = np.isnan(out)
                if not hole.any():
                    break
                np.copyto(out, s, where=hole)
        return out

    def finish(self, state):
        return state


class Last(First):
    order = -1


class Variance(Accumulator):
    """Sample variance (n - 1). State: (n, mean, sum of squared deviations), merged after Chan et al. 1979."""

    def start(self, block):
        from processes.kernels.moments import deviations

        n, mean, m2 = (part.reshape(block.shape[1:]) for part in deviations(_flat(block)))
        if not self.ignore:
            m2 = np.where(n < len(block), np.nan, m2)
        return n, mean, m2

    def merge(self, states):
        n, mean, m2 = states[0]
        for k, mu, q in states[1:]:
            total = n + k
            with np.errstate(invalid="ignore", divide="ignore"):
                delta = mu - mean
                share = np.where(total > 0, k / total, 0.0)
            mean, m2, n = mean + delta * share, m2 + q + delta**2 * n * share, total
        return n, mean, m2

    def finish(self, state):
        n, _, m2 = state
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(n > 1, m2 / (n - 1), np.nan).astype(self._out)


class StandardDeviation(Variance):
    def finish(self, state):
        return np.sqrt(super().finish(state))


ACCUMULATORS: dict[str, type[Accumulator]] = {
    "sum": Sum,
    "mean": Mean,
    "product": Product,
    "count": Count,
    "max": Max,
    "min": Min,
    "first": First,
    "last": Last,
    "variance": Variance,
    "sd": StandardDeviation,
}
