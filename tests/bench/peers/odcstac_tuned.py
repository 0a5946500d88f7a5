"""odc-stac as an expert who has profiled it would use it: one chunk per file, and the means of polygons by one `bincount` per
plane over a raster of labels, in numpy, in place of xarray's operations on crops."""

from __future__ import annotations

import dask
import numpy as np
import xarray as xr
from common import array, labels, threads, write_series, zone_means
from odcstac import _composite, _load, _monthly, _reflectance, prepare, versions

WORKLOADS = ("W1", "W2", "W3")
__all__ = ["array", "prepare", "versions"]
WHOLE = {"x": -1, "y": -1}


def run(workload, spec, out):
    with dask.config.set(scheduler="threads", num_workers=threads(spec)):
        if workload == "W3":
            _zonal(spec, out)
        else:
            {"W1": _composite, "W2": _monthly}[workload](spec, out, chunks=WHOLE)


def _zonal(spec, out):
    zones, number = labels(spec), len(spec["polygons"])
    data = _load(spec, spec["w3_bands"], chunks=WHOLE)
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
