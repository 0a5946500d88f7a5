"""What all blocks of one synthesis share, from a first look at the acquisitions.

The first look reads the cloud masks of the whole tile (distance to clouds on 240 m cells, what each date does not see on
20 m cells), and every band of a small sample, which levels the dates to each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import date

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from processes.kernels.wasp_average import factor_plane
from processes.kernels.wasp_planes import classify_plane
from processes.wasp.angle_grids import USUAL_STEP
from processes.wasp.composite import LAND, NODATA, Options
from processes.wasp.levels import TYPICAL_AOT, fit_levels, sample_positions, sample_windows
from processes.wasp.product import Group
from processes.wasp.rims import RimGrid
from processes.wasp.sources import Acquisition, Reader, Sensor
from processes.wasp.weights import CoarseGrid, coarse_step, date_weight

STRIP = 512  # rows read at once


@dataclass(frozen=True)
class Plan:
    """Everything here is held once and read by all threads.

    Attributes
    ----------
    sensor : whose bands the synthesis has
    fields : per date the two cloud fields on ``coarse``
    unseen : per date the packed cells of ``rims`` that it does not see; empty where dates do not fade in
    scales : per date the date weight x the sensor weight
    factors : per group directional factors (T, B, gy, gx); "blue" (T, gy, gx)
    node_step : metres between angle nodes
    levels : per group (T, B, 2), DN and DN per unit of aerosol optical thickness; empty without levelling
    """

    acquisitions: tuple[Acquisition, ...]
    sensor: Sensor
    synthesis: date
    options: Options
    groups: tuple[Group, ...]
    coarse: CoarseGrid
    rims: RimGrid | None
    fields: tuple[tuple[np.ndarray, np.ndarray], ...]
    unseen: tuple[np.ndarray, ...]
    scales: tuple[float, ...]
    factors: Mapping[str, np.ndarray]
    node_step: float
    levels: Mapping[str, np.ndarray]

    @property
    def dates(self) -> list[date]:
        return [a.day for a in self.acquisitions]


def windows(grid: GeoBox, rows: int, cols: int) -> Iterator[Window]:
    """A grid in blocks of ``rows`` x ``cols`` pixels, row by row."""
    height, width = grid.shape
    for y in range(0, height, rows):
        for x in range(0, width, cols):
            yield Window(x, y, min(cols, width - x), min(rows, height - y))


def neighbourhoods(grid: GeoBox, rows: int, cols: int, side: int) -> Iterator[list[Window]]:
    """`windows` of a grid in parts of about ``side`` x ``side`` pixels, at least one window each."""
    high, wide = max(side // rows, 1) * rows, max(side // cols, 1) * cols
    for part in windows(grid, high, wide):
        inside = windows(grid[part.toslices()], rows, cols)
        yield [Window(part.col_off + w.col_off, part.row_off + w.row_off, w.width, w.height) for w in inside]


def halved_window(window: Window) -> Window:
    """The window of the same ground on the grid of half the resolution."""
    return Window(window.col_off // 2, window.row_off // 2, window.width // 2, window.height // 2)


def make_plan(
    acquisitions: tuple[Acquisition, ...], sensor: Sensor, synthesis: date, options: Options, groups: tuple[Group, ...],
    readers: Mapping[str, Reader], pool: Executor,
) -> Plan:  # fmt: skip
    """Take the first look. Raises ``StorageFailure`` for files that cannot be read."""
    fine = groups[0].grid
    resolution, (height, width) = abs(fine.resolution.x), fine.shape
    coarse = CoarseGrid(height, width, coarse_step(resolution, options.weighting), options.mode)
    rims = RimGrid.of(height, width, resolution, options.weighting.edge_fade)
    looks = list(pool.map(lambda a: _look(a, readers["R1"], sensor, options, coarse, rims), acquisitions))
    nodes = {band: _factors(acquisitions, band, options, fine) for group in groups for band in group.bands}
    factors = {g.name: np.stack([nodes[b] for b in g.bands], axis=1) for g in groups}
    factors["blue"] = nodes[sensor.blue]
    step = next((a.angles.step for a in acquisitions if a.angles is not None and a.angles.origin), USUAL_STEP)
    scales = tuple(
        date_weight((a.day - synthesis).days, options.half_window, options.weighting, options.mode) * a.weight
        for a in acquisitions
    )
    levels: dict[str, np.ndarray] = {}
    if options.level and len(acquisitions) > 1:
        levels = _levels(acquisitions, groups, readers, factors, step, pool)
    fields, unseen = zip(*looks)
    return Plan(
        acquisitions, sensor, synthesis, options, groups, coarse, rims, fields, unseen if rims else (), scales, factors,
        step, levels,
    )  # fmt: skip


def _look(
    a: Acquisition, reader: Reader, sensor: Sensor, options: Options, coarse: CoarseGrid, rims: RimGrid | None
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Cloud fields of one date, and the packed cells it does not see (empty without ``rims``)."""
    sums = coarse.start()
    cells = None if rims is None else rims.start()
    for window in windows(reader.grid, STRIP, reader.grid.shape[1]):
        cloud = reader.mask(a.cloud, window)
        coarse.add(cloud.view(np.uint8), window.row_off, 0, sums)
        if rims is not None and cells is not None:
            rims.add(cloud | ~_valid(a, reader, sensor, window), window.row_off, 0, cells)
    packed = np.empty((0, 0), np.uint8) if cells is None else RimGrid.pack(cells)
    return coarse.fields(sums, options.weighting), packed


