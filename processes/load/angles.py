"""Sun and view angles as pixels, interpolated from the 5 km grids in product metadata.

Directions are interpolated as vectors, never as azimuths: an azimuth jumps at north and turns by 180 degrees across
the nadir. View grids come per detector, with NaN outside its strip; strips are filled beyond their last node by a plane
fitted to (tan z sin a, tan z cos a), which are very nearly linear over a strip. Which detector saw a pixel is told by the
detector footprints beside the metadata (`processes.load.footprints`); where there are none, or none holds the pixel, the
detector further from its own edge is taken. Azimuths are clockwise from north, from the ground towards sun or sensor.

Sources (``tuile:source``): ``s2_tile`` (MTD_TL.xml), ``muscate`` (MTD_ALL.xml), ``landsat_mtl`` and ``take5`` (one sun
position per scene).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from xml.etree.ElementTree import Element

import numpy as np
from odc.geo.geobox import GeoBox

from processes.band_names import padded
from processes.errors import ProcessError
from processes.load.footprints import detectors
from processes.load.landsat_view import look
from processes.load.safexml import BadXml, number, parse, read_bytes, stamp, text, to_number

ANGLES = ("SZA", "SAA", "VZA", "VAA")
S2_BAND_IDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
EVERYWHERE = (-720.0, 720.0)  # origin of the "grid" of a scene-wide direction
MAX_NODES = 512  # per axis; a real grid has 23


@dataclass(frozen=True)
class Strip:
    """One detector: components (tan z sin a, tan z cos a) on the nodes, filled, and the distance of each node to the
    strip's edge in cells (0 outside)."""

    east: np.ndarray
    north: np.ndarray
    depth: np.ndarray
    detector: int = 0


@dataclass(frozen=True)
class AngleGrids:
    """Angle nodes of one product; ``origin`` is the position of the first node (upper left), ``step`` metres."""

    code: str
    origin: tuple[float, float]
    step: tuple[float, float]
    sun: np.ndarray | None  # (3, rows, cols): unit vector to the sun (east, north, up)
    view: Mapping[str, tuple[Strip, ...]]  # by band; "" is the mean over the bands


def read_angles(source: str, href: str, band: str, geobox: GeoBox) -> np.ndarray:
    """One angle on a pixel grid.

    Parameters
    ----------
    source : how the file is read, see the module
    href : metadata file; ``/vsizip/`` paths are followed
    band : ``SZA SAA VZA VAA``; ``VZA_B04`` is the view of one spectral band, ``VZA`` the mean over the bands of the
        detector that saw the pixel in the band `processes.load.footprints.REFERENCE`
    geobox : target grid, any CRS

    Returns
    -------
    float32 (rows, cols) of ``geobox``, degrees; NaN outside the detectors.

    Raises
    ------
    ProcessError
        ``StorageFailure`` when the file is gone or damaged or has no such angle.
    """
    name, _, spectral = band.partition("_")
    grids = _load(source, href, _stamp(href))
    if name in ("SZA", "SAA") and grids.sun is not None:
        east, north, up = _bilinear(grids, list(grids.sun), geobox)
        return _direction(name, east, north, up)
    strips = grids.view.get(spectral)
    if name in ("VZA", "VAA") and strips:
        seen = detectors(href, spectral, geobox, grids.code, grids.origin) if source in FOOTPRINTS else None
        east, north = _of_strips(grids, strips, geobox, seen)
        return _direction(name, east, north, np.ones_like(east))
    raise ProcessError("StorageFailure", f"{href} does not tell the angle {band}.", file=href)


def read_grids(source: str, href: str) -> AngleGrids:
    """All angle nodes of a product, held for the next call. Raises ``StorageFailure`` as `read_angles` does."""
    return _load(source, href, _stamp(href))


def _direction(name: str, east: np.ndarray, north: np.ndarray, up: np.ndarray) -> np.ndarray:
    if name.endswith("ZA"):
        return np.degrees(np.arctan2(np.hypot(east, north), up)).astype("f4")
    return (np.degrees(np.arctan2(east, north)) % 360).astype("f4")


