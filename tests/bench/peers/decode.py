"""The limit: decompress exactly the blocks the workload needs, and throw the pixels away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import rasterio
from common import installed, threads
from rasterio.windows import Window

WORKLOADS = ("W1", "W2", "W3", "W4")
BLOCK = 512


def versions():
    return installed("rasterio", "numpy") | {"gdal": rasterio.__gdal_version__}


def blocks_needed(workload, spec):
    """Corners (row, column) of the 512-blocks whose pixels the workload looks at."""
    size = spec["size"]
    every = [(r, c) for r in range(0, size, BLOCK) for c in range(0, size, BLOCK)]
    if workload != "W3":
        return every
    step, (x0, y0) = spec["resolution"] * BLOCK, spec["origin"]
    hit = set()
    for ring in spec["polygons"]:
        xs, ys = [p[0] for p in ring], [p[1] for p in ring]
        for r in range(int((y0 - max(ys)) // step), int((y0 - min(ys)) // step) + 1):
            for c in range(int((min(xs) - x0) // step), int((max(xs) - x0) // step) + 1):
                hit.add((r * BLOCK, c * BLOCK))
    return [b for b in every if b in hit]


def run(workload, spec, out):
    size = spec["size"]
    needed = blocks_needed(workload, spec)

    def whole(path):
        # the environment is a thread's own: without it here GDAL falls back on its defaults
        with rasterio.Env(**spec["gdal"]), rasterio.open(path) as source:
            target = np.empty((BLOCK, BLOCK), source.dtypes[0])
            for r, c in needed:
                h, w = min(BLOCK, size - r), min(BLOCK, size - c)
                source.read(1, window=Window(c, r, w, h), out=target[:h, :w])

    def preview(path):
        with rasterio.Env(**spec["gdal"]), rasterio.open(path) as source:
            source.read(1, out_shape=(spec["preview"], spec["preview"]))

    with ThreadPoolExecutor(threads(spec)) as pool:
        list(pool.map(preview if workload == "W4" else whole, spec["files"][workload]))
