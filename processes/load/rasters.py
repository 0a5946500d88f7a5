"""Raster files of unknown make: what their headers say, and items of them in the form of README.md.

Only formats that hold their own pixels are opened: a file that points to others (VRT) could name what its sender may
not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio

from processes import times
from processes.errors import ProcessError
from processes.extents import WGS84, box_in, crs_name
from processes.load.items import open_raster

LABEL = "tuile:label"  # label of an item along time, where it is no instant
WIDE = ("float64", "int32", "uint32", "int64", "uint64")
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Header:
    """A raster file's own description; tuples have one entry per band."""

    crs: str
    shape: tuple[int, int]
    transform: tuple[float, ...]
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    names: tuple[str | None, ...]
    time: str | None = None


@lru_cache(maxsize=4096)
def header(href: str) -> Header:
    """Header of a raster file or URL that has been checked. Raises ``StorageFailure`` saying what is wrong with it."""
    try:
        with open_raster(href, own=False) as source:
            if source.crs is None:
                raise _unusable(href, "it has no coordinate reference system")
            t = source.transform
            if t.b or t.d or t.a <= 0 or t.e >= 0:
                raise _unusable(href, "its grid is not north-up")
            return Header(
                crs_name(source.crs.to_wkt()), source.shape, tuple(t)[:6], tuple(source.dtypes),
                tuple(source.nodatavals), tuple(source.scales), tuple(source.offsets), tuple(source.descriptions),
                source.tags().get("TIFFTAG_DATETIME"),
            )  # fmt: skip
    except rasterio.errors.RasterioError as error:
        raise _unusable(href, str(error)) from error


def _unusable(href: str, why: str) -> ProcessError:
    name = href.partition("?")[0].rpartition("/")[2]
    return ProcessError("StorageFailure", f"'{name}' cannot be used: {why}.", file=name)


