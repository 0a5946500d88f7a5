"""The snow product on disk: one folder per acquisition, one GeoTIFF per layer, metadata and histogram as text.

Folder and files ``LIS_<platform>-SNOW_<tile>_<instant>_<version>``; rasters ``_SEB _NDSI _FSCTOC _FSCOG _QCTOC _QCOG _EXPERT
_QCFLAGS .tif`` (uint8, nodata 255 but for the bit fields); ``_MTD.json``, ``_MTD.xml``, ``_HIST.txt``; the STAC item as
``<name>.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dask
import numpy as np
import pystac
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from processes import cube as cubes
from processes.errors import parameter_invalid
from processes.lis.cubes import BAND_INFO
from processes.lis.params import FILL

COLLECTION, FAMILY, VERSION = "LIS_SNOW", "lis_snow", "1.1"
CONSTELLATIONS = {"s2": "sentinel-2", "l8": "landsat", "take5": "spot"}  # by how a sensor's id begins
# what products tell that are not made from Level-2A data, where nothing else is known
UNKNOWN: dict[str, Any] = {
    "snow_line": None, "snow_line_found": False, "mode": None, "sensor": None, "fsc_law": None, "extent_used": None,
}  # fmt: skip
BIT_FIELDS = ("EXPERT", "QCFLAGS")
TITLES = {k: str(v["description"]) for k, v in BAND_INFO.items()} | {
    "QCFLAGS": "bits: 1 sun too low, 2 sun tangent, 4 water, 8 tree cover above 90 %, 16 snow where the cloud mask is set, "
    "32 tree cover unknown, 64 shaded snow"
}
EXTENSIONS = (
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
)


def product_name(item: pystac.Item) -> str:
    """Name of the snow product of an item."""
    platform = str(item.properties.get("constellation") or item.properties.get("platform") or "")
    short = (
        "S2" if "sentinel-2" in platform else "L8" if "landsat" in platform else "SPOT" if "spot" in platform else "L2A"
    )
    tile = str(item.properties.get("grid:code") or item.id).split("-")[-1]
    if str(item.properties.get("grid:code", "")).startswith("MGRS"):
        tile = f"T{tile}"
    when = item.datetime or item.common_metadata.start_datetime or datetime(1970, 1, 1, tzinfo=UTC)
    return f"LIS_{short}-SNOW_{tile}_{when.astimezone(UTC):%Y%m%dT%H%M%S}_{VERSION}"


def write_product(
    folder: Path,
    source: pystac.Item,
    grid: GeoBox,
    layers: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    derived_from: Sequence[str] = (),
) -> pystac.Item:
    """Write a product below ``folder`` and return its item (also written into it); ``derived_from``: default ``source``."""
    name = product_name(source)
    home = folder / name
    home.mkdir(parents=True)
    for layer, values in layers.items():
        write_raster(home / f"{name}_{layer}.tif", values, grid, None if layer in BIT_FIELDS else FILL, TITLES[layer])
    return describe(home, source, grid, list(layers), meta, derived_from)


def describe(
    home: Path,
    source: pystac.Item,
    grid: GeoBox,
    layers: Sequence[str],
    meta: Mapping[str, Any],
    derived_from: Sequence[str] = (),
) -> pystac.Item:
    """Write what describes the rasters of ``layers`` that lie in ``home``, a folder named by `product_name`.

    ``meta`` has the percentages and what else is known of `UNKNOWN` and the histogram. Returns the item.
    """
    name, meta = home.name, {**UNKNOWN, **meta}
    item = _item(name, source, grid, meta)
    item.properties["tuile:derived_from"] = list(derived_from) or [source.id]
    for layer in layers:
        item.add_asset(layer, _asset(home / f"{name}_{layer}.tif", layer, grid))
    texts = {"MTD.json": _json(meta), "MTD.xml": _xml(name, meta)}
    if "histogram" in meta:
        texts["HIST.txt"] = _histogram(meta)
    for suffix, text in texts.items():
        path = home / f"{name}_{suffix}"
        path.write_text(text)
        media = {"json": "application/json", "xml": "application/xml", "txt": "text/plain"}[path.suffix[1:]]
        item.add_asset(suffix.replace(".", "_"), pystac.Asset(str(path), media_type=media, roles=["metadata"]))
    (home / f"{name}.json").write_text(json.dumps(_relative(item, home)))
    return item


def write_cube(data: xr.DataArray, folder: Path, *, tile: str = "CUBE") -> list[pystac.Item]:
    """Write every date of a cube of `processes.lis.lis_snow` as a product of its own, which the catalogue ingests.

    Parameters
    ----------
    data : the cube, lazy or not; each date is computed once, with its metadata
    folder : where the products' folders are made
    tile : name of the place, part of the products' names: letters, digits, ``_``

    Returns
    -------
    Items of collection ``LIS_SNOW``, in order of dates. There is no layer QCFLAGS, which cubes do not carry.

    Raises
    ------
    ProcessError
        ``ProcessParameterInvalid`` for a cube that is not one of `lis_snow` with dates, and for a tile name that is none.
    """
    about, time = data.attrs.get("lis"), cubes.dim_of(data, cubes.TEMPORAL)
    if about is None or time is None or len(about["per_date"]) != data.sizes[time]:
        raise parameter_invalid("data", "the cube is not a whole result of lis_snow with dates.")
    if not re.fullmatch(r"\w+", tile):
        raise parameter_invalid("tile", f"'{tile}' is no name of letters and digits.")
    band, (y, x), grid = cubes.bands_dim(data), cubes.spatial_dims(data), cubes.geobox_of(data)
    footprint = grid.footprint("EPSG:4326")
    family = next((v for k, v in CONSTELLATIONS.items() if about["sensor"].startswith(k)), None)
    common = {k: about[k] for k in ("mode", "sensor", "extent_used")}
    items = []
    for k, label in enumerate(cubes.labels(data, time)):
        plane = data.isel({time: k}).transpose(band, y, x)
        values, meta = dask.compute(plane.data, about["per_date"][k])
        when = np.datetime64(label, "us").item().replace(tzinfo=UTC)
        known = {"constellation": family} if family else {}
        source = pystac.Item(tile, footprint.json, list(footprint.boundingbox.bbox), when, known)
        layers = dict(zip((str(n) for n in cubes.labels(data, band)), values))
        ids = data.attrs.get("derived_from", ())
        items.append(write_product(folder, source, grid, layers, {**common, **meta}, ids))
    return items


def write_raster(path: Path, values: np.ndarray, grid: GeoBox, nodata: int | None, title: str) -> None:
    """A tiled, deflated GeoTIFF with overviews by nearest neighbour (codes are not averaged)."""
    with raster_env(), open_raster(path, grid, nodata, title) as target:
        target.write(values, 1)
        add_overviews(target)


def raster_env() -> rasterio.Env:
    """Settings of GDAL under which rasters and their overviews are written."""
    return rasterio.Env(
        GDAL_CACHEMAX=64 << 20, GDAL_NUM_THREADS="2", COMPRESS_OVERVIEW="DEFLATE", GDAL_TIFF_OVR_BLOCKSIZE="512"
    )


def open_raster(path: Path, grid: GeoBox, nodata: int | None, title: str) -> Any:
    """A raster of a product, open for writing, in tiles of 512."""
    height, width = grid.shape
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": 1, "height": height, "width": width, "crs": str(grid.crs),
        "transform": grid.affine, "compress": "deflate", "zlevel": 4, "num_threads": 2, "nodata": nodata,
        "tiled": True, "blockxsize": 512, "blockysize": 512,
    }  # fmt: skip
    target = rasterio.open(path, "w", **profile)
    target.set_band_description(1, title)
    return target


def add_overviews(target: Any) -> None:
    """Overviews by nearest neighbour, down to 128 pixels."""
    factors = [f for f in (2, 4, 8, 16) if min(target.shape) // f >= 128]
    if factors:
        target.build_overviews(factors, Resampling.nearest)


def _asset(path: Path, layer: str, grid: GeoBox) -> pystac.Asset:
    entry: dict[str, Any] = {"name": layer, "data_type": "uint8", "tuile:kind": "class", "description": TITLES[layer]}
    if layer not in BIT_FIELDS:
        entry["nodata"] = FILL
    entry["gsd"] = abs(float(grid.affine.a))
    fields = {**_grid(grid), "bands": [entry]}
    return pystac.Asset(str(path), media_type=pystac.MediaType.GEOTIFF, roles=["data"], extra_fields=fields)


def _grid(grid: GeoBox) -> dict[str, Any]:
    a = grid.affine
    return {
        "proj:code": str(grid.crs),
        "proj:shape": [int(n) for n in grid.shape],
        "proj:transform": [float(v) for v in (a.a, a.b, a.c, a.d, a.e, a.f)],
    }


def _item(name: str, source: pystac.Item, grid: GeoBox, meta: Mapping[str, Any]) -> pystac.Item:
    kept = (
        "platform", "constellation", "instruments", "gsd", "view:sun_azimuth", "view:sun_elevation", "view:off_nadir",
        "view:azimuth", "sat:relative_orbit", "sat:orbit_state", "grid:code", "tuile:datatake", "start_datetime", "end_datetime",
    )  # fmt: skip
    properties = {k: source.properties[k] for k in kept if source.properties.get(k) is not None}
    properties |= {
        "gsd": abs(float(grid.affine.a)),
        "created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "processing:version": VERSION,
        "proj:code": str(grid.crs),
        "eo:snow_cover": round(float(meta["snow_percent"]), 4),
        "eo:cloud_cover": round(float(meta["cloud_percent"]), 4),
        "tuile:family": FAMILY,
        "tuile:product": name.rsplit("_", 1)[0],
        "lis:snow_line": meta["snow_line"] if meta["snow_line_found"] else None,
        "lis:mode": meta["mode"],
        "lis:fsc_law": meta["fsc_law"],
    }
    when = source.datetime
    item = pystac.Item(name, source.geometry, source.bbox, when, {k: v for k, v in properties.items() if v is not None})
    item.collection_id = COLLECTION
    item.stac_extensions = list(EXTENSIONS)
    return item


def _relative(item: pystac.Item, home: Path) -> dict[str, Any]:
    """The item with hrefs beside itself, so that the folder can be moved and ingested anywhere."""
    out = item.to_dict(include_self_link=False, transform_hrefs=False)
    for asset in out["assets"].values():
        asset["href"] = "./" + Path(asset["href"]).relative_to(home).as_posix()
    return out


def _json(meta: Mapping[str, Any]) -> str:
    return json.dumps(dict(meta), indent=1, default=str)


def _xml(name: str, meta: Mapping[str, Any]) -> str:
    root = ElementTree.Element("Snow_Product")
    ElementTree.SubElement(root, "PRODUCT_ID").text = name
    fields = {
        "ZS": meta["snow_line"], "SnowPercent": meta["snow_percent"], "CloudPercent": meta["cloud_percent"],
        "MODE": meta["mode"], "SENSOR": meta["sensor"], "FSC_LAW": meta["fsc_law"], "EXTENT_USED": json.dumps(meta["extent_used"]),
    }  # fmt: skip
    for key, value in fields.items():
        if value not in (None, "null"):
            ElementTree.SubElement(root, key).text = str(value)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _histogram(meta: Mapping[str, Any]) -> str:
    rows = [" ".join(meta["histogram_columns"])]
    rows += [" ".join(str(int(v)) for v in row) for row in meta["histogram"]]
    return "\n".join(rows) + "\n"
