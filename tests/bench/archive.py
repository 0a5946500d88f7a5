"""The archive that is measured: a Sentinel-2 tile in MUSCATE layout, known by its file names, made once.

Pixels are a smooth random texture (Gaussian fields of three scales) plus white noise of 25 digital numbers, the same
ground on every date: deflate packs it to about three quarters, as it packs real reflectances (pure noise would not pack
at all, a gradient to nothing). Larger tiles repeat a texture of 2048 pixels, which no codec notices. A strip at the left
is nodata; clouds cover about a third of each date, on other places each time. Files are tiled (512), with overviews.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from scipy.ndimage import gaussian_filter

FINE = {"B02": (900, 250), "B03": (1100, 300), "B04": (1200, 400), "B08": (3000, 700)}
COARSE = {"B05": (1500, 400), "B06": (2400, 500), "B07": (2700, 600), "B8A": (3000, 700), "B11": (2300, 600),
          "B12": (1500, 500)}  # fmt: skip
NODATA, EPSG, ORIGIN, TEXTURE = -10000, 32631, (600000.0, 4900020.0), 2048
VERSION = 2  # of what is written: part of the folder's name


@dataclass(frozen=True)
class Plan:
    """What an archive holds. ``size`` pixels of 10 m along a side; dates follow one another every five days."""

    size: int = 2048
    dates: int = 12
    compression: str = "deflate"
    coarse: bool = False  # the six 20 m bands as well

    @property
    def name(self) -> str:
        return f"v{VERSION}-{self.size}-{self.dates}-{self.compression}{'-10bands' if self.coarse else ''}"

    @property
    def bands(self) -> list[str]:
        return [*FINE, *(COARSE if self.coarse else ())]


def archive(plan: Plan, cache: Path) -> dict[str, Any]:
    """The archive of ``plan`` in ``cache``, written if it is not there; plain data that tells where everything is."""
    root = cache.resolve() / "archives" / plan.name
    index = root / "bench.json"
    if not index.is_file():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        described = _write(plan, root)
        index.write_text(json.dumps(described, indent=1))
    return json.loads(index.read_text())


def _write(plan: Plan, root: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    side = min(plan.size, TEXTURE)
    base = sum(gaussian_filter(rng.standard_normal((side, side)).astype("f4"), s, mode="wrap") * s for s in (1, 4, 16))
    base = np.asarray(base / np.std(base), "f4")
    items = []
    with ThreadPoolExecutor(2) as pool:
        for day in range(plan.dates):
            instant = datetime(2024, 5, 2, 10, 30) + timedelta(days=5 * day)
            name = f"SENTINEL2A_{instant:%Y%m%d-%H%M%S}-000_L2A_T31TFJ_D_V3-0"
            (root / "products" / name / "MASKS").mkdir(parents=True)
            seeds = rng.integers(1 << 31, size=len(plan.bands) + 1)
            files = {b: root / "products" / name / f"{name}_FRE_{b.replace('B0', 'B')}.tif" for b in plan.bands}
            written = [
                pool.submit(_band, files[b], plan, base, *(FINE.get(b) or COARSE[b]), b in COARSE, int(s))
                for b, s in zip(plan.bands, seeds)
            ]
            files["CLM"] = root / "products" / name / "MASKS" / f"{name}_CLM_R1.tif"
            written.append(pool.submit(_mask, files["CLM"], plan, side, int(seeds[-1])))
            for w in written:
                w.result()
            items.append(
                {
                    "id": name,
                    "datetime": f"{instant:%Y-%m-%dT%H:%M:%SZ}",
                    "files": {k: str(v) for k, v in files.items()},
                }
            )
    return {
        "plan": asdict(plan), "products": str(root / "products"), "items": items, "epsg": EPSG, "nodata": NODATA,
        "size": plan.size, "origin": ORIGIN, "resolution": 10.0, "bands": plan.bands,
    }  # fmt: skip


def _tiled(texture: np.ndarray, size: int) -> np.ndarray:
    times = -(-size // len(texture))
    return np.tile(texture, (times, times))[:size, :size]


def _band(path: Path, plan: Plan, base: np.ndarray, mean: float, spread: float, coarse: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    step = 2 if coarse else 1
    texture = mean + spread * base[::step, ::step]
    texture = np.clip(texture + rng.normal(0, 25, texture.shape), 1, 12000).astype("i2")
    pixels = _tiled(texture, plan.size // step)
    pixels[:, : 20 // step] = NODATA
    _save(path, pixels, plan, 10.0 * step, nodata=NODATA)


def _mask(path: Path, plan: Plan, side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal((side, side)).astype("f4"), 20, mode="wrap")
    cloud = field > np.quantile(field, 0.7)
    # CLM: bit 0 all clouds and shadows, bit 1 all clouds
    _save(path, _tiled(np.where(cloud, 0b11, 0).astype("u1"), plan.size), plan, 10.0)


def _save(path: Path, pixels: np.ndarray, plan: Plan, resolution: float, nodata: float | None = None) -> None:
    profile: dict[str, Any] = {
        "driver": "GTiff", "height": pixels.shape[0], "width": pixels.shape[1], "count": 1, "dtype": pixels.dtype,
        "crs": f"EPSG:{EPSG}", "transform": Affine(resolution, 0, ORIGIN[0], 0, -resolution, ORIGIN[1]),
        "nodata": nodata, "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": plan.compression,
    }  # fmt: skip
    if pixels.dtype.itemsize > 1:
        profile["predictor"] = 2
    profile |= {"zlevel": 6} if plan.compression == "deflate" else {"zstd_level": 9}
    factors = [f for f in (2, 4, 8, 16, 32) if len(pixels) // f >= 128]
    with rasterio.Env(GDAL_NUM_THREADS="1"):
        with rasterio.open(path, "w", **profile) as out:
            out.write(pixels, 1)
        with rasterio.open(path, "r+") as out:
            out.build_overviews(factors, Resampling.average if nodata is not None else Resampling.nearest)


def polygons(described: dict[str, Any], across: int = 10, seed: int = 5) -> list[list[tuple[float, float]]]:
    """Rings of ``across`` x ``across`` field-sized polygons (six corners, about 400 m) in the archive's CRS, one in each
    cell of a grid, so that they do not overlap."""
    rng = np.random.default_rng(seed)
    cell = described["size"] * described["resolution"] / across
    out = []
    for k in range(across * across):
        radius = min(cell * 0.45, 260.0)
        x, y = rng.uniform(radius, cell - radius, 2) + np.array([k % across, k // across]) * cell
        angles = (np.arange(6) + rng.uniform(-0.3, 0.3, 6)) * (np.pi / 3)  # around the centre: never crossing itself
        reach = rng.uniform(0.5, 1, 6) * radius
        left, top = described["origin"]
        ring = [(left + x + r * np.cos(a), top - y + r * np.sin(a)) for a, r in zip(angles, reach)]
        out.append([*ring, ring[0]])
    return out


def megabytes(files: Sequence[str]) -> float:
    """Size of files on disk."""
    return sum(Path(f).stat().st_size for f in files) / 1e6
