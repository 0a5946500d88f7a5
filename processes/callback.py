"""What a callback is to a process: any callable on numpy blocks.

A cube process calls ``callback(data=..., context=...)`` (or ``x=``, ``x=, y=``: the names its definition gives) with
numpy blocks and gets a numpy block back:

- an **array** parameter (``data`` of a reducer) is a `LabeledArray`: axis 0 of ``values`` is the array, the other
  axes are independent pixels; labels ride along.
- a **number** parameter (``x``) is a numpy block of any shape: every element is one number.
- NaN is nodata in float blocks; bool results are bool blocks (or float with NaN where undefined).
- anything else is passed as it is.

Plain Python functions serve as well: ``reduce_dimension(cube, lambda data, context=None: data.values.mean(0), "t")``.
Compiled process graphs (`backend.graph.callbacks.CompiledCallback`) add optional attributes, read by the functions below:
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True)
class LabeledArray:
    """A numpy block whose axis 0 is an openEO array with labels.

    Attributes
    ----------
    values : ndarray, shape (n, ...pixels)
    labels : list of n labels (str, number or numpy.datetime64) or None for an unlabelled array
    dimension : name of the dimension the array came from, if any
    """

    values: np.ndarray
    labels: list[Any] | None = None
    dimension: str | None = None

    def __len__(self) -> int:
        return len(self.values)


@runtime_checkable
class Callback(Protocol):
    """A callback as processes see it."""

    def __call__(self, **parameters: Any) -> Any: ...


def merge_of(callback: Any) -> tuple[str, dict[str, Any]] | None:
    """``(accumulator, options)`` if the callback is one mergeable reducer (``mean``, ``sum`` ...), else None."""
    return getattr(callback, "merge", None)


def labels_used(callback: Any) -> tuple[Any, ...] | None:
    """Labels of its array the callback looks at, or None for "all" (band math names its bands)."""
    return getattr(callback, "labels_used", None)


def is_pointwise(callback: Any) -> bool:
    """Whether a pixel's result is known to depend on nothing but that pixel's values: it may be looked up."""
    return bool(getattr(callback, "pointwise", False))
