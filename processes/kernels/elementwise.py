"""Element-wise steps that numpy does in several passes or with a branch per element, in one vectorised pass."""

from __future__ import annotations

import numpy as np
from numba import njit, vectorize

_ROWS_WORTH = 4096  # shortest run of elements for which the compiled loop beats numpy's call


@njit(nogil=True, cache=True)
def _replace_run(values, hit, replacement, out):
    for j in range(values.size):
        out[j] = replacement if hit[j] else values[j]


def replace(values: np.ndarray, hit: np.ndarray, replacement: np.generic) -> np.ndarray:
    """``replacement`` where ``hit`` (bool, broadcasts to ``values``), else the value; a new array of the same dtype."""
    hit = np.broadcast_to(hit, values.shape)
    split = values.ndim
    run = 1
    while split and hit.strides[split - 1] == run and (hit.shape[split - 1] > 1 or run == 1):
        split -= 1
        run *= values.shape[split]
    if run < _ROWS_WORTH or not values.flags.c_contiguous:
        return np.where(hit, replacement, values)
    out = np.empty_like(values)
    for where in np.ndindex(values.shape[:split]):
        _replace_run(values[where].reshape(-1), hit[where].reshape(-1), replacement, out[where].reshape(-1))
    return out


@vectorize(["f4(f4,f4)", "f8(f8,f8)"], cache=True)
def normalized_difference(a, b):
    """(a - b) / (a + b); NaN where the sum is 0 or either is NaN. A ufunc."""
    total = a + b
    return (a - b) / total if total != 0 else total - total + np.nan


@vectorize(["b1(f4)", "b1(f8)"], cache=True)
def is_set(v):
    """True where a mask's value is neither 0 nor NaN. A ufunc."""
    return (v == v) & (v != 0)


@vectorize(["f4(b1,b1)"], cache=True)
def flag(true, hole):
    """1 where true, 0 where not, NaN in holes. A ufunc."""
    return np.float32(np.nan) if hole else np.float32(1) if true else np.float32(0)


@vectorize(["f4(b1,f4,f4)", "f8(b1,f8,f8)"], cache=True)
def choose(true, accept, reject):
    """``accept`` where true, else ``reject``. A ufunc."""
    return accept if true else reject
