"""Directional (BRDF) correction of WASP: view geometry to nadir under the same sun.

    rho' = rho * M(ts, 0, 0) / M(ts, tv, phi),    M = 1 + V * Kvol + R * Kgeo

Sources
-------
Ross, J. (1981); Li and Strahler (1992); Lucht, Schaaf and Strahler (2000), IEEE TGRS 38(2): the kernels.
Maignan, Bréon and Lacaze (2004), RSE 90: the hot-spot factor of the volume kernel, width 1.5 degrees.
Roy et al. (2016), RSE 176, 255-271: one set of coefficients per band for all land surfaces (`ROY_2016`).
Hagolle et al. (2018), WASP ATBD: correction to nadir, linear dependence of V and R on NDVI (unused by default).

`kernels="wasp1"` reproduces the program WASP 1.0, which attaches V to the geometric and R to the volume kernel (and
takes h/b = 1); it over-corrects about three times at 40 degrees of sun zenith and is there for parity only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from processes.errors import ProcessError, parameter_invalid

Kernels = Literal["roy", "wasp1", "none"]

HOT_SPOT_WIDTH = np.deg2rad(1.5)


@dataclass(frozen=True)
class Coefficients:
    """V = v0 + v1 NDVI multiplies the volume kernel, R = r0 + r1 NDVI the geometric kernel."""

    v0: float
    v1: float = 0.0
    r0: float = 0.0
    r1: float = 0.0

    @property
    def uses_ndvi(self) -> bool:
        return self.v1 != 0.0 or self.r1 != 0.0


def _roy(v: float, r: float) -> Coefficients:
    return Coefficients(v, 0.0, r, 0.0)


# f_vol / f_iso and f_geo / f_iso of Roy et al. 2016, red edge taken from the neighbouring bands as WASP does
ROY_2016: dict[str, Coefficients] = {
    "B02": _roy(0.481, 0.102),
    "B03": _roy(0.440, 0.136),
    "B04": _roy(0.340, 0.134),
    "B05": _roy(0.340, 0.134),
    "B06": _roy(0.418, 0.121),
    "B07": _roy(0.496, 0.107),
    "B08": _roy(0.496, 0.107),
    "B8A": _roy(0.496, 0.107),
    "B11": _roy(0.336, 0.132),
    "B12": _roy(0.240, 0.145),
}
# order of the lines of a scattering-function file
SCATTERING_ORDER = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")


def volume_kernel(sun_zenith: np.ndarray, view_zenith: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """Ross-thick kernel with hot spot; angles in radians, ``azimuth`` = sun azimuth - view azimuth."""
    phase = _phase(sun_zenith, view_zenith, azimuth)
    ross = ((np.pi / 2 - phase) * np.cos(phase) + np.sin(phase)) / (np.cos(sun_zenith) + np.cos(view_zenith))
    return 4 / (3 * np.pi) * ross * (1 + 1 / (1 + phase / HOT_SPOT_WIDTH)) - 1 / 3


def geometric_kernel(
    sun_zenith: np.ndarray, view_zenith: np.ndarray, azimuth: np.ndarray, height_to_width: float = 2.0
) -> np.ndarray:
    """Li-sparse reciprocal kernel (b/r = 1); angles in radians, ``height_to_width`` is h/b."""
    tan_s, tan_v = np.tan(sun_zenith), np.tan(view_zenith)
    secants = 1 / np.cos(sun_zenith) + 1 / np.cos(view_zenith)
    distance2 = tan_s**2 + tan_v**2 - 2 * tan_s * tan_v * np.cos(azimuth)
    cos_t = height_to_width / secants * np.sqrt(np.maximum(distance2, 0) + (tan_s * tan_v * np.sin(azimuth)) ** 2)
    cos_t = np.minimum(cos_t, 1.0)
    t = np.arccos(cos_t)
    overlap = secants / np.pi * (t - np.sin(t) * cos_t - np.pi)
    return overlap + (1 + np.cos(_phase(sun_zenith, view_zenith, azimuth))) / (
        2 * np.cos(sun_zenith) * np.cos(view_zenith)
    )


def _phase(sun_zenith: np.ndarray, view_zenith: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    cosine = np.cos(sun_zenith) * np.cos(view_zenith) + np.sin(sun_zenith) * np.sin(view_zenith) * np.cos(azimuth)
    return np.arccos(np.clip(cosine, -1.0, 1.0))


def kernel_pair(
    sun_zenith: np.ndarray, view_zenith: np.ndarray, azimuth: np.ndarray, kernels: Kernels = "roy"
) -> tuple[np.ndarray, np.ndarray]:
    """What V and what R multiply: (volume, geometric), or in ``wasp1`` the other way round with h/b = 1. Degrees."""
    sun, view, relative = (np.deg2rad(np.asarray(a, dtype="f8")) for a in (sun_zenith, view_zenith, azimuth))
    if kernels == "wasp1":
        return geometric_kernel(sun, view, relative, 1.0), volume_kernel(sun, view, relative)
    return volume_kernel(sun, view, relative), geometric_kernel(sun, view, relative)


def factor(
    coefficients: Coefficients,
    sun_zenith: np.ndarray,
    view_zenith: np.ndarray,
    azimuth: np.ndarray,
    kernels: Kernels = "roy",
    ndvi: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Directional factor M(sun, nadir) / M(sun, view), float64, of the broadcast shape; NaN where an angle is.

    Angles in degrees, ``azimuth`` = sun azimuth - view azimuth; ``ndvi`` matters only where V or R depend on it.
    """
    sun, view, azimuth = np.broadcast_arrays(*(np.asarray(a, dtype="f8") for a in (sun_zenith, view_zenith, azimuth)))
    if kernels == "none":
        return np.ones(np.broadcast_shapes(sun.shape, np.shape(ndvi)))
    v, r = coefficients.v0 + coefficients.v1 * ndvi, coefficients.r0 + coefficients.r1 * ndvi
    at_view = kernel_pair(sun, view, azimuth, kernels)
    at_nadir = kernel_pair(sun, np.zeros_like(view), np.zeros_like(azimuth), kernels)
    return np.where(
        np.isnan(view) | np.isnan(azimuth),
        np.nan,
        (1 + v * at_nadir[0] + r * at_nadir[1]) / (1 + v * at_view[0] + r * at_view[1]),
    )


