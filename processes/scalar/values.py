"""How single values and blocks are treated: nodata, types, arrays. Every process of this package follows it.

**Single values** are Python values. ``None`` is nodata, NaN is an ordinary value (IEEE 754), integers stay exact,
comparisons and logic give booleans or ``None``.

**Blocks** are numpy arrays: every element is a pixel's value.

- NaN is nodata; integer and boolean blocks have none (a fill value is turned into NaN before callbacks see it).
- Arithmetic gives float32; float64 where a block is float64 or an integer of more than 16 bits. Integers are turned
  into floats *before* the operation, so nothing wraps around.
- Comparisons and logic give a boolean block where no element is undefined, otherwise a float32 block of 1, 0 and NaN.
  Logic takes either. (A block cannot tell 1 from true, so a comparison of a block with true compares with 1.)
- A single value beside a block stands for every pixel; ``None`` there is NaN.

**Arrays** are Python lists, `LabeledArray`, or numpy blocks whose axis 0 is the array. A list that holds blocks
(``[B04, B08]``) is stacked along a new axis 0. A `LabeledArray` of dtype object holds single values with labels.
Where elements would have to be removed per pixel, NaN fills the end instead: all pixels of a block keep one length.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from processes.callback import LabeledArray
from processes.errors import parameter_invalid

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def is_block(value: Any) -> bool:
    """Whether a value is a block of pixels (not a 0-d array, not an array of Python objects)."""
    return isinstance(value, np.ndarray) and value.ndim > 0 and value.dtype != object


def plain(value: Any) -> Any:
    """numpy scalars as Python values; an instant as RFC 3339 text in UTC."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value.astype("M8[us]")).removesuffix(".000000") + "Z"
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def float_dtype(dtype: Any) -> np.dtype:
    """dtype of arithmetic on a block: float64 for float64 and integers above 16 bits, else float32."""
    dtype = np.dtype(dtype)
    wide = dtype == np.float64 or (dtype.kind in "iu" and dtype.itemsize > 2)
    return np.dtype("f8" if wide else "f4")


def floating(block: np.ndarray) -> np.ndarray:
    """A block as floats; itself where it is float already."""
    return block.astype(float_dtype(block.dtype), copy=False)


def operand(value: Any, name: str = "x") -> Any:
    """One side of an operation on blocks: a float block, or a Python number for all pixels."""
    if is_block(value):
        return floating(value)
    value = plain(value)
    return math.nan if value is None else number(value, name)


def number(value: Any, name: str) -> Any:
    """The value if it is a number. Raises ``ProcessParameterInvalid``."""
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, LabeledArray | list | tuple):
        raise parameter_invalid(name, "expected a number, got an array; use array_apply to work on each element.")
    raise parameter_invalid(name, f"expected a number, got {value!r}.")


def elementwise(on_numbers: Callable[..., Any], on_blocks: Callable[..., np.ndarray], names: str, *values: Any) -> Any:
    """Call ``on_blocks`` if any value is a block (floats, NaN for None), else ``on_numbers``; None if one is nodata."""
    if any(is_block(v) for v in values):
        with np.errstate(all="ignore"):
            return on_blocks(*(operand(v, n) for v, n in zip(values, names.split())))
    single = [plain(v) for v in values]
    if any(v is None for v in single):
        return None
    with np.errstate(all="ignore"):
        return plain(on_numbers(*(number(v, n) for v, n in zip(single, names.split()))))


def undefined(*values: Any) -> np.ndarray | None:
    """Where an operand of a block operation is nodata; None where nothing is."""
    found = None
    for value in values:
        if is_block(value):
            holes = np.isnan(value) if value.dtype.kind == "f" else None
        else:
            holes = np.True_ if value is None else None  # type: ignore[assignment]
        if holes is not None and holes.any():
            found = holes if found is None else found | holes
    return found


