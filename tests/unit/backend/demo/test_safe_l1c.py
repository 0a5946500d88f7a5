"""The generated L1C SAFE products: structure, a third-party reader, the atmosphere."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from backend.demo import atmosphere as atm
from backend.demo.archive import Archive, generate
from backend.demo.geometry import Ground, sun_angles
from backend.demo.spectra import S2_BANDS, S2_RESOLUTION
from processes.load.angles import read_angles

TRUE = "s2_l1c_safe_T31TCJ_2dates_alcd/S2A_MSIL1C_20240120T105341_N0510_R051_T31TCJ_20240120T125244.SAFE"


@pytest.fixture(scope="module")
def l1c(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """One tile of 1.2 km, three dates, on a valley floor."""
    folder = tmp_path_factory.mktemp("l1c") / "archive"
    return generate(folder, size=120, dates=3, tiles=("31TGK",), families=("l1c",), seed=6, workers=1)


def _image(product: Path, band: str) -> Path:
    (path,) = product.glob(f"GRANULE/*/IMG_DATA/*_{band}.jp2")
    return path


def test_layout(l1c: Archive) -> None:
    for product in l1c.products:
        assert re.fullmatch(r"S2[AB]_MSIL1C_\d{8}T\d{6}_N0510_R\d{3}_T31TGK_\d{8}T\d{6}\.SAFE", product.name)
        names = {p.name for p in product.rglob("*") if p.is_file()}
        assert len(names) == 14 + 13 + 13 + 1 + 1 + 2 + 3
        assert not [n for n in names if n.endswith(".aux.xml")]
        for band in S2_BANDS:
            with rasterio.open(_image(product, band)) as src:
                assert src.driver == "JP2OpenJPEG"
                assert src.dtypes[0] == "uint16"
                assert src.res == (S2_RESOLUTION[band],) * 2
                assert src.width == 1200 // S2_RESOLUTION[band]
                assert src.crs.to_epsg() == 32631
                assert (src.bounds.left, src.bounds.top) == (l1c.season.tiles[0].ulx, l1c.season.tiles[0].uly)


def test_gdal_reads_it_as_sentinel2(l1c: Archive) -> None:
    with rasterio.Env() as env:
        drivers = env.drivers()
    if "SENTINEL2" not in drivers:
        pytest.skip("this GDAL was built without its SENTINEL2 driver")
    product = l1c.products[0]
    with rasterio.open(product / "MTD_MSIL1C.xml") as root:
        assert root.driver == "SENTINEL2"
        subdatasets = root.subdatasets
        assert root.tags()["PROCESSING_BASELINE"] == "05.10"
    wanted = {
        "10m": ["B4", "B3", "B2", "B8"],
        "20m": ["B5", "B6", "B7", "B8A", "B11", "B12"],
        "60m": ["B1", "B9", "B10"],
    }
    for resolution, bands in wanted.items():
        (name,) = [s for s in subdatasets if f":{resolution}:EPSG_32631" in s]
        with rasterio.open(name) as src:
            assert [src.tags(k)["BANDNAME"] for k in src.indexes] == bands
            assert {src.tags(k)["RADIO_ADD_OFFSET"] for k in src.indexes} == {"-1000"}
            metres = int(resolution[:-1])
            assert src.transform == l1c.season.tiles[0].resized(metres)[0]
            assert src.crs.to_epsg() == 32631
            for k, band in enumerate(bands, 1):
                long = band if band == "B8A" else f"B{int(band[1:]):02d}"
                with rasterio.open(_image(product, long)) as image:
                    np.testing.assert_array_equal(src.read(k), image.read(1))


def test_angles_of_the_granule(l1c: Archive) -> None:
    """What GDAL's driver gives of the granule holds the true angles, and so do the bands made of it."""
    for product, track in zip(l1c.products, l1c.season.tracks, strict=True):
        (metadata,) = product.glob("GRANULE/*/MTD_TL.xml")
        with rasterio.Env() as env:
            known = "SENTINEL2" in env.drivers()
        if known:
            with rasterio.open(f"SENTINEL2_L1C_TILE:{metadata}:10m") as src:
                assert src.transform == l1c.season.tiles[0].transform and src.crs.to_epsg() == 32631
                text = "".join(
                    v if v.startswith("<?xml") else f"{k}={v}" for k, v in src.tags(ns="xml:SENTINEL2").items()
                )
            root = ElementTree.fromstring(text.removeprefix("xml:SENTINEL2="))
            assert len(root.findall(".//Sun_Angles_Grid/Zenith/Values_List/VALUES")) == 23
            bands = {e.get("bandId") for e in root.iter("Viewing_Incidence_Angles_Grids")}
            assert bands == {str(k) for k in range(13)}
        with rasterio.open(l1c.folder / "truth" / "T31TGK" / f"{track.time:%Y%m%d}" / "detector.tif") as src:
            detector = src.read(1)
        tile = l1c.season.tiles[0]
        box = GeoBox(detector.shape, tile.transform, f"EPSG:{tile.epsg}")
        east, north = (np.asarray(v) for v in box.affine * np.meshgrid(np.arange(120) + 0.5, np.arange(120) + 0.5))
        x, y = Ground(l1c.season.lon, l1c.season.lat).from_crs(tile.epsg, east, north)
        seen = detector > 0
        for band in ("B02", "B8A", "B10"):
            zenith, azimuth = track.view_angles(x, y, detector, band)
            got = [read_angles("s2_tile", str(metadata), f"{n}_{band}", box) for n in ("VZA", "VAA")]
            np.testing.assert_allclose(got[0][seen], zenith[seen], atol=2e-3)
            turn = np.abs((got[1] - azimuth + 180) % 360 - 180)[seen]
            assert (turn * np.sin(np.radians(zenith[seen])) < 2e-3).all()
        lon, lat = Transformer.from_crs(tile.epsg, 4326, always_xy=True).transform(east, north)
        sun = sun_angles(track.time, lon, lat)
        for name, truth in zip(("SZA", "SAA"), sun, strict=True):
            np.testing.assert_allclose(read_angles("s2_tile", str(metadata), name, box), truth, atol=2e-3)


