"""Results that hold a whole cube in one netCDF or Zarr file, opened as the cube that ``cube:dimensions`` describes.

Items of `processes.load.stac_items` know time, bands, y and x. A result with further dimensions, or without x and y, or a
zipped Zarr store, comes back this way, with the dimensions, labels, types and values it was written with.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from rasterio.errors import RasterioError

from processes import cube as cubes
from processes import times
from processes.demand import WGS84_NAME, Demand
from processes.errors import ProcessError
from processes.extents import box_in
from processes.filter.labels import filter_bands, filter_temporal
from processes.filter.spatial import filter_bbox
from processes.load import guard
from processes.load.rasters import HDF5_MAGIC, crs_of

PLAIN = ("spatial", "temporal", "bands")
_ZARR = "zarr"


def is_zarr(asset: Mapping[str, Any]) -> bool:
    """Whether an asset is a zipped Zarr store."""
    return _ZARR in str(asset.get("type", "")) or str(asset["href"]).partition("?")[0].endswith(".zarr.zip")


def is_netcdf(asset: Mapping[str, Any]) -> bool:
    """Whether an asset is a netCDF file."""
    return "netcdf" in str(asset.get("type", "")) or str(asset["href"]).partition("?")[0].endswith(".nc")


def whole_file(documents: Sequence[Mapping[str, Any]], dims: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The asset that holds a described cube whole, where items could not; None where items can.

    Raises ``NoDataAvailable`` where several files hold such cubes.
    """
    axes = {v.get("axis") for v in dims.values() if v.get("type") == "spatial"}
    beyond = any(v.get("type") not in PLAIN for v in dims.values()) or not {"x", "y"} <= axes
    data = [a for d in documents for a in (d.get("assets") or {}).values() if "data" in (a.get("roles") or ["data"])]
    files = [a for a in data if is_zarr(a) or (is_netcdf(a) and beyond)]
    if not files or (not beyond and len(files) < len(data)):
        return None
    if len(files) > 1:
        raise ProcessError(
            "NoDataAvailable", f"The result has {len(files)} files that hold a cube each; give the address of one item."
        )
    return files[0]


def open_described(path: Path, dims: Mapping[str, Any], derived_from: Sequence[str] = ()) -> xr.DataArray:
    """The lazy cube of a netCDF file or zipped Zarr store. Raises ``StorageFailure`` saying what is wrong with it."""
    try:
        if guard.is_fragile(str(path)):
            guard.check(str(path))
        data = _dataset(path)
        return _cube(data, dims, derived_from)
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, RasterioError) as error:
        raise ProcessError("StorageFailure", f"'{path.name}' cannot be read as a cube: {error}.", file=path.name) from error  # fmt: skip


def _dataset(path: Path) -> xr.Dataset:
    with path.open("rb") as stream:
        start = stream.read(8)
    if start == HDF5_MAGIC:
        return xr.open_dataset(path, engine="h5netcdf", mask_and_scale=False, chunks={})
    from zarr.storage import ZipStore

    return xr.open_zarr(ZipStore(path, mode="r"), mask_and_scale=False, chunks={}, consolidated=True, zarr_format=2)


def _cube(data: xr.Dataset, dims: Mapping[str, Any], derived_from: Sequence[str]) -> xr.DataArray:
    band = next((d for d, v in dims.items() if v.get("type") == "bands"), None)
    inner = [d for d in dims if d != band]
    layers = {str(v.attrs.get("long_name", n)): v for n, v in data.data_vars.items() if set(v.dims) == set(inner)}
    if "crs" in layers and len(layers) > 1:  # of a cube without dimensions everything is a scalar
        del layers["crs"]
    labels = [str(v) for v in dims[band].get("values", [])] if band is not None else list(layers)[:1]
    missing = [v for v in labels if v not in layers]
    if missing or not layers:
        raise ValueError(f"it has no variable '{', '.join(missing)}' over {', '.join(inner) or 'nothing'}")
    planes = [layers[v].transpose(*inner).data for v in labels]
    values = planes[0] if band is None else da.stack(planes, axis=list(dims).index(band))
    coords = {d: labels if d == band else _labels(data, d, dims[d]) for d in dims}
    first = layers[labels[0]]
    fill: Any = first.attrs.get("_FillValue", first.encoding.get("_FillValue"))
    whole = values.dtype.kind in "iu" and fill is not None
    return cubes.cube(
        values,
        list(dims),
        coords,
        kinds={d: _kind(v) for d, v in dims.items()},
        crs=crs_of(data, str(first.name)),
        nodata=float(np.ravel(fill)[0]) if whole else None,
        derived_from=derived_from,
    )


def _kind(described: Mapping[str, Any]) -> str:
    kind = described.get("type")
    if kind == "spatial":
        return cubes.X if described.get("axis") == "x" else cubes.Y
    return {"temporal": cubes.TEMPORAL, "bands": cubes.BANDS}.get(str(kind), cubes.OTHER)


def _labels(data: xr.Dataset, name: str, described: Mapping[str, Any]) -> Any:
    """Labels of a dimension: the file's own; instants where all of them are."""
    values = data[name].values if name in data.coords else np.array(described.get("values", []), object)
    if values.dtype.kind in "SOU":
        texts = [v.decode() if isinstance(v, bytes) else v for v in values.tolist()]
        # seasons and weeks are labels that are no instants
        dated = described.get("type") == "temporal" and all(is_instant(t) for t in texts)
        return times.instants(texts) if dated else texts
    return values


def is_instant(text: str) -> bool:
    """Whether a label is a date or an instant, and no name of a season or week."""
    return len(text) >= 10 and text[4:5] == "-" and text[7:8] == "-" and (len(text) == 10 or text[10] in "T ")


def narrowed(data: xr.DataArray, own: Demand, bands: Sequence[str] | None) -> xr.DataArray:
    """The part of a cube that was asked for; what it has no dimension for is left as it is."""
    kinds = cubes.kinds(data).values()
    if own.box is not None and {cubes.X, cubes.Y} <= set(kinds):
        west, south, east, north = box_in(own.box, WGS84_NAME)
        data = filter_bbox(data, {"west": west, "south": south, "east": east, "north": north})
    if own.interval not in (None, (None, None)) and cubes.TEMPORAL in kinds:
        assert own.interval is not None
        data = filter_temporal(data, list(own.interval))
    if bands is not None and cubes.BANDS in kinds:
        data = filter_bands(data, list(bands))
    return data