def flags(true: np.ndarray, holes: np.ndarray | None) -> np.ndarray:
    """A logical block: boolean, or float32 with NaN in ``holes``."""
    if holes is None or not holes.any():
        return true
    from processes.kernels.elementwise import flag  # numba only where it is needed

    return np.asarray(flag(true, holes))


# arrays


def elements(data: Any, name: str = "data") -> tuple[np.ndarray | list[Any], list[Any] | None]:
    """The elements of an array and its labels.

    Returns
    -------
    values
        A block whose axis 0 is the array, or a list of single values.
    labels
        The labels, or None for an array without.
    """
    if isinstance(data, LabeledArray):
        if data.values.dtype == object:
            return list(data.values), data.labels
        return (data.values if data.values.ndim > 1 else [plain(v) for v in data.values]), data.labels
    if isinstance(data, np.ndarray):
        return (data if data.ndim > 1 else [plain(v) for v in data]), None
    if not isinstance(data, (list, tuple)):
        raise parameter_invalid(name, f"expected an array, got {data!r}.")
    if any(is_block(v) for v in data):
        return stack(data), None
    return [plain(v) for v in data], None


def stack(values: Sequence[Any]) -> np.ndarray:
    """Blocks and single values as one block with a new axis 0; None becomes NaN. dtypes alike are kept."""
    parts = [v if is_block(v) else plain(v) for v in values]
    dtypes = {v.dtype for v in parts if is_block(v)}
    shape = np.broadcast_shapes(*(v.shape for v in parts if is_block(v)))
    if len(dtypes) == 1 and all(is_block(v) for v in parts):
        dtype = dtypes.pop()
    else:
        dtype = np.result_type(*(float_dtype(d) for d in dtypes))
    out = np.empty((len(parts), *shape), dtype)
    for row, part in zip(out, parts):
        row[...] = part if is_block(part) else operand(part, "data")
    return out


def array(values: Any, labels: Sequence[Any] | None = None, dimension: str | None = None) -> Any:
    """An array as processes return it: a list, or a `LabeledArray` where there are labels or the values are a block."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return LabeledArray(values, None if labels is None else list(labels), dimension)
    if labels is None:
        return list(values)
    held = np.empty(len(values), object)
    held[:] = list(values)
    return LabeledArray(held, list(labels))


def gathered(values: Sequence[Any], labels: Sequence[Any] | None = None, dimension: str | None = None) -> Any:
    """`array` of values that may be blocks."""
    return array(stack(values) if any(is_block(v) for v in values) else [plain(v) for v in values], labels, dimension)


def positions(labels: Sequence[Any] | None, count: int) -> np.ndarray:
    """Labels as float64 positions on an axis: numbers as they are, dates in seconds since 1970, else 0, 1, 2 ...

    Dates may be ``datetime64`` or RFC 3339 texts; mixed or other texts have no natural distance.
    """
    if labels is None or len(labels) != count or not count:
        return np.arange(count, dtype="f8")
    if all(isinstance(v, np.datetime64) for v in labels):
        return np.array(labels, "M8[ns]").astype("i8") / 1e9
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in labels):
        return np.array(labels, "f8")
    instants = [instant(v) if isinstance(v, str) else None for v in labels]
    if all(i is not None for i in instants):
        return np.array([i.timestamp() for i in instants if i is not None], "f8")
    return np.arange(count, dtype="f8")


def same_label(a: Any, b: Any) -> bool:
    """Whether two labels are one: equal, or texts and ``datetime64`` of one instant."""
    if isinstance(a, np.datetime64) or isinstance(b, np.datetime64):
        first, second = instant(plain(a)), instant(plain(b))
        return first is not None and first == second
    a, b = plain(a), plain(b)
    if isinstance(a, str) != isinstance(b, str):
        return False
    return bool(a == b)


def instant(text: Any) -> dt.datetime | None:
    """The instant a text stands for, with time zone (UTC where it names none); None for other texts."""
    if not isinstance(text, str) or not DATE.match(text):
        return None
    try:
        moment = dt.datetime.fromisoformat(text.replace(":60", ":59") if text[17:19] == "60" else text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
