"""Landsat-8 surface reflectance over the same ground, in the layout of Collection 2 level 2 (L2SP)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent, tostring

import numpy as np
from numpy.typing import NDArray

from backend.demo import angles
from backend.demo import radiometry as rm
from backend.demo.geometry import earth_sun_factor
from backend.demo.observe import Acquisition, coarsen
from backend.demo.raster import Layout
from backend.demo.scene import Block, Statics, Truth
from backend.demo.sink import ProductSink
from backend.demo.spectra import LANDSAT_FROM_S2, S2_BANDS

SCALE, ADD = 2.75e-5, -0.2
ST_SCALE, ST_ADD = 0.00341802, 149.0
RASTERS = {
    # suffix: (dtype, nodata)
    **{f"SR_{b}": ("uint16", 0) for b in LANDSAT_FROM_S2},
    "ST_B10": ("uint16", 0), "ST_QA": ("int16", -9999), "SR_QA_AEROSOL": ("uint8", 1), "QA_PIXEL": ("uint16", 1),
    "QA_RADSAT": ("uint16", None),
}  # fmt: skip


def product_name(acquisition: Acquisition) -> str:
    """Product id; the tile's name is path and row."""
    when = acquisition.track.time
    return f"LC08_L2SP_{acquisition.tile.name}_{when:%Y%m%d}_{when + timedelta(days=10):%Y%m%d}_02_T1"


