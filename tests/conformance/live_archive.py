"""An archive for the official suite: what its workflows and payloads name, as GeoTIFFs with STAC items.

`SENTINEL2`: bands B04 and B08 at 10 m in EPSG:32632 around the suite's areas, every five days of June 2022: one date in
its "one day", dates in five ISO weeks. `SOIL`: the collection that the payloads of the general module load, one band of
about 1 km near Vienna, each month of 2020.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform_bounds

SENTINEL2, SOIL = "SENTINEL2_L2A_SUITE", "CGLS_SSM_1KM"
SCALE = 1e-4


def generate(folder: Path) -> None:
    """Write both collections below ``folder``."""
    _sentinel2(folder / "sentinel2")
    _soil(folder / "soil")


def _sentinel2(folder: Path) -> None:
    """Fields with NDVI from -0.1 to 0.9 that ripen, and a cloud brighter than 1 on the first date."""
    rng = np.random.default_rng(20220602)
    transform = from_origin(679000, 5152600, 10, 10)
    fields = rng.uniform(0.05, 0.95, (22, 24)).repeat(10, 0).repeat(10, 1)
    rows, columns = np.indices(fields.shape)
    items = []
    for number in range(6):
        when = datetime(2022, 6, 2, 10, 10, 31, tzinfo=UTC) + timedelta(days=5 * number)
        vigour = np.clip(fields + 0.02 * number, 0, 1)
        noise = rng.normal(0, 0.003, (2, *fields.shape))
        red, nir = 0.16 - 0.13 * vigour + noise[0], 0.14 + 0.42 * vigour + noise[1]
        if number == 0:
            cloud = (rows - 120) ** 2 + (columns - 100) ** 2 < 15**2
            red, nir = np.where(cloud, 1.08, red), np.where(cloud, 1.05, nir)
        assets = {}
        for name, values, common in (("B04", red, "red"), ("B08", nir, "nir")):
            file = folder / f"S2_{when:%Y%m%d}" / f"{name}.tif"
            _write(file, np.round(values / SCALE).astype("int16"), transform, "EPSG:32632", nodata=-10000)
            band = {
                "name": name,
                "eo:common_name": common,
                "raster:scale": SCALE,
                "nodata": -10000,
                "data_type": "int16",
            }
            assets[name] = {
                "href": file.name,
                "type": "image/tiff; application=geotiff",
                "roles": ["data"],
                "bands": [band],
            }
        properties = {"platform": "sentinel-2a", "constellation": "sentinel-2", "gsd": 10, "sat:relative_orbit": 22}
        items.append(
            _item(folder, f"S2_{when:%Y%m%d}", when, "EPSG:32632", transform, fields.shape, assets, properties)
        )
    _collection(folder, SENTINEL2, items)


def _soil(folder: Path) -> None:
    """Surface soil moisture, percent in steps of a half."""
    rng = np.random.default_rng(2020)
    transform = from_origin(15.9, 48.6, 1 / 112, 1 / 112)
    items = []
    for month in range(1, 13):
        when = datetime(2020, month, 10, tzinfo=UTC)
        values = rng.integers(40, 160, (90, 112), dtype="uint8")
        file = folder / f"SSM_{when:%Y%m%d}" / "B01.tif"
        _write(file, values, transform, "EPSG:4326", nodata=255)
        band = {"name": "B01", "raster:scale": 0.5, "nodata": 255, "data_type": "uint8", "unit": "percent"}
        assets = {
            "B01": {"href": file.name, "type": "image/tiff; application=geotiff", "roles": ["data"], "bands": [band]}
        }
        items.append(_item(folder, f"SSM_{when:%Y%m%d}", when, "EPSG:4326", transform, values.shape, assets, {}))
    _collection(folder, SOIL, items)


def _write(file: Path, values: np.ndarray, transform: Affine, crs: str, nodata: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    height, width = values.shape
    profile = {"driver": "GTiff", "count": 1, "height": height, "width": width, "dtype": values.dtype, "nodata": nodata}
    with rasterio.open(file, "w", crs=crs, transform=transform, compress="deflate", **profile) as target:
        target.write(values, 1)


def _item(
    folder: Path,
    name: str,
    when: datetime,
    crs: str,
    transform: Affine,
    shape: tuple[int, ...],
    assets: dict[str, Any],
    properties: dict[str, Any],
) -> str:
    """Write an item beside its rasters; its path relative to ``folder``."""
    west, north = transform @ (0, 0)
    east, south = transform @ (shape[1], shape[0])
    w, s, e, n = transform_bounds(crs, "EPSG:4326", west, south, east, north)
    document = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": name,
        "bbox": [w, s, e, n],
        "geometry": {"type": "Polygon", "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]]},
        "properties": {"datetime": when.isoformat().replace("+00:00", "Z"), "proj:code": crs, **properties},
        "links": [],
        "assets": assets,
    }
    (folder / name / "item.json").write_text(json.dumps(document))
    return f"{name}/item.json"


def _collection(folder: Path, name: str, items: list[str]) -> None:
    document = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "description": "Synthetic data for the official openEO test suite.",
        "license": "CC0-1.0",
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
        "links": [{"rel": "item", "href": f"./{item}", "type": "application/geo+json"} for item in items],
    }
    (folder / "collection.json").write_text(json.dumps(document))
