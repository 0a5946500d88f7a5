"""Reflectance of what the world is made of, in the bands of Sentinel-2 and Landsat-8.

Typical values read off published spectra (USGS Spectral Library 7, Kokaly et al. 2017; snow after Warren 1982 and
Wiscombe & Warren 1980), rounded: they are meant to be plausible, not measurements.
"""

from __future__ import annotations

import numpy as np

S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Order of the first axis of every reflectance array here."""

S2_RESOLUTION = dict(zip(S2_BANDS, (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 60, 20, 20), strict=True))

S2_CENTRE = {
    "B01": 442.7, "B02": 492.7, "B03": 559.8, "B04": 664.6, "B05": 704.1, "B06": 740.5, "B07": 782.8,
    "B08": 832.8, "B8A": 864.7, "B09": 945.1, "B10": 1373.5, "B11": 1613.7, "B12": 2202.4,
}  # fmt: skip
"""Central wavelength (nm) of Sentinel-2A, as its L1C metadata states it."""

S2_WIDTH = {
    "B01": 20, "B02": 65, "B03": 35, "B04": 30, "B05": 14, "B06": 14, "B07": 19, "B08": 105, "B8A": 20, "B09": 19,
    "B10": 30, "B11": 90, "B12": 174,
}  # fmt: skip
"""Full width at half maximum (nm)."""

SOLAR_IRRADIANCE = {
    "B01": 1884.69, "B02": 1959.66, "B03": 1823.24, "B04": 1512.06, "B05": 1424.64, "B06": 1287.61, "B07": 1162.08,
    "B08": 1041.63, "B8A": 955.32, "B09": 812.92, "B10": 367.15, "B11": 245.59, "B12": 85.25,
}  # fmt: skip
"""Sun outside the atmosphere (W/m2/um) of Sentinel-2A."""

PHYSICAL_GAIN = {
    "B01": 4.055, "B02": 3.796, "B03": 4.188, "B04": 4.514, "B05": 5.202, "B06": 4.871, "B07": 4.536, "B08": 6.196,
    "B8A": 5.137, "B09": 8.537, "B10": 54.941, "B11": 35.182, "B12": 105.883,
}  # fmt: skip
"""Digital counts per W/m2/sr/um."""

DIFFUSE_SHARE = np.array([0.34, 0.27, 0.20, 0.13, 0.115, 0.10, 0.09, 0.08, 0.075, 0.06, 0.03, 0.025, 0.015], np.float32)
"""Share of the light on flat ground that comes from the sky, clear air, sun at 45 degrees (order of `S2_BANDS`)."""

CLOUD_COLOUR = np.array([1, 1, 1, 1, 1, 0.995, 0.99, 0.985, 0.98, 0.9, 0.55, 0.72, 0.5], np.float32)
"""Reflectance of a thick water cloud relative to the visible."""

CIRRUS_COLOUR = np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 0.95, 0.9, 0.62, 0.42], np.float32)

NAMES = (
    "crop", "grass", "broadleaf", "conifer", "soil_light", "soil_dark", "straw", "branches", "rock", "concrete", "roof",
    "asphalt", "water", "silt_water", "snow_new", "snow_old", "ice", "gravel", "flower",
)  # fmt: skip

_TABLE = """
.018 .023 .058 .028 .095 .345 .440 .465 .480 .475 .30 .195 .090
.028 .034 .070 .044 .112 .285 .350 .375 .390 .385 .30 .225 .112
.014 .019 .043 .021 .073 .265 .350 .375 .395 .390 .27 .165 .070
.011 .015 .029 .017 .043 .128 .168 .180 .190 .188 .13 .085 .040
.085 .105 .145 .195 .212 .230 .248 .262 .278 .285 .30 .355 .310
.042 .051 .074 .102 .116 .130 .143 .154 .166 .172 .19 .235 .200
.062 .076 .118 .168 .195 .222 .245 .262 .285 .290 .30 .345 .255
.030 .035 .049 .061 .078 .102 .118 .133 .150 .150 .15 .205 .150
.105 .122 .148 .168 .176 .184 .190 .196 .202 .204 .22 .240 .222
.110 .128 .150 .166 .176 .190 .200 .208 .214 .218 .23 .245 .225
.068 .076 .108 .192 .220 .238 .250 .258 .268 .272 .29 .320 .300
.058 .066 .078 .088 .094 .102 .108 .114 .120 .122 .13 .150 .145
.034 .037 .040 .024 .020 .014 .012 .011 .010 .009 .006 .004 .003
.046 .058 .083 .072 .062 .040 .035 .031 .025 .020 .010 .006 .004
.945 .955 .950 .940 .932 .915 .898 .880 .845 .800 .35 .120 .095
.760 .775 .780 .765 .748 .715 .680 .650 .605 .550 .20 .055 .045
.480 .500 .495 .425 .385 .335 .300 .265 .225 .185 .08 .030 .022
.125 .150 .190 .222 .235 .246 .254 .262 .268 .270 .28 .300 .275
.025 .034 .185 .175 .220 .390 .450 .470 .485 .480 .30 .200 .095
"""
ENDMEMBERS = np.array([[float(v) for v in row.split()] for row in _TABLE.split("\n") if row], np.float32)
"""Reflectance (endmember, band)."""

LANDSAT_FROM_S2 = {"B1": "B01", "B2": "B02", "B3": "B03", "B4": "B04", "B5": "B8A", "B6": "B11", "B7": "B12"}
"""Band of Landsat-8 OLI -> the Sentinel-2 band whose reflectance stands for it."""


def index(name: str) -> int:
    """Row of an endmember in `ENDMEMBERS`."""
    return NAMES.index(name)


def spectral_response(band: str) -> tuple[int, int, np.ndarray]:
    """First and last wavelength (nm) and response per nm: a super-Gaussian of the band's centre and width.

    A smooth stand-in for the measured response with the same centre and full width at half maximum.
    """
    centre, width = S2_CENTRE[band], S2_WIDTH[band]
    reach = width * 0.5 * 1.25
    nm = np.arange(int(centre - reach), int(centre + reach) + 2)
    return int(nm[0]), int(nm[-1]), np.exp(-np.log(2) * np.abs((nm - centre) / (width / 2)) ** 8)
