"""What a Level-2A item offers to the snow chain: digital numbers and masks on the grid of its SWIR band.

10 m bands are read strip by strip, each file row once, and halved on the way: a whole tile at 10 m is never held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pystac
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from processes.errors import ProcessError, parameter_invalid
from processes.kernels.lis_resample import halve_rows
from processes.lis.cubes import UNIFORM
from processes.lis.detect import Block
from processes.lis.params import (
    NO_SWIR,
    NODATA,
    Sensor,
    guess_sensor,
    in_bit_order,
    roles_of,
    sensor_of,
    with_uniform_masks,
)
from processes.load.items import Band, item_bands
from processes.load.read import GDAL_OPTIONS, block_shape, decode, read_window

STRIP = 1024  # rows of the file read at once, at least


@dataclass(frozen=True)
class Source:
    """An item with its sensor, target grid and bands by name."""

    item: pystac.Item
    sensor: Sensor
    grid: GeoBox
    bands: Mapping[str, Band]


def open_item(item: pystac.Item, sensor: str = "auto") -> Source:
    """Find out what an item is. Raises ``ProcessParameterInvalid`` where it is no Level-2A product of a known sensor."""
    bands = item_bands(item)
    if sensor != "auto":
        family = sensor_of(sensor)
    else:
        try:
            family = guess_sensor(bands, {n: b.wavelength for n, b in bands.items()})
        except ProcessError as error:
            raise parameter_invalid("data", f"item '{item.id}': {error.message}") from None
        family = in_bit_order(family, item.properties.get("tuile:clm_order"))
    if not set(bands) & set(family.cloud):
        family = with_uniform_masks(family)
    roles = roles_of(family, bands, {n: b.wavelength for n, b in bands.items()})
    if roles is None:
        wanted = ", ".join(f"{role} ({' or '.join(names)})" for role, names in family.bands.items())
        raise parameter_invalid(
            "data", f"item '{item.id}' is not of sensor {family.id}, which needs {wanted}. {NO_SWIR}"
        )
    return Source(item, family, bands[roles["swir"]].geobox, bands)


def _one(bands: Mapping[str, Band], names: tuple[str, ...], what: str, item: pystac.Item) -> Band:
    for name in names:
        if name in bands:
            return bands[name]
    raise parameter_invalid("data", f"item '{item.id}' has no {what} band ({', '.join(names)}).")


def read_item(source: Source) -> Block:
    """All bands and masks of an item on its grid, without elevation (0), relief, tree cover. ``StorageFailure`` as rasterio."""
    sensor, bands, grid = source.sensor, source.bands, source.grid
    with rasterio.Env(**{**GDAL_OPTIONS, "GDAL_NUM_THREADS": "2"}):
        planes = {
            role: band_on(_one(bands, names, role, source.item), grid, sensor.multi)
            for role, names in sensor.bands.items()
        }
        extra = {role: next((bands[n] for n in names if n in bands), None) for role, names in sensor.shaded.items()}
        if extra and all(extra.values()):
            planes |= {role: band_on(b, grid, sensor.multi) for role, b in extra.items() if b is not None}
        geo = next((bands[n] for n in sensor.geo if n in bands), None)
        return Block(
            **planes,  # type: ignore[arg-type]
            cloud=_cloud(source),
            dem=np.zeros(grid.shape, np.int16),
            geo=None if geo is None else class_on(geo, grid).astype(np.uint8),
        )


def _cloud(source: Source) -> np.ndarray:
    bands, grid = source.bands, source.grid
    if raw := next((bands[n] for n in source.sensor.cloud if n in bands), None):
        values = class_on(raw, grid)
        return values if values.dtype in (np.uint8, np.uint16) else values.astype(np.uint16)
    if "CLOUD" not in bands:
        raise parameter_invalid(
            "data", f"item '{source.item.id}' has no cloud mask ({', '.join(source.sensor.cloud)}, CLOUD)."
        )
    out = np.zeros(grid.shape, np.uint8)
    for name, bits in UNIFORM.items():
        if name in bands:
            stored = class_on(bands[name], grid)
            hit = decode(stored, bands[name].decode) == 1 if bands[name].decode else stored == 1
            out[hit] |= bits
    return out


def band_on(band: Band, grid: GeoBox, multi: int) -> np.ndarray:
    """Digital numbers (1000 ``multi`` per reflectance) of a band on a grid: int16, `NODATA` where there are none.

    A band of half the pixel size is averaged with `halve_rows`; any other one is taken at the nearest pixel.
    """
    scale = abs(grid.affine.a) / abs(band.geobox.affine.a)
    same_crs = band.geobox.crs == grid.crs
    if same_crs and abs(scale - 2) < 1e-6:
        row, col = _shift(band, grid)
        if row is not None and col is not None:
            return _halved(band, grid, multi, row, col)
    return _numbers(class_on(band, grid), band, multi)


def _shift(band: Band, grid: GeoBox) -> tuple[int | None, int | None]:
    """Rows and columns of the band before the grid's corner, None where they are not whole."""
    a, b = band.geobox.affine, grid.affine
    rows, cols = (b.f - a.f) / a.e, (b.c - a.c) / a.a
    if abs(rows - round(rows)) > 1e-3 or abs(cols - round(cols)) > 1e-3:
        return None, None
    return round(rows), round(cols)


