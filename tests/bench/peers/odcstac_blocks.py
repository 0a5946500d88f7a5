"""odc-stac with one chunk per block of the files (512 pixels): what is advised so that no block is decoded twice, and what
keeps memory small. Otherwise as `odcstac`."""

from __future__ import annotations

import dask
from common import array, threads
from odcstac import _composite, _monthly, _zonal, prepare, versions

WORKLOADS = ("W1", "W2", "W3")
__all__ = ["array", "prepare", "versions"]
BLOCKS = {"x": 512, "y": 512}


def run(workload, spec, out):
    with dask.config.set(scheduler="threads", num_workers=threads(spec)):
        {"W1": _composite, "W2": _monthly, "W3": _zonal}[workload](spec, out, chunks=BLOCKS)
