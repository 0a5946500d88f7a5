"""Snow detection on raster cubes: the array functions of `processes.lis.detect`, per date, lazily.

Two sweeps per date with the scene's decision between them: every block is turned into digital numbers and states and
counted, the counts add up to one decision, every block is finished with it. Coarse red and relief shade look beyond a
block, so they are one task per date on the whole plane. All counts are integers and all planes are whole: the result
does not depend on how the cube is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from processes import cube as cubes
from processes.errors import parameter_invalid
from processes.lis.detect import (
    BANDS,
    Block,
    Decision,
    Place,
    Rules,
    decide,
    first,
    histograms,
    percentages,
    remove_snow_in_clouds,
    rules,
    second,
)
from processes.lis.grids import coarse
from processes.lis.line import Histograms
from processes.lis.params import FILL, NODATA, Params, Sensor
from processes.lis.relief import relief_shade

ENOUGH_PIXELS = 50  # that speak for a bit order
UNIFORM = {"CLOUD": 1, "CLOUD_SHADOW": 1 | 32, "CIRRUS": 1 | 128}  # 0/1 masks -> bits of a MUSCATE cloud mask


@dataclass(frozen=True)
class Inputs:
    """Planes of one date by role, lazy or not; ``cloud`` is one raster or the uniform masks by name.

    ``order_assumed``: nothing tells the bit order of the cloud raster, see `check_order`.
    """

    bands: Mapping[str, Any]
    cloud: Mapping[str, Any]
    geo: Any = None
    dem: Any = None
    tcd: Any = None
    water: Any = None
    relief: Any = None
    order_assumed: bool = False


def digital(values: np.ndarray, multi: int) -> np.ndarray:
    """Reflectance -> digital numbers (int16, -10000 where NaN); integer input is taken as digital numbers."""
    if values.dtype.kind in "iu":
        return np.ascontiguousarray(np.clip(values, -32768, 32767), np.int16)
    with np.errstate(invalid="ignore"):
        dn = np.clip(np.rint(values.astype(np.float64) * (1000 * multi)), -9999, 32767)
    return np.where(np.isnan(values), NODATA, dn).astype(np.int16)


def whole_numbers(values: np.ndarray, dtype: Any, fill: int) -> np.ndarray:
    """Integers of a raster that a float cube carries; ``fill`` where NaN."""
    known = np.where(np.isnan(values), fill, np.rint(values)) if values.dtype.kind == "f" else values
    info = np.iinfo(dtype)
    return np.ascontiguousarray(np.clip(known, info.min, info.max), dtype)


def make_block(parts: Mapping[str, np.ndarray], sensor: Sensor) -> Block:
    """A `Block` from the planes of one block by role (``green`` ... ``dem``, ``cloud:<name>``), water masked."""
    shape = parts["green"].shape
    masks = {k[6:]: v for k, v in parts.items() if k.startswith("cloud:")}
    if set(masks) <= set(UNIFORM):
        cloud = np.zeros(shape, np.uint8)
        for name, values in masks.items():
            cloud[whole_numbers(values, np.uint8, 0) == 1] |= UNIFORM[name]
    else:
        cloud = whole_numbers(next(iter(masks.values())), np.uint16, 0)
        if cloud.max(initial=0) < 256:
            cloud = cloud.astype(np.uint8)

    def maybe(role: str, convert: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
        return convert(parts[role]) if role in parts else None

    water = maybe("water", lambda v: whole_numbers(v, np.uint8, 0))
    bands = {b: maybe(b, lambda v: digital(v, sensor.multi)) for b in ("green", "red", "swir", "blue", "nir")}
    if water is not None and (hit := water == 1).any():
        for band in bands.values():
            if band is not None:
                band[hit] = NODATA
    return Block(
        **bands,  # type: ignore[arg-type]
        cloud=cloud,
        dem=whole_numbers(parts["dem"], np.int16, 0),
        relief=maybe("relief", lambda v: whole_numbers(v, np.uint8, 0)),
        tcd=maybe("tcd", lambda v: whole_numbers(v, np.uint8, 255)),
        geo=maybe("geo", lambda v: whole_numbers(v, np.uint8, 0)),
    )


def flat(inputs: Inputs) -> dict[str, Any]:
    """Planes by role as `make_block` wants them."""
    out = {**inputs.bands, **{f"cloud:{k}": v for k, v in inputs.cloud.items()}}
    for role in ("geo", "dem", "tcd", "water", "relief"):
        if (plane := getattr(inputs, role)) is not None:
            out[role] = plane
    return out


def shade_of(dem: np.ndarray, sun: Sequence[Any], pixel: float, limit: float, shape: tuple[int, int]) -> np.ndarray:
    """Relief shade from the mean sun direction; ``sun`` is (azimuth, elevation), numbers or planes of them."""
    azimuth, elevation = (np.asarray(v, float) for v in sun)
    if azimuth.size > 1:
        a = np.radians(azimuth)
        azimuth = np.degrees(np.arctan2(np.nanmean(np.sin(a)), np.nanmean(np.cos(a)))) % 360
        elevation = np.nanmean(elevation)
    if not np.isfinite(elevation) or elevation <= 0:
        return np.zeros(shape, np.uint8)
    return relief_shade(dem, pixel, float(azimuth), float(elevation), hillshade_lim=limit)


def run_date(inputs: Inputs, r: Rules, sun: Sequence[Any] | None, pixel: float) -> tuple[Any, Any]:
    """Layers (7, h, w) and metadata of one date: arrays and a dict, or a dask array and a delayed dict."""
    planes = flat(inputs)
    shape = tuple(planes["green"].shape)
    lazy = any(isinstance(v, da.Array) for v in planes.values())
    chunks = planes["green"].chunks if isinstance(planes["green"], da.Array) else tuple((n,) for n in shape)
    if r.params.rm_snow_inside_cloud:
        chunks = tuple((n,) for n in shape)
    shade = None
    if sun is not None and "relief" not in planes and "blue" in planes:
        make_shade = dask.delayed(shade_of, pure=False)
        shade = make_shade(_plane(planes["dem"]), [_plane(s) for s in sun], pixel, r.params.hillshade_lim, shape)
    places, states, counts, blocks = [], [], [], []
    for rows, cols in _cuts(chunks):
        place = Place(rows.start, cols.start, *shape)
        parts = {k: _part(v, rows, cols) for k, v in planes.items()}
        if shade is not None:
            parts["relief"] = shade[rows, cols]
        block = dask.delayed(make_block, pure=False)(parts, r.sensor)
        state = dask.delayed(_state, pure=False)(block, r)
        places.append(place)
        blocks.append(block)
        states.append(state)
        counts.append(dask.delayed(histograms, pure=False)(state, block, place, r))
    cells = dask.delayed(_coarse, pure=False)(blocks, places, shape, r)
    seen = [dask.delayed(order_evidence, pure=False)(b) for b in blocks] if inputs.order_assumed else None
    decision = dask.delayed(_decide, pure=False)(_tree(counts), Place(0, 0, *shape), r, seen)
    done = [dask.delayed(_finish, pure=False)(s, b, cells, p, decision, r) for s, b, p in zip(states, blocks, places)]
    meta = dask.delayed(_meta, pure=False)(decision, [d[1] for d in done])
    if not lazy:
        layers, meta = dask.compute([d[0] for d in done], meta, scheduler="sync")
        if len(layers) == 1:
            return layers[0], meta
        raise AssertionError("a cube in memory is one block")
    grid = iter(done)
    rows_of = [
        da.concatenate([da.from_delayed(next(grid)[0], (len(BANDS), h, w), np.uint8) for w in chunks[1]], axis=2)
        for h in chunks[0]
    ]
    return da.concatenate(rows_of, axis=1), meta


def _cuts(chunks: Sequence[Sequence[int]]) -> list[tuple[slice, slice]]:
    edges = [np.concatenate([[0], np.cumsum(c)]).astype(int).tolist() for c in chunks]
    return [(slice(a, b), slice(c, d)) for a, b in zip(edges[0], edges[0][1:]) for c, d in zip(edges[1], edges[1][1:])]


def _part(plane: Any, rows: slice, cols: slice) -> Any:
    """One block of a plane as a delayed array (or an array, or a delayed slice of a delayed plane)."""
    if isinstance(plane, da.Array):
        return plane[rows, cols].rechunk(-1).to_delayed(optimize_graph=False).item()
    return plane[rows, cols]


def _plane(plane: Any) -> Any:
    if isinstance(plane, da.Array):
        return plane.rechunk(-1).to_delayed(optimize_graph=False).item()
    return plane


def _tree(counts: list[Any]) -> Any:
    """Pairwise sums, so that no task holds the histograms of all blocks."""
    join = dask.delayed(_sum, pure=False)
    while len(counts) > 8:
        counts = [join(counts[i : i + 8]) for i in range(0, len(counts), 8)]
    return join(counts)


def _sum(counts: list[Histograms]) -> Histograms:
    return reduce(add, counts)


def _state(block: Block, r: Rules) -> np.ndarray:
    return remove_snow_in_clouds(first(block, r), r)


def _coarse(blocks: Sequence[Block], places: Sequence[Place], shape: tuple[int, int], r: Rules) -> np.ndarray:
    red = np.empty(shape, np.int16)
    for block, place in zip(blocks, places):
        h, w = block.shape
        red[place.row : place.row + h, place.col : place.col + w] = block.red
    return coarse(red, int(r.params.rf or r.sensor.rf))


def _decide(counts: Histograms, place: Place, r: Rules, seen: Sequence[np.ndarray] | None = None) -> Decision:
    if seen is not None:
        check_order(np.sum(seen, axis=0))
    return decide(counts, place, r)


def order_evidence(block: Block) -> np.ndarray:
    """Pixels outside clouds (bit 1) that only Theia's bit order of CLM has, and that only the native one has: int64 (2,).

    Outside clouds Theia's order sets bits 5 and 6 in shadows and never the cloud tests of bits 2 and 3; the native writer
    has the shadows in 2 and 3 and a cloud test in 5.
    """
    clear = (block.cloud & 2) == 0
    return np.array([(clear & (block.cloud & bits != 0)).sum() for bits in (32, 12)], np.int64)


def check_order(seen: np.ndarray) -> None:
    """Refuse a CLM raster read in Theia's bit order that shows only what the native order has (`ENOUGH_PIXELS`)."""
    if seen[0] == 0 and seen[1] >= ENOUGH_PIXELS:
        raise parameter_invalid(
            "sensor",
            f"the cloud raster looks like that of the native MAJA writer ({seen[1]} pixels with bits 2 or 3 outside clouds): "
            "pass sensor 's2_maja_native', or 's2_muscate' if its bits are in Theia's order.",
        )


