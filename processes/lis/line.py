"""Snow line: let-it-snow's elevation zs and the regional snow line of Krajci et al.

Both come from histograms of elevation, so partial histograms of blocks simply add up and no result depends on how a
scene was cut. Sources: Gascoin et al. 2019, section 2 (zs); Krajci, Holko, Perdigao, Parajka 2014 (J. Hydrol. 519,
1769-1778: the elevation with the least snow below and snow-free ground above it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from processes.kernels.lis_detect import JOINT, Z_BIN, Z_HIGH, Z_LOW
from processes.lis.params import Params

NOT_FOUND = -1000.0  # pass 2 was not tried
UNREACHABLE = 1e9  # tried, no bin qualified


@dataclass
class Histograms:
    """What the first sweep counts; blocks add up with ``+``.

    ``fine`` int64 (3, metres): total, cloud, snow. ``local`` int64 (ry, rx, bins, 2): clear pixels without, with snow.
    ``joint`` int64 (2, JOINT, JOINT): clear
    pixels, lit and in relief shade, by NDSI and green. ``pixels``, ``snow``: counts over all elevations.
    """

    fine: np.ndarray
    local: np.ndarray
    joint: np.ndarray
    pixels: int = 0
    snow: int = 0

    @classmethod
    def empty(cls, regions: tuple[int, int]) -> Histograms:
        return cls(
            np.zeros((3, Z_HIGH - Z_LOW), np.int64),
            np.zeros((*regions, (Z_HIGH - Z_LOW) // Z_BIN, 2), np.int64),
            np.zeros((2, JOINT, JOINT), np.int64),
        )

    def __add__(self, other: Histograms) -> Histograms:
        return Histograms(
            self.fine + other.fine,
            self.local + other.local,
            self.joint + other.joint,
            self.pixels + other.pixels,
            self.snow + other.snow,
        )


def elevation_bins(fine: np.ndarray, dz: float) -> np.ndarray | None:
    """Rebin counts per metre: float64 (bins, 5) of centre, total, cloud, snow, no-snow; None for a flat scene.

    The number of bins is trunc(range / dz), their width range / number (so at least dz); the last bin holds its
    upper edge. As in the histograms the reference is built on, the distance of an edge from the lowest elevation is a product
    in single precision and all else is in double: a centre that would be a whole number may come out just below it, and the
    snow line is the whole number below.
    """
    present = np.flatnonzero(fine[0])
    if not present.size:
        return None
    low, high = int(present[0]) + Z_LOW, int(present[-1]) + Z_LOW
    number = int((high - low) / dz)
    if number < 1:
        return None
    width = np.float32((high - low) / number)
    edges = low + (np.arange(number + 1, dtype=np.float32) * width).astype(float)
    edges[-1] = high
    index = np.minimum(np.searchsorted(edges, np.arange(low, high + 1), side="right") - 1, number - 1)
    total, cloud, snow = (np.bincount(index, fine[k, low - Z_LOW : high - Z_LOW + 1], number) for k in range(3))
    centres = (edges[:-1] + edges[1:]) / 2
    return np.stack([centres, total, cloud, snow, total - cloud - snow], 1)


def snow_line_of_bins(bins: np.ndarray | None, params: Params) -> float | None:
    """zs of let-it-snow: half a bin above the foot of the bin two below the first that is clear and snowy enough."""
    if bins is None:
        return None
    total, cloud, snow = bins[:, 1], bins[:, 2], bins[:, 3]
    clear = total - cloud
    with np.errstate(invalid="ignore", divide="ignore"):
        fit = (clear / total > params.fclear_lim) & (snow / clear > params.fsnow_lim)
    found = np.flatnonzero(fit)
    if not found.size:
        return None
    b = max(int(found[0]) - 2, 0)
    return float(np.floor(bins[b, 0] - params.dz / 2))


def regional_snow_line(no_snow: np.ndarray, snow: np.ndarray, z: np.ndarray) -> tuple[float, float]:
    """Regional snow-line elevation of Krajci et al. 2014.

    Parameters
    ----------
    no_snow, snow : counts of clear pixels per elevation bin, (n,)
    z : edges of the bins, (n + 1,), ascending; every edge is a candidate

    Returns
    -------
    Elevation minimising (snow below + snow-free above), the mean of the minimisers where several; and the confidence
    1 - cost / clear pixels. NaN and 0 where there is no clear pixel.
    """
    below = np.concatenate([[0], np.cumsum(snow)])
    above = np.concatenate([np.cumsum(no_snow[::-1])[::-1], [0]])
    clear = below[-1] + above[0]
    if clear == 0:
        return float("nan"), 0.0
    cost = below + above
    # bins outside the relief hold no pixel: their edges repeat the cost, so look only where pixels are
    held = np.flatnonzero(snow + no_snow)
    inside = slice(held[0], held[-1] + 2)
    best = cost[inside] == cost[inside].min()
    return float(np.asarray(z, float)[inside][best].mean()), float(1 - cost.min() / clear)


def snow_line_margin(
    no_snow: np.ndarray, snow: np.ndarray, z: np.ndarray, line: float, largest: float = 250.0
) -> float:
    """How far from the regional snow line a pixel must be for its state to be sure, metres.

    Nineteen in twenty of the pixels on the wrong side (bare above, snow below; counts per bin between the edges ``z``) lie
    closer than this; at least two bins, at most ``largest``. One number for both sides, so that filling does not lengthen or
    shorten the season.
    """
    centres = (z[:-1] + z[1:]) / 2
    wrong = np.where(centres > line, no_snow, snow)
    order = np.argsort(np.abs(centres - line), kind="stable")
    total = np.cumsum(wrong[order])
    least = 2.0 * float(z[1] - z[0])
    if total[-1] == 0:
        return least
    reach = np.abs(centres - line)[order][np.searchsorted(total, 0.95 * total[-1])]
    return float(np.clip(reach, least, largest))


def local_snow_line(
    local: np.ndarray, pixels: np.ndarray, scene: float, params: Params, *, clear: float = 0.15, sure: float = 0.92
) -> np.ndarray:
    """Snow line per region from the region and its neighbours.

    Parameters
    ----------
    local : (ry, rx, bins, 2) of `Histograms`
    pixels : (ry, rx), pixels of each region
    scene : the scene's own zs, taken where a neighbourhood is too cloudy or not sure
    clear, sure : least clear share and least confidence (Krajci et al. 2014)

    Returns
    -------
    float64 (ry, rx): the lower of two elevation steps below the regional snow line and of let-it-snow's rule applied to the
    neighbourhood.
    """
    ry, rx = local.shape[:2]
    edges = Z_LOW + Z_BIN * np.arange(local.shape[2] + 1, dtype=float)
    out = np.full((ry, rx), float(scene))
    for j in range(ry):
        for i in range(rx):
            near = np.s_[max(j - 1, 0) : j + 2, max(i - 1, 0) : i + 2]
            counts = local[near].sum(axis=(0, 1))
            if counts.sum() < clear * pixels[near].sum() or counts[:, 1].sum() == 0:
                continue
            line, confidence = regional_snow_line(counts[:, 0], counts[:, 1], edges)
            if confidence < sure:
                continue
            fine = np.zeros((3, Z_HIGH - Z_LOW), np.int64)
            fine[0, ::Z_BIN], fine[2, ::Z_BIN] = counts.sum(axis=1), counts[:, 1]
            rule = snow_line_of_bins(elevation_bins(fine, params.dz), params)
            out[j, i] = min(line - 2 * params.dz, rule if rule is not None else np.inf)
    return out
