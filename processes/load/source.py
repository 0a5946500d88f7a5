"""A raster source: which items and bands fill a (t, bands, y, x) cube on one grid, and in which blocks.

`RasterSource` is plain data: it travels to workers inside the graph; `processes.load.read` turns a block location and
a source into numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pystac
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from processes import blocks, cube
from processes.demand import Demand
from processes.env import Limits
from processes.errors import ProcessError
from processes.extents import EDGE, box_in, crop
from processes.load.items import Band

# What a block costs in memory while it is worked on, relative to its own float32 bytes: the block, what the callback
# makes of it, and the decoder's buffers.
WORKING_FACTOR = 3
BLOCK = 512
CACHED = 32 << 20  # bytes of a block, measured: twice that takes a tenth more CPU in monthly means and composites


@dataclass(frozen=True)
class Slice:
    """One label along t: the items of one pass, in the order in which their pixels win."""

    label: np.datetime64
    items: tuple[tuple[str, ...], ...]  # item ids per band name, for provenance
    bands: tuple[tuple[Band, ...], ...]  # per requested band: its source in each item that has it


@dataclass(frozen=True)
class RasterSource:
    slices: tuple[Slice, ...]
    names: tuple[str, ...]
    geobox: GeoBox
    dtype: np.dtype
    fill: float
    skip_unreadable: bool = False
    overviews: bool = False  # pixels are only looked at: a file's overviews may stand for them

    @property
    def nodata(self) -> float | None:
        return None if self.dtype.kind == "f" else self.fill


def time_slices(items: Sequence[pystac.Item], bands: dict[str, dict[str, Band]], names: Sequence[str]) -> list[Slice]:
    """Group items into slices: one per platform and datatake, labelled with the earliest instant in it."""
    groups: dict[Any, list[pystac.Item]] = {}
    for item in sorted(items, key=lambda i: (instant_of(i), i.id)):
        take = item.properties.get("tuile:datatake")
        groups.setdefault((item.properties.get("platform"), take) if take else item.id, []).append(item)
    labelled: dict[np.datetime64, list[pystac.Item]] = {}
    for members in groups.values():
        labelled.setdefault(min(instant_of(i) for i in members), []).extend(members)
    out = []
    for label, members in sorted(labelled.items(), key=lambda pair: pair[0]):
        sources = tuple(tuple(bands[i.id][n] for i in members if n in bands[i.id]) for n in names)
        out.append(Slice(label, tuple((i.id,) for i in members), sources))
    return out


def instant_of(item: pystac.Item) -> np.datetime64:
    """Acquisition instant (UTC) of an item; 1970-01-01 for an item without one (static rasters)."""
    when = item.datetime or item.common_metadata.start_datetime
    if when is None:
        return np.datetime64("1970-01-01", "ns")
    return np.datetime64(when.replace(tzinfo=None), "ns")


def choose_grid(
    items: Sequence[pystac.Item],
    bands: Sequence[Band],
    box: Any,
    limit: tuple[float, ...] | None,
) -> GeoBox:
    """The grid of a load: CRS holding most of the extent, finest band's resolution, its origin as anchor.

    ``box`` (a `Box` or None) selects the pixels whose centre is inside; without it the grid covers all sources.
    ``limit`` (west, south, east, north in EPSG:4326) is what the collection covers at all: a box reaching beyond it
    is cut there, so that asking for the whole world is not the whole world in pixels.
    """
    target = _main_crs(items, bands, box)
    here = [b.geobox for b in bands if b.geobox.crs == _crs(target)] or [bands[0].geobox.to_crs(target)]
    finest = min(here, key=lambda g: (abs(g.affine.a), g.affine.c, -g.affine.f))
    a = finest.affine
    if box is None:
        boxes = [g.boundingbox for g in here] + [
            b.geobox.boundingbox.to_crs(target) for b in bands if b.geobox.crs != _crs(target)
        ]
        bounds = (
            min(b.left for b in boxes),
            min(b.bottom for b in boxes),
            max(b.right for b in boxes),
            max(b.top for b in boxes),
        )
    else:
        bounds = box_in(box, target)
        if limit is not None:
            covered = box_in((*limit, "EPSG:4326"), target)  # type: ignore[arg-type]
            # what a collection covers follows its footprints: rasters reach beyond them, with nodata, and are not cut
            for own in {id(g): g.boundingbox for g in here}.values():
                covered = (
                    min(covered[0], own.left), min(covered[1], own.bottom), max(covered[2], own.right), max(covered[3], own.top),
                )  # fmt: skip
            bounds = (
                max(bounds[0], covered[0]),
                max(bounds[1], covered[1]),
                min(bounds[2], covered[2]),
                min(bounds[3], covered[3]),
            )
    # a generous grid on the anchor, then the rule "centre inside" on it
    c0, r0 = np.floor((bounds[0] - a.c) / a.a) - 1, np.floor((bounds[3] - a.f) / a.e) - 1
    c1, r1 = np.ceil((bounds[2] - a.c) / a.a) + 1, np.ceil((bounds[1] - a.f) / a.e) + 1
    wide = GeoBox((int(max(r1 - r0, 1)), int(max(c1 - c0, 1))), a @ Affine.translation(c0, r0), finest.crs)
    inside = crop(wide, bounds)
    if inside is None:
        raise ProcessError("NoDataAvailable", "The spatial extent asked for holds no pixel of the collection.")
    return wide[inside]


def _crs(name: str) -> Any:
    from odc.geo.crs import norm_crs

    return norm_crs(name)


def _main_crs(items: Sequence[pystac.Item], bands: Sequence[Band], box: Any) -> str:
    from shapely.geometry import box as rectangle
    from shapely.geometry import shape
    from shapely.ops import unary_union

    of_item = {b.item: str(b.geobox.crs) for b in bands}
    names = sorted(set(of_item.values()))
    if len(names) == 1:
        return names[0]
    area = None
    if box is not None:
        w, s, e, n = box_in(box, "EPSG:4326")
        area = rectangle(w, s, e, n)
    shares = {}
    for name in names:
        footprint = unary_union(
            [shape(i.geometry).buffer(0) for i in items if of_item.get(i.id) == name and i.geometry]
        )
        shares[name] = (footprint.intersection(area) if area is not None else footprint).area
    return max(names, key=lambda n: (round(shares[n], 12), -names.index(n)))


def layout(source: RasterSource, demand: Demand, limits: Limits) -> tuple[tuple[int, ...], ...]:
    """Chunks (t, bands, y, x): spatial blocks along the file's own block edges, within the memory of a thread.

    When a block is too dear, time is split first, then bands, unless a consumer wants them whole; then rows. Bands are
    split as well where a block would be larger than what the processor's cache serves (`CACHED`).
    """
    n_t, n_b = len(source.slices), len(source.names)
    rows, cols = _file_block(source)
    budget = max(limits.memory * 0.6 / max(limits.threads, 1), 1 << 20)
    per_pixel = source.dtype.itemsize * WORKING_FACTOR
    whole_t, whole_b = ({"t", "*"} & demand.whole), ({"bands", "*"} & demand.whole)
    t, b = n_t, n_b
    while t * b * rows * cols * per_pixel > budget:
        if t > 1 and not whole_t:
            t = -(-t // 2)
        elif b > 1 and not whole_b:
            b = -(-b // 2)
        elif rows > 16:
            rows //= 2
        elif cols > 64:
            cols //= 2
        else:
            break
    while b > 1 and not whole_b and t * b * rows * cols * source.dtype.itemsize > CACHED:
        b = -(-b // 2)
    row0, col0 = _phase(source, rows, cols)
    height, width = source.geobox.shape
    return _even(n_t, t), _even(n_b, b), _edges(height, rows, row0), _edges(width, cols, col0)


def _even(n: int, step: int) -> tuple[int, ...]:
    return tuple(min(step, n - i) for i in range(0, n, step))


def _edges(n: int, step: int, first: int) -> tuple[int, ...]:
    """Chunk sizes over n pixels with edges at ``first`` (mod step)."""
    cuts = sorted({0, n, *range(first % step, n, step)})
    return tuple(int(b - a) for a, b in pairwise(cuts))


def _reference(source: RasterSource) -> Band:
    """A band on the source's own finest grid: its file's blocks shape the chunks."""
    bands = [b for s in source.slices for per in s.bands for b in per]
    same = [b for b in bands if b.geobox.crs == source.geobox.crs and b.source is None]
    return min(same or bands, key=lambda b: abs(b.geobox.affine.a))


def _file_block(source: RasterSource) -> tuple[int, int]:
    from processes.load.read import block_shape

    reference = _reference(source)
    height, width = block_shape(reference)
    full_width = source.geobox.shape[1]
    if width >= reference.geobox.shape[1] and height < 64:  # strips: whole-width rows are what the file gives cheaply
        rows = max(height, (2 * BLOCK * BLOCK // max(full_width, 1)) // height * height)
        return min(rows, 4 * BLOCK), full_width
    return height * max(1, BLOCK // height), width * max(1, BLOCK // width)


def _phase(source: RasterSource, rows: int, cols: int) -> tuple[int, int]:
    """Where the file's first block edge falls inside the cube, in pixels."""
    reference = _reference(source)
    if reference.geobox.crs != source.geobox.crs:
        return 0, 0
    a, f = source.geobox.affine, reference.geobox.affine
    return round((f.f - a.f) / a.e) % rows, round((f.c - a.c) / a.a) % cols


