"""`wasp_synthesis` on products: the acquisitions of a tile in, one L3A product per synthesis date out.

Two passes. The first (`plan`) reads the cloud masks, which it reduces to small cells of the whole tile, and a sample of the
bands. The second (`tile_blocks`) goes block by block: every date of a block is read, weighed, averaged and written, 10 m
and 20 m bands together, so memory is a few blocks whatever the tile and the number of dates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pystac
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from processes.band_names import short
from processes.env import Env
from processes.errors import ProcessError, parameter_invalid
from processes.load.items import Band
from processes.load.read import block_shape
from processes.stages import ProductChain, Task, chain, make_task
from processes.wasp.composite import Options
from processes.wasp.plan import make_plan, neighbourhoods
from processes.wasp.product import MASKS, Facts, Group, ProductWriter
from processes.wasp.sources import SENTINEL2, VENUS_IN_MIX, Acquisition, Reader, Sensor, lead_sensor, sensor_of
from processes.wasp.tile_blocks import do_block

VERSION = "6"
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
    names = ("half_window", "mode", "brdf", "robust", "level", "weights")
    return Options.of(**{name: params.get(name) for name in names})


def split(items: Sequence[pystac.Item], params: Mapping[str, Any]) -> list[Task]:
    """One task per tile and synthesis date, holding the acquisitions of its window in time order."""
    options = options_of(params)
    tiles = _by_tile(_newest(items))
    wanted = parse_dates(params.get("date"), [i.datetime.date() for i in items if i.datetime])
    tasks = []
    for tile in sorted(tiles):
        for synthesis in wanted:
            inside = [i for i in tiles[tile] if i.datetime and options.takes(i.datetime.date(), synthesis)]
            if inside:
                own = {**params, "date": synthesis.isoformat(), "tile": tile}
                tasks.append(make_task(CHAIN, sorted(inside, key=lambda i: (str(i.datetime), i.id)), own))
    return tasks


def _by_tile(items: Sequence[pystac.Item]) -> dict[str, list[pystac.Item]]:
    """Acquisitions per tile. What is not on a tile of Sentinel-2 joins every one of them that it overlaps."""
    leading = [i for i in items if sensor_of(i) is SENTINEL2]
    tiles: dict[str, list[pystac.Item]] = {}
    extents: dict[str, list[float]] = {}
    for item in leading:
        tiles.setdefault(_tile(item), []).append(item)
        if item.bbox:
            extents.setdefault(_tile(item), list(item.bbox))
    for item in (i for i in items if sensor_of(i) is not SENTINEL2):
        box = item.bbox
        own = _tile(item)
        joined = [own] if own in extents else [t for t, e in extents.items() if box and _overlap(box, e)]
        for tile in joined or [own]:
            tiles.setdefault(tile, []).append(item)
    return tiles


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


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
    p = item.properties
    return str(p.get("grid:code") or p.get("tuile:zone") or p.get("proj:code") or "")


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
    if options.mode == "wasp1":  # the program does not know VENuS by its name
        weights = {"venus": VENUS_IN_MIX.weight, **weights}
    items = task.stac_items()
    mixed = len({sensor_of(item).name for item in items}) > 1
    acquisitions = tuple(Acquisition.of(item, weights, env, mixed=mixed) for item in items)
    if not acquisitions:
        raise ProcessError("NoDataAvailable", f"No acquisition lies in the window around {synthesis}.")
    sensor = lead_sensor(acquisitions)
    groups = _groups(acquisitions, sensor)
    readers = {group.name: Reader(group.grid) for group in groups}
    tile = str(task.params.get("tile") or _tile(items[0]))
    facts = _facts(acquisitions, sensor, synthesis, options, groups, tile)
    workers = max(1, min(env.limits.threads, 2))
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        rows, cols, aligned = _block_size(acquisitions, sensor, groups)
        writer = ProductWriter(out, groups, facts, aligned)
        try:
            with ThreadPoolExecutor(workers) as pool:
                plan = make_plan(acquisitions, sensor, synthesis, options, groups, readers, pool)
                todo = list(neighbourhoods(groups[0].grid, rows, cols, BLOCK))

                def do(blocks: Sequence[Window]) -> None:
                    for window in blocks:
                        do_block(plan, readers, writer, window)

                for done, _ in enumerate(pool.map(do, todo), 1):
                    env.log("debug", f"wasp_synthesis {facts.name}: part {done} of {len(todo)}")
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


def _groups(acquisitions: Sequence[Acquisition], sensor: Sensor) -> tuple[Group, ...]:
    """Bands by resolution on grids that nest: R1 the finest, R2 (if any) half of it."""
    main = next((a for a in acquisitions if a.sensor.name == sensor.name), acquisitions[0])
    offered = [b for b in sensor.bands if any(b in a.bands for a in acquisitions)]
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
    acquisitions: Sequence[Acquisition], sensor: Sensor, synthesis: date, options: Options, groups: Sequence[Group],
    tile: str,
) -> Facts:  # fmt: skip
    family = [a for a in acquisitions if a.sensor.name == sensor.name]
    platforms = sorted({a.platform.upper().replace("-", "").removesuffix("XS") for a in family})
    several = {"sentinel-2": "SENTINEL2X", "landsat": "LANDSAT", "venus": "VENUS"}[sensor.name]
    platform = platforms[0] if len(platforms) == 1 and platforms[0].startswith(several[:5]) else several
    platform = "VENUS-XS" if platform == "VENUS" else platform
    name = "T" + tile.removeprefix("MGRS-") if tile.startswith("MGRS-") else tile
    return Facts(
        f"{platform}_{synthesis:%Y%m%d}-000000-000_L3A_{name}_C_V1-0", platform, name, synthesis,
        tuple(a.day for a in acquisitions), tuple(a.id for a in acquisitions), options,
        {b: short(b) for group in groups for b in group.bands},
        {b: _optics(next(a.bands[b] for a in acquisitions if b in a.bands)) for group in groups for b in group.bands},
    )  # fmt: skip


def _optics(band: Band) -> dict[str, Any]:
    """What STAC says of a band: common name and wavelength, as far as known."""
    known = {"eo:common_name": band.common_name, "eo:center_wavelength": band.wavelength}
    return {k: v for k, v in known.items() if v is not None}


def _block_size(acquisitions: Sequence[Acquisition], sensor: Sensor, groups: Sequence[Group]) -> tuple[int, int, int]:
    """(rows, columns) of a block in fine pixels, and the rows of an output tile.

    Square blocks where the inputs are tiled; whole rows where they are stored in rows, so that nothing is decoded twice.
    """
    per_pixel = len(acquisitions) * (2 * len(groups[0].bands) + 17 + (2 * len(groups[-1].bands) + 14) / 4)
    pixels = int(BLOCK_BYTES / per_pixel)
    width = groups[0].grid.shape[1]
    stored = block_shape(acquisitions[0].bands[sensor.blue])
    if stored[1] >= width and width > BLOCK:
        rows = max(64, min(512, pixels // width // 64 * 64))
        return rows, width, min(rows & -rows, 512)
    rows = cols = BLOCK
    while rows * cols > pixels and rows > 128:
        rows, cols = (rows // 2, cols) if rows == cols else (rows, cols // 2)
    return rows, cols, min(rows, 512)
