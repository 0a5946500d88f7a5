"""`apply_kernel`: a weighted sum over the neighbours of each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.blocks import map_blocks
from processes.demand import EVERYTHING, Demand
from processes.errors import ProcessError, parameter_invalid
from processes.halo import map_halo
from processes.kernels.focal import correlate
from processes.probe import decode
from processes.registry import process

# openEO's borders as numpy.pad has them
_BORDERS = {"replicate": "edge", "reflect": "symmetric", "reflect_pixel": "reflect", "wrap": "wrap"}


def apply_kernel_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """Half a kernel more around the area. Wrapping looks at the opposite side: a barrier."""
    kernel = args.get("kernel")
    if args.get("border") == "wrap" or not isinstance(kernel, list) or not all(isinstance(r, list) for r in kernel):
        return {"data": EVERYTHING}
    reach = max(len(kernel), *(len(r) for r in kernel)) // 2 if kernel else 0
    # weights are for these pixels: of an overview they would make another filter
    return {"data": demand.with_(geometries=None, buffer=demand.buffer + reach, view=None)}


@process(demand=apply_kernel_demand)
def apply_kernel(
    data: xr.DataArray,
    kernel: Sequence[Sequence[float]],
    factor: float = 1,
    border: str | float = 0,
    replace_invalid: float = 0,
) -> xr.DataArray:
    """Each pixel becomes ``factor`` times the sum of kernel weight x pixel, for the pixels under the kernel.

    The kernel is not flipped: its first row lies on the row above (north), its first column on the column to the
    left. Nodata, NaN and infinite values count as ``replace_invalid``. Sums are kept in float64; the result is float32
    (float64 for 64-bit or 32-bit integer input). Raises ``KernelDimensionsUneven``, ``DimensionMissing``.
    """
    weights = _weights(kernel)
    if isinstance(border, str) and border not in _BORDERS:
        raise parameter_invalid("border", f"'{border}' is neither a number nor one of {', '.join(_BORDERS)}")
    y, x = cubes.spatial_dims(data)
    reach = (weights.shape[0] // 2, weights.shape[1] // 2)
    nodata = data.attrs.get("nodata")
    wide = data.dtype == np.float64 or (data.dtype.kind in "iu" and data.dtype.itemsize > 2)
    dtype = np.dtype("f8" if wide else "f4")

    def convolve(block: np.ndarray) -> np.ndarray:
        values = decode(block, nodata)
        values = np.ascontiguousarray(values if values.dtype.kind == "f" else values.astype("f8"))
        grown = values.reshape(-1, *values.shape[-2:])
        rows, cols = grown.shape[1] - 2 * reach[0], grown.shape[2] - 2 * reach[1]
        out = np.empty((len(grown), rows, cols), dtype)
        correlate(grown, weights, float(factor), float(replace_invalid), out)
        return out.reshape(*block.shape[:-2], rows, cols)

    # a fill value of an integer cube must not become the border: the border is a number of its own
    mode: str | float = _BORDERS[border] if isinstance(border, str) else border
    source = data if isinstance(mode, str) else _holds(data, mode)
    result = map_halo(convolve, source, (y, x), reach, border=mode, dtype=dtype)
    result.attrs.pop("nodata", None)
    return result


def _weights(kernel: Sequence[Sequence[float]]) -> np.ndarray:
    try:
        weights = np.array(kernel, dtype="f8")
    except (TypeError, ValueError):
        raise parameter_invalid("kernel", "it must be a list of lists of numbers, all of one length") from None
    if weights.ndim != 2 or not weights.size:
        raise parameter_invalid("kernel", "it must be a list of lists of numbers, all of one length")
    if weights.shape[0] % 2 == 0 or weights.shape[1] % 2 == 0:
        raise ProcessError(
            "KernelDimensionsUneven",
            f"The kernel has {weights.shape[0]} rows and {weights.shape[1]} columns; both numbers must be odd.",
        )
    return weights


def _holds(data: xr.DataArray, border: float) -> xr.DataArray:
    """The cube in a dtype that holds the border's number beside its own values."""
    if data.dtype.kind == "f":
        return data
    nodata = data.attrs.get("nodata")
    if float(border).is_integer() and border != nodata and data.dtype.kind != "b":
        limits = np.iinfo(data.dtype)
        if limits.min <= border <= limits.max:
            return data
    out = map_blocks(lambda block: decode(block, nodata).astype("f8"), data, dtype="f8")
    out.attrs.pop("nodata", None)
    return out
