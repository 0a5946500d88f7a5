"""Callbacks of several steps on a block, in pieces that stay in the processor's cache.

``(x - 0.3) / (x + 0.3)`` on a block of 80 MB makes three arrays of that size, each taken from the kernel, written to
memory and read back. On pieces of 2 MiB the same steps work in the cache, and only the result is written: about half
the time, for any callback whose pixels do not depend on one another. It is used where `worthwhile` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from processes.callback import is_pointwise
from processes.callback_graphs import elementary

# Elements of a piece, measured: of smaller ones threads wait for each other's calls, larger ones leave the cache.
ELEMENTS = 1 << 19


def worthwhile(callback: Any, elements: int) -> bool:
    """Whether a callback on a block of so many elements goes in pieces: not if numpy does it in one pass anyway."""
    return elements > ELEMENTS and is_pointwise(callback) and not elementary(callback)


def in_slabs(function: Callable[[tuple[Any, ...]], np.ndarray], shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Array of ``shape`` put together from ``function(place)``, the values for ``array[place]``, piece by piece."""
    out = np.empty(tuple(shape), dtype)
    for place in places(shape, ELEMENTS):
        out[place] = function(place)
    return out


def places(shape: Sequence[int], elements: int) -> Iterator[tuple[Any, ...]]:
    """Indices that cut an array into pieces of at most ``elements``, along its leading axes."""
    axis, run = len(shape), 1
    while axis and run * shape[axis - 1] <= elements:
        axis -= 1
        run *= shape[axis]
    if axis == 0:
        yield ()
        return
    step = max(1, elements // run)
    for lead in np.ndindex(*shape[: axis - 1]):
        for start in range(0, shape[axis - 1], step):
            yield (*lead, slice(start, start + step))
