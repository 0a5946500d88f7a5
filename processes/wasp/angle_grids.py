"""Directional factors at the angle nodes of an acquisition; the nodes themselves are read by `processes.load.angles`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from processes.load.angles import EVERYWHERE, AngleGrids
from processes.wasp.directional import Coefficients, Kernels, factor, fill_nodes
from processes.wasp.weights import Mode

USUAL_STEP = 5000.0  # metres between nodes


@dataclass(frozen=True)
class NodeAngles:
    """Angles in degrees at nodes every ``step`` metres.

    sun_zenith, sun_azimuth : (gy, gx), or (1, 1) for one direction everywhere; view : per band (``B02`` ..., "" for the mean
    over the bands) the zenith and azimuth of each detector, (detectors, gy, gx) each, NaN where it does not look; origin :
    (x, y) of the first node, None for one direction everywhere.
    """

    step: float
    sun_zenith: np.ndarray
    sun_azimuth: np.ndarray
    view: Mapping[str, tuple[np.ndarray, np.ndarray]]
    origin: tuple[float, float] | None = None

    @classmethod
    def of(cls, grids: AngleGrids) -> NodeAngles | None:
        """From a product's grids; None where they lack the sun or the view."""
        if grids.sun is None or not grids.view:
            return None
        east, north, up = grids.sun
        zenith, azimuth = np.degrees(np.arctan2(np.hypot(east, north), up)), np.degrees(np.arctan2(east, north)) % 360
        view = {}
        for band, strips in grids.view.items():
            seen = np.stack([np.where(s.depth > 0, 1.0, np.nan) for s in strips])
            e, n = np.stack([s.east for s in strips]) * seen, np.stack([s.north for s in strips]) * seen
            if seen.shape[1:] == zenith.shape:
                view[band] = np.degrees(np.arctan(np.hypot(e, n))), np.degrees(np.arctan2(e, n)) % 360
        if not view:
            return None
        if grids.origin == EVERYWHERE:
            one = {band: (z[:, :1, :1], a[:, :1, :1]) for band, (z, a) in view.items()}
            return cls(USUAL_STEP, zenith[:1, :1], azimuth[:1, :1], one)
        return cls(grids.step[0], zenith, azimuth, view, grids.origin)

    @classmethod
    def constant(
        cls, sun_zenith: float, sun_azimuth: float, view_zenith: float, view_azimuth: float, bands: Sequence[str]
    ) -> NodeAngles:
        """The same angles everywhere and in all bands."""
        zenith, azimuth = np.full((1, 1, 1), view_zenith), np.full((1, 1, 1), view_azimuth)
        sun = np.full((1, 1), sun_zenith), np.full((1, 1), sun_azimuth)
        return cls(USUAL_STEP, *sun, dict.fromkeys(bands, (zenith, azimuth)))

    def factors(self, band: str, coefficients: Coefficients, kernels: Kernels, mode: Mode = "plus") -> np.ndarray:
        """Directional factor at the nodes, (gy, gx) float32: the mean over the detectors that see a node.

        A band without angles of its own takes the mean over the bands. Nodes that no detector sees take the nearest node's
        factor; in ``wasp1`` they stay NaN (no correction).
        """
        shape = self.sun_zenith.shape
        found = self.view.get(band, self.view.get(""))
        if kernels == "none" or found is None:
            return np.ones(shape, np.float32)
        zenith, azimuth = found
        each = factor(coefficients, self.sun_zenith, zenith, self.sun_azimuth - azimuth, kernels)
        seen = ~np.isnan(each)
        count = seen.sum(axis=0)
        mean = np.where(count > 0, np.where(seen, each, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
        if mode == "wasp1":
            return mean.astype(np.float32)
        return np.nan_to_num(fill_nodes(mean), nan=1.0).astype(np.float32)
