"""The synthetic world, evaluated block by block.

`World` answers two questions about any block of pixels of any grid: what is there (`statics`), and what does the sky
and the ground look like at one acquisition (`truth`). Both are pure functions of ground position, date and seed, so
tiles agree where they overlap and blocks fit together without a seam.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from backend.demo import terrain
from backend.demo.cover import cover_block
from backend.demo.directional import view_factor
from backend.demo.geometry import PixelMap, Track, sun_angles
from backend.demo.spectra import DIFFUSE_SHARE, S2_BANDS
from backend.demo.surface import reflectance_block
from backend.demo.weather import Weather, cloud_threshold, haze_block, sky_block

MARGIN = 300
"""Pixels of elevation known around a window, from which the relief can cast shadows into it."""

LOWEST_COS_I = 0.2
"""Slope corrections hold the cosine of incidence at this value (Hagolle et al., MAJA ATBD)."""

ASYMMETRY = 0.85
"""Asymmetry of the scattering of cloud droplets."""

Block = tuple[int, int, int, int]
"""Row, column, height, width."""


@dataclass
class Statics:
    """What does not change with time, for a block of (h, w) pixels; see `cover_block` and `gradient_block`."""

    x: NDArray
    y: NDArray
    z: NDArray
    gx: NDArray
    gy: NDArray
    code: NDArray
    parcel: NDArray
    texture: NDArray
    trees: NDArray
    wet: NDArray


@dataclass
class Truth:
    """One acquisition over a block of (h, w) pixels.

    Attributes
    ----------
    rho : reflectance of flat clear ground, (13, h, w), order of `spectra.S2_BANDS`
    snow : snow fraction
    cloud, cirrus : optical depth in the line of sight
    shade : share of the direct sunlight that clouds and cirrus take away
    relief_shade : share of the sun hidden by the relief
    cos_i : cosine of the angle between the sun and the slope's normal
    cos_sun : cosine of the sun's zenith angle
    slope_cos : cosine of the slope
    aot, vapour : aerosol optical thickness (550 nm) and water vapour (g/cm2)
    detector : detector number, 0 outside the swath
    directional : factor on the ground's reflectance for the direction it is seen from, by band; None for a world that
        looks the same from everywhere
    """

    rho: NDArray
    snow: NDArray
    cloud: NDArray
    cirrus: NDArray
    shade: NDArray
    relief_shade: NDArray
    cos_i: NDArray
    cos_sun: float
    slope_cos: NDArray
    aot: NDArray
    vapour: NDArray
    detector: NDArray
    directional: Callable[[int], NDArray] | None = None

    @property
    def ndvi(self) -> NDArray:
        """NDVI of the clear ground, from B08 and B04."""
        nir, red = self.rho[7], self.rho[3]
        return (nir - red) / (nir + red)

    def light(self, band: int) -> NDArray:
        """What the scene makes of the ground's reflectance in one band: slope, relief shade, cloud shade, direction.

        Relative to flat open ground in the same sun. Direct light falls with cos(i), sky light with the share of the
        sky seen, (1 + cos slope) / 2.
        """
        direct = np.maximum(self.cos_i, 0) / self.cos_sun * (1 - self.relief_shade) * (1 - self.shade)
        lit = (1 - DIFFUSE_SHARE[band]) * direct + DIFFUSE_SHARE[band] * (1 + self.slope_cos) / 2
        return lit if self.directional is None else lit * self.directional(band)

    def slope_light(self, band: int) -> NDArray:
        """The part of `light` that a slope correction knows: cos(i) held at 0.2 or more, no shadows."""
        direct = np.maximum(self.cos_i, LOWEST_COS_I) / self.cos_sun
        return (1 - DIFFUSE_SHARE[band]) * direct + DIFFUSE_SHARE[band] * (1 + self.slope_cos) / 2


def _land_factor(
    track: Track, x: NDArray, y: NDArray, detector: NDArray, sun: tuple[float, float], land: NDArray, band: int
) -> NDArray:
    """Directional factor of one band, on the share of each pixel that is land."""
    name = S2_BANDS[band]
    sides = []
    for parity in (0, 1):
        zenith, azimuth = track.view_angles(x, y, parity, name)
        sides.append(view_factor(name, np.radians(sun[0]), np.radians(zenith), np.radians(azimuth - sun[1])))
    factor = np.where(detector % 2 == 1, sides[1], sides[0])
    return (1 + land * (factor - 1)).astype(np.float32)


def cloud_albedo(depth: NDArray) -> NDArray:
    """Reflectance of a non-absorbing cloud of optical depth `depth`: (1-g)t / (2 + (1-g)t) (Coakley & Chylek 1975)."""
    scaled = (1 - ASYMMETRY) * depth
    return scaled / (2 + scaled)


def direct_loss(cloud: NDArray, cirrus: NDArray, cos_sun: float) -> NDArray:
    """Share of the direct sunlight lost on the way: forward-scattered light (half of it) counts as direct."""
    return 1 - np.exp(-(0.5 * cloud + 0.35 * cirrus) / cos_sun)


class World:
    """The ground plane with everything on it.

    Parameters
    ----------
    seed : the world's identity
    lon, lat : centre of the ground plane, for the sun's position
    directional : whether land looks different from different directions (snow and water do not)
    """

    def __init__(self, seed: int, lon: float, lat: float, directional: bool = False) -> None:
        self.seed, self.lon, self.lat, self.directional = seed, lon, lat, directional

    def elevation(self, pixels: PixelMap, block: Block) -> NDArray:
        """Elevation (m) of a block, which may reach into the margin."""
        return terrain.elevation_block(*pixels.block(*block), self.seed)

    def statics(self, pixels: PixelMap, block: Block, z_rim: NDArray) -> Statics:
        """What stands on a block, given its elevation with a rim of one pixel."""
        row, col, height, width = block
        x, y = pixels.block(row - 1, col - 1, height + 2, width + 2)
        gx, gy = terrain.gradient_block(z_rim.astype(np.float64), x, y)
        x, y, z = x[1:-1, 1:-1], y[1:-1, 1:-1], z_rim[1:-1, 1:-1]
        return Statics(x, y, z, gx, gy, *cover_block(x, y, z, gx, gy, self.seed))

    def truth(self, ground: Statics, relief_shade: NDArray, track: Track, weather: Weather) -> Truth:
        """One acquisition over a block whose statics are known."""
        x, y, z = ground.x, ground.y, ground.z
        zenith, azimuth = sun_angles(track.time, self.lon, self.lat)
        tan, phi = math.tan(math.radians(float(zenith))), math.radians(float(azimuth))
        cos_sun = math.cos(math.radians(float(zenith)))
        look_east, look_north = track.look(x, y)
        layer = (weather.size, cloud_threshold(weather.cover), weather.thickness, weather.base)
        toward = (tan * math.sin(phi), tan * math.cos(phi))
        cloud, cirrus, above, veil = sky_block(
            x, y, z, toward, look_east, look_north, layer, weather.cirrus, weather.seed
        )
        gx, gy, tilt = self._water_is_level(ground)
        # normal = (-gx, -gy, 1) / norm
        cos_i = (cos_sun - math.sin(math.radians(float(zenith))) * (gx * math.sin(phi) + gy * math.cos(phi))) / tilt
        rho, snow = reflectance_block(
            x, y, z, ground.gx, ground.gy, ground.code, ground.parcel, ground.texture, ground.trees, ground.wet,
            weather.day, weather.snow_line, weather.fresh, self.seed,
        )  # fmt: skip
        aot, vapour = haze_block(x, y, z, weather.aot, weather.vapour, weather.seed)
        detector = track.detector(x, y)
        factor = None
        if self.directional:
            land = (1 - ground.wet.astype(np.float32) / 100) * (1 - snow)
            factor = partial(_land_factor, track, x, y, detector, (float(zenith), float(azimuth)), land)
        return Truth(
            rho=rho,
            snow=snow,
            cloud=cloud,
            cirrus=cirrus,
            shade=direct_loss(above, veil, cos_sun).astype(np.float32),
            relief_shade=relief_shade,
            cos_i=cos_i.astype(np.float32),
            cos_sun=cos_sun,
            slope_cos=(1 / tilt).astype(np.float32),
            aot=aot,
            vapour=vapour,
            detector=detector,
            directional=factor,
        )

    @staticmethod
    def _water_is_level(ground: Statics) -> tuple[NDArray, NDArray, NDArray]:
        dry = 1 - ground.wet.astype(np.float32) / 100
        gx, gy = ground.gx * dry, ground.gy * dry
        return gx, gy, np.sqrt(1 + gx * gx + gy * gy)
