"""The grid of a raster file, its footprint, and whether the file is whole."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.errors import RasterioError
from shapely.geometry import MultiPolygon, Polygon, box, mapping
from shapely.geometry.base import BaseGeometry

from backend.catalogue.reader import Rejected

# GDAL writes an index beside gzipped files unless told not to: an archive is never written to
OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO"}
SEGMENTS = 8  # points per side of a footprint: the curve of a 110 km UTM side is followed within 10 m
logging.getLogger("tifffile").setLevel(
    logging.CRITICAL
)  # what is wrong with a file is told in the rejection; imported late


@dataclass(frozen=True)
class Grid:
    """Grid and storage of one raster file. ``transform`` has six numbers, north-up."""

    shape: tuple[int, int]
    transform: tuple[float, float, float, float, float, float]
    code: str
    count: int
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    descriptions: tuple[str | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in the grid's CRS."""
        a, _, c, _, e, f = self.transform
        return c, f + e * self.shape[0], c + a * self.shape[1], f

    @property
    def resolution(self) -> float:
        return abs(self.transform[0])

    def fields(self) -> dict[str, Any]:
        """STAC projection fields of an asset."""
        return {"proj:code": self.code, "proj:shape": list(self.shape), "proj:transform": list(self.transform)}


def probe(product: Path | str, href: str, *, check: bool = True) -> Grid:
    """Open a raster and tell its grid; no pixel is decoded.

    Parameters
    ----------
    product : path named in a rejection
    href : what GDAL opens
    check : refuse a local file that is shorter than its own index says (a copy that stopped half-way)

    Raises
    ------
    Rejected
        Not a raster, not georeferenced, not north-up, truncated.
    """
    name = href.rsplit("/", 1)[-1]
    try:
        # Product files are complete in themselves; looking for side files costs a directory listing per raster
        with rasterio.Env(**OPTIONS), rasterio.open(href) as src:
            if src.crs is None:
                raise Rejected(product, f"{name} has no coordinate reference system")
            t = src.transform
            if t.b or t.d or t.a <= 0 or t.e >= 0:
                raise Rejected(product, f"{name} is not a north-up grid")
            grid = Grid(
                (src.height, src.width),
                (t.a, 0.0, t.c, 0.0, t.e, t.f),
                _code(product, name, src.crs),
                src.count,
                tuple(src.dtypes),
                tuple(src.nodatavals),
                tuple(src.descriptions),
                tuple(src.scales),
                tuple(src.offsets),
                tuple(sorted(src.tags().items())),
            )
    except RasterioError as error:
        raise Rejected(product, f"{name} cannot be opened: {str(error).splitlines()[0][:200]}") from None
    if check and not href.startswith("/vsi") and (reason := truncated(Path(href))):
        raise Rejected(product, f"{name} is incomplete: {reason}")
    return grid


def _code(product: Path | str, name: str, crs: Any) -> str:
    epsg = crs.to_epsg()
    if epsg:
        return f"EPSG:{epsg}"
    authority = crs.to_authority()
    if not authority:
        raise Rejected(product, f"the coordinate reference system of {name} has no authority code (EPSG)")
    return ":".join(authority)


def truncated(path: Path) -> str | None:
    """Why a GeoTIFF or JPEG 2000 file is shorter than it should be; None where nothing is missing."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(12)
        if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _truncated_tiff(path, size)
        if head[4:8] == b"jP  ":
            return _truncated_jp2(stream, size)
    return None


def _truncated_tiff(path: Path, size: int) -> str | None:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            for page in tif.pages:
                ends = (o + n for o, n in zip(page.dataoffsets, page.databytecounts) if n)
                if (end := max(ends, default=0)) > size:
                    return f"{size} bytes, its index needs {end}"
    except (tifffile.TiffFileError, ValueError, IndexError, KeyError, struct.error, AttributeError) as error:
        return f"its index is damaged ({str(error)[:120]})"
    return None


def _truncated_jp2(stream: Any, size: int) -> str | None:
    """Walk the boxes (ISO 15444-1 annex I); the codestream ends with the marker EOC, FFD9."""
    at = 0
    while at + 8 <= size:
        stream.seek(at)
        length, kind = struct.unpack(">I4s", stream.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", stream.read(8).ljust(8, b"\0"))
        length = size - at if length == 0 else length
        if length < 8 or at + length > size:
            return f"{size} bytes, its boxes need {at + length}"
        if kind == b"jp2c":
            stream.seek(at + length - 2)
            return None if stream.read(2) == b"\xff\xd9" else "its codestream has no end marker"
        at += length
    return "it has no codestream"


@lru_cache(maxsize=256)
def _to_lonlat(code: str) -> Transformer:
    return Transformer.from_crs(code, "EPSG:4326", always_xy=True)


def footprint(
    code: str, bounds: tuple[float, float, float, float]
) -> tuple[dict[str, Any], tuple[float, float, float, float]]:
    """Geometry and bounding box in EPSG:4326 of a rectangle in ``code``.

    Across the antimeridian the geometry is a MultiPolygon and the box has west > east (RFC 7946).
    """
    left, bottom, right, top = bounds
    s = np.linspace(0, 1, SEGMENTS, endpoint=False)
    x = np.concatenate(
        [left + (right - left) * s, np.full(SEGMENTS, right), right + (left - right) * s, np.full(SEGMENTS, left)]
    )
    y = np.concatenate(
        [np.full(SEGMENTS, bottom), bottom + (top - bottom) * s, np.full(SEGMENTS, top), top + (bottom - top) * s]
    )
    lon, lat = _to_lonlat(code).transform(x, y)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise ValueError(f"{bounds} lies outside the area of {code}")
    return fold(Polygon(zip(np.round(_unwrap(lon), 7), np.round(lat, 7))))


def _unwrap(lon: np.ndarray) -> np.ndarray:
    """Longitudes made continuous: a ring that jumps by more than 180 degrees crosses the antimeridian."""
    if lon.max() - lon.min() <= 180:
        return lon
    return np.where(lon < 0, lon + 360, lon)


def fold(shape: BaseGeometry) -> tuple[dict[str, Any], tuple[float, float, float, float]]:
    """Geometry and box of a shape whose longitudes may run past 180."""
    west, south, east, north = shape.bounds
    if east <= 180:
        return mapping(shape), (west, south, east, north)
    parts: list[Polygon] = []
    for window, shift in ((box(-180, -90, 180, 90), 0), (box(180, -90, 540, 90), -360)):
        piece = shape.intersection(window)
        for polygon in getattr(piece, "geoms", [piece]):
            if isinstance(polygon, Polygon) and not polygon.is_empty:
                parts.append(Polygon([(px + shift, py) for px, py in polygon.exterior.coords]))
    return mapping(MultiPolygon(parts)), (west, south, east - 360, north)


def union_bounds(grids: Iterable[Grid]) -> tuple[str, tuple[float, float, float, float]]:
    """CRS and common bounds of the grids that share the first one's CRS."""
    listed = list(grids)
    same = [g.bounds for g in listed if g.code == listed[0].code]
    west, south, east, north = zip(*same)
    return listed[0].code, (min(west), min(south), max(east), max(north))