def to_cube(source: RasterSource, demand: Demand, limits: Limits, *, derived_from: Sequence[str]) -> xr.DataArray:
    """The lazy cube of a source: dims ``t, bands, y, x``, one task per block."""
    from processes.load.read import read_block

    chunks = layout(source, demand, limits)
    shape = (len(source.slices), len(source.names), *source.geobox.shape)
    values = blocks.from_blocks(read_block, shape, chunks, source.dtype, source)
    ys, xs = cube.spatial_coords(source.geobox)
    first = {n: per[0] for s in source.slices for n, per in zip(source.names, s.bands) if per}
    out = cube.cube(
        values, ("t", "bands", "y", "x"),
        {"t": np.array([s.label for s in source.slices], "M8[ns]"), "bands": list(source.names), "y": ys, "x": xs},
        crs=source.geobox.crs, nodata=source.nodata, derived_from=derived_from, band_info=band_info(first),
    )  # fmt: skip
    if any(s.label > np.datetime64(0, "ns") for s in source.slices):  # when it was seen, also after time is reduced
        out.attrs["interval"] = [f"{source.slices[k].label.astype('M8[ms]')}Z" for k in (0, -1)]
    for name, info in out.attrs.get("band_info", {}).items():
        if orders := _bit_orders(source, name):
            info["bit_order"] = orders.pop() if len(orders) == 1 else "mixed"
    out.attrs["resolution"] = float(abs(source.geobox.affine.a))  # a cube of one pixel has nothing else to tell it
    return out


