"""Speed of the synthesis: ours, a plain numpy reference and plain reading of the inputs, in one run.

    python -m tests.bench.wasp [--size 2196] [--dates 9] [--threads 2]      (a whole tile: --size 10980, 8 GB of disk)

Prints Mpix x date / s of the array functions (4 bands), then a product of ``size`` pixels made from files on disk: wall and
CPU time of reading alone, of our own computing inside the run and of writing, and peak memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from rasterio.transform import from_origin

from processes.env import Env, Limits
from processes.stages import Task, make_task
from processes.wasp import chain, sources
from processes.wasp.composite import NODATA, Block, Options, average, classify
from processes.wasp.product import ProductWriter
from processes.wasp.weights import CoarseGrid, Weighting, aerosol_weight
from tests.bench.wasp_scenes import Scene, make_scene

BANDS_10, BANDS_20 = ("B02", "B03", "B04", "B08"), ("B05", "B06", "B07", "B8A", "B11", "B12")


def numpy_reference(dn: np.ndarray, cls: np.ndarray, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Weighted mean of land with the blue outliers left out, the way one writes it in numpy: (B, h, w) float32."""
    land = cls == 4
    blue = np.where(land, dn[:, 0] * factor[:, 0], np.nan).astype(np.float32)
    with np.errstate(all="ignore"):
        median = np.nanmedian(blue, axis=0)
        kept = land & (np.abs(blue - median) < 200)
    w = np.where(kept, weight, 0)
    out = [(w * (dn[:, b] * factor[:, b])).sum(axis=0) / np.maximum(w.sum(axis=0), 1e-6) for b in range(dn.shape[1])]
    return np.stack(out)


def array_speed(scene: Scene, threads: int, blocks: int) -> None:
    """Weights and average of ``blocks`` copies of a scene on ``threads`` threads, and the numpy reference."""
    dates, bands, height, width = scene.dn.shape
    weighting, options = Weighting(), Options.of()
    grid = CoarseGrid(height, width, 24)
    aerosol = aerosol_weight(scene.aot, weighting)
    nodes = np.ones((dates, bands, 23, 23), np.float32)
    seen = np.ones((dates, bands), bool)
    days = [(d - scene.synthesis).days for d in scene.dates]
    held = []
    for t in range(dates):
        sums = grid.start()
        grid.add(scene.cloud[t], 0, 0, sums)
        held.append(grid.fields(sums, weighting))

    def ours(_: int) -> None:
        cls = classify(scene.cloud, scene.water, scene.snow, scene.dn)
        weight = np.empty((dates, height, width), np.float32)
        for t in range(dates):
            grid.weight(*held[t], aerosol[t], 1.0, 0, 0, weight[t])
        complete = seen.all(axis=1)[:, None, None]
        average(
            Block(scene.dn, cls, scene.dn[:, 0], weight, nodes, nodes[:, 0], seen, complete=complete), days, options
        )

    ours(0)
    with ThreadPoolExecutor(threads) as pool:
        wall, cpu = _timed(lambda: list(pool.map(ours, range(blocks))))
    mpix = dates * height * width * blocks / 1e6
    print(f"arrays: ours {mpix / wall:.1f} Mpix*date/s on {threads} threads ({mpix / cpu:.1f} per core), 4 bands")
    cls = classify(scene.cloud, scene.water, scene.snow, scene.dn)
    weight = np.ones((dates, height, width), np.float32)
    wall, cpu = _timed(lambda: numpy_reference(scene.dn, cls, weight, nodes[:, :, :1, :1]))
    print(f"arrays: numpy reference (weights not counted) {mpix / blocks / wall:.1f} Mpix*date/s")


def write_products(folder: Path, scene: Scene, size: int) -> list[pystac.Item]:
    """Products of ``size`` pixels that repeat the scene, mirrored, as tiled deflate files, and their items."""
    pads = [(0, 0), (0, 0), (0, size - scene.dn.shape[2]), (0, size - scene.dn.shape[3])]
    items = []
    for t, day in enumerate(scene.dates):
        when = datetime(day.year, day.month, day.day, 10)
        item = pystac.Item(f"D{day:%Y%m%d}", None, None, when, {
            "constellation": "sentinel-2", "platform": "sentinel-2a", "grid:code": "MGRS-31TCJ", "proj:code": "EPSG:32631",
            "view:sun_elevation": 90 - scene.sun_zenith[t], "view:sun_azimuth": scene.sun_azimuth[t],
            "view:off_nadir": scene.view_zenith[t, 0], "view:azimuth": scene.view_azimuth[t, 0],
        })  # fmt: skip
        dn = np.pad(scene.dn[t : t + 1], pads, mode="symmetric")[0]
        half = np.ascontiguousarray(dn[:, ::2, ::2])
        for n, band in enumerate(BANDS_10):
            _asset(item, folder / f"{item.id}_{band}.tif", dn[n], 10, band, "reflectance")
        for n, band in enumerate(BANDS_20):
            _asset(item, folder / f"{item.id}_{band}.tif", half[n % 4], 20, band, "reflectance")
        for name, mask in {
            "CLM": scene.cloud[t] * 3, "EDG": scene.dn[t, 0] == NODATA, "MG2": scene.water[t] * 1 + scene.snow[t] * 4, "AOT": np.rint(scene.aot[t] * 200)
        }.items():  # fmt: skip
            plane = np.pad(mask.astype(np.uint8), pads[2:], mode="symmetric")
            _asset(item, folder / f"{item.id}_{name}.tif", plane, 10, name, "continuous" if name == "AOT" else "class")
        items.append(item)
    return items


