"""Quality masks that are polygons: the GML files of Sentinel-2 before processing baseline 04.00, drawn when they are read.

A window of such a mask is a window of the raster it would be on the grid of its band: a pixel belongs to a polygon that
holds its centre. Stored numbers are detector numbers for detector footprints (``MSK_DETFOO``), else one bit per kind of
feature (`BITS`), so that the rules of ``tuile:decode`` apply as to any raster.

Format: ESA, Sentinel-2 Products Specification Document, annex on GML masks (OGC 06-080, eop:Mask).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from xml.etree.ElementTree import Element

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from processes.errors import ProcessError
from processes.load.safexml import BadXml, parse, read_bytes, stamp

SOURCE = "gml"
FOOTPRINT = "DETECTOR_FOOTPRINT"
# beginning of eop:maskType -> bit value
BITS = {
    "OPAQUE": 1, "CIRRUS": 2, "QT_SATURATED": 4, "QT_DEFECTIVE": 8, "QT_NODATA": 16,
    "QT_PARTIALLY_CORRECTED": 32, "MSI_LOST": 64, "MSI_DEG": 128,
}  # fmt: skip
MAX_POSITIONS = 20_000_000  # numbers in all rings of one file


@dataclass(frozen=True)
class Feature:
    """Polygons that share a number to draw; rings (n, 2) in the mask's CRS, the first of each polygon is the outer."""

    value: int
    footprint: bool
    polygons: tuple[tuple[np.ndarray, ...], ...]
    bounds: tuple[float, float, float, float]


@dataclass(frozen=True)
class Mask:
    """Features of one file; ``code`` is None where the file does not tell its CRS (a mask without features)."""

    code: str | None
    features: tuple[Feature, ...]


def parse_mask(data: bytes) -> Mask:
    """Features of a GML mask. Raises ValueError (`BadXml` is one) for what is none."""
    root = parse(data)
    if root.tag != "Mask":
        raise ValueError(f"it is no mask but {root.tag}")
    code, dimension = None, None
    for envelope in root.iter("Envelope"):
        found = re.search(r"EPSG:(?:[\d.]*:)?(\d{4,5})$|/EPSG/[\d.]+/(\d{4,5})$", envelope.get("srsName") or "")
        code = f"EPSG:{found[1] or found[2]}" if found else code
        dimension = envelope.get("srsDimension") or dimension
    features, budget = [], MAX_POSITIONS
    for element in root.iter("MaskFeature"):
        made = _feature(element, dimension)
        if made is not None:
            budget -= sum(2 * len(ring) for polygon in made.polygons for ring in polygon)
            features.append(made)
        if budget < 0:
            raise ValueError(f"it has more than {MAX_POSITIONS} positions")
    return Mask(code, tuple(features))


def _feature(element: Element, dimension: str | None) -> Feature | None:
    kind = next((e.text or "" for e in element.iter("maskType")), "").strip().upper()
    name = next((v for k, v in element.attrib.items() if k.rpartition("}")[2] == "id"), "")
    if kind == FOOTPRINT:
        detector = re.search(r"B\w\w-(\d{1,2})(?:-\d+)?$", name)
        value = int(detector[1]) if detector else 0
    else:
        value = next((bit for start, bit in BITS.items() if kind.startswith(start)), 0)
    if not value:
        return None  # lost ancillary data and the like: nothing here shows them
    polygons = []
    for polygon in element.iter("Polygon"):
        outer = [_ring(r, dimension) for e in polygon.findall("exterior") for r in e.iter("LinearRing")]
        inner = [_ring(r, dimension) for e in polygon.findall("interior") for r in e.iter("LinearRing")]
        if outer and len(outer[0]) >= 3:
            polygons.append((outer[0], *(r for r in inner if len(r) >= 3)))
    if not polygons:
        return None
    corners = np.concatenate([p[0] for p in polygons])
    (west, south), (east, north) = corners.min(axis=0), corners.max(axis=0)
    return Feature(value, kind == FOOTPRINT, tuple(polygons), (west, south, east, north))


def _ring(ring: Element, dimension: str | None) -> np.ndarray:
    """Positions (n, 2) of a ring; heights are dropped."""
    listed = ring.find("posList")
    if listed is not None:
        told = listed.get("srsDimension") or dimension
        numbers = np.array((listed.text or "").split(), float)
        size = int(told) if told in ("2", "3") else 2
    else:
        rows = [(e.text or "").split() for e in ring.iter("pos")]
        size = len(rows[0]) if rows else 2
        numbers = np.array([v for row in rows for v in row], float)
    if size < 2 or numbers.size % size or not np.isfinite(numbers).all():
        raise ValueError("the positions of a polygon are incomplete")
    return numbers.reshape(-1, size)[:, :2]


@lru_cache(maxsize=128)
def _load(href: str, mark: int) -> Mask:
    try:
        return parse_mask(read_bytes(href))
    except (BadXml, OSError, ValueError) as error:
        raise ProcessError("StorageFailure", f"The mask {href} cannot be read: {error}.", file=href) from None


def draw(href: str, grid: GeoBox) -> np.ndarray:
    """The mask on a grid: uint8 (rows, cols), 0 where no feature is.

    Of overlapping detector footprints the later in the file wins; bits of overlapping features add up.

    Raises
    ------
    ProcessError
        ``StorageFailure`` when the file is gone or damaged, or in another CRS than the grid.
    """
    try:
        mask = _load(href, stamp(href))
    except OSError as error:
        raise ProcessError("StorageFailure", f"{href} cannot be read: {error.strerror}.", file=href) from None
    out = np.zeros(grid.shape, "u1")
    if not mask.features:
        return out
    if mask.code is not None and mask.code != str(grid.crs).upper():
        raise ProcessError("StorageFailure", f"The mask {href} is in {mask.code}, its band in {grid.crs}.", file=href)
    box = grid.boundingbox
    near = [f for f in mask.features if f.bounds[0] < box.right and f.bounds[2] > box.left and f.bounds[1] < box.top and f.bounds[3] > box.bottom]  # fmt: skip
    footprints = [(_geometry(p), f.value) for f in near if f.footprint for p in f.polygons]
    if footprints:
        _burn(out, footprints, grid.affine)
    for value in sorted({f.value for f in near if not f.footprint}):
        layer = np.zeros_like(out)
        _burn(layer, [(_geometry(p), value) for f in near if f.value == value and not f.footprint for p in f.polygons], grid.affine)  # fmt: skip
        out |= layer
    return out


def _geometry(rings: tuple[np.ndarray, ...]) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": [r.tolist() if (r[0] == r[-1]).all() else [*r.tolist(), r[0].tolist()] for r in rings]}  # fmt: skip


def _burn(out: np.ndarray, shapes: list[tuple[dict[str, object], int]], transform: Affine) -> None:
    rasterize(shapes, out=out, transform=transform)
