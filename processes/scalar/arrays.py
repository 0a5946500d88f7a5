"""Arrays: create, pick, find, change; callbacks on each element; gap filling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from processes.callback import LabeledArray
from processes.errors import ProcessError, parameter_invalid
from processes.registry import process
from processes.scalar.comparison import eq, equal
from processes.scalar.statistics import flat
from processes.scalar.values import (
    array,
    elements,
    float_dtype,
    gathered,
    is_block,
    number,
    plain,
    positions,
    same_label,
)

MOST_ELEMENTS = 1_000_000  # of an array written in a graph: they are Python objects, for each pixel in a callback


@process()
def array_create(data: Any = (), repeat: int = 1) -> Any:
    """An array of the elements of ``data``, ``repeat`` times over."""
    if repeat < 1:
        raise parameter_invalid("repeat", f"expected at least 1, got {repeat}.")
    values, _ = elements(data)
    if len(values) * int(repeat) > MOST_ELEMENTS:
        raise parameter_invalid("repeat", f"the array would have more than {MOST_ELEMENTS:,} elements.")
    return gathered(list(values) * int(repeat))


@process()
def array_create_labeled(data: Any, labels: Any) -> Any:
    """An array with labels. Raises ``ArrayLengthMismatch``."""
    values, _ = elements(data)
    names, _ = elements(labels, "labels")
    if len(values) != len(names):
        raise ProcessError("ArrayLengthMismatch", f"There are {len(values)} values but {len(names)} labels.")
    return array(values, list(names))


@process()
def array_labels(data: Any) -> list[Any]:
    """Labels of an array, or 0, 1, 2 ..."""
    values, labels = elements(data)
    return list(range(len(values))) if labels is None else [plain(v) for v in labels]


def _place(labels: list[Any], label: Any) -> int | None:
    return next((i for i, known in enumerate(labels) if same_label(known, label)), None)


@process()
def array_element(data: Any, index: int | None = None, label: Any = None, return_nodata: bool = False) -> Any:
    """The element with an index or a label.

    Raises
    ------
    ProcessError
        ``ArrayElementParameterMissing``, ``ArrayElementParameterConflict``, ``ArrayNotLabeled``,
        ``ArrayElementNotAvailable``.
    """
    if index is None and label is None:
        raise ProcessError("ArrayElementParameterMissing", "Give the index or the label of the element.")
    if index is not None and label is not None:
        raise ProcessError("ArrayElementParameterConflict", "Give either the index or the label, not both.")
    values, labels = elements(data)
    if index is not None:
        place = int(index) if 0 <= index < len(values) else None
    elif labels is None:
        raise ProcessError("ArrayNotLabeled", f"The array has no labels, so '{label}' finds nothing; use the index.")
    else:
        place = _place(labels, label)
    if place is not None:
        return values[place]
    if not return_nodata:
        known = f"labels {[plain(v) for v in labels]}" if labels and label is not None else f"{len(values)} elements"
        wanted = f"index {index}" if label is None else f"label {label!r}"
        raise ProcessError("ArrayElementNotAvailable", f"There is no element with {wanted}; the array has {known}.")
    return np.full(values.shape[1:], np.nan, float_dtype(values.dtype)) if isinstance(values, np.ndarray) else None


@process()
def array_append(data: Any, value: Any, label: Any = None) -> Any:
    """The array with one more element. Raises ``LabelExists``, ``ArrayNotLabeled``."""
    values, labels = elements(data)
    if labels is None:
        if label is not None:
            raise ProcessError("ArrayNotLabeled", f"The array has no labels, so none can be added ('{label}').")
        return gathered([*values, value])
    name = len(values) if label is None else label
    if _place(labels, name) is not None:
        raise ProcessError("LabelExists", f"The label '{name}' is in use already.")
    return gathered([*values, value], [*labels, name], getattr(data, "dimension", None))


def _joined(first: list[Any] | None, second: list[Any] | None) -> list[Any] | None:
    """Labels of two arrays one behind the other; None unless both have labels. Raises ``ArrayLabelConflict``."""
    if first is None or second is None:
        return None
    if twice := [plain(v) for v in second if _place(first, v) is not None]:
        raise ProcessError("ArrayLabelConflict", f"Both arrays use the labels {twice}.")
    return [*first, *second]


def _array(value: Any, beside: Any) -> Any:
    """``value`` as an array: a number, which in a callback is a block of the pixels ``beside`` has, as its only element.

    The definition asks for arrays, but clients append a computed number this way too.
    """
    single = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if is_block(value) and isinstance(beside, (LabeledArray, list, tuple)):
        others = elements(beside)[0]
        single = isinstance(others, np.ndarray) and others.shape[1:] == value.shape
    return [value] if single else value


@process()
def array_concat(array1: Any, array2: Any) -> Any:
    """The second array behind the first; a number counts as an array of one. Raises ``ArrayLabelConflict``."""
    array1, array2 = _array(array1, array2), _array(array2, array1)
    first, labels1 = elements(array1, "array1")
    second, labels2 = elements(array2, "array2")
    return gathered([*first, *second], _joined(labels1, labels2))


@process()
def array_modify(data: Any, values: Any, index: int, length: int = 0) -> Any:
    """``length`` elements from ``index`` on replaced by ``values``.

    Labels survive where both arrays have them or one of them is empty.

    Raises
    ------
    ProcessError
        ``ArrayElementNotAvailable``, ``ArrayLabelConflict``.
    """
    old, labels = elements(data)
    new, new_labels = elements(values, "values")
    if index < 0 or length < 0:
        raise parameter_invalid("index" if index < 0 else "length", "expected no negative number.")
    if index > len(old):
        raise ProcessError("ArrayElementNotAvailable", f"Index {index} lies behind the end of {len(old)} elements.")
    if not len(new) and new_labels is None:
        new_labels = []
    if not len(old) and labels is None:
        labels = []
    end = index + length
    names = None
    if labels is not None and new_labels is not None and (len(labels) or len(new_labels)):
        kept = [*labels[:index], *labels[end:]]
        _joined(kept, new_labels)
        names = [*labels[:index], *new_labels, *labels[end:]]
    return gathered([*old[:index], *new, *old[end:]], names)


@process()
def array_contains(data: Any, value: Any) -> Any:
    """Whether an element equals ``value`` (as `eq` has it)."""
    values, _ = elements(data)
    if isinstance(values, np.ndarray) or is_block(value):
        matches = np.zeros(np.shape(values[0]) if len(values) else (1,), bool)
        for element in values:
            matches = matches | (np.asarray(eq(element, value)) == 1)
        return matches
    return any(_matches(element, value) for element in values)


def _matches(element: Any, value: Any) -> bool:
    return element is not None and value is not None and equal(element, value)


@process()
def array_find(data: Any, value: Any, reverse: bool = False) -> Any:
    """Index of the first (or last) element that equals ``value``; nodata without a match."""
    values, _ = elements(data)
    places = range(len(values) - 1, -1, -1) if reverse else range(len(values))
    if not isinstance(values, np.ndarray) and not is_block(value):
        return next((i for i in places if _matches(values[i], value)), None)
    shape = np.broadcast_shapes(np.shape(value), np.shape(values[0]) if len(values) else ())
    found = np.full(shape, np.nan, "f4")
    for i in places:
        match = np.broadcast_to(np.asarray(eq(values[i], value)) == 1, shape)
        np.copyto(found, np.float32(i), where=match & np.isnan(found))
    return found


@process()
def array_find_label(data: Any, label: Any) -> int | None:
    """Index of the element with a label; nodata without one."""
    _, labels = elements(data)
    return None if labels is None else _place(labels, label)


def _each(data: Any, callback: Callable[..., Any], context: Any) -> tuple[Any, list[Any] | None, list[Any]]:
    """Elements, labels and what the callback says of each."""
    values, labels = elements(data)
    names = [None] * len(values) if labels is None else [plain(v) for v in labels]
    answers = [callback(x=v, index=i, label=names[i], context=context) for i, v in enumerate(values)]
    return values, labels, answers


@process()
def array_apply(data: Any, process: Callable[..., Any], context: Any = None) -> Any:
    """``process(x=, index=, label=, context=)`` of each element; labels stay."""
    _, labels, answers = _each(data, process, context)
    return gathered(answers, labels, getattr(data, "dimension", None))


@process()
def array_filter(data: Any, condition: Callable[..., Any], context: Any = None) -> Any:
    """Elements that ``condition(x=, index=, label=, context=)`` is true for.

    A condition on indices or labels shortens the array. One on the values of a block decides per pixel, where all
    pixels must keep one length: elements that are left out become nodata.
    """
    values, labels, answers = _each(data, condition, context)
    if any(is_block(a) for a in answers):
        kept = [
            np.where(np.asarray(a) == 1, v, np.nan).astype(float_dtype(np.asarray(v).dtype), copy=False)
            for v, a in zip(values, answers)
        ]
        return gathered(kept, labels, getattr(data, "dimension", None))
    keep = [i for i, a in enumerate(answers) if plain(a) is True]
    names = None if labels is None else [labels[i] for i in keep]
    chosen = values[keep] if isinstance(values, np.ndarray) else [values[i] for i in keep]
    return array(chosen, names, getattr(data, "dimension", None))


def _edge(data: Any, ignore_nodata: bool, step: int) -> Any:
    values, _ = elements(data)
    if not isinstance(values, np.ndarray):
        found = (v for v in values[::step] if v is not None or not ignore_nodata)
        return next(found, None)
    if not len(values):
        return np.full(values.shape[1:], np.nan, float_dtype(values.dtype))
    if values.dtype.kind != "f" or not ignore_nodata:
        return values[0 if step > 0 else -1]
    from processes.kernels import order

    return order.pick(flat(values), step).reshape(values.shape[1:])


@process(merge="first")
def first(data: Any, ignore_nodata: bool = True) -> Any:
    """First element that is not nodata (or the first one at all)."""
    return _edge(data, ignore_nodata, 1)


@process(merge="last")
def last(data: Any, ignore_nodata: bool = True) -> Any:
    """Last element that is not nodata (or the last one at all)."""
    return _edge(data, ignore_nodata, -1)


@process()
def array_interpolate_linear(data: Any) -> Any:
    """Nodata and NaN between two numbers replaced by lines over the labels (numbers, dates) or indices."""
    from processes.kernels import order

    values, labels = elements(data)
    x = positions(labels, len(values))
    if isinstance(values, np.ndarray):
        filled = order.interpolate(flat(values), x).reshape(values.shape) if len(values) else values
        return array(filled, labels, getattr(data, "dimension", None))
    column = np.array([math.nan if v is None else number(v, "data") for v in values], "f8").reshape(-1, 1)
    filled = order.interpolate(column, x)[:, 0].tolist() if values else []
    # numbers keep their type, gaps at either end stay what they were
    return array([v if new != new or v == new else new for v, new in zip(values, filled)], labels)
