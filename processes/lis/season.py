"""``snow_synthesis`` (duration, start and end of snow per season) and ``merge_snow`` (one map per day of several sensors).

The season is that of Theia's annual snow products: calendar days interpolated between clear observations, which for a
0/1 series means the nearest observation, ties to snow (Gascoin et al. 2019). Clouds may be filled first with the
regional snow line (Krajci et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.env import Env
from processes.errors import parameter_invalid
from processes.kernels.lis_season import LAYERS, NODATA, season_rows
from processes.lis.cubes import whole_numbers
from processes.lis.grids import in_bands
from processes.lis.params import FILL, MODES
from processes.lis.snow import _elevation
from processes.lis.snowline import _counts, _lines, _seb, _shapes
from processes.registry import process

BAND_INFO: dict[str, dict[str, Any]] = {
    "SCD": {"description": "snow cover duration", "unit": "d"},
    "SOD": {
        "description": "first day of the longest snow period, counted from the start; 0 where SCD <= 10",
        "unit": "d",
    },
    "SMOD": {
        "description": "last day of the longest snow period, counted from the start; 0 where SCD <= 10",
        "unit": "d",
    },
    "NOBS": {"description": "days with a clear observation, margins included"},
    "NSP": {"description": "number of snow periods"},
    "CCD": {"description": "days with an acquisition and no clear observation, margins included"},
    "GAP": {"description": "longest stretch of days of the season without a clear observation", "unit": "d"},
    "SINCE": {"description": "days from the last clear observation to the end of the season", "unit": "d"},
    "PSL": {"description": "1 where every clear observation from the one nearest to 1 May on is snow"},
}


@process()
def snow_synthesis(
    data: xr.DataArray,
    start: str,
    end: str,
    margin: int = 15,
    densify: xr.DataArray | None = None,
    fill: str = "linear",
    dem: Any = None,
    mode: str = "plus",
    *,
    env: Env | None = None,
) -> xr.DataArray:
    """Snow season of every pixel.

    Parameters
    ----------
    data : snow cube over time with a band ``SEB`` (or a single band): 0 no snow, 1..100 snow, else not observed
    start, end : first and last day of the season, both included (``2017-09-01``, ``2018-08-31``)
    margin : days before and after from which observations serve the interpolation
    densify : a second sensor's snow cube; it fills days and pixels that ``data`` does not see, by nearest neighbour
    fill : ``linear`` interpolates over clouds; ``snowline`` first takes clouds far enough above the day's regional snow
        line as snow and as far below it as bare (`processes.lis.line.snow_line_margin`, at most 250 m)
    dem : elevation cube or collection id for ``snowline``; default: collection ``DEM`` of the archive
    mode : ``plus``; ``lis`` counts snow periods by rising and falling edges and gives 0 where nothing was observed

    Returns
    -------
    Cube (bands, y, x), uint16, bands SCD SOD SMOD NOBS NSP CCD GAP SINCE PSL; 65535 where never observed (NOBS and CCD are
    counts everywhere). Days count from 0 at ``start``.
    """
    if fill not in ("linear", "snowline"):
        raise parameter_invalid("fill", f"'{fill}' is unknown; use linear or snowline.")
    if mode not in MODES:
        raise parameter_invalid("mode", f"'{mode}' is unknown; use one of {', '.join(MODES)}.")
    first, last = _day(start, "start"), _day(end, "end")
    if last < first or last - first > 3000:
        raise parameter_invalid("end", f"the season {start} .. {end} must be 1 to 3000 days long.")
    if margin < 0:
        raise parameter_invalid("margin", "it cannot be negative.")
    merged = merge_snow(data, densify) if densify is not None else _seb(data)
    time = cubes.temporal_dim(merged)
    y, x = cubes.spatial_dims(merged)
    all_days = [_day(label, "data") - first for label in cubes.labels(merged, time)]
    order = [k for k in np.argsort(all_days, kind="stable") if -margin <= all_days[k] <= last - first + margin]
    if not order:
        raise parameter_invalid("data", f"no date lies within {start} .. {end} and its margin of {margin} days.")
    series = merged.isel({time: order}).transpose(time, y, x)
    days, slots = np.unique([all_days[k] for k in order], return_inverse=True)
    may = _nearest_may(days, first, last)
    heights, lines = None, None
    if fill == "snowline":
        heights = _elevation(dem, series, cubes.geobox_of(series), env or Env())
        lines = _lines_of_days(series.data, heights, series, slots, len(days))
    plan = (slots.astype(np.int64), days.astype(np.int64), int(last - first + 1), may, mode == "lis")
    values = _run(series.data, heights, lines, plan)
    coords = {"bands": list(LAYERS), y: series.coords[y], x: series.coords[x]}
    result = cubes.cube(values, ["bands", y, x], coords, kinds=cubes.kinds(series), nodata=NODATA, band_info=BAND_INFO)
    result = cubes.like(result, series, nodata=NODATA, band_info=BAND_INFO)
    result.attrs.pop("lis", None)
    result.attrs["season"] = {"start": str(start), "end": str(end), "margin": int(margin), "fill": fill, "mode": mode}
    return result


@process()
def merge_snow(data: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """One snow map per day from two sensors.

    ``other`` (any grid and CRS) is brought to the grid of ``data`` by nearest neighbour, 255 outside. On a day that both
    have, and for several maps of one sensor, the first with an observation (value <= 100) wins pixel by pixel, ``data``
    before ``other``; where none has one, the last map's code stays.

    Parameters
    ----------
    data, other : snow cubes over time with a band ``SEB`` (or a single band)

    Returns
    -------
    Cube (t, y, x), uint8, nodata 255; one date per day, labelled with the day's first instant.
    """
    mine, theirs = _seb(data), _seb(other)
    time, their_time = cubes.temporal_dim(mine), cubes.temporal_dim(theirs)
    y, x = cubes.spatial_dims(mine)
    grid = cubes.geobox_of(mine)
    own = cubes.geobox_of(theirs)
    planes: dict[int, list[tuple[Any, Any]]] = {}
    ty, tx = cubes.spatial_dims(theirs)
    same = own.shape == grid.shape and own.crs == grid.crs and own.affine.almost_equals(grid.affine, 1e-6)
    for k, label in enumerate(cubes.labels(mine, time)):
        planes.setdefault(_day(label, "data"), []).append((label, mine.isel({time: k}).transpose(y, x).data))
    for k, label in enumerate(cubes.labels(theirs, their_time)):
        plane = theirs.isel({their_time: k}).transpose(ty, tx).data
        moved = plane if same else _nearest(plane, own, grid, mine)
        planes.setdefault(_day(label, "other"), []).append((label, moved))
    labels, maps = [], []
    for _, here in sorted(planes.items()):
        labels.append(min(label for label, _ in here))
        maps.append(_first_seen([_codes(p) for _, p in here]))
    lazy = any(isinstance(m, da.Array) for m in maps)
    values = da.stack(maps).rechunk({0: 1}) if lazy else np.stack(maps)
    coords = {time: labels, y: mine.coords[y], x: mine.coords[x]}
    result = cubes.cube(values, [time, y, x], coords, kinds={time: cubes.TEMPORAL, **cubes.kinds(mine)}, nodata=FILL)
    ids = [*data.attrs.get("derived_from", ()), *other.attrs.get("derived_from", ())]
    result = cubes.like(result, mine, nodata=FILL, **({"derived_from": ids} if ids else {}))
    result.attrs.pop("lis", None)
    return result


def _day(label: Any, parameter: str) -> int:
    """Days since 1970 of a label (UTC)."""
    try:
        text = str(label).removesuffix("Z") if isinstance(label, str) else label
        return int(np.datetime64(text, "D").astype(np.int64))
    except ValueError:
        raise parameter_invalid(parameter, f"'{label}' is not a date.") from None


def _nearest_may(days: np.ndarray, first: int, last: int) -> int:
    """Index of the acquisition day nearest to the 1 May of the season (of its last year where there are several)."""
    year = np.datetime64(last, "D").astype("datetime64[Y]").astype(int) + 1970
    may = int(np.datetime64(f"{year}-05-01", "D").astype(np.int64))
    if may > last:
        may = int(np.datetime64(f"{year - 1}-05-01", "D").astype(np.int64))
    return int(np.argmin(np.abs(days + first - may)))


def _codes(plane: Any) -> Any:
    """uint8 codes of a plane; NaN is 255."""
    if isinstance(plane, da.Array):
        return plane if plane.dtype == np.uint8 else da.map_blocks(_to_codes, plane, dtype=np.uint8)
    return _to_codes(plane)


def _to_codes(block: np.ndarray) -> np.ndarray:
    return whole_numbers(block, np.uint8, FILL)


def _first_seen(maps: Sequence[Any]) -> Any:
    out = maps[0]
    for other in maps[1:]:
        where = da.where if isinstance(out, da.Array) or isinstance(other, da.Array) else np.where
        out = where(out <= 100, out, other)
    return out


def _nearest(plane: Any, own: Any, grid: Any, template: xr.DataArray) -> Any:
    if not isinstance(plane, da.Array):
        return _moved(plane, own, grid)
    y, x = cubes.spatial_dims(template)
    chunks = (template.chunksizes.get(y, (grid.shape[0],)), template.chunksizes.get(x, (grid.shape[1],)))
    whole = plane.rechunk(-1).to_delayed().item()
    moved = da.from_delayed(dask.delayed(_moved, pure=False)(whole, own, grid), grid.shape, np.uint8)
    return moved.rechunk(chunks)


def _moved(plane: np.ndarray, own: Any, grid: Any) -> np.ndarray:
    from rasterio.warp import Resampling, reproject

    out = np.full(grid.shape, FILL, np.uint8)
    reproject(
        _to_codes(np.asarray(plane)), out, src_transform=own.affine, src_crs=str(own.crs), dst_transform=grid.affine,
        dst_crs=str(grid.crs), src_nodata=None, init_dest_nodata=False, resampling=Resampling.nearest, tolerance=0.01,
    )  # fmt: skip
    return out


def _lines_of_days(values: Any, heights: Any, series: xr.DataArray, slots: np.ndarray, number: int) -> Any:
    """Elevations between which the snow line of the whole extent lies, per day: (2, days); delayed where lazy."""
    grid = cubes.geobox_of(series)
    shapes, _ = _shapes(None, grid)
    limits = (20.0, 0.15, 0.92)
    if not isinstance(values, da.Array):
        counts = [_counts(_to_codes(v), np.asarray(heights), shapes, grid, limits[0]) for v in values]
        return _per_day(counts, slots, number, limits)
    count = dask.delayed(_counts, pure=False)
    rows = np.concatenate([[0], np.cumsum(values.chunks[1])]).astype(int)
    cols = np.concatenate([[0], np.cumsum(values.chunks[2])]).astype(int)
    total = []
    for k in range(values.shape[0]):
        parts = []
        for a, b in pairwise(rows):
            for c, d in pairwise(cols):
                z = heights[a:b, c:d]
                z = z.rechunk(-1).to_delayed().item() if isinstance(z, da.Array) else z
                codes = _codes(values[k, a:b, c:d]).to_delayed().item()
                parts.append(count(codes, z, shapes, grid[a:b, c:d], limits[0]))
        total.append(dask.delayed(_add, pure=False)(parts))
    return dask.delayed(_per_day, pure=False)(total, slots, number, limits)


def _add(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.sum(parts, axis=0)


def _per_day(
    counts: Sequence[np.ndarray], slots: np.ndarray, number: int, limits: tuple[float, float, float]
) -> np.ndarray:
    """Elevations below which a day's clouds are bare and above which they are snow: (2, days), +-inf where not sure."""
    out = np.stack([np.full(number, -np.inf), np.full(number, np.inf)])
    for day in range(number):
        line, _, margin = _lines([c for c, s in zip(counts, slots) if s == day], limits, margin=True)[0]
        if np.isfinite(line):
            out[:, day] = line - margin, line + margin
    return out


