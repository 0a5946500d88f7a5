"""Cubes written as L3A products, block by block: one product per synthesis date, whatever the cube has been through.

A cube has one grid, so all bands and masks lie in group R1, on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
import xarray as xr
from rasterio.windows import Window

from processes import blocks
from processes import cube as cubes
from processes.band_names import short
from processes.products import (
    Made,
    Record,
    dates_of,
    named_bands,
    record_at,
    records_of,
    spatial_of,
    tile_name,
    unsuitable,
)
from processes.wasp.chain import CACHE_BYTES, options_of
from processes.wasp.composite import EPOCH, Options, Result
from processes.wasp.cube_blocks import LAYERS
from processes.wasp.product import Facts, Group, ProductWriter

WHAT = "MUSCATE L3A synthesis"
TILE = 512  # pixels of the rasters' tiles; blocks are tiles
REFLECTANCE = re.compile(r"B\d\d|B8A")
NAMES = re.compile(r"(SENTINEL2[A-D]|LANDSAT[5789])")  # platforms that names of products tell apart


@dataclass
class _Date:
    """One product: its facts, and the writer and the pixels left once it has begun."""

    facts: Facts
    known: bool  # whether the options are
    writer: ProductWriter | None = None
    left: int = 0


class SynthesisProducts:
    """L3A products in the making from a cube with the bands of `wasp_synthesis`.

    Pull ``cube`` and give its blocks to `write`. A product is complete when all of its blocks have come; open are only those
    that have begun. Not safe for several threads.

    Parameters
    ----------
    data : cube with dates, reflectance bands (0..1, NaN for none) and FLG WGT DTS NCL, lazy or not; others are left out
    folder : where the products' folders are made
    tile : name of the place; default: that of the tile that the data come from

    Raises
    ------
    ProcessError
        ``FormatUnsuitable`` for a cube without these bands, dates or a grid, without a tile, and for a day that comes twice.
    """

    beside: xr.DataArray | None = None  # nothing else has to be pulled

    def __init__(self, data: xr.DataArray, folder: Path, tile: str | None = None):
        band = named_bands(data, LAYERS, WHAT, "wasp_synthesis")
        held = [str(v) for v in cubes.labels(data, band)]
        self.bands = tuple(b for b in held if REFLECTANCE.fullmatch(b))
        if not self.bands:
            raise unsuitable(WHAT, f"the cube has no reflectance band (B02 ...); it has {', '.join(held[:20])}.")
        time, labels = dates_of(data, WHAT)
        y, x = spatial_of(data, (time, band), WHAT)
        data = cubes.north_up(data, y, x)
        self.data, self.folder, self.tile = data, folder, tile_name(data, tile, WHAT)
        grid = cubes.geobox_of(data)
        self.group, self.pixels = Group("R1", grid, self.bands), int(np.prod(grid.shape))
        picked = [held.index(b) for b in (*self.bands, *LAYERS)]
        own = data.isel({band: picked}).transpose(time, band, y, x)
        self.cube = own.chunk({time: 1, band: -1, y: TILE, x: TILE})
        self.nodata = data.attrs.get("nodata")
        self.dates = [self._date(v) for v in labels]
        names = [d.facts.name for d in self.dates]
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise unsuitable(WHAT, f"two dates make the product {twice}; a synthesis has a day of its own.")
        self._items: dict[int, pystac.Item] = {}

    def write(self, where: tuple[slice, ...], block: np.ndarray) -> None:
        """Take in a block (1, bands, h, w) of ``cube``. Raises ``FormatUnsuitable`` for flags that are no codes."""
        at, (rows, cols) = where[0].start, where[2:]
        one = self.dates[at]
        if one.writer is None:
            one.writer, one.left = ProductWriter(self.folder, [self.group], one.facts, TILE), self.pixels
        window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
        with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            one.writer.write(one.writer.groups[0], window, self._result(block[0], one.facts))
            one.left -= block[0, 0].size
            if one.left:
                return
            self._items[at] = one.writer.finish()
            if not one.known:  # parameters nobody knows are not told
                (one.writer.folder / "DATA" / f"{one.facts.name}_IPP_ALL.xml").unlink()

    def note(self, where: tuple[slice, ...], block: np.ndarray) -> None:
        """Nothing comes beside the cube."""

    def finish(self) -> list[pystac.Item]:
        """Items of the products, in order of the cube's dates."""
        return [self._items[k] for k in range(len(self.dates))]

    def abandon(self) -> None:
        """Close all files."""
        for one in self.dates:
            if one.writer is not None:
                one.writer.abandon()

    def _result(self, values: np.ndarray, facts: Facts) -> Result:
        count = len(self.bands)
        known = values.astype(np.float32)
        if values.dtype.kind in "iu" and self.nodata is not None:
            known[values == self.nodata] = np.nan
        flag, weight, days, clear = known[count:]
        if facts.options.mode != "wasp1":
            days = days - np.float32((facts.synthesis - EPOCH).days)
        refl = known[:count] * np.float32(1e4)
        return Result(refl, _code(flag, "FLG", 4), np.nan_to_num(weight), days, _code(clear, "NCL", 255))

    def _date(self, label: np.datetime64) -> _Date:
        day = label.astype("M8[D]").item()
        record = record_at(self.data, label)
        options, known = self._options(record)
        platform = _platform([record] if record else records_of(self.data), self.bands)
        days, inputs = self._inputs(day, record)
        facts = Facts(
            f"{platform}_{day:%Y%m%d}-000000-000_L3A_{self.tile}_C_V1-0", platform, self.tile, day, days, inputs, options,
            {b: short(b) for b in self.bands}, {b: self._optics(b) for b in self.bands},
        )  # fmt: skip
        return _Date(facts, known)

    def _options(self, record: Record | None) -> tuple[Options, bool]:
        """Options of the synthesis and whether they are known; else those of the mode that the products tell."""
        made = self.data.attrs.get("made")
        if "wasp" in self.data.attrs:
            return self.data.attrs["wasp"]["options"], True
        if isinstance(made, Made) and made.chain == "wasp_synthesis":
            return options_of(made.params), True
        told = record or next(iter(records_of(self.data)), {})
        return Options.of(mode="wasp1" if told.get("tuile:dts") == "doy" else "plus"), False

    def _inputs(self, day: date, record: Record | None) -> tuple[tuple[date, ...], tuple[str, ...]]:
        """Days that the synthesis is made of, and the products of these days as far as they are known."""
        made, about = self.data.attrs.get("made"), self.data.attrs.get("wasp")
        if isinstance(made, Made) and made.chain == "wasp_synthesis" and record is not None:
            ids = [i for i in record.get("derived_from", ()) if i in made.inputs]
            if ids:
                return tuple(made.inputs[i] for i in ids), tuple(ids)
        if about is not None and day.isoformat() in about["days"]:
            days = tuple(date.fromisoformat(d) for d in about["days"][day.isoformat()])
            seen = [(str(r["datetime"])[:10], r["id"]) for r in records_of(self.data) if r["datetime"] is not None]
            found = [(date.fromisoformat(d), i) for d, i in seen if date.fromisoformat(d) in days]
            if {d for d, _ in found} == set(days):
                return tuple(d for d, _ in found), tuple(i for _, i in found)
            return days, ()
        span = [str((record or {}).get(k, ""))[:10] for k in ("start_datetime", "end_datetime")]
        return (tuple(date.fromisoformat(d) for d in span), ()) if all(span) else ((day,), ())

    def _optics(self, band: str) -> dict[str, Any]:
        info = self.data.attrs.get("band_info", {}).get(band, {})
        told = {"eo:common_name": info.get("common_name"), "eo:center_wavelength": info.get("wavelength")}
        return {k: v for k, v in told.items() if v is not None}


