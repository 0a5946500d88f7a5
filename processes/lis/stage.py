"""``lis_snow`` on whole products: a Level-2A item in, a snow product and its item out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from odc.geo.geobox import GeoBox

from processes.env import Env
from processes.errors import parameter_invalid
from processes.lis.detect import BANDS, Block, detect
from processes.lis.inputs import Source, open_item, read_item
from processes.lis.params import MODES, NODATA, Params
from processes.lis.product import VERSION, write_product
from processes.lis.relief import relief_shade
from processes.lis.terrain import archive_bands, find_dem, warp_class, warp_dem
from processes.stages import ProductChain, Task, chain


def produce(task: Task, out: Path, env: Env) -> list[pystac.Item]:
    """Snow product of each item of ``task`` in the folder ``out``.

    ``task.params``: ``sensor``, ``params``, ``mode``, ``dem`` (collection id), ``sun_angles`` as in `processes.lis.lis_snow`.
    The snow line is that of the whole tile.

    Raises
    ------
    ProcessError
        ``NoDataAvailable`` without a DEM, ``ProcessParameterInvalid`` for items that are no Level-2A product of a known
        sensor, ``StorageFailure`` for files that cannot be read.
    """
    given = dict(task.params)
    mode = given.get("mode", "plus")
    if mode not in MODES:
        raise parameter_invalid("mode", f"'{mode}' is unknown; use one of {', '.join(MODES)}.")
    settings = Params.of(given.get("params"))
    if (dem := given.get("dem")) is not None and not isinstance(dem, str):
        raise parameter_invalid("dem", "on whole products it must be the id of a collection.")
    return [_one(item, out, env, given, settings, mode) for item in task.stac_items()]


def _one(item: pystac.Item, out: Path, env: Env, given: dict[str, Any], settings: Params, mode: str) -> pystac.Item:
    source = open_item(item, given.get("sensor") or "auto")
    elevation = find_dem(source.grid, env, given.get("dem") or "DEM")
    dem, share = warp_dem(elevation, source.grid, fill_voids=mode == "plus")
    if share < 1:
        env.log("warning", f"{item.id}: the DEM covers {100 * share:.1f} % of the tile; elevation is 0 elsewhere.")
    block = replace(read_item(source), dem=dem)
    _apply_water(block, source, env)
    if trees := archive_bands("TCD", "TCD", source.grid, env):
        block = replace(block, tcd=warp_class(trees, source.grid, 255))
    if settings.shaded_snow and block.blue is not None and (sun := _sun(given, item)):
        pixel = abs(float(source.grid.affine.a))
        shade = relief_shade(dem, pixel, *sun, hillshade_lim=settings.hillshade_lim)
        block = replace(block, relief=shade)
    layers, meta = detect(block, source.sensor, settings, mode, threads=env.limits.threads)
    told = {**meta, "extent_used": _extent(source.grid), "item": item.id, "dem_share": share}
    env.log(
        "info",
        f"{item.id}: snow {meta['snow_percent']:.1f} %, cloud {meta['cloud_percent']:.1f} %, snow line {meta['snow_line']:.0f} m",
    )
    return write_product(out, item, source.grid, layers, told)


def _apply_water(block: Block, source: Source, env: Env) -> None:
    """Set the bands to nodata on permanent water of the archive, in place: the arrays are this task's own."""
    bands = archive_bands("WATER", "WATER", source.grid, env)
    if not bands:
        return
    water = warp_class(bands, source.grid, 0) == 1
    for name in ("green", "red", "swir", "blue", "nir"):
        if (values := getattr(block, name)) is not None:
            np.copyto(values, np.int16(NODATA), where=water)


def _sun(given: dict[str, Any], item: pystac.Item) -> tuple[float, float] | None:
    """(azimuth, elevation) of the scene's sun; None where neither the request nor the item tells."""
    angles = given.get("sun_angles")
    if angles is None:
        angles = [item.properties.get("view:sun_azimuth"), item.properties.get("view:sun_elevation")]
    if isinstance(angles, dict):
        angles = [angles.get("azimuth"), angles.get("elevation")]
    if len(angles) != 2 or not all(isinstance(v, (int, float)) for v in angles) or angles[1] <= 0:
        return None
    return float(angles[0]), float(angles[1])


def _extent(grid: GeoBox) -> dict[str, Any]:
    return {"kind": "tile", "bbox": [float(v) for v in grid.boundingbox.bbox], "crs": str(grid.crs)}


def result_bands(items: Sequence[pystac.Item], asked: Sequence[str], offered: Sequence[str]) -> list[str]:
    """The bands of `lis_snow` on cubes; what else a product holds is for who reads products."""
    return [b for b in BANDS if b in offered]


CHAIN = chain(ProductChain("lis_snow", VERSION, produce, bands=result_bands))
