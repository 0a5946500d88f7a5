"""Snow detection on arrays: two sweeps with the snow line between them (Gascoin et al. 2019).

The steps are separate functions, so that a scene in memory (`detect`) and a lazy cube (`processes.lis.cubes`) run the
same code: `first` per block, sum of its histograms, `decide` once per scene, `second` per block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from processes.errors import parameter_invalid
from processes.kernels.lis_detect import ALLC, CLOUD1, LAYERS, P1, count, first_pass, second_pass
from processes.lis import fsc
from processes.lis.grids import cells_of, coarse, in_bands, nearest_cells
from processes.lis.line import (
    NOT_FOUND,
    UNREACHABLE,
    Histograms,
    elevation_bins,
    local_snow_line,
    snow_line_of_bins,
)
from processes.lis.mixture import law_of_scene
from processes.lis.params import C_ALL, C_HIGH, C_SHADOW, MODES, NODATA, Params, Sensor, cloud_table, geo_table

REGION = 256  # pixels per side of a region with its own snow line (5 km at 20 m)
BANDS = LAYERS[:7]
# bare ice (lit): NIR reflectance below a line over NDSI, 0.5 - 0.6 (1 - NDSI): ice is darker than snow, and what is as dark
# because it is dirty or mixed with ground has a lower NDSI; blue/red below (shaded snow is as dark, but blue from the sky);
# NIR/green below (snow on a slope away from the sun is dark in both); bright water: NIR/green below
ICE = (0.6, 0.5, 1.2, 0.82, 0.25)
SEB_FRACTION = (0.5, 0.3)  # snow share from which SEB says snow, near the snow line and far above it (mode plus)
SEB_HEIGHT = (500.0, 900.0)  # metres above zs, which lies about 200 m below the regional snow line, between the two


@dataclass(frozen=True)
class Block:
    """Inputs of a scene or of a part of it, all (h, w) on one grid.

    ``green, red, swir, blue, nir``: int16 digital numbers, -10000 is nodata. ``cloud``, ``geo``: raw rasters, unsigned.
    ``dem``: int16 metres. ``tcd``: uint8 percent, above 100 unavailable. ``relief``: uint8, 1 in relief shade.
    ``blue``/``nir`` may be None: no shaded snow then.
    """

    green: np.ndarray
    red: np.ndarray
    swir: np.ndarray
    cloud: np.ndarray
    dem: np.ndarray
    blue: np.ndarray | None = None
    nir: np.ndarray | None = None
    relief: np.ndarray | None = None
    tcd: np.ndarray | None = None
    geo: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.green.shape[0], self.green.shape[1]

    def rows(self, first: int, last: int) -> Block:
        parts = {k: None if v is None else v[first:last] for k, v in self.__dict__.items()}
        return Block(**parts)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Place:
    """Where a block lies: first row and column in the scene, size of the scene."""

    row: int
    col: int
    height: int
    width: int


@dataclass(frozen=True)
class Rules:
    """What is the same for every block of a scene."""

    params: Params
    sensor: Sensor
    mode: str

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise parameter_invalid("mode", f"'{self.mode}' is unknown; use one of {', '.join(MODES)}.")

    @property
    def plus(self) -> bool:
        return self.mode == "plus"


@dataclass(frozen=True)
class Decision:
    """What the scene's histograms decide for all its pixels."""

    zs: np.ndarray  # float64 (ry, rx), snow line that pass 2 uses
    region: int
    run2: bool
    law: str
    fsc: np.ndarray  # uint8 (2, 256), lit and in relief shade
    mixture: np.ndarray  # uint8 (3, JOINT, JOINT), or (3, 0, 0) where `fsc` is the law
    meta: Mapping[str, Any]


def rules(sensor: Sensor, params: Params | None = None, mode: str = "plus") -> Rules:
    """Rules of a run, with the mode's and the sensor's defaults filled in."""
    p = (params or Params()).for_sensor(sensor)
    if mode == "lis":
        p = replace(p, fsc="tanh", seb_fraction=None, ice=False, local_snow_line=False)
    return Rules(p, sensor, mode)


def mask_water(block: Block, water: np.ndarray | None) -> Block:
    """The block with all bands set to nodata where ``water`` is 1 (copies what it changes)."""
    if water is None or not (hit := water == 1).any():
        return block
    changed = {}
    for name in ("green", "red", "swir", "blue", "nir"):
        if (values := getattr(block, name)) is not None:
            values = values.copy()
            values[hit] = NODATA
            changed[name] = values
    return replace(block, **changed)


