"""`wasp_synthesis` on products: the acquisitions of a tile in, one L3A product per synthesis date out.

Two passes. The first reads the cloud masks and reduces them to 240 m cells of the whole tile, which is all that the
distance to clouds needs. The second goes block by block: every date of a block is read, weighted, averaged and written,
10 m and 20 m bands together, so memory is a few blocks whatever the tile and the number of dates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from processes.env import Env
from processes.errors import ProcessError, parameter_invalid
from processes.kernels.wasp_planes import classify_plane
from processes.load.items import Band
from processes.load.read import block_shape
from processes.stages import ProductChain, Task, chain, make_task
from processes.wasp.composite import (
    CLOUD,
    NODATA,
    SNOW,
    WATER,
    Block,
    Options,
    fallback,
    guide_of,
    guides,
    halved,
    synthesise,
)
from processes.wasp.product import MASKS, Facts, Group, ProductWriter, file_band
from processes.wasp.sources import Acquisition, Reader, sensor_of
from processes.wasp.weights import CoarseGrid, aerosol_weight, coarse_step, date_weight

VERSION = "4"
BLOCK = 1024
BLOCK_BYTES = 128 << 20  # what one block may hold
CACHE_BYTES = 64 << 20  # GDAL's cache: every input block is read once


def parse_dates(value: str | Sequence[str] | None, available: Sequence[date]) -> list[date]:
    """Synthesis dates from the parameter; None is the middle of the available dates.

    Raises ``ProcessParameterInvalid`` for text that is no date.
    """
    if value is None:
        if not available:
            return []
        first, last = min(available), max(available)
        return [first + (last - first) // 2]
    texts = [value] if isinstance(value, str) else list(value)
    if not texts:
        raise parameter_invalid("date", "the list of synthesis dates is empty.")
    try:
        return [date.fromisoformat(str(t)[:10]) for t in texts]
    except ValueError:
        raise parameter_invalid("date", f"'{value}' is not a date like 2018-05-02.") from None


def options_of(params: Mapping[str, Any]) -> Options:
    """Options from the process's parameters."""
    names = ("half_window", "mode", "brdf", "robust", "weights")
    return Options.of(**{name: params.get(name) for name in names})


def split(items: Sequence[pystac.Item], params: Mapping[str, Any]) -> list[Task]:
    """One task per tile and synthesis date, holding the acquisitions of its window in time order."""
    options = options_of(params)
    tiles: dict[str, list[pystac.Item]] = {}
    for item in _newest(items):
        tiles.setdefault(_tile(item), []).append(item)
    wanted = parse_dates(params.get("date"), [i.datetime.date() for i in items if i.datetime])
    tasks = []
    for tile in sorted(tiles):
        for synthesis in wanted:
            inside = [i for i in tiles[tile] if i.datetime and options.takes(i.datetime.date(), synthesis)]
            if inside:
                own = {**params, "date": synthesis.isoformat()}
                tasks.append(make_task(CHAIN, sorted(inside, key=lambda i: (str(i.datetime), i.id)), own))
    return tasks


def _newest(items: Sequence[pystac.Item]) -> list[pystac.Item]:
    """Of several versions of one observation the newest."""
    best: dict[str, pystac.Item] = {}
    for item in items:
        key = str(item.properties.get("tuile:product") or item.id)
        if key not in best or _age(item) > _age(best[key]):
            best[key] = item
    return list(best.values())


def _age(item: pystac.Item) -> tuple[str, str, str]:
    p = item.properties
    return str(p.get("processing:version") or ""), str(p.get("updated") or p.get("created") or ""), item.id


def _tile(item: pystac.Item) -> str:
    return str(item.properties.get("grid:code") or item.properties.get("proj:code") or "")


@dataclass(frozen=True)
class Plan:
    """What the blocks of one synthesis share; everything is held once and read by all threads."""

    acquisitions: tuple[Acquisition, ...]
    synthesis: date
    options: Options
    groups: tuple[Group, ...]
    coarse: CoarseGrid
    fields: tuple[tuple[np.ndarray, np.ndarray], ...]  # per date the two cloud fields
    scales: tuple[float, ...]  # per date the date weight x the sensor weight
    factors: Mapping[str, np.ndarray]  # per group (T, B, gy, gx), and "blue" (T, gy, gx)
    node_step: float  # metres between angle nodes

    @property
    def dates(self) -> list[date]:
        return [a.day for a in self.acquisitions]


