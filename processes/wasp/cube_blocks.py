"""A cube's blocks: what a cube holds by band, the first look at all of it, and the synthesis of one block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.errors import parameter_invalid
from processes.wasp.composite import EPOCH, LAND, NODATA, Block, Options, Result, classify, synthesise, with_dark
from processes.wasp.directional import factor
from processes.wasp.levels import fit_levels, known_aot, sample_positions
from processes.wasp.rims import RimGrid
from processes.wasp.sources import CLM_ANY, MG2_SNOW, MG2_WATER
from processes.wasp.weights import CoarseGrid, aerosol_weight

ANGLES = ("SZA", "SAA", "VZA", "VAA")
NO_REFLECTANCE = {
    "CLM", "MG2", "EDG", "SAT", "SCL", "AOT", "WVC", "CLOUD", "CLOUD_SHADOW", "CIRRUS", "SNOW", "WATER", "VALID", *ANGLES,
}  # fmt: skip
NIR = ("B08", "B8A")  # what holds the near infrared where the cube does not say
LAYERS = ("FLG", "WGT", "DTS", "NCL")


@dataclass(frozen=True)
class Layout:
    """Where a cube's bands are: indices along the band dimension."""

    labels: tuple[str, ...]
    reflectance: tuple[str, ...]
    blue: str
    nir: str | None

    @classmethod
    def of(cls, data: xr.DataArray, dimension: str) -> Layout:
        """Raises ``ProcessParameterInvalid`` where a cloud mask or a blue band is missing."""
        labels = tuple(map(str, cubes.labels(data, dimension)))
        info = data.attrs.get("band_info", {})
        reflectance = tuple(b for b in labels if b not in NO_REFLECTANCE)
        if not {"CLM", "CLOUD"} & set(labels):
            raise parameter_invalid("data", "it needs a cloud mask: load the band CLM, or CLOUD and CLOUD_SHADOW.")
        named = [b for b in reflectance if _common(info, b) == "blue"]
        blue = named[0] if named else "B02"
        if blue not in reflectance:
            raise parameter_invalid("data", "it needs a blue band (B02), which decides between cloudy dates.")
        infrared = [b for b in reflectance if _common(info, b) in ("nir", "nir08")]
        infrared += [b for b in NIR if b in reflectance]
        return cls(labels, reflectance, blue, infrared[0] if infrared else None)

    def at(self, *names: str) -> list[int]:
        """Indices of those of the names that there are."""
        return [self.labels.index(n) for n in names if n in self.labels]

    @property
    def blue_at(self) -> int:
        return self.reflectance.index(self.blue)


def _common(info: Mapping[str, Mapping[str, Any]], band: str) -> Any:
    held = info.get(band, {})
    return held.get("common_name", held.get("eo:common_name"))


