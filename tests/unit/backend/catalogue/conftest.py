"""Tiny products in their true layouts, and catalogues to put them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from backend.catalogue.index import Catalogue
from backend.store.db import Database

WriteRaster = Callable[..., Path]
TEN, TWENTY = ("B2", "B3", "B4", "B8"), ("B5", "B6", "B7", "B8A", "B11", "B12")


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue(Database(f"sqlite:///{tmp_path / 'index' / 'catalogue.sqlite'}")) as opened:
        yield opened


@pytest.fixture
def either(empty: Database) -> Catalogue:
    """A catalogue on each database."""
    return Catalogue(empty)


def write_raster(
    path: Path,
    values: np.ndarray,
    *,
    left: float = 300000,
    top: float = 4900020,
    step: float = 10,
    crs: str = "EPSG:32631",
    nodata: float | None = None,
    driver: str = "GTiff",
) -> Path:
    """A raster file of ``values`` (rows, cols) or (bands, rows, cols)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = values if values.ndim == 3 else values[None]
    extra = {"compress": "deflate"} if driver == "GTiff" else {"QUALITY": "100", "REVERSIBLE": "YES"}
    with rasterio.open(
        path, "w", driver=driver, height=bands.shape[1], width=bands.shape[2], count=bands.shape[0], dtype=bands.dtype,
        crs=crs, transform=Affine(step, 0, left, 0, -step, top), nodata=nodata, **extra,
    ) as out:  # fmt: skip
        out.write(bands)
    return path


MTD = """<?xml version="1.0" encoding="UTF-8"?>
<Muscate_Metadata_Document>
<Product_Characteristics><PRODUCT_ID>{name}</PRODUCT_ID><ACQUISITION_DATE>{when}</ACQUISITION_DATE>
<PRODUCTION_DATE>2019-01-02T03:04:05Z</PRODUCTION_DATE><PRODUCT_VERSION>{version}</PRODUCT_VERSION><ORBIT_NUMBER type="Orbit">{orbit}</ORBIT_NUMBER></Product_Characteristics>
<Product_Organisation><Muscate_Product><Image_List>{images}</Image_List></Muscate_Product></Product_Organisation>
<Geoposition_Informations><Coordinate_Reference_System><Horizontal_Coordinate_System><HORIZONTAL_CS_CODE>32631</HORIZONTAL_CS_CODE></Horizontal_Coordinate_System></Coordinate_Reference_System>
<Geopositioning><Group_Geopositioning_List><Group_Geopositioning group_id="R1"><ULX>300000</ULX><ULY>4900020</ULY></Group_Geopositioning></Group_Geopositioning_List></Geopositioning></Geoposition_Informations>
<Geometric_Informations><Mean_Value_List><Sun_Angles><ZENITH_ANGLE>30</ZENITH_ANGLE><AZIMUTH_ANGLE>150</AZIMUTH_ANGLE></Sun_Angles></Mean_Value_List></Geometric_Informations>
<Radiometric_Informations><REFLECTANCE_QUANTIFICATION_VALUE>10000</REFLECTANCE_QUANTIFICATION_VALUE></Radiometric_Informations>
<Quality_Informations><QUALITY_INDEX name="CloudPercent">12</QUALITY_INDEX></Quality_Informations>
</Muscate_Metadata_Document>"""


def make_muscate(
    root: Path,
    *,
    platform: str = "SENTINEL2A",
    when: str = "20180417-103813-308",
    tile: str = "T31TCJ",
    writer: str = "D",
    version: str = "1-9",
    clm: np.ndarray | None = None,
    xml: bool = True,
    orbit: int = 6626,
    left: float = 300000,
    bands: tuple[str, ...] = (*TEN, *TWENTY),
) -> Path:
    """A MUSCATE L2A product of 24 x 24 pixels at 10 m."""
    name = f"{platform}_{when}_L2A_{tile}_{writer}_V{version}"
    folder = root / name
    rng = np.random.default_rng(abs(hash(name)) % 2**32)
    images = ""
    for nature in ("FRE", "SRE"):
        for band in (*TEN, *TWENTY):
            images += f"<IMAGE_FILE>{name}_{nature}_{band}.tif</IMAGE_FILE>"
            if band in bands:
                n, step = (24, 10) if band in TEN else (12, 20)
                write_raster(
                    folder / f"{name}_{nature}_{band}.tif",
                    rng.integers(0, 5000, (n, n)).astype("i2"),
                    step=step,
                    left=left,
                )
    atb = np.stack([np.full((24, 24), 40, "u1"), np.full((24, 24), 20, "u1")])
    write_raster(folder / f"{name}_ATB_R1.tif", atb, left=left)
    masks = {
        "CLM": clm if clm is not None else np.zeros((24, 24), "u1"),
        "MG2": np.eye(24, dtype="u1") * 5,
        "EDG": np.tri(24, dtype="u1").T,
    }
    for kind, values in masks.items():
        write_raster(folder / "MASKS" / f"{name}_{kind}_R1.tif", values, left=left)
    if xml:
        day, clock, ms = when.split("-")
        iso = f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}.{ms}Z"
        text = MTD.format(name=name, when=iso, version=version.replace("-", "."), orbit=orbit, images=images)
        (folder / f"{name}_MTD_ALL.xml").write_text(text)
    return folder
