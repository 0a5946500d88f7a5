"""openeo-processes-dask, the process library of most openEO backends in Python: the same processes as ours, its own
implementations, called as its executors call them. Loading is not part of it; odc-stac loads, as its own example does."""

from __future__ import annotations

from functools import partial

import dask
import numpy as np
import odc.stac
import rioxarray  # noqa: F401
from common import COG, SCALE, array, installed, stac_items, threads, write_series
from openeo_pg_parser_networkx.pg_schema import ParameterReference
from openeo_processes_dask.process_implementations.core import process
from openeo_processes_dask.process_implementations.cubes import (
    aggregate_spatial,
    aggregate_temporal_period,
    mask,
    ndvi,
    reduce_dimension,
)
from openeo_processes_dask.process_implementations.math import mean, median

WORKLOADS = ("W1", "W2", "W3")
__all__ = ["array"]
_items = {}


def versions():
    return installed("openeo-processes-dask", "odc-stac", "xarray", "dask", "xvec", "numpy")


def prepare(spec):
    _items["all"] = stac_items(spec)
    odc.stac.configure_rio(cloud_defaults=False, **spec["gdal"])


def _reducer(function):
    return partial(process(function), data=ParameterReference(from_parameter="data"))


def _load(spec, bands):
    data = odc.stac.load(_items["all"], bands=bands, chunks={"x": 2048, "y": 2048}).to_array("bands").rename(time="t")
    return data.transpose("bands", "t", "y", "x")


def _reflectance(spec, bands):
    data = _load(spec, bands)
    return data.where(data != spec["nodata"]).astype("f4") * SCALE


def run(workload, spec, out):
    with dask.config.set(scheduler="threads", num_workers=threads(spec)):
        {"W1": _composite, "W2": _monthly, "W3": _zonal}[workload](spec, out)


def _composite(spec, out):
    data = _reflectance(spec, ["B04", "B08"])
    cloudy = (_load(spec, ["CLM"]).isel(bands=0, drop=True) & 2) != 0
    index = ndvi(data=mask(data=data, mask=cloudy), nir="B08", red="B04")
    result = reduce_dimension(data=index, reducer=_reducer(median), dimension="t")
    result.astype("f4").compute().rio.write_crs(spec["epsg"]).rio.to_raster(out / "w1.tif", **COG)


def _monthly(spec, out):
    data = _reflectance(spec, spec["w2_bands"])
    means = aggregate_temporal_period(data=data, period="month", reducer=_reducer(mean))
    means.to_dataset("bands").drop_encoding().to_netcdf(out / "w2.nc")


def _zonal(spec, out):
    features = [
        {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        for ring in spec["polygons_wgs84"]
    ]
    geometries = {"type": "FeatureCollection", "features": features}
    data = _reflectance(spec, spec["w3_bands"])
    result = aggregate_spatial(data=data, geometries=geometries, reducer=_reducer(mean)).compute()
    (geometry,) = [d for d in result.dims if d not in ("t", "bands")]
    write_series(out, np.asarray(result.transpose("t", "bands", geometry).values, "f8"))
