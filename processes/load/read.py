"""Read one block of a `RasterSource`: whole file windows through rasterio or `tiles`, values through one kernel.

Nearest neighbour everywhere: a target pixel takes the source pixel its centre falls in. On the same grid that is a
window; on another resolution of the same CRS two index vectors; across UTM zones an index per pixel, computed once per
block and source grid and shared by all dates and bands on it. Where pixels are only looked at they come from a file's
overviews (`processes.load.overviews`).
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from processes.errors import ProcessError
from processes.extents import EDGE, transformer
from processes.load import gml, kept
from processes.load.items import Band, open_raster
from processes.load.overviews import Level, level_for, step_of
from processes.load.source import RasterSource, aligned
from processes.probe import stored_nodata

# GDAL: no directory listings, one decoding thread per block (blocks run in parallel), a small block cache (in bytes: a
# number is that to rasterio; for bands of a file that are stored pixel by pixel, see `kept` for the rest)
GDAL_OPTIONS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_NUM_THREADS": "1", "GDAL_CACHEMAX": 32 << 20,
    "GDAL_PAM_ENABLED": "NO",
    "CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO",  # else GDAL writes an index beside gzipped archives
}  # fmt: skip
OPEN_FILES = 200  # per thread

_nodata = lru_cache(maxsize=512)(stored_nodata)
_local = threading.local()
# files left out because they could not be read, per process: {source id: {href: reason}}; see `take_unreadable`
_unreadable: dict[str, str] = {}


def read_block(location: Sequence[tuple[int, int]], source: RasterSource) -> np.ndarray:
    """Block (t, bands, y, x) of the source's dtype at ``location`` ((start, stop) per axis).

    Raises ``ProcessError('StorageFailure')`` naming the file that cannot be read, unless the source skips such files.
    """
    (t0, t1), (b0, b1), (y0, y1), (x0, x1) = location
    geobox = source.geobox[y0:y1, x0:x1]
    out = np.empty((t1 - t0, b1 - b0, y1 - y0, x1 - x0), source.dtype)
    maps: dict[Any, Any] = {}
    with rasterio.Env(**GDAL_OPTIONS):
        for t, piece in enumerate(source.slices[t0:t1]):
            for b, sources in enumerate(piece.bands[b0:b1]):
                _fill(out[t, b], sources, geobox, source, maps)
    return out


def _fill(out: np.ndarray, bands: Sequence[Band], geobox: GeoBox, source: RasterSource, maps: dict[Any, Any]) -> None:
    """First valid pixel in item order; stops as soon as no hole is left. Writes every pixel of ``out``, which comes empty."""
    touched = False
    for band in bands:
        try:
            holes = _put(out, band, geobox, source, maps, touched)
        except ProcessError as error:
            if error.code != "StorageFailure" or not source.skip_unreadable:
                raise
            _unreadable[band.href] = error.message
            continue
        touched = touched or holes is not None
        if holes == 0:
            return
    if not touched:
        out[...] = source.fill


def _put(
    out: np.ndarray, band: Band, geobox: GeoBox, source: RasterSource, maps: dict[Any, Any], holes_only: bool
) -> int | None:
    """Write a band's pixels into ``out``, into its holes only or, where nothing is written yet, everywhere.

    Number of holes left there, None where the band does not touch the block (``out`` is as it was).
    """
    if band.source is not None and band.source != gml.SOURCE:
        from processes.load.angles import read_angles

        values = read_angles(band.source, band.href, band.name, geobox)
        np.copyto(out, values, where=np.isnan(out) if holes_only else True)
        return int(np.isnan(out).sum())
    where = _map(band, geobox, source, maps)
    if where is None:
        return None
    dn = where.read(band)
    target = out[where.place]
    if not holes_only and (where.inside is not None or target.size < out.size):
        out[...] = source.fill  # the band alone does not fill the block
    if where.inside is None:
        return _convert(dn, target, band, source, holes_only) + (out.size - target.size)
    # pixels beside the file stay holes: what the file has no nodata value for must not be taken for a value
    values = np.empty(target.shape, source.dtype)
    _convert(dn, values, band, source, False)
    free = np.isnan(target) if source.dtype.kind == "f" else target == source.fill
    np.copyto(target, values, where=where.inside & free if holes_only else where.inside)
    return int((np.isnan(out) if source.dtype.kind == "f" else out == source.fill).sum())


def _map(band: Band, geobox: GeoBox, source: RasterSource, maps: dict[Any, Any]) -> _Grid | None:
    """`grid_map` of a band, computed once per grid."""
    key: Any = id(
        band.geobox
    )  # grids are shared objects (see items.grid): hashing them by value costs more than reading
    level = None
    if source.overviews:
        if key not in maps:
            maps[key] = step_of(band.geobox, geobox)
        level = level_for(band, maps[key])
        key = (key, level)
    if key not in maps:
        maps[key] = grid_map(band.geobox, geobox, level, near=source.overviews)
    return maps[key]


def _convert(dn: np.ndarray, out: np.ndarray, band: Band, source: RasterSource, holes_only: bool) -> int:
    from processes.kernels.dn import lookup_dn, scale_all, scale_holes

    if not band.integer and source.dtype == np.float64:
        return _exact(dn, out, band, holes_only)
    if not band.integer:
        nodata, known = _nodata(band.nodata, dn.dtype)
        kernel = scale_holes if holes_only else scale_all
        return kernel(dn, nodata, known, np.float32(band.offset_dn), np.float32(band.scale), out)
    if dn.dtype.itemsize <= 2 and dn.dtype.kind in "iu":
        table = _table(band.decode, band.nodata, dn.dtype.str, source.dtype.str, source.fill)
        codes = dn.view("u1" if dn.dtype.itemsize == 1 else "u2")
        if source.dtype.kind == "f":  # a mask beside reflectances: NaN is its hole
            values = table[codes]
            if holes_only:
                np.copyto(out, values, where=np.isnan(out))
            else:
                out[...] = values
            return int(np.isnan(out).sum())
        return lookup_dn(codes, table, out, source.dtype.type(source.fill), holes_only)
    values = np.where(dn == (band.nodata if band.nodata is not None else source.fill), source.fill, dn).astype(
        source.dtype
    )
    np.copyto(out, values, where=(out == source.fill) if holes_only else True)
    return int((out == source.fill).sum())


def _exact(dn: np.ndarray, out: np.ndarray, band: Band, holes_only: bool) -> int:
    """Stored numbers as float64; NaN pixels left in ``out``."""
    values = (dn.astype("f8") + band.offset_dn) * band.scale
    if band.nodata is not None:
        values[dn == band.nodata] = np.nan
    np.copyto(out, values, where=np.isnan(out) if holes_only else True)
    return int(np.isnan(out).sum())


@lru_cache(maxsize=512)
def _table(how: tuple[tuple[str, Any], ...], nodata: float | None, stored: str, target: str, fill: float) -> np.ndarray:
    """What each stored code becomes: index by the code's unsigned bit pattern."""
    bits = 8 * np.dtype(stored).itemsize
    codes = np.arange(1 << bits, dtype=f"u{bits // 8}").view(np.dtype(stored)).astype("i8")
    values = decode(codes, how) if how else codes
    table = values.astype(np.dtype(target))
    if nodata is not None:
        table[codes == nodata] = 0 if ("valid", True) in how else fill
    return table