def _run(values: Any, heights: Any, lines: Any, plan: tuple[np.ndarray, np.ndarray, int, int, bool]) -> Any:
    """`season` per block: all dates of a block at once, as bytes."""
    if not isinstance(values, da.Array):
        return season(_to_codes(np.asarray(values)), *plan, heights=_metres(heights), lines=lines)
    whole = values.rechunk({0: -1})
    if heights is None:
        return whole.map_blocks(
            _season_block,
            plan=plan,
            dtype=np.uint16,
            chunks=((len(LAYERS),), *whole.chunks[1:]),
            meta=np.empty((0, 0, 0), np.uint16),
        )
    z = heights if isinstance(heights, da.Array) else da.from_array(np.asarray(heights), chunks=whole.chunks[1:])
    z = z.rechunk(whole.chunks[1:])
    known = da.from_delayed(lines, (2, len(plan[1])), np.float64)
    return da.blockwise(
        _season_block, ("layer", "y", "x"), whole, ("t", "y", "x"), z, ("y", "x"), known, ("side", "d"),
        plan=plan, concatenate=True, dtype=np.uint16, new_axes={"layer": len(LAYERS)}, meta=np.empty((0, 0, 0), np.uint16),
    )  # fmt: skip


def _season_block(block: np.ndarray, heights: Any = None, lines: Any = None, *, plan: Any) -> np.ndarray:
    return season(_to_codes(block), *plan, heights=_metres(heights), lines=lines)