def fill_nodes(grid: np.ndarray) -> np.ndarray:
    """Nodes without an angle take the nearest node's value; all NaN stays NaN."""
    hole = np.isnan(grid)
    if not hole.any() or hole.all():
        return grid
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(hole, return_distances=False, return_indices=True)
    return grid[tuple(nearest)]


def read_scattering(path: str | Path) -> dict[str, Coefficients]:
    """Coefficients from a scattering-function file: ``#`` comments, one line ``V0 V1 R0 R1`` per band, in the order
    B2 B3 B4 B8 B5 B6 B7 B8A B11 B12.

    Raises
    ------
    ProcessError
        ``ProcessParameterInvalid`` where the file has another number of lines or values.
    """
    lines = [line.split("#")[0].split() for line in Path(path).read_text().splitlines()]
    rows = [line for line in lines if line]
    if len(rows) != len(SCATTERING_ORDER) or any(len(row) != 4 for row in rows):
        raise ProcessError(
            "ProcessParameterInvalid",
            f"The scattering-function file needs {len(SCATTERING_ORDER)} lines of four numbers, V0 V1 R0 R1; "
            f"it has {len(rows)} lines.",
        )
    return {band: Coefficients(*map(float, row)) for band, row in zip(SCATTERING_ORDER, rows)}


def coefficients_from(table: Mapping[str, Mapping[str, float] | list[float]] | None) -> dict[str, Coefficients]:
    """Coefficients per band from a user's table ``{band: [V0, V1, R0, R1]}``; None gives `ROY_2016`."""
    if table is None:
        return dict(ROY_2016)
    found = dict(ROY_2016)
    for band, values in table.items():
        numbers = (
            [values.get(k, 0.0) for k in ("v0", "v1", "r0", "r1")] if isinstance(values, Mapping) else list(values)
        )
        if len(numbers) != 4:
            raise parameter_invalid("coefficients", f"band {band} needs four numbers V0, V1, R0, R1.")
        found[band] = Coefficients(*map(float, numbers))
    return found
