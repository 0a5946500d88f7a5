"""SAFE in all its clothes: old naming with several granules, the cloud archives' layout, zip within a folder of its name."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from backend.catalogue.index import Catalogue
from backend.catalogue.readers import sentinel2_safe
from processes.load.items import item_bands
from tests.unit.backend.catalogue.conftest import write_raster

NEW = "S2A_MSIL1C_20240120T105341_N0510_R051_T31TCJ_20240120T125244"


@pytest.fixture
def source(shared: Path) -> Path:
    return shared / "data" / "s2_l1c_safe_T31TCJ_2dates_alcd" / f"{NEW}.SAFE"


def test_old_naming_gives_an_item_per_granule(catalogue: Catalogue, source: Path, tmp_path: Path) -> None:
    name = "S2A_OPER_PRD_MSIL1C_PDMC_20160101T120000_R051_V20160101T105343_20160101T105343"
    root = tmp_path / "a" / f"{name}.SAFE"
    tile = next(source.rglob("MTD_TL.xml")).read_text()
    product = re.sub(r"<IMAGE_FILE>.*?</IMAGE_FILE>", "", (source / "MTD_MSIL1C.xml").read_text())
    product = re.sub(r"<RADIO_ADD_OFFSET.*?</RADIO_ADD_OFFSET>", "", product).replace("05.10", "02.01")
    root.mkdir(parents=True)
    (root / "S2A_OPER_MTD_SAFL1C_PDMC_20160101T120000_R051_V20160101T105343_20160101T105343.xml").write_text(product)
    for mgrs in ("T31TCJ", "T31TDJ"):
        granule = f"S2A_OPER_MSI_L1C_TL_EPA__20160101T120000_A002734_{mgrs}_N02.01"
        text = re.sub(r"(<TILE_ID[^>]*>)[^<]*", rf"\g<1>{granule}", tile)
        folder = root / "GRANULE" / granule
        folder.mkdir(parents=True)
        (folder / f"S2A_OPER_MTD_L1C_TL_EPA__20160101T120000_A002734_{mgrs}.xml").write_text(text)
        left = 300000 if mgrs == "T31TCJ" else 400000
        write_raster(
            folder / "IMG_DATA" / f"S2A_OPER_MSI_L1C_TL_EPA__20160101T120000_A002734_{mgrs}_B02.jp2",
            np.full((8, 8), 1500, "u2"),
            left=left,
            driver="JP2OpenJPEG",
        )
    report = catalogue.ingest([tmp_path / "a"])
    assert report.rejected == [] and report.items == 2
    one, two = catalogue.search("SENTINEL2_L1C")
    assert {one.properties["grid:code"], two.properties["grid:code"]} == {"MGRS-31TCJ", "MGRS-31TDJ"}
    assert one.properties["tuile:datatake"] == two.properties["tuile:datatake"] and one.id != two.id
    assert item_bands(one)["B02"].offset_dn == 0  # before baseline 04.00


@pytest.mark.parametrize(("baseline", "offset"), [("05.10", -1000), ("02.06", 0)])
def test_cloud_layout_takes_the_offset_from_the_baseline(
    source: Path, tmp_path: Path, baseline: str, offset: float
) -> None:
    """The cloud archives give the tile's metadata without the product's, which holds the list of offsets."""
    folder = tmp_path / "31" / "T" / "CJ"
    folder.mkdir(parents=True)
    text = next(source.rglob("MTD_TL.xml")).read_text()
    (folder / "metadata.xml").write_text(re.sub(r"_N\d\d\.\d\d", f"_N{baseline}", text))
    shutil.copy(next(source.rglob("IMG_DATA/*_B02.jp2")), folder / "B02.jp2")
    assert sentinel2_safe.sniff(folder) and not sentinel2_safe.sniff(tmp_path)
    (item,) = sentinel2_safe.read(folder)
    assert item.collection_id == "SENTINEL2_L1C" and item_bands(item)["B02"].offset_dn == offset
    assert item.properties["sat:relative_orbit"] == 51 and "SZA" in item_bands(item)


def test_the_finest_of_several_resolutions_is_taken(shared: Path, tmp_path: Path) -> None:
    real = next((shared / "data" / "s2_l2a_safe_T29UNU_20221005").glob("*.SAFE"))
    folder = tmp_path / "tile"
    folder.mkdir()
    shutil.copy(next(real.rglob("MTD_TL.xml")), folder / "metadata.xml")
    for res in (10, 20, 60):
        write_raster(
            folder / f"R{res}m" / "B02.jp2", np.ones((120 // res, 120 // res), "u2"), step=res, crs="EPSG:32629"
        )
    (item,) = sentinel2_safe.read(folder)
    assert item.collection_id == "SENTINEL2_L2A" and item_bands(item)["B02"].geobox.affine.a == 10


def test_folder_in_a_folder_of_its_name(catalogue: Catalogue, source: Path, tmp_path: Path) -> None:
    """As unpacking leaves it."""
    target = tmp_path / "a" / source.name / source.name
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("MSK_*"))
    assert catalogue.ingest([tmp_path / "a"]).rejected == []
    item = catalogue.item("SENTINEL2_L1C", NEW)
    assert item is not None and item.assets["B02"].href.startswith(str(target))


def test_what_desktops_add_to_archives_is_passed_over(catalogue: Catalogue, source: Path, tmp_path: Path) -> None:
    path = tmp_path / "a" / f"{NEW}.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as z:
        for file in source.rglob("*"):
            if file.is_file() and "MSK_" not in file.name:
                z.write(file, f"{NEW}.SAFE/{file.relative_to(source)}")
                z.writestr(f"__MACOSX/{NEW}.SAFE/._{file.name}", b"x")
        z.writestr(f"{NEW}.SAFE/.DS_Store", b"x")
    assert catalogue.ingest([path.parent]).rejected == []


def test_the_oldest_names_of_level_2(shared: Path, tmp_path: Path) -> None:
    real = next((shared / "data" / "s2_l2a_safe_T29UNU_20221005").glob("*.SAFE"))
    name = "S2A_USER_PRD_MSIL2A_PDMC_20160101T120000_R023_V20160101T115411_20160101T115411"
    root = tmp_path / f"{name}.SAFE"
    granule = "S2A_USER_MSI_L2A_TL_EPA__20160101T120000_A002734_T29UNU_N02.01"
    images = root / "GRANULE" / granule / "IMG_DATA"
    text = (real / "MTD_MSIL2A.xml").read_text()
    for tag in ("IMAGE_FILE", "BOA_ADD_OFFSET"):
        text = re.sub(rf"<{tag}.*?</{tag}>", "", text)
    for folder, band, step in (("R20m", "B05", 20), ("R10m", "B02", 10)):
        path = images / folder / f"{granule[:-7]}_{band}_{step}m.jp2"
        write_raster(path, np.full((240 // step,) * 2, 1500, "u2"), step=step, crs="EPSG:32629", driver="JP2OpenJPEG")
    scl = images / "R20m" / "S2A_USER_SCL_L2A_TL_EPA__20160101T120000_A002734_T29UNU_20m.jp2"
    write_raster(scl, np.full((12, 12), 9, "u1"), step=20, crs="EPSG:32629", driver="JP2OpenJPEG")
    (root / "S2A_USER_MTD_SAFL2A_PDMC_20160101T120000_R023_V20160101T115411_20160101T115411.xml").write_text(text)
    shutil.copy(
        next(real.rglob("MTD_TL.xml")),
        root / "GRANULE" / granule / "S2A_USER_MTD_L2A_TL_EPA__20160101T120000_A002734_T29UNU.xml",
    )
    assert sentinel2_safe.sniff(root)
    (item,) = sentinel2_safe.read(root)
    bands = item_bands(item)
    assert {"B02", "B05", "SCL", "CLOUD", "SZA"} <= bands.keys() and bands["SCL"].href == str(scl)
    assert item.collection_id == "SENTINEL2_L2A" and bands["B02"].offset_dn == 0


@pytest.mark.parametrize("suffix", [".zip", ".SAFE.zip"])
def test_zipped_products(catalogue: Catalogue, source: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "a" / f"{NEW}{suffix}"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as z:
        for file in source.rglob("*"):
            if file.is_file() and "MSK_" not in file.name:
                z.write(file, f"{NEW}.SAFE/{file.relative_to(source)}")
    assert catalogue.ingest([tmp_path / "a"]).rejected == []
    item = catalogue.item("SENTINEL2_L1C", NEW)
    assert item is not None and item.assets["MTD_TL"].href.startswith("/vsizip/")


def test_a_newer_baseline_takes_over(catalogue: Catalogue, source: Path, tmp_path: Path) -> None:
    older = NEW.replace("N0510", "N0400").replace("125244", "115244")
    for name in (NEW, older):
        shutil.copytree(source, tmp_path / "a" / f"{name}.SAFE", ignore=shutil.ignore_patterns("MSK_*"))
    text = (tmp_path / "a" / f"{older}.SAFE" / "MTD_MSIL1C.xml").read_text()
    changed = text.replace("05.10", "04.00").replace("2024-01-20T12:52:44", "2024-01-20T11:52:44")
    (tmp_path / "a" / f"{older}.SAFE" / "MTD_MSIL1C.xml").write_text(changed)
    assert catalogue.ingest([tmp_path / "a"]).rejected == []
    assert [i.id for i in catalogue.search("SENTINEL2_L1C")] == [NEW]
    shutil.rmtree(tmp_path / "a" / f"{NEW}.SAFE")
    catalogue.ingest([tmp_path / "a"])
    assert [i.id for i in catalogue.search("SENTINEL2_L1C")] == [older]


def test_a_copy_under_way_waits(catalogue: Catalogue, source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "a" / source.name, ignore=shutil.ignore_patterns("MSK_*", "*_B1*.jp2"))
    (rejected,) = catalogue.ingest([tmp_path / "a"]).rejected
    assert "copy may not have finished: 3 rasters" in rejected.reason


def test_a_resolution_left_out_but_for_its_classification(catalogue: Catalogue, shared: Path, tmp_path: Path) -> None:
    """A choice, not a copy under way: the classification comes at 20 m, the bands that are kept at 60 m."""
    real = next((shared / "data" / "s2_l2a_safe_T29UNU_20221005").glob("*.SAFE"))
    shutil.copytree(real, tmp_path / "a" / real.name)
    assert catalogue.ingest([tmp_path / "a"]).rejected == []
    next((tmp_path / "a").rglob("*_B03_60m.jp2")).unlink()
    (rejected,) = catalogue.ingest([tmp_path / "a"]).rejected
    assert "copy may not have finished: 1 rasters" in rejected.reason


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("AUX_DATA/AUX_ECMWFT", "AUX_ECMWFT"),
        ("AUX_DATA/AUX_CAMSFO", "AUX_CAMSFO"),
        ("AUX_DATA/AUX_CAMSRE", "AUX_CAMSRE"),
        ("AUX_DATA/S2A_OPER_AUX_ECMWFD_EPA__20150813T120000_V20150813T120000", "AUX_ECMWFT"),
        ("auxiliary/ECMWFT", "AUX_ECMWFT"),
        ("auxiliary/CAMSFO", "AUX_CAMSFO"),
    ],
)
def test_meteorology_of_all_baselines(source: Path, tmp_path: Path, file: str, key: str) -> None:
    folder = tmp_path / "tile"
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_bytes(b"GRIB")
    shutil.copy(next(source.rglob("MTD_TL.xml")), folder / "metadata.xml")
    shutil.copy(next(source.rglob("IMG_DATA/*_B02.jp2")), folder / "B02.jp2")
    (item,) = sentinel2_safe.read(folder)
    assert item.assets[key].href == str(folder / file)
