"""stackstac and xarray, its default chunks (1024 pixels)."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import rioxarray  # noqa: F401
import stackstac
import xarray as xr
from common import COG, SCALE, array, installed, labels, stac_items, threads, write_series, zone_means

WORKLOADS = ("W1", "W2", "W3")
__all__ = ["array"]
_items = {}


def versions():
    return installed("stackstac", "xarray", "dask", "rioxarray", "rasterio", "numpy")


def prepare(spec):
    _items["all"] = stac_items(spec)


def _load(spec, bands, fill, dtype="float32"):
    return stackstac.stack(
        _items["all"], assets=bands, epsg=spec["epsg"], resolution=spec["resolution"], dtype=dtype, fill_value=fill,
        rescale=False, snap_bounds=False, bounds=spec["bounds"], xy_coords="center",
    )  # fmt: skip


def run(workload, spec, out):
    with dask.config.set(scheduler="threads", num_workers=threads(spec)):
        {"W1": _composite, "W2": _monthly, "W3": _zonal}[workload](spec, out)


def _composite(spec, out):
    data = _load(spec, ["B04", "B08"], np.float32(np.nan)) * SCALE
    clm = _load(spec, ["CLM"], np.uint8(255), "uint8").isel(band=0, drop=True)
    red, nir = (data.isel(band=k, drop=True) for k in (0, 1))
    ndvi = ((nir - red) / (nir + red)).where((clm & 2) == 0)
    result = ndvi.median("time").astype("f4").compute()
    _bare(result).rio.write_crs(spec["epsg"]).rio.to_raster(out / "w1.tif", **COG)


def _bare(data):
    return xr.DataArray(data.data, dims=data.dims, coords={d: data.coords[d].values for d in data.dims})


def _monthly(spec, out):
    data = _bare(_load(spec, spec["w2_bands"], np.float32(np.nan)) * SCALE)
    data["time"] = pd.to_datetime(data["time"].values)
    means = data.resample(time="MS").mean()
    means.to_dataset("band").to_netcdf(out / "w2.nc")


def _zonal(spec, out):
    zones, number = labels(spec), len(spec["polygons"])
    data = (_load(spec, spec["w3_bands"], np.float32(np.nan)) * SCALE).chunk({"x": -1, "y": -1})
    series = xr.apply_ufunc(
        lambda planes: np.stack([[zone_means(p, zones, number) for p in date] for date in planes]),
        _bare(data), input_core_dims=[["y", "x"]], output_core_dims=[["zone"]], dask="parallelized",
        output_dtypes=["f8"], dask_gufunc_kwargs={"output_sizes": {"zone": number}},
    )  # fmt: skip
    write_series(out, series.transpose("time", "band", "zone").values)