def _of_strips(
    grids: AngleGrids, strips: Sequence[Strip], geobox: GeoBox, seen: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Components of the view; ``seen`` holds the detector of each pixel, 0 where it is not known."""
    shape = tuple(geobox.shape)
    east, north = np.full(shape, np.nan), np.full(shape, np.nan)
    best = np.zeros(shape)
    if seen is not None:
        for strip in strips:
            mine = seen == strip.detector
            if strip.detector and mine.any():
                e, n = _bilinear(grids, [strip.east, strip.north], geobox)
                east, north, best = np.where(mine, e, east), np.where(mine, n, north), np.where(mine, np.inf, best)
        if np.isinf(best).all():
            return east, north
    for strip in strips:
        (depth,) = _bilinear(grids, [strip.depth], geobox)
        wins = depth > best  # NaN outside the node grid compares false
        if not wins.any():
            continue
        e, n = _bilinear(grids, [strip.east, strip.north], geobox)
        east, north, best = np.where(wins, e, east), np.where(wins, n, north), np.where(wins, depth, best)
    return east, north


def _bilinear(grids: AngleGrids, layers: Sequence[np.ndarray], geobox: GeoBox) -> list[np.ndarray]:
    """Node layers at the pixel centres of ``geobox``; NaN beyond the outermost nodes."""
    if layers and layers[0].shape == (2, 2) and grids.origin == EVERYWHERE:  # one direction per scene
        return [np.full(tuple(geobox.shape), layer[0, 0]) for layer in layers]
    a = geobox.affine
    xs = a.c + (np.arange(geobox.shape[1]) + 0.5) * a.a
    ys = a.f + (np.arange(geobox.shape[0]) + 0.5) * a.e
    if str(geobox.crs) == grids.code and not (a.b or a.d):
        cols, rows = (xs - grids.origin[0]) / grids.step[0], (grids.origin[1] - ys) / grids.step[1]
        return [_separable(layer, rows, cols) for layer in layers]
    from scipy.ndimage import map_coordinates

    from processes.extents import transformer

    x, y = transformer(str(geobox.crs), grids.code).transform(*np.meshgrid(xs, ys))
    at = np.stack([(grids.origin[1] - y) / grids.step[1], (x - grids.origin[0]) / grids.step[0]])
    return [map_coordinates(layer, at, order=1, mode="constant", cval=np.nan) for layer in layers]


def _separable(layer: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Bilinear interpolation at the crossings of ``rows`` and ``cols`` (node units): two passes of vectors."""
    r, fr = _split(rows, layer.shape[0])
    c, fc = _split(cols, layer.shape[1])
    lines = layer[r] * (1 - fr)[:, None] + layer[r + 1] * fr[:, None]
    return lines[:, c] * (1 - fc) + lines[:, c + 1] * fc


def _split(at: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    low = np.clip(np.floor(at), 0, n - 2).astype(int)
    fraction = at - low
    return low, np.where((fraction < 0) | (fraction > 1), np.nan, fraction)


def _stamp(href: str) -> int:
    try:
        return stamp(href)
    except OSError as error:
        raise ProcessError("StorageFailure", f"{href} cannot be read: {error.strerror}.", file=href) from None


@lru_cache(maxsize=64)
def _load(source: str, href: str, stamp: int) -> AngleGrids:
    if source not in SOURCES:
        raise ProcessError("StorageFailure", f"'{source}' is no angle source; ingest {href} again.", file=href)
    try:
        return SOURCES[source](read_bytes(href))
    except (BadXml, OSError, ValueError) as error:
        raise ProcessError("StorageFailure", f"The angles of {href} cannot be read: {error}.", file=href) from None


def s2_tile(data: bytes) -> AngleGrids:
    """Grids of a Sentinel-2 MTD_TL.xml. Raises ValueError when it has none."""
    root = parse(data)
    geocoding = root.find(".//Tile_Geocoding")
    angles = root.find(".//Tile_Angles")
    if geocoding is None or angles is None:
        raise ValueError("it has no tile geometry")
    position = geocoding.find("Geoposition")
    code = text(geocoding, "HORIZONTAL_CS_CODE") or ""
    views = [
        (_s2_band(e.get("bandId")), e.get("detectorId") or "", e)
        for e in angles.findall("Viewing_Incidence_Angles_Grids")
    ]
    return _grids(code.upper(), position, angles.find("Sun_Angles_Grid"), views)


def _s2_band(band_id: str | None) -> str:
    return S2_BAND_IDS[int(band_id)] if band_id and band_id.isdigit() and int(band_id) < len(S2_BAND_IDS) else ""


def muscate(data: bytes) -> AngleGrids:
    """Grids of a MUSCATE MTD_ALL.xml; where it has none, the means over the scene. Raises ValueError when it has neither."""
    root = parse(data)
    geometry = root.find("Geometric_Informations")
    if geometry is None:
        raise ValueError("it has no angles")
    mean = _mean_view(geometry)
    listed = geometry.find("Angles_Grids_List")
    sun = listed.find("Sun_Angles_Grids") if listed is not None else None
    if listed is None or sun is None or sun.find("Zenith/Values_List/VALUES") is None:
        where = "Mean_Value_List/Sun_Angles/"
        return _constant(number(geometry, where + "ZENITH_ANGLE"), number(geometry, where + "AZIMUTH_ANGLE"), mean)
    code = text(root, ".//Horizontal_Coordinate_System/HORIZONTAL_CS_CODE") or ""
    views = [
        (padded(per_band.get("band_id") or ""), e.get("detector_id") or "", e)
        for per_band in listed.iter("Band_Viewing_Incidence_Angles_Grids_List")
        for e in per_band.findall("Viewing_Incidence_Angles_Grids")
    ]
    grids = _grids(f"EPSG:{code}", root.find(".//Group_Geopositioning"), sun, views)
    if grids.view or mean is None or grids.sun is None:
        return grids
    z, a = np.radians(mean)
    shape = grids.sun.shape[1:]
    east, north = np.full(shape, np.tan(z) * np.sin(a)), np.full(shape, np.tan(z) * np.cos(a))
    return replace(grids, view={"": (Strip(east, north, np.ones(shape)),)})


def _mean_view(geometry: Element) -> tuple[float, float] | None:
    """Mean zenith and azimuth over the bands, averaged as directions."""
    path = "Mean_Value_List/Mean_Viewing_Incidence_Angle_List/Mean_Viewing_Incidence_Angle"
    told = [(number(e, "ZENITH_ANGLE"), number(e, "AZIMUTH_ANGLE")) for e in geometry.findall(path)]
    known = np.radians([(z, a) for z, a in told if z is not None and a is not None and 0 <= z < 90])
    if not len(known):
        return None
    east, north = (np.mean(np.tan(known[:, 0]) * f(known[:, 1])) for f in (np.sin, np.cos))
    return float(np.degrees(np.arctan(np.hypot(east, north)))), float(np.degrees(np.arctan2(east, north)))


def _grids(
    code: str, position: Element | None, sun: Element | None, views: Sequence[tuple[str, str, Element]]
) -> AngleGrids:
    ulx, uly = (number(position, tag) if position is not None else None for tag in ("ULX", "ULY"))
    if ulx is None or uly is None or not re.fullmatch(r"EPSG:\d+", code):
        raise ValueError("the position of its angle grids is not told")
    first = sun if sun is not None else views[0][2] if views else None
    if first is None:
        raise ValueError("it has no angle grids")
    step = tuple(number(first, f"Zenith/{tag}") or 0 for tag in ("COL_STEP", "ROW_STEP"))
    if min(step) <= 0:
        raise ValueError("the step of its angle grids is not told")
    to_sun = None
    if sun is not None:
        zenith, azimuth = (np.radians(values(sun, n)) for n in ("Zenith", "Azimuth"))
        to_sun = np.stack([np.sin(zenith) * np.sin(azimuth), np.sin(zenith) * np.cos(azimuth), np.cos(zenith)])
    return AngleGrids(code, (ulx, uly), (step[0], step[1]), to_sun, _strips(views))


def values(element: Element, name: str) -> np.ndarray:
    """A grid of numbers (rows, cols), NaN allowed. Raises ValueError for ragged or absent rows."""
    rows = [(row.text or "").split() for row in element.findall(f"{name}/Values_List/VALUES")]
    if len(rows) < 2 or len({len(r) for r in rows}) != 1 or not 2 <= len(rows[0]) <= MAX_NODES or len(rows) > MAX_NODES:
        raise ValueError(f"the grid of {name.lower()} angles is incomplete")
    return np.array(rows, dtype=float)


def _strips(views: Sequence[tuple[str, str, Element]]) -> dict[str, tuple[Strip, ...]]:
    by_band: dict[str, dict[str, Strip]] = {}
    for band, detector, element in views:
        if not number(element, "Zenith/COL_STEP"):
            continue  # a tile without data carries placeholders of step 0
        zenith, azimuth = (np.radians(values(element, n)) for n in ("Zenith", "Azimuth"))
        strip = make_strip(np.tan(zenith) * np.sin(azimuth), np.tan(zenith) * np.cos(azimuth))
        if strip is not None:
            number_ = int(detector) if detector.isdecimal() and len(detector) <= 2 else 0
            by_band.setdefault(band, {})[detector] = replace(strip, detector=number_)
    out = {band: tuple(per.values()) for band, per in by_band.items()}
    detectors = sorted({d for per in by_band.values() for d in per})
    mean = tuple(_mean([per[d] for per in by_band.values() if d in per]) for d in detectors)
    return {**out, "": mean} if mean else out


def make_strip(east: np.ndarray, north: np.ndarray) -> Strip | None:
    """A strip from components with NaN outside it; None where it holds no node."""
    inside = np.isfinite(east) & np.isfinite(north)
    if not inside.any():
        return None
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(inside) if not inside.all() else np.full(inside.shape, float(max(inside.shape)))
    return Strip(_filled(east, inside), _filled(north, inside), depth)


def _filled(layer: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """NaN nodes from the least-squares plane through the others (their mean where there are too few)."""
    r, c = np.nonzero(inside)
    known = layer[inside]
    if len(known) < 3 or len(set(r)) < 2 or len(set(c)) < 2:
        return np.where(inside, layer, known.mean())
    design = np.stack([np.ones(len(r)), r, c], axis=1)
    k, *_ = np.linalg.lstsq(design, known, rcond=None)
    rows, cols = np.indices(layer.shape)
    return np.where(inside, layer, k[0] + k[1] * rows + k[2] * cols)


def _mean(strips: Sequence[Strip]) -> Strip:
    """The strip of one detector in the mean of several bands."""
    east, north = (np.mean([getattr(s, f) for s in strips], axis=0) for f in ("east", "north"))
    return Strip(east, north, np.max([s.depth for s in strips], axis=0), strips[0].detector)


def _constant(zenith: float | None, azimuth: float | None, view: tuple[float, float] | None = None) -> AngleGrids:
    """One direction for the whole scene, as two by two nodes."""
    if zenith is None or azimuth is None or not 0 <= zenith <= 90:
        raise ValueError("the sun's position is not told")
    z, a = np.radians([zenith, azimuth])
    sun = np.stack([np.full((2, 2), v) for v in (np.sin(z) * np.sin(a), np.sin(z) * np.cos(a), np.cos(z))])
    strips: dict[str, tuple[Strip, ...]] = {}
    if view is not None:
        vz, va = np.radians(view)
        east, north = np.tan(vz) * np.sin(va), np.tan(vz) * np.cos(va)
        strips[""] = (Strip(np.full((2, 2), east), np.full((2, 2), north), np.ones((2, 2))),)
    return AngleGrids("EPSG:4326", EVERYWHERE, (1440.0, 1440.0), sun, strips)


def landsat_mtl(data: bytes) -> AngleGrids:
    """Scene-wide sun of a Landsat MTL.txt, and its view as the swath tells it (`landsat_view.look`). Raises ValueError."""
    told = dict(re.findall(r"^\s*(\w+)\s*=\s*\"?([^\"\r\n]*?)\"?\s*$", data.decode("latin-1"), re.MULTILINE))
    elevation, azimuth = (to_number(told.get(k)) for k in ("SUN_ELEVATION", "SUN_AZIMUTH"))
    if elevation is None or azimuth is None:
        raise ValueError("the sun's position is not told")
    grids = _constant(90 - elevation, azimuth)
    seen = look(told)
    if seen is None or grids.sun is None:
        return grids
    sun = np.broadcast_to(grids.sun[:, :1, :1], (3, *seen.east.shape))
    strip = Strip(seen.east, seen.north, np.ones_like(seen.east))
    return AngleGrids(seen.code, seen.origin, (seen.step, seen.step), sun, {"": (strip,)})


def take5(data: bytes) -> AngleGrids:
    """Scene-wide sun and view of a Theia N2A header (SPOT Take5, Landsat-8). Raises ValueError."""
    angles = parse(data).find("RADIOMETRY/ANGLES")
    if angles is None:
        raise ValueError("it has no angles")
    sun_z, sun_a, view_z, view_a = (number(angles, t) for t in ("THETA_S", "PHI_S", "THETA_V", "PHI_V"))
    view = (view_z, view_a) if view_z is not None and view_a is not None else None
    return _constant(sun_z, sun_a, view)


FOOTPRINTS = ("s2_tile",)  # sources with detector footprints beside them
SOURCES: dict[str, Callable[[bytes], AngleGrids]] = {
    "s2_tile": s2_tile,
    "muscate": muscate,
    "landsat_mtl": landsat_mtl,
    "take5": take5,
}
