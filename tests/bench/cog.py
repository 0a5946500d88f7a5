"""CPU time of writing a COG: our streaming writer against GDAL's COG driver on the same array.

    python -m tests.bench.cog [SIZE] [BANDS]

Both write deflate with predictor, 512-pixel tiles, averaged overviews and statistics, at the same effort, from an array
in memory; ours takes it through the block engine. Prints seconds of CPU (all threads), megabytes and the ratio.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import rasterio
import xarray as xr
from scipy.ndimage import gaussian_filter

from backend.results import write
from processes import cube as cubes
from processes.save.save_result import SaveResult

REPEAT = 3


def scene(size: int, bands: int, dtype: str) -> xr.DataArray:
    """A smooth field with noise, as reflectances have it; a corner without data."""
    rng = np.random.default_rng(1)
    planes = []
    for _ in range(bands):
        smooth = gaussian_filter(rng.normal(size=(size // 4, size // 4)), 4).repeat(4, 0).repeat(4, 1)
        planes.append(np.clip(3000 + 9000 * smooth + rng.normal(size=smooth.shape) * 60, 1, 20000))
    values = np.stack(planes).astype("i2")
    values[:, : size // 8, : size // 8] = -10000
    if dtype == "float32":
        values = np.where(values == -10000, np.float32("nan"), values.astype("f4") * np.float32(1e-4))
    coords = {
        "bands": [f"B{n:02d}" for n in range(bands)],
        "y": 4900020.0 - 5 - 10 * np.arange(values.shape[1]),
        "x": 300000.0 + 5 + 10 * np.arange(values.shape[2]),
    }
    nodata = None if dtype == "float32" else -10000
    blocks = da.from_array(values, chunks=(bands, 512, 512), name=False)
    return cubes.cube(blocks, ("bands", "y", "x"), coords, crs="EPSG:32631", nodata=nodata)


def ours(cube: xr.DataArray, folder: Path, level: int) -> Path:
    options = {"level": level, "overviews": "average"}
    return write([SaveResult(cube, "COG", options)], folder, threads=2)[0].path


def gdal(cube: xr.DataArray, folder: Path, level: int) -> Path:
    """GDAL's COG driver, with statistics as our files have them (``STATISTICS=YES`` reads the pixels once more)."""
    path, values = folder / "gdal.tif", np.asarray(cube.data)
    profile = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype.name}
    transform = cubes.geobox_of(cube).affine
    nodata = cube.attrs.get("nodata", float("nan"))
    creation = {
        "compress": "DEFLATE",
        "level": level,
        "predictor": "YES",
        "blocksize": 512,
        "resampling": "AVERAGE",
        "statistics": "YES",
    }
    with rasterio.open(
        path, "w", driver="COG", crs="EPSG:32631", transform=transform, nodata=nodata, **profile, **creation
    ) as file:
        file.write(values)
    return path


def cpu(function, *args) -> tuple[float, int]:
    best, size = float("inf"), 0
    for _ in range(REPEAT):
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            size = function(*args[:1], Path(folder), *args[1:]).stat().st_size
            best = min(best, time.process_time() - start)
    return best, size


def main(size: int = 4096, bands: int = 1) -> None:
    ours(scene(512, 1, "float32"), Path(tempfile.mkdtemp()), 1)  # imports and kernels are not what is measured
    ours(scene(512, 1, "int16"), Path(tempfile.mkdtemp()), 1)
    for dtype in ("float32", "int16"):
        cube = scene(size, bands, dtype)
        cube = cubes.like(
            cube.copy(data=da.from_array(np.asarray(cube.data), chunks=(bands, 512, 512), name=False)), cube
        )
        for level in (1, 6):
            (a, na), (b, nb) = cpu(ours, cube, level), cpu(gdal, cube, level)
            print(
                f"cog {dtype} {bands}x{size}^2 deflate-{level}: ours {a:.2f} s {na / 1e6:.1f} MB, "
                f"GDAL {b:.2f} s {nb / 1e6:.1f} MB, ratio {a / b:.2f}"
            )


if __name__ == "__main__":
    main(*(int(v) for v in sys.argv[1:]))
