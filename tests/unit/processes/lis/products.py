"""Level-2A products made of small rasters, with their items, and a catalogue that offers static rasters."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from affine import Affine

from processes.errors import ProcessError
from tests.unit.processes.lis.scenes import mountain

ORIGIN = (300000.0, 4800000.0)


def write(
    path: Path,
    values: np.ndarray,
    step: float,
    *,
    nodata: float | None = None,
    origin=ORIGIN,
    crs="EPSG:32631",
    block=64,
) -> Path:
    transform = Affine(step, 0, origin[0], 0, -step, origin[1])
    profile = {
        "driver": "GTiff",
        "count": 1,
        "dtype": values.dtype.name,
        "height": values.shape[0],
        "width": values.shape[1],
    }
    profile |= {
        "crs": crs,
        "transform": transform,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": block,
        "blockysize": block,
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(values, 1)
    return path


def asset(path: Path, *bands: dict[str, Any]) -> pystac.Asset:
    with rasterio.open(path) as source:
        a, shape, crs, dtype = source.transform, source.shape, source.crs, source.dtypes[0]
    fields = {"proj:code": crs.to_string(), "proj:shape": list(shape), "proj:transform": list(a)[:6]}
    return pystac.Asset(str(path), extra_fields={**fields, "bands": [{"data_type": dtype, **b} for b in bands]})


def reflectance(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "tuile:kind": "reflectance",
        "raster:scale": 1e-4,
        "raster:offset": 0,
        "nodata": -10000,
        **more,
    }


def item(name: str, assets: dict[str, pystac.Asset], **properties: Any) -> pystac.Item:
    box = [0.5, 43.0, 1.0, 43.4]
    ring = [[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]], [box[0], box[1]]]
    when = datetime(2024, 1, 5, 10, 51, 7, tzinfo=UTC)
    made = pystac.Item(
        name, {"type": "Polygon", "coordinates": [ring]}, box, when, {"proj:code": "EPSG:32631", **properties}
    )
    made.assets = assets
    return made


def muscate(folder: Path, seed: int = 1, n: int = 240) -> tuple[pystac.Item, dict[str, np.ndarray]]:
    """A Sentinel-2 MUSCATE product of `mountain`: 10 m bands with detail of their own."""
    block, rng = mountain(seed, n), np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    fine = {}
    for role, band in (("green", "B03"), ("red", "B04"), ("blue", "SRE_B02")):
        values = getattr(block, role).repeat(2, 0).repeat(2, 1) + rng.integers(-60, 60, (2 * n, 2 * n))
        values[:, : n // 6] = -10000
        fine[band] = values.astype(np.int16)
    coarse = {"B11": block.swir.copy(), "SRE_B8A": block.nir.copy()}
    for values in coarse.values():
        values[:, : n // 12] = -10000
    assets = {}
    for name, values in fine.items():
        assets[name] = asset(write(folder / f"{name}.tif", values, 10.0, nodata=-10000), reflectance(name))
    for name, values in coarse.items():
        assets[name] = asset(write(folder / f"{name}.tif", values, 20.0, nodata=-10000), reflectance(name))
    masks = {"CLM_R2": block.cloud, "MG2_R2": block.geo}
    for name, values in masks.items():
        assets[name] = asset(write(folder / f"{name}.tif", values, 20.0), {"name": name, "tuile:kind": "class"})
    sun = {"view:sun_azimuth": 150.0, "view:sun_elevation": 32.0}
    made = item(f"SENTINEL2A_20240105_{seed}", assets, constellation="sentinel-2", **{"grid:code": "MGRS-31TGL", **sun})
    return made, {**fine, **coarse, **masks, "dem": block.dem}


def static(folder: Path, kind: str, values: np.ndarray, step: float, **more: Any) -> pystac.Item:
    folder.mkdir(parents=True, exist_ok=True)
    path = write(folder / f"{kind}_{len(list(folder.iterdir()))}.tif", values, step, **more)
    band = {"name": kind, "tuile:kind": "continuous" if kind == "DEM" else "class"}
    if more.get("nodata") is not None:
        band["nodata"] = more["nodata"]
    return item(path.stem, {kind: asset(path, band)})


@dataclass
class Archive:
    """A catalogue of static rasters."""

    items: dict[str, list[pystac.Item]] = field(default_factory=dict)

    def collection(self, collection_id: str) -> dict[str, Any]:
        if collection_id not in self.items:
            raise ProcessError("CollectionNotFound", f"Collection '{collection_id}' does not exist.")
        return {"id": collection_id}

    def search(self, collection_id: str, **_: Any) -> list[pystac.Item]:
        self.collection(collection_id)
        return self.items[collection_id]
