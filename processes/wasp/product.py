"""The native L3A product: FRC, MASKS (FLG, WGT, DTS, NCL), quicklook, MTD_ALL.xml and DATA/IPP_ALL.xml.

Layout: Theia, "Sentinel-2 L3A product format" (MUSCATE). ``NCL``, the number of clear dates, is ours.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pystac
import rasterio
from odc.geo.geobox import GeoBox
from PIL import Image
from rasterio.windows import Window

from processes.kernels.wasp_planes import store_reflectance
from processes.wasp.composite import CLOUD, EPOCH, LAND, NO_DATE, NODATA, SNOW, WATER, Options, Result

COLLECTION, FAMILY = "SENTINEL2_L3A_WASP", "wasp_l3a"
QUICKLOOK_SIZE = 1000
QUICKLOOK_WHITE = 0.3
MASKS: dict[str, tuple[str, int | None, dict[str, Any]]] = {
    # kind: (dtype, nodata, band fields)
    "FLG": ("uint8", 0, {"tuile:kind": "class"}),
    "WGT": ("int16", None, {"tuile:kind": "continuous", "raster:scale": 0.001}),
    "DTS": ("int16", NO_DATE, {"tuile:kind": "continuous"}),
    "NCL": ("uint8", None, {"tuile:kind": "continuous"}),
}


@dataclass(frozen=True)
class Group:
    """Bands of one resolution: ``name`` R1 or R2, its grid, its output bands."""

    name: str
    grid: GeoBox
    bands: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """What the metadata tell about a synthesis."""

    name: str
    platform: str
    tile: str
    synthesis: date
    dates: tuple[date, ...]
    inputs: tuple[str, ...]
    options: Options
    names: Mapping[str, str]  # output band -> band name in files
    optics: Mapping[str, Mapping[str, Any]]  # output band -> its STAC fields


def _wkt(grid: GeoBox) -> str | None:
    return None if grid.crs is None else grid.crs.to_wkt()


def _epsg(grid: GeoBox) -> int | None:
    return None if grid.crs is None else grid.crs.epsg


def as_stored(kind: str, result: Result, synthesis: date, options: Options) -> np.ndarray:
    """One mask layer of a result as the product stores it."""
    if kind == "FLG":
        return result.flag
    if kind == "NCL":
        return result.clear
    if kind == "WGT":
        return np.minimum(np.rint(result.weight * np.float32(1000)), 32767).astype(np.int16)
    if options.mode == "wasp1":
        return np.nan_to_num(result.date, nan=0.0).astype(np.int16)
    days = np.rint(result.date) + (synthesis - EPOCH).days
    return np.where(np.isnan(days), NO_DATE, days).astype(np.int16)


def reflectance_as_stored(refl: np.ndarray) -> np.ndarray:
    """Reflectance x 10000 rounded once to int16, -10000 for none."""
    out = np.empty(refl.shape, np.int16)
    store_reflectance(refl, out)
    return out


class ProductWriter:
    """Writes blocks of a synthesis into the product's rasters; `finish` adds what describes them."""

    def __init__(self, folder: Path, groups: Sequence[Group], facts: Facts, tile_rows: int):
        self.folder, self.groups, self.facts = folder / facts.name, groups, facts
        (self.folder / "MASKS").mkdir(parents=True)
        (self.folder / "DATA").mkdir()
        self._lock = threading.Lock()
        self._files: dict[str, Any] = {}
        self._counts = np.zeros(5, np.int64)
        for n, group in enumerate(groups):
            tile = max(tile_rows >> n, 64)
            for band in group.bands:
                self._open(self.reflectance_path(band), group.grid, "int16", NODATA, tile, predictor=2)
            for kind, (dtype, nodata, _) in MASKS.items():
                nodata = None if kind == "DTS" and facts.options.mode == "wasp1" else nodata
                self._open(self.mask_path(kind, group.name), group.grid, dtype, nodata, tile, predictor=1)

    def reflectance_path(self, band: str) -> Path:
        return self.folder / f"{self.facts.name}_FRC_{self.facts.names[band]}.tif"

    def mask_path(self, kind: str, group: str) -> Path:
        return self.folder / "MASKS" / f"{self.facts.name}_{kind}_{group}.tif"

    def _open(self, path: Path, grid: GeoBox, dtype: str, nodata: float | None, tile: int, predictor: int) -> None:
        self._files[str(path)] = rasterio.open(
            path, "w", driver="GTiff", width=grid.shape[1], height=grid.shape[0], count=1, dtype=dtype,
            crs=_wkt(grid), transform=grid.affine, nodata=nodata, tiled=True, blockxsize=tile, blockysize=tile,
            compress="deflate", zlevel=1, predictor=predictor, bigtiff="if_safer",
        )  # fmt: skip

    def write(self, group: Group, window: Window, result: Result) -> None:
        """Write one block of one group. Thread-safe."""
        refl = reflectance_as_stored(result.refl)
        layers = {str(self.reflectance_path(b)): refl[i] for i, b in enumerate(group.bands)}
        for kind in MASKS:
            stored = as_stored(kind, result, self.facts.synthesis, self.facts.options)
            layers[str(self.mask_path(kind, group.name))] = stored
        with self._lock:
            for path, layer in layers.items():
                self._files[path].write(layer, 1, window=window)
            if group is self.groups[-1]:
                self._counts += np.bincount(result.flag.ravel(), minlength=5)[:5]

    def abandon(self) -> None:
        for file in self._files.values():
            file.close()

    def finish(self) -> pystac.Item:
        """Close the rasters, write quicklook and metadata, describe it all as an item."""
        self.abandon()
        self._quicklook()
        self._metadata()
        return self._item()

    def share(self, flag: int) -> float:
        """Percent of the pixels that have a value whose flag is ``flag``."""
        return round(100.0 * float(self._counts[flag]) / max(int(self._counts[1:].sum()), 1), 3)

    def _quicklook(self) -> None:
        red, green, blue = ("B07", "B04", "B03") if "B10" in self.facts.names else ("B04", "B03", "B02")
        layers = []
        for band in (red, green, blue):
            if band not in self.facts.names:
                continue
            with rasterio.open(self.reflectance_path(band)) as source:
                share = min(1.0, QUICKLOOK_SIZE / max(source.shape))
                shape = (max(round(source.height * share), 1), max(round(source.width * share), 1))
                dn = source.read(1, out_shape=shape)
            layers.append(np.clip(dn.astype(np.float32) * (255 / (QUICKLOOK_WHITE * 1e4)), 0, 255).astype(np.uint8))
        if len(layers) == 3:
            Image.fromarray(np.dstack(layers)).save(self.folder / f"{self.facts.name}_QKL_ALL.jpg", quality=85)

    def _metadata(self) -> None:
        facts = self.facts
        root = ET.Element("Muscate_Metadata_Document")
        identity = _add(root, "Dataset_Identification")
        _add(identity, "IDENTIFIER", facts.name.rsplit("_V", 1)[0])
        _add(identity, "GEOGRAPHICAL_ZONE", facts.tile, type="Tile")
        about = _add(root, "Product_Characteristics")
        for key, value in {
            "PRODUCT_ID": facts.name,
            "ACQUISITION_DATE": f"{facts.synthesis.isoformat()}T00:00:00.000Z",
            "PRODUCTION_DATE": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "PRODUCT_VERSION": "1.0",
            "PRODUCT_LEVEL": "L3A",
            "PLATFORM": facts.platform,
        }.items():
            _add(about, key, value)
        _add(about, "SYNTHESIS_DATE", facts.synthesis.isoformat())
        period = _add(about, "Period_Characteristics")
        _add(period, "PERIOD_START", min(facts.dates).isoformat())
        _add(period, "PERIOD_STOP", max(facts.dates).isoformat())
        listed = _add(about, "Band_Global_List", count=str(len(facts.names)))
        for band in facts.names.values():
            _add(listed, "BAND_ID", band)
        files = _add(_add(root, "Product_Organisation"), "Muscate_Product")
        if (self.folder / f"{facts.name}_QKL_ALL.jpg").is_file():
            _add(files, "QUICKLOOK", f"{facts.name}_QKL_ALL.jpg")
        images = _add(_add(_add(files, "Image_List"), "Image"), "Image_File_List")
        for band, raw in facts.names.items():
            _add(images, "IMAGE_FILE", self.reflectance_path(band).name, band_id=raw)
        masks = _add(files, "Mask_List")
        for kind in MASKS:
            mask = _add(masks, "Mask")
            _add(_add(mask, "Mask_Properties"), "NATURE", kind)
            inside = _add(mask, "Mask_File_List")
            for group in self.groups:
                _add(inside, "MASK_FILE", f"MASKS/{self.mask_path(kind, group.name).name}", group_id=group.name)
        self._geopositioning(root)
        radiometry = _add(root, "Radiometric_Informations")
        _add(radiometry, "REFLECTANCE_QUANTIFICATION_VALUE", "10000")
        _add(radiometry, "WEIGHT_QUANTIFICATION_VALUE", "1000")
        _add(radiometry, "SPECIAL_VALUE", str(NODATA), name="nodata")
        dates = "day_of_year_from_0" if facts.options.mode == "wasp1" else "days_since_2000-01-01"
        _add(radiometry, "DATE_UNIT", dates)
        quality = _add(_add(_add(root, "Quality_Informations"), "Current_Product"), "Product_Quality_List")
        found = _add(_add(quality, "Product_Quality"), "Global_Index_List")
        _add(found, "QUALITY_INDEX", f"{self.share(CLOUD)}", name="CloudPercent")
        _add(found, "QUALITY_INDEX", f"{self.share(SNOW)}", name="SnowPercent")
        _save(root, self.folder / f"{facts.name}_MTD_ALL.xml")
        self._processing()

    def _geopositioning(self, root: ET.Element) -> None:
        where = _add(root, "Geoposition_Informations")
        system = _add(_add(where, "Coordinate_Reference_System"), "Horizontal_Coordinate_System")
        epsg = _epsg(self.groups[0].grid)
        if epsg:
            _add(system, "HORIZONTAL_CS_CODE", str(epsg))
        placed = _add(_add(where, "Geopositioning"), "Group_Geopositioning_List")
        for group in self.groups:
            a, (rows, cols) = group.grid.affine, group.grid.shape
            one = _add(placed, "Group_Geopositioning", group_id=group.name)
            for key, value in {"ULX": a.c, "ULY": a.f, "XDIM": a.a, "YDIM": a.e, "NROWS": rows, "NCOLS": cols}.items():
                _add(one, key, f"{value:g}" if abs(value) < 1e5 else f"{value:.10g}")

    def _processing(self) -> None:
        facts, options = self.facts, self.facts.options
        root = ET.Element("Processing_Parameters")
        for key, value in {
            "MODE": options.mode, "DIRECTIONAL_CORRECTION": options.brdf, "ROBUST": str(options.robust).lower(),
            "LEVEL": str(options.level).lower(),
            "SYNTHESIS_DATE": facts.synthesis.isoformat(), "HALF_WINDOW": str(options.half_window),
        }.items():  # fmt: skip
            _add(root, key, value)
        for key, number in vars(options.weighting).items():
            _add(root, key.upper(), f"{number:g}")
        inputs = _add(root, "Input_Product_List", count=str(len(facts.inputs)))
        for day, id in zip(facts.dates, facts.inputs):
            _add(inputs, "PRODUCT_ID", id, date=day.isoformat())
        _save(root, self.folder / "DATA" / f"{facts.name}_IPP_ALL.xml")

    def _item(self) -> pystac.Item:
        facts, fine = self.facts, self.groups[0].grid
        footprint = fine.footprint("EPSG:4326")
        day = datetime(facts.synthesis.year, facts.synthesis.month, facts.synthesis.day, tzinfo=UTC)
        item = pystac.Item(
            facts.name,
            footprint.json,
            list(footprint.boundingbox.bbox),
            day,
            _told(
                {
                    "start_datetime": f"{min(facts.dates).isoformat()}T00:00:00Z",
                    "end_datetime": f"{max(facts.dates).isoformat()}T23:59:59Z",
                    "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "platform": facts.platform.lower(),
                    "gsd": fine.resolution.x,
                    "processing:version": "1.0",
                    "eo:cloud_cover": self.share(CLOUD),
                    "eo:snow_cover": self.share(SNOW),
                    "grid:code": f"MGRS-{facts.tile[1:]}" if re.fullmatch(r"T\d{2}[A-Z]{3}", facts.tile) else None,
                    "tuile:zone": None if facts.tile.startswith("T") else facts.tile,
                    "proj:code": f"EPSG:{_epsg(fine)}" if _epsg(fine) else None,
                    "derived_from": list(facts.inputs),
                    "tuile:family": FAMILY,
                    "tuile:datatake": f"{facts.platform}_{facts.synthesis.isoformat()}_L3A",
                    "tuile:product": f"{facts.platform}_{facts.synthesis:%Y%m%d}_L3A_{facts.tile}",
                    "tuile:dts": "doy" if facts.options.mode == "wasp1" else "days_since_2000",
                }
            ),
            collection=COLLECTION,
        )
        for group in self.groups:
            for band in group.bands:
                fields = {"tuile:kind": "reflectance", "raster:scale": 1e-4, **facts.optics[band]}
                self._asset(item, f"FRC_{band}", self.reflectance_path(band), group, band, "int16", NODATA, fields)
        for n, group in enumerate(self.groups):
            for kind, (dtype, nodata, extra) in MASKS.items():
                public = kind if n == 0 else f"{kind}_{group.name}"
                key, path = f"{kind}_{group.name}", self.mask_path(kind, group.name)
                missing = None if kind == "DTS" and facts.options.mode == "wasp1" else nodata
                self._asset(item, key, path, group, public, dtype, missing, extra)
        held = item.assets[f"FLG_{self.groups[0].name}"].extra_fields["bands"]
        for name, codes in {
            "CLOUD": [CLOUD],
            "SNOW": [SNOW],
            "WATER": [WATER],
            "VALID": [CLOUD, SNOW, WATER, LAND],
        }.items():
            held.append({"name": name, "data_type": "uint8", "tuile:kind": "mask", "tuile:decode": {"values": codes}})
        for key, suffix, roles, kind in (
            ("MTD_ALL", "_MTD_ALL.xml", ["metadata"], "application/xml"),
            ("quicklook", "_QKL_ALL.jpg", ["thumbnail"], "image/jpeg"),
        ):
            if (path := self.folder / f"{facts.name}{suffix}").is_file():
                item.add_asset(key, pystac.Asset(str(path), media_type=kind, roles=roles))
        return item

    def _asset(
        self, item: pystac.Item, key: str, path: Path, group: Group, name: str, dtype: str, nodata: float | None,
        extra: Mapping[str, Any],
    ) -> None:  # fmt: skip
        grid = group.grid
        band = {"name": name, "data_type": dtype, "gsd": grid.resolution.x, **extra}
        if nodata is not None:
            band["nodata"] = nodata
        fields: dict[str, Any] = {
            "proj:shape": list(grid.shape),
            "proj:transform": list(grid.affine)[:6],
            "bands": [band],
        }
        if (epsg := _epsg(grid)) is not None:
            fields["proj:code"] = f"EPSG:{epsg}"
        media = "image/tiff; application=geotiff"
        item.add_asset(key, pystac.Asset(str(path), media_type=media, roles=["data"], extra_fields=fields))


def _told(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in properties.items() if v is not None}


def _add(parent: ET.Element, tag: str, value: str | None = None, **attributes: str) -> ET.Element:
    child = ET.SubElement(parent, tag, attributes)
    child.text = value
    return child


def _save(root: ET.Element, path: Path) -> None:
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="UTF-8", xml_declaration=True)