def produce(task: Task, out: Path, env: Env) -> list[pystac.Item]:
    """Make the L3A product of one task in the folder ``out``.

    Raises
    ------
    ProcessError
        ``NoDataAvailable`` without acquisitions, ``ProcessParameterInvalid`` for items that cannot take part,
        ``StorageFailure`` for files that cannot be read.
    """
    options = options_of(task.params)
    synthesis = date.fromisoformat(str(task.params["date"]))
    weights = task.params.get("sensor_weights") or {}
    acquisitions = tuple(Acquisition.of(item, weights, env) for item in task.stac_items())
    if not acquisitions:
        raise ProcessError("NoDataAvailable", f"No acquisition lies in the window around {synthesis}.")
    groups = _groups(acquisitions)
    readers = {group.name: Reader(group.grid) for group in groups}
    tile = _tile(task.stac_items()[0])
    facts = _facts(acquisitions, synthesis, options, groups, "T" + tile.split("-", 1)[-1] if "-" in tile else tile)
    workers = max(1, min(env.limits.threads, 2))
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        rows, cols, aligned = _block_size(acquisitions, groups, workers)
        writer = ProductWriter(out, groups, facts, aligned)
        try:
            with ThreadPoolExecutor(workers) as pool:
                plan = _plan(acquisitions, synthesis, options, groups, readers["R1"], pool)
                todo = list(_windows(groups[0].grid, rows, cols))
                for done, _ in enumerate(pool.map(lambda w: _do_block(plan, readers, writer, w), todo), 1):
                    env.log("debug", f"wasp_synthesis {facts.name}: block {done} of {len(todo)}")
            item = writer.finish()
        finally:
            writer.abandon()
            for reader in readers.values():
                reader.close()
    env.log("info", f"wasp_synthesis: {facts.name} made of {len(acquisitions)} acquisitions")
    return [item]


def result_bands(items: Sequence[pystac.Item], asked: Sequence[str], offered: Sequence[str]) -> list[str]:
    """As on cubes: the reflectance bands that were asked for (by the names a synthesis gives them), then the layers."""
    sensors = {sensor.name: sensor for sensor in map(sensor_of, items)}.values()
    wanted = [out for name in asked for sensor in sensors for out, own in sensor.own.items() if own == name]
    return [b for b in dict.fromkeys([*wanted, *MASKS]) if b in offered]


CHAIN = chain(ProductChain("wasp_synthesis", VERSION, produce, split, bands=result_bands))


