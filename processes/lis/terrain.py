"""Elevation, tree cover and water of the archive on the grid of a scene.

Elevation is warped with a cubic spline. Voids of the source are written as 0 before in mode ``lis``, as let-it-snow prepares
its DEM, and filled from around them in mode ``plus``. Classes are taken by nearest neighbour. A scene is warped whole, so the
result does not depend on how it is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.fill import fillnodata
from rasterio.warp import reproject
from rasterio.windows import Window

from processes.env import Env
from processes.errors import ProcessError
from processes.extents import crop
from processes.load.items import Band, item_bands
from processes.load.read import read_window

MARGIN = 8  # source pixels around the target, so that the spline sees its neighbours
STRIP = 1024  # rows of the target worked on at once
REACH = 100  # source pixels from which a void is filled


def archive_bands(collection: str, name: str, geobox: GeoBox, env: Env) -> list[Band]:
    """Bands ``name`` of the items of a static collection that touch a grid; empty where there is none."""
    bbox = geobox.boundingbox.to_crs("EPSG:4326").bbox
    try:
        items = env.catalogue.search(collection, bbox=tuple(bbox))  # type: ignore[arg-type]
    except ProcessError as error:
        if error.code != "CollectionNotFound":
            raise
        return []
    return [bands[name] for i in items if name in (bands := item_bands(i))]


def find_dem(geobox: GeoBox, env: Env, collection: str = "DEM") -> list[Band]:
    """Elevation of the archive under a grid. Raises ``ProcessError('NoDataAvailable')`` where there is none."""
    found = archive_bands(collection, "DEM", geobox, env)
    if not found:
        west, south, east, north = (round(v, 3) for v in geobox.boundingbox.to_crs("EPSG:4326").bbox)
        raise ProcessError(
            "NoDataAvailable",
            f"Snow detection needs elevation, and collection '{collection}' has none within {west}, {south}, {east}, "
            f"{north}. Ingest a DEM that covers the scene, or pass one as parameter 'dem'.",
        )
    return found


def warp_dem(bands: Sequence[Band], geobox: GeoBox, *, fill_voids: bool = True) -> tuple[np.ndarray, float]:
    """Elevation on a grid: int16 metres, and the share of the grid that some source covers.

    Sources on one grid are joined before the warp, so there is no seam; of several grids the first that covers a
    pixel wins, finest first. ``fill_voids`` False leaves voids at 0. Worked off in strips of `STRIP` rows of the grid.
    """
    groups: dict[Any, list[Band]] = {}
    for band in sorted(bands, key=_metres):
        a = band.geobox.affine
        groups.setdefault((str(band.geobox.crs), round(a.a, 9), round(a.e, 9)), []).append(band)
    out = np.zeros(geobox.shape, np.int16)
    covered = 0
    for top in range(0, geobox.shape[0], STRIP):
        values, known = _dem_strip(
            list(groups.values()), geobox[top : min(top + STRIP, geobox.shape[0]), :], fill_voids
        )
        out[top : top + STRIP] = values
        covered += int(known.sum())
    return out, covered / out.size


def _dem_strip(groups: Sequence[list[Band]], geobox: GeoBox, fill_voids: bool) -> tuple[np.ndarray, np.ndarray]:
    """One strip of `warp_dem`: int16 metres, and where a source is."""
    out, covered = np.zeros(geobox.shape, np.float32), np.zeros(geobox.shape, bool)
    for members in groups:
        joined = _join(members, geobox, REACH if fill_voids else MARGIN)
        if joined is None:
            continue
        values, known, voids, transform = joined
        if fill_voids and voids.any():
            values = fillnodata(values, mask=~voids, max_search_distance=REACH)
        crs = str(members[0].geobox.crs)
        target = _warp(values, transform, crs, geobox, Resampling.cubic_spline)
        here = _warp(known, transform, crs, geobox, Resampling.nearest) > 0
        np.copyto(out, target, where=here & ~covered)
        covered |= here
        if covered.all():
            break
    return np.clip(np.rint(out), -32767, 32767).astype(np.int16), covered


def warp_class(bands: Sequence[Band], geobox: GeoBox, fill: int) -> np.ndarray:
    """A class raster on a grid by nearest neighbour: uint8, ``fill`` where no source is."""
    out = np.full(geobox.shape, fill, np.uint8)
    for band in bands:
        joined = _join([band], geobox)
        if joined is None:
            continue
        values, known, _, transform = joined
        crs = str(band.geobox.crs)
        here = _warp(known, transform, crs, geobox, Resampling.nearest) > 0
        np.copyto(
            out, _warp(values, transform, crs, geobox, Resampling.nearest).astype(np.uint8), where=here & (out == fill)
        )
    return out


def reproject_plane(values: np.ndarray, source: GeoBox, target: GeoBox, *, spline: bool) -> np.ndarray:
    """One plane (h, w) of any kind on another grid: float32, NaN outside (cubic spline or nearest)."""
    plain = np.asarray(values, np.float32)
    known = np.isfinite(plain)
    method = Resampling.cubic_spline if spline else Resampling.nearest
    crs = str(source.crs)
    out = _warp(np.where(known, plain, np.float32(0)), source.affine, crs, target, method)
    return np.where(_warp(known.astype(np.float32), source.affine, crs, target, Resampling.nearest) > 0, out, np.nan)


def _metres(band: Band) -> float:
    """Pixel size, about, in metres."""
    crs = band.geobox.crs
    return abs(band.geobox.affine.a) * (1.0 if crs is not None and crs.projected else 111e3)


def _warp(values: np.ndarray, transform: Affine, crs: str, target: GeoBox, method: Resampling) -> np.ndarray:
    out = np.zeros(target.shape, np.float32)
    reproject(
        values, out, src_transform=transform, src_crs=crs, dst_transform=target.affine, dst_crs=str(target.crs),
        resampling=method, num_threads=1, tolerance=0.01,
    )  # fmt: skip
    return out


def _join(
    bands: Sequence[Band], geobox: GeoBox, margin: int = MARGIN
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Affine] | None:
    """What bands of one grid hold under ``geobox``: values (float32, voids 0), 1 where a file is, the
    voids, transform."""
    parts: list[tuple[int, int, np.ndarray, Band]] = []
    first = bands[0].geobox.affine
    for band in bands:
        bounds = geobox.footprint(str(band.geobox.crs)).boundingbox.bbox
        inside = crop(band.geobox, bounds, margin)
        if inside is None:
            continue
        rows, cols = inside
        data = read_window(band, Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start))
        a = band.geobox.affine
        # place on the first band's lattice; files of one series are whole pixels apart
        row, col = round((a.f - first.f) / first.e) + rows.start, round((a.c - first.c) / first.a) + cols.start
        parts.append((row, col, data, band))
    if not parts:
        return None
    top, left = min(p[0] for p in parts), min(p[1] for p in parts)
    shape = max(p[0] + p[2].shape[0] for p in parts) - top, max(p[1] + p[2].shape[1] for p in parts) - left
    values, known = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    filled = np.zeros(shape, bool)
    for row, col, data, band in parts:
        where = np.s_[row - top : row - top + data.shape[0], col - left : col - left + data.shape[1]]
        valid = np.isfinite(data) if data.dtype.kind == "f" else np.ones(data.shape, bool)
        if band.nodata is not None:
            valid &= data != band.nodata
        physical = (data.astype(np.float32) + np.float32(band.offset_dn)) * np.float32(band.scale)
        values[where] = np.where(valid, physical, values[where])
        known[where] = 1
        filled[where] |= valid
    return values, known, (known > 0) & ~filled, first * Affine.translation(left, top)