def _finish(state: np.ndarray, block: Block, cells: np.ndarray, place: Place, d: Decision, r: Rules) -> Any:
    layers, tally = second(state, block, cells, place, d, r)
    return np.ascontiguousarray(layers[: len(BANDS)]), tally


def _meta(decision: Decision, tallies: Sequence[np.ndarray]) -> dict[str, Any]:
    return {**decision.meta, **percentages(np.sum(tallies, axis=0))}


def scaled(params: Params, sensor: Sensor, pixel: float) -> Params:
    """Parameters whose coarse cell keeps its size on the ground where the cube is on another grid than the sensor's."""
    if params.rf is not None:
        return params
    return replace(params, rf=max(1, round(sensor.rf * sensor.pixel / pixel)))


def run_cube(
    dates: Sequence[tuple[Any, Inputs, Sequence[Any] | None]],
    template: xr.DataArray,
    sensor: Sensor,
    params: Params,
    mode: str,
) -> xr.DataArray:
    """Snow layers of all dates as a cube (t, bands, y, x), uint8, nodata 255.

    Parameters
    ----------
    dates : (label, inputs, sun) per date
    template : the cube the inputs came from: its grid and metadata are kept
    """
    y, x = cubes.spatial_dims(template)
    time = cubes.dim_of(template, cubes.TEMPORAL)
    band = cubes.dim_of(template, cubes.BANDS) or "bands"
    pixel, extent = extent_of(template)
    r = rules(sensor, scaled(params, sensor, pixel), mode)
    layers, metas = [], []
    for _, inputs, sun in dates:
        out, meta = run_date(inputs, r, sun, pixel)
        layers.append(out)
        metas.append(meta)
    stack = da.stack(layers) if any(isinstance(v, da.Array) for v in layers) else np.stack(layers)
    coords = {band: list(BANDS), y: template.coords[y], x: template.coords[x]}
    if time is not None:
        dims = [time, band, y, x]
        coords[time] = [label for label, _, _ in dates]
    else:
        dims, stack = [band, y, x], stack[0]
    result = cubes.cube(stack, dims, coords, kinds=cubes.kinds(template), nodata=FILL, band_info=dict(BAND_INFO))
    result = cubes.like(result, template, nodata=FILL, band_info=dict(BAND_INFO))
    result.attrs["lis"] = {
        "mode": mode,
        "sensor": sensor.id,
        "extent_used": extent,
        "dates": [None if label is None else str(label) for label, _, _ in dates],
        "per_date": metas,
    }
    return result


