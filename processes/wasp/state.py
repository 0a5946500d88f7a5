"""A synthesis that can be continued: dates are added one by one, in any order, and equal the batch exactly.

What is kept are sums of integers (see `processes.kernels.wasp_average`), so adding is exact. The robust step looks at the
median over all dates, which sums cannot tell; with it on, the state keeps every observation as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from processes.errors import ProcessError
from processes.kernels.wasp_average import CLOUD, FRACTION, LAND, NODATA, SNOW, WATER, WEIGHT_ONE
from processes.wasp.composite import Block, Options, Result, average
from processes.wasp.weights import Weighting


@dataclass
class SynthesisState:
    """Sums of one block (or tile) over the dates so far. Mode ``plus`` only.

    Attributes
    ----------
    synthesis, options : what is synthesised, and how
    days : dates taken so far, in the order they came
    arrays : ``land_v, land_b`` (B, h, w) and ``land_w, land_d`` (h, w) float64 sums of weight x reflectance, weight per
        band, weight, weight x days; the same for ``snow`` and ``water``; ``count`` (3, h, w) uint16 dates per class;
        ``last`` (2, h, w) int32 last day of snow and water; ``best`` (h, w) float32 blue, ``best_day`` int32 and
        ``best_v`` (B, h, w) float32 of the cloudy date to fall back on
    observations : with the robust step, (day, dn, cls, weight, blue, nir) of every date
    """

    synthesis: date
    options: Options
    bands: int
    shape: tuple[int, int]
    days: list[date] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    observations: list[tuple[date, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = field(
        default_factory=list
    )

    def __post_init__(self) -> None:
        if self.options.mode != "plus":
            raise ProcessError("ProcessParameterInvalid", "Only syntheses of mode 'plus' can be continued.")
        if not self.arrays:
            for kind in ("land", "snow", "water"):
                self.arrays |= {f"{kind}_{k}": np.zeros((self.bands, *self.shape)) for k in "vb"}
                self.arrays |= {f"{kind}_{k}": np.zeros(self.shape) for k in "wd"}
            self.arrays["count"] = np.zeros((3, *self.shape), np.uint16)
            self.arrays["last"] = np.full((2, *self.shape), -(1 << 30), np.int32)
            self.arrays["best"] = np.full(self.shape, np.inf, np.float32)
            self.arrays["best_day"] = np.full(self.shape, -(1 << 30), np.int32)
            self.arrays["best_complete"] = np.zeros(self.shape, bool)
            self.arrays["best_v"] = np.full((self.bands, *self.shape), NODATA, np.float32)

    def add(
        self,
        day: date,
        dn: np.ndarray,
        cls: np.ndarray,
        weight: np.ndarray,
        blue: np.ndarray,
        nir: np.ndarray | None = None,
    ) -> None:
        """Take one more date.

        Parameters
        ----------
        day : acquisition date; raises ``ProcessParameterInvalid`` outside the window
        dn : (B, h, w) reflectance x 10000, land already corrected for direction, -10000 for nodata
        cls : (h, w) uint8 from `composite.classify`
        weight : (h, w) float32 total weight
        blue : (h, w) float32 blue like ``dn``, NaN for none
        nir : the same of near infrared, for the robust step; None: it looks at blue only
        """
        if not self.options.takes(day, self.synthesis):
            raise ProcessError("ProcessParameterInvalid", f"{day} lies outside the window around {self.synthesis}.")
        self.days.append(day)
        if self.options.robust:
            self.observations.append(
                (
                    day,
                    dn.astype(np.float32),
                    cls.copy(),
                    weight.copy(),
                    blue.copy(),
                    np.empty((0, 0), np.float32) if nir is None else nir.copy(),
                )
            )
            return
        away = float((day - self.synthesis).days)
        fixed = np.rint(dn.astype(np.float32) * np.float32(FRACTION)).astype(np.float64)
        share = np.rint(np.maximum(weight, np.float32(1e-3)) * np.float32(WEIGHT_ONE)).astype(np.float64)
        for n, (kind, code) in enumerate((("land", LAND), ("snow", SNOW), ("water", WATER))):
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
        self._cloudy(int(away), dn, cls, blue)

    def _cloudy(self, away: int, dn: np.ndarray, cls: np.ndarray, blue: np.ndarray) -> None:
        """The fallback date: complete before incomplete, then smallest blue, then the earlier day."""
        a = self.arrays
        complete = (dn != NODATA).all(axis=0)
        unseen = a["best_day"] == -(1 << 30)
        same = a["best_complete"] == complete
        less = (blue < a["best"]) | ((blue == a["best"]) & (away < a["best_day"]))
        better = unseen | (complete & ~a["best_complete"]) | (same & less)
        take = (cls == CLOUD) & ~np.isnan(blue) & better
        a["best"][take], a["best_day"][take], a["best_complete"][take] = blue[take], away, complete[take]
        a["best_v"][:, take] = dn[:, take]

    def result(self) -> Result:
        """The synthesis of the dates so far, equal to the batch of the same dates."""
        if self.options.robust:
            return self._batch()
        a = self.arrays
        land, snow, water = (n > 0 for n in a["count"])
        wins = (a["count"][1] > a["count"][2]) | ((a["count"][1] == a["count"][2]) & (a["last"][0] > a["last"][1]))
        flag = np.zeros(self.shape, np.uint8)
        flag[a["best_day"] > -(1 << 30)] = CLOUD
        flag[snow | water] = WATER
        flag[(snow | water) & wins] = SNOW
        flag[land] = LAND
        refl = np.full((self.bands, *self.shape), np.nan, np.float32)
        day = np.full(self.shape, np.nan, np.float32)
        for kind, code in (("land", LAND), ("snow", SNOW), ("water", WATER)):
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
        held = sorted(self.observations, key=lambda o: o[0])
        if not held:
            raise ProcessError("NoDataAvailable", "No date has been added to the synthesis yet.")
        days, dn, cls, weight, blue, nir = zip(*held)
        dark = np.stack(nir) if all(n.size for n in nir) else None
        ones = np.ones((len(held), self.bands, 1, 1), np.float32)
        block = Block(
            np.stack(dn), np.stack(cls), np.stack(blue), np.stack(weight), ones, ones[:, 0],
            np.stack([(d != NODATA).any(axis=(1, 2)) for d in dn]), guide=np.stack(blue), dark=dark,
        )  # fmt: skip
        return average(block, [(d - self.synthesis).days for d in days], self.options)

    def save(self, path: str | Path) -> None:
        """Write the state as one compressed ``.npz`` file; it appears whole or not at all."""
        path = Path(path)
        options = {k: v for k, v in asdict(self.options).items() if k not in ("coefficients", "weighting")}
        head = {
            "synthesis": self.synthesis.isoformat(),
            "bands": self.bands,
            "shape": list(self.shape),
            "days": [d.isoformat() for d in self.days],
            "options": options,
            "weighting": asdict(self.options.weighting),
            "observed": [o[0].isoformat() for o in self.observations],
        }
        held: dict[str, Any] = dict(self.arrays)
        for i, (_, dn, cls, weight, blue, nir) in enumerate(self.observations):
            held |= {
                f"obs{i}_dn": dn,
                f"obs{i}_cls": cls,
                f"obs{i}_weight": weight,
                f"obs{i}_blue": blue,
                f"obs{i}_nir": nir,
            }
        scratch = path.with_name(f".{path.name}.part.npz")
        np.savez_compressed(scratch, head=np.array(json.dumps(head)), **held)
        scratch.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> SynthesisState:
        """Read a saved state. Raises ``StorageFailure`` for a file that is none."""
        try:
            with np.load(path, allow_pickle=False) as file:
                held = {k: file[k] for k in file.files}
            head: Mapping[str, Any] = json.loads(str(held.pop("head")))
        except (OSError, ValueError, KeyError) as error:
            raise ProcessError("StorageFailure", f"{path} is no saved synthesis: {error}") from error
        observed = [
            (date.fromisoformat(d), *(held.pop(f"obs{i}_{k}") for k in ("dn", "cls", "weight", "blue", "nir")))
            for i, d in enumerate(head["observed"])
        ]
        options = replace(Options(**head["options"]), weighting=Weighting(**head["weighting"]))
        return cls(
            date.fromisoformat(head["synthesis"]), options, head["bands"], tuple(head["shape"]),
            [date.fromisoformat(d) for d in head["days"]], held, observed,  # type: ignore[arg-type]
        )  # fmt: skip
