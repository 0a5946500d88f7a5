"""Speed of the snow chain on one tile: ours, a plain numpy version of the same rules, and reading the inputs.

    python -m tests.bench.lis [--size 5490] [--threads 2]

All three in one run on the same files (a synthetic scene repeated over the tile, tiled DEFLATE GeoTIFFs). Wall and CPU
seconds apart: on a shared machine only the second compares. The original needs 171 CPU-s per tile (5490 x 5490) by its slope.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from processes.env import Env, Limits
from processes.lis.detect import Block, detect
from processes.lis.grids import halve
from processes.lis.params import NODATA, SENSORS, Params
from processes.lis.relief import relief_shade
from processes.lis.season import season
from tests.bench.lis_scene import scene

S2 = SENSORS["s2_muscate"]
FINE = ("green", "red", "blue")
TAPS = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256


def timed(title: str, work: Callable[[], Any], pixels: float) -> tuple[Any, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    out = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{title:<46} wall {wall:7.2f} s   CPU {cpu:7.2f} s   {pixels / cpu / 1e6:7.1f} Mpix per CPU-s", flush=True)
    return out, cpu


def make_tile(folder: Path, size: int) -> dict[str, Path]:
    """Rasters of a tile: 10 m green, red, blue; 20 m everything else."""
    s = scene(901, 366, swath=True)
    files = {}
    for name in (*FINE, "swir", "nir", "cloud", "mg2", "dem", "tcd", "relief"):
        values = getattr(s, name)
        fine = name in FINE
        side = 2 * size if fine else size
        times = -(-side // values.shape[0])
        values = np.tile(values, (times, times))[:side, :side]
        files[name] = folder / f"{name}.tif"
        profile = {
            "driver": "GTiff",
            "count": 1,
            "dtype": values.dtype.name,
            "height": side,
            "width": side,
            "crs": "EPSG:32631",
        }
        profile |= {"transform": Affine(10 if fine else 20, 0, 3e5, 0, -10 if fine else -20, 4.8e6), "tiled": True}
        profile |= {"blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1, "num_threads": 2}
        with rasterio.open(files[name], "w", **profile) as target:
            target.write(values, 1)
    return files


def read(path: Path) -> np.ndarray:
    with rasterio.Env(GDAL_NUM_THREADS="2"), rasterio.open(path, num_threads=2) as source:
        return source.read(1)


def halve_numpy(band: np.ndarray) -> np.ndarray:
    """10 m -> 20 m in plain numpy, nodata taps left out (float32 to keep the memory of a tile within bounds)."""
    valid = band != NODATA

    def across(values: np.ndarray) -> np.ndarray:
        padded = np.pad(values, ((0, 0), (3, 3)))
        return sum(np.float32(t) * padded[:, k : k + values.shape[1] : 2] for k, t in enumerate(TAPS))

    weights = across(across(valid.astype(np.float32)).T).T
    sums = across(across(np.where(valid, band, 0).astype(np.float32)).T).T
    with np.errstate(invalid="ignore", divide="ignore"):
        out = np.floor(sums / weights + np.float32(0.5))
    return np.where(valid[1::2, 1::2], out, NODATA).astype(np.int16)


def detect_numpy(b: Block) -> np.ndarray:
    """SEB by the published rules in plain numpy (coarse red by block means: the reference only shows the time)."""
    g, r, s = (getattr(b, k).astype(np.float32) for k in ("green", "red", "swir"))
    with np.errstate(all="ignore"):
        ndsi = (g - s) / (g + s)
    allc = b.cloud > 0
    p1 = ~allc & (ndsi > 0.4) & (r > 2000)
    n, m = (k // 12 for k in r.shape)
    mean = r[: n * 12, : m * 12].reshape(n, 12, m, 12).mean((1, 3))
    rows, cols = (np.minimum(np.arange(k) // 12, c - 1) for k, c in zip(r.shape, (n, m)))
    dark = mean[np.ix_(rows, cols)] <= 3000
    refine = (allc & ~dark) | ((b.cloud & 0b11100000) > 0)
    index = ((b.dem.astype(np.int32) - int(b.dem.min())) // 100).ravel()
    total, cloud, snow = (np.bincount(index, weights=w.ravel()) for w in (np.ones_like(allc, np.float32), allc, p1))
    with np.errstate(invalid="ignore"):
        fit = np.flatnonzero(((total - cloud) / total > 0.1) & (snow / (total - cloud) > 0.1))
    line = b.dem.min() + 100 * max(int(fit[0]) - 2, 0) if fit.size else 1e9
    p2 = ~refine & (b.dem > line) & (ndsi > 0.15) & (r > 400)
    shaded = ~refine & (b.dem > line) & (b.relief == 1) & (b.blue.astype(np.int32) - b.nir > 160)  # type: ignore[union-attr, operator]
    snowy = p1 | p2 | shaded
    seb = np.where(s == NODATA, 255, np.where(snowy, 100, np.where(refine | (allc & (r > 1000)), 205, 0))).astype(
        np.uint8
    )
    toc = np.where(snowy, 100 * (0.5 * np.tanh(2.65 * ndsi - 1.42) + 0.5), seb).astype(np.uint8)
    ground = np.where(snowy, np.minimum(toc / np.maximum(1 - b.tcd / 100, 0.01), 100), seb).astype(np.uint8)  # type: ignore[operator]
    return np.stack([seb, toc, ground])


def product(folder: Path, files: dict[str, Path], threads: int) -> None:
    """The whole stage: item in, product out."""
    from processes.stages import make_stage, run_here
    from tests.unit.processes.lis.products import Archive, asset, item, reflectance

    names = {"green": "B03", "red": "B04", "blue": "SRE_B02", "swir": "B11", "nir": "SRE_B8A"}
    assets = {b: asset(files[k], reflectance(b)) for k, b in names.items()}
    assets |= {
        b: asset(files[k], {"name": b, "tuile:kind": "class"}) for k, b in (("cloud", "CLM_R2"), ("mg2", "MG2_R2"))
    }
    made = item(
        "tile",
        assets,
        constellation="sentinel-2",
        **{"grid:code": "MGRS-31TGL", "view:sun_azimuth": 150.0, "view:sun_elevation": 30.0},
    )
    dem = item("dem", {"DEM": asset(files["dem"], {"name": "DEM", "tuile:kind": "continuous"})})
    env = Env(
        catalogue=Archive({"DEM": [dem]}),
        workspace=folder / "work",
        limits=Limits(threads=threads),
        sink=lambda *_, **__: None,
    )
    run_here(make_stage("lis_snow", [made], {}), env)
    # not ru_maxrss: a process started from a large one inherits that one's
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(f"  peak memory of the stage {int(peak.split()[1]) / 2**20:.2f} GiB, Python and imports included", flush=True)


def timed_stage(folder: Path, files: dict[str, Path], threads: int, pixels: float) -> None:
    """The stage in a process of its own, which tells its peak memory."""
    from multiprocessing import get_context

    wall = time.perf_counter()
    worker = get_context("spawn").Process(target=product, args=(folder, files, threads))
    worker.start()
    worker.join()
    if worker.exitcode != 0:
        raise SystemExit("the stage failed")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall, cpu = time.perf_counter() - wall, used.ru_utime + used.ru_stime
    print(
        f"{'whole stage: files in, product out (own process)':<46} wall {wall:7.2f} s   CPU {cpu:7.2f} s   {pixels / cpu / 1e6:7.1f} Mpix per CPU-s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=5490, help="pixels per side at 20 m")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    size, threads, pixels = options.size, options.threads, float(options.size**2)
    small = scene(901, 120)
    warm = Block(
        halve(small.green),
        halve(small.red),
        small.swir,
        small.cloud,
        small.dem,
        halve(small.blue),
        small.nir,
        small.relief,
        small.tcd,
        small.mg2,
    )
    for mode in ("lis", "plus"):
        detect(warm, S2, mode=mode)
    relief_shade(small.dem, 20.0, 150.0, 30.0, hillshade_lim=0.2)
    season(np.zeros((3, 8, 8), np.uint8), np.arange(3), np.arange(3), 30)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make_tile(folder, size)
        print(f"one tile, {size} x {size} at 20 m, {threads} threads")
        given, reading = timed("reading the inputs", lambda: {k: read(p) for k, p in files.items()}, pixels)
        bands, a = timed(
            "ours: 10 -> 20 m of three bands", lambda: {k: halve(given.pop(k), threads=threads) for k in FINE}, pixels
        )
        block = Block(
            bands["green"],
            bands["red"],
            given["swir"],
            given["cloud"],
            given["dem"],
            bands["blue"],
            given["nir"],
            given["relief"],
            given["tcd"],
            given["mg2"],
        )
        for mode in ("lis", "plus"):
            _, b = timed(
                f"ours: detection, mode {mode}, eight layers",
                lambda m=mode: detect(block, S2, Params(), m, threads=threads),
                pixels,
            )
            print(
                f"  compute, mode {mode}: {a + b:.2f} CPU-s = {(a + b) / 2:.2f} s per core pair; ratio to reading {(a + b) / reading:.2f}"
            )
        timed("ours: relief shade", lambda: relief_shade(block.dem, 20.0, 150.0, 30.0, hillshade_lim=0.2), pixels)
        fine = {k: read(files[k]) for k in FINE}
        _, c = timed("numpy: 10 -> 20 m of three bands", lambda: [halve_numpy(fine.pop(k)) for k in FINE], pixels)
        _, d = timed("numpy: detection, three layers", lambda: detect_numpy(block), pixels)
        print(f"  numpy over ours: {(c + d) / (a + b):.1f}")
        timed_stage(folder, files, threads, pixels)
    rng = np.random.default_rng(0)
    n, side = 75, 1500
    peak = rng.integers(20, 40, (side // 10, side // 10)).repeat(10, 0).repeat(10, 1)
    planes = np.stack(
        [
            np.where(rng.random((15, 15)).repeat(100, 0).repeat(100, 1) < 0.5, 205, (abs(k - 37) < peak) * 100)
            for k in range(n)
        ]
    ).astype(np.uint8)
    days = np.arange(n) * 5 - 5
    timed("season: 75 dates", lambda: season(planes, np.arange(n), days, 365, threads=threads), float(side * side))


if __name__ == "__main__":
    main()