def _numbers(stored: np.ndarray, band: Band, multi: int) -> np.ndarray:
    """Stored numbers -> int16 digital numbers of the chain."""
    hole = None if band.nodata is None else stored == band.nodata
    factor = band.scale * 1000 * multi
    if abs(factor - 1) < 1e-6:
        out = stored if band.offset_dn == 0 else stored.astype(np.int32) + round(band.offset_dn)
        out = np.clip(out, -32768, 32767).astype(np.int16, copy=False)
    else:
        exact = np.rint((stored.astype(np.float64) + band.offset_dn) * factor)
        out = np.clip(exact, -9999, 32767).astype(np.int16)
    if hole is not None and (band.nodata != NODATA or abs(factor - 1) >= 1e-6 or band.offset_dn != 0):
        out = np.where(hole, np.int16(NODATA), out)
    return np.ascontiguousarray(out)


def _halved(band: Band, grid: GeoBox, multi: int, row: int, col: int) -> np.ndarray:
    """A band of half the pixel size on the grid, strip by strip."""
    height, width = grid.shape
    rows10, cols10 = 2 * height, 2 * width
    out = np.empty((height, width), np.int16)
    step = max(block_shape(band)[0], 1)
    step *= max(1, STRIP // step)
    held = np.empty((0, cols10), np.int16)
    base, made = 0, 0  # first 10 m row held (always even), 20 m rows made
    edges = [min(max(r - row, 0), rows10) for r in range(0, band.geobox.shape[0] + step, step)]
    edges = sorted({0, rows10, *edges})
    for top, bottom in pairwise(edges):
        held = np.concatenate([held, _strip(band, multi, top + row, bottom + row, col, cols10)])
        last = height if bottom == rows10 else max((bottom - 4) // 2, made)
        if last > made:
            offset = base // 2
            halve_rows(held, NODATA, out[made:last], made - offset, last - offset, made - offset)
            made = last
            keep = max(2 * made - 4, 0)
            held, base = held[keep - base :].copy(), keep
    return out


def _strip(band: Band, multi: int, top: int, bottom: int, left: int, width: int) -> np.ndarray:
    """Rows ``top`` .. ``bottom`` and ``width`` columns from ``left`` of a file, `NODATA` beyond it."""
    out = np.full((bottom - top, width), NODATA, np.int16)
    h, w = band.geobox.shape
    r0, r1, c0, c1 = max(top, 0), min(bottom, h), max(left, 0), min(left + width, w)
    if r1 > r0 and c1 > c0:
        stored = read_window(band, Window(c0, r0, c1 - c0, r1 - r0))
        out[r0 - top : r1 - top, c0 - left : c1 - left] = _numbers(stored, band, multi)
    return out


def class_on(band: Band, grid: GeoBox) -> np.ndarray:
    """Stored numbers of a band at the pixel in which each centre of the grid lies; nodata (or 0) beyond it."""
    if band.geobox.crs != grid.crs:
        raise parameter_invalid("data", f"band {band.name} of '{band.item}' is in another CRS than the SWIR band.")
    a, b = band.geobox.affine, grid.affine
    ys = np.floor((b.f + (np.arange(grid.shape[0]) + 0.5) * b.e - a.f) / a.e + 1e-9).astype(np.int64)
    xs = np.floor((b.c + (np.arange(grid.shape[1]) + 0.5) * b.a - a.c) / a.a + 1e-9).astype(np.int64)
    h, w = band.geobox.shape
    rows, cols = np.flatnonzero((ys >= 0) & (ys < h)), np.flatnonzero((xs >= 0) & (xs < w))
    fill = band.nodata if band.nodata is not None else 0
    out = np.full(grid.shape, fill, np.dtype(band.dtype))
    if not rows.size or not cols.size:
        return out
    left, right = int(xs[cols[0]]), int(xs[cols[-1]]) + 1
    plain = len(rows) == grid.shape[0] and len(cols) == grid.shape[1] and right - left == len(cols)
    for first in range(0, len(rows), STRIP):
        here = rows[first : first + STRIP]
        top, bottom = int(ys[here[0]]), int(ys[here[-1]]) + 1
        data = read_window(band, Window(left, top, right - left, bottom - top))
        if plain and bottom - top == len(here):
            out[here[0] : here[-1] + 1] = data
        else:
            out[np.ix_(here, cols)] = data[np.ix_(ys[here] - top, xs[cols] - left)]
    return out
