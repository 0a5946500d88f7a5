"""What one acquisition brings to a synthesis: where its bands and masks lie, and how they are read onto a grid."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pystac
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from processes.env import Env
from processes.errors import ProcessError
from processes.load import kept
from processes.load.angles import read_grids
from processes.load.guard import open_checked
from processes.load.items import Band, item_bands
from processes.load.read import decode
from processes.wasp.angle_grids import NodeAngles
from processes.wasp.composite import NODATA

# bits of the MUSCATE masks
CLM_ANY, MG2_WATER, MG2_SNOW = 1, 1, 4
SENTINEL2_BANDS = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
VENUS_BANDS = tuple(f"B{n:02d}" for n in range(1, 13))
# OLI band that stands for a Sentinel-2 band
OLI_AS_SENTINEL2 = {"B02": "B02", "B03": "B03", "B04": "B04", "B8A": "B05", "B11": "B06", "B12": "B07"}


@dataclass(frozen=True)
class Sensor:
    """How a family of sensors takes part: output bands, which hold blue and near infrared, weight, own name of each output band."""

    name: str
    bands: tuple[str, ...]
    blue: str
    nir: str
    weight: float
    own: Mapping[str, str]
    directional: bool


SENTINEL2 = Sensor("sentinel-2", SENTINEL2_BANDS, "B02", "B08", 1.0, {b: b for b in SENTINEL2_BANDS}, True)
LANDSAT = Sensor("landsat", SENTINEL2_BANDS, "B02", "B8A", 0.33, OLI_AS_SENTINEL2, True)
# VENuS band of (nearly) the same wavelength, for mixes
VENUS_AS_SENTINEL2 = {"B02": "B03", "B03": "B04", "B04": "B07", "B05": "B08", "B06": "B09", "B07": "B10", "B8A": "B11"}
VENUS = Sensor("venus", VENUS_BANDS, "B03", "B11", 1.0, {b: b for b in VENUS_BANDS}, False)
VENUS_IN_MIX = Sensor("venus", SENTINEL2_BANDS, "B02", "B8A", 0.33, VENUS_AS_SENTINEL2, False)


def lead_sensor(acquisitions: Sequence[Acquisition]) -> Sensor:
    """Whose bands a synthesis of these acquisitions has: Sentinel-2's in a mix."""
    sensors = [a.sensor for a in acquisitions]
    return next((s for s in sensors if s is SENTINEL2), sensors[0])


def sensor_of(item: pystac.Item) -> Sensor:
    """Sensor of an item. Raises ``ProcessParameterInvalid`` for one that has no place in a synthesis."""
    name = " ".join(str(item.properties.get(k) or "") for k in ("constellation", "platform", "tuile:family")).lower()
    for key, sensor in (("sentinel-2", SENTINEL2), ("sentinel2", SENTINEL2), ("landsat", LANDSAT), ("venus", VENUS)):
        if key in name:
            return sensor
    raise ProcessError(
        "ProcessParameterInvalid",
        f"Item {item.id} is of no sensor that a synthesis takes (Sentinel-2, VENuS, Landsat 8).",
    )


@dataclass(frozen=True)
class Acquisition:
    """One date of a synthesis.

    ``bands``: output band -> source; ``blue`` among them; ``cloud``, ``water``, ``snow``: (source, bits) pairs, a pixel
    is of the class if any says so; ``valid``: 0/1 mask or None; ``aot``: source or None; ``angles``: None where unknown; ``weight``: sensor weight.
    """

    id: str
    day: date
    platform: str
    sensor: Sensor
    bands: Mapping[str, Band]
    cloud: tuple[tuple[Band, int], ...]
    water: tuple[tuple[Band, int], ...]
    snow: tuple[tuple[Band, int], ...]
    valid: Band | None
    aot: Band | None
    angles: NodeAngles | None
    weight: float

    @classmethod
    def of(
        cls, item: pystac.Item, sensor_weights: Mapping[str, float], env: Env, *, mixed: bool = False
    ) -> Acquisition:
        """Read an item; ``mixed``: beside other sensors. Raises ``ProcessParameterInvalid`` where it has no bands or no
        cloud mask."""
        sensor = sensor_of(item)
        if mixed and sensor is VENUS:
            sensor = VENUS_IN_MIX
        found = item_bands(item)
        bands = {out: found[own] for out, own in sensor.own.items() if own in found}
        if sensor.blue not in bands:
            raise ProcessError("ProcessParameterInvalid", f"Item {item.id} has no blue band {sensor.own[sensor.blue]}.")
        cloud = _masks(found, ("CLM", CLM_ANY), ("CLOUD", "CLOUD_SHADOW"), sensor is not LANDSAT)
        if not cloud:
            raise ProcessError("ProcessParameterInvalid", f"Item {item.id} has no cloud mask (CLM or CLOUD).")
        if item.datetime is None:
            raise ProcessError("ProcessParameterInvalid", f"Item {item.id} has no date.")
        angles = _angles(item, found, tuple(bands), env) if sensor.directional else None
        if angles is None and sensor.directional:
            env.log("warning", f"{item.id} has no sun and viewing angles: no directional correction for it.")
        return cls(
            item.id,
            item.datetime.date(),
            str(item.properties.get("platform") or sensor.name),
            sensor,
            bands,
            cloud,
            _masks(found, ("MG2", MG2_WATER), ("WATER",), True),
            _masks(found, ("MG2", MG2_SNOW), ("SNOW",), True),
            found.get("VALID"),
            found.get("AOT"),
            angles,
            float(sensor_weights.get(sensor.name, sensor.weight)),
        )


