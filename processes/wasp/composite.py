"""The synthesis of one block: arrays in, arrays out.

`average` is mode ``plus``, `recurse` is mode ``wasp1``; both take what a block holds: digital numbers (reflectance x
10000), the class of every pixel and date, the total weights and the directional factors.

Source: Hagolle, Morin and Kadiri (2018), WASP ATBD, Zenodo. What differs in ``plus`` is told in the folder's README.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np

from processes.errors import parameter_invalid
from processes.kernels.wasp_average import (
    CLEAR_NONE,
    CLOUD,
    LAND,
    NODATA,
    SNOW,
    WATER,
    average_block,
    choose_cloudy,
    factor_plane,
    guide_plane,
)
from processes.kernels.wasp_planes import classify_plane, halve_plane
from processes.kernels.wasp_recursion import recurse_date
from processes.wasp.directional import Coefficients, Kernels, coefficients_from
from processes.wasp.weights import Mode, Weighting

EPOCH = date(2000, 1, 1)  # dates are written as days since
NO_DATE = -32768

__all__ = [
    "CLEAR_NONE",
    "CLOUD",
    "LAND",
    "NODATA",
    "NO_DATE",
    "SNOW",
    "WATER",
    "Block",
    "Options",
    "Result",
    "average",
    "classify",
    "fallback",
    "guide_of",
    "guides",
    "halved",
    "recurse",
    "synthesise",
    "with_dark",
]


@dataclass(frozen=True)
class Options:
    """How to synthesise.

    Attributes
    ----------
    half_window : days on either side of the synthesis date
    mode : ``plus`` or ``wasp1``
    brdf : ``roy``, ``wasp1`` or ``none``
    robust : drop land dates of outlying blue (``plus`` only)
    level : level the dates to each other, see `processes.wasp.levels` (``plus`` only)
    blue_above, blue_below : how far above and below the (lower) median blue may lie, reflectance
    nir_below : how far below its median near infrared may lie, as a share of it (shadows)
    weighting, coefficients : see `processes.wasp.weights` and `processes.wasp.directional`
    """

    half_window: int = 23
    mode: Mode = "plus"
    brdf: Kernels = "roy"
    robust: bool = True
    level: bool = True
    blue_above: float = 0.03
    blue_below: float = 0.06
    nir_below: float = 0.1
    weighting: Weighting = field(default_factory=Weighting)
    coefficients: Mapping[str, Coefficients] = field(default_factory=lambda: coefficients_from(None))

    @classmethod
    def of(
        cls,
        *,
        half_window: int | None = None,
        mode: str | None = None,
        brdf: str | None = None,
        robust: bool | None = None,
        level: bool | None = None,
        weights: Mapping[str, Any] | None = None,
        coefficients: Mapping[str, Any] | None = None,
    ) -> Options:
        """From a user's parameters, None meaning the default of the mode. Raises ``ProcessParameterInvalid``."""
        chosen: Mode = "wasp1" if mode == "wasp1" else "plus"
        if mode not in (None, "plus", "wasp1"):
            raise parameter_invalid("mode", f"'{mode}' is not one of plus, wasp1.")
        if brdf not in (None, "roy", "wasp1", "none"):
            raise parameter_invalid("brdf", f"'{brdf}' is not one of roy, wasp1, none.")
        kernels: Kernels = brdf or ("wasp1" if chosen == "wasp1" else "roy")  # type: ignore[assignment]
        days = 23 if half_window is None else int(half_window)
        if days < 1:
            raise parameter_invalid("half_window", "it must be at least one day.")
        table = coefficients_from(coefficients)
        if any(c.uses_ndvi for c in table.values()):
            raise parameter_invalid(
                "coefficients", "coefficients that depend on NDVI (V1, R1) are not supported; set them to 0."
            )
        steady = chosen == "plus" if robust is None else bool(robust)
        if steady and chosen == "wasp1":
            raise parameter_invalid("robust", "the mode wasp1 has no robust step.")
        levelled = chosen == "plus" if level is None else bool(level)
        if levelled and chosen == "wasp1":
            raise parameter_invalid("level", "the mode wasp1 does not level dates.")
        weighting = Weighting.of(weights)
        if chosen == "wasp1":
            if "edge_fade" in (weights or {}) and weighting.edge_fade:
                raise parameter_invalid("weights", "the mode wasp1 does not fade dates in (edge_fade).")
            weighting = replace(weighting, edge_fade=0.0)
        return cls(days, chosen, kernels, steady, levelled, weighting=weighting, coefficients=table)

    @property
    def limits(self) -> np.ndarray:
        """(blue above, blue below) in DN and the share of near infrared, float32."""
        return np.array([self.blue_above * 1e4, self.blue_below * 1e4, self.nir_below], dtype=np.float32)

    def takes(self, day: date, synthesis: date) -> bool:
        """Whether a date belongs to the window. The program's own weight is not zero until twice the half window."""
        away = abs((day - synthesis).days)
        return away <= self.half_window if self.mode == "plus" else away < 2 * self.half_window


