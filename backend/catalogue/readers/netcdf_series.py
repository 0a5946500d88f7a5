"""Time series of Sentinel-2 L2A or Landsat-8 in CF-like netCDF: one variable per band, one raster per instant.

``S2_L2A_10m_NAME_...nc`` and ``S2_L2A_20m_NAME_...nc`` of one place make one item per instant, ``L8_SR_...`` (surface
reflectance) and ``L8_L2-ST_...`` (surface temperature of collection 2) each one of their own. Numbers are read as stored;
``scale_factor`` and ``_FillValue`` tell what they mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import xarray as xr

from backend.catalogue import build
from backend.catalogue.bands import LANDSAT8, SENTINEL2
from backend.catalogue.grids import Grid
from backend.catalogue.reader import Reader, Rejected
from backend.catalogue.readers.landsat import QA_PIXEL
from backend.catalogue.readers.sentinel2_safe import scl_bands

FAMILY = "netcdf_series"
NAME = re.compile(r"(?P<series>S2_L2A|L8_SR|L8_L2-ST)_(?P<res>\d+)m_(?P<place>.+)\.nc", re.IGNORECASE)
TIME = ("timestamp", "time", "t")
# Surface temperature comes in whole kelvin; USGS's fill, DN 0, has become the offset of its scaling (149 K)
TEMPERATURE_FILL = 149
# pixel_qa of the Landsat surface reflectance before collection 2
PIXEL_QA = {"CLOUD": 1 << 5, "CLOUD_SHADOW": 1 << 3, "SNOW": 1 << 4, "WATER": 1 << 2}


def sniff(path: Path) -> bool:
    """A netCDF file with the name of such a series."""
    return bool(NAME.fullmatch(path.name)) and path.is_file()


def members(path: Path) -> list[Path]:
    """The files of the same series and place at all resolutions."""
    named = NAME.fullmatch(path.name)
    if named is None:
        return [path]
    mates = ((p, NAME.fullmatch(p.name)) for p in path.parent.glob("*.nc"))
    return sorted(p for p, m in mates if m and (m["series"], m["place"]) == (named["series"], named["place"]))


@dataclass(frozen=True)
class _File:
    path: Path
    data: xr.Dataset
    grid: Grid
    times: np.ndarray
    layers: tuple[str, ...]


def read(path: Path) -> list[pystac.Item]:
    """One item per instant. Raises `Rejected`."""
    named = NAME.fullmatch(path.name)
    if named is None:
        raise Rejected(path, "the name is not that of a known series")
    files = [_open(path, member) for member in members(path)]
    try:
        times = np.unique(np.concatenate([f.times for f in files]))
        return [_item(path, named, when, files) for when in times]
    finally:
        for file in files:
            file.data.close()


def _open(product: Path, path: Path) -> _File:
    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"\x89HDF":
                raise Rejected(product, f"{path.name} is not netCDF-4")
        data = xr.open_dataset(path, engine="netcdf4", mask_and_scale=False, decode_coords=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise Rejected(product, f"{path.name} cannot be opened: {error}") from None
    dim = next((t for t in TIME if t in data.dims), None)
    if dim is None or not {"x", "y"} <= set(data.coords) or data.sizes["x"] < 2 or data.sizes["y"] < 2:
        raise Rejected(product, f"{path.name} is no series of rasters over x and y")
    layers = tuple(str(n) for n, v in data.data_vars.items() if v.dims == (dim, "y", "x"))
    epsg = re.search(r"\d{4,6}", str(data.attrs.get("epsg") or data.attrs.get("crs") or ""))
    if not layers or epsg is None:
        raise Rejected(product, f"{path.name} has no rasters over {dim}, y, x or no CRS")
    xs, ys = data["x"].values.astype(float), data["y"].values.astype(float)
    dx, dy = (xs[-1] - xs[0]) / (len(xs) - 1), (ys[-1] - ys[0]) / (len(ys) - 1)
    if dx <= 0 or dy >= 0:
        raise Rejected(product, f"{path.name} is not a north-up grid")
    n = data.sizes[dim]
    grid = Grid(
        (len(ys), len(xs)), (dx, 0.0, xs[0] - dx / 2, 0.0, dy, ys[0] - dy / 2), f"EPSG:{epsg[0]}", n,
        (str(data[layers[0]].dtype),) * n, (None,) * n, (None,) * n, (1.0,) * n, (0.0,) * n,
    )  # fmt: skip
    try:
        times = data[dim].values.astype("M8[us]")
    except (ValueError, TypeError) as error:
        raise Rejected(product, f"{path.name} has times that cannot be read: {error}") from None
    return _File(path, data, grid, times, layers)


def _item(product: Path, named: re.Match[str], when: np.datetime64, files: list[_File]) -> pystac.Item:
    assets: dict[str, pystac.Asset] = {}
    used: list[Grid] = []
    sentinel = named["series"].upper() == "S2_L2A"
    properties: dict[str, Any] = {}
    for file in files:
        at = np.flatnonzero(file.times == when)
        if not len(at):
            continue
        used.append(file.grid)
        for layer in file.layers:
            href = f"HDF5:{file.path.absolute()}://{layer}"  # the netCDF driver turns some grids upside down
            bands = _bands(layer, file, int(at[0]) + 1, sentinel)
            if bands and layer not in assets:
                assets[layer] = build.asset(href, file.grid, bands)
                assets[layer].media_type = "application/x-netcdf"
        properties |= _angles(file.data, int(at[0]))
    instant: datetime = when.astype("M8[us]").item().replace(tzinfo=UTC)
    if not assets:
        raise Rejected(product, "none of its variables is a known band")
    tile = files[0].data.attrs.get("tile")
    platform = "sentinel-2" if sentinel else "landsat-8"
    id = f"{named['series']}_{named['place']}_{instant:%Y%m%dT%H%M%S}"
    properties |= {
        "platform": platform,
        "gsd": min(g.resolution for g in used),
        "grid:code": f"MGRS-{tile}" if tile else None,
        "tuile:datatake": f"{platform}_{instant:%Y%m%dT%H%M%S}",
        "tuile:product": id,
    }
    collection = "SENTINEL2_L2A" if sentinel else "LANDSAT_L2"
    return build.item(
        product,
        id=id,
        collection=collection,
        family=FAMILY,
        instant=instant,
        assets=assets,
        grids=used,
        properties=properties,
    )


def _bands(layer: str, file: _File, index: int, sentinel: bool) -> list[dict[str, Any]]:
    variable = file.data[layer]
    fill = variable.attrs.get("_FillValue", variable.encoding.get("_FillValue"))
    nodata = None if fill is None else float(fill)
    scale = float(variable.attrs.get("scale_factor", 1.0))
    kind = {"data_type": str(variable.dtype), "gsd": file.grid.resolution}
    table = SENTINEL2 if sentinel else LANDSAT8
    if layer in table and (sentinel or scale < 0.01):
        out = [build.reflectance(layer, table[layer], file.grid, scale=scale, nodata=nodata, index=index) | kind]
        if layer == "B02" and not sentinel:
            out.append(build.mask("VALID", file.grid, {"valid": True}, index=index, nodata=nodata) | kind)
        return out
    if layer in ("B10", "B11") and not sentinel:
        return [build.band(layer, file.grid, "continuous", scale=scale, nodata=nodata, index=index, unit="K") | kind]
    if layer == "SCL":
        return [b | kind for b in scl_bands(file.grid, index)]
    if layer in ("ST-B10", "ST_B10") and not sentinel:
        return [
            build.band("ST_B10", file.grid, "continuous", scale=scale, nodata=TEMPERATURE_FILL, index=index, unit="K")
            | kind
        ]
    if layer in ("QA-PIXEL", "QA_PIXEL") and not sentinel:
        return [build.band("QA_PIXEL", file.grid, "class", index=index, nodata=nodata) | kind] + [
            build.mask(n, file.grid, how, index=index, nodata=nodata) | kind for n, how in QA_PIXEL.items()
        ]
    if layer == "pixel_qa":
        return [build.band("PIXEL_QA", file.grid, "class", index=index, nodata=nodata) | kind] + [
            build.mask(n, file.grid, {"any_bits": bit}, index=index, nodata=nodata) | kind
            for n, bit in PIXEL_QA.items()
        ]
    return []


def _angles(data: xr.Dataset, at: int) -> dict[str, float]:
    """Scene means that come as one number per instant."""
    names = {
        "sunAzimuthAngles": "view:sun_azimuth",
        "viewZenithMean": "view:off_nadir",
        "viewAzimuthMean": "view:azimuth",
    }
    out = {
        key: round(float(data[name].values[at]), 4)
        for name, key in names.items()
        if name in data and data[name].ndim == 1
    }
    if "sunZenithAngles" in data and data["sunZenithAngles"].ndim == 1:
        out["view:sun_elevation"] = round(90 - float(data["sunZenithAngles"].values[at]), 4)
    return {k: v for k, v in out.items() if np.isfinite(v)}


reader = Reader(FAMILY, sniff, read, members, priority=60, fragile=True)
