"""odc-stac and xarray as their documentation shows them: dask's threads, chunks of 2048 pixels, lazy to the end.

Not crippled and not tuned: float32 throughout, everything computed in one go, no library beside those two and the ones they
bring. `odcstac_tuned` is the same with what an expert would change."""

from __future__ import annotations

import dask
import numpy as np
import odc.geo.geom
import odc.geo.xr
import odc.stac
import rioxarray  # noqa: F401  (registers .rio)
import xarray as xr
from common import (
    COG,
    SCALE,
    array,
    installed,
    stac_items,
    stretched,
    threads,
    write_png,
    write_series,
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


def _composite(spec, out, **options):
    data = _load(spec, ["B04", "B08", "CLM"], **options)
    red, nir = _reflectance(data["B04"], spec), _reflectance(data["B08"], spec)
    ndvi = ((nir - red) / (nir + red)).where((data["CLM"] & 2) == 0)
    ndvi.median("time").astype("f4").compute().rio.to_raster(out / "w1.tif", **COG)


def _monthly(spec, out, **options):
    data = _load(spec, spec["w2_bands"], **options)
    means = xr.Dataset({b: _reflectance(data[b], spec) for b in spec["w2_bands"]}).resample(time="MS").mean()
    means.drop_encoding().to_netcdf(out / "w2.nc")


def _zonal(spec, out, **options):
    """odc-geo's way: crop the lazy cube by each polygon, take the mean, compute all of them at once."""
    data = _load(spec, spec["w3_bands"], **options)
    cube = xr.Dataset({b: _reflectance(data[b], spec) for b in spec["w3_bands"]})
    means = []
    for ring in spec["polygons"]:
        polygon = odc.geo.geom.polygon(ring, f"EPSG:{spec['epsg']}")
        means.append(cube.odc.crop(polygon, all_touched=False).mean(["x", "y"]))
    series = xr.concat(means, "zone").compute().to_array("band")
    write_series(out, series.transpose("time", "band", "zone").values)


def _preview(spec, out):
    step = spec["size"] / spec["preview"] * spec["resolution"]
    data = odc.stac.load(_items["all"][-1:], bands=["B04", "B03", "B02"], resolution=step, chunks={}).compute()
    write_png(
        out / "w4.png", stretched(*(np.where(data[b] == spec["nodata"], 0, data[b])[0] for b in ("B04", "B03", "B02")))
    )
