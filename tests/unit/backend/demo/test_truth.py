"""Products against the truth layers, and the truth against physics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from backend.demo.archive import Archive
from backend.demo.geometry import sun_angles
from backend.demo.weather import cloud_depth, cloud_threshold
from tests.unit.backend.demo.conftest import raster


def _truth(archive: Archive, product: Path, name: str, band: int = 1) -> NDArray:
    tile, day = product.name.split("_")[3], product.name.split("_")[1][:8]
    with rasterio.open(archive.folder / "truth" / tile / day / f"{name}.tif") as src:
        return src.read(band) * src.scales[band - 1]


def _read(product: Path, name: str) -> NDArray:
    with rasterio.open(raster(product, name)) as src:
        return src.read(1)


def test_clear_reflectance_is_the_truth_within_its_noise(archive: Archive) -> None:
    checked = 0
    for product in archive.products:
        clear = (_truth(archive, product, "cloud_optical_depth") < 0.002) & (_truth(archive, product, "shadow") < 0.01)
        clear &= (_truth(archive, product, "cirrus_optical_depth") < 0.002) & (
            _truth(archive, product, "relief_shadow") < 0.01
        )
        clear &= _truth(archive, product, "detector") > 0
        clear &= (_read(product, "MG2_R1") & 0b1111_0000) == 0
        for k, band in enumerate(("B2", "B3", "B4", "B8"), 1):
            truth = _truth(archive, product, "reflectance_10m", k)[clear]
            found = _read(product, f"FRE_{band}")[clear] / 10000
            if clear.sum() > 500:
                checked += 1
                assert abs(np.median(found - truth)) < 0.006
                assert np.std(found - truth) < 0.008
    assert checked >= 8


def test_masks_agree_with_the_truth(archive: Archive) -> None:
    for product in archive.products:
        valid = _truth(archive, product, "detector") > 0
        np.testing.assert_array_equal(_read(product, "EDG_R1") == 0, valid)
        np.testing.assert_array_equal(_read(product, "FRE_B2") == -10000, ~valid)
        depth, high = _truth(archive, product, "cloud_optical_depth"), _truth(archive, product, "cirrus_optical_depth")
        clm = _read(product, "CLM_R1")
        sure = (np.abs(depth - 0.05) > 0.002) & (np.abs(high - 0.06) > 0.002) & (np.abs(high - 0.02) > 0.002) & valid
        np.testing.assert_array_equal(((clm & 2) > 0)[sure], ((depth > 0.05) | (high > 0.06))[sure])
        np.testing.assert_array_equal(((clm & 128) > 0)[sure], (high > 0.02)[sure])
        mg2 = _read(product, "MG2_R1")
        np.testing.assert_array_equal((mg2 & 2) > 0, (clm & 2) > 0)
        np.testing.assert_array_equal((mg2 & 8) > 0, (clm & 0b1100) > 0)


def test_snow_follows_the_season(archive: Archive) -> None:
    lines = [w.snow_line for w in archive.season.weather]
    assert max(lines) - min(lines) > 800
    tile = archive.products[0].name.split("_")[3]
    with rasterio.open(archive.folder / "rasters" / f"DEM_{tile}.tif") as src:
        height = src.read(1)
    product = archive.products[int(np.argmin(lines)) * 2]
    snow = _truth(archive, product, "snow_fraction")
    if height.max() > min(lines) + 300:
        assert snow[height > min(lines) + 300].mean() > snow[height < min(lines) - 300].mean()


def test_ndvi_follows_the_fields(archive: Archive) -> None:
    tile = archive.products[0].name.split("_")[3]
    with rasterio.open(archive.folder / "truth" / tile / "static" / "land_cover.tif") as src:
        code = src.read(1)
    series = [np.mean(_truth(archive, p, "ndvi")[np.isin(code, (11, 12))]) for p in archive.products[::2]]
    assert max(series) - min(series) > 0.1


def test_both_zones_show_the_same_ground(archive: Archive) -> None:
    """The eastern tile warped onto the western one agrees, in what is fixed and in what changes."""
    west, east = (t.name for t in archive.season.tiles)
    folder = archive.folder / "truth"
    names = [
        "static/elevation",
        *(f"{t.time:%Y%m%d}/{n}" for t in archive.season.tracks for n in ("reflectance_10m", "aot")),
    ]
    for name in names:
        with (
            rasterio.open(folder / f"T{west}" / f"{name}.tif") as a,
            rasterio.open(folder / f"T{east}" / f"{name}.tif") as b,
        ):
            options = {"crs": a.crs, "transform": a.transform, "width": a.width, "height": a.height}
            ones = np.zeros((1,), np.uint8)
            with WarpedVRT(b, resampling=Resampling.bilinear, nodata=-1, **options) as warped:
                there = warped.read(1).astype(float)
            here = a.read(1).astype(float)
            both = there != -1
            assert both.mean() > 0.3, ones
            difference = (there - here)[both] * a.scales[0]
            limit = 0.5 if "elevation" in name else 0.004
            assert np.median(np.abs(difference)) < limit, name


def test_shadow_is_the_cloud_displaced_along_the_sun(archive: Archive) -> None:
    """Evaluated from the definition: the point whose line to the sun meets the cloud at its height is in its shadow."""
    season = archive.season
    k = int(np.argmax([0.2 < w.cover < 0.8 for w in season.weather]))
    track, weather = season.tracks[k], season.weather[k]
    zenith, azimuth = sun_angles(track.time, season.lon, season.lat)
    reach = np.tan(np.radians(zenith)) * np.array([np.sin(np.radians(azimuth)), np.cos(np.radians(azimuth))])
    product = archive.products[2 * k]
    tile = season.tiles[0]
    assert f"T{tile.name}" in product.name
    from backend.demo.geometry import Ground, PixelMap

    pixels = PixelMap(Ground(season.lon, season.lat), tile.epsg, tile.transform, tile.size)
    x, y = pixels.block(0, 0, tile.size, tile.size)
    with rasterio.open(archive.folder / "rasters" / f"DEM_T{tile.name}.tif") as src:
        up = weather.base - src.read(1).astype(float)
    layer = (weather.size, cloud_threshold(weather.cover), weather.thickness, weather.seed)
    shadow = _truth(archive, product, "shadow")
    rows = range(0, tile.size, 12)
    depth = np.array(
        [
            [cloud_depth(x[r, c] + up[r, c] * reach[0], y[r, c] + up[r, c] * reach[1], *layer) for c in rows]
            for r in rows
        ]
    )
    dark = shadow[::12, ::12]
    thick, none = depth > 1.0, depth == 0
    assert (up > 200).all()
    if thick.any():
        assert dark[thick].min() > 0.3
    if none.any() and weather.cirrus == 0:
        assert dark[none].max() < 0.01
    assert thick.any() or none.any()


def test_quality_indices_count_the_masks(archive: Archive) -> None:
    from xml.etree import ElementTree

    for product in archive.products:
        root = ElementTree.parse(next(product.glob("*_MTD_ALL.xml"))).getroot()
        stated = {e.get("name"): e.text for e in root.iter("QUALITY_INDEX")}
        valid = _read(product, "EDG_R1") == 0
        cloud = (_read(product, "CLM_R1") & 2) > 0
        assert float(stated["CloudPercent"] or -1) == pytest.approx(
            100 * cloud[valid].mean() if valid.any() else 0, abs=0.51
        )
