"""A synthesis that can be continued: dates are added one by one, in any order, and equal the batch exactly.

What is kept are sums of integers (see `processes.kernels.wasp_average`), so adding is exact. The robust step looks at the
median over all dates, and levelling compares all dates, which sums cannot tell; with either on, the state keeps every
observation instead. `processes.wasp.state_file` saves it, `processes.wasp.continued` feeds it from cubes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import numpy as np

from processes.errors import ProcessError, parameter_invalid
from processes.kernels.wasp_average import CLOUD, FRACTION, LAND, NODATA, SNOW, WATER, WEIGHT_ONE
from processes.wasp.composite import Block, Options, Result, average, with_dark
from processes.wasp.levels import levelled

NEVER = -(1 << 30)
KINDS = (("land", LAND), ("snow", SNOW), ("water", WATER))


@dataclass(frozen=True)
class Observation:
    """One date: dn (B, h, w) float32, cls (h, w) uint8, weight (h, w) float32, aot (h, w) float32, NaN where unknown."""

    day: date
    dn: np.ndarray
    cls: np.ndarray
    weight: np.ndarray
    aot: np.ndarray


def empty_sums(bands: int, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """The arrays of a state without dates.

    ``land_v, land_b`` (B, h, w) and ``land_w, land_d`` (h, w) float64 sums of weight x reflectance, weight per band,
    weight, weight x days; the same for ``snow`` and ``water``; ``count`` (3, h, w) uint16 dates per class; ``last``
    (2, h, w) int32 last day of snow and water; ``best`` (h, w) float32 blue, ``best_day`` int32, ``best_complete`` bool and
    ``best_v`` (B, h, w) float32 of the cloudy date to fall back on.
    """
    sums: dict[str, np.ndarray] = {}
    for kind, _ in KINDS:
        sums |= {f"{kind}_{k}": np.zeros((bands, *shape)) for k in "vb"}
        sums |= {f"{kind}_{k}": np.zeros(shape) for k in "wd"}
    sums["count"] = np.zeros((3, *shape), np.uint16)
    sums["last"] = np.full((2, *shape), NEVER, np.int32)
    sums["best"] = np.full(shape, np.inf, np.float32)
    sums["best_day"] = np.full(shape, NEVER, np.int32)
    sums["best_complete"] = np.zeros(shape, bool)
    sums["best_v"] = np.full((bands, *shape), NODATA, np.float32)
    return sums


@dataclass
class SynthesisState:
    """Dates so far of one block (or tile). Mode ``plus`` only.

    Attributes
    ----------
    synthesis, options : what is synthesised, and how
    bands, blue, nir : names of the bands; which of them decides between dates; which shows shadows, or None
    shape : (h, w)
    grid : text that identifies the ground it covers (CRS and corners), compared when dates are added from cubes
    names : acquisitions taken so far, in the order they came
    arrays : sums, see `empty_sums`; empty where ``observations`` are kept instead (robust or levelled)
    """

    synthesis: date
    options: Options
    bands: tuple[str, ...]
    shape: tuple[int, int]
    blue: str = "B02"
    nir: str | None = None
    grid: str = ""
    names: list[str] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    observations: list[Observation] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.options.mode != "plus":
            raise parameter_invalid("mode", "only syntheses of mode 'plus' can be continued.")
        for band in (self.blue, *([] if self.nir is None else [self.nir])):
            if band not in self.bands:
                raise parameter_invalid("data", f"there is no band {band}, which decides between dates.")
        if not self.arrays and not self.keeps_observations:
            self.arrays = empty_sums(len(self.bands), self.shape)

    @property
    def keeps_observations(self) -> bool:
        return self.options.robust or self.options.level

    def add(
        self,
        day: date,
        dn: np.ndarray,
        cls: np.ndarray,
        weight: np.ndarray,
        aot: np.ndarray | None = None,
        name: str | None = None,
    ) -> None:
        """Take one more date.

        Parameters
        ----------
        day : acquisition date; raises ``ProcessParameterInvalid`` outside the window
        dn : (B, h, w) reflectance x 10000, land already corrected for direction, -10000 for nodata
        cls : (h, w) uint8 from `composite.classify`
        weight : (h, w) float32 total weight
        aot : (h, w) float32 aerosol optical thickness, for levelling; None: unknown
        name : tells acquisitions of one day apart, default the day; raises ``ProcessParameterInvalid`` for one that has been
            added already
        """
        name = name or day.isoformat()
        if not self.options.takes(day, self.synthesis):
            raise parameter_invalid("data", f"{day} lies outside the window around {self.synthesis}.")
        if name in self.names:
            raise parameter_invalid("data", f"{name} has been added to the synthesis already.")
        wanted = (len(self.bands), *self.shape)
        if dn.shape != wanted or cls.shape != self.shape or weight.shape != self.shape:
            raise parameter_invalid("data", f"the date {day} has not the shape {wanted} of the synthesis.")
        self.names.append(name)
        if self.keeps_observations:
            thick = np.full(self.shape, np.nan, np.float32) if aot is None else aot.astype(np.float32)
            kept = Observation(day, dn.astype(np.float32), cls.copy(), weight.astype(np.float32), thick)
            self.observations.append(kept)
        else:
            self._sum(float((day - self.synthesis).days), dn, cls, weight)

    def _sum(self, away: float, dn: np.ndarray, cls: np.ndarray, weight: np.ndarray) -> None:
        fixed = np.rint(dn.astype(np.float32) * np.float32(FRACTION)).astype(np.float64)
        share = np.rint(np.maximum(weight, np.float32(1e-3)) * np.float32(WEIGHT_ONE)).astype(np.float64)
        for n, (kind, code) in enumerate(KINDS):
            here = cls == code
            w = np.where(here, share if kind == "land" else WEIGHT_ONE, 0.0)
            per_band = np.where(dn != NODATA, w, 0.0)
            self.arrays[f"{kind}_v"] += per_band * fixed
            self.arrays[f"{kind}_b"] += per_band
            self.arrays[f"{kind}_w"] += w
            self.arrays[f"{kind}_d"] += w * away
            self.arrays["count"][n] += here
            if n:
                last = self.arrays["last"][n - 1]
                last[here] = np.maximum(last[here], int(away))
        self._cloudy(int(away), dn, cls)

    def _cloudy(self, away: int, dn: np.ndarray, cls: np.ndarray) -> None:
        """The fallback date: complete before incomplete, then smallest blue, then the earlier day."""
        a, blue = self.arrays, dn[self.bands.index(self.blue)].astype(np.float32)
        complete = (dn != NODATA).all(axis=0)
        unseen = a["best_day"] == NEVER
        same = a["best_complete"] == complete
        less = (blue < a["best"]) | ((blue == a["best"]) & (away < a["best_day"]))
        better = unseen | (complete & ~a["best_complete"]) | (same & less)
        take = (cls == CLOUD) & (blue != NODATA) & better
        a["best"][take], a["best_day"][take], a["best_complete"][take] = blue[take], away, complete[take]
        a["best_v"][:, take] = dn[:, take]

    def result(self) -> Result:
        """The synthesis of the dates so far, equal to the batch of the same dates. Raises ``NoDataAvailable`` without any."""
        if not self.names:
            raise ProcessError("NoDataAvailable", "No date has been added to the synthesis yet.")
        return self._batch() if self.keeps_observations else self._of_sums()

    def _of_sums(self) -> Result:
        a = self.arrays
        land, snow, water = (n > 0 for n in a["count"])
        wins = (a["count"][1] > a["count"][2]) | ((a["count"][1] == a["count"][2]) & (a["last"][0] > a["last"][1]))
        flag = np.zeros(self.shape, np.uint8)
        flag[a["best_day"] > NEVER] = CLOUD
        flag[snow | water] = WATER
        flag[(snow | water) & wins] = SNOW
        flag[land] = LAND
        refl = np.full((len(self.bands), *self.shape), np.nan, np.float32)
        day = np.full(self.shape, np.nan, np.float32)
        for kind, code in KINDS:
            here = flag == code
            v, b = a[f"{kind}_v"], a[f"{kind}_b"]
            usable = here & (b > 0)
            refl[usable] = (v[usable] / (b[usable] * FRACTION)).astype(np.float32)
            day[here] = (a[f"{kind}_d"][here] / a[f"{kind}_w"][here]).astype(np.float32)
        cloudy = (flag == CLOUD) & (a["best_v"] != NODATA)
        refl[cloudy] = np.rint(a["best_v"][cloudy] * np.float32(FRACTION)) / np.float32(FRACTION)
        day[flag == CLOUD] = a["best_day"][flag == CLOUD]
        total = np.where(flag == LAND, a["land_w"] / WEIGHT_ONE, 0.0).astype(np.float32)
        return Result(refl, flag, total, day, a["count"].sum(axis=0).astype(np.uint8))

    def _batch(self) -> Result:
        held = sorted(self.observations, key=lambda o: o.day)
        dn, cls, weight, aot = (np.stack([getattr(o, k) for o in held]) for k in ("dn", "cls", "weight", "aot"))
        blue = self.bands.index(self.blue)
        ones = np.ones((len(held), len(self.bands), 1, 1), np.float32)
        present = (dn != NODATA).any(axis=(2, 3))
        block = Block(dn, cls, np.ascontiguousarray(dn[:, blue]), weight, ones, ones[:, 0], present)
        if self.options.level:
            block = levelled(block, aot, blue)
        if self.nir is not None and self.options.robust:
            block = with_dark(block, self.bands.index(self.nir))
        return average(block, [(o.day - self.synthesis).days for o in held], self.options)
