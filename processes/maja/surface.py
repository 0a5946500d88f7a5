"""From top-of-atmosphere digital numbers to surface reflectance, given the state of the atmosphere at coarse nodes.

With transmission of the gases Tg, path reflectance rho_p, downward and upward transmissions T_dn and T_up (each direct +
diffuse), spherical albedo s and reflectance rho_env of the surroundings,

    rho_TOA / Tg = rho_p + T_dn / (1 - s rho_env) (rho_s Tdir_up + rho_env Tdif_up)

is solved for rho_s (SRE). Over slopes the irradiance of the sun, of the sky and of the ground around is summed (FRE).

Sources: Vermote et al. (1997), IEEE TGRS 35 (forward model and surroundings); Hagolle et al. (2015), Remote Sensing 7 and
Dymond and Shepherd (1999), IEEE TGRS 37 (slopes: cosines of incidence and exit).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from processes.kernels.maja_surface import NODATA, correct_block

__all__ = ["NODATA", "Atmosphere", "Surface", "Terrain", "direction", "surface_reflectance"]


@dataclass(frozen=True)
class Atmosphere:
    """One band of one date at nodes: every field (gy, gx) float32, without unit.

    gas : transmission of the gases, downward and upward together
    path : reflectance of the air alone (rho_p)
    albedo : spherical albedo (s)
    around : reflectance of the surroundings (rho_env)
    up_direct, up_diffuse, down_direct, down_diffuse : transmissions
    """

    gas: np.ndarray
    path: np.ndarray
    albedo: np.ndarray
    around: np.ndarray
    up_direct: np.ndarray
    up_diffuse: np.ndarray
    down_direct: np.ndarray
    down_diffuse: np.ndarray

    def __post_init__(self) -> None:
        shapes = {np.shape(getattr(self, field.name)) for field in fields(self)}
        if len(shapes) != 1 or len(next(iter(shapes))) != 2:
            raise ValueError(
                f"The grids of an atmosphere must share one two-dimensional shape, found {sorted(shapes)}."
            )

    def grids(self, scale: float, sun: np.ndarray, view: np.ndarray) -> np.ndarray:
        """Coefficients of `correct_block`, (5, gy, gx) float32.

        With v = (rho_TOA / Tg - rho_p) / (T_dn T_up), uniform ground has rho_u = v / (1 + s v), hence
        rho_u / (1 - s rho_u) = v and SRE is linear in the digital number. The product of smooth grids is interpolated
        instead of the grids: exact at the nodes, of second order between them.

        scale : reflectance per digital number; sun, view : unit vectors of `direction`
        """
        down = self.down_direct + self.down_diffuse
        seen = (1 + self.up_diffuse / self.up_direct) * (1 - self.around * self.albedo)
        per_light = seen / (down * (self.up_direct + self.up_diffuse))
        flat = (sun[2] + view[2]) / down
        order = [
            scale / self.gas * per_light,
            self.path * per_light + self.around * self.up_diffuse / self.up_direct,
            flat * self.down_direct / sun[2],
            flat * self.down_diffuse,
            flat * down * self.around,
        ]
        return np.ascontiguousarray(np.stack(order), np.float32)


@dataclass(frozen=True)
class Terrain:
    """Slopes of a block.

    east, north : (h, w) float32, rise per metre towards east and north
    sun, view : unit vectors (east, north, up) from the ground, see `direction`; those of `Atmosphere.grids`
    """

    east: np.ndarray
    north: np.ndarray
    sun: np.ndarray
    view: np.ndarray


@dataclass(frozen=True)
class Surface:
    """Reflectance x 10000 as int16, -10000 for none, (h, w); ``fre`` and ``flags`` are None without terrain.

    flags : uint8, bit 0: cos(incidence) below 0.2, taken as 0.2; bit 1: the sun grazes the slope
    """

    sre: np.ndarray
    fre: np.ndarray | None
    flags: np.ndarray | None


def direction(zenith: float, azimuth: float) -> np.ndarray:
    """Unit vector (east, north, up) towards a body at ``zenith`` and ``azimuth`` (clockwise from north), degrees."""
    z, a = np.radians(zenith), np.radians(azimuth)
    return np.array([np.sin(z) * np.sin(a), np.sin(z) * np.cos(a), np.cos(z)], np.float32)


def surface_reflectance(
    dn: np.ndarray,
    grids: np.ndarray,
    step: float,
    origin: tuple[int, int] = (0, 0),
    offset: float = 0.0,
    missing: int = 0,
    terrain: Terrain | None = None,
) -> Surface:
    """Correct one block of one band.

    Parameters
    ----------
    dn : (h, w) uint16 or int16, digital numbers at top of atmosphere
    grids : (5, gy, gx) float32 from `Atmosphere.grids`, at nodes every ``step`` pixels from the image's first pixel; beyond
        the last node the value stays
    origin : row and column of the block's first pixel in the image
    offset : added to ``dn`` before scaling (-1000 for Sentinel-2 from baseline 04.00)
    missing : the digital number that stands for no value
    """
    if step <= 0:
        raise ValueError(f"Nodes must be a positive number of pixels apart, not {step}.")
    sre = np.empty(dn.shape, np.int16)
    none = np.empty((0, 0), np.float32)
    fre = np.empty(dn.shape if terrain else (0, 0), np.int16)
    flags = np.empty(fre.shape, np.uint8)
    east, north = (terrain.east, terrain.north) if terrain else (none, none)
    if terrain and not east.shape == north.shape == dn.shape:
        raise ValueError(f"Slopes of shapes {east.shape} and {north.shape} do not fit a block of {dn.shape}.")
    sun, view = (terrain.sun, terrain.view) if terrain else (np.ones(3, np.float32), np.ones(3, np.float32))
    light = (np.float32(offset), grids, float(step), *origin, np.float32(missing))
    correct_block(dn, *light, east, north, sun, view, sre, fre, flags)
    return Surface(sre, fre, flags) if terrain else Surface(sre, None, None)