@dataclass(frozen=True)
class Block:
    """What a block holds; T dates in time order, B bands.

    Attributes
    ----------
    dn : (T, B, h, w) int16 or float32, reflectance x 10000, -10000 for nodata
    cls : (T, h, w) uint8 from `classify`
    blue : (T, h, w) int16 or float32, blue in DN as delivered, -10000 for nodata
    weight : (T, h, w) float32 total weight
    factor : (T, B, gy, gx) float32 directional factor at nodes, every ``step`` pixels from the image's corner
    blue_factor : (T, gy, gx) float32 the same of the blue band
    present : (T, B) bool, the date has the band
    origin : (y, x) of the first pixel in the image
    step : pixels between nodes
    choice, cell : index of the cloudy date to fall back on per cell of ``cell`` pixels; None: found here per pixel
    guide : (T, h, w) float32, corrected blue; None: found here
    dark : (T, h, w) float32, corrected near infrared like ``guide``; None: shadows are not looked for
    complete : (T, h, w) or (T, 1, 1) bool, the date has every band; None: found here per pixel
    level : (T, B, 2) float32 from `processes.wasp.levels.fit_levels`; None: dates are taken as they are
    blue_level : (T, 2) the same of the blue band
    aot : (T, h, w) or (T, 1, 1), aerosol optical thickness (or its codes, with ``level`` per code); None: without
    """

    dn: np.ndarray
    cls: np.ndarray
    blue: np.ndarray
    weight: np.ndarray
    factor: np.ndarray
    blue_factor: np.ndarray
    present: np.ndarray
    origin: tuple[int, int] = (0, 0)
    step: float = 500.0
    choice: np.ndarray | None = None
    cell: int = 1
    guide: np.ndarray | None = None
    dark: np.ndarray | None = None
    complete: np.ndarray | None = None
    level: np.ndarray | None = None
    blue_level: np.ndarray | None = None
    aot: np.ndarray | None = None


@dataclass(frozen=True)
class Result:
    """Synthesis of a block.

    Attributes
    ----------
    refl : (B, h, w) float32, reflectance x 10000 (whole numbers in ``wasp1``), NaN for none
    flag : (h, w) uint8, 0 nodata, 1 cloud or shadow, 2 snow, 3 water, 4 land
    weight : (h, w) float32 summed weight
    date : (h, w) float32, NaN for none: days from the synthesis date; ``wasp1``: 0-based day of year
    clear : (h, w) uint8, number of dates seen without cloud
    """

    refl: np.ndarray
    flag: np.ndarray
    weight: np.ndarray
    date: np.ndarray
    clear: np.ndarray


def classify(cloud: np.ndarray, water: np.ndarray, snow: np.ndarray, dn: np.ndarray) -> np.ndarray:
    """Class per pixel and date, (T, h, w) uint8: 0 where no band of ``dn`` (T, B, h, w) has a value, else 1 cloud or
    shadow, 3 water, 2 snow, 4 land, in that order. The masks are (T, h, w) bool."""
    cls = np.empty(cloud.shape, np.uint8)
    for t in range(len(cls)):
        classify_plane(dn[t], cloud[t], water[t], snow[t], cls[t])
    return cls


