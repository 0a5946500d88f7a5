"""odc-stac and xarray on dask's threads, chunks of 2048 pixels: what its documentation shows."""

from __future__ import annotations

import dask
import numpy as np
import odc.geo.xr
import odc.stac
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from common import (
    COG,
    SCALE,
    array,
    installed,
    labels,
    stac_items,
    stretched,
    threads,
    write_png,
    write_series,
    zone_means,
)

WORKLOADS = ("W1", "W2", "W3", "W4")
__all__ = ["array"]
_items = {}


def versions():
    return installed("odc-stac", "odc-geo", "xarray", "dask", "rioxarray", "rasterio", "numpy")


def prepare(spec):
    _items["all"] = stac_items(spec)
    dask.config.set(scheduler="threads", num_workers=threads(spec))
    odc.stac.configure_rio(cloud_defaults=False, **spec["gdal"])


def _load(spec, bands, **options):
    return odc.stac.load(_items["all"], bands=bands, **({"chunks": {"x": 2048, "y": 2048}} | options))


def _reflectance(data, spec):
    return data.where(data != spec["nodata"]).astype("f4") * SCALE


def run(workload, spec, out):
    with dask.config.set(scheduler="threads", num_workers=threads(spec)):
        {"W1": _composite, "W2": _monthly, "W3": _zonal, "W4": _preview}[workload](spec, out)


def _composite(spec, out):
    data = _load(spec, ["B04", "B08", "CLM"])
    red, nir = _reflectance(data["B04"], spec), _reflectance(data["B08"], spec)
    ndvi = ((nir - red) / (nir + red)).where((data["CLM"] & 2) == 0)
    ndvi.median("time").astype("f4").compute().rio.to_raster(out / "w1.tif", **COG)


def _monthly(spec, out):
    data = _load(spec, spec["w2_bands"])
    means = xr.Dataset({b: _reflectance(data[b], spec) for b in spec["w2_bands"]}).resample(time="MS").mean()
    means.drop_encoding().to_netcdf(out / "w2.nc")


def _zonal(spec, out):
    zones, number = labels(spec), len(spec["polygons"])
    data = _load(spec, spec["w3_bands"], chunks={"x": -1, "y": -1})
    series = []
    for band in spec["w3_bands"]:
        series.append(
            xr.apply_ufunc(
                lambda planes: np.stack([zone_means(p, zones, number) for p in planes]),
                _reflectance(data[band], spec), input_core_dims=[["y", "x"]], output_core_dims=[["zone"]],
                dask="parallelized", output_dtypes=["f8"], dask_gufunc_kwargs={"output_sizes": {"zone": number}},
            )
        )  # fmt: skip
    write_series(out, xr.concat(series, "band").transpose("time", "band", "zone").values)


def _preview(spec, out):
    step = spec["size"] / spec["preview"] * spec["resolution"]
    data = odc.stac.load(_items["all"][-1:], bands=["B04", "B03", "B02"], resolution=step, chunks={}).compute()
    write_png(
        out / "w4.png", stretched(*(np.where(data[b] == spec["nodata"], 0, data[b])[0] for b in ("B04", "B03", "B02")))
    )
