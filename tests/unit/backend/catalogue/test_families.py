"""Every family of the shared data: a client's request equals rasterio and numpy, bit for bit."""

from __future__ import annotations

import math
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import rasterio

from backend.catalogue.index import Catalogue
from backend.store.db import Database
from processes.env import Env
from processes.load.items import item_bands
from processes.load.load_collection import load_collection
from tests.unit.backend.catalogue.conftest import write_raster


@pytest.fixture(scope="module")
def archive(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    """Everything in the shared data, taken in once."""
    with Catalogue(Database(f"sqlite:///{tmp_path_factory.mktemp('index') / 'c.sqlite'}")) as opened:
        report = opened.ingest([shared / "data"])
        opened.report = report  # type: ignore[attr-defined]
        yield opened


def stored(path: Path | str, index: int = 1) -> np.ndarray:
    with rasterio.open(path) as src:
        return src.read(index)


def physical(dn: np.ndarray, scale: float, offset_dn: float, nodata: float | None) -> np.ndarray:
    """The design's formula."""
    value = (dn.astype("f4") + np.float32(offset_dn)) * np.float32(scale)
    return value if nodata is None else np.where(dn == nodata, np.float32(np.nan), value)


def loaded(archive: Catalogue, collection: str, item_id: str, band: str) -> np.ndarray:
    """One band of one item through load_collection, on the band's own grid."""
    item = archive.item(collection, item_id)
    assert item is not None, item_id

    class One:
        def collection(self, id: str) -> dict:
            return archive.collection(id)

        def search(self, id: str, **_: object) -> list:
            return [item]

    cube = load_collection(collection, bands=[band], env=Env(catalogue=One()))
    grid = item_bands(item)[band].geobox
    row = round((float(cube.y[0]) - grid.affine.f) / grid.affine.e - 0.5)
    col = round((float(cube.x[0]) - grid.affine.c) / grid.affine.a - 0.5)
    values = cube.compute().values[0, 0]
    out = (
        np.full(grid.shape, np.nan, values.dtype)
        if values.dtype.kind == "f"
        else np.full(grid.shape, 255, values.dtype)
    )
    h, w = grid.shape
    r0, c0 = max(-row, 0), max(-col, 0)
    part = values[r0 : r0 + h - max(row, 0), c0 : c0 + w - max(col, 0)]
    out[max(row, 0) : max(row, 0) + part.shape[0], max(col, 0) : max(col, 0) + part.shape[1]] = part
    return out


def test_what_belongs_to_a_family_is_taken_and_the_rest_is_named(archive: Catalogue, shared: Path) -> None:
    taken = {Path(p).relative_to(shared / "data").parts[0] for p in archive.report.added}  # type: ignore[attr-defined]
    assert taken >= {
        "muscate_l2a_T30TYP_20181023", "theia_landsat8_N2A_50x50", "s2_l2a_safe_T29UNU_20221005", "s2_l1c_safe_T31TCJ_2dates_alcd",
        "s2_l1c_safe_decimated", "s2_l1c_T31TDH_20150726_clip", "s2_l2a_timeseries_31UDS", "s2_l2a_T48QUE_20200223_majortom",
        "s2_l2a_B01_T32TLS_alps", "eolearn_l1c_slovenia", "dem_srtm3_alps", "landsat8_c2_L2SP_decimated", "landsat8_c1_L1TP_167055_ethiopia", "parity",
    }  # fmt: skip
    reasons = [r.reason for r in archive.report.rejected]  # type: ignore[attr-defined]
    assert all("no reader knows" in r or "packed" in r for r in reasons), reasons


@pytest.mark.parametrize("band", ["B02", "B11"])
def test_safe_l2a_with_offset(archive: Catalogue, shared: Path, band: str) -> None:
    root = next((shared / "data" / "s2_l2a_safe_T29UNU_20221005").glob("*.SAFE"))
    dn = stored(next(root.rglob(f"*_{band}_60m.jp2")))
    got = loaded(archive, "SENTINEL2_L2A", root.stem, band)
    np.testing.assert_array_equal(got, physical(dn, 1e-4, -1000, 0))
    assert np.nanmin(got) < 0 < np.isnan(got).sum()


def test_safe_l2a_classification_and_masks(archive: Catalogue, shared: Path) -> None:
    root = next((shared / "data" / "s2_l2a_safe_T29UNU_20221005").glob("*.SAFE"))
    scl = stored(next(root.rglob("*_SCL_20m.jp2")))
    for band, codes in {"CLOUD": [8, 9], "CLOUD_SHADOW": [3], "CIRRUS": [10], "WATER": [6]}.items():
        expected = np.where(scl == 0, 255, np.isin(scl, codes)).astype("u1")
        np.testing.assert_array_equal(loaded(archive, "SENTINEL2_L2A", root.stem, band), expected)


@pytest.mark.parametrize("name", ["S2A_MSIL1C_20240120T105341", "S2B_MSIL1C_20240305T104819"])
@pytest.mark.parametrize("band", ["B01", "B10", "B8A"])
def test_safe_l1c(archive: Catalogue, shared: Path, name: str, band: str) -> None:
    root = next((shared / "data" / "s2_l1c_safe_T31TCJ_2dates_alcd").glob(f"{name}*.SAFE"))
    dn = stored(next(root.rglob(f"IMG_DATA/*_{band}.jp2")))
    np.testing.assert_array_equal(loaded(archive, "SENTINEL2_L1C", root.stem, band), physical(dn, 1e-4, -1000, 0))


def test_safe_l1c_meteorology_is_there(archive: Catalogue) -> None:
    item = archive.item("SENTINEL2_L1C", "S2A_MSIL1C_20240120T105341_N0510_R051_T31TCJ_20240120T125244")
    assert item is not None
    for key, fields in (("AUX_CAMSFO", 11), ("AUX_ECMWFT", 6)):
        with rasterio.open(item.assets[key].href) as src:
            assert src.count == fields and not item.assets[key].extra_fields.get("bands")


@pytest.mark.parametrize(("tile", "band"), [("T56JMM", "B04"), ("T56JMM", "B05"), ("T55JEJ", "B02"), ("T55JEJ", "B09")])
def test_decimated_zip(archive: Catalogue, shared: Path, tile: str, band: str) -> None:
    path = next((shared / "data" / "s2_l1c_safe_decimated").glob(f"*{tile}*.zip"))
    item = archive.item("SENTINEL2_L1C", path.stem)
    assert item is not None
    href = item.assets[band].href
    assert href.startswith("/vsizip/")
    np.testing.assert_array_equal(loaded(archive, "SENTINEL2_L1C", path.stem, band), physical(stored(href), 1e-4, 0, 0))


def test_a_raster_is_not_cut_at_its_footprint(archive: Catalogue, shared: Path) -> None:
    """Half of this tile is beside the swath, and the collection covers nothing there: the rest comes as nodata."""
    path = next((shared / "data" / "s2_l1c_safe_decimated").glob("*T56JMM*.zip"))
    item = archive.item("SENTINEL2_L1C", path.stem)
    assert item is not None
    with rasterio.open(item.assets["B04"].href) as src:
        dn, b = src.read(1), src.bounds
    extent = {"west": b.left, "south": b.bottom, "east": b.right, "north": b.top, "crs": "EPSG:32756"}
    cube = load_collection("SENTINEL2_L1C", extent, ["2018-06-29", "2018-06-30"], ["B04"], env=Env(catalogue=archive))
    np.testing.assert_array_equal(cube.compute().values[0, 0], physical(dn, 1e-4, 0, 0))


def test_clip_without_metadata(archive: Catalogue, shared: Path) -> None:
    folder = shared / "data" / "s2_l1c_T31TDH_20150726_clip" / "IMG_DATA"
    for band in ("B01", "B02", "B05"):
        dn = stored(folder / f"T31TDH_20150726T105026_{band}.jp2")
        np.testing.assert_array_equal(
            loaded(archive, "SENTINEL2_L1C", "T31TDH_20150726T105026", band), physical(dn, 1e-4, 0, 0)
        )


def test_product_folder_of_plain_bands(archive: Catalogue, shared: Path) -> None:
    root = next((shared / "data" / "s2_l2a_T48QUE_20200223_majortom").glob("S2B*"))
    np.testing.assert_array_equal(
        loaded(archive, "SENTINEL2_L2A", root.name, "B8A"), physical(stored(root / "B8A.tif"), 1e-4, 0, 0)
    )


def test_stack_of_thirteen_bands(archive: Catalogue, shared: Path) -> None:
    path = shared / "data" / "eolearn_l1c_slovenia" / "l1c_geotiff" / "S2A_L1C_20150830T100547.tif"
    np.testing.assert_array_equal(
        loaded(archive, "SENTINEL2_L1C", path.stem, "B8A"), physical(stored(path, 9), 1e-4, 0, 0)
    )


def test_granule_images_get_their_day_from_the_orbit(archive: Catalogue) -> None:
    days = {str(i.datetime)[:10] for i in archive.search("SENTINEL2_L2A", bbox=(6.5, 46.2, 7.5, 46.6))}
    assert days == {"2022-06-18", "2022-06-20"}


def test_landsat_collection_1(archive: Catalogue, shared: Path) -> None:
    folder = shared / "data" / "landsat8_c1_L1TP_167055_ethiopia"
    name = "LC08_L1TP_167055_20170308_20170317_01_T1"
    text = (folder / f"{name}_MTL.txt").read_text()
    elevation = float(text.split("SUN_ELEVATION = ")[1].split()[0])
    scale = 2.0e-5 / math.sin(math.radians(elevation))
    for n in (2, 8):
        got = loaded(archive, "LANDSAT_L1", name, f"B{n:02d}")
        np.testing.assert_array_equal(got, physical(stored(folder / f"{name}_B{n}.TIF"), scale, -5000, 65535))
    assert 0.02 < np.nanmedian(loaded(archive, "LANDSAT_L1", name, "B04")) < 0.4


def test_landsat_collection_2(archive: Catalogue, shared: Path) -> None:
    folder = shared / "data" / "landsat8_c2_L2SP_decimated"
    name = "LC08_L2SP_005009_20150710_20200908_02_T2"
    got = loaded(archive, "LANDSAT_L2", name, "B04")
    np.testing.assert_array_equal(
        got, physical(stored(folder / f"{name}_SR_B4.TIF"), 2.75e-05, round(-0.2 / 2.75e-05, 9), 0)
    )
    qa = stored(folder / f"{name}_QA_PIXEL.TIF")
    for band, bit in {"CLOUD": 3, "CLOUD_SHADOW": 4, "SNOW": 5, "WATER": 7}.items():
        np.testing.assert_array_equal(loaded(archive, "LANDSAT_L2", name, band), (qa >> bit & 1).astype("u1"))
    warm = loaded(archive, "LANDSAT_L2", name, "ST_B10")
    assert 240 < np.nanmedian(warm) < 310  # kelvin, West Greenland in July


def test_theia_landsat8(archive: Catalogue, shared: Path) -> None:
    root = shared / "data" / "theia_landsat8_N2A_50x50" / "D0005H0003"
    path = next(root.rglob("*PENTE*.TIF"))
    got = loaded(archive, "LANDSAT8_L2A_THEIA", "LANDSAT8_OLITIRS_XS_20160330_N2A_France-MetropoleD0005H0003", "B05")
    np.testing.assert_array_equal(got, physical(stored(path, 5), 1e-3, 0, -10000))


def test_netcdf_series(archive: Catalogue, shared: Path) -> None:
    found = archive.search("SENTINEL2_L2A", where=[("tuile:family", "=", "netcdf_series")])
    assert len(found) == 118
    landsat = archive.search("LANDSAT_L2", where=[("tuile:family", "=", "netcdf_series")])
    assert sum(i.id.startswith("L8_SR") for i in landsat) == 26 and len(landsat) == 26 + 55
    warm = next(i for i in landsat if i.id.startswith("L8_L2-ST") and str(i.datetime)[:10] == "2017-08-22")
    with netCDF4.Dataset(next((shared / "data" / "s2_l2a_timeseries_31UDS").glob("L8_L2-ST*.nc"))) as data:
        data.set_auto_maskandscale(False)
        dn, quality = data["ST-B10"][2], data["QA-PIXEL"][2]
    np.testing.assert_array_equal(loaded(archive, "LANDSAT_L2", warm.id, "ST_B10"), physical(dn, 1, 0, 149))
    np.testing.assert_array_equal(loaded(archive, "LANDSAT_L2", warm.id, "CLOUD"), (quality >> 3 & 1).astype("u1"))
    step = 40
    for band, res in (("B04", "10m"), ("B11", "20m")):
        path = next((shared / "data" / "s2_l2a_timeseries_31UDS").glob(f"S2_L2A_{res}*.nc"))
        with netCDF4.Dataset(path) as data:
            data.set_auto_maskandscale(False)
            dn = data[band][step]
        np.testing.assert_array_equal(loaded(archive, "SENTINEL2_L2A", found[step].id, band), physical(dn, 1e-4, 0, 0))


def test_elevation_is_static(archive: Catalogue, shared: Path) -> None:
    cube = load_collection(
        "DEM",
        {"west": 6.9, "south": 44.95, "east": 7.1, "north": 45.05},
        ["2020-01-01", "2020-02-01"],
        env=Env(catalogue=archive),
    )
    assert set(cube.dims) == {"bands", "y", "x"}
    values = cube.compute().values
    assert np.isfinite(values).mean() > 0.9 and 200 < np.nanmedian(values) < 4700


@pytest.mark.parametrize(
    ("name", "collection", "nature", "raw", "band", "nir"),
    [
        ("VENUS-XS_20180101-105148-000_L2A_CAMARGUE_C_V1-0", "VENUS_L2A", "FRE", "B11", "B11", "nir08"),
        (
            "LANDSAT8-OLITIRS-XS_20180101-103532-000_L2A_T31TCJ_D_V1-1",
            "LANDSAT8_L2A_THEIA",
            "FRE",
            "B5",
            "B05",
            "nir08",
        ),
        ("SENTINEL2X_20180501-000000-000_L3A_T31TCJ_C_V1-2", "SENTINEL2_L3A_WASP", "FRC", "B8", "B08", "nir"),
    ],
)
def test_other_muscate_products(
    catalogue: Catalogue, tmp_path: Path, name: str, collection: str, nature: str, raw: str, band: str, nir: str
) -> None:
    folder = tmp_path / "a" / name
    dn = np.arange(100, dtype="i2").reshape(10, 10)
    dn[0, 0] = -10000
    write_raster(folder / f"{name}_{nature}_{raw}.tif", dn)
    group = "R1" if nature == "FRC" else "XS"
    masks = {"FLG": dn % 5} if nature == "FRC" else {"CLM": (dn % 2) * 3, "EDG": (dn < 20).astype("i2")}
    for kind, values in masks.items():
        write_raster(folder / "MASKS" / f"{name}_{kind}_{group}.tif", values.astype("u1"))
    report = catalogue.ingest([tmp_path / "a"])
    assert len(report.added) == 1, report.rejected
    (item,) = catalogue.search(collection)
    assert item.id == name and item_bands(item)[band].common_name == nir
    got = loaded(catalogue, collection, name, band)
    np.testing.assert_array_equal(got, physical(dn, 1 / 10000 if nature == "FRC" else 1 / 1000, 0, -10000))
    assert loaded(catalogue, collection, name, "CLOUD").sum() == (20 if nature == "FRC" else 50)


@pytest.mark.parametrize("packed", ["", ".zip", ".tgz"])
def test_take5_and_its_angles(catalogue: Catalogue, tmp_path: Path, shared: Path, packed: str) -> None:
    import gzip
    import shutil

    name = "SPOT4_HRVIR1_XS_20130318_N2A_EBelgiumD0000B0000"
    folder = tmp_path / "a" / name
    header = next((shared / "data" / "muscate_metadata_samples").rglob(f"{name}.xml.gz"))
    folder.mkdir(parents=True)
    (folder / f"{name}.xml").write_bytes(gzip.decompress(header.read_bytes()))
    dn = np.arange(400, dtype="i2").reshape(4, 10, 10)
    write_raster(folder / "SPOT4_HRVIR1_XS_20130318_N2A_ORTHO_SURF_CORR_PENTE_EBelgiumD0000B0000.TIF", dn, step=20)
    write_raster(folder / "MASK" / f"{name}_NUA.TIF", np.full((10, 10), 0b11, "u1"), step=20)
    if packed:
        if packed == ".zip":
            shutil.make_archive(str(folder), "zip", tmp_path / "a", name)
        else:
            with tarfile.open(tmp_path / "a" / f"{name}{packed}", "w:gz", format=tarfile.GNU_FORMAT) as tar:
                tar.add(folder, name)
        shutil.rmtree(folder)
    assert catalogue.ingest([tmp_path / "a"]).rejected == []
    item = catalogue.item("SPOT_TAKE5_L2A", name)
    assert item is not None and str(item.datetime) == "2013-03-18 09:54:26+00:00"
    assert loaded(catalogue, "SPOT_TAKE5_L2A", name, "SWIR")[0, 1] == np.float32(301) * np.float32(1e-3)
    assert loaded(catalogue, "SPOT_TAKE5_L2A", name, "CLOUD").all()
    for band, angle in {
        "SZA": 57.472591328,
        "SAA": 145.43902353,
        "VZA": 18.141025097,
        "VAA": 360 - 73.809703566,
    }.items():
        np.testing.assert_allclose(loaded(catalogue, "SPOT_TAKE5_L2A", name, band), angle, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "SENTINEL2A_20180101-105435-457_L2B-SNOW_T31TCH_D_V1-0",
        "FSC_20200209T103240_S2A_T32TLR_V100_1",
        "LIS_S2-SNOW-FSC_T32TLR_20200209T103240_1.11.0_1",
    ],
)
def test_snow_products(catalogue: Catalogue, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a" / name
    layer = "FSCTOC" if name.startswith("FSC") else "SEB" if name.startswith("LIS") else "SNW_R2"
    write_raster(folder / f"{name}_{layer}.tif", np.array([[0, 100], [205, 255], [254, 100]], "u1"), step=20)
    assert catalogue.ingest([tmp_path / "a"]).rejected == []
    assert loaded(catalogue, "LIS_SNOW", name, "SNOW").tolist() == [[0, 1], [0, 255], [0, 1]]
    assert loaded(catalogue, "LIS_SNOW", name, "CLOUD").tolist() == [[0, 0], [1, 255], [0, 0]]
    assert loaded(catalogue, "LIS_SNOW", name, "VALID").tolist() == [[1, 1], [1, 0], [0, 1]]


TEMPLATES = {
    "VENUS": ("VENUS-XS_20180620-105148-000_L2A_CAMARGUE_C_V1-0", "VENUS_L2A", 12, "XS", (0.1, 0.005)),
    "LANDSAT8": ("LANDSAT8-OLITIRS-XS_20180620-103532-000_L2A_T31TCJ_C_V1-0", "LANDSAT8_L2A_THEIA", 7, "ALL", (0.05, 0.005)),
    "LANDSAT": ("LANDSAT5-TM-XS_20100118-103000-000_L2A_EU93066200A00B_C_V1-0", "LANDSAT8_L2A_THEIA", 7, "ALL", (0.05, 0.005)),
}  # fmt: skip


@pytest.mark.parametrize("sensor", TEMPLATES)
@pytest.mark.parametrize("zipped", [False, True])
def test_products_with_the_metadata_that_maja_writes(
    catalogue: Catalogue, tmp_path: Path, shared: Path, sensor: str, zipped: bool
) -> None:
    """MAJA's own templates, filled in: names, groups, scalings, angles."""
    import gzip
    import shutil

    name, collection, count, group, (vapour, aerosol) = TEMPLATES[sensor]
    folder = tmp_path / "a" / name
    template = (
        shared / "data" / "muscate_metadata_samples" / "maja_templates" / f"{sensor}_MUSCATE_MTD_ALL_template.xml.gz"
    )
    text = gzip.decompress(template.read_bytes()).decode().replace("NOT_INITIALIZED ", "")
    for old in (
        "LANDSAT5-TM-XS_20100118-103000-000_L2A_EU93066200A00B_C_V1-0",
        "VENUS-XS_20120101-105148-000_L2A_CAMARGUE_C_V1-0",
    ):
        text = text.replace(old, name)
    if not zipped:  # else the angles are left as the template has them: untold
        text = re.sub(r"(<ZENITH_ANGLE[^>]*>)NOT_INITIALIZED", r"\g<1>30", text)
        text = re.sub(r"(<AZIMUTH_ANGLE[^>]*>)NOT_INITIALIZED", r"\g<1>150", text)
    folder.mkdir(parents=True)
    (folder / f"{name}_MTD_ALL.xml").write_text(text)
    dn = np.arange(100, dtype="i2").reshape(10, 10)
    dn[0, 0] = -10000
    for n in range(1, count + 1):
        if sensor != "LANDSAT" or n != 6:
            for nature in ("FRE", "SRE"):
                write_raster(folder / f"{name}_{nature}_B{n}.tif", dn + n, step=10, left=600000)
    atb = np.stack([np.full((10, 10), 40, "u1"), np.full((10, 10), 20, "u1")])
    write_raster(folder / f"{name}_ATB_{group}.tif", atb, left=600000)
    clm, mg2 = np.full((10, 10), 0b11, "u1"), np.full((10, 10), 0b101, "u1")
    for kind, values in {"CLM": clm, "MG2": mg2, "EDG": np.eye(10, dtype="u1"), "SAT": mg2}.items():
        write_raster(
            folder / "MASKS" / f"{name}_{kind}_{group if kind != 'SAT' or group == 'XS' else 'B2'}.tif",
            values,
            left=600000,
        )
    if zipped:
        shutil.make_archive(str(folder), "zip", tmp_path / "a", name)
        shutil.rmtree(folder)
    report = catalogue.ingest([tmp_path / "a"])
    assert len(report.added) == 1, report.rejected
    item = catalogue.item(collection, name)
    assert item is not None
    np.testing.assert_array_equal(loaded(catalogue, collection, name, "B02"), physical(dn + 2, 1e-3, 0, -10000))
    np.testing.assert_array_equal(loaded(catalogue, collection, name, "SRE_B07"), physical(dn + 7, 1e-3, 0, -10000))
    assert loaded(catalogue, collection, name, "WVC")[0, 0] == np.float32(40) * np.float32(vapour)
    assert loaded(catalogue, collection, name, "AOT")[0, 0] == np.float32(20) * np.float32(aerosol)
    for band, value in {"CLOUD": 1, "SNOW": 1, "WATER": 1, "CIRRUS": 0}.items():
        assert (loaded(catalogue, collection, name, band) == value).all(), band
    np.testing.assert_array_equal(loaded(catalogue, collection, name, "VALID"), 1 - np.eye(10, dtype="u1"))
    assert item.properties.get("instruments") in (None, ["olitirs"], ["tm"])
    offered = item_bands(item)
    assert ("SAT" if group == "XS" else "SAT_B02") in offered
    told = {} if zipped or sensor == "LANDSAT" else {"SZA": 30, "SAA": 150}
    told |= {"VZA": 30, "VAA": 150} if told and sensor == "VENUS" else {}
    assert {b for b in offered if b in ("SZA", "SAA", "VZA", "VAA")} == told.keys()
    for angle, value in told.items():
        np.testing.assert_allclose(loaded(catalogue, collection, name, angle), value, atol=1e-4)
