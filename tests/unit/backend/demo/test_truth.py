"""Products against the truth layers, and the truth against physics."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from backend.demo.archive import Archive
from backend.demo.cover import GRASSLAND
from backend.demo.geometry import Ground, PixelMap, Track, sun_angles
from backend.demo.scene import Statics, World
from backend.demo.surface import snow_fraction
from backend.demo.weather import cloud_depth, cloud_threshold, make_weather
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


def test_snow_lies_above_a_line_that_moves_with_the_season() -> None:
    height = np.tile(np.linspace(400, 3600, 200, dtype=np.float32), (40, 1))
    y, x = np.mgrid[0:40, 0:200] * 30.0
    lines = []
    for month in (2, 4, 7, 11):
        weather = make_weather(datetime(2024, month, 10, 10, 40, tzinfo=UTC), 0.5, 3, 44.6)
        rows = [
            [
                snow_fraction(x[r, c], y[r, c], float(height[r, c]), 0.0, 0.0, 0, weather.snow_line, 3)
                for c in range(200)
            ]
            for r in range(40)
        ]
        snow = np.array(rows)
        assert snow[height > weather.snow_line + 350].min() > 0.9
        assert snow[height < weather.snow_line - 350].max() < 0.1
        lines.append(weather.snow_line)
    assert lines[0] < lines[1] < lines[2] and lines[3] < lines[2]
    # crowns hide it, northern slopes keep it
    at = (0.0, 0.0, 2000.0)
    assert snow_fraction(*at, 0.0, 0.0, 100, 1500.0, 3) < 0.3 < snow_fraction(*at, 0.0, 0.0, 0, 1500.0, 3)
    assert snow_fraction(*at, 0.0, -0.4, 0, 2000.0, 3) > snow_fraction(*at, 0.0, 0.4, 0, 2000.0, 3)


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
            with WarpedVRT(b, resampling=Resampling.bilinear, nodata=-1, **options) as warped:
                there = warped.read(1).astype(float)
            here = a.read(1).astype(float)
            both = there != -1
            assert both.mean() > 0.3
            difference = (there - here)[both] * a.scales[0]
            limit = 0.5 if "elevation" in name else 0.004
            assert np.median(np.abs(difference)) < limit, name


def test_shadow_in_a_product_is_the_cloud_displaced_along_the_sun(archive: Archive) -> None:
    """Evaluated from the definition: the point whose line to the sun meets the cloud at its height is in its shadow."""
    season = archive.season
    (k,) = [k for k, w in enumerate(season.weather) if 0.2 < w.cover < 0.8 and w.cirrus == 0]
    track, weather, tile = season.tracks[k], season.weather[k], season.tiles[0]
    zenith, azimuth = np.radians(sun_angles(track.time, season.lon, season.lat))
    east, north = np.tan(zenith) * np.sin(azimuth), np.tan(zenith) * np.cos(azimuth)
    product = archive.products[2 * k]
    assert f"T{tile.name}" in product.name
    pixels = PixelMap(Ground(season.lon, season.lat), tile.epsg, tile.transform, tile.size)
    x, y = pixels.block(0, 0, tile.size, tile.size)
    with rasterio.open(archive.folder / "rasters" / f"DEM_T{tile.name}.tif") as src:
        up = weather.base - src.read(1).astype(float)
    layer = (weather.size, cloud_threshold(weather.cover), weather.thickness, weather.seed)
    rows = range(0, tile.size, 6)
    depth = np.array(
        [[cloud_depth(x[r, c] + up[r, c] * east, y[r, c] + up[r, c] * north, *layer) for c in rows] for r in rows]
    )
    dark = _truth(archive, product, "shadow")[::6, ::6]
    thick, none = depth > 1.0, depth == 0
    assert thick.sum() > 50 and none.sum() > 50
    assert dark[thick].min() > 0.3
    assert dark[none].max() < 0.01
    # and the picture is darker there
    visible = _read(product, "SRE_B3")[::6, ::6].astype(float)
    seen = (_read(product, "CLM_R1")[::6, ::6] & 2) == 0
    assert np.median(visible[thick & seen & (visible > -9000)]) < 0.6 * np.median(
        visible[none & seen & (visible > -9000)]
    )


def test_shadows_lie_where_sun_and_cloud_height_put_them() -> None:
    """On flat ground the shadow is the cloud in the image, moved away from the sun and back by the view's parallax."""
    step, side = 30.0, 360
    y, x = np.mgrid[0:side, 0:side] * np.array(step).reshape(1, 1, 1)
    y = -y
    flat = np.zeros((side, side), np.float32)
    ground = Statics(
        x=x, y=y, z=flat + 500, gx=flat, gy=flat, code=np.full(flat.shape, GRASSLAND, np.uint8),
        parcel=flat.astype(np.uint32), texture=flat.astype(np.int8), trees=flat.astype(np.uint8), wet=flat.astype(np.uint8),
    )  # fmt: skip
    when = datetime(2024, 9, 15, 10, 40, tzinfo=UTC)
    track = Track(8, 1, "A", when, 62_000.0)
    weather = replace(make_weather(when, 0.5, 3, 44.6), cover=0.3, base=2000.0, size=1500.0, cirrus=0.0)
    truth = World(3, 6.7, 44.6).truth(ground, flat, track, weather)
    zenith, azimuth = np.radians(sun_angles(when, 6.7, 44.6))
    east, north = track.look(np.array(5000.0), np.array(-5000.0))
    dx = 1500.0 * (east - np.tan(zenith) * np.sin(azimuth)) / step
    dy = 1500.0 * (north - np.tan(zenith) * np.cos(azimuth)) / step
    cloud, shadow = truth.cloud > 1, truth.shade > 0.5
    assert 0.05 < cloud.mean() < 0.6

    def overlap(cols: float, rows: float) -> float:
        moved = np.roll(cloud, (round(rows), round(cols)), (0, 1))[80:-80, 80:-80]
        there = shadow[80:-80, 80:-80]
        return float((moved & there).sum() / (moved | there).sum())

    assert np.hypot(dx, dy) > 20
    assert overlap(dx, -dy) > 0.85
    assert overlap(-dx, dy) < 0.5
    assert overlap(0, 0) < 0.6


def test_quality_indices_count_the_masks(archive: Archive) -> None:
    for product in archive.products:
        root = ElementTree.parse(next(product.glob("*_MTD_ALL.xml"))).getroot()
        stated = {e.get("name"): e.text for e in root.iter("QUALITY_INDEX")}
        valid = _read(product, "EDG_R1") == 0
        cloud = (_read(product, "CLM_R1") & 2) > 0
        assert float(stated["CloudPercent"] or -1) == pytest.approx(
            100 * cloud[valid].mean() if valid.any() else 0, abs=0.51
        )
