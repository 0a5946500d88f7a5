"""Whole blocks of a GeoTIFF, decompressed by libdeflate or zstd straight into place.

GDAL takes about 1.6 times what the decompression itself takes: it undoes the predictor value by value and copies a
block twice, through its cache. Here GDAL opens the file and says where each block lies and how it is packed; the bytes
are then read, unpacked and summed up in one pass. Whatever is not one of the layouts below (all of Theia's and most
of the world's archives of GeoTIFFs are), and whatever goes wrong, is left to GDAL.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import rasterio
from rasterio.windows import Window

CODECS = {"DEFLATE": "deflate_decode", "ZSTD": "zstd_decode"}
SMALLEST, LARGEST = 16 << 10, 64 << 20  # bytes of a block: below, calls cost more than they save; above, memory
WASTE = 2.0  # pixels unpacked per pixel wanted above which GDAL's cache of blocks is the better way
_local = threading.local()


@dataclass(frozen=True)
class Layout:
    """How the pixels of a file lie in it."""

    path: str
    block: tuple[int, int]
    dtype: np.dtype[Any]
    codec: str
    differences: bool  # TIFF predictor 2: each value less the one to its left, modulo its type


def layout_of(source: rasterio.DatasetReader) -> Layout | None:
    """The layout of an open raster, None where its blocks must be read by GDAL: not a local GeoTIFF, values of several
    bands interleaved, another compression or predictor, another byte order than the machine's."""
    if source.driver != "GTiff" or "://" in source.name or source.name.startswith("/vsi"):
        return None
    tags = source.tags(ns="IMAGE_STRUCTURE")
    dtypes, blocks = set(source.dtypes), set(source.block_shapes)
    bits = any("NBITS" in source.tags(k, ns="IMAGE_STRUCTURE") for k in source.indexes)
    apart = source.count == 1 or tags.get("INTERLEAVE") == "BAND"
    if tags.get("COMPRESSION") not in CODECS or len(dtypes) != 1 or len(blocks) != 1 or bits or not apart:
        return None
    dtype, block = np.dtype(dtypes.pop()), blocks.pop()
    predictor = tags.get("PREDICTOR", "1")
    if dtype.kind not in "iuf" or predictor not in ("1", "2") or (predictor == "2" and dtype.kind == "f"):
        return None
    if not SMALLEST <= block[0] * block[1] * dtype.itemsize <= LARGEST:
        return None
    try:
        with Path(source.name).open("rb") as file:
            order = {b"II": "little", b"MM": "big"}.get(file.read(2))
    except OSError:
        return None
    if order != sys.byteorder:
        return None
    return Layout(source.name, block, dtype, CODECS[tags["COMPRESSION"]], predictor == "2")


def read(
    source: rasterio.DatasetReader, index: int, window: Window, out: np.ndarray | None = None
) -> np.ndarray | None:
    """Stored numbers of a window inside band ``index``, as ``source.read(index, window=window)`` gives them.

    None where GDAL must read it: the file has no `Layout`, the window wants little of its blocks, a block is absent
    (all nodata) or damaged; ``out``, into which the numbers go if it is given, then holds anything.
    """
    known: WeakKeyDictionary[Any, Layout | None] = _local.__dict__.setdefault("layouts", WeakKeyDictionary())
    if source not in known:
        known[source] = layout_of(source)
    layout = known[source]
    if layout is None:
        return None
    import imagecodecs

    top, left = int(window.row_off), int(window.col_off)
    bottom, right = top + int(window.height), left + int(window.width)
    high, wide = layout.block
    rows, cols = range(top // high, -(-bottom // high)), range(left // wide, -(-right // wide))
    held = (min(rows.stop * high, source.height) - rows.start * high) * (
        min(cols.stop * wide, source.width) - cols.start * wide
    )
    if held > WASTE * (bottom - top) * (right - left):
        return None
    if out is None:
        out = np.empty((bottom - top, right - left), layout.dtype)
    decode: Callable[..., Any] = getattr(imagecodecs, layout.codec)
    try:
        with Path(layout.path).open("rb", buffering=0) as file:
            for row in rows:
                for col in cols:
                    values = _block(source, layout, file, decode, index, row, col)
                    if values is None:
                        return None
                    y, x = row * high, col * wide
                    part = values[max(top - y, 0) : bottom - y]
                    place = out[max(y - top, 0) : y + high - top, max(x - left, 0) : x + wide - left]
                    if len(part) != len(place):
                        return None
                    _lay(part, layout, max(left - x, 0), place)
    except (OSError, ValueError, RuntimeError):  # imagecodecs' errors are RuntimeErrors
        return None  # GDAL says what is wrong with the file, or reads it all the same
    return out


def _block(
    source: rasterio.DatasetReader,
    layout: Layout,
    file: Any,
    decode: Callable[..., Any],
    index: int,
    row: int,
    col: int,
) -> np.ndarray | None:
    """Unpacked values (rows, columns) of a block, valid until the thread's next call; a last strip may have fewer rows."""
    # GDAL's own report on its blocks: https://gdal.org/en/stable/drivers/raster/gtiff.html#metadata
    offset = source.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=index)
    size = source.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=index)
    if not offset or not size:
        return None
    file.seek(int(offset))
    packed = file.read(int(size))
    whole = math.prod(layout.block) * layout.dtype.itemsize
    if len(packed) != int(size):
        return None
    buffer = _local.__dict__.get("buffer")
    if buffer is None or len(buffer) < whole:
        buffer = _local.buffer = np.empty(whole, "u1")
    unpacked = np.frombuffer(decode(packed, out=buffer[:whole]), layout.dtype)
    return unpacked[: len(unpacked) // layout.block[1] * layout.block[1]].reshape(-1, layout.block[1])


def _lay(values: np.ndarray, layout: Layout, first: int, out: np.ndarray) -> None:
    """Columns from ``first`` on of a block's rows into ``out``, differences summed up."""
    if not layout.differences:
        out[...] = values[:, first : first + out.shape[1]]
        return
    from processes.kernels.dn import sum_rows

    sum_rows(values, first, out)