def decode(codes: np.ndarray, how: Sequence[tuple[str, Any]]) -> np.ndarray:
    """0/1 from stored integers, by the rules of ``tuile:decode`` (see README.md); several rules must all hold."""
    out = np.ones(codes.shape, bool)
    for rule, value in how:
        if rule == "any_bits":
            out &= (codes & value) != 0
        elif rule == "all_bits":
            out &= (codes & value) == value
        elif rule == "no_bits":
            out &= (codes & value) == 0
        elif rule == "values":
            out &= np.isin(codes, value)
        elif rule == "not_values":
            out &= ~np.isin(codes, value)
        elif rule == "range":
            out &= (codes >= value[0]) & (codes <= value[1])
        elif rule != "valid":
            raise ProcessError(
                "StorageFailure", f"unknown mask rule '{rule}' in the catalogue; ingest the product again"
            )
    return out.astype("u1")


class _Grid:
    """Source window plus how its pixels land in the block: index vectors ``rows`` and ``cols``, or per pixel its one of
    the window's ``cells``, counted row by row."""

    def __init__(
        self, window: Window, place: tuple[slice, slice], rows: Any = None, cols: Any = None, cells: Any = None,
        inside: Any = None, level: int | None = None,
    ):  # fmt: skip
        self.window, self.place, self.rows, self.cols = window, place, rows, cols
        self.cells, self.inside, self.level = cells, inside, level

    def read(self, band: Band) -> np.ndarray:
        """Stored numbers for the pixels of ``place``; arbitrary where ``inside`` is False."""
        dn = read_window(band, self.window, self.level)
        if self.cells is not None:
            return dn.reshape(-1).take(self.cells)
        if self.rows is not None:
            return dn.take(self.rows, axis=0).take(self.cols, axis=1)
        return np.ascontiguousarray(dn)


