"""Cubes written as snow products, block by block: one product per date, whatever the cube has been through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pystac
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from processes import cube as cubes
from processes.lis.detect import BANDS
from processes.lis.params import FILL
from processes.lis.product import (
    BIT_FIELDS,
    CONSTELLATIONS,
    TITLES,
    add_overviews,
    describe,
    open_raster,
    product_name,
    raster_env,
)
from processes.products import dates_of, named_bands, record_at, records_of, spatial_of, tile_name, unsuitable

WHAT = "LIS snow product"
BLOCK = 512  # pixels: tiles of the rasters
CLOUDY, SNOWY = 205, 100


@dataclass
class _Open:
    """A product in the making; ``tally``: pixels with data, snow, cloud (of SEB)."""

    source: pystac.Item
    home: Path
    files: list[Any]
    left: int
    tally: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))


class SnowProducts:
    """Snow products in the making from a cube with the bands of `lis_snow`.

    Pull ``cube`` and give its blocks to `write`; pull ``beside``, if there is one, and give its blocks to `note`. A product
    is complete when all of its blocks have come; open are only those that have begun. Not safe for several threads.

    Parameters
    ----------
    data : cube with dates and the bands SEB NDSI FSCTOC FSCOG QCTOC QCOG EXPERT, lazy or not; others are left out
    folder : where the products' folders are made
    tile : name of the place; default: that of the tile that the data come from

    Raises
    ------
    ProcessError
        ``FormatUnsuitable`` for a cube without these bands, dates or a grid, without a tile, and for a date that comes
        twice to the second.
    """

    def __init__(self, data: xr.DataArray, folder: Path, tile: str | None = None):
        band = named_bands(data, BANDS, WHAT, "lis_snow")
        time, self.dates = dates_of(data, WHAT)
        y, x = spatial_of(data, (time, band), WHAT)
        data = cubes.north_up(data, y, x)
        self.data, self.folder, self.tile = data, folder, tile_name(data, tile, WHAT)
        self.grid: GeoBox = cubes.geobox_of(data)
        picked = [[str(v) for v in cubes.labels(data, band)].index(b) for b in BANDS]
        own = data.isel({band: picked}).transpose(time, band, y, x)
        self.cube = own.chunk({time: 1, band: -1, y: BLOCK, x: BLOCK})
        self.nodata = data.attrs.get("nodata")
        self.sources = [self._source(v) for v in self.dates]
        names = [product_name(s) for s in self.sources]
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise unsuitable(WHAT, f"two dates make the product {twice}; dates must differ by a second at least.")
        self.told = [self._told(v) for v in self.dates]
        self.beside = self._computed()
        self._open: dict[int, _Open] = {}
        self._done: dict[int, _Open] = {}

    def write(self, where: tuple[slice, ...], block: np.ndarray) -> None:
        """Take in a block (1, bands, h, w) of ``cube``. Raises ``FormatUnsuitable`` for values that are no codes."""
        date, (rows, cols) = where[0].start, where[2:]
        layers = self._codes(block[0])
        product = self._open.get(date) or self._begin(date)
        window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
        with raster_env():
            for file, layer in zip(product.files, layers):
                file.write(layer, 1, window=window)
            seb = layers[BANDS.index("SEB")]
            product.tally += [seb.size - (seb == FILL).sum(), (seb == SNOWY).sum(), (seb == CLOUDY).sum()]
            product.left -= seb.size
            if not product.left:
                self._end(date)

    def note(self, where: tuple[slice, ...], block: np.ndarray) -> None:
        """Take in what a date of ``beside`` tells."""
        at = where[0].start
        for k, meta in enumerate(block, at):
            self.told[k] = {**self.told[k], **meta}

    def finish(self) -> list[pystac.Item]:
        """Items of the products, in order of the cube's dates; their metadata are written."""
        return [self._describe(k) for k in range(len(self.dates))]

    def abandon(self) -> None:
        """Close all files."""
        for product in self._open.values():
            for file in product.files:
                file.close()
        self._open.clear()

    def _begin(self, date: int) -> _Open:
        source = self.sources[date]
        home = self.folder / product_name(source)
        home.mkdir(parents=True)
        with raster_env():
            files = [
                open_raster(home / f"{home.name}_{n}.tif", self.grid, None if n in BIT_FIELDS else FILL, TITLES[n])
                for n in BANDS
            ]
        self._open[date] = _Open(source, home, files, int(np.prod(self.grid.shape)))
        return self._open[date]

    def _end(self, date: int) -> None:
        product = self._done[date] = self._open.pop(date)
        for file in product.files:
            add_overviews(file)
            file.close()
        product.files.clear()

    def _describe(self, date: int) -> pystac.Item:
        product, told = self._done[date], self.told[date]
        pixels = max(int(product.tally[0]), 1)
        shares = {
            "snow_percent": 100.0 * int(product.tally[1]) / pixels,
            "cloud_percent": 100.0 * int(product.tally[2]) / pixels,
        }
        record = record_at(self.data, self.dates[date])
        ids = list(self.data.attrs.get("derived_from", ()))
        if record is not None:
            ids = record.get("tuile:derived_from") or [record["id"]]
        return describe(product.home, product.source, self.grid, list(BANDS), {**told, **shares}, ids)

    def _codes(self, block: np.ndarray) -> list[np.ndarray]:
        """The layers (h, w) uint8 of a block (bands, h, w); no data is 255, and no bit of the bit fields."""
        out = []
        for name, values in zip(BANDS, block):
            fill = 0 if name in BIT_FIELDS else FILL
            if values.dtype.kind == "f":
                known = np.where(np.isnan(values), fill, values)
            elif self.nodata is not None and name not in BIT_FIELDS:
                known = np.where(values == self.nodata, fill, values)
            else:
                known = values
            with np.errstate(invalid="ignore"):
                codes = known.astype(np.uint8)
            if (codes != known).any():
                raise unsuitable(WHAT, f"band {name} has values that are no codes of 0 to 255.")
            out.append(np.ascontiguousarray(codes))
        return out

    def _source(self, label: np.datetime64) -> pystac.Item:
        """The item that names a date's product: place, instant, platform."""
        footprint = self.grid.footprint("EPSG:4326")
        when = label.astype("M8[us]").item().replace(tzinfo=UTC)
        return pystac.Item(self.tile, footprint.json, list(footprint.boundingbox.bbox), when, self._platform(label))

    def _platform(self, label: np.datetime64) -> dict[str, Any]:
        records = records_of(self.data)
        own = record_at(self.data, label)
        families = [_family(r) for r in ([own] if own else records)]
        if families and families[0] and len(set(families)) == 1:
            platforms = {r.get("platform") for r in ([own] if own else records)}
            known = {"platform": platforms.pop()} if len(platforms) == 1 else {}
            return {"constellation": families[0], **{k: v for k, v in known.items() if v}}
        sensor = str(self.data.attrs.get("lis", {}).get("sensor", ""))
        found = next((v for k, v in CONSTELLATIONS.items() if sensor.startswith(k)), None)
        return {"constellation": found} if found else {}

    def _told(self, label: np.datetime64) -> dict[str, Any]:
        """What is known of a date before anything is computed."""
        about = self.data.attrs.get("lis")
        if about is not None and str(label) in about["dates"]:
            return {k: about[k] for k in ("mode", "sensor", "extent_used")}
        record = record_at(self.data, label) or {}
        if told := _beside(record.get("metadata")):
            return told
        line = record.get("lis:snow_line")
        return {
            "snow_line": line, "snow_line_found": line is not None, "mode": record.get("lis:mode"),
            "fsc_law": record.get("lis:fsc_law"),
        }  # fmt: skip

    def _computed(self) -> xr.DataArray | None:
        """Metadata that the computation of the cube yields: lazy (t,) of dicts, computed with the pixels."""
        about = self.data.attrs.get("lis")
        if about is None:
            return None
        at = dict(zip(about["dates"], about["per_date"]))
        known = [at.get(str(v), {}) for v in self.dates]
        lazy = [m if hasattr(m, "dask") else None for m in known]
        for k, meta in enumerate(known):
            if lazy[k] is None:
                self.told[k] = {**self.told[k], **meta}
        if not any(m is not None for m in lazy):
            return None
        parts = [da.from_delayed(_boxed(m), (1,), object) if m is not None else da.from_array(_box({})) for m in lazy]
        return xr.DataArray(da.concatenate(parts), dims=["date"])


def _box(meta: Mapping[str, Any]) -> np.ndarray:
    out = np.empty(1, object)
    out[0] = meta
    return out


def _boxed(meta: Any) -> Any:
    return dask.delayed(_box, pure=False)(meta)


def _family(record: Mapping[str, Any]) -> str | None:
    told = f"{record.get('constellation') or ''} {record.get('platform') or ''}".lower()
    return next((f for f in ("sentinel-2", "landsat", "spot") if f in told), None)


def _beside(path: str | None) -> dict[str, Any]:
    """What ``MTD.json`` of the product says that a date was loaded from; nothing where it is not there any more."""
    if path is None or not Path(path).is_file():
        return {}
    return dict(json.loads(Path(path).read_text()))
