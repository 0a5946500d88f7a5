"""Sentinel-2 L1C products in the SAFE layout of processing baseline 05.10: JPEG 2000, offset -1000, detector masks.

Top-of-atmosphere reflectance of the same ground and sky as the L2A products, through the atmosphere of
`atmosphere`. Clouds are layers with the gas above them only; cirrus stands above nearly all the water vapour, so B10
sees it and hardly anything else.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from backend.demo import atmosphere as atm
from backend.demo import aux_data, safe_xml
from backend.demo import radiometry as rm
from backend.demo.observe import Acquisition, coarsen
from backend.demo.raster import Raster
from backend.demo.scene import Block, Statics, Truth, cloud_albedo
from backend.demo.sink import ProductSink
from backend.demo.spectra import CIRRUS_COLOUR, CLOUD_COLOUR, S2_BANDS, S2_RESOLUTION
from backend.demo.weather import CIRRUS_HEIGHT

OFFSET = 1000
"""Added to reflectance x 10000 before it is stored."""
NODATA, SATURATED = 0, 65535
JPEG2000 = "JP2OpenJPEG"
NOISE = (0.0004, 0.003)
COARSE = 6
"""The atmosphere is evaluated on 60 m cells."""
LOOK = 320
"""Metres per pixel of the preview."""


class SafeL1cSink(ProductSink):
    """Writes one product."""

    def __init__(self, archive: Path, acquisition: Acquisition) -> None:
        self.names = safe_xml.Names.of(acquisition)
        super().__init__(archive, self.names.product, acquisition)
        granule = f"GRANULE/{self.names.granule}"
        images, masks = f"{granule}/IMG_DATA/{self.names.image}", f"{granule}/QI_DATA/MSK"
        for band in S2_BANDS:
            resolution = S2_RESOLUTION[band]
            self._open(band, f"{images}_{band}.jp2", resolution, "uint16", driver=JPEG2000)
            self._open(f"DETFOO_{band}", f"{masks}_DETFOO_{band}.jp2", resolution, "uint8", driver=JPEG2000)
            self._open(f"QUALIT_{band}", f"{masks}_QUALIT_{band}.jp2", resolution, "uint8", 8, driver=JPEG2000)
        self._open("CLASSI", f"{masks}_CLASSI_B00.jp2", 60, "uint8", 3, driver=JPEG2000)
        self._open("TCI", f"{images}_TCI.jp2", 10, "uint8", 3, driver=JPEG2000)
        self._look_path = self.folder / granule / "QI_DATA" / f"{self.names.image}_PVI.jp2"
        side = -(-acquisition.tile.size * 10 // LOOK)
        self._look, self._weight = np.zeros((3, side, side)), np.zeros((side, side))
        self._counts = {"valid": 0, "cloud": 0, "snow": 0}

    def add(self, block: Block, ground: Statics, truth: Truth) -> None:
        """Render and write one block."""
        row, col, _, _ = block
        valid = truth.detector > 0
        visible = {}
        for band in S2_BANDS:
            factor = S2_RESOLUTION[band] // 10
            rho = self.reflectance(band, ground, truth)
            rho = coarsen(rho, factor) if factor > 1 else rho
            whole = coarsen(valid.astype(np.float32), factor) == 1 if factor > 1 else valid
            seed = self.acquisition.weather.seed * 37 + S2_BANDS.index(band)
            at = (row // factor, col // factor)
            rho, _ = rm.digital(rho.astype(np.float32), whole, *at, seed, *NOISE)
            stored = np.clip(np.rint(np.nan_to_num(rho) * 10000) + OFFSET, 1, SATURATED)
            self._files[band].write(np.where(whole, stored, NODATA).astype(np.uint16), *at)
            detector = truth.detector[::factor, ::factor]
            self._files[f"DETFOO_{band}"].write(np.where(whole, detector, 0).astype(np.uint8), *at)
            quality = np.zeros((8, *whole.shape), np.uint8)
            # the eighth of its bands is for saturated pixels; what lies beside the swath is not flagged, as in true products
            quality[7] = whole & (stored >= SATURATED)
            self._files[f"QUALIT_{band}"].write(quality, *at)
            if band in ("B04", "B03", "B02"):
                visible[band] = rho
        self._images(block, np.stack([visible[b] for b in ("B04", "B03", "B02")]), valid)
        self._classes(block, truth, valid)

    def reflectance(self, band: str, ground: Statics, truth: Truth) -> NDArray:
        """Top-of-atmosphere reflectance at 10 m, without noise.

        The atmosphere's terms come from 60 m means of height, haze, vapour and view; neighbouring detectors look
        forward and backward, so both are worked out and each pixel takes its own.
        """
        k = S2_BANDS.index(band)
        sun = self.acquisition.sun()
        z, aot, vapour = (coarsen(v, COARSE) for v in (ground.z, truth.aot, truth.vapour))
        x, y = coarsen(ground.x, COARSE), coarsen(ground.y, COARSE)
        sides = []
        for parity in (0, 1):
            zenith, azimuth = self.acquisition.track.view_angles(x, y, parity, band)
            mass = 1 / math.cos(math.radians(sun[0])) + 1 / np.cos(np.radians(zenith))
            cloud_top = np.maximum(self.acquisition.weather.base, z)
            above = vapour * np.exp(-(cloud_top - z) / atm.VAPOUR_SCALE)
            high = vapour * np.exp(-(CIRRUS_HEIGHT - z) / atm.VAPOUR_SCALE)
            sides.append(
                (
                    atm.gas_transmission(band, mass, vapour, z),
                    atm.path_reflectance(band, aot, z, sun, zenith, azimuth),
                    atm.transmission(band, aot, z, sun[0]) * atm.transmission(band, aot, z, zenith),
                    atm.gas_transmission(band, mass, above, cloud_top),
                    atm.gas_transmission(band, mass, high, CIRRUS_HEIGHT),
                )
            )
        odd = truth.detector % 2 == 1
        gas, path, both, gas_cloud, gas_high = (
            np.where(odd, _fine(b), _fine(a)) for a, b in zip(sides[0], sides[1], strict=True)
        )
        surface = truth.rho[k] * truth.light(k)
        sky = _fine(atm.spherical_albedo(band, aot, z))
        low = cloud_albedo(truth.cloud)
        scaled = (1 - rm.CIRRUS_ASYMMETRY) * truth.cirrus
        thin = scaled / (2 + scaled)
        # what comes from below is seen through every layer twice, what a layer reflects through the gas above it
        below = gas * (path + both * surface / (1 - sky * surface))
        mixed = (1 - low) ** 2 / (1 - low * surface) * below + low * CLOUD_COLOUR[k] * gas_cloud
        return (1 - thin) ** 2 * mixed + thin * CIRRUS_COLOUR[k] * gas_high

    def _images(self, block: Block, rgb: NDArray, valid: NDArray) -> None:
        """True-colour image, and its means over the cells of the preview."""
        row, col, height, width = block
        scaled = np.clip(np.nan_to_num(rgb) / 0.3558 * 255, 1, 255)
        tci = np.where(valid, scaled, 0)
        self._files["TCI"].write(np.rint(tci).astype(np.uint8), row, col)
        step = LOOK // 10
        rows, cols = (row + np.arange(height)) // step, (col + np.arange(width)) // step
        index = np.broadcast_to(rows[:, None] * self._look.shape[2] + cols[None, :], valid.shape)
        size = self._weight.size
        for channel in range(3):
            sums = np.bincount(index.ravel(), tci[channel].ravel(), size)
            self._look[channel] += sums.reshape(self._weight.shape)
        self._weight += np.bincount(index.ravel(), minlength=size).reshape(self._weight.shape)

    def _classes(self, block: Block, truth: Truth, valid: NDArray) -> None:
        """Opaque clouds, cirrus and snow of the L1C classification, at 60 m."""
        opaque, cirrus, snow = (
            coarsen(v.astype(np.float32), 6) >= 0.5
            for v in (truth.cloud > rm.CLOUD_THICK, truth.cirrus > rm.CIRRUS_CLOUD, truth.snow > rm.SNOW_SEEN)
        )
        snow &= ~opaque
        whole = coarsen(valid.astype(np.float32), 6) == 1
        layers = np.stack([opaque & whole, cirrus & whole & ~opaque, snow & whole]).astype(np.uint8)
        self._files["CLASSI"].write(layers, block[0] // 6, block[1] // 6)
        self._counts["valid"] += int(whole.sum())
        self._counts["cloud"] += int((layers[0] | layers[1]).sum())
        self._counts["snow"] += int(layers[2].sum())

    def _finish(self) -> None:
        tile = self.acquisition.tile
        look = np.rint(self._look / np.maximum(self._weight, 1)).astype(np.uint8)
        transform = Affine(LOOK, 0, tile.ulx, 0, -LOOK, tile.uly)
        with Raster(self._look_path, tile.epsg, transform, look.shape[1], "uint8", 3, driver=JPEG2000) as file:
            file.write(look, 0, 0)
        valid = max(self._counts["valid"], 1)
        cloud, snow = (100 * self._counts[k] / valid for k in ("cloud", "snow"))
        aux_data.write(self.folder / "GRANULE" / self.names.granule / "AUX_DATA", self.acquisition)
        safe_xml.write(self.folder, self.acquisition, self.names, cloud, snow)


def _fine(values: NDArray) -> NDArray:
    return np.repeat(np.repeat(values, COARSE, axis=0), COARSE, axis=1)
