"""rioxarray: files opened lazily (chunks of 2048 pixels), stacked by hand; polygons clipped one by one."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import rioxarray
import xarray as xr
from common import COG, SCALE, array, installed, threads, write_series

WORKLOADS = ("W1", "W2", "W3")
__all__ = ["array"]


def versions():
    return installed("rioxarray", "xarray", "dask", "rasterio", "numpy")


def _open(entry, band):
    chunks = {"x": 2048, "y": 2048}
    return rioxarray.open_rasterio(entry["files"][band], chunks=chunks, lock=False).isel(band=0, drop=True)


def _stack(spec, band):
    times = pd.to_datetime([e["datetime"][:19] for e in spec["items"]])
    planes = [_open(e, band) for e in spec["items"]]
    data = xr.concat(planes, pd.Index(times, name="time"))
    return data if band == "CLM" else data.where(data != spec["nodata"]).astype("f4") * SCALE


def run(workload, spec, out):
    with dask.config.set(scheduler="threads", num_workers=threads(spec)):
        {"W1": _composite, "W2": _monthly, "W3": _zonal}[workload](spec, out)


def _composite(spec, out):
    red, nir, clm = (_stack(spec, b) for b in ("B04", "B08", "CLM"))
    ndvi = ((nir - red) / (nir + red)).where((clm & 2) == 0)
    ndvi.median("time").astype("f4").compute().rio.write_crs(spec["epsg"]).rio.to_raster(out / "w1.tif", **COG)


def _monthly(spec, out):
    means = xr.Dataset({b: _stack(spec, b) for b in spec["w2_bands"]}).resample(time="MS").mean()
    means.drop_encoding().to_netcdf(out / "w2.nc")


def _zonal(spec, out):
    """Stacks loaded band by band; each polygon cut out of them (its box first: ``from_disk``) and averaged."""
    series = np.full((len(spec["items"]), len(spec["w3_bands"]), len(spec["polygons"])), np.nan)
    shapes = [{"type": "Polygon", "coordinates": [ring]} for ring in spec["polygons"]]
    for b, band in enumerate(spec["w3_bands"]):
        # clip fills with the nodata of the file unless told that it is NaN by now
        data = _stack(spec, band).compute().rio.write_crs(spec["epsg"]).rio.write_nodata(np.nan)
        for k, shape in enumerate(shapes):
            series[:, b, k] = data.rio.clip([shape], from_disk=True).mean(["x", "y"])
    write_series(out, series)