def _shape(element: ElementTree.Element, path: str = "") -> set[str]:
    here = f"{path}/{element.tag.split('}')[-1]}[{','.join(sorted(element.attrib))}]"
    return {here}.union(*(_shape(child, here) for child in element))


@pytest.mark.parametrize("name", ["MTD_MSIL1C.xml", "GRANULE/*/MTD_TL.xml"])
def test_metadata_has_the_structure_of_a_true_product(l1c: Archive, shared: Path, name: str) -> None:
    (true,), (ours,) = (shared / "data" / TRUE).glob(name), l1c.products[0].glob(name)
    a, b = _shape(ElementTree.parse(true).getroot()), _shape(ElementTree.parse(ours).getroot())
    # processing parameter files of the ground segment have no counterpart here
    left_out = ("GIPP_FILENAME", "IERS_BULLETIN_FILENAME", "ECMWF_DATA_REF")
    assert not {p for p in a - b if not p.split("/")[-1].startswith(left_out)}
    assert not b - a


def test_embedded_forecast_is_the_world_s_own(l1c: Archive, shared: Path) -> None:
    """Both GRIB files have the fields of a true granule, and values near the scene's truth."""
    product, track = l1c.products[0], l1c.season.tracks[0]
    for name in ("AUX_ECMWFT", "AUX_CAMSFO"):
        (true,), (ours,) = (root.glob(f"GRANULE/*/AUX_DATA/{name}") for root in (shared / "data" / TRUE, product))
        with rasterio.open(true) as a, rasterio.open(ours) as b:
            assert b.driver == "GRIB"
            assert a.shape == b.shape
            elements = [[src.tags(k)["GRIB_ELEMENT"] for k in src.indexes] for src in (a, b)]
            assert sorted(elements[0]) == sorted(elements[1])
            instant = int(b.tags(1)["GRIB_VALID_TIME"].split()[0])
            assert abs(instant - track.time.timestamp()) < 60
            lon, lat = l1c.season.tiles[0].centre
            row, col = b.index(lon, lat)
            values = {tag: b.read(k)[max(row, 0), max(col, 0)] for k, tag in enumerate(elements[1], 1)}
        if name == "AUX_ECMWFT":
            assert values["MSL"] == pytest.approx(101325, abs=1)
            assert values["TCO3"] * 46.694 == pytest.approx(0.3, abs=1e-4)
            assert 2 < values["PWC"] < 50
        else:
            assert 0.02 < values["var207 of table 210 of center ECMWF"] < 0.6
            with rasterio.open(l1c.folder / "truth" / "T31TGK" / f"{track.time:%Y%m%d}" / "aot.tif") as src:
                truth = src.read(1).mean() * src.scales[0]
            assert values["var207 of table 210 of center ECMWF"] == pytest.approx(truth, rel=0.6)