def _groups(acquisitions: Sequence[Acquisition]) -> tuple[Group, ...]:
    """Bands by resolution on grids that nest: R1 the finest, R2 (if any) half of it."""
    main = next((a for a in acquisitions if a.sensor.name != "landsat"), acquisitions[0])
    offered = [b for b in main.sensor.bands if any(b in a.bands for a in acquisitions)]
    fine = min((main.bands[b].geobox for b in offered if b in main.bands), key=lambda g: abs(g.resolution.x))
    own = {b: next(a.bands[b] for a in (main, *acquisitions) if b in a.bands) for b in offered}
    first = [b for b in offered if abs(own[b].geobox.resolution.x) < 1.5 * abs(fine.resolution.x)]
    second = [b for b in offered if b not in first]
    if not second:
        return (Group("R1", fine, tuple(first)),)
    height, width = fine.shape[0] // 2 * 2, fine.shape[1] // 2 * 2
    even = GeoBox((height, width), fine.affine, fine.crs)
    half = GeoBox((height // 2, width // 2), fine.affine * Affine.scale(2), fine.crs)
    return Group("R1", even, tuple(first)), Group("R2", half, tuple(second))


def _facts(
    acquisitions: Sequence[Acquisition], synthesis: date, options: Options, groups: Sequence[Group], tile: str
) -> Facts:
    platforms = sorted({a.platform.upper().replace("-", "") for a in acquisitions if a.sensor.name == "sentinel-2"})
    if acquisitions[0].sensor.name == "venus":
        platform = "VENUS-XS"
    else:
        platform = platforms[0] if len(platforms) == 1 else "SENTINEL2X" if platforms else "LANDSAT8"
    return Facts(
        f"{platform}_{synthesis:%Y%m%d}-000000-000_L3A_{tile}_C_V1-0", platform, tile, synthesis,
        tuple(a.day for a in acquisitions), tuple(a.id for a in acquisitions), options,
        {b: file_band(b) for group in groups for b in group.bands},
        {b: _optics(next(a.bands[b] for a in acquisitions if b in a.bands)) for group in groups for b in group.bands},
    )  # fmt: skip


def _optics(band: Band) -> dict[str, Any]:
    """What STAC says of a band: common name and wavelength, as far as known."""
    known = {"eo:common_name": band.common_name, "eo:center_wavelength": band.wavelength}
    return {k: v for k, v in known.items() if v is not None}


def _block_size(acquisitions: Sequence[Acquisition], groups: Sequence[Group], workers: int) -> tuple[int, int, int]:
    """(rows, columns) of a block in fine pixels, and the rows of an output tile.

    Square blocks where the inputs are tiled; whole rows where they are stored in rows, so that nothing is decoded twice.
    """
    per_pixel = len(acquisitions) * (2 * len(groups[0].bands) + 16 + (2 * len(groups[-1].bands) + 14) / 4)
    pixels = int(BLOCK_BYTES / per_pixel)
    width = groups[0].grid.shape[1]
    stored = block_shape(acquisitions[0].bands[acquisitions[0].sensor.blue])
    if stored[1] >= width and width > BLOCK:
        rows = max(64, min(512, pixels // width // 64 * 64))
        return rows, width, min(rows & -rows, 512)
    rows = cols = BLOCK
    while rows * cols > pixels and rows > 128:
        rows, cols = (rows // 2, cols) if rows == cols else (rows, cols // 2)
    return rows, cols, min(rows, 512)


def _windows(grid: GeoBox, rows: int, cols: int) -> Iterator[Window]:
    shape = grid.shape
    for y in range(0, shape[0], rows):
        for x in range(0, shape[1], cols):
            yield Window(x, y, min(cols, shape[1] - x), min(rows, shape[0] - y))


def _plan(
    acquisitions: tuple[Acquisition, ...], synthesis: date, options: Options, groups: tuple[Group, ...], reader: Reader,
    pool: ThreadPoolExecutor,
) -> Plan:  # fmt: skip
    fine = groups[0].grid
    coarse = CoarseGrid(
        fine.shape[0], fine.shape[1], coarse_step(abs(fine.resolution.x), options.weighting), options.mode
    )

    def cloud_fields(a: Acquisition) -> tuple[np.ndarray, np.ndarray]:
        sums = coarse.start()
        for window in _windows(fine, 512, fine.shape[1]):
            coarse.add(reader.mask(a.cloud, window).view(np.uint8), window.row_off, 0, sums)
        return coarse.fields(sums, options.weighting)

    fields = tuple(pool.map(cloud_fields, acquisitions))
    scales = tuple(
        date_weight((a.day - synthesis).days, options.half_window, options.weighting, options.mode) * a.weight
        for a in acquisitions
    )
    nodes = {band: _factors(acquisitions, band, options) for group in groups for band in group.bands}
    factors = {g.name: np.stack([nodes[b] for b in g.bands], axis=1) for g in groups}
    blue = acquisitions[0].sensor.blue
    factors["blue"] = nodes[blue] if blue in nodes else _factors(acquisitions, blue, options)
    step = next((a.angles.step for a in acquisitions if a.angles is not None), 5000.0)
    return Plan(acquisitions, synthesis, options, groups, coarse, fields, scales, factors, step)


def _factors(acquisitions: Sequence[Acquisition], band: str, options: Options) -> np.ndarray:
    """Directional factors (T, gy, gx) float32 of one output band; 1 where a date has no angles."""
    each = []
    for a in acquisitions:
        if a.angles is None or band not in options.coefficients or band not in a.bands:
            each.append(np.ones((1, 1), np.float32))
        else:
            name = band if band in a.angles.view else a.bands[band].name
            each.append(a.angles.factors(name, options.coefficients[band], options.brdf, options.mode))
    shape = max((f.shape for f in each), key=lambda s: s[0] * s[1])
    return np.stack([f if f.shape == shape else np.broadcast_to(f[:1, :1], shape) for f in each])


def _do_block(plan: Plan, readers: Mapping[str, Reader], writer: ProductWriter, window: Window) -> None:
    fine = _fine_block(plan, readers["R1"], window)
    result = synthesise(fine, plan.dates, plan.synthesis, plan.options)
    writer.write(plan.groups[0], window, result)
    if len(plan.groups) > 1:
        group = plan.groups[1]
        half = Window(window.col_off // 2, window.row_off // 2, window.width // 2, window.height // 2)
        coarse = _half_block(plan, group, readers[group.name], half, fine)
        writer.write(group, half, synthesise(coarse, plan.dates, plan.synthesis, plan.options))


def _read_bands(plan: Plan, group: Group, reader: Reader, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Reflectance x 10000 (T, B, h, w) int16, -10000 for nodata, and which band each date has (T, B)."""
    shape = len(plan.acquisitions), len(group.bands)
    dn = np.empty((*shape, int(window.height), int(window.width)), np.int16)
    present = np.zeros(shape, bool)
    for t, a in enumerate(plan.acquisitions):
        for b, band in enumerate(group.bands):
            if band in a.bands:
                reader.reflectance(a.bands[band], window, dn[t, b])
                present[t, b] = True
            else:
                dn[t, b] = NODATA
    return dn, present


def _fine_block(plan: Plan, reader: Reader, window: Window) -> Block:
    group, options = plan.groups[0], plan.options
    dn, present = _read_bands(plan, group, reader, window)
    dates, height, width = len(dn), int(window.height), int(window.width)
    cls, weight = np.empty((dates, height, width), np.uint8), np.empty((dates, height, width), np.float32)
    origin = int(window.row_off), int(window.col_off)
    for t, a in enumerate(plan.acquisitions):
        held: dict[str, np.ndarray] = {}
        cloud, water, snow = (reader.mask(m, window, held) for m in (a.cloud, a.water, a.snow))
        classify_plane(dn[t], cloud, water, snow, cls[t])
        aerosol = _aerosol(a, reader, window, options)
        plan.coarse.weight(*plan.fields[t], aerosol, plan.scales[t], *origin, weight[t])
    blue = group.bands.index(plan.acquisitions[0].sensor.blue)
    block = Block(
        dn, cls, dn[:, blue], weight, plan.factors["R1"], plan.factors["blue"], present, origin,
        plan.node_step / abs(group.grid.resolution.x),
    )  # fmt: skip
    if options.mode == "wasp1":
        return block
    guide = guides(block)
    block = replace(block, guide=guide, complete=np.asarray(present.all(axis=1)).reshape(-1, 1, 1))
    nir = plan.acquisitions[0].sensor.nir
    if options.robust and nir in group.bands:
        at = group.bands.index(nir)
        block = replace(block, dark=guide_of(block, dn[:, at], plan.factors["R1"][:, at]))
    # with a second resolution the date of a pixel never seen clear is chosen per coarse pixel, once for all bands
    cell = 2 if len(plan.groups) > 1 else 1
    return replace(block, choice=fallback(block, guide, cell), cell=cell)


def _aerosol(a: Acquisition, reader: Reader, window: Window, options: Options) -> np.ndarray:
    """Aerosol weight of a window; 1 where the product has no aerosol."""
    if a.aot is None:
        return np.ones((1, 1), np.float32)
    dn = reader.read(a.aot, window, smooth=False)
    if dn.dtype == np.uint8:
        codes = np.arange(256, dtype=np.float32) / np.float32(1 / a.aot.scale) + np.float32(
            a.aot.offset_dn * a.aot.scale
        )
        return aerosol_weight(codes, options.weighting)[dn]
    return aerosol_weight((dn + a.aot.offset_dn) * a.aot.scale, options.weighting)


def _half_block(plan: Plan, group: Group, reader: Reader, window: Window, fine: Block) -> Block:
    """The block at half resolution: weights averaged, classes of the nearest (lower right) pixel, blue averaged."""
    dn, present = _read_bands(plan, group, reader, window)
    cls = np.ascontiguousarray(fine.cls[:, 1::2, 1::2])
    for t in range(len(cls)):
        nothing = cls[t] == 0
        classify_plane(dn[t], cls[t] == CLOUD, cls[t] == WATER, cls[t] == SNOW, cls[t])
        cls[t][nothing] = 0
    guide, dark = (None if plane is None else halved(plane) for plane in (fine.guide, fine.dark))
    blue = np.nan_to_num(halved(fine.blue, NODATA), nan=NODATA)
    return Block(
        dn, cls, blue, halved(fine.weight), plan.factors[group.name],
        plan.factors["blue"], present, (int(window.row_off), int(window.col_off)),
        plan.node_step / abs(group.grid.resolution.x), fine.choice, 1, guide, dark,
    )  # fmt: skip
