"""Weights of WASP: how much one date counts at one pixel.

weight = aerosol x distance to clouds x date x sensor

Sources
-------
Hagolle, Morin and Kadiri (2018), "Detailed processing model for the Weighted Average Synthesis Processor (WASP) for
Sentinel-2", Zenodo: the four weights and their defaults. Lindeberg (1990), IEEE PAMI 12(3): the discrete Gaussian
exp(-t) I_n(t). Keys (1981), IEEE ASSP 29(6): the cubic kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np

from processes.errors import parameter_invalid
from processes.kernels.wasp_weights import reduce_mask, weigh
from processes.wasp.bessel import LARGEST, scaled_bessel

Mode = Literal["plus", "wasp1"]

_QUANTUM = 1 << 20  # cubic reduction taps are integers of this total: block sums are then exact in any order
_RADIUS = 2  # cells
_KEYS = -0.5
MAX_FADE = 1000.0  # metres
_MAX_KERNEL = 801  # coefficients of a discrete Gaussian at most


@dataclass(frozen=True)
class Weighting:
    """Parameters of the weights; defaults are those of WASP 1.0 for Sentinel-2.

    Attributes
    ----------
    aot_weight_min, aot_weight_max : weight at ``aot_max`` and more, and at no aerosol
    aot_max : aerosol optical thickness from which the weight stays at its minimum
    date_weight_min : weight at the ends of the window
    coarse_resolution : size of the cells on which distance to clouds is measured, metres
    sigma_small, sigma_large : width of the two Gaussians, cells
    edge_fade : metres over which a date fades in from what it does not see; 0 for a step (`processes.wasp.rims`, ``plus`` only)
    """

    aot_weight_min: float = 0.33
    aot_weight_max: float = 1.0
    aot_max: float = 0.8
    date_weight_min: float = 0.5
    coarse_resolution: float = 240.0
    sigma_small: float = 2.0
    sigma_large: float = 10.0
    edge_fade: float = 120.0

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> Weighting:
        """From a user's object. Raises ``ProcessParameterInvalid`` for an unknown key or a value out of range."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values or {}) - known):
            raise parameter_invalid("weights", f"unknown key '{unknown[0]}'; there are {', '.join(sorted(known))}.")
        made = replace(cls(), **{k: float(v) for k, v in (values or {}).items()})
        for name in ("aot_weight_min", "aot_weight_max", "date_weight_min"):
            if not 0 <= getattr(made, name) <= 1:
                raise parameter_invalid("weights", f"{name} must lie between 0 and 1.")
        for name in ("aot_max", "coarse_resolution", "sigma_small", "sigma_large"):
            if getattr(made, name) <= 0:
                raise parameter_invalid("weights", f"{name} must be positive.")
        if not 0 <= made.edge_fade <= MAX_FADE:
            raise parameter_invalid("weights", f"edge_fade must lie between 0 and {MAX_FADE:.0f} metres.")
        return made


def aerosol_weight(aot: np.ndarray, weighting: Weighting) -> np.ndarray:
    """Weight by aerosol optical thickness, float32, same shape; negative and unknown (NaN) count as 0.

    Which steps are in single precision is the program's: with it the weights of ``wasp1`` equal WASP 1.0's bit by bit.
    """
    lo, hi, top = (np.float32(v) for v in (weighting.aot_weight_min, weighting.aot_weight_max, weighting.aot_max))
    thick = np.fmax(np.asarray(aot, dtype=np.float32), np.float32(0))
    share = (thick / top).astype(np.float64)
    return np.where(thick < top, float(lo) + float(hi - lo) * (1.0 - share), lo).astype(np.float32)


def date_weight(days: int, half_window: int, weighting: Weighting, mode: Mode = "plus") -> float:
    """Weight by distance in days from the synthesis date.

    ``plus``: linear from 1 to ``date_weight_min`` at the ends of the window. ``wasp1``: the program's integer division,
    1 strictly inside the window.
    """
    share = abs(days) // half_window if mode == "wasp1" else abs(days) / half_window
    return max(1.0 - share * (1.0 - weighting.date_weight_min), 0.0)


@lru_cache(maxsize=64)
def discrete_gaussian(variance: float, mode: Mode = "plus", max_error: float = 0.01) -> np.ndarray:
    """Coefficients exp(-t) I_n(t), t = ``variance``, cut where their sum reaches 1 - ``max_error``, normalised.

    ``wasp1``: the Bessel functions of the program's library, see `processes.wasp.bessel`.
    """
    from scipy.special import ive

    as_program = mode == "wasp1" and variance < LARGEST

    def term(n: int) -> float:
        return scaled_bessel(n, variance) if as_program else float(ive(n, variance))

    half = [term(0), term(1)]
    total = half[0] + 2 * half[1]
    while total < 1.0 - max_error and 2 * len(half) + 1 <= _MAX_KERNEL:
        half.append(term(len(half)))
        total += 2 * half[-1]
    scaled = [h / total for h in half]
    return np.array(scaled[:0:-1] + scaled)


