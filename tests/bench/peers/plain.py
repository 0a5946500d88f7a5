"""rasterio and numpy, as a careful user writes it: whole rows of blocks, two threads, nothing lazy."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import netCDF4
import numpy as np
import rasterio
import rasterio.shutil
from common import (
    COG,
    SCALE,
    array,
    installed,
    labels,
    stretched,
    threads,
    transform,
    write_png,
    write_series,
    zone_means,
)
from rasterio.windows import Window

WORKLOADS = ("W1", "W2", "W3", "W4")
__all__ = ["array"]
ROWS = 512
warnings.simplefilter("ignore", RuntimeWarning)  # pixels without any value


def versions():
    return installed("rasterio", "numpy") | {"gdal": rasterio.__gdal_version__}


def _rows(spec):
    return [(r, min(ROWS, spec["size"] - r)) for r in range(0, spec["size"], ROWS)]


def _read(spec, entry, band, row, height):
    with rasterio.open(entry["files"][band]) as source:
        return source.read(1, window=Window(0, row, spec["size"], height))


def _reflectance(spec, entry, band, row, height):
    dn = _read(spec, entry, band, row, height)
    return np.where(dn == spec["nodata"], np.float32(np.nan), dn.astype("f4") * SCALE)


def run(workload, spec, out):
    {"W1": _composite, "W2": _monthly, "W3": _zonal, "W4": _preview}[workload](spec, out)


def _composite(spec, out):
    profile = {"driver": "GTiff", "height": spec["size"], "width": spec["size"], "count": 1, "dtype": "float32",
               "crs": f"EPSG:{spec['epsg']}", "transform": transform(spec), "nodata": np.nan, "tiled": True,
               "blockxsize": 512, "blockysize": 512}  # fmt: skip

    def strip(where):
        with rasterio.Env(**spec["gdal"]):
            stack = []
            for entry in spec["items"]:
                red, nir = (_reflectance(spec, entry, b, *where) for b in ("B04", "B08"))
                with np.errstate(invalid="ignore", divide="ignore"):
                    ndvi = (nir - red) / (nir + red)
                ndvi[_read(spec, entry, "CLM", *where) & 2 != 0] = np.nan
                stack.append(ndvi)
            return where, np.nanmedian(np.stack(stack), axis=0)

    scratch = out / "w1-plain.tif"
    with ThreadPoolExecutor(threads(spec)) as pool, rasterio.open(scratch, "w", **profile) as file:
        for (row, height), values in pool.map(strip, _rows(spec)):
            file.write(values.astype("f4"), 1, window=Window(0, row, spec["size"], height))
    rasterio.shutil.copy(scratch, out / "w1.tif", **COG)
    scratch.unlink()


def _monthly(spec, out):
    months = sorted({e["datetime"][:7] for e in spec["items"]})
    with netCDF4.Dataset(out / "w2.nc", "w") as file:
        for name, size in (("t", len(months)), ("y", spec["size"]), ("x", spec["size"])):
            file.createDimension(name, size)
        made = {b: file.createVariable(b, "f4", ("t", "y", "x"), fill_value=np.nan) for b in spec["w2_bands"]}

        def strip(job):
            band, (row, height) = job
            with rasterio.Env(**spec["gdal"]), np.errstate(invalid="ignore"):
                means = []
                for month in months:
                    total, count = np.zeros((height, spec["size"])), np.zeros((height, spec["size"]), "i4")
                    for entry in spec["items"]:
                        if entry["datetime"][:7] == month:
                            values = _reflectance(spec, entry, band, row, height)
                            valid = ~np.isnan(values)
                            np.add(total, values, out=total, where=valid)
                            count += valid
                    means.append((total / count).astype("f4"))
                return job, means

        with ThreadPoolExecutor(threads(spec)) as pool:
            for (band, (row, height)), means in pool.map(
                strip, [(b, r) for b in spec["w2_bands"] for r in _rows(spec)]
            ):
                for k, mean in enumerate(means):
                    made[band][k, row : row + height] = mean


def _zonal(spec, out):
    zones, number = labels(spec), len(spec["polygons"])

    def plane(job):
        entry, band = job
        with rasterio.Env(**spec["gdal"]):
            return zone_means(_reflectance(spec, entry, band, 0, spec["size"]), zones, number)

    with ThreadPoolExecutor(threads(spec)) as pool:
        found = list(pool.map(plane, [(e, b) for e in spec["items"] for b in spec["w3_bands"]]))
    write_series(out, np.array(found).reshape(len(spec["items"]), len(spec["w3_bands"]), number))


def _preview(spec, out):
    n = spec["preview"]

    def one(band):
        with rasterio.Env(**spec["gdal"]), rasterio.open(spec["items"][-1]["files"][band]) as source:
            return source.read(1, out_shape=(n, n))

    with ThreadPoolExecutor(threads(spec)) as pool:
        write_png(out / "w4.png", stretched(*pool.map(one, ("B04", "B03", "B02"))))