def first(block: Block, r: Rules) -> np.ndarray:
    """State of each pixel after pass 1: uint8 (h, w)."""
    p, multi = r.params, r.sensor.multi
    state = np.empty(block.shape, np.uint8)
    table = cloud_table(r.sensor, block.cloud.dtype)
    if r.plus:  # on every sensor shadows and high clouds hide the ground
        table |= ((table & (C_SHADOW | C_HIGH)) != 0) * np.uint8(C_ALL)
    first_pass(
        block.green, block.red, block.swir, block.cloud, table, p.ndsi_pass1, p.red_pass1 * multi,
        p.red_backtocloud * multi, r.plus, state,
    )  # fmt: skip
    return state


def regions_of(place: Place) -> tuple[int, int]:
    return -(-place.height // REGION), -(-place.width // REGION)


def histograms(state: np.ndarray, block: Block, place: Place, r: Rules) -> Histograms:
    """Counts of a block for the whole scene's histograms."""
    h = Histograms.empty(regions_of(place) if r.plus else (1, 1))
    relief = block.relief if block.relief is not None else np.zeros(block.shape, np.uint8)
    h.pixels, h.snow = count(
        state, block.dem, block.green, block.swir, relief, place.row, place.col, REGION, r.plus, h.fine, h.local,
        h.joint, 1e-3 / r.sensor.multi,
    )  # fmt: skip
    return h


def remove_snow_in_clouds(state: np.ndarray, r: Rules) -> np.ndarray:
    """Pass 1.5: large snow regions ringed by cloud become cloud (whole scene needed).

    A 4-connected region of pass-1 snow of more than ``rm_min_area`` pixels goes where more than ``rm_cloud_share`` of
    the ring ``rm_radius`` pixels around it is cloud.
    """
    p = r.params
    if not p.rm_snow_inside_cloud:
        return state
    from scipy import ndimage

    state = state.copy()
    labels, _ = ndimage.label(state & P1)
    sizes = np.bincount(labels.ravel())
    for k, where in enumerate(ndimage.find_objects(labels), 1):
        if sizes[k] <= p.rm_min_area or where is None:
            continue
        pad = tuple(slice(max(s.start - p.rm_radius, 0), s.stop + p.rm_radius) for s in where)
        inside = labels[pad] == k
        y, x = np.ogrid[-p.rm_radius : p.rm_radius + 1, -p.rm_radius : p.rm_radius + 1]
        ring = ndimage.binary_dilation(inside, y * y + x * x <= p.rm_radius**2) & ~inside
        if ring.any() and (state[pad][ring] & ALLC != 0).mean() > p.rm_cloud_share:
            part = state[pad]
            part[inside] = part[inside] & ~np.uint8(P1) | CLOUD1
    return state


def decide(h: Histograms, place: Place, r: Rules) -> Decision:
    """Snow line, whether pass 2 runs, FSC law and the metadata they go into."""
    p = r.params
    enough = h.pixels > 0 and h.snow / h.pixels > p.fsnow_total_lim
    bins = elevation_bins(h.fine, p.dz)
    found = p.snow_line if p.snow_line is not None else snow_line_of_bins(bins, p)
    reported = found if found is not None and enough else (UNREACHABLE if enough else NOT_FOUND)
    zs = np.full((1, 1), found if found is not None else UNREACHABLE)
    if r.plus and enough and found is not None and p.local_snow_line and p.snow_line is None:
        ry, rx = regions_of(place)
        tall = np.minimum(REGION, place.height - REGION * np.arange(ry))
        wide = np.minimum(REGION, place.width - REGION * np.arange(rx))
        zs = local_snow_line(h.local, tall[:, None] * wide[None], found, p)
    law, table, mixture = law_of_scene(h.joint, p.fsc)
    meta = {
        "snow_line": reported,
        "snow_line_found": bool(found is not None and enough),
        "snow_line_local": [float(zs.min()), float(zs.max())] if zs.size > 1 else None,
        "pass2_run": bool(enough),
        "fsc_law": law,
        "histogram_columns": ["z_center", "total", "cloud", "snow", "no_snow"],
        "histogram": [] if bins is None else [[float(row[0]), *(int(v) for v in row[1:])] for row in bins],
    }
    return Decision(np.ascontiguousarray(zs, np.float64), REGION, bool(enough), law, table, mixture, meta)


def second(
    state: np.ndarray, block: Block, red_cells: np.ndarray, place: Place, d: Decision, r: Rules
) -> tuple[np.ndarray, np.ndarray]:
    """All layers of a block: uint8 (8, h, w) in the order of `LAYERS`, and counts of pixels with data, snow, cloud."""
    p, multi = r.params, r.sensor.multi
    h, w = block.shape
    rows = nearest_cells(place.height, red_cells.shape[0])[place.row : place.row + h]
    cols = nearest_cells(place.width, red_cells.shape[1])[place.col : place.col + w]
    both = block.blue is not None and block.nir is not None
    shaded = both and p.shaded_snow and block.relief is not None
    some = np.zeros((h, w), np.uint8)
    geo = block.geo if block.geo is not None else some
    near, far = (0.0, 0.0) if not r.plus else SEB_FRACTION if p.seb_fraction is None else (p.seb_fraction,) * 2
    limits = np.array(
        [
            p.ndsi_pass2,
            p.red_pass2 * multi,
            p.red_darkcloud * multi,
            p.shaded_difference * (multi / 10 if r.plus else 1),
            100 * near,
            p.ndsi_pass1,
            100 * far,
            *SEB_HEIGHT,
        ]
    )
    ice = np.array([ICE[0] * 1000 * multi, ICE[1] * 1000 * multi, *ICE[2:]])
    toc, og = fsc.quality_tables(r.plus)
    out, tally = np.empty((len(LAYERS), h, w), np.uint8), np.zeros(3, np.int64)
    second_pass(
        state, block.green, block.red, block.swir,
        block.blue if both else block.green, block.nir if both else block.swir,
        block.relief if block.relief is not None else some,
        block.tcd if block.tcd is not None else np.full((h, w), 255, np.uint8),
        geo, geo_table(r.sensor, geo.dtype), block.dem, red_cells, rows, cols,
        d.zs, d.region, place.row, place.col, limits, ice,
        np.array([d.run2, shaded, r.plus, p.strict_cloud_mask, r.plus and both, p.ice]),
        d.fsc, d.mixture, 1e-3 / multi, fsc.ground_table(), toc, og, out, tally,
    )  # fmt: skip
    if not r.sensor.fractional and not r.plus:
        out[2:6] = 255
    return out, tally


def percentages(tally: np.ndarray) -> dict[str, float]:
    """Snow and cloud percent of the pixels that have data."""
    n = max(int(tally[0]), 1)
    return {"snow_percent": 100.0 * int(tally[1]) / n, "cloud_percent": 100.0 * int(tally[2]) / n}


def detect(
    block: Block,
    sensor: Sensor,
    params: Params | None = None,
    mode: str = "plus",
    *,
    water: np.ndarray | None = None,
    threads: int = 1,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Snow of one scene held in memory.

    Parameters
    ----------
    block : the whole scene
    water : uint8 (h, w); 1 takes the pixel out before everything else
    threads : blocks of rows computed at once

    Returns
    -------
    Layers by name (`LAYERS`), uint8 (h, w), and metadata: snow line, percentages, histogram, FSC law.
    """
    r = rules(sensor, params, mode)
    block = mask_water(block, water)
    h, w = block.shape
    place = Place(0, 0, h, w)
    cells = coarse(block.red, int(r.params.rf or sensor.rf), threads=threads)
    states = in_bands(lambda a, b: first(block.rows(a, b), r), h, threads)
    state = np.concatenate([np.asarray(s) for s in states])
    state = remove_snow_in_clouds(state, r)

    def counted(a: int, b: int) -> Histograms:
        return histograms(state[a:b], block.rows(a, b), Place(a, 0, h, w), r)

    decision = decide(reduce(add, in_bands(counted, h, threads, 1024)), place, r)  # type: ignore[arg-type]
    out, tally = np.empty((len(LAYERS), h, w), np.uint8), np.zeros(3, np.int64)

    def fill(a: int, b: int) -> np.ndarray:
        layers, counts = second(state[a:b], block.rows(a, b), cells, Place(a, 0, h, w), decision, r)
        out[:, a:b] = layers
        return counts

    for counts in in_bands(fill, h, threads):
        tally += np.asarray(counts)
    meta = {"mode": mode, "sensor": sensor.id, **decision.meta, **percentages(tally)}
    return dict(zip(LAYERS, out)), meta


__all__ = ["BANDS", "Block", "Decision", "Place", "Rules", "cells_of", "decide", "detect", "first", "second"]
