"""Between cubes and callbacks: nodata as callbacks see it, what they return as blocks, and dtypes found by asking.

A callback sees NaN for nodata, so integer blocks with a fill value are decoded first. What a callback returns is not
declared anywhere: it is called once on one or two pixels while the graph is built.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.callback import LabeledArray
from processes.errors import ProcessError


def decoded_dtype(data: xr.DataArray) -> np.dtype:
    """dtype of `decode`'s result: float32 (float64 above 16 bits) for integers with a nodata value, else unchanged."""
    if data.attrs.get("nodata") is None or data.dtype.kind not in "iu":
        return data.dtype
    return np.dtype("f8" if data.dtype.itemsize > 2 else "f4")


def decode(block: np.ndarray, nodata: float | None) -> np.ndarray:
    """A block as callbacks want it: integers with a nodata value become float with NaN, all else is unchanged."""
    if nodata is None or block.dtype.kind not in "iu":
        return block
    if block.dtype.itemsize <= 2 and block.flags.c_contiguous and block.size:
        from processes.kernels.dn import decode_all  # one pass instead of three; numba only where it is needed

        out = np.empty(block.shape, "f4")
        decode_all(block.reshape(-1), *stored_nodata(nodata, block.dtype), out.reshape(-1))
        return out
    values = block.astype("f8" if block.dtype.itemsize > 2 else "f4")
    values[block == nodata] = np.nan
    return values


def stored_nodata(nodata: float | None, dtype: np.dtype) -> tuple[np.generic, bool]:
    """The nodata value in the type of the pixels, and whether a pixel can equal it at all."""
    if nodata is None or np.isnan(nodata):
        return dtype.type(0), False
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if nodata != int(nodata) or not limits.min <= nodata <= limits.max:
            return dtype.type(0), False
    return dtype.type(nodata), True


def answer(value: Any, shape: Sequence[int]) -> np.ndarray:
    """What a callback returned, as a block of ``shape`` (a single value stands for every pixel, None for NaN).

    Raises ``ProcessParameterInvalid`` where it is neither one value nor one per pixel.
    """
    value = getattr(value, "values", value)
    values = np.asarray(np.nan if value is None else value)
    if values.dtype == object:  # a list of numbers and None
        values = values.astype("f8")
    if values.shape == tuple(shape):
        return values
    try:
        return np.broadcast_to(values, tuple(shape))
    except ValueError:
        raise ProcessError(
            "ProcessParameterInvalid",
            f"The callback must return one value (for each pixel), but it returned an array of {values.size} values.",
        ) from None


def cube_answer(value: Any, dims: Sequence[Any], shape: Sequence[int]) -> np.ndarray:
    """What a callback returned for a cube with ``dims``. Raises ``DataCubePropertiesImmutable`` where it has another shape."""
    if isinstance(value, xr.DataArray) and set(value.dims) == set(dims):
        value = value.transpose(*dims)
    values = np.asarray(getattr(value, "values", value))
    if values.shape != tuple(shape):
        raise ProcessError(
            "DataCubePropertiesImmutable",
            f"The callback was given {tuple(shape)} cells along {list(dims)} and returned {values.shape}; "
            "dimensions and their sizes must stay.",
        )
    return values


def of_nothing(reducer: Callable[..., Any], data: xr.DataArray, dimension: str, context: Any) -> np.ndarray:
    """The reducer's value for an array without elements, as a 0-d array; NaN where it has none."""
    nothing = LabeledArray(np.empty((0, 1), decoded_dtype(data)), [], dimension)
    floating = np.float64 if decoded_dtype(data) == np.float64 else np.float32
    try:
        value = answer(_ask(reducer, nothing, context), (1,))[0]
    except MemoryError:
        raise
    except Exception:
        # A reducer that has no answer for nothing (the maximum of no values) means nodata. How it says so is its own
        # matter: user code raises what it likes, and a service wraps that.
        value = np.nan
    value = np.asarray(value)
    return value.astype(floating) if value.dtype.kind == "f" else value


def callback_dtype(callback: Callable[..., Any], data: xr.DataArray, dimension: str | None, context: Any) -> np.dtype:
    """dtype a callback returns, found by calling it on a pixel of ones and, for floats, one of NaN."""
    if dimension is None:
        return np.asarray(answer(callback(x=_probe(data, ()), context=context), (_pixels(data),))).dtype
    return array_dtype(callback, data, data.sizes[dimension], cubes.labels(data, dimension), dimension, context)


def reducer_dtype(callback: Callable[..., Any], data: xr.DataArray, length: int, context: Any) -> np.dtype:
    """dtype a reducer of unlabelled arrays of ``length`` values of the cube returns."""
    return array_dtype(callback, data, length, None, None, context)


def probe_array(callback: Callable[..., Any], data: xr.DataArray, dimension: str, context: Any) -> tuple[int, np.dtype]:
    """How many values, and of which dtype, a callback on arrays along ``dimension`` returns."""
    labels = cubes.labels(data, dimension)
    value = _ask(callback, LabeledArray(_probe(data, (len(labels),)), labels, dimension), context)
    values = np.asarray(getattr(value, "values", value))
    length = len(values) if values.ndim else 1
    return length, answer(value, values.shape).dtype


def _ask(callback: Callable[..., Any], array: LabeledArray, context: Any) -> Any:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return callback(data=array, context=context)


def array_dtype(
    callback: Callable[..., Any],
    data: xr.DataArray,
    length: int,
    labels: list[Any] | None,
    dimension: str | None,
    context: Any,
) -> np.dtype:
    # long arrays (whole images) are probed with few elements: the dtype does not depend on how many there are
    length = min(length, 64) if labels is None else length
    value = _ask(callback, LabeledArray(_probe(data, (length,)), labels, dimension), context)
    return answer(value, getattr(getattr(value, "values", value), "shape", ())).dtype


def _pixels(data: xr.DataArray) -> int:
    return 2 if decoded_dtype(data).kind == "f" else 1


def _probe(data: xr.DataArray, shape: tuple[int, ...]) -> np.ndarray:
    """Ones of the dtype a callback will see, and a NaN pixel beside: results that turn float where nodata is show."""
    sample = np.ones((*shape, _pixels(data)), decoded_dtype(data))
    if sample.dtype.kind == "f":
        sample[..., 1] = np.nan
    return sample