@dataclass(frozen=True)
class Work:
    """What all blocks of one synthesis share; plain data. ``shape`` is the cube's (dates, height, width)."""

    layout: Layout
    shape: tuple[int, int, int]
    coarse: CoarseGrid
    rims: RimGrid | None
    days: tuple[date, ...]
    synthesis: date
    options: Options
    scales: tuple[float, ...]

    # The three functions of the first look: each takes a block (T, bands, h, w) and its offsets, and returns the block's
    # share; the function beside it makes one small array of all shares.

    def cloud_part(self, block: np.ndarray, offsets: tuple[int, ...]) -> list[Any]:
        """Per date: (date, rows, columns, sums) of the 240 m cells."""
        cloud = _cloud(block, self.layout)
        return [
            (offsets[0] + i, *self.coarse.part(cloud[i].view(np.uint8), offsets[2], offsets[3]))
            for i in range(len(cloud))
        ]

    def cloud_fields(self, parts: list[list[Any]]) -> np.ndarray:
        """(2, T, cells, cells) float64, the two cloud fields."""
        sums = [self.coarse.start() for _ in range(self.shape[0])]
        for t, rows, cols, share in (p for part in parts for p in part):
            sums[t][rows, cols] += share
        return np.stack([self.coarse.fields(s, self.options.weighting) for s in sums], axis=1)

    def unseen_part(self, block: np.ndarray, offsets: tuple[int, ...]) -> Any:
        """First date, row and column of the block in cells, and its unseen cells."""
        assert self.rims is not None
        unseen = _cloud(block, self.layout) | np.isnan(block[:, self.layout.labels.index(self.layout.blue)])
        step = self.rims.step
        top, left = offsets[2] // step, offsets[3] // step
        height, width = unseen.shape[1:]
        shape = (offsets[2] + height - 1) // step - top + 1, (offsets[3] + width - 1) // step - left + 1
        cells = np.zeros((len(unseen), *shape), bool)
        for t in range(len(unseen)):
            self.rims.add(unseen[t], offsets[2] - top * step, offsets[3] - left * step, cells[t])
        return offsets[0], top, left, cells

    def unseen_cells(self, parts: list[Any]) -> np.ndarray:
        """(T, rows, columns / 8) uint8, packed."""
        assert self.rims is not None
        whole = np.zeros((self.shape[0], *self.rims.shape), bool)
        for t, top, left, cells in parts:
            whole[t : t + len(cells), top : top + cells.shape[1], left : left + cells.shape[2]] |= cells
        return RimGrid.pack(whole)

    def sample_part(self, block: np.ndarray, offsets: tuple[int, ...]) -> Any:
        """Offsets and corrected values, land and aerosol at the sample positions of the block."""
        rows = sample_positions(self.shape[1], offsets[2], block.shape[2])
        cols = sample_positions(self.shape[2], offsets[3], block.shape[3])
        picked = np.ascontiguousarray(block[:, :, rows][:, :, :, cols])
        dn, cls, _ = prepare(picked, self.layout, self.options)
        values = np.where(dn == NODATA, np.float32(np.nan), dn)
        return offsets[0], rows + offsets[2], cols + offsets[3], values, cls == LAND, aot_of(picked, self.layout)

    def levels(self, parts: list[Any]) -> np.ndarray:
        """(T, B, 2) float32 of `fit_levels`."""
        dates, height, width = self.shape
        rows, cols = sample_positions(height), sample_positions(width)
        bands = len(self.layout.reflectance)
        values = np.full((dates, bands, len(rows), len(cols)), np.nan, np.float32)
        land = np.zeros((dates, len(rows), len(cols)), bool)
        aot = np.full(land.shape, np.nan, np.float32)
        for t, ys, xs, one, is_land, thick in parts:
            if ys.size and xs.size:
                y, x = int(np.searchsorted(rows, ys[0])), int(np.searchsorted(cols, xs[0]))
                where = slice(t, t + len(one)), slice(y, y + len(ys)), slice(x, x + len(xs))
                values[where[0], :, where[1], where[2]], land[where], aot[where] = one, is_land, thick
        flat = dates, -1
        return fit_levels(values.reshape(dates, bands, -1), land.reshape(flat), aot.reshape(flat))


