"""`ndvi`: the normalised difference vegetation index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.along import map_along
from processes.blocks import map_blocks
from processes.demand import Demand
from processes.errors import ProcessError
from processes.probe import decode, decoded_dtype
from processes.registry import process


def ndvi_demand(args: Mapping[str, Any], demand: Demand) -> dict[str, Demand]:
    """The two bands, by name or common name; loads know both."""
    names = (args.get("nir") or "nir", args.get("red") or "red")
    if args.get("target_band") is not None or not all(isinstance(n, str) for n in names):
        return {"data": demand.with_(bands=None)}
    return {"data": demand.with_(bands=names)}


@process(demand=ndvi_demand)
def ndvi(data: xr.DataArray, nir: str = "nir", red: str = "red", target_band: str | None = None) -> xr.DataArray:
    """(nir - red) / (nir + red) of Rouse et al. 1974, float32; NaN where a band is nodata or the sum is zero.

    Replaces the band dimension, or adds the band ``target_band`` to it. Raises ``DimensionAmbiguous``,
    ``NirBandAmbiguous``, ``RedBandAmbiguous``, ``BandExists``.
    """
    names = cubes.dims_of(data, cubes.BANDS)
    if len(names) != 1:
        raise ProcessError("DimensionAmbiguous", f"The cube has {len(names)} band dimensions; ndvi needs exactly one.")
    (dimension,) = names
    present = cubes.labels(data, dimension)
    high = _band(data, nir or "nir", present, "Nir")
    low = _band(data, red or "red", present, "Red")
    if target_band is not None and target_band in present:
        raise ProcessError("BandExists", f"The cube has a band '{target_band}' already.")
    nodata = data.attrs.get("nodata")
    dtype = np.result_type(np.float32, decoded_dtype(data))  # integers above 16 bits: float64
    rows = (present.index(high), present.index(low))
    if target_band is not None:

        def with_index(block: np.ndarray) -> np.ndarray:
            values = decode(block, nodata).astype(dtype, copy=False)
            return np.concatenate([values, _index(values[rows[0]], values[rows[1]])[None]])

        result = map_along(with_index, data, dimension, [*present, target_band], cubes.BANDS, dtype)
    else:

        def index(block: np.ndarray) -> np.ndarray:
            # bands are picked inside the block: indexing the cube would keep the steps around it from fusing
            nir, red = (decode(block[i], nodata).astype(dtype, copy=False) for i in rows)
            return _index(nir, red)

        result = map_blocks(index, data, core=[dimension], dtype=dtype)
        result.attrs.pop("band_info", None)
    result.attrs.pop("nodata", None)
    return result


def _index(nir: np.ndarray, red: np.ndarray) -> np.ndarray:
    from processes.kernels.elementwise import normalized_difference

    with np.errstate(invalid="ignore"):
        return normalized_difference(nir, red)


def _band(data: xr.DataArray, name: str, present: list[Any], which: str) -> Any:
    """The band meant by a name or a common name; a name that exists wins."""
    if name in present:
        return name
    found = cubes.bands_named(data, name)
    if len(found) != 1:
        several = (
            f"several bands have the common name '{name}' ({', '.join(found)})" if found else f"no band is '{name}'"
        )
        raise ProcessError(
            f"{which}BandAmbiguous",
            f"The {which.lower()} band is not clear: {several}. Name it in '{which.lower()}'; bands are {present}.",
        )
    return found[0]