def grid_map(source: GeoBox, target: GeoBox, level: Level | None = None, *, near: bool = False) -> _Grid | None:
    """How the pixels of ``source`` (a file's grid) land in ``target`` (a block); None where they do not meet.

    ``level``: the reduced version of the file that is read. ``near``: between CRSs a hundredth of a pixel is near
    enough (some ten times faster than to project every pixel).
    """
    height, width = source.shape
    if level is None and aligned(source, target):
        a, b = source.affine, target.affine
        row, col = round((b.f - a.f) / a.e), round((b.c - a.c) / a.a)
        r0, r1 = max(row, 0), min(row + target.shape[0], height)
        c0, c1 = max(col, 0), min(col + target.shape[1], width)
        if r0 >= r1 or c0 >= c1:
            return None
        return _Grid(Window(c0, r0, c1 - c0, r1 - r0), (slice(r0 - row, r1 - row), slice(c0 - col, c1 - col)))
    read = level or Level(None, (height, width))
    ys = target.affine.f + (np.arange(target.shape[0]) + 0.5) * target.affine.e
    xs = target.affine.c + (np.arange(target.shape[1]) + 0.5) * target.affine.a
    inverse: Affine = ~source.affine
    if source.crs == target.crs and not (inverse.b or inverse.d):
        cols, good_c = _index(inverse.a * xs + inverse.c, 1, width, read)
        rows, good_r = _index(inverse.e * ys + inverse.f, 0, height, read)
        good_c, good_r = np.flatnonzero(good_c), np.flatnonzero(good_r)
        if not len(good_c) or not len(good_r):
            return None
        place = (slice(good_r[0], good_r[-1] + 1), slice(good_c[0], good_c[-1] + 1))
        rows, cols = rows[place[0]], cols[place[1]]
        window = Window(cols.min(), rows.min(), cols.max() - cols.min() + 1, rows.max() - rows.min() + 1)
        if (np.diff(cols) == 1).all() and (np.diff(rows) == 1).all():
            return _Grid(window, place, level=read.number)  # every pixel of the window, in its place
        return _Grid(window, place, rows - rows.min(), cols - cols.min(), level=read.number)
    return _warped(source, target, xs, ys, read, near)


def _index(at: np.ndarray, axis: int, size: int, level: Level) -> tuple[np.ndarray, np.ndarray]:
    """Pixel of ``level`` along an axis (0 rows, 1 columns) that holds each position (in pixels of the file), and which
    positions the file holds; arbitrary, but inside the level, for the others."""
    held = np.floor(at + EDGE)
    good = (held >= 0) & (held < size)
    if level.number is None:
        return held.astype("i8"), good
    reduced = np.floor((at - level.shift[axis]) / level.ratio[axis] + EDGE)
    return np.clip(reduced, 0, level.shape[axis] - 1).astype("i8"), good


