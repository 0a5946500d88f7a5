"""Items as the pixel loader sees them: one `Band` per name, whatever family the product is of (see README.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pystac
from affine import Affine
from odc.geo.geobox import GeoBox

from processes.errors import ProcessError

INTEGER_KINDS = ("class", "mask")
# Formats that hold their own pixels; a file that points to others could name what its sender may not read. HDF5 and netCDF
# do too, but are read by a process of their own.
PIXEL_DRIVERS = ["GTiff", "JP2OpenJPEG", "PNG", "JPEG"]
MASK_NODATA = 255


@dataclass(frozen=True)
class Band:
    """Where the pixels of one band of one item lie and what their numbers mean.

    value = (float32(DN) + ``offset_dn``) * float32(``scale``) for ``reflectance`` and ``continuous`` bands; DN itself
    for ``class``; 0, 1 or 255 (nodata) for ``mask``, decoded by ``decode``. ``double`` is ``continuous`` in float64.
    """

    name: str
    href: str
    geobox: GeoBox
    index: int = 1
    dtype: str = "int16"
    nodata: float | None = None
    scale: float = 1.0
    offset_dn: float = 0.0
    kind: str = "continuous"
    decode: tuple[tuple[str, Any], ...] = ()
    source: str | None = None
    common_name: str | None = None
    wavelength: float | None = None
    item: str = ""
    bit_order: str | None = None  # of a CLM raster: D (Theia) or C (native MAJA writer)
    extra: bool = False  # loaded only when it is asked for by name

    @property
    def integer(self) -> bool:
        return self.kind in INTEGER_KINDS

    @property
    def out_dtype(self) -> np.dtype:
        if self.kind == "mask":
            return np.dtype("u1")
        return np.dtype(self.dtype) if self.integer else np.dtype("f8" if self.kind == "double" else "f4")

    @property
    def fill(self) -> float:
        """Nodata in the loaded array."""
        if self.kind == "mask":
            return MASK_NODATA
        if self.integer:
            return self.nodata if self.nodata is not None else (255 if self.dtype == "uint8" else 0)
        return float("nan")


def item_bands(item: pystac.Item) -> dict[str, Band]:
    """Every band an item offers, by name. A name offered twice keeps its first asset."""
    out: dict[str, Band] = {}
    for asset in item.assets.values():
        fields = asset.extra_fields
        for entry in fields.get("bands") or ():
            name = entry.get("name")
            if name and name not in out:
                out[name] = _band(item, asset, {**fields, **entry}, name)
    return out


def _band(item: pystac.Item, asset: pystac.Asset, entry: Mapping[str, Any], name: str) -> Band:
    scale = float(entry.get("raster:scale", 1.0))
    offset = entry.get("tuile:offset_dn")
    if offset is None:
        offset = float(entry.get("raster:offset", 0.0)) / scale
    nodata = entry.get("nodata")
    decode = entry.get("tuile:decode")
    return Band(
        name=name, href=asset.href, geobox=_grid(item, asset, entry), index=int(entry.get("tuile:index", 1)),
        dtype=str(entry.get("data_type", "int16")), nodata=None if nodata is None else float(nodata), scale=scale,
        offset_dn=float(offset), kind=str(entry.get("tuile:kind", "mask" if decode else "continuous")),
        decode=tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in (decode or {}).items()),
        source=entry.get("tuile:source"), common_name=entry.get("eo:common_name"),
        wavelength=entry.get("eo:center_wavelength"), item=item.id,
        extra=bool(entry.get("tuile:extra")),
        bit_order=item.properties.get("tuile:clm_order") if name.startswith("CLM") else None,
    )  # fmt: skip


def _grid(item: pystac.Item, asset: pystac.Asset, entry: Mapping[str, Any]) -> GeoBox:
    code = entry.get("proj:code") or item.properties.get("proj:code")
    if code is None and (epsg := entry.get("proj:epsg") or item.properties.get("proj:epsg")):
        code = f"EPSG:{epsg}"
    shape = entry.get("proj:shape") or item.properties.get("proj:shape")
    transform = entry.get("proj:transform") or item.properties.get("proj:transform")
    if code and shape and transform:
        return grid(str(code), int(shape[0]), int(shape[1]), tuple(float(v) for v in transform[:6]))
    return grid_of_file(asset.get_absolute_href() or asset.href)


@lru_cache(maxsize=4096)
def grid(crs: str, height: int, width: int, transform: tuple[float, ...]) -> GeoBox:
    """A grid; the same object for the same numbers."""
    return GeoBox((height, width), Affine(*transform), crs)


def open_raster(href: str, *, own: bool | None = None, level: int | None = None) -> Any:
    """The raster, or its overview ``level``, open for reading: of any format in the archive (``own``), of
    `PIXEL_DRIVERS` from the web. HDF5 and netCDF as a `processes.load.guard.GuardedRaster`."""
    import rasterio

    from processes.load import guard

    options = {} if level is None else {"overview_level": level}
    if href.startswith(("http://", "https://")):
        from processes.load.remote import open_remote

        return open_remote(href, **options)
    if level is None and (guard.is_named(href) or (own is False and guard.is_fragile(href))):
        return guard.GuardedRaster(href)
    if own is not False:
        return rasterio.open(href, **options)
    with rasterio.Env():
        return rasterio.DatasetReader(href, driver=PIXEL_DRIVERS, **options)


@lru_cache(maxsize=4096)
def grid_of_file(href: str) -> GeoBox:
    """Grid of a raster file, from the file. Raises ``StorageFailure`` naming it."""
    import rasterio

    try:
        with open_raster(href) as source:
            if source.crs is None:
                raise ProcessError("StorageFailure", f"{href} has no coordinate reference system.")
            return GeoBox(source.shape, source.transform, source.crs.to_wkt())
    except rasterio.errors.RasterioError as error:
        raise ProcessError("StorageFailure", f"{href} cannot be opened: {error}") from error
