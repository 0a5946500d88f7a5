"""A cube as raster files see it: some leading dimensions, then y and x, north-up, in a dtype files can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from backend.results.describe import text
from backend.results.format import unsuitable
from backend.results.tiles import Overview
from processes import cube as cubes

CLASSES = ("class", "mask")


@dataclass(frozen=True)
class Raster:
    """A cube ready for a raster format.

    Attributes
    ----------
    cube : dims: any of ``time`` and ``band`` (in any order), then y, x; north-up
    time, band, y, x : names of the dimensions; the first two may be None
    nodata : fill value of the files; NaN for floats, None where there is none
    """

    cube: xr.DataArray
    time: str | None
    band: str | None
    y: str
    x: str
    nodata: float | None

    @property
    def height(self) -> int:
        return int(self.cube.sizes[self.y])

    @property
    def width(self) -> int:
        return int(self.cube.sizes[self.x])

    @property
    def times(self) -> list[Any] | None:
        return None if self.time is None else cubes.labels(self.cube, self.time)

    @property
    def bands(self) -> list[str] | None:
        return None if self.band is None else [text(v) for v in cubes.labels(self.cube, self.band)]

    def planes(self, where: tuple[slice, ...], block: np.ndarray) -> Iterator[tuple[int, int, int, int, np.ndarray]]:
        """The planes of a block: ``(time index, band index, first row, first column, pixels)``."""
        lead = [str(d) for d in self.cube.dims[:-2]]
        for index in np.ndindex(*block.shape[:-2]):
            at = {d: where[n].start + i for n, (d, i) in enumerate(zip(lead, index))}
            yield at.get(self.time or "", 0), at.get(self.band or "", 0), where[-2].start, where[-1].start, block[index]


def raster(data: Any, format_name: str) -> Raster:
    """``data`` as a `Raster`. Raises ``FormatUnsuitable``, saying why and what to use."""
    if not isinstance(data, xr.DataArray):
        raise unsuitable(format_name, "it is not a raster cube. Save it as JSON, GeoJSON, CSV or Parquet.")
    y, x = cubes.dim_of(data, cubes.Y), cubes.dim_of(data, cubes.X)
    if y is None or x is None:
        raise unsuitable(format_name, "the cube has no x and y dimension. Save it as netCDF, CSV or JSON.")
    if not data.size:
        raise unsuitable(format_name, "the cube is empty: it has no pixels or no labels along a dimension.")
    time, band = cubes.dim_of(data, cubes.TEMPORAL), cubes.dim_of(data, cubes.BANDS)
    others = [str(d) for d in data.dims if d not in (y, x, time, band)]
    for name in others:
        if data.sizes[name] != 1:
            raise unsuitable(
                format_name,
                f"the cube has a further dimension '{name}' with {data.sizes[name]} labels. "
                "Reduce or drop it, or save the cube as netCDF or Zarr.",
            )
    kept = cubes.like(data.isel(dict.fromkeys(others, 0), drop=True), data) if others else data
    kept = storable(upright(kept, y, x), format_name)
    return Raster(kept, time, band, y, x, fill(kept))


def upright(data: xr.DataArray, y: str, x: str) -> xr.DataArray:
    """The same cube north-up, rows and columns last."""
    turned = cubes.north_up(data, y, x)
    return cubes.like(turned.transpose(..., y, x), turned)


def storable(data: xr.DataArray, format_name: str) -> xr.DataArray:
    """The cube in a dtype that files hold: bool becomes uint8, float16 float32. Raises ``FormatUnsuitable``."""
    kind, size = data.dtype.kind, data.dtype.itemsize
    if kind == "b":
        return cubes.like(data.astype("u1"), data)
    if kind == "f" and size not in (4, 8):
        return cubes.like(data.astype("f4" if size == 2 else "f8"), data)
    if kind not in "iuf":
        raise unsuitable(format_name, f"its values are not numbers ({data.dtype}). Save it as JSON or CSV.")
    return data


def fill(data: xr.DataArray) -> float | None:
    """Nodata value of a file: NaN for floats, the cube's own for integers, else None."""
    if data.dtype.kind == "f":
        return float("nan")
    nodata = data.attrs.get("nodata")
    if nodata is None or nodata != nodata:
        return None
    info = np.iinfo(data.dtype)
    return int(nodata) if info.min <= nodata <= info.max else None


def overview_of(data: xr.DataArray, wanted: str) -> Overview | None:
    """How overviews are made: ``auto`` takes the mode of classes, masks and integers, the average of the rest."""
    if wanted == "none":
        return None
    if wanted in ("average", "mode", "nearest"):
        return wanted  # type: ignore[return-value]
    info: Mapping[str, Mapping[str, Any]] = data.attrs.get("band_info", {})
    kinds = {v.get("kind", v.get("tuile:kind")) for v in info.values()}
    return "mode" if data.dtype.kind in "iu" or kinds & set(CLASSES) else "average"