def _bit_orders(source: RasterSource, name: str) -> set[str]:
    """Bit orders of the files of a band, over all dates; empty where there is none to tell."""
    at = source.names.index(name)
    return {b.bit_order for s in source.slices for b in s.bands[at] if b.bit_order}


def band_info(bands: Mapping[str, Band]) -> dict[str, dict[str, Any]]:
    """``band_info`` of a cube with these bands."""
    told = {n: {"common_name": b.common_name, "wavelength": b.wavelength, "kind": b.kind} for n, b in bands.items()}
    return {n: {k: v for k, v in info.items() if v is not None} for n, info in told.items()}


def make_source(
    slices: Sequence[Slice],
    names: Sequence[str],
    geobox: GeoBox,
    *,
    skip_unreadable: bool = False,
    overviews: bool = False,
) -> RasterSource:
    """A source from slices: floats with NaN (float64 if a band is) unless every band is a class or mask, then their
    integer type."""
    bands = [b for s in slices for per in s.bands for b in per]
    if not bands or not all(b.integer for b in bands):
        floating = np.dtype("f8" if any(b.kind == "double" for b in bands) else "f4")
        return RasterSource(tuple(slices), tuple(names), geobox, floating, float("nan"), skip_unreadable, overviews)
    dtype = np.result_type(*{b.out_dtype for b in bands})
    fills = {b.fill for b in bands}
    fill = fills.pop() if len(fills) == 1 else 255
    return RasterSource(tuple(slices), tuple(names), geobox, dtype, fill, skip_unreadable, overviews)


def aligned(source: GeoBox, target: GeoBox) -> bool:
    """True where the two grids have the same CRS and step and are a whole number of pixels apart."""
    if source.crs != target.crs:
        return False
    a, b = source.affine, target.affine
    if abs(a.a - b.a) > EDGE * abs(b.a) or abs(a.e - b.e) > EDGE * abs(b.e) or a.b or a.d:
        return False
    dx, dy = (b.c - a.c) / a.a, (b.f - a.f) / a.e
    return abs(dx - round(dx)) < 1e-3 and abs(dy - round(dy)) < 1e-3