def write_cube(data: xr.DataArray, folder: Path, *, tile: str | None = None, threads: int = 2) -> list[pystac.Item]:
    """Write every date of a cube of `wasp_synthesis` as a product of its own, which the catalogue ingests.

    Parameters
    ----------
    data, folder, tile : see `SynthesisProducts`
    threads : that compute blocks

    Returns
    -------
    Items of collection ``SENTINEL2_L3A_WASP``, in order of dates. Raises as `SynthesisProducts` does.
    """
    products = SynthesisProducts(data, folder, tile)
    try:
        blocks.pull([products.cube], [products.write], threads=threads)
        return products.finish()
    finally:
        products.abandon()


def _code(values: np.ndarray, band: str, most: int) -> np.ndarray:
    known = np.nan_to_num(values)
    with np.errstate(invalid="ignore"):
        codes = known.astype(np.uint8)
    if (codes != known).any() or codes.max(initial=0) > most:
        raise unsuitable(WHAT, f"band {band} has values that are no whole numbers of 0 to {most}.")
    return codes


def _platform(records: Sequence[Record], bands: Sequence[str]) -> str:
    """The platform as names of products tell it; Sentinel-2 of several where that is not known, or VENuS by its bands."""
    names = {str(r.get("platform") or "").upper().replace("-", "") for r in records} - {""}
    if any("SENTINEL2" in n for n in names) or not names:
        names = {n for n in names if "SENTINEL2" in n}
        if not names:
            return "VENUS-XS" if "B10" in bands else "SENTINEL2X"
    if len(names) == 1 and NAMES.fullmatch(one := next(iter(names))):
        return one
    lead = min(names)
    return "SENTINEL2X" if "SENTINEL2" in lead else "VENUS-XS" if lead.startswith("VEN") else "LANDSAT"
