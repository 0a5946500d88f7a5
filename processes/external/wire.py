"""Values as JSON for services outside, and back.

Arrays and cubes are written as the datacubes of the openEO UDF data model: ``{"id", "data", "dimensions": [{"name",
"coordinates"}]}``, nested lists with null for nodata. The independent pixels of a callback's block are one dimension,
``pixels``, without coordinates. Everything else is the JSON it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.callback import LabeledArray
from processes.errors import ProcessError, parameter_invalid

PIXELS = "pixels"
ARRAY = "array"
MOST_VALUES = 4_000_000  # of one message: about 64 MB of JSON


def in_memory(data: Any) -> Any:
    """A cube with its values, which no process outside can ask for block by block; anything else as it is.

    Raises ``ProcessParameterInvalid`` for cubes too large for a message.
    """
    if not isinstance(data, xr.DataArray):
        return data
    _check_size(data.size)
    if cubes.dims_of(data, cubes.GEOMETRY):
        raise parameter_invalid("data", "a vector cube cannot be sent; send its values, or GeoJSON")
    return data.compute()


def _check_size(size: int) -> None:
    if size > MOST_VALUES:
        raise parameter_invalid(
            "data",
            f"{size:,} values are too many for one message (at most {MOST_VALUES:,}). Use the process as a callback of "
            "apply_neighborhood, apply_dimension or reduce_dimension: they send blocks.",
        )


def is_array(data: Any) -> bool:
    """Whether ``data`` travels as a datacube."""
    return isinstance(data, xr.DataArray | LabeledArray) or (isinstance(data, np.ndarray) and data.ndim > 0)


def datacube(data: Any) -> dict[str, Any]:
    """An array, block or cube in memory as a datacube."""
    if isinstance(data, xr.DataArray):
        dimensions = [{"name": str(d), "coordinates": cubes.plain_labels(data, str(d))} for d in data.dims]
        values = np.asarray(data.values)
        if (fill := data.attrs.get("nodata")) is not None and values.dtype.kind in "iu":
            values = np.where(values == fill, np.nan, values)
    else:
        labelled = isinstance(data, LabeledArray)
        block = np.asarray(data.values if isinstance(data, LabeledArray) else data)
        values = block.reshape(len(block), -1) if labelled else block.reshape(-1)
        dimensions = [{"name": PIXELS}]
        if isinstance(data, LabeledArray):
            labels = [_plain(v) for v in data.labels] if data.labels is not None else list(range(len(block)))
            dimensions.insert(0, {"name": data.dimension or ARRAY, "coordinates": labels})
    _check_size(values.size)
    return {"id": "data", "data": _listed(values), "dimensions": dimensions}


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return f"{value.astype('datetime64[s]')}Z"
    return value.item() if isinstance(value, np.generic) else value


def _listed(values: np.ndarray) -> Any:
    """Nested lists without what JSON does not know."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        held = values.astype(object)
        held[~np.isfinite(values)] = None
        return held.tolist()
    return values.tolist()


def from_datacube(document: Mapping[str, Any], sent: Any) -> Any:
    """What a service made of ``sent``, as the sort of value that was sent.

    Dimensions of the cube sent keep their types; a block's pixels take their shape again. Raises
    ``ProcessError('ExternalServiceFailed')`` for what is no array or has another number of pixels.
    """
    values = _values(document.get("data"))
    if isinstance(sent, xr.DataArray):
        return _cube(values, document.get("dimensions") or [], sent)
    block = np.asarray(sent.values if isinstance(sent, LabeledArray) else sent)
    pixels = block.shape[1:] if isinstance(sent, LabeledArray) else block.shape
    count = math.prod(pixels)
    if (values.size == count and values.shape[-1:] == (count,)) or values.shape == pixels:
        return values.reshape(pixels)
    if isinstance(sent, LabeledArray) and values.ndim >= 2 and math.prod(values.shape[1:]) == count:
        return values.reshape(len(values), *pixels)
    raise failed(f"it returned an array of shape {list(values.shape)} for {count} pixels")


def _values(data: Any) -> np.ndarray:
    try:
        return np.array(data, "f8")  # null becomes NaN
    except (TypeError, ValueError):
        raise failed("it did not return an array of numbers") from None


def _cube(values: np.ndarray, dimensions: Sequence[Mapping[str, Any]], sent: xr.DataArray) -> xr.DataArray:
    names = [str(d.get("name")) for d in dimensions]
    if len(names) != values.ndim:
        raise failed(f"it returned {values.ndim} dimensions and names {len(names)} of them")
    kinds, coords = cubes.kinds(sent), {}
    for name, dimension, size in zip(names, dimensions, values.shape):
        labels = dimension.get("coordinates")
        if labels is not None and len(labels) != size:
            raise failed(f"dimension '{name}' has {size} values and {len(labels)} labels")
        if name in kinds and labels in (None, cubes.plain_labels(sent, name)) and sent.sizes[name] == size:
            coords[name] = sent.coords[name].values if name in sent.coords else np.arange(size)
        else:
            coords[name] = _labels(labels if labels is not None else list(range(size)), kinds.get(name))
    made = cubes.cube(values.astype("f4"), names, coords, kinds={n: kinds[n] for n in names if n in kinds})
    return cubes.like(made, sent)


def _labels(labels: Sequence[Any], kind: str | None) -> Any:
    if kind == cubes.TEMPORAL:
        try:
            return np.array([str(v).removesuffix("Z") for v in labels], "datetime64[ns]")
        except ValueError:
            return np.array(labels, object)
    return np.array(labels, object) if any(isinstance(v, str) for v in labels) else np.asarray(labels)


def failed(reason: str) -> ProcessError:
    """The service outside did not do what was asked."""
    return ProcessError("ExternalServiceFailed", f"The service that was called failed: {reason}.")