def prepare(values: np.ndarray, layout: Layout, options: Options) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Digital numbers (T, B, h, w) float32, corrected for direction; classes (T, h, w); blue as delivered (T, h, w)."""
    # digital numbers to 1/16: exact for reflectance that was stored as int16
    dn = np.rint(values[:, layout.at(*layout.reflectance)] * np.float32(16e4)) / np.float32(16)
    dn = np.where(np.isnan(dn), np.float32(NODATA), dn).astype(np.float32)
    raw = "MG2" in layout.labels
    water = _said(values[:, layout.at("MG2")], MG2_WATER) if raw else _said(values[:, layout.at("WATER")], 0)
    snow = _said(values[:, layout.at("MG2")], MG2_SNOW) if raw else _said(values[:, layout.at("SNOW")], 0)
    cls = classify(_cloud(values, layout), water, snow, dn)
    delivered = dn[:, layout.blue_at].copy()
    _correct(values, dn, cls, layout, options)
    return dn, cls, delivered


def _cloud(values: np.ndarray, layout: Layout) -> np.ndarray:
    if "CLM" in layout.labels:
        return _said(values[:, layout.at("CLM")], CLM_ANY)
    return _said(values[:, layout.at("CLOUD", "CLOUD_SHADOW")], 0)


def _said(values: np.ndarray, bits: int) -> np.ndarray:
    """Any of the mask bands (T, M, h, w) says so: bool (T, h, w). NaN and 255 of a 0/1 band are no."""
    if bits:
        return (np.nan_to_num(values).astype(np.int32) & bits).any(axis=1)
    return (values == 1).any(axis=1)


def aot_of(values: np.ndarray, layout: Layout) -> np.ndarray:
    """Aerosol optical thickness (T, h, w) float32, NaN where unknown."""
    if "AOT" in layout.labels:
        return values[:, layout.labels.index("AOT")].astype(np.float32)
    return np.full((len(values), *values.shape[2:]), np.nan, np.float32)


def synthesise_block(
    values: np.ndarray, fields: np.ndarray, unseen: np.ndarray, levels: np.ndarray, rows: np.ndarray, cols: np.ndarray, *,
    work: Work,
) -> np.ndarray:  # fmt: skip
    """One block: (T, bands, h, w) and the first look's arrays in, (1, bands, h, w) out."""
    layout, options = work.layout, work.options
    # the pixel dimensions that the small arrays lack come as ones
    cells, packed, level = (
        fields.reshape(fields.shape[:4]),
        unseen.reshape(unseen.shape[:3]),
        levels.reshape(levels.shape[:3]),
    )
    dates = len(values)
    dn, cls, delivered = prepare(values, layout, options)
    origin = int(rows.flat[0]), int(cols.flat[0])
    aot = aot_of(values, layout)
    weight = weights_of(aot, cells, packed, origin, work)
    seen = np.ones((dates, dn.shape[1]), bool)
    ones = np.ones((dates, dn.shape[1], 1, 1), np.float32)
    if options.mode == "wasp1":
        block = Block(np.rint(dn).astype(np.int16), cls, delivered, weight, ones, ones[:, 0], seen, origin)
    else:
        block = Block(dn, cls, dn[:, layout.blue_at], weight, ones, ones[:, 0], seen, origin)
        if options.level:
            level = np.ascontiguousarray(level)
            block = replace(block, level=level, blue_level=level[:, layout.blue_at], aot=known_aot(aot))
        if options.robust and layout.nir is not None:
            block = with_dark(block, layout.reflectance.index(layout.nir))
    return as_bands(synthesise(block, work.days, work.synthesis, options), work.synthesis, options)


def weights_of(
    aot: np.ndarray, fields: np.ndarray, unseen: np.ndarray, origin: tuple[int, int], work: Work
) -> np.ndarray:
    """Total weight (T, h, w) of a block at ``origin`` from the cloud fields (T, 2, cells, cells) and unseen cells (T, ...)."""
    weighting, told = work.options.weighting, "AOT" in work.layout.labels
    weight = np.empty(aot.shape, np.float32)
    for i in range(len(aot)):
        aerosol = aerosol_weight(aot[i], weighting) if told else np.ones((1, 1), np.float32)
        small, large = np.ascontiguousarray(fields[i, 0]), np.ascontiguousarray(fields[i, 1])
        work.coarse.weight(small, large, aerosol, work.scales[i], *origin, weight[i])
        if work.rims is not None:
            work.rims.fade(np.ascontiguousarray(unseen[i]), *origin, weight[i])
    return weight


def _correct(values: np.ndarray, dn: np.ndarray, cls: np.ndarray, layout: Layout, options: Options) -> None:
    """Directional correction of land in place, where the cube has the angles."""
    if options.brdf == "none" or len(layout.at(*ANGLES)) < 4:
        return
    for i in range(len(dn)):
        sza, saa, vza, vaa = (values[i, layout.labels.index(a)] for a in ANGLES)
        for b, band in enumerate(layout.reflectance):
            if band not in options.coefficients:
                continue
            ratio = factor(options.coefficients[band], sza, vza, saa - vaa, options.brdf).astype(np.float32)
            corrected = dn[i, b] * ratio
            if options.mode == "wasp1":
                corrected = np.trunc(corrected)
            usable = (cls[i] == LAND) & (dn[i, b] != NODATA) & np.isfinite(ratio) & (ratio > 0)
            dn[i, b] = np.where(usable, corrected, dn[i, b])


def as_bands(result: Result, synthesis: date, options: Options) -> np.ndarray:
    """A result as the cube's bands, rounded once to 1/10000: (1, bands, h, w) float32."""
    first = 0.0 if options.mode == "wasp1" else float((synthesis - EPOCH).days)
    layers: Sequence[np.ndarray] = [
        np.rint(result.refl) / np.float32(1e4),
        result.flag[None],
        np.rint(result.weight * np.float32(1000))[None] / np.float32(1000),
        (np.rint(result.date) + np.float32(first))[None],
        result.clear[None],
    ]
    return np.concatenate([np.asarray(layer, dtype=np.float32) for layer in layers])[None]
