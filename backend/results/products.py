"""LIS and MUSCATE: native products of the chains, a folder per date, which the catalogue ingests.

A stage's products that are saved as they are, whole and untouched, are linked or copied as they lie: with every file of the
native layout, their masks on grids of their own. Any other cube with a chain's bands is written block by block.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pystac
import xarray as xr

from backend.errors import OpenEOError
from backend.results import describe
from backend.results.asset import Asset
from backend.results.format import Format, Output, Target, unsuitable
from backend.store.types import rfc3339
from processes.errors import ProcessError
from processes.products import untouched

MEDIA = {
    ".tif": "image/tiff; application=geotiff", ".jpg": "image/jpeg", ".xml": "application/xml", ".json": "application/json",
    ".txt": "text/plain",
}  # fmt: skip


class Writer(Protocol):
    """Products in the making: `processes.lis.cube_product.SnowProducts` and its like."""

    cube: xr.DataArray
    beside: xr.DataArray | None

    def write(self, where: tuple[slice, ...], block: np.ndarray) -> None: ...
    def note(self, where: tuple[slice, ...], block: np.ndarray) -> None: ...
    def finish(self) -> list[pystac.Item]: ...
    def abandon(self) -> None: ...


@dataclass(frozen=True)
class Family:
    """Products of a chain. ``make``: (cube, folder, tile) -> what writes them."""

    format: str
    chain: str
    make: Callable[[xr.DataArray, Path, str | None], Writer]


class Products(Output):
    """Products in the making, or a stage's as they lie."""

    def __init__(self, data: Any, options: Mapping[str, Any], target: Target, family: Family):
        if not isinstance(data, xr.DataArray) or not data.size:
            raise unsuitable(family.format, "it is not a raster cube with pixels.")
        self.data = data
        self.folder = target.folder / f".{target.stem}.products"
        self.made = () if "tile" in options else untouched(data, family.chain)
        self.writer: Writer | None = None
        if not self.made:
            with _told():
                self.writer = family.make(data, self.folder, options.get("tile"))
            self.cube, self.beside = self.writer.cube, self.writer.beside

    def write(self, where: tuple[slice, ...], payload: Any) -> None:
        assert self.writer is not None
        with _told():
            self.writer.write(where, payload)

    def note(self, where: tuple[slice, ...], payload: Any) -> None:
        assert self.writer is not None
        self.writer.note(where, payload)

    def finish(self) -> list[Asset]:
        if self.writer is not None:
            found = [(self.folder / item.id, item) for item in self.writer.finish()]
        else:
            found = []
            for home, item in self.made:
                shutil.copytree(home, self.folder / item.id, copy_function=_linked)
                found.append((home, item))
        return [asset for home, item in found for asset in self._assets(home, item)]

    def _assets(self, home: Path, item: pystac.Item) -> list[Asset]:
        """One per file of the product; ``home``: where the item says they lie."""
        known = {Path(a.href).relative_to(home): a for a in item.assets.values()}
        place = self.folder / item.id
        files = sorted(p.relative_to(place) for p in place.rglob("*") if p.is_file())
        return [self._asset(item, place / name, name, known.get(name)) for name in files]

    def _asset(self, item: pystac.Item, path: Path, name: Path, told: pystac.Asset | None) -> Asset:
        folder = f"{item.id}/{name.parent}" if name.parent != Path() else item.id
        media = MEDIA.get(name.suffix, "application/octet-stream")
        ids = item.properties.get("tuile:derived_from") or item.properties.get("derived_from")
        sources = {"derived_from": list(ids)} if ids else describe.sources(self.data)
        when = {"datetime": rfc3339(item.datetime.astimezone(UTC))} if item.datetime else {}
        roles = tuple(told.roles or ("metadata",)) if told is not None else ("metadata",)
        facts: dict[str, Any] = {}
        geometry = bbox = None
        if told is not None and "data" in roles:
            facts = {k: v for k, v in told.extra_fields.items() if k.startswith("proj:")}
            facts["bands"] = [
                {k: v for k, v in band.items() if not k.startswith("tuile:")}
                for band in told.extra_fields.get("bands", ())
                if "tuile:decode" not in band  # masks that the catalogue decodes: not what the file holds
            ]
            geometry, bbox = item.geometry, item.bbox
        return Asset(
            path, media, name.name, roles, facts, {**when, **sources} if facts else {}, geometry,
            None if bbox is None else (bbox[0], bbox[1], bbox[2], bbox[3]), folder=folder,
        )  # fmt: skip

    def close(self) -> None:
        if self.writer is not None:
            self.writer.abandon()


class _told:
    """A process's error, as the service tells it."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ProcessError):
            raise OpenEOError.of(error) from error


def _linked(source: str, target: str) -> str:
    """A file of the workspace, which is never written to again: by a link where one file system holds both."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
            raise
        return str(shutil.copy2(source, target))
    return target


def _snow(data: xr.DataArray, folder: Path, tile: str | None) -> Writer:
    from processes.lis.cube_product import SnowProducts

    return SnowProducts(data, folder, tile)


def _synthesis(data: xr.DataArray, folder: Path, tile: str | None) -> Writer:
    from processes.wasp.cube_product import SynthesisProducts

    return SynthesisProducts(data, folder, tile)


FAMILIES = (Family("LIS", "lis_snow", _snow), Family("MUSCATE", "wasp_synthesis", _synthesis))
TILE = {
    "tile": {
        "description": "Name of the place in the names of products: letters, digits and _. By default that of the tile the "
        "data come from; data of several tiles, or of none, need it. With it, products are always written anew.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_]{1,40}$"},
    }
}
_WHOLE = (
    "Whole products of the process itself are handed out as they are, those of several tiles each on its own; any other cube "
    "with these bands is written on its own grid, and other bands are left out. The folders can be ingested."
)
_TITLES = {
    "LIS": (
        "Theia/LIS snow product",
        "A folder LIS_<platform>-SNOW_<tile>_<instant>_<version> per date, with a GeoTIFF (uint8) per layer SEB NDSI FSCTOC "
        f"FSCOG QCTOC QCOG EXPERT of lis_snow, metadata as JSON and XML, and the histogram where it is known. {_WHOLE}",
    ),
    "MUSCATE": (
        "MUSCATE L3A synthesis",
        "A folder <platform>_<date>-000000-000_L3A_<tile>_C_V1-0 per synthesis date: FRC reflectance (int16, x 10000), MASKS "
        f"with FLG WGT DTS NCL, a quicklook and metadata as XML, from a cube of wasp_synthesis. {_WHOLE}",
    ),
}
FORMATS = [
    Format(
        family.format,
        *_TITLES[family.format],
        ("raster",),
        lambda data, options, target, family=family: Products(data, options, target, family),  # type: ignore[misc]
        TILE,
    )
    for family in FAMILIES
]