def _warped(source: GeoBox, target: GeoBox, xs: np.ndarray, ys: np.ndarray, level: Level, near: bool) -> _Grid | None:
    from processes.kernels.grid import cells_of

    if near:
        from processes.resample.warp import centre_rows

        sx, sy, low, share = centre_rows(source, target)
    else:
        inverse = ~source.affine
        grid_x, grid_y = np.meshgrid(xs, ys)
        x, y = transformer(str(target.crs), str(source.crs)).transform(grid_x, grid_y)
        sx, sy = inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f
        low, share = np.arange(len(ys)), np.zeros(len(ys))
    cells = np.empty(tuple(target.shape), "i8")
    reduced, size, held = level.number is not None, tuple(source.shape), tuple(level.shape)
    found, r0, r1, c0, c1 = cells_of(sx, sy, low, share, size, reduced, held, level.ratio, level.shift, EDGE, cells)
    if not found:
        return None
    inside = None
    if found < cells.size:
        inside = cells >= 0
        np.maximum(cells, 0, out=cells)
    window = Window(c0, r0, c1 - c0 + 1, r1 - r0 + 1)
    return _Grid(window, (slice(None), slice(None)), cells=cells, inside=inside, level=level.number)


def read_window(band: Band, window: Window, level: int | None = None) -> np.ndarray:
    """Stored numbers of a window of a band's file, or of its overview ``level``. Raises ``StorageFailure`` naming the file."""
    if band.source == gml.SOURCE:
        return gml.draw(band.href, band.geobox[window.toslices()])
    try:
        source, stamp = _open(band.href, level)
        file = (band.href, stamp, level) if stamp else None
        return kept.window_of(source, file, band.index, window, direct=level is None)
    except (rasterio.errors.RasterioError, IndexError) as error:
        raise _unread(band, error) from error


def open_band(band: Band, level: int | None = None) -> rasterio.DatasetReader:
    """The band's file, or its overview ``level``, open. Raises ``StorageFailure`` naming the file."""
    try:
        return dataset(band.href, level)
    except (rasterio.errors.RasterioError, IndexError) as error:
        raise _unread(band, error) from error


def _unread(band: Band, error: Exception) -> ProcessError:
    forget(band.href)
    return ProcessError("StorageFailure", f"{band.href} cannot be read: {error}. The file is damaged or was removed; repair it and ingest it again.", file=band.href)  # fmt: skip


def dataset(href: str, level: int | None = None) -> rasterio.DatasetReader:
    """The file, or one of its overviews, opened once per thread while it does not change."""
    return _open(href, level)[0]


def _open(href: str, level: int | None) -> tuple[rasterio.DatasetReader, int]:
    """`dataset`, and the time of the file's last change (ns), 0 where that is not known."""
    cache: OrderedDict[Any, rasterio.DatasetReader] = _local.__dict__.setdefault("files", OrderedDict())
    try:
        stamp = os.stat(href).st_mtime_ns if not href.startswith("/vsi") and "://" not in href else 0  # noqa: PTH116 (per block and file)
    except OSError:
        stamp = 0
    key = (os.getpid(), href, stamp, level)
    if key in cache:
        cache.move_to_end(key)
        return cache[key], stamp
    cache[key] = opened = open_raster(href, level=level)
    while len(cache) > OPEN_FILES:
        cache.popitem(last=False)[1].close()
    return opened, stamp


def forget(href: str) -> None:
    """Drop the open handle of a file that failed."""
    cache = _local.__dict__.get("files", {})
    for key in [k for k in cache if k[1] == href]:
        cache.pop(key).close()


@lru_cache(maxsize=1024)
def _block_shape(href: str, index: int) -> tuple[int, int]:
    with rasterio.Env(**GDAL_OPTIONS), open_raster(href) as source:
        return source.block_shapes[index - 1]


def block_shape(band: Band) -> tuple[int, int]:
    """The file's own blocks (rows, columns); 512 x 512 for what is not a raster file. Raises ``StorageFailure``."""
    if band.source is not None:
        return 512, 512
    try:
        return _block_shape(band.href, band.index)
    except (rasterio.errors.RasterioError, IndexError) as error:
        raise ProcessError("StorageFailure", f"{band.href} cannot be opened: {error}.", file=band.href) from error


def note_unreadable(found: dict[str, str]) -> None:
    """Add files that other processes left out."""
    _unreadable.update(found)


def take_unreadable() -> dict[str, str]:
    """Files left out since the last call, with the reason."""
    out = dict(_unreadable)
    _unreadable.clear()
    return out
