"""The process that reads HDF5 and netCDF files for another one (`processes.load.guard`), until that one is gone.

``python -m processes.load.guard_child DESCRIPTOR``. A question is ``[what, stamp of the file, arguments]``.
"""

from __future__ import annotations

import json
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

OPEN_FILES = 200
CHECKED = 32 << 20  # bytes read at once where a file is only checked
OPTIONS: dict[str, Any] = {
    "GDAL_CACHEMAX": 32 << 20,
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
}

_open: OrderedDict[tuple[str, int], rasterio.DatasetReader] = OrderedDict()


def _dataset(href: str, stamp: int) -> rasterio.DatasetReader:
    key = (href, stamp)
    if key not in _open:
        _open[key] = rasterio.open(href)
    _open.move_to_end(key)
    while len(_open) > OPEN_FILES:
        _open.popitem(last=False)[1].close()
    return _open[key]


def header(stamp: int, href: str) -> tuple[dict[str, Any], bytes]:
    """What `processes.load.guard.GuardedRaster` tells of a raster."""
    source = _dataset(href, stamp)
    value = {
        "count": source.count,
        "shape": source.shape,
        "crs": None if source.crs is None else source.crs.to_wkt(),
        "transform": list(source.transform)[:6],
        "dtypes": source.dtypes,
        "nodatavals": source.nodatavals,
        "scales": source.scales,
        "offsets": source.offsets,
        "descriptions": source.descriptions,
        "block_shapes": source.block_shapes,
        "tags": source.tags(),
    }
    return value, b""


def read(stamp: int, href: str, index: int, window: list[int]) -> tuple[None, memoryview]:
    """Stored numbers of a window (column, row, width, height) of a band."""
    pixels = _dataset(href, stamp).read(index, window=Window(*window))
    return None, np.ascontiguousarray(pixels).reshape(-1).view("u1").data


def check(stamp: int, path: str, layer: str | None = None) -> tuple[None, bytes]:
    """Read a whole file, or one raster of it."""
    if layer is not None:
        with rasterio.open(layer) as source:
            rows = max(1, CHECKED // (source.width * np.dtype(source.dtypes[0]).itemsize))
            for index in source.indexes:
                for row in range(0, source.height, rows):
                    source.read(index, window=Window(0, row, source.width, min(rows, source.height - row)))
        return None, b""
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf", mask_and_scale=False, decode_times=False) as data:
        for name in data.variables:
            variable = data[name]
            if not variable.ndim:
                variable.load()
                continue
            rows = max(1, CHECKED * variable.shape[0] // max(1, variable.nbytes))
            for row in range(0, variable.shape[0], rows):
                variable[row : row + rows].load()
    return None, b""


def netcdf_items(stamp: int, path: str, id: str, hdf5: bool) -> tuple[list[dict[str, Any]], bytes]:
    """Items of a netCDF file (`processes.load.rasters.read_netcdf`)."""
    from pathlib import Path

    from processes.load.rasters import read_netcdf

    found = read_netcdf(Path(path), id, hdf5=hdf5)
    return [i.to_dict(include_self_link=False, transform_hrefs=False) for i in found], b""


ANSWERS: dict[str, Callable[..., tuple[Any, bytes | memoryview]]] = {
    "header": header,
    "read": read,
    "check": check,
    "netcdf_items": netcdf_items,
}


def main(descriptor: int) -> None:
    """Answer until the other end of the socket is closed."""
    from processes.errors import ProcessError
    from processes.load.guard import LENGTH

    connection = socket.socket(fileno=descriptor)
    questions = connection.makefile("rb")
    with rasterio.Env(**OPTIONS):
        while size := questions.read(LENGTH.size):
            what, stamp, arguments = json.loads(questions.read(LENGTH.unpack(size)[0]))
            told: dict[str, Any]
            data: bytes | memoryview = b""
            try:
                value, data = ANSWERS[what](stamp, **arguments)
                told = {"value": value, "bytes": len(data)}
            except ProcessError as error:
                told = {"code": error.code, "error": error.message}
            except Exception as error:  # whatever a damaged file makes a library say
                told = {"error": f"{type(error).__name__}: {error}"[:500]}
            text = json.dumps(told).encode()
            connection.sendall(LENGTH.pack(len(text)) + text)
            if told.get("bytes"):
                connection.sendall(data)


if __name__ == "__main__":
    main(int(sys.argv[1]))
