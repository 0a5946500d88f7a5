"""`wasp_synthesis`: the openEO process and the plain function, on cubes.

On collections the graph runs the chain on products (`processes.wasp.chain`); any other cube goes through here, on its
own extent and grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date as Date
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from dask.graph_manipulation import clone

from processes import blocks
from processes import cube as cubes
from processes.env import Env
from processes.errors import ProcessError, parameter_invalid
from processes.registry import process
from processes.wasp import chain
from processes.wasp.composite import Options
from processes.wasp.cube_blocks import LAYERS, Layout, Work, synthesise_block
from processes.wasp.rims import RimGrid
from processes.wasp.sources import LANDSAT, VENUS_IN_MIX
from processes.wasp.weights import CoarseGrid, coarse_step, date_weight


@process()
def wasp_synthesis(
    data: xr.DataArray,
    date: str | Sequence[str] | None = None,
    half_window: int | None = None,
    mode: str | None = "plus",
    brdf: str | None = None,
    robust: bool | None = None,
    level: bool | None = None,
    weights: Mapping[str, float] | None = None,
    sensor_weights: Mapping[str, float] | None = None,
    *,
    env: Env | None = None,
) -> xr.DataArray:
    """Cloud-free synthesis of surface reflectance around one or more dates.

    Parameters
    ----------
    data
        Cube with dimensions t, bands, y, x: surface reflectance (0..1, NaN for none), a cloud mask (``CLM``, or ``CLOUD``
        and ``CLOUD_SHADOW``), and as far as there are ``MG2`` or ``WATER`` and ``SNOW``, ``AOT``, and the angles ``SZA SAA
        VZA VAA`` (degrees).
    date
        Synthesis date(s); None: the middle of the cube's dates.
    half_window
        Days taken on either side, default 23.
    mode
        ``plus`` or ``wasp1``, the exact recursion of WASP 1.0.
    brdf
        Directional correction ``roy``, ``wasp1`` or ``none``; None: the mode's own. Needs the angle bands.
    robust
        Leave out land dates of outlying blue; None: in mode ``plus``.
    level
        Level the dates to each other; None: in mode ``plus``. See `processes.wasp.levels`.
    weights
        See `processes.wasp.weights.Weighting`.
    sensor_weights
        Weight per sensor (``sentinel-2``, ``landsat``, ``venus``), where the cube has a coordinate ``platform`` along t.

    Returns
    -------
    Lazy float32 cube (t = synthesis dates; bands = reflectance, FLG, WGT, DTS, NCL; y, x). FLG: 0 nodata, 1 cloud or
    shadow, 2 snow, 3 water, 4 land. DTS: days since 2000-01-01 (``wasp1``: 0-based day of year). NCL: clear dates.
    ``attrs["extent_used"]`` tells the extent on which distances to clouds were measured, ``attrs["wasp"]`` the options and
    per synthesis date the days it was made of.

    Raises
    ------
    ProcessError
        ``ProcessParameterInvalid``, ``DimensionNotAvailable``, ``DimensionMissing``, ``NoDataAvailable``.
    """
    options = Options.of(half_window=half_window, mode=mode, brdf=brdf, robust=robust, level=level, weights=weights)
    t, bands, (y, x) = cubes.temporal_dim(data), cubes.bands_dim(data), cubes.spatial_dims(data)
    data = data.transpose(t, bands, y, x)
    days = days_of(data, t)
    order = np.argsort(np.array(days, dtype="datetime64[D]"), kind="stable")
    layout = Layout.of(data, bands)
    parts = []
    used: dict[str, list[str]] = {}
    for synthesis in chain.parse_dates(date, days):
        inside = [int(i) for i in order if options.takes(days[i], synthesis)]
        if not inside:
            raise ProcessError(
                "NoDataAvailable", f"The cube has no date within {options.half_window} days of {synthesis}."
            )
        used[synthesis.isoformat()] = [days[i].isoformat() for i in inside]
        own = data.isel({t: inside})
        scales = scales_of(own, t, [days[i] for i in inside], synthesis, options, sensor_weights or {})
        parts.append(
            _one(own, (t, bands, y, x), layout, [days[i] for i in inside], synthesis, options, scales, env or Env())
        )
    result = parts[0] if len(parts) == 1 else xr.concat(parts, dim=t, combine_attrs="override")
    grid = {"extent_used": [float(v) for v in (data[x].min(), data[y].min(), data[x].max(), data[y].max())]}
    info = {k: v for k, v in data.attrs.get("band_info", {}).items() if k in layout.reflectance}
    return cubes.like(result, data, **grid, band_info=info, wasp={"options": options, "days": used})


def days_of(data: xr.DataArray, t: str) -> list[Date]:
    labels = cubes.labels(data, t)
    try:
        return [np.datetime64(v, "D").astype(Date) for v in labels]
    except ValueError:
        raise parameter_invalid("data", f"its temporal labels are no dates: {labels[0]!r}.") from None


def scales_of(
    own: xr.DataArray, t: str, days: Sequence[Date], synthesis: Date, options: Options, weights: Mapping[str, float]
) -> list[float]:
    """Date weight x sensor weight per date."""
    platforms = (
        [str(p).lower() for p in own.coords["platform"].values] if "platform" in own.coords else [""] * len(days)
    )
    mixed = any("venus" not in p for p in platforms)
    scales = []
    for day, platform in zip(days, platforms):
        name = next((n for n in ("landsat", "venus", "sentinel") if n in platform), "sentinel")
        usual = LANDSAT.weight if name == "landsat" else VENUS_IN_MIX.weight if name == "venus" and mixed else 1.0
        sensor = float(weights.get("sentinel-2" if name == "sentinel" else name, usual))
        away = (day - synthesis).days
        scales.append(date_weight(away, options.half_window, options.weighting, options.mode) * sensor)
    return scales


def _one(
    own: xr.DataArray, dims: tuple[str, str, str, str], layout: Layout, days: Sequence[Date], synthesis: Date,
    options: Options, scales: Sequence[float], env: Env,
) -> xr.DataArray:  # fmt: skip
    """Synthesis for one date, lazy where ``own`` is."""
    t, bands, y, x = dims
    own = _smaller(own, dims, env)
    resolution = resolution_of(own, y, x)
    height, width, dates = own.sizes[y], own.sizes[x], own.sizes[t]
    coarse = CoarseGrid(height, width, coarse_step(resolution, options.weighting), options.mode)
    rims = RimGrid.of(height, width, resolution, options.weighting.edge_fade)
    work = Work(layout, (dates, height, width), coarse, rims, tuple(days), synthesis, options, tuple(scales))
    fields, unseen, levels = _first_look(own, bands, work)
    rows = xr.DataArray(np.arange(height), dims=(y,), coords={y: own.coords[y]})
    cols = xr.DataArray(np.arange(width), dims=(x,), coords={x: own.coords[x]})
    if blocks.is_lazy(own):
        rows, cols = rows.chunk({y: own.chunksizes[y]}), cols.chunk({x: own.chunksizes[x]})
    names = [*layout.reflectance, *LAYERS]
    plain = own.drop_vars([c for c in own.coords if t in own.coords[c].dims])
    small = [
        xr.DataArray(fields, dims=("field", t, "yc", "xc")),
        xr.DataArray(unseen, dims=(t, "yr", "xr")),
        xr.DataArray(levels, dims=(t, "refl", "part")),
    ]
    result = blocks.map_blocks(
        partial(synthesise_block, work=work), plain, *small, rows, cols,
        core=[t, bands, "field", "yc", "xc", "yr", "xr", "refl", "part"], out_core={t: 1, bands: len(names)},
    )  # fmt: skip
    label = np.datetime64(synthesis.isoformat(), "ns")
    return result.transpose(*dims).assign_coords({t: [label], bands: names})


def _first_look(own: xr.DataArray, bands: str, work: Work) -> list[Any]:
    """The small arrays that need all of the cube: cloud fields, packed unseen cells, levels; lazy where ``own`` is.

    A lazy cube is read for them block by block on its own: sharing the blocks with the synthesis would keep all of them
    in memory until the last has been looked at. Only the bands that are needed are read.
    """
    layout, (dates, *_) = work.layout, work.shape
    needed = {"CLM"} if "CLM" in layout.labels else {"CLOUD", "CLOUD_SHADOW"}
    needed |= {layout.blue} if work.rims is not None else set()
    level = work.options.level and dates > 1
    if blocks.is_lazy(own):  # before bands are chosen: dask does not clone a choice of labels apart
        own = own.copy(data=clone(own.chunk({bands: -1}).data))
    if not level:
        at = layout.at(*(b for b in layout.labels if b in needed))
        labels = tuple(layout.labels[i] for i in at)
        own = own.isel({bands: at})
        work = replace(work, layout=replace(layout, labels=labels))
    folds: list[tuple[Any, Any, tuple[int, ...], Any]] = [
        (work.cloud_part, work.cloud_fields, (2, dates, *work.coarse.shape), np.float64)
    ]
    if work.rims is not None:
        folds.append((work.unseen_part, work.unseen_cells, (dates, *work.rims.packed_shape), np.uint8))
    if level:
        folds.append((work.sample_part, work.levels, (dates, len(layout.reflectance), 2), np.float32))
    found: list[Any] = [blocks.fold_blocks(part, finish, own, shape, dtype) for part, finish, shape, dtype in folds]
    if not blocks.is_lazy(own):
        found = [made.compute(scheduler="sync") for made in found]
    if work.rims is None:
        found.insert(1, np.zeros((dates, 1, 1), np.uint8))
    if not level:
        found.append(np.zeros((dates, len(layout.reflectance), 2), np.float32))
    return found


def resolution_of(data: xr.DataArray, y: str, x: str) -> float:
    """Pixel size in metres; degrees count 111.32 km."""
    axis = x if data.sizes[x] > 1 else y
    values = data.coords[axis].values
    size = abs(float(values[-1] - values[0])) / (len(values) - 1) if len(values) > 1 else 10.0
    crs = cubes.crs_of(data)
    return size * 111_320.0 if crs is not None and crs.geographic else size


def _smaller(own: xr.DataArray, dims: tuple[str, str, str, str], env: Env) -> xr.DataArray:
    """The cube in spatial blocks that hold all dates within a thread's share of the memory."""
    t, bands, y, x = dims
    if not blocks.is_lazy(own):
        return own
    allowed = env.limits.memory / (4 * max(env.limits.threads, 1))
    pixels = max(int(allowed / (own.sizes[t] * (own.sizes[bands] * 12 + 16))), 64 * 64)
    rows, cols = max(own.chunksizes[y]), max(own.chunksizes[x])
    while rows * cols > pixels:
        rows, cols = (-(-rows // 2), cols) if rows >= cols else (rows, -(-cols // 2))
    return own.chunk({t: -1, bands: -1, y: rows, x: cols})