def test_detector_masks(l1c: Archive) -> None:
    for product, track in zip(l1c.products, l1c.season.tracks, strict=True):
        (mask,) = product.glob("GRANULE/*/QI_DATA/MSK_DETFOO_B02.jp2")
        truth = l1c.folder / "truth" / "T31TGK" / f"{track.time:%Y%m%d}" / "detector.tif"
        with rasterio.open(mask) as a, rasterio.open(truth) as b, rasterio.open(_image(product, "B02")) as image:
            np.testing.assert_array_equal(a.read(1), b.read(1))
            np.testing.assert_array_equal(image.read(1) == 0, b.read(1) == 0)


def test_inverting_the_stated_atmosphere_gives_the_ground(l1c: Archive) -> None:
    """Equation (1) solved for the ground, with the true haze and the metadata's mean angles, on flat clear pixels."""
    checked = 0
    for product, track in zip(l1c.products, l1c.season.tracks, strict=True):
        day = l1c.folder / "truth" / "T31TGK" / f"{track.time:%Y%m%d}"

        def layer(name: str, band: int = 1, day: Path = day) -> np.ndarray:
            with rasterio.open(day / f"{name}.tif") as src:
                return src.read(band) * src.scales[band - 1]

        with rasterio.open(l1c.folder / "rasters" / "DEM_T31TGK.tif") as src:
            z = src.read(1).astype(float)
        dy, dx = np.gradient(z, 10.0)
        clear = (layer("cloud_optical_depth") == 0) & (layer("cirrus_optical_depth") == 0) & (layer("shadow") == 0)
        clear &= (layer("detector") > 0) & (np.hypot(dx, dy) < 0.03) & (layer("relief_shadow") == 0)
        if clear.sum() < 300:
            continue
        tile = ElementTree.parse(next(product.glob("GRANULE/*/MTD_TL.xml"))).getroot()
        sun = tuple(float(e.text or "nan") for e in tile.find(".//Mean_Sun_Angle") or [])
        for k, band in enumerate(("B02", "B03", "B04", "B08"), 1):
            number = str(S2_BANDS.index(band))
            view = [
                float(e.text or "nan") for e in tile.find(f".//Mean_Viewing_Incidence_Angle[@bandId='{number}']") or []
            ]
            with rasterio.open(_image(product, band)) as src:
                toa = (src.read(1).astype(float) - 1000) / 10000
            mass = 1 / np.cos(np.radians(sun[0])) + 1 / np.cos(np.radians(view[0]))
            gas = atm.gas_transmission(band, np.array(mass), layer("vapour"), z)
            aot = layer("aot")
            path = atm.path_reflectance(band, aot, z, sun, np.array(view[0]), np.array(view[1]))  # type: ignore[arg-type]
            both = atm.transmission(band, aot, z, sun[0]) * atm.transmission(band, aot, z, view[0])
            x = (toa / gas - path) / both
            found = x / (1 + atm.spherical_albedo(band, aot, z) * x)
            truth = layer("reflectance_10m", k)
            checked += 1
            assert abs(np.median((found - truth)[clear])) < 0.006
            assert np.std((found - truth)[clear]) < 0.012
    assert checked >= 4


def test_haze_is_bluer_and_gases_absorb() -> None:
    flat = np.full((1, 1), 0.05)
    aot, vapour, z = np.full((1, 1), 0.2), np.full((1, 1), 2.0), np.zeros((1, 1))
    sun, zenith, azimuth = (40.0, 150.0), np.full((1, 1), 5.0), np.full((1, 1), 100.0)
    toa = {b: float(atm.top_of_atmosphere(b, flat, aot, vapour, z, sun, zenith, azimuth)[0, 0]) for b in S2_BANDS}
    assert toa["B01"] > toa["B02"] > toa["B04"] > toa["B8A"]
    assert toa["B10"] < 0.002
    assert toa["B09"] < 0.5 * toa["B8A"]
    # published full radiative transfer, continental aerosol, sun at 30 degrees: B02 .0683 and B04 .0226 at AOT 0.1
    at = (np.array(0.1), 0.0, (30.0, 0.0), np.array(0.0), np.array(0.0))
    assert float(atm.path_reflectance("B02", *at)) == pytest.approx(0.0683, rel=0.04)
    assert float(atm.path_reflectance("B04", *at)) == pytest.approx(0.0226, rel=0.04)
    # two-way transmission at nadir: .8040
    both = atm.transmission("B02", np.array(0.1), 0.0, 30.0) * atm.transmission("B02", np.array(0.1), 0.0, 0.0)
    assert float(both) == pytest.approx(0.804, rel=0.01)
