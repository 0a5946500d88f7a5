"""What the bands of each sensor are: common names (STAC eo extension), centre and width in um, ground sampling.

Sentinel-2: ESA, MSI instrument (S2A nominal values). Landsat-8/9: USGS, OLI and TIRS. VENuS: CNES, VSSC. SPOT-4/5:
CNES, HRVIR and HRG.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spectral:
    """One spectral band of a sensor; wavelengths in um, ground sampling in m."""

    name: str
    common_name: str | None
    centre: float
    width: float
    gsd: float

    def fields(self) -> dict[str, Any]:
        """STAC fields of a band."""
        out: dict[str, Any] = {
            "eo:center_wavelength": self.centre,
            "eo:full_width_half_max": self.width,
            "gsd": self.gsd,
        }
        return {"eo:common_name": self.common_name, **out} if self.common_name else out


def _table(*rows: tuple[str, str | None, float, float, float]) -> dict[str, Spectral]:
    return {row[0]: Spectral(*row) for row in rows}


SENTINEL2 = _table(
    ("B01", "coastal", 0.443, 0.021, 60),
    ("B02", "blue", 0.490, 0.066, 10),
    ("B03", "green", 0.560, 0.036, 10),
    ("B04", "red", 0.665, 0.031, 10),
    ("B05", "rededge071", 0.704, 0.015, 20),
    ("B06", "rededge075", 0.740, 0.015, 20),
    ("B07", "rededge078", 0.783, 0.020, 20),
    ("B08", "nir", 0.842, 0.106, 10),
    ("B8A", "nir08", 0.865, 0.021, 20),
    ("B09", "nir09", 0.945, 0.020, 60),
    ("B10", "cirrus", 1.375, 0.031, 60),
    ("B11", "swir16", 1.610, 0.091, 20),
    ("B12", "swir22", 2.190, 0.175, 20),
)

LANDSAT8 = _table(
    ("B01", "coastal", 0.443, 0.016, 30),
    ("B02", "blue", 0.482, 0.060, 30),
    ("B03", "green", 0.561, 0.057, 30),
    ("B04", "red", 0.655, 0.037, 30),
    ("B05", "nir08", 0.865, 0.028, 30),
    ("B06", "swir16", 1.609, 0.085, 30),
    ("B07", "swir22", 2.201, 0.187, 30),
    ("B08", "pan", 0.590, 0.172, 15),
    ("B09", "cirrus", 1.373, 0.020, 30),
    ("B10", "lwir11", 10.895, 0.587, 100),
    ("B11", "lwir12", 12.005, 1.010, 100),
)

# TM and ETM+ number their bands differently from OLI
LANDSAT_TM = _table(
    ("B01", "blue", 0.485, 0.070, 30),
    ("B02", "green", 0.560, 0.080, 30),
    ("B03", "red", 0.660, 0.060, 30),
    ("B04", "nir08", 0.830, 0.140, 30),
    ("B05", "swir16", 1.650, 0.200, 30),
    ("B06", "lwir", 11.450, 2.100, 60),
    ("B07", "swir22", 2.215, 0.270, 30),
    ("B08", "pan", 0.710, 0.380, 15),
)

VENUS = _table(
    ("B01", "coastal", 0.420, 0.040, 5),
    ("B02", None, 0.443, 0.040, 5),
    ("B03", "blue", 0.490, 0.040, 5),
    ("B04", "green", 0.555, 0.040, 5),
    ("B05", "yellow", 0.620, 0.040, 5),
    ("B06", None, 0.620, 0.040, 5),
    ("B07", "red", 0.667, 0.030, 5),
    ("B08", "rededge071", 0.702, 0.024, 5),
    ("B09", "rededge075", 0.742, 0.016, 5),
    ("B10", "rededge078", 0.782, 0.016, 5),
    ("B11", "nir08", 0.865, 0.040, 5),
    ("B12", "nir09", 0.910, 0.020, 5),
)

SPOT4 = _table(
    ("XS1", "green", 0.545, 0.090, 20),
    ("XS2", "red", 0.645, 0.070, 20),
    ("XS3", "nir", 0.835, 0.110, 20),
    ("SWIR", "swir16", 1.665, 0.170, 20),
)

MASKS = ("CLOUD", "CLOUD_SHADOW", "CIRRUS", "SNOW", "WATER", "VALID")
ANGLES = ("SZA", "SAA", "VZA", "VAA")
