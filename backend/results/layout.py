"""A cube as CF variables: what netCDF and Zarr files have in common.

One variable per band (``var`` for a cube without bands), coordinates after CF-1.8, and the CRS in a variable ``crs``
that is no coordinate: readers that build a cube from the file then see bands and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from backend.results.describe import text
from backend.results.format import unsuitable
from backend.results.raster import fill, storable, upright
from backend.results.tiles import Statistics, Store, Tiles
from processes import cube as cubes

CRS = "crs"
TILE = 512


@dataclass(frozen=True)
class Coordinate:
    """A one-dimensional variable: its name is its dimension's."""

    name: str
    values: np.ndarray
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """Variables of a file for one cube.

    Attributes
    ----------
    cube : the cube as pulled: north-up, spatial dimensions last, in a dtype files hold
    band : its band dimension, None without
    names : names of the data variables, in band order
    dims : dimensions of each data variable
    shape, chunks : of each data variable
    fill : fill value, None without
    attrs : attributes of each data variable
    """

    cube: xr.DataArray
    band: str | None
    names: list[str]
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    fill: float | None
    attrs: list[dict[str, Any]]
    coordinates: list[Coordinate]
    crs: dict[str, Any] | None
    tiled: bool

    def parts(self, where: tuple[slice, ...], block: np.ndarray) -> Iterator[tuple[int, tuple[int, ...], np.ndarray]]:
        """A block in pieces of one data variable: ``(band index, start per dimension, values)``."""
        start = tuple(s.start for s in where)
        if self.band is None:
            yield 0, start, block
            return
        axis = self.cube.get_axis_num(self.band)
        for n in range(block.shape[axis]):
            yield start[axis] + n, start[:axis] + start[axis + 1 :], np.take(block, n, axis=axis)


class Chunker:
    """Cuts the pieces of a layout into whole chunks, in any order and from any thread."""

    def __init__(self, layout: Layout, store: Store):
        self.layout, self.store = layout, store
        self.statistics = [Statistics() for _ in layout.names]
        if layout.tiled:
            self._tiles = Tiles(layout.shape[-2], layout.shape[-1], layout.chunks[-2:], layout.cube.dtype, store)

    def put(self, where: tuple[slice, ...], block: np.ndarray) -> Iterator[tuple[int, tuple[int, ...], np.ndarray]]:
        """Yields ``(variable index, start per dimension, values)`` of every chunk that is whole by this block (of the
        block as it is, where the variable is not tiled)."""
        for variable, start, values in self.layout.parts(where, block):
            if not self.layout.tiled:
                flat = np.atleast_2d(values.reshape(values.shape[0] if values.ndim else 1, -1))
                self.statistics[variable].add(np.ascontiguousarray(flat), self.layout.fill)
                yield variable, start, values
                continue
            for index in np.ndindex(*values.shape[:-2]):
                plane = tuple(s + i for s, i in zip(start, index))
                for ty, tx, part in self._tiles.put((variable, plane), start[-2], start[-1], values[index]):
                    tile = np.ascontiguousarray(part)
                    self.statistics[variable].add(tile, self.layout.fill)
                    yield variable, (*plane, ty * self._tiles.tile[0], tx * self._tiles.tile[1]), tile