class LandsatSink(ProductSink):
    """Writes one product."""

    def __init__(self, archive: Path, acquisition: Acquisition, layout: Layout) -> None:
        super().__init__(archive, product_name(acquisition), acquisition)
        for key, (dtype, nodata) in RASTERS.items():
            average = "AVERAGE" if key.startswith(("SR_B", "ST_B")) else None
            self._open(key, f"{self.name}_{key}.TIF", 30, dtype, layout=layout, nodata=nodata, resampling=average)
        self._counts = {"valid": 0, "cloud": 0, "land": 0, "land_cloud": 0}

    def add(self, block: Block, ground: Statics, truth: Truth) -> None:
        """Render and write one block."""
        at = (block[0] // 3, block[1] // 3)
        valid = coarsen((truth.detector > 0).astype(np.float32), 3) == 1
        for number, (band, source) in enumerate(LANDSAT_FROM_S2.items()):
            rho = coarsen(rm.surface(truth, S2_BANDS.index(source)), 3)
            seed = self.acquisition.weather.seed * 41 + number
            rho, _ = rm.digital(rho, valid, *at, seed, *rm.NOISE)
            stored = np.clip(np.rint((np.nan_to_num(rho) - ADD) / SCALE), 1, 65535)
            self._files[f"SR_{band}"].write(np.where(valid, stored, 0).astype(np.uint16), *at)
        kelvin = coarsen(self._temperature(ground, truth), 3)
        stored = np.clip(np.rint((kelvin - ST_ADD) / ST_SCALE), 1, 65535)
        self._files["ST_B10"].write(np.where(valid, stored, 0).astype(np.uint16), *at)
        self._files["ST_QA"].write(np.where(valid, 200, -9999).astype(np.int16), *at)
        quality, cloud = self._quality(ground, truth, valid)
        self._files["QA_PIXEL"].write(quality, *at)
        self._files["QA_RADSAT"].write(np.zeros(valid.shape, np.uint16), *at)
        # valid retrieval; level low, medium or high in the two highest bits
        level = 1 + np.digitize(coarsen(truth.aot, 3), (0.1, 0.3))
        aerosol = np.where(valid, 2 | (level << 6), 1)
        self._files["SR_QA_AEROSOL"].write(aerosol.astype(np.uint8), *at)
        land = valid & (coarsen(ground.wet, 3) < 50)
        for key, found in (("valid", valid), ("cloud", cloud), ("land", land), ("land_cloud", cloud & land)):
            self._counts[key] += int(found.sum())

    def _temperature(self, ground: Statics, truth: Truth) -> NDArray:
        """Surface temperature (K), for looks only: season, 6.5 K per km, sunlit slopes, cool water and vegetation."""
        season = 0.5 - 0.5 * np.cos(2 * np.pi * (self.acquisition.weather.day - 20) / 365)
        land = 277 + 26 * season - 0.0065 * (ground.z - 400) + 9 * (truth.cos_i - 0.5) - 9 * season * truth.ndvi
        water = ground.wet / 100
        out = (1 - water) * land + water * (278 + 14 * season)
        out = np.where(truth.snow > 0.5, np.minimum(out, 273.15), out)
        return np.where(truth.cloud > rm.CLOUD_SEEN, 255.0, out).astype(np.float32)

    def _quality(self, ground: Statics, truth: Truth, valid: NDArray) -> tuple[NDArray, NDArray]:
        """QA_PIXEL (Landsat 8-9 Collection 2 level 2 science product guide, LSDS-1619, table 6-3) and the cloud flag."""
        share = {
            "cloud": truth.cloud > rm.CLOUD_SEEN,
            "near": truth.cloud > rm.CLOUD_THIN,
            "cirrus": truth.cirrus > rm.CIRRUS_SEEN,
            "shadow": truth.shade > rm.SHADE_SEEN,
            "snow": truth.snow >= rm.SNOW_SEEN,
            "water": ground.wet >= 50,
        }
        flag = {k: coarsen(v.astype(np.float32), 3) >= 0.5 for k, v in share.items()}
        cloud, near = flag["cloud"], flag["near"] & ~flag["cloud"]
        shadow = flag["shadow"] & ~cloud
        snow = flag["snow"] & ~cloud & ~shadow
        clear = ~cloud & ~near
        bits = (
            (1, near), (2, flag["cirrus"]), (3, cloud), (4, shadow), (5, snow), (6, clear), (7, flag["water"] & clear),
        )  # fmt: skip
        out = np.zeros(valid.shape, np.uint16)
        for bit, found in bits:
            out |= found.astype(np.uint16) << bit
        for bit, found in ((8, cloud), (10, shadow), (12, snow), (14, flag["cirrus"])):
            # confidence: 3 high where found, 1 low elsewhere
            out |= np.where(found, 3, 1).astype(np.uint16) << bit
        return np.where(valid, out, 1).astype(np.uint16), cloud & valid

    def _finish(self) -> None:
        n = self._counts
        groups = metadata(
            self.acquisition,
            self.name,
            100 * n["cloud"] / max(n["valid"], 1),
            100 * n["land_cloud"] / max(n["land"], 1),
        )
        (self.folder / f"{self.name}_MTL.txt").write_text(mtl_text(groups))
        (self.folder / f"{self.name}_MTL.xml").write_text(mtl_xml(groups), encoding="utf-8")


def metadata(acquisition: Acquisition, name: str, cloud: float, land_cloud: float) -> dict[str, dict[str, Any]]:
    """Groups of the MTL; strings are quoted in its text form, `Bare` ones are not."""
    tile, when = acquisition.tile, acquisition.track.time
    zenith, azimuth = angles.mean_sun(acquisition)
    path, row = int(tile.name[:3]), int(tile.name[3:])
    bands = [f"{k}" for k in range(1, 8)]
    made = when + timedelta(days=10)
    content = {
        "ORIGIN": "Synthetic: tuile demo-archive",
        "LANDSAT_PRODUCT_ID": name, "PROCESSING_LEVEL": "L2SP", "COLLECTION_NUMBER": Bare("02"),
        "COLLECTION_CATEGORY": "T1", "OUTPUT_FORMAT": "GEOTIFF",
    }  # fmt: skip
    content |= {f"FILE_NAME_BAND_{b}": f"{name}_SR_B{b}.TIF" for b in bands}
    content |= {
        "FILE_NAME_BAND_ST_B10": f"{name}_ST_B10.TIF",
        "FILE_NAME_QUALITY_L2_AEROSOL": f"{name}_SR_QA_AEROSOL.TIF",
        "FILE_NAME_QUALITY_L2_SURFACE_TEMPERATURE": f"{name}_ST_QA.TIF",
        "FILE_NAME_QUALITY_L1_PIXEL": f"{name}_QA_PIXEL.TIF",
        "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION": f"{name}_QA_RADSAT.TIF",
        "FILE_NAME_METADATA_ODL": f"{name}_MTL.txt",
        "FILE_NAME_METADATA_XML": f"{name}_MTL.xml",
    }
    content |= {f"DATA_TYPE_BAND_{b}": "UINT16" for b in bands} | {"DATA_TYPE_BAND_ST_B10": "UINT16"}
    attributes = {
        "SPACECRAFT_ID": "LANDSAT_8", "SENSOR_ID": "OLI_TIRS", "WRS_TYPE": 2, "WRS_PATH": path, "WRS_ROW": row,
        "NADIR_OFFNADIR": "NADIR", "TARGET_WRS_PATH": path, "TARGET_WRS_ROW": row,
        "DATE_ACQUIRED": Bare(f"{when:%Y-%m-%d}"), "SCENE_CENTER_TIME": f"{when:%H:%M:%S.%f}0Z",
        "CLOUD_COVER": round(cloud, 2), "CLOUD_COVER_LAND": round(land_cloud, 2), "IMAGE_QUALITY_OLI": 9,
        "IMAGE_QUALITY_TIRS": 9, "ROLL_ANGLE": 0.0, "SUN_AZIMUTH": round(azimuth, 8),
        "SUN_ELEVATION": round(90 - zenith, 8), "EARTH_SUN_DISTANCE": round(earth_sun_factor(when) ** -0.5, 7),
    }  # fmt: skip
    record = {
        "ORIGIN": "Synthetic: tuile demo-archive", "LANDSAT_PRODUCT_ID": name, "PROCESSING_LEVEL": "L2SP",
        "OUTPUT_FORMAT": "GEOTIFF", "DATE_PRODUCT_GENERATED": Bare(f"{made:%Y-%m-%dT%H:%M:%SZ}"),
        "PROCESSING_SOFTWARE_VERSION": "TUILE_DEMO",
    }  # fmt: skip
    reflectance: dict[str, Any] = {}
    for key, value in (
        ("REFLECTANCE_MAXIMUM", 1.602213), ("REFLECTANCE_MINIMUM", -0.199972), ("QUANTIZE_CAL_MAX", 65535),
        ("QUANTIZE_CAL_MIN", 1), ("REFLECTANCE_MULT", SCALE), ("REFLECTANCE_ADD", ADD),
    ):  # fmt: skip
        reflectance |= {f"{key}_BAND_{b}": value for b in bands}
    temperature = {"TEMPERATURE_MULT_BAND_ST_B10": ST_SCALE, "TEMPERATURE_ADD_BAND_ST_B10": ST_ADD}
    return {
        "PRODUCT_CONTENTS": content, "IMAGE_ATTRIBUTES": attributes, "PROJECTION_ATTRIBUTES": _projection(acquisition),
        "LEVEL2_PROCESSING_RECORD": record, "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": reflectance,
        "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS": temperature,
    }  # fmt: skip


def _projection(acquisition: Acquisition) -> dict[str, Any]:
    tile = acquisition.tile
    _, size = tile.resized(30)
    reach = (size - 1) * 30
    # the corners are those of pixel centres
    left, top = tile.ulx + 15, tile.uly - 15
    out: dict[str, Any] = {
        "MAP_PROJECTION": "UTM", "DATUM": "WGS84", "ELLIPSOID": "WGS84", "UTM_ZONE": tile.epsg % 100,
        "GRID_CELL_SIZE_REFLECTIVE": Bare("30.00"), "GRID_CELL_SIZE_THERMAL": Bare("30.00"), "REFLECTIVE_LINES": size,
        "REFLECTIVE_SAMPLES": size, "THERMAL_LINES": size, "THERMAL_SAMPLES": size, "ORIENTATION": "NORTH_UP",
    }  # fmt: skip
    corners = {
        "UL": (left, top),
        "UR": (left + reach, top),
        "LL": (left, top - reach),
        "LR": (left + reach, top - reach),
    }
    for corner, (x, y) in corners.items():
        lon, lat = tile.lonlat(x, y)
        out |= {f"CORNER_{corner}_LAT_PRODUCT": round(lat, 5), f"CORNER_{corner}_LON_PRODUCT": round(lon, 5)}
    for corner, (x, y) in corners.items():
        out |= {f"CORNER_{corner}_PROJECTION_X_PRODUCT": Bare(f"{x:.3f}"), f"CORNER_{corner}_PROJECTION_Y_PRODUCT": Bare(f"{y:.3f}")}  # fmt: skip
    return out


class Bare(str):
    """A value that the text form writes without quotes."""


def mtl_text(groups: dict[str, dict[str, Any]]) -> str:
    """The MTL as text (object description language)."""
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for group, entries in groups.items():
        lines.append(f"  GROUP = {group}")
        for key, value in entries.items():
            quoted = isinstance(value, str) and not isinstance(value, Bare)
            lines.append(f'    {key} = "{value}"' if quoted else f"    {key} = {value}")
        lines.append(f"  END_GROUP = {group}")
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])


def mtl_xml(groups: dict[str, dict[str, Any]]) -> str:
    """The MTL as XML."""
    root = Element("LANDSAT_METADATA_FILE")
    for group, entries in groups.items():
        parent = SubElement(root, group)
        for key, value in entries.items():
            SubElement(parent, key).text = str(value)
    indent(ElementTree(root), "  ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"