def _valid(a: Acquisition, reader: Reader, sensor: Sensor, window: Window) -> np.ndarray:
    if a.valid is not None:
        return reader.mask(((a.valid, 0),), window)
    dn = np.empty((int(window.height), int(window.width)), np.int16)
    reader.reflectance(a.bands[sensor.blue], window, dn)
    return dn != NODATA


def _factors(acquisitions: Sequence[Acquisition], band: str, options: Options, grid: GeoBox) -> np.ndarray:
    """Directional factors (T, gy, gx) float32 of one output band; 1 where a date has no angles."""
    each = []
    for a in acquisitions:
        if a.angles is None or band not in options.coefficients or band not in a.bands:
            each.append(np.ones((1, 1), np.float32))
            continue
        name = band if band in a.angles.view else a.bands[band].name
        found = a.angles.factors(name, options.coefficients[band], options.brdf, options.mode)
        each.append(found if _same_corner(a, grid) else np.nanmean(found, keepdims=True).astype(np.float32))
    shape = max((f.shape for f in each), key=lambda s: s[0] * s[1])
    return np.stack([f if f.shape == shape else np.broadcast_to(np.nanmean(f), shape) for f in each])


def _same_corner(a: Acquisition, grid: GeoBox) -> bool:
    """Whether the date's angle nodes begin where the tile does; a scene of another grid takes its mean."""
    if a.angles is None or a.angles.origin is None:
        return True
    x, y = a.angles.origin
    own = next(iter(a.bands.values())).geobox.crs
    return own == grid.crs and max(abs(x - grid.affine.c), abs(y - grid.affine.f)) < a.angles.step / 10


def _levels(
    acquisitions: Sequence[Acquisition], groups: Sequence[Group], readers: Mapping[str, Reader],
    factors: Mapping[str, np.ndarray], step: float, pool: Executor,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Levels per group from the sample of `processes.wasp.levels`."""
    looks = list(
        pool.map(
            lambda t: _sample(acquisitions[t], groups, readers, {n: f[t] for n, f in factors.items()}, step),
            range(len(acquisitions)),
        )
    )
    values, land, aot = (np.stack(part) for part in zip(*looks))
    found = fit_levels(values, land, aot)
    ends = np.cumsum([len(g.bands) for g in groups])
    return {g.name: part for g, part in zip(groups, np.split(found, ends[:-1], axis=1))}


def _sample(
    a: Acquisition,
    groups: Sequence[Group],
    readers: Mapping[str, Reader],
    factors: Mapping[str, np.ndarray],
    step: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corrected values (B, n) float32 of all bands, whether land (n,), and aerosol (n,) of one date at the sample."""
    height, width = groups[0].grid.shape
    parts = []
    for top, rows in sample_windows(height):
        for left, cols in sample_windows(width):
            window = Window(left, top, cols, rows)
            at = np.ix_(sample_positions(height, top, rows), sample_positions(width, left, cols))
            parts.append(_sample_window(a, groups, readers, factors, step, window, at))
    values, land, aot = zip(*parts)
    return np.concatenate(values, axis=1), np.concatenate(land), np.concatenate(aot)


def _sample_window(
    a: Acquisition, groups: Sequence[Group], readers: Mapping[str, Reader], factors: Mapping[str, np.ndarray],
    step: float, window: Window, at: tuple[np.ndarray, ...],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    values = []
    seen = np.zeros((at[0].size, at[1].size), bool)
    reader = readers["R1"]
    for n, group in enumerate(groups):
        own = window if n == 0 else halved_window(window)
        where = at if n == 0 else tuple(p // 2 for p in at)
        for b, band in enumerate(group.bands):
            dn = np.full((int(own.height), int(own.width)), NODATA, np.int16)
            if band in a.bands:
                readers[group.name].reflectance(a.bands[band], own, dn)
            factor = np.empty(dn.shape, np.float32)
            nodes = factors[group.name][b]
            factor_plane(nodes, int(own.row_off), int(own.col_off), step / abs(group.grid.resolution.x), factor)
            picked = dn[where]
            seen |= picked != NODATA
            values.append(np.where(picked == NODATA, np.float32(np.nan), picked * factor[where]).ravel())
    held: dict[str, np.ndarray] = {}
    cloud, water, snow = (np.ascontiguousarray(reader.mask(m, window, held)[at]) for m in (a.cloud, a.water, a.snow))
    cls = np.empty(seen.shape, np.uint8)
    classify_plane(np.where(seen, np.int16(0), np.int16(NODATA))[None], cloud, water, snow, cls)
    return np.stack(values), (cls == LAND).ravel(), _thickness(a, reader, window)[at].ravel()


def _thickness(a: Acquisition, reader: Reader, window: Window) -> np.ndarray:
    """Aerosol optical thickness of a window, float32, `TYPICAL_AOT` where the product does not tell."""
    if a.aot is None:
        return np.full((int(window.height), int(window.width)), TYPICAL_AOT, np.float32)
    dn = reader.read(a.aot, window, smooth=False).astype(np.float32)
    return (dn + np.float32(a.aot.offset_dn)) * np.float32(a.aot.scale)