def layout(data: Any, format_name: str) -> Layout:
    """The layout for a cube. Raises ``FormatUnsuitable``."""
    if not isinstance(data, xr.DataArray):
        raise unsuitable(format_name, "it is not a cube. Save it as JSON.")
    if cubes.dim_of(data, cubes.GEOMETRY) is not None:
        raise unsuitable(format_name, "it is a vector cube. Save it as GeoJSON, Parquet or CSV.")
    if not data.size:
        raise unsuitable(format_name, "the cube is empty: it has no pixels or no labels along a dimension.")
    y, x, band = (cubes.dim_of(data, kind) for kind in (cubes.Y, cubes.X, cubes.BANDS))
    kept = storable(data, format_name)
    if y is not None and x is not None:
        kept = upright(kept, y, x)
    dims = tuple(str(d) for d in kept.dims if d != band)
    shape = tuple(int(kept.sizes[d]) for d in dims)
    tiled = y is not None and x is not None
    chunks = (*(1 for _ in dims[:-2]), *(min(TILE, n) for n in shape[-2:])) if tiled else shape
    crs = _crs(kept)
    labels = [text(v) for v in cubes.labels(kept, band)] if band is not None else ["var"]
    return Layout(
        cube=kept,
        band=band,
        names=variable_names(labels, {*dims, CRS}),
        dims=dims,
        shape=shape,
        chunks=chunks,
        fill=fill(kept),
        attrs=[_attributes(kept, name if band is not None else None, crs is not None) for name in labels],
        coordinates=[_coordinate(kept, d) for d in dims],
        crs=crs,
        tiled=tiled,
    )


def variable_names(labels: list[str], taken: set[str]) -> list[str]:
    """Names files can hold: no slash, none twice, none of the dimensions'."""
    names: list[str] = []
    for label in labels:
        name = label.replace("/", "_").strip() or "band"
        while name in taken:
            name += "_"
        taken = taken | {name}
        names.append(name)
    return names


def _attributes(data: xr.DataArray, label: str | None, has_crs: bool) -> dict[str, Any]:
    info = data.attrs.get("band_info", {}).get(label or "", {})
    attrs: dict[str, Any] = {"long_name": label} if label else {}
    if unit := info.get("unit") or info.get("units"):
        attrs["units"] = str(unit)
    if has_crs:
        attrs["grid_mapping"] = CRS
    return attrs


def _coordinate(data: xr.DataArray, name: str) -> Coordinate:
    kind, labels = cubes.kind_of(data, name), cubes.labels(data, name)
    values = np.asarray(labels)
    if values.dtype.kind == "M":
        return Coordinate(name, *_time(values))
    if values.dtype.kind in "OUS":
        attrs = {"axis": "T"} if kind == cubes.TEMPORAL else {}
        return Coordinate(name, np.array([text(v) for v in labels], dtype=object), attrs)
    if kind not in (cubes.X, cubes.Y):
        return Coordinate(name, values)
    crs, along = cubes.crs_of(data), "x" if kind == cubes.X else "y"
    if crs is not None and crs.geographic:
        long = "longitude" if along == "x" else "latitude"
        units = "degrees_east" if along == "x" else "degrees_north"
        return Coordinate(name, values, {"standard_name": long, "units": units, "axis": along.upper()})
    attrs = {"standard_name": f"projection_{along}_coordinate", "units": "m", "axis": along.upper()}
    return Coordinate(name, values, attrs)


def _time(values: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Instants as whole numbers of the coarsest unit that holds them."""
    fine = values.astype("M8[ns]").astype("i8")
    units = {"days": 86_400 * 10**9, "seconds": 10**9, "microseconds": 1000, "nanoseconds": 1}
    unit, step = next((u, s) for u, s in units.items() if not (fine % s).any())
    attrs = {"standard_name": "time", "axis": "T", "calendar": "proleptic_gregorian"}
    return fine // step, attrs | {"units": f"{unit} since 1970-01-01"}


def _crs(data: xr.DataArray) -> dict[str, Any] | None:
    """Attributes of the grid-mapping variable: CF's, and the WKT and transform that GDAL and rioxarray read."""
    import pyproj

    crs = cubes.crs_of(data)
    if crs is None:
        return None
    wkt = crs.to_wkt()
    attrs: dict[str, Any] = {k: v for k, v in pyproj.CRS.from_wkt(wkt).to_cf().items() if v is not None}
    attrs |= {"crs_wkt": wkt, "spatial_ref": wkt}
    if cubes.dim_of(data, cubes.Y) is not None and cubes.dim_of(data, cubes.X) is not None:
        a = cubes.geobox_of(data).affine
        attrs["GeoTransform"] = " ".join(repr(float(v)) for v in (a.c, a.a, a.b, a.f, a.d, a.e))
    return attrs