def _masks(
    found: Mapping[str, Band], raw: tuple[str, int], decoded: Sequence[str], use_raw: bool
) -> tuple[tuple[Band, int], ...]:
    """The raw mask with its bits, else the decoded 0/1 bands (bits 0: decode as the item says)."""
    if use_raw and raw[0] in found:
        return ((found[raw[0]], raw[1]),)
    return tuple((found[name], 0) for name in decoded if name in found)


def _angles(item: pystac.Item, found: Mapping[str, Band], bands: tuple[str, ...], env: Env) -> NodeAngles | None:
    """The angle nodes of the product, else the scene's mean angles; None where neither is known."""
    told = next((found[n] for n in ("SZA", "VZA") if n in found and found[n].source), None)
    if told is not None and told.source is not None:
        try:
            nodes = NodeAngles.of(read_grids(told.source, told.href))
            if nodes is not None:
                return nodes
        except ProcessError as error:
            env.log("warning", f"Angles of {item.id} cannot be read, scene means are used: {error.message}")
    p = item.properties
    means = [p.get(k) for k in ("view:sun_elevation", "view:sun_azimuth", "view:off_nadir", "view:azimuth")]
    if any(m is None for m in means):
        return None
    elevation, sun_azimuth, off_nadir, azimuth = (float(m) for m in means if m is not None)
    return NodeAngles.constant(90.0 - elevation, sun_azimuth, off_nadir, azimuth, bands)


class Reader:
    """Reads windows of bands on one target grid; datasets are opened once per thread."""

    def __init__(self, grid: GeoBox):
        self.grid = grid
        self._local = threading.local()
        self._opened: list[Any] = []
        self._opening = object()  # names the content of the files while this reader holds them open

    def read(self, band: Band, window: Window, out: np.ndarray | None = None, smooth: bool = True) -> np.ndarray:
        """Digital numbers of ``band`` in ``window`` of the target grid, nodata outside the file.

        ``smooth``: bilinear where the file has another grid, else nearest. Raises ``StorageFailure``.
        """
        try:
            source = self._dataset(band, smooth)
            if isinstance(source, WarpedVRT):
                return source.read(band.index, window=window, out=out)
            pixels = kept.window_of(source, (self._opening, band.href), band.index, window)
        except rasterio.errors.RasterioError as error:
            raise ProcessError("StorageFailure", f"{band.href} cannot be read: {error}") from error
        if out is None:
            return pixels
        out[...] = pixels
        return out

    def reflectance(self, band: Band, window: Window, out: np.ndarray) -> None:
        """Reflectance x 10000 of ``band`` into ``out`` (int16 or float32), -10000 for nodata."""
        as_is = band.offset_dn == 0 and abs(band.scale * 1e4 - 1) < 1e-9
        if as_is and out.dtype == np.int16 and np.dtype(band.dtype) == np.int16:
            self.read(band, window, out)
            if band.nodata is not None and band.nodata != NODATA:
                out[out == band.nodata] = NODATA
            return
        dn = self.read(band, window)
        hole = np.zeros(dn.shape, bool) if band.nodata is None else dn == band.nodata
        value = (dn.astype(np.float32) + np.float32(band.offset_dn)) * np.float32(band.scale * 1e4)
        value[hole] = NODATA
        out[:] = np.rint(value) if out.dtype.kind == "i" else value

    def mask(
        self, sources: Sequence[tuple[Band, int]], window: Window, held: dict[str, np.ndarray] | None = None
    ) -> np.ndarray:
        """(h, w) bool: any of the sources says so. ``held`` keeps what was read, for masks that share a file."""
        out = np.zeros((int(window.height), int(window.width)), bool)
        for band, bits in sources:
            key = f"{band.href}#{band.index}"
            dn = held[key] if held and key in held else self.read(band, window, smooth=False)
            if held is not None:
                held[key] = dn
            if bits:
                out |= (dn & bits) != 0
            else:
                said = decode(dn, band.decode).astype(bool)
                out |= said if band.nodata is None else said & (dn != band.nodata)
        return out

    def close(self) -> None:
        for source in self._opened:
            source.close()

    def _dataset(self, band: Band, smooth: bool) -> Any:
        held = self._local.__dict__.setdefault("held", {})
        key = (band.href, smooth)
        if key not in held:
            source = open_checked(band.href)
            self._opened.append(source)
            if band.geobox.shape != self.grid.shape or not band.geobox.affine.almost_equals(self.grid.affine, 1e-6):
                source = WarpedVRT(
                    source,
                    crs=None if self.grid.crs is None else self.grid.crs.to_wkt(),
                    transform=self.grid.affine,
                    height=self.grid.shape[0],
                    width=self.grid.shape[1],
                    resampling=Resampling.bilinear if smooth else Resampling.nearest,
                    src_nodata=band.nodata,
                    nodata=band.nodata,
                )
                self._opened.append(source)
            held[key] = source
        return held[key]
