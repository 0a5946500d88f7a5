"""Small synthetic inputs for the snow tests."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.lis.detect import Block
from processes.lis.params import NODATA

NAMES = ("B03", "B04", "B11", "B02", "B8A", "CLM")


def mountain(seed: int = 0, n: int = 240, line: float = 1500.0, top: float = 2600.0) -> Block:
    """A ridge with snow above ``line``, clouds with shadows, relief shade, at 20 m."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:n, :n] / n
    dem = 400 + (top - 400) * (0.5 - 0.5 * np.cos(2 * np.pi * x)) * (0.7 + 0.3 * np.sin(3 * np.pi * y))
    fsc = 1 / (1 + np.exp(-(dem - line + rng.normal(0, 30, dem.shape)) / 60))
    relief = (np.gradient(dem, axis=1) > 30) & (y > 0.5)
    light = np.where(relief, 0.2, 1.0)

    def band(snow: float, ground: float) -> np.ndarray:
        return (fsc * snow + (1 - fsc) * ground) * light + rng.normal(0, 0.004, dem.shape)

    values = {
        "blue": band(0.92, 0.06),
        "green": band(0.9, 0.09),
        "red": band(0.88, 0.08),
        "nir": band(0.78, 0.3),
        "swir": band(0.09, 0.24),
    }
    cloudy = np.hypot(y - 0.3, x - 0.35) < 0.18
    thin = np.hypot(y - 0.75, x - 0.7) < 0.12
    cloud = np.where(cloudy, 3, 0) | np.where(thin, 3, 0) | np.where(np.roll(cloudy, 25, 0) & ~cloudy, 33, 0)
    cloud |= np.where(np.hypot(y - 0.1, x - 0.8) < 0.06, 129, 0)
    for name in values:
        values[name] = np.where(cloudy, 0.6, np.where(thin, 0.75 * values[name] + 0.05, values[name]))
    digital = {k: np.rint(v * 1e4).astype(np.int16) for k, v in values.items()}
    return Block(
        **digital,
        cloud=cloud.astype(np.uint8),
        dem=np.rint(dem).astype(np.int16),
        relief=relief.astype(np.uint8),
        tcd=rng.integers(0, 102, dem.shape).astype(np.uint8),
        geo=(relief * 64).astype(np.uint8),
    )


def with_swath(block: Block, columns: int) -> Block:
    """The block with its left ``columns`` without data."""
    changed = {}
    for name in ("green", "red", "swir", "blue", "nir"):
        values = getattr(block, name).copy()
        values[:, :columns] = NODATA
        changed[name] = values
    return replace(block, **changed)


def as_cube(blocks: list[Block], chunks: tuple[int, int] | None = None) -> xr.DataArray:
    """Float reflectance cube (t, bands, y, x) with the cloud raster as a band, EPSG:32631, 20 m."""
    planes = []
    for b in blocks:
        bands = [b.green, b.red, b.swir, b.blue, b.nir]
        reflectance = [np.where(v == NODATA, np.nan, v.astype(np.float32) * np.float32(1e-4)) for v in bands]
        planes.append(np.stack([*reflectance, b.cloud.astype(np.float32)]).astype(np.float32))
    values = np.stack(planes)
    n, m = values.shape[2:]
    data = da.from_array(values, chunks=(1, 1, *chunks)) if chunks else values
    days = np.array(
        [np.datetime64("2024-01-05T10:50:00", "ns") + np.timedelta64(5 * k, "D") for k in range(len(blocks))]
    )
    coords = {
        "t": days,
        "bands": list(NAMES),
        "y": 4.8e6 - 20 * (np.arange(n) + 0.5),
        "x": 3e5 + 20 * (np.arange(m) + 0.5),
    }
    return cubes.cube(data, ["t", "bands", "y", "x"], coords, crs="EPSG:32631", derived_from=["a"])


def plane(values: np.ndarray, chunks: tuple[int, int] | None = None) -> xr.DataArray:
    """A static plane (y, x) on the grid of `as_cube`."""
    n, m = values.shape
    data = da.from_array(values, chunks=chunks) if chunks else values
    return cubes.cube(
        data,
        ["y", "x"],
        {"y": 4.8e6 - 20 * (np.arange(n) + 0.5), "x": 3e5 + 20 * (np.arange(m) + 0.5)},
        crs="EPSG:32631",
    )