def _metres(heights: Any) -> np.ndarray | None:
    return None if heights is None else whole_numbers(np.asarray(heights), np.int16, -32768)


def season(
    planes: np.ndarray,
    slots: np.ndarray,
    days: np.ndarray,
    length: int,
    may: int = 0,
    edges: bool = False,
    *,
    heights: np.ndarray | None = None,
    lines: np.ndarray | None = None,
    threads: int = 1,
) -> np.ndarray:
    """Season layers of arrays: uint16 (9, h, w) in the order of `LAYERS`.

    Parameters
    ----------
    planes : uint8 (n, h, w): 0 bare, 1..100 snow, else not seen; in order of time
    slots, days : see `processes.kernels.lis_season.season_rows`
    length : days of the season
    heights, lines : int16 (h, w); (2, days): below the first a day's clouds are bare, above the second they are snow
    threads : bands of rows computed at once
    """
    height, width = planes.shape[1:]
    out = np.empty((len(LAYERS), height, width), np.uint16)
    fill = heights is not None and lines is not None
    z = heights if heights is not None and fill else np.zeros((1, 1), np.int16)
    low, high = np.asarray(lines, float) if fill else np.array([[-np.inf], [np.inf]]).repeat(len(days), 1)
    planes = np.ascontiguousarray(planes)

    def rows(a: int, b: int) -> None:
        season_rows(planes, slots, days, length, z, low, high, fill, may, edges, out, a, b)

    in_bands(rows, height, threads, 64)
    return out