BAND_INFO: dict[str, dict[str, Any]] = {
    "SEB": {"description": "0 no snow, 100 snow, 205 cloud or cloud shadow, 255 no data"},
    "NDSI": {"description": "100 x NDSI where there is snow, else as SEB", "unit": "%"},
    "FSCTOC": {"description": "fractional snow cover seen from above, else as SEB", "unit": "%"},
    "FSCOG": {"description": "fractional snow cover on the ground under trees, else as SEB", "unit": "%"},
    "QCTOC": {"description": "quality of FSCTOC, 0 best to 3 worst, else as SEB"},
    "QCOG": {"description": "quality of FSCOG, 0 best to 3 worst, else as SEB"},
    "EXPERT": {
        "description": "bits: 1 pass 1, 2 pass 2, 4 cloud of pass 1, 8 refined cloud, 16 cloud, 32 slope, 64 ice"
    },
}


def extent_of(data: xr.DataArray) -> tuple[float, dict[str, Any]]:
    """Pixel size in metres and the extent whose pixels decide the snow line."""
    grid: GeoBox = cubes.geobox_of(data)
    if grid.crs is not None and not grid.crs.projected:
        raise parameter_invalid(
            "data", f"snow detection needs a projected grid in metres, not {grid.crs}; resample it."
        )
    box = grid.boundingbox
    return abs(float(grid.affine.a)), {"kind": "cube", "bbox": [float(v) for v in box.bbox], "crs": str(grid.crs)}


def snow_metadata(data: xr.DataArray) -> list[dict[str, Any]]:
    """Metadata per date of a cube of `lis_snow`: snow line, percentages, histogram, extent used, FSC law.

    Computes them where the cube is lazy (they need the first sweep over every pixel of the date).
    """
    about = data.attrs.get("lis")
    if about is None:
        raise parameter_invalid("data", "the cube is not a result of lis_snow.")
    (metas,) = dask.compute(about["per_date"])
    common = {k: about[k] for k in ("mode", "sensor", "extent_used")}
    return [{"date": label, **common, **meta} for label, meta in zip(about["dates"], metas)]