def keys_cubic(distance: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel, a = -0.5, at ``distance`` (in nodes)."""
    d = np.abs(distance)
    inner = (_KEYS + 2) * d**3 - (_KEYS + 3) * d**2 + 1
    outer = _KEYS * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, inner, np.where(d < 2, outer, 0.0))


def _reduction_taps(pixels: int, cells: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Per cell: first pixel looked at and integer weights; pixels outside the image count as the edge pixel."""
    reach = 2 * _RADIUS * step
    kernel = keys_cubic((np.arange(reach) - (reach - 1) / 2) / step)
    taps = np.rint(kernel / kernel.sum() * _QUANTUM).astype(np.int64)
    wide = min(reach, pixels)
    starts, weights = np.zeros(cells, np.int64), np.zeros((cells, wide), np.int32)
    for c in range(cells):
        where = np.clip(np.arange(reach) + c * step + step // 2 - reach // 2, 0, pixels - 1)
        starts[c] = min(int(where.min()), pixels - wide)
        np.add.at(weights[c], where - starts[c], taps.astype(np.int32))
    return starts, weights


@dataclass(frozen=True)
class CoarseGrid:
    """The cells laid over an image of ``height`` x ``width`` pixels, ``step`` pixels each, from its upper left corner.

    ``wasp1``: cells that are not whole repeat their neighbour, and the last row and column of an image of whole cells
    repeat the one before, as the program does.
    """

    height: int
    width: int
    step: int
    mode: Mode = "plus"

    @property
    def shape(self) -> tuple[int, int]:
        return max(-(-self.height // self.step), 1), max(-(-self.width // self.step), 1)

    @property
    def _whole(self) -> tuple[int, int]:
        if self.mode == "plus":
            return self.shape
        return max(self.height // self.step, 1), max(self.width // self.step, 1)

    @cached_property
    def _taps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        rows, cols = self._whole
        return (*_reduction_taps(self.height, rows, self.step), *_reduction_taps(self.width, cols, self.step))

    def start(self) -> np.ndarray:
        """Empty cell sums, to be passed to `add`."""
        return np.zeros(self._whole, np.int64)

    def add(self, cloud: np.ndarray, y0: int, x0: int, sums: np.ndarray) -> None:
        """Add a block of the cloud mask (uint8 0/1) whose first pixel is (y0, x0)."""
        reduce_mask(np.ascontiguousarray(cloud, dtype=np.uint8), y0, x0, *self._taps, sums)

    def part(self, cloud: np.ndarray, y0: int, x0: int) -> tuple[slice, slice, np.ndarray]:
        """A block's share of the cell sums: the rows and columns of cells it touches, and their sums."""
        sums = self.start()
        self.add(cloud, y0, x0, sums)
        start_y, taps_y, start_x, taps_x = self._taps
        rows = np.flatnonzero((start_y < y0 + cloud.shape[0]) & (start_y + taps_y.shape[1] > y0))
        cols = np.flatnonzero((start_x < x0 + cloud.shape[1]) & (start_x + taps_x.shape[1] > x0))
        ys, xs = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)
        return ys, xs, sums[ys, xs].copy()

    def cloudy(self, sums: np.ndarray) -> np.ndarray:
        """Cells (bool, `shape`) that are cloudy by more than half."""
        half = int(self._taps[1][0].sum()) * int(self._taps[3][0].sum())
        inside = 2 * sums > half
        rows, cols = self.shape
        return np.pad(inside, ((0, rows - inside.shape[0]), (0, cols - inside.shape[1])), mode="edge")

    def fields(self, sums: np.ndarray, weighting: Weighting) -> tuple[np.ndarray, np.ndarray]:
        """The two smoothed cloud fields, float64, `shape`: edges repeated, no flux through them."""
        cells = self.cloudy(sums).astype(np.float64)
        return smooth(cells, weighting.sigma_small, self.mode), smooth(cells, weighting.sigma_large, self.mode)

    @cached_property
    def _phases(self) -> np.ndarray:
        # position of a pixel centre between two nodes: half a pixel off where the cell has an even number of pixels
        along = (np.arange(self.step) + (0.5 if self.step % 2 == 0 else 0.0)) / self.step
        return np.ascontiguousarray(keys_cubic(along - np.array([-1.0, 0.0, 1.0, 2.0])[:, None]))

    def weight(
        self,
        small: np.ndarray,
        large: np.ndarray,
        aerosol: np.ndarray,
        scale: float,
        y0: int,
        x0: int,
        out: np.ndarray,
    ) -> np.ndarray:
        """Total weight (float32) of one date on the block of ``out`` at (y0, x0); see `weigh`."""
        rows, cols = self.shape
        cut = 2 if self.mode == "wasp1" else 1
        weigh(
            small,
            large,
            aerosol,
            np.float32(scale),
            y0,
            x0,
            self.step,
            self._phases,
            rows * self.step - cut,
            cols * self.step - cut,
            out,
        )
        return out


def smooth(cells: np.ndarray, sigma: float, mode: Mode = "plus") -> np.ndarray:
    """Discrete Gaussian of ``sigma`` cells along both axes, edge values repeated; ``wasp1`` keeps single precision."""
    from scipy.ndimage import correlate1d

    kernel = discrete_gaussian(sigma**2, mode)
    for axis in (0, 1):
        cells = correlate1d(cells, kernel, axis=axis, mode="nearest")
        if mode == "wasp1":
            cells = cells.astype(np.float32).astype(np.float64)
    return cells


def coarse_step(resolution: float, weighting: Weighting) -> int:
    """Pixels per coarse cell at ``resolution`` metres, at least one."""
    return max(round(weighting.coarse_resolution / resolution), 1)