def _asset(item: pystac.Item, path: Path, values: np.ndarray, resolution: float, band: str, kind: str) -> None:
    transform = from_origin(300000, 4900020, resolution, resolution)
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=values.dtype,
        crs="EPSG:32631", transform=transform, tiled=True, blockxsize=512, blockysize=512, compress="deflate",
        predictor=2 if kind == "reflectance" else 1, num_threads=2,
    ) as sink:  # fmt: skip
        sink.write(values, 1)
    entry: dict[str, Any] = {"name": band, "data_type": str(values.dtype), "tuile:kind": kind, "raster:scale": 1.0}
    if kind == "reflectance":
        entry |= {"nodata": -10000, "raster:scale": 1e-4}
    elif band == "EDG":
        entry = {"name": "VALID", "data_type": "uint8", "tuile:kind": "mask", "tuile:decode": {"no_bits": 1}}
    elif band == "AOT":
        entry |= {"raster:scale": 1 / 200}
    fields = {
        "proj:code": "EPSG:32631",
        "proj:shape": list(values.shape),
        "proj:transform": list(transform)[:6],
        "bands": [entry],
    }
    item.add_asset(band, pystac.Asset(str(path), extra_fields=fields))


@dataclass(frozen=True)
class Made:
    """What making one product took: wall and CPU seconds, CPU seconds inside reading and writing, of the first look and of the
    rest, peak resident memory (KiB) of the process."""

    wall: float
    cpu: float
    spent: dict[str, float]
    peak: int


def _make(small: Task, task: Task, out: str, threads: int) -> Made:
    """Make a small product, which compiles as `tuile doctor --warm` does, then the one that is measured."""
    chain.produce(small, Path(out) / "small", Env())
    spent: dict[str, float] = defaultdict(float)

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.thread_time() - start

        return inner

    sources.Reader.read = counted("read", sources.Reader.read)  # type: ignore[method-assign]
    ProductWriter.write = counted("write", ProductWriter.write)  # type: ignore[method-assign]
    wall, cpu = _timed(lambda: chain.produce(task, Path(out), Env(limits=Limits(threads=threads))))
    return Made(wall, cpu, dict(spent), _peak())


def _peak() -> int:
    """Peak resident memory (KiB) of this process. Not ``ru_maxrss``, which begins with the parent's size at the fork."""
    told = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if told is None:
        raise RuntimeError("the peak memory is read from /proc/self/status, which this system does not have")
    return int(told[1])


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def read_everything(items: list[pystac.Item], threads: int) -> None:
    """Every file of every item once, by rows of blocks."""

    def one(path: str) -> None:
        with rasterio.open(path) as source:
            for top in range(0, source.height, 512):
                source.read(1, window=((top, min(top + 512, source.height)), (0, source.width)))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, [a.href for item in items for a in item.assets.values()]))


def product_speed(scene: Scene, size: int, threads: int) -> None:
    """One product from files: reading alone, then the chain with its time split into read, write and compute."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items = write_products(folder, scene, size)
        (folder / "small").mkdir()
        small = write_products(folder / "small", make_scene(3, size=256, dates=3), 256)
        stored = sum(p.stat().st_size for p in folder.glob("*.tif"))
        read_wall, read_cpu = _timed(lambda: read_everything(items, threads))
        tasks = [
            make_task(chain.CHAIN, these, {"date": date})
            for these, date in ((small, "2018-05-02"), (items, scene.synthesis.isoformat()))
        ]
        with multiprocessing.get_context("spawn").Pool(1) as alone:  # a process that does nothing else
            made = alone.apply(_make, (*tasks, str(folder / "out"), threads))
    pixels = size * size * len(items) / 1e6
    compute = made.cpu - made.spent["read"] - made.spent["write"]
    print(f"product: {size} px, {len(items)} dates, 10 bands, {pixels:.0f} Mpix*date, {stored / 2**20:.0f} MB on disk")
    print(f"product: plain reading   wall {read_wall:6.2f} s   cpu {read_cpu:6.2f} s")
    print(
        f"product: ours in all     wall {made.wall:6.2f} s   cpu {made.cpu:6.2f} s "
        f"(read {made.spent['read']:.2f}, write {made.spent['write']:.2f})"
    )
    print(
        f"product: compute         cpu  {compute:6.2f} s   compute/reading {compute / read_cpu:.2f}   "
        f"{pixels / compute:.1f} Mpix*date per core-s, 10 bands"
    )
    print(f"product: peak memory     {made.peak / 2**20:.2f} GiB, the whole process")
    print("WASP 1.0 needs 4.0 CPU-s per Mpix*date with file reading and writing (72 CPU-min for this tile and 9 dates);"
          f" ours {made.cpu / pixels:.3f}: {4.0 * pixels / made.cpu:.0f} times less")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=2196)
    parser.add_argument("--dates", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    scene = make_scene(1, size=1024, dates=args.dates)
    array_speed(scene, args.threads, 4)
    product_speed(make_scene(2, size=1024, dates=args.dates), args.size, args.threads)


if __name__ == "__main__":
    main()