def halved(values: np.ndarray, missing: float = np.nan) -> np.ndarray:
    """Mean of 2 x 2 pixels (T, h, w) -> (T, h/2, w/2) float32; NaN and ``missing`` left out, NaN where none is left."""
    out = np.empty((len(values), values.shape[1] // 2, values.shape[2] // 2), np.float32)
    for t in range(len(out)):
        halve_plane(values[t], missing, out[t])
    return out


def guides(block: Block) -> np.ndarray:
    """Corrected and levelled blue (T, h, w), float32 DN, NaN for none."""
    return guide_of(block, block.blue, block.blue_factor, block.blue_level)


def guide_of(block: Block, dn: np.ndarray, factor: np.ndarray, level: np.ndarray | None = None) -> np.ndarray:
    """One band (T, h, w) with directional factors (T, gy, gx) at nodes, corrected on land, and levelled by ``level`` (T, 2):
    float32 DN, NaN for none."""
    out = np.empty(block.cls.shape, np.float32)
    y0, x0 = block.origin
    off = np.zeros((len(out), 2), np.float32) if level is None else level
    aot = _aot(block)
    for t in range(len(out)):
        guide_plane(dn[t], factor[t], off[t, 0], off[t, 1], aot[t], block.cls[t], x0, y0, block.step, out[t])
    return out


def with_dark(block: Block, nir: int) -> Block:
    """The block with the plane that shadows are looked for in: band ``nir``, levelled where the block is, for a surface that
    changes in near infrared is no shadow."""
    level = None if block.level is None else block.level[:, nir]
    return replace(block, dark=guide_of(block, block.dn[:, nir], block.factor[:, nir], level))


def _aot(block: Block) -> np.ndarray:
    return np.zeros((len(block.dn), 1, 1), np.float32) if block.aot is None else block.aot


def fallback(block: Block, guide: np.ndarray, cell: int) -> np.ndarray:
    """Cloudy date of minimum blue per cell of ``cell`` x ``cell`` pixels, (hc, wc) int16, -1 for none."""
    height, width = block.cls.shape[1:]
    out = np.empty((-(-height // cell), -(-width // cell)), np.int16)
    complete = (block.dn != NODATA).all(axis=1) if block.complete is None else block.complete
    choose_cloudy(block.cls, guide, complete, cell, out)
    return out


def average(block: Block, days: Sequence[int], options: Options) -> Result:
    """Mode ``plus``: order-free weighted mean, one rounding (left to the writer). ``days`` from the synthesis date."""
    bands = block.dn.shape[1]
    shape = block.cls.shape[1:]
    guide = guides(block) if block.guide is None else block.guide
    choice = fallback(block, guide, block.cell) if block.choice is None else block.choice
    dark = np.empty((0, 0, 0), np.float32) if block.dark is None else block.dark
    level = np.zeros((len(block.dn), bands, 2), np.float32) if block.level is None else block.level
    out = Result(
        np.empty((bands, *shape), np.float32),
        np.empty(shape, np.uint8),
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.empty(shape, np.uint8),
    )
    average_block(
        block.dn, block.cls, guide, dark, block.weight, block.factor, level, _aot(block), block.present,
        np.asarray(days, dtype="f8"), choice, block.cell, *block.origin, float(block.step), options.robust,
        options.limits, out.refl, out.flag, out.weight, out.date, out.clear,
    )  # fmt: skip
    return out


def recurse(block: Block, days_of_year: Sequence[int]) -> Result:
    """Mode ``wasp1``: the program's recursion, date after date in the order given. ``days_of_year`` count from 0."""
    dates, bands, height, width = block.dn.shape
    refl = np.full((bands, height, width), NODATA, np.int16)
    flag, best = np.zeros((height, width), np.uint8), np.zeros((height, width), np.int16)
    total, mean_day = np.zeros((height, width), np.int16), np.zeros((height, width), np.int16)
    factor = np.empty((bands, height, width), np.float32)
    clear = np.zeros((height, width), np.uint8)
    for t in range(dates):
        dn = np.ascontiguousarray(block.dn[t], dtype=np.int16)
        for b in range(bands):
            factor_plane(block.factor[t, b], *block.origin, block.step, factor[b])
        # a negative number is no value to the program; a pixel without any is not seen
        cls = np.where((dn < 0).all(axis=0), np.uint8(CLEAR_NONE), block.cls[t])
        clear += (cls == LAND) | (cls == SNOW) | (cls == WATER)
        recurse_date(
            dn, factor, cls, block.blue[t].astype(np.float32), block.weight[t], days_of_year[t], refl, best, flag,
            total, mean_day,
        )  # fmt: skip
    nothing = flag == CLEAR_NONE
    return Result(
        np.where(refl == NODATA, np.float32(np.nan), refl.astype(np.float32)),
        flag,
        total.astype(np.float32) / np.float32(1000),
        np.where(nothing, np.float32(np.nan), mean_day.astype(np.float32)),
        clear,
    )


def synthesise(block: Block, dates: Sequence[date], synthesis: date, options: Options) -> Result:
    """The mode's synthesis of a block whose dates are ``dates``, in time order."""
    if options.mode == "wasp1":
        return recurse(block, [day.timetuple().tm_yday - 1 for day in dates])
    return average(block, [(day - synthesis).days for day in dates], options)
