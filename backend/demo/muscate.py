"""Sentinel-2 L2A products in the MUSCATE layout, as MAJA writes and Theia distributes them.

Bits follow Theia's format page for distribution ``D`` and MAJA's own writer for ``C``; see `CLM_BITS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.demo import muscate_xml
from backend.demo import radiometry as rm
from backend.demo.geometry import Ground, TileGrid
from backend.demo.observe import Acquisition, any_bits, coarsen
from backend.demo.raster import DEFAULT_LAYOUT, Layout, write_rgb
from backend.demo.scene import LOWEST_COS_I, Block, Statics, Truth
from backend.demo.sink import ProductSink
from backend.demo.spectra import S2_BANDS, S2_RESOLUTION
from processes.band_names import short

BANDS = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
"""Bands of the product, 10 m group first: the order of the saturation bits."""

GROUP = {10: "R1", 20: "R2"}
NODATA = -10000
SATURATED = 1.25
"""Reflectance on the slope above which the detectors saturate."""

CLM_BITS = {
    # all clouds and shadows, all clouds, shadow, shadow from outside, one-date test, multi-date test, thinnest, high
    "D": {"all": 0, "cloud": 1, "shadow": 5, "outside": 6, "mono": 2, "multi": 3, "thin": 4, "high": 7},
    "C": {"all": 0, "cloud": 1, "shadow": 2, "outside": 3, "mono": 4, "multi": 5, "thin": 6, "high": 7},
}
"""Bit of each cloud flag in Theia's (D) and in MAJA's own order (C)."""


@dataclass(frozen=True)
class MuscateOptions:
    """What a product holds.

    Attributes
    ----------
    distribution : ``C`` (MAJA's own bit order) or ``D`` (Theia's)
    version : product version, as in V3-0
    bands : bands to write (all ten in a true product)
    sre : whether the reflectance without slope correction is written too
    layout : of the GeoTIFF files
    """

    distribution: str = "C"
    version: str = "3-0"
    bands: tuple[str, ...] = BANDS
    sre: bool = True
    layout: Layout = DEFAULT_LAYOUT


def product_name(acquisition: Acquisition, options: MuscateOptions) -> str:
    """Name of the product's folder and start of its files' names."""
    track, tile = acquisition.track, acquisition.tile
    stamp = f"{track.time:%Y%m%d-%H%M%S}-{track.time.microsecond // 1000:03d}"
    return f"SENTINEL2{track.platform}_{stamp}_L2A_T{tile.name}_{options.distribution}_V{options.version}"


class MuscateSink(ProductSink):
    """Writes one product."""

    def __init__(self, archive: Path, acquisition: Acquisition, options: MuscateOptions) -> None:
        super().__init__(archive, product_name(acquisition, options), acquisition)
        self.options = options
        tile, layout = acquisition.tile, options.layout
        for band in options.bands:
            for kind in ("FRE", "SRE") if options.sre else ("FRE",):
                name = f"{self.name}_{kind}_{short(band)}.tif"
                self._open(
                    f"{kind}_{band}",
                    name,
                    S2_RESOLUTION[band],
                    "int16",
                    layout=layout,
                    nodata=NODATA,
                    resampling="AVERAGE",
                )
        for resolution, group in GROUP.items():
            # water vapour and aerosol share a file; 0 is nodata in both
            self._open(f"ATB_{group}", f"{self.name}_ATB_{group}.tif", resolution, "uint8", 2, layout=layout)
            for mask in ("CLM", "MG2", "EDG", "SAT", "IAB"):
                self._open(
                    f"{mask}_{group}", f"MASKS/{self.name}_{mask}_{group}.tif", resolution, "uint8", layout=layout
                )
        step = max(1, tile.size // 1000)
        self._look_step, side = step, -(-tile.size // step)
        self._look = np.zeros((3, side, side), np.uint8)
        self._counts = {"valid": 0, "cloud": 0, "snow": 0}
        self._aot_error = 0.24 * (np.random.default_rng(acquisition.weather.seed).random() - 0.5)

    def add(self, block: Block, ground: Statics, truth: Truth) -> None:
        """Render and write one block."""
        valid = truth.detector > 0
        saturated = {
            10: np.zeros(valid.shape, np.uint8),
            20: np.zeros((valid.shape[0] // 2, valid.shape[1] // 2), np.uint8),
        }
        bits = {10: 0, 20: 0}
        for band in BANDS:
            resolution = S2_RESOLUTION[band]
            bit, bits[resolution] = bits[resolution], bits[resolution] + 1
            if band in self.options.bands:
                sre = self._reflectance(band, block, truth, valid)
                saturated[resolution] |= (np.nan_to_num(sre) > SATURATED).astype(np.uint8) << bit
        self._masks(block, ground, truth, valid, saturated)
        self._atmosphere(block, truth, valid)

    def _reflectance(self, band: str, block: Block, truth: Truth, valid: NDArray) -> NDArray:
        row, col, _, _ = block
        k, factor = S2_BANDS.index(band), S2_RESOLUTION[band] // 10
        sre = rm.surface(truth, k) + rm.haze_residual(truth, k, self._aot_error)
        slope = truth.slope_light(k)
        whole = valid
        if factor > 1:
            sre, slope = coarsen(sre, factor), coarsen(slope, factor)
            whole = coarsen(valid.astype(np.float32), factor) == 1
        seed = self.acquisition.weather.seed * 31 + k
        sre, _ = rm.digital(sre, whole, row // factor, col // factor, seed, *rm.NOISE)
        at = (row // factor, col // factor)
        if self.options.sre:
            self._files[f"SRE_{band}"].write(rm.to_int16(sre), *at)
        fre = sre / slope
        self._files[f"FRE_{band}"].write(rm.to_int16(fre), *at)
        if band in ("B04", "B03", "B02"):
            self._quicklook(("B04", "B03", "B02").index(band), block, sre)
        return sre

    def _quicklook(self, channel: int, block: Block, sre: NDArray) -> None:
        step = self._look_step
        row, col = -block[0] % step, -block[1] % step
        part = np.clip(np.nan_to_num(sre[row::step, col::step]) / 0.25 * 255, 0, 255).astype(np.uint8)
        top, left = -(-block[0] // step), -(-block[1] // step)
        self._look[channel, top : top + part.shape[0], left : left + part.shape[1]] = part

    def _masks(
        self, block: Block, ground: Statics, truth: Truth, valid: NDArray, saturated: dict[int, NDArray]
    ) -> None:
        flags = self.cloud_flags(ground, truth)
        order = CLM_BITS[self.options.distribution]
        clm = np.zeros(valid.shape, np.uint8)
        for name, flag in flags.items():
            clm |= (flag & valid).astype(np.uint8) << order[name]
        snow = (truth.snow >= rm.SNOW_SEEN) & ~flags["cloud"]
        east, north = self.acquisition.track.look(ground.x, ground.y)
        # cosine of the angle between the slope's normal and the line of sight
        cos_e = (1 - ground.gx * east - ground.gy * north) * truth.slope_cos / np.sqrt(1 + east**2 + north**2)
        parts = (
            ground.wet >= 50,
            flags["cloud"],
            snow,
            flags["shadow"] | flags["outside"],
            truth.relief_shade > 0.5,
            cos_e < 0.1,
            truth.cos_i < LOWEST_COS_I,
            truth.cos_i / truth.cos_sun < 0.2,
        )
        mg2 = np.zeros(valid.shape, np.uint8)
        for bit, part in enumerate(parts):
            mg2 |= (part & valid).astype(np.uint8) << bit
        iab = np.where(flags["cloud"] & valid, 3, 0).astype(np.uint8)
        for resolution, group in GROUP.items():
            factor = resolution // 10
            at = (block[0] // factor, block[1] // factor)
            for name, values in (("CLM", clm), ("MG2", mg2), ("EDG", (~valid).astype(np.uint8)), ("IAB", iab)):
                self._files[f"{name}_{group}"].write(any_bits(values, factor), *at)
            self._files[f"SAT_{group}"].write(saturated[resolution], *at)
        self._counts["valid"] += int(valid.sum())
        self._counts["cloud"] += int((flags["cloud"] & valid).sum())
        self._counts["snow"] += int((snow & valid).sum())

    def cloud_flags(self, ground: Statics, truth: Truth) -> dict[str, NDArray]:
        """The eight cloud flags as boolean arrays, by name; see `CLM_BITS`."""
        cloud = (truth.cloud > rm.CLOUD_SEEN) | (truth.cirrus > rm.CIRRUS_CLOUD)
        shade = (truth.shade > rm.SHADE_SEEN) & ~cloud
        inside = self._source_inside(ground)
        return {
            "all": cloud | shade,
            "cloud": cloud,
            "shadow": shade & inside,
            "outside": shade & ~inside,
            "mono": truth.cloud > rm.CLOUD_THICK,
            "multi": truth.cloud > rm.CLOUD_SEEN,
            "thin": (truth.cloud > rm.CLOUD_THIN) & ~cloud,
            "high": truth.cirrus > rm.CIRRUS_SEEN,
        }

    def _source_inside(self, ground: Statics) -> NDArray:
        """Whether the cloud that would shade each pixel stands over the window."""
        zenith, azimuth = np.radians(self.acquisition.sun())
        up = np.maximum(self.acquisition.weather.base - ground.z, 0)
        x = ground.x + up * np.tan(zenith) * np.sin(azimuth)
        y = ground.y + up * np.tan(zenith) * np.cos(azimuth)
        return inside_window(self.acquisition.place.ground, self.acquisition.tile, x, y)

    def _atmosphere(self, block: Block, truth: Truth, valid: NDArray) -> None:
        aot = truth.aot * (1 + self._aot_error)
        for resolution, group in GROUP.items():
            factor = resolution // 10
            whole = coarsen(valid.astype(np.float32), factor) == 1
            layers = [coarsen(truth.vapour, factor) * 20, coarsen(aot, factor) * 200]
            atb = [np.where(whole, np.clip(np.rint(v), 1, 255), 0).astype(np.uint8) for v in layers]
            self._files[f"ATB_{group}"].write(np.stack(atb), block[0] // factor, block[1] // factor)

    def _finish(self) -> None:
        if {"B02", "B03", "B04"} <= set(self.options.bands):
            write_rgb(self.folder / f"{self.name}_QKL_ALL.jpg", self._look)
        valid = max(self._counts["valid"], 1)
        quality = {k: round(100 * self._counts[k] / valid) for k in ("cloud", "snow")}
        text = muscate_xml.metadata(self.acquisition, self.options, self.name, quality["cloud"], quality["snow"])
        (self.folder / f"{self.name}_MTD_ALL.xml").write_text(text, encoding="utf-8")


def inside_window(ground: Ground, tile: TileGrid, x: NDArray, y: NDArray) -> NDArray:
    """Whether ground points lie over a window, whose four sides are straight on the ground to within a metre or so."""
    side = tile.size * 10
    ex = np.array([tile.ulx, tile.ulx + side, tile.ulx + side, tile.ulx], float)
    ny = np.array([tile.uly, tile.uly, tile.uly - side, tile.uly - side], float)
    cx, cy = ground.from_crs(tile.epsg, ex, ny)
    inside = np.ones(x.shape, bool)
    for k in range(4):
        ax, ay, bx, by = cx[k], cy[k], cx[(k + 1) % 4], cy[(k + 1) % 4]
        # the corners run clockwise: inside is on the right
        inside &= (bx - ax) * (y - ay) - (by - ay) * (x - ax) <= 0
    return inside
