"""``tuile ingest --to-cog``: a one-off, lossless conversion of JPEG 2000 and striped rasters into COGs.

JPEG 2000 is some forty times dearer to decode than a tiled GeoTIFF. The copies lie in a folder ``NAME.tuile-cog`` beside
the product, or under ``TUILE_DATA_DIR/cogs`` where the archive is read-only; the product itself is not touched. The
items point to the copies and keep the original's path in ``tuile:original``; the index knows the folder and removes
it with its product.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import pystac
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError

from backend.catalogue.grids import OPTIONS as READ
from backend.catalogue.reader import Rejected

SUFFIX = ".tuile-cog"
SMALL = 512  # pixels: below, the layout does not matter
# nearest overviews: every value, also of masks, is one of the file's own
OPTIONS = {
    "driver": "COG",
    "compress": "ZSTD",
    "level": 1,
    "predictor": "YES",
    "blocksize": 512,
    "overview_resampling": "NEAREST",
    "bigtiff": "IF_SAFER",
}


class NotCopied(Rejected):
    """The copies could not be written; the product is as good as before."""


def convert(product: Path, items: Sequence[pystac.Item], fallback: Path) -> Path | None:
    """Copy what needs it and point the items to the copies; the folder of the copies, or None where nothing needed one.

    Parameters
    ----------
    product : the product's path
    items : changed in place
    fallback : where the copies go when the product's own folder cannot be written

    Raises
    ------
    Rejected
        A raster cannot be decoded.
    NotCopied
        The copies cannot be written (disk full). Nothing half-written stays.
    """
    todo = {a.href for i in items for a in i.assets.values() if _usual(a) and wanted(a.href)}
    if not todo:
        return None
    target = folder_for(product, fallback)
    scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    names = {href: f"{number:02d}_{Path(href).stem}.tif" for number, href in enumerate(sorted(todo))}
    try:
        scratch.mkdir(parents=True)
        for href, name in names.items():
            _copy(product, href, scratch / name)
        shutil.rmtree(target, ignore_errors=True)
        scratch.rename(target)
    except OSError as error:
        raise NotCopied(
            product, f"its COGs cannot be written ({error.strerror or error}); it is served from its own files"
        ) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for asset in (a for i in items for a in i.assets.values() if a.href in names):
        asset.extra_fields["tuile:original"] = asset.href
        asset.href = str(target / names[asset.href])
        asset.media_type = "image/tiff; application=geotiff; profile=cloud-optimized"
    return target


def _usual(asset: pystac.Asset) -> bool:
    """Has it bands that are loaded without being named? Footprints and defects of single bands are seldom read."""
    return any(not b.get("tuile:extra") for b in asset.extra_fields.get("bands") or ())


def folder_for(product: Path, fallback: Path) -> Path:
    """Beside the product, else under ``fallback`` by a digest of its path."""
    if os.access(product.parent, os.W_OK):
        return product.with_name(product.name + SUFFIX)
    digest = hashlib.sha256(str(product).encode()).hexdigest()[:16]
    return fallback.absolute() / f"{product.name}-{digest}{SUFFIX}"


def wanted(href: str) -> bool:
    """Is a file worth a copy? JPEG 2000 always, GeoTIFFs that are striped or large without overviews."""
    if href.startswith("HDF5:") or "://" in href:
        return False
    try:
        with rasterio.Env(**READ), rasterio.open(href) as src:
            if src.driver.startswith("JP2") or _gzipped(href):
                return True
            large = max(src.shape) > SMALL
            return src.driver == "GTiff" and large and (not src.profile.get("tiled") or not src.overviews(1))
    except RasterioError:
        return False  # not a raster (metadata with angle grids)


def _gzipped(href: str) -> bool:
    return href.startswith("/vsitar/") and bool(re.search(r"\.(tar\.gz|tgz)/", href, re.IGNORECASE))


def _copy(product: Path, href: str, target: Path) -> None:
    try:
        with rasterio.Env(**READ, GDAL_NUM_THREADS="1"):
            rasterio.shutil.copy(href, str(target), **OPTIONS)
            with rasterio.open(href) as one, rasterio.open(target) as two:
                same = (one.shape, one.transform, one.dtypes, one.crs) == (
                    two.shape,
                    two.transform,
                    two.dtypes,
                    two.crs,
                )
    except RasterioError as error:
        raise Rejected(product, f"{Path(href).name} cannot be copied: {str(error).splitlines()[0][:200]}") from None
    if not same:
        raise Rejected(product, f"the copy of {Path(href).name} has another grid than the file")
