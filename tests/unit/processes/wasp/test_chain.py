"""The chain on products: acquisitions from files in, the L3A product out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.transform

from processes.env import Env, Limits
from processes.errors import ProcessError
from processes.load.items import item_bands
from processes.stages import make_stage, run_here
from processes.wasp import chain
from processes.wasp.composite import Options, average
from tests.bench.wasp import write_products
from tests.bench.wasp_scenes import make_scene
from tests.bench.wasp_truth import block_of
from tests.unit.processes.wasp.helpers import read

SCENE = make_scene(21, size=200, dates=4)


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> list[pystac.Item]:
    return write_products(tmp_path_factory.mktemp("inputs"), SCENE, 200)


def run(items: list[pystac.Item], workspace: Path, **params: object) -> list[pystac.Item]:
    stage = make_stage("wasp_synthesis", items, {"date": "2018-05-02", **params})
    return run_here(stage, Env(workspace=workspace, limits=Limits(threads=2)))


def test_product_equals_the_block(items, tmp_path):
    (item,) = run(items, tmp_path, brdf="none")
    options = Options.of(brdf="none")
    made = replace(block_of(SCENE, options), cell=2)
    expected = average(made, [(d - SCENE.synthesis).days for d in SCENE.dates], options)
    np.testing.assert_array_equal(read(item, "FLG_R1"), expected.flag)
    np.testing.assert_array_equal(read(item, "NCL_R1"), expected.clear)
    for i, band in enumerate(("B02", "B03", "B04", "B08")):
        stored = np.where(np.isnan(expected.refl[i]), -10000, np.rint(expected.refl[i]))
        np.testing.assert_array_equal(read(item, f"FRC_{band}"), stored)
    np.testing.assert_array_equal(read(item, "WGT_R1"), np.rint(expected.weight * np.float32(1000)))


def test_blocks_do_not_matter(items, tmp_path, monkeypatch):
    (whole,) = run(items, tmp_path / "a")
    monkeypatch.setattr(chain, "BLOCK", 64)
    (cut,) = run(items, tmp_path / "b")
    for asset in whole.assets:
        if whole.assets[asset].media_type.startswith("image/tiff"):
            np.testing.assert_array_equal(read(whole, asset), read(cut, asset), err_msg=asset)


def test_never_clear_pixels_come_from_one_date_at_both_resolutions(items, tmp_path):
    (item,) = run(items, tmp_path)
    fine, coarse = read(item, "FLG_R1") == 1, read(item, "FLG_R2") == 1
    day, half = read(item, "DTS_R1"), read(item, "DTS_R2")
    assert coarse.any()
    four = np.stack([fine[i::2, j::2] for i in (0, 1) for j in (0, 1)]).all(axis=0) & coarse
    assert four.any()
    for i in (0, 1):
        for j in (0, 1):
            np.testing.assert_array_equal(day[i::2, j::2][four], half[four])


def test_layout_metadata_and_item(items, tmp_path):
    (item,) = run(items, tmp_path)
    name = "SENTINEL2A_20180502-000000-000_L3A_T31TCJ_C_V1-0"
    assert item.id == name and item.collection_id == "SENTINEL2_L3A_WASP"
    folder = Path(item.assets["FRC_B02"].href).parent
    assert folder.name == name
    files = {str(p.relative_to(folder)).replace(name, "") for p in folder.rglob("*") if p.is_file()}
    bands = ("B2", "B3", "B4", "B8", "B5", "B6", "B7", "B8A", "B11", "B12")
    masks = {f"MASKS/_{k}_{r}.tif" for k in ("FLG", "WGT", "DTS", "NCL") for r in ("R1", "R2")}
    assert files == {f"_FRC_{b}.tif" for b in bands} | masks | {"_MTD_ALL.xml", "_QKL_ALL.jpg", "DATA/_IPP_ALL.xml"}
    found = item_bands(item)
    assert {"B02", "B8A", "FLG", "WGT", "DTS", "NCL", "FLG_R2", "CLOUD", "VALID"} <= set(found)
    assert found["B02"].scale == pytest.approx(1e-4) and found["B02"].nodata == -10000
    assert found["B11"].geobox.shape == (100, 100) and found["B02"].geobox.shape == (200, 200)
    root = ET.parse(folder / f"{name}_MTD_ALL.xml").getroot()
    assert root.findtext("Product_Characteristics/PRODUCT_LEVEL") == "L3A"
    share = {e.get("name"): float(e.text or "nan") for e in root.iter("QUALITY_INDEX")}
    flags = read(item, "FLG_R2")
    assert share["CloudPercent"] == pytest.approx(100 * (flags == 1).sum() / (flags > 0).sum(), abs=0.01)
    assert item.properties["eo:snow_cover"] == pytest.approx(100 * (flags == 2).sum() / (flags > 0).sum(), abs=0.01)
    for listed in (*root.iter("IMAGE_FILE"), *root.iter("MASK_FILE")):
        assert (folder / str(listed.text)).is_file()
    with rasterio.open(item.assets["DTS_R1"].href) as source:
        assert source.block_shapes[0] == (512, 512) and source.dtypes == ("int16",) and source.nodata == -32768
    item.set_collection(None)  # the catalogue links it
    item.validate()


def test_split_by_tile_date_and_version(items):
    moved = [i.clone() for i in items]
    for i in moved:
        i.id, i.properties["grid:code"] = i.id + "B", "MGRS-31TDJ"
    old = items[0].clone()
    old.id = "old"
    for i in (old, items[0]):
        i.properties["tuile:product"] = "same"
    old.properties["processing:version"], items[0].properties["processing:version"] = "1.0", "2.0"
    tasks = chain.split([old, *items, *moved], {"date": ["2018-05-02", "2018-04-12"], "half_window": 23})
    assert len(tasks) == 4
    assert all("old" not in [i["id"] for i in t.items] for t in tasks)
    assert [t.params["date"] for t in tasks] == ["2018-05-02", "2018-04-12"] * 2
    assert len(tasks[1].items) < len(tasks[0].items) == 4


def test_a_mix_with_landsat_counts_it_a_third(items, tmp_path):
    other = pystac.Item("L8", None, None, datetime(2018, 5, 2, 10), {
        "constellation": "landsat", "platform": "landsat-8", "grid:code": "MGRS-31TCJ", "proj:code": "EPSG:32631"
    })  # fmt: skip
    transform = rasterio.transform.from_origin(300000, 4900020, 30, 30)
    for band, value in {"B02": 400, "B03": 600, "B04": 500, "B05": 3000, "B06": 2000, "B07": 1000, "CLOUD": 0}.items():
        path = tmp_path / f"L8_{band}.tif"
        dtype = "uint8" if band == "CLOUD" else "int16"
        with rasterio.open(path, "w", driver="GTiff", height=67, width=67, count=1, dtype=dtype, crs="EPSG:32631", transform=transform) as sink:  # fmt: skip
            sink.write(np.full((67, 67), value, dtype), 1)
        entry = {"name": band, "data_type": dtype, "tuile:kind": "mask", "tuile:decode": {"values": [1]}}
        if band != "CLOUD":
            entry = {
                "name": band,
                "data_type": dtype,
                "tuile:kind": "reflectance",
                "raster:scale": 1e-4,
                "nodata": -10000,
            }
        fields = {
            "proj:code": "EPSG:32631",
            "proj:shape": [67, 67],
            "proj:transform": list(transform)[:6],
            "bands": [entry],
        }
        other.add_asset(band, pystac.Asset(str(path), extra_fields=fields))
    alone = run(items, tmp_path / "alone", robust=False, brdf="none")[0]
    mixed = run([*items, other], tmp_path / "mixed", robust=False, brdf="none")[0]
    inside = slice(10, -10)
    land = (read(alone, "FLG_R1") == 4) & (read(mixed, "FLG_R1") == 4)
    gained = (read(mixed, "WGT_R1").astype(int) - read(alone, "WGT_R1"))[inside, inside][land[inside, inside]]
    assert np.abs(gained - 330).max() <= 1
    np.testing.assert_array_equal(read(mixed, "FRC_B08")[land], read(alone, "FRC_B08")[land])  # Landsat has no B08
    assert (read(mixed, "FRC_B02") != read(alone, "FRC_B02"))[land].any()
    assert (read(mixed, "NCL_R1").astype(int) - read(alone, "NCL_R1"))[inside, inside].min() == 1


def test_mistakes_are_told(items, tmp_path):
    blind = items[0].clone()
    blind.assets.pop("CLM")
    with pytest.raises(ProcessError, match="cloud mask"):
        run([blind], tmp_path / "a")
    radar = items[0].clone()
    radar.properties |= {"constellation": "sentinel-1", "platform": "sentinel-1a"}
    with pytest.raises(ProcessError, match="sensor"):
        run([radar], tmp_path / "b")
    assert run(items, tmp_path / "c", date="2019-01-01") == []
