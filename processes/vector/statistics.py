"""Statistics of zones that merge over blocks: partial states per block, in float64, combined in the order of blocks.

A state holds ``ids`` (k,), ``total`` (k,): cells of the zones with or without value, ``count`` (planes, k): those with
a value, and the numbers of the statistic, each (planes, k). With exact coverage cells count by their shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from processes.vector.zones import Cells

MERGEABLE = ("sum", "mean", "product", "count", "max", "min", "variance", "sd")


@dataclass(frozen=True)
class State:
    """What is known of some zones (see the module)."""

    ids: np.ndarray
    total: np.ndarray
    count: np.ndarray
    numbers: tuple[np.ndarray, ...]


class Statistic:
    """One of `MERGEABLE` with its options: ``start`` on a block, ``merge`` of states, ``finish``."""

    def __init__(self, name: str, ignore_nodata: bool = True, condition: bool | None = None, **_: Any):
        self.name, self.ignore, self.all = name, ignore_nodata, condition is True

    def start(self, block: np.ndarray, cells: Cells) -> State:
        """State of the ``cells`` of a block (planes, rows, columns) of floats."""
        from processes.kernels import zonal

        given = (block, cells.runs, cells.weights, len(cells.ids))
        total = zonal.zone_totals(*given[1:])
        if self.name in ("variance", "sd"):
            count, *numbers = zonal.zone_moments(*given)
        elif self.name in ("max", "min"):
            count, *numbers = zonal.zone_extremes(*given, 1.0 if self.name == "max" else -1.0)
        elif self.name == "product":
            count, *numbers = zonal.zone_products(*given)
        else:
            count, *numbers = zonal.zone_sums(*given)
        return State(cells.ids, total, count, tuple(numbers))

    def merge(self, states: Sequence[State]) -> State:
        """One state of all zones in any of the states, which must not be none."""
        if len(states) == 1:
            return states[0]
        ids = np.unique(np.concatenate([s.ids for s in states]))
        planes = len(states[0].count)
        total, count = np.zeros(len(ids)), np.zeros((planes, len(ids)))
        numbers = [np.zeros((planes, len(ids))) for _ in states[0].numbers]
        if self.name == "product":
            numbers[0][:] = 1
        if self.name in ("max", "min"):
            numbers[0][:] = np.nan
        for s in states:
            at = np.searchsorted(ids, s.ids)
            self._add(at, count, numbers, s)
            total[at] += s.total
            count[:, at] += s.count
        return State(ids, total, count, tuple(numbers))

    def _add(self, at: np.ndarray, count: np.ndarray, numbers: Sequence[np.ndarray], s: State) -> None:
        """Add a state's numbers to those at the places ``at``; ``count`` is the one before."""
        if self.name in ("max", "min"):
            pick = np.fmax if self.name == "max" else np.fmin
            numbers[0][:, at] = pick(numbers[0][:, at], s.numbers[0])
        elif self.name == "product":
            numbers[0][:, at] *= s.numbers[0]
        elif self.name in ("variance", "sd"):  # Chan et al. 1979
            n, mean, squares = count[:, at], numbers[0][:, at], numbers[1][:, at]
            both = n + s.count
            share = np.divide(s.count, both, out=np.zeros_like(both), where=both > 0)
            delta = s.numbers[0] - mean
            numbers[0][:, at] = mean + delta * share
            numbers[1][:, at] = squares + s.numbers[1] + delta**2 * n * share
        else:
            numbers[0][:, at] += s.numbers[0]

    def finish(self, state: State | None, planes: int, zones: int) -> np.ndarray:
        """Value, all cells and valid cells of every zone: float64 (3, planes, zones); NaN where there is no value."""
        out = np.zeros((3, planes, zones))
        out[0] = 0 if self.name == "count" else np.nan
        if state is None:
            return out
        with np.errstate(invalid="ignore", divide="ignore"):
            values = self._values(state)
        if not self.ignore:
            values = np.where(state.count < state.total, np.nan, values)
        out[0][:, state.ids], out[1][:, state.ids], out[2][:, state.ids] = values, state.total, state.count
        return out

    def _values(self, state: State) -> np.ndarray:
        count = state.count
        if self.name == "count":
            return np.broadcast_to(state.total, count.shape) if self.all else count
        if self.name == "mean":
            return np.where(count > 0, state.numbers[0] / count, np.nan)
        if self.name in ("variance", "sd"):
            variance = np.where(count > 1, state.numbers[1] / (count - 1), np.nan)
            return np.sqrt(variance) if self.name == "sd" else variance
        return np.where(count > 0, state.numbers[0], np.nan)
