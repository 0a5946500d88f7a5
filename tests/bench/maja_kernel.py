"""W8: correction of one band at full resolution: ours, the same equations in numpy, and reading the input.

    python -m tests.bench.maja_kernel [SIZE]

Interleaved in one run on the same band, one thread, medians of three, seconds of CPU. "numpy" interpolates every
coefficient to the pixels and evaluates the equations on whole rows of blocks; "JP2" and "COG" decode the band's digital
numbers from lossless JPEG 2000 as a Sentinel-2 L1C product has them, and from deflate. The last line is JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from scipy.ndimage import gaussian_filter, map_coordinates

from processes.maja.surface import Atmosphere, Terrain, direction, surface_reflectance

STEP, ROWS, REPEAT = 24, 512, 3  # coarse pixels of 240 m over 10 m
SUN, VIEW = direction(44, 150), direction(7, 105)
RANGES = [(0.85, 0.97), (0.02, 0.1), (0.05, 0.18), (0.03, 0.4), (0.6, 0.85), (0.08, 0.2), (0.5, 0.75), (0.1, 0.3)]


def field(rng: np.random.Generator, shape: tuple[int, int], sigma: float, low: float, high: float) -> np.ndarray:
    noise = gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return (low + (high - low) * (noise - noise.min()) / np.ptp(noise)).astype(np.float32)


def in_numpy(dn: np.ndarray, air: Atmosphere, terrain: Terrain, y0: int) -> tuple[np.ndarray, np.ndarray]:
    """The equations as one would write them with arrays: SRE and FRE of one row of blocks, int16."""
    height, width = dn.shape
    at = np.meshgrid((np.arange(height) + y0) / STEP, np.arange(width) / STEP, indexing="ij")
    gas, path, albedo, around, up_dir, up_dif, down_dir, down_dif = (
        map_coordinates(grid, at, order=1, mode="nearest", output=np.float32) for grid in vars(air).values()
    )
    up, down = up_dir + up_dif, down_dir + down_dif
    lit = ((dn.astype(np.float32) - 1000) * np.float32(1e-4) / gas - path) / (down * up)
    uniform = lit / (1 + albedo * lit)
    sre = (uniform * up * (1 - around * albedo) / (1 - uniform * albedo) - around * up_dif) / up_dir
    sre[dn == 0] = np.nan
    cosine = 1 / np.sqrt(1 + terrain.east**2 + terrain.north**2)
    incidence = np.maximum((SUN[2] - terrain.east * SUN[0] - terrain.north * SUN[1]) * cosine, 0.2)
    leaving = np.maximum((VIEW[2] - terrain.east * VIEW[0] - terrain.north * VIEW[1]) * cosine, 0.1)
    light = down_dir * incidence / SUN[2] + down_dif * (1 + cosine) / 2 + down * around * (1 - cosine) / 2
    fre = np.where(sre < 0, sre, sre * down * (incidence + leaving) / (SUN[2] + VIEW[2]) / light)
    return tuple(np.nan_to_num(np.rint(v * 10000).clip(-9999, 32767), nan=-10000).astype(np.int16) for v in (sre, fre))


def write_band(path: Path, dn: np.ndarray, **options: Any) -> None:
    profile = {"count": 1, "dtype": "uint16", "height": dn.shape[0], "width": dn.shape[1], "crs": "EPSG:32631"}
    with rasterio.open(path, "w", transform=Affine(10, 0, 3e5, 0, -10, 4.9e6), **profile, **options) as file:
        file.write(dn, 1)


def read_band(path: Path) -> None:
    with rasterio.open(path, num_threads=1) as file:
        file.read(1)


def run(size: int, folder: Path) -> dict[str, float]:
    rng = np.random.default_rng(8)
    nodes = (size // STEP + 2,) * 2
    air = Atmosphere(*(field(rng, nodes, 6, *r) for r in RANGES))
    grain = rng.normal(0, 60, (size, size))
    dn = np.clip(1000 + 10000 * field(rng, (size, size), 12, 0.02, 0.5) + grain, 1, 65535).astype(np.uint16)
    east, north = (field(rng, (size, size), 20, -0.5, 0.5) for _ in range(2))
    write_band(folder / "b.jp2", dn, driver="JP2OpenJPEG", quality=100, reversible="yes")
    write_band(folder / "b.tif", dn, driver="COG", compress="deflate", predictor=2, level=6, blocksize=512)
    grids = air.grids(1e-4, SUN, VIEW)
    results: dict[str, list[np.ndarray]] = {}

    def strips(name: str, work: Callable[[np.ndarray, Terrain, int], tuple[np.ndarray, ...]]) -> None:
        made = []
        for y0 in range(0, size, ROWS):
            cut = np.s_[y0 : y0 + ROWS]
            made.append(work(dn[cut], Terrain(east[cut], north[cut], SUN, VIEW), y0))
        results[name] = [np.concatenate(part) for part in zip(*made, strict=True)]

    def ours(values: np.ndarray, terrain: Terrain, y0: int) -> tuple[np.ndarray, ...]:
        out = surface_reflectance(values, grids, STEP, (y0, 0), -1000, terrain=terrain)
        assert out.fre is not None
        return out.sre, out.fre

    contenders: dict[str, Callable[[], None]] = {
        "ours": lambda: strips("ours", ours),
        "numpy": lambda: strips("numpy", lambda v, t, y0: in_numpy(v, air, t, y0)),
        "JP2": lambda: read_band(folder / "b.jp2"),
        "COG": lambda: read_band(folder / "b.tif"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    contenders["ours"]()  # compiled, or taken from numba's cache
    for _ in range(REPEAT):
        for name, work in contenders.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    differences = [np.abs(a.astype(int) - b) for a, b in zip(results["ours"], results["numpy"], strict=True)]
    print("SRE and FRE against numpy, largest difference:", ", ".join(f"{d.max()} DN" for d in differences))
    return {name: statistics.median(values) for name, values in seconds.items()}


def main(size: int = 2048) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cpu = run(size, Path(folder))
    mpix = size**2 / 1e6
    for name, value in cpu.items():
        print(f"{name:<6} {value:7.3f} CPU-s  {mpix / value:7.1f} Mpix per CPU-s")
    ratios = {
        "ratio_to_reading": cpu["ours"] / cpu["JP2"],
        "ratio_to_cog": cpu["ours"] / cpu["COG"],
        "ratio_to_numpy": cpu["ours"] / cpu["numpy"],
    }
    figures = {"workload": "W8", "size": size, "cpu": cpu, "mpix_per_cpu_s": mpix / cpu["ours"], **ratios}
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2048)
