"""The Landsat-8 series: layout, scaling, agreement with the Sentinel-2 truth."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from backend.demo.archive import Archive, generate
from backend.demo.geometry import windows
from backend.demo.wrs import landsat_passes, path_row, scene_window


@pytest.fixture(scope="module")
def landsat(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Sentinel-2 and Landsat over a window of 1.2 km."""
    folder = tmp_path_factory.mktemp("landsat") / "archive"
    options = {
        "size": 120,
        "dates": 2,
        "tiles": ("31TGK",),
        "families": ("muscate", "landsat"),
        "bands": ("B04",),
        "seed": 6,
        "days": 40,
        "start": date(2024, 6, 1),
    }
    return generate(folder, workers=1, sre=False, **options)


def _products(archive: Archive) -> list[Path]:
    return [p for p in archive.products if p.name.startswith("LC08")]


def _shape(text: str) -> set[tuple[str, str]]:
    group, out = "", set()
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "GROUP":
            group = value
        elif value and key != "END_GROUP":
            out.add((group, key))
    return out


def test_layout(landsat: Archive, shared: Path) -> None:
    assert len(_products(landsat)) == 2
    (true,) = (shared / "data" / "landsat8_c2_L2SP_decimated").glob("*_MTL.txt")
    known = _shape(true.read_text())
    for product in _products(landsat):
        assert re.fullmatch(r"LC08_L2SP_\d{6}_\d{8}_\d{8}_02_T1", product.name)
        text = (product / f"{product.name}_MTL.txt").read_text()
        assert _shape(text) <= known
        assert text.endswith("END\n")
        listed = set(re.findall(r'FILE_NAME_\w+ = "(.*)"', text))
        assert listed == {p.name for p in product.iterdir()}
        root = ElementTree.parse(product / f"{product.name}_MTL.xml").getroot()
        assert {(g.tag, e.tag) for g in root for e in g} == _shape(text)
        with rasterio.open(product / f"{product.name}_SR_B4.TIF") as src:
            assert (src.dtypes[0], src.nodata, src.res) == ("uint16", 0, (30, 30))
            # pixel centres on multiples of 30 m
            assert (src.bounds.left - 15) % 30 == (src.bounds.top - 15) % 30 == 0
            stated = re.search(r"CORNER_UL_PROJECTION_X_PRODUCT = ([\d.]+)", text)
            assert stated is not None and float(stated[1]) == src.bounds.left + 15


def test_reflectance_and_masks_agree_with_the_truth(landsat: Archive) -> None:
    checked = 0
    for product in _products(landsat):
        scene, day = product.name.split("_")[2:4]
        truth = landsat.folder / "truth" / f"LC08_{scene}" / day

        def layer(name: str, band: int = 1, truth: Path = truth) -> np.ndarray:
            with rasterio.open(truth / f"{name}.tif") as src:
                return src.read(band) * src.scales[band - 1]

        with rasterio.open(product / f"{product.name}_QA_PIXEL.TIF") as src:
            quality = src.read(1)
        cloud = layer("cloud_optical_depth")
        assert ((quality & 8) > 0)[cloud > 1].all()
        assert not ((quality & 8) > 0)[cloud == 0].any()
        assert ((quality & 64) > 0)[cloud == 0].all()
        with rasterio.open(landsat.folder / "rasters" / "DEM_T31TGK.tif") as src:
            assert src.read(1).max() < 1200
        clear = (cloud == 0) & (layer("shadow") == 0) & (layer("cirrus_optical_depth") == 0)
        if clear.sum() < 200:
            continue
        for k in range(1, 8):
            with rasterio.open(product / f"{product.name}_SR_B{k}.TIF") as src:
                found = src.read(1) * 2.75e-5 - 0.2
            checked += 1
            assert abs(np.median((found - layer("reflectance_30m", k))[clear])) < 0.02
    assert checked >= 7


def test_it_shows_the_ground_sentinel2_shows(landsat: Archive) -> None:
    """Fields do not move between satellites: the red of both truths correlates across grids and a few weeks."""
    scene = landsat.season.scene.name
    day, s2 = landsat.season.landsat[0].time, landsat.season.tracks[0].time
    with (
        rasterio.open(landsat.folder / "truth" / "T31TGK" / f"{s2:%Y%m%d}" / "reflectance_10m.tif") as a,
        rasterio.open(landsat.folder / "truth" / f"LC08_{scene}" / f"{day:%Y%m%d}" / "reflectance_30m.tif") as b,
    ):
        options = {"crs": b.crs, "transform": b.transform, "width": b.width, "height": b.height}
        with WarpedVRT(a, resampling=Resampling.average, nodata=-1, **options) as warped:
            there = warped.read(1)
        here = b.read(list(b.descriptions).index("B04") + 1)
    both = there != -1
    assert both.sum() > 1000
    assert abs((day - s2).days) < 30
    assert np.corrcoef(here[both], there[both])[0, 1] > 0.8


def test_paths_and_rows() -> None:
    assert path_row(6.0, 44.6)[1] == 29
    path, row = path_row(1.5, 43.2)  # Toulouse lies in 198/030
    assert (path, row) == (198, 30)
    found = landsat_passes(5, 9, datetime(2015, 7, 1, tzinfo=UTC), 20, 5)
    assert [f"{t.time:%Y-%m-%d %H:%M}" for t in found] == ["2015-07-10 14:34"]


def test_scene_covers_the_tiles() -> None:
    tiles = windows(["31TGK", "32TLQ"], 180, 0.5)
    scene = scene_window("195029", tiles, 6.7)
    assert scene.epsg == 32632
    assert scene.size % 6 == 0
    east = tiles[1]
    assert scene.ulx <= east.ulx and scene.uly >= east.uly
    assert scene.ulx + scene.size * 10 >= east.ulx + 1800
    assert scene.uly - scene.size * 10 <= east.uly - 1800
