"""Small blocks and cubes for the synthesis tests."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pystac
import rasterio
import xarray as xr

from processes import cube as cubes
from processes.wasp.composite import Block, Result, average, synthesise
from processes.wasp.composite import Options as Options

SYNTHESIS = date(2018, 5, 2)


def block(values: list[list[int]], classes: list[int], weights: list[float] | None = None, size: int = 1) -> Block:
    """A block of ``size`` x ``size`` equal pixels: ``values`` per date and band, ``classes`` per date."""
    dates, bands = len(values), len(values[0])
    dn = np.broadcast_to(np.array(values, np.int16)[:, :, None, None], (dates, bands, size, size)).copy()
    cls = np.broadcast_to(np.array(classes, np.uint8)[:, None, None], (dates, size, size)).copy()
    weight = np.broadcast_to(np.array(weights or [1.0] * dates, np.float32)[:, None, None], cls.shape).copy()
    ones = np.ones((dates, bands, 1, 1), np.float32)
    return Block(dn, cls, dn[:, 0], weight, ones, ones[:, 0], np.ones((dates, bands), bool))


def read(item: pystac.Item, asset: str) -> np.ndarray:
    """The pixels of an asset's first band."""
    with rasterio.open(item.assets[asset].href) as source:
        return source.read(1)


def run(made: Block, days: list[int], synthesis: date = SYNTHESIS, **options: object) -> Result:
    """Synthesis of a block whose dates lie ``days`` from the synthesis date."""
    chosen = Options.of(**options)  # type: ignore[arg-type]
    return synthesise(made, [synthesis + timedelta(days=d) for d in days], synthesis, chosen)


def pixel(result: Result) -> tuple[list[float], int, float, float, int]:
    """(reflectance per band, flag, weight, date, clear dates) of the first pixel."""
    first = (0, 0)
    refl = [float(v) for v in result.refl[:, 0, 0]]
    return (
        refl,
        int(result.flag[first]),
        float(result.weight[first]),
        float(result.date[first]),
        int(result.clear[first]),
    )


def cube(
    scene_dn: np.ndarray, cloud: np.ndarray, days: list[date], bands: list[str], **extra: np.ndarray
) -> xr.DataArray:
    """A float32 cube from DN (T, B, h, w), a cloud mask (T, h, w) and more bands by name (T, h, w)."""
    refl = np.where(scene_dn == -10000, np.nan, scene_dn * np.float32(1e-4))
    planes = [refl, cloud[:, None].astype(np.float32), *(v[:, None].astype(np.float32) for v in extra.values())]
    values = np.concatenate(planes, axis=1).astype(np.float32)
    height, width = values.shape[2:]
    coords = {
        "t": np.array(days, dtype="datetime64[ns]"),
        "bands": [*bands, "CLM", *extra],
        "y": 5_100_000.0 - 5 - 10 * np.arange(height),
        "x": 300_005.0 + 10 * np.arange(width),
    }
    return cubes.cube(values, ("t", "bands", "y", "x"), coords, crs="EPSG:32632", derived_from=["a", "b"])


__all__ = ["SYNTHESIS", "Options", "average", "block", "cube", "pixel", "run"]