def entries(found: Header, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """``bands`` of an asset as the contract has them, from a file's header; ``names`` go before the file's own."""
    out = []
    for k, dtype in enumerate(found.dtypes):
        name = names[k] if k < len(names) else found.names[k] or (f"B{k + 1}" if len(found.dtypes) > 1 else "B1")
        entry: dict[str, Any] = {
            "name": name, "tuile:index": k + 1, "data_type": dtype, "nodata": found.nodata[k],
        }  # fmt: skip
        if found.scales[k] != 1 or found.offsets[k] != 0:
            entry |= {"raster:scale": found.scales[k], "raster:offset": found.offsets[k]}
        out.append(entry | {"tuile:kind": kind_of(entry)})
    return out


def kind_of(entry: Mapping[str, Any]) -> str:
    """Kind of a band. Unscaled integers with a nodata value or classes stay integers; of the rest, what float32 cannot
    hold (float64, integers above 16 bits, as stored) becomes float64 and all else float32."""
    dtype = str(entry.get("data_type", ""))
    scaled = float(entry.get("raster:scale") or 1) != 1 or float(entry.get("raster:offset") or 0) != 0
    if "classification:classes" in entry and not scaled:
        return "class"
    whole = dtype.startswith(("int", "uint")) and not dtype.endswith("64")
    if whole and not scaled and entry.get("nodata") is not None:
        return "class"
    return "double" if not scaled and dtype in WIDE else "continuous"


def projection(found: Header) -> dict[str, Any]:
    """STAC fields of a file's grid."""
    fields: dict[str, Any] = {"proj:shape": list(found.shape), "proj:transform": list(found.transform)}
    return fields | {"proj:code": found.crs}


def make_item(
    id: str,
    when: datetime | None,
    assets: Mapping[str, tuple[str, Mapping[str, Any]]],
    crs: str,
    bounds: Sequence[float],
) -> pystac.Item:
    """An item of ``{asset: (href, fields)}`` with the footprint of ``bounds`` in ``crs``."""
    from shapely.geometry import box, mapping

    bbox = box_in((*bounds, crs), WGS84)  # type: ignore[arg-type]
    properties: dict[str, Any] = {}
    if when is None:
        properties = {"start_datetime": "1970-01-01T00:00:00Z", "end_datetime": "1970-01-01T00:00:00Z"}
    item = pystac.Item(id, dict(mapping(box(*bbox))), list(bbox), when, properties)
    for key, (href, fields) in assets.items():
        item.add_asset(key, pystac.Asset(href, extra_fields=dict(fields)))
    return item


def items_of_file(path: Path, id: str | None = None) -> list[pystac.Item]:
    """Items of a local raster file: one per instant of a netCDF file, else one. Raises ``StorageFailure``."""
    with path.open("rb") as stream:
        start = stream.read(8)
    if start == HDF5_MAGIC or start[:3] == b"CDF":
        return items_of_netcdf(path, id or path.stem, hdf5=start == HDF5_MAGIC)
    found = header(str(path))
    when = None
    if found.time:
        try:
            when = datetime.strptime(found.time, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            when = None  # a tag of another form: the file has no date
    fields = projection(found) | {"bands": entries(found)}
    return [make_item(id or path.stem, when, {"data": (str(path), fields)}, found.crs, _bounds(found))]


def _bounds(found: Header) -> tuple[float, float, float, float]:
    a, _, c, _, e, f = found.transform
    return c, f + e * found.shape[0], c + a * found.shape[1], f


def items_of_netcdf(path: Path, id: str, *, hdf5: bool = True) -> list[pystac.Item]:
    """One item per temporal label of a netCDF file with variables over (t, y, x) or (y, x). Raises ``StorageFailure``."""
    from processes.load import guard

    try:
        found = guard.ask(str(path), "netcdf_items", path=str(path), id=id, hdf5=hdf5)
    except rasterio.errors.RasterioError as error:
        raise _unusable(path.name, f"it cannot be read as netCDF ({error})") from error
    return [pystac.Item.from_dict(item) for item in found]


def read_netcdf(path: Path, id: str, *, hdf5: bool = True) -> list[pystac.Item]:
    """As `items_of_netcdf`, read in this process, which a damaged file can crash."""
    import xarray as xr

    try:
        with xr.open_dataset(
            path, engine="h5netcdf" if hdf5 else None, mask_and_scale=False, decode_times=True
        ) as data:
            return _netcdf(data, path, id, hdf5)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _unusable(path.name, f"it cannot be read as netCDF ({error})") from error


def _netcdf(data: Any, path: Path, id: str, hdf5: bool) -> list[pystac.Item]:
    axis = {k: _axis(data, k) for k in ("x", "y", "t")}
    x, y, t = axis["x"], axis["y"], axis["t"]
    if x is None or y is None or data.sizes[x] < 2 or data.sizes[y] < 2:
        raise _unusable(path.name, "it has no x and y coordinates")
    layers = [str(n) for n, v in data.data_vars.items() if v.dims in ((t, y, x), (y, x))]
    others = [str(n) for n, v in data.data_vars.items() if v.ndim > 3 and {y, x} <= set(v.dims)]
    if not layers:
        hint = f"; {', '.join(others)} have further dimensions" if others else ""
        raise _unusable(path.name, f"it has no variable over ({t or 't'}, {y}, {x}){hint}")
    crs = crs_of(data, layers[0])
    if crs is None:
        raise _unusable(path.name, "it has no coordinate reference system (no grid mapping)")
    xs, ys = data[x].values.astype("f8"), data[y].values.astype("f8")
    dx, dy = (xs[-1] - xs[0]) / (len(xs) - 1), (ys[-1] - ys[0]) / (len(ys) - 1)
    if dx <= 0 or dy == 0:
        raise _unusable(path.name, "its x coordinates do not increase")
    top = max(ys[0], ys[-1]) + abs(dy) / 2
    transform = (dx, 0.0, xs[0] - dx / 2, 0.0, -abs(dy), top)
    grid = {"proj:shape": [len(ys), len(xs)], "proj:transform": list(transform), "proj:code": crs}
    labels = list(data[t].values) if t is not None else [None]
    bounds = (transform[2], top - abs(dy) * len(ys), transform[2] + dx * len(xs), top)
    # HDF5 reads as stored; grids that count upwards go through the netCDF driver, which turns them north-up
    form = f"HDF5:{path.absolute()}://%s" if hdf5 and dy < 0 else f'NETCDF:"{path.absolute()}":%s'
    out = []
    for k, label in enumerate(labels):
        instant = _instant(label, k)
        assets = {}
        for name in layers:
            variable = data[name]
            index = k + 1 if variable.dims[0] == t else 1
            assets[name] = (form % name, grid | {"bands": [_variable(name, variable, index)]})
        item = make_item(f"{id}_{k}" if t is not None else id, instant, assets, crs, bounds)
        if label is not None and not isinstance(label, np.datetime64):
            item.properties[LABEL] = str(label)
        out.append(item)
    return out


def _instant(label: Any, number: int) -> datetime | None:
    if label is None:
        return None
    try:
        stamp = times.instants([label])[0]
    except ProcessError:  # a label that is no date: any instants do, as long as they are in order
        stamp = np.datetime64("1970-01-01", "us") + np.timedelta64(number, "D")
    when: datetime = stamp.astype("M8[us]").item()
    return when.replace(tzinfo=UTC)


def _variable(name: str, variable: Any, index: int) -> dict[str, Any]:
    attrs = {**variable.encoding, **variable.attrs}
    fill = attrs.get("_FillValue", attrs.get("missing_value"))
    entry: dict[str, Any] = {
        "name": str(attrs.get("long_name") or name) if attrs.get("long_name") and "grid_mapping" in attrs else name,
        "tuile:index": index, "data_type": variable.dtype.name, "nodata": None if fill is None else float(np.ravel(fill)[0]),
    }  # fmt: skip
    scale, offset = float(attrs.get("scale_factor", 1.0)), float(attrs.get("add_offset", 0.0))
    if scale != 1 or offset != 0:
        entry |= {"raster:scale": scale, "raster:offset": offset}
    return entry | {"tuile:kind": kind_of(entry)}


_STANDARD = {
    "x": ("projection_x_coordinate", "longitude"),
    "y": ("projection_y_coordinate", "latitude"),
    "t": ("time",),
}
_USUAL = {"x": ("x", "lon", "longitude"), "y": ("y", "lat", "latitude"), "t": ("t", "time", "date")}


def _axis(data: Any, which: str) -> str | None:
    """Dimension with the coordinate of an axis, by CF attributes, then by usual names."""
    for name in data.dims:
        coordinate = data.coords.get(name)
        if coordinate is None:
            continue
        attrs = {**coordinate.encoding, **coordinate.attrs}
        axis = "t" if coordinate.dtype.kind == "M" else str(attrs.get("axis", "")).lower()
        if axis == which or attrs.get("standard_name") in _STANDARD[which]:
            return str(name)
    return next((str(n) for n in data.dims if str(n).lower() in _USUAL[which] and n in data.coords), None)


def crs_of(data: Any, layer: str) -> str | None:
    """CRS of a variable of a netCDF or Zarr dataset, by its grid mapping; None where it does not say."""
    mapping = data[layer].attrs.get("grid_mapping") or data[layer].encoding.get("grid_mapping")
    for name in (mapping, "crs", "spatial_ref"):
        if name in data.variables:
            attrs = data[name].attrs
            if text := attrs.get("crs_wkt") or attrs.get("spatial_ref"):
                return crs_name(str(text))
            if attrs.get("grid_mapping_name"):
                from pyproj import CRS

                return crs_name(CRS.from_cf(dict(attrs)).to_wkt())
    along = _axis(data, "x")
    units = str(data[along].attrs.get("units", "")) if along else ""
    return "EPSG:4326" if units.startswith("degree") else None
