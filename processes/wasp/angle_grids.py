"""Sun and viewing angle grids of a product, and the directional factors at their nodes.

MUSCATE and MAJA metadata (``MTD_ALL.xml``) hold one 23 x 23 grid of sun angles and, per band and detector, one of viewing
angles, NaN where the detector does not look; nodes lie every 5000 m from the tile's upper left corner.
Layout: Theia, "Sentinel-2 L2A product format".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np

from processes.load.safexml import parse, read_bytes, text
from processes.wasp.directional import Coefficients, Kernels, factor, fill_nodes
from processes.wasp.weights import Mode


@dataclass(frozen=True)
class AngleGrids:
    """Angles in degrees at nodes every ``step`` metres.

    sun_zenith, sun_azimuth : (gy, gx); view : per band (``B02`` ...) the zenith and azimuth of each detector,
    (detectors, gy, gx) each, NaN where it does not look.
    """

    step: float
    sun_zenith: np.ndarray
    sun_azimuth: np.ndarray
    view: Mapping[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def constant(
        cls, sun_zenith: float, sun_azimuth: float, view_zenith: float, view_azimuth: float, bands: tuple[str, ...]
    ) -> AngleGrids:
        """The same angles everywhere and in all bands."""
        zenith, azimuth = np.full((1, 1, 1), view_zenith), np.full((1, 1, 1), view_azimuth)
        return cls(
            5000.0,
            np.full((1, 1), sun_zenith),
            np.full((1, 1), sun_azimuth),
            dict.fromkeys(bands, (zenith, azimuth)),
        )

    def factors(self, band: str, coefficients: Coefficients, kernels: Kernels, mode: Mode = "plus") -> np.ndarray:
        """Directional factor at the nodes, (gy, gx) float32: the mean over the detectors that see a node.

        Nodes that no detector sees take the nearest node's factor; in ``wasp1`` they stay NaN (no correction).
        """
        shape = self.sun_zenith.shape
        if kernels == "none" or band not in self.view:
            return np.ones(shape, np.float32)
        zenith, azimuth = self.view[band]
        each = factor(coefficients, self.sun_zenith, zenith, self.sun_azimuth - azimuth, kernels)
        seen = ~np.isnan(each)
        count = seen.sum(axis=0)
        mean = np.where(count > 0, np.where(seen, each, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
        if mode == "wasp1":
            return mean.astype(np.float32)
        return np.nan_to_num(fill_nodes(mean), nan=1.0).astype(np.float32)


def padded(band: str) -> str:
    """``B2`` -> ``B02``; ``B8A`` and ``B11`` as they are."""
    return f"B{int(band[1:]):02d}" if band[1:].isdigit() else band


def read_muscate(href: str) -> AngleGrids | None:
    """Angle grids of an ``MTD_ALL.xml`` (path or ``/vsizip/`` member); None where it has none.

    Raises
    ------
    processes.load.safexml.BadXml, OSError
        The file is damaged or absent.
    """
    root = parse(read_bytes(href))
    found = root.find("Geometric_Informations/Angles_Grids_List")
    sun = None if found is None else found.find("Sun_Angles_Grids")
    if found is None or sun is None:
        return None
    view: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for band in found.iter("Band_Viewing_Incidence_Angles_Grids_List"):
        detectors = list(band.iter("Viewing_Incidence_Angles_Grids"))
        if detectors:
            view[padded(band.get("band_id", ""))] = (
                np.stack([_values(d, "Zenith") for d in detectors]),
                np.stack([_values(d, "Azimuth") for d in detectors]),
            )
    step = float(text(sun, "Zenith/COL_STEP") or 5000.0)
    return AngleGrids(step, _values(sun, "Zenith"), _values(sun, "Azimuth"), view)


def _values(parent: Element, name: str) -> np.ndarray:
    rows = [[float(v) for v in (row.text or "").split()] for row in parent.findall(f"{name}/Values_List/VALUES")]
    return np.array(rows, dtype=np.float64)
