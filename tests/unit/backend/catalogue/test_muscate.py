"""MUSCATE L2A: bands, both bit orders of the cloud mask, with and without metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from backend.catalogue.index import Catalogue
from backend.catalogue.readers import muscate_l2a
from processes.env import Env
from processes.load.items import item_bands
from processes.load.load_collection import load_collection
from tests.unit.backend.catalogue.conftest import make_muscate

ID = "SENTINEL2_L2A_MAJA"


def test_bands_scales_and_masks(tmp_path: Path) -> None:
    folder = make_muscate(tmp_path)
    assert muscate_l2a.sniff(folder) and not muscate_l2a.sniff(tmp_path)
    (item,) = muscate_l2a.read(folder)
    bands = item_bands(item)
    assert {
        "B02",
        "B08",
        "B8A",
        "B12",
        "SRE_B02",
        "AOT",
        "WVC",
        "CLM",
        "MG2",
        "EDG",
        "CLOUD",
        "CLOUD_SHADOW",
        "CIRRUS",
        "SNOW",
        "WATER",
        "VALID",
    } <= set(bands)
    assert (bands["B02"].scale, bands["B02"].nodata, bands["B02"].common_name) == (1e-4, -10000, "blue")
    assert (bands["AOT"].scale, bands["AOT"].index, bands["WVC"].scale, bands["WVC"].index) == (1 / 200, 2, 1 / 20, 1)
    assert bands["SRE_B02"].common_name is None and bands["SRE_B02"].wavelength == bands["B02"].wavelength
    p = item.properties
    assert item.datetime is not None and item.datetime.isoformat() == "2018-04-17T10:38:13.308000+00:00"
    assert p["eo:cloud_cover"] == 12 and p["view:sun_elevation"] == 60 and p["grid:code"] == "MGRS-31TCJ"
    assert p["sat:relative_orbit"] == 51 and p["tuile:datatake"] == "sentinel-2a_20180417_R051"


def test_without_metadata_the_names_suffice(tmp_path: Path) -> None:
    (item,) = muscate_l2a.read(make_muscate(tmp_path, xml=False))
    assert "eo:cloud_cover" not in item.properties and "view:sun_elevation" not in item.properties
    assert item.properties["tuile:datatake"] == "sentinel-2a_20180417"
    assert item.properties["processing:version"] == "1.9" and "SZA" not in item_bands(item)


# what a pixel shows -> its CLM value in Theia's order and in the native one
PIXELS = {
    "clear": (0, 0), "cloud (multi-temporal)": (0b1011, 0b100011), "cloud (mono-temporal)": (0b0111, 0b010011),
    "shadow": (0b0100001, 0b0000101), "shadow from outside": (0b1000001, 0b0001001), "high cloud": (0b10000011, 0b10000011),
}  # fmt: skip


@pytest.mark.parametrize(("letter", "stored", "order"), [("D", 0, "D"), ("C", 1, "C"), ("C", 0, "D")])
def test_both_bit_orders_decode_alike(
    catalogue: Catalogue, tmp_path: Path, letter: str, stored: int, order: str
) -> None:
    """The letter C does not prove the native order: files with that letter and Theia's order exist."""
    clm = np.zeros((24, 24), "u1")
    for row, codes in enumerate(PIXELS.values()):
        clm[row] = codes[stored]
    folder = make_muscate(tmp_path / "a", writer=letter, clm=clm)
    catalogue.ingest([folder])
    (item,) = catalogue.search(ID)
    assert item.properties["tuile:clm_order"] == order
    cube = load_collection(ID, bands=["CLOUD", "CLOUD_SHADOW", "CIRRUS"], env=Env(catalogue=catalogue)).compute()
    decoded = dict(zip(PIXELS, cube.values[0, :, : len(PIXELS), 0].T.tolist()))
    assert decoded == {
        "clear": [0, 0, 0], "cloud (multi-temporal)": [1, 0, 0], "cloud (mono-temporal)": [1, 0, 0],
        "shadow": [0, 1, 0], "shadow from outside": [0, 1, 0], "high cloud": [1, 0, 1],
    }  # fmt: skip


def test_the_real_product_bit_for_bit(catalogue: Catalogue, shared: Path) -> None:
    root = next((shared / "data" / "muscate_l2a_T30TYP_20181023").glob("SENTINEL2B*"))
    report = catalogue.ingest([root])
    assert len(report.added) == 1, report.rejected
    cube = load_collection(ID, bands=["B08", "B11", "CLOUD"], env=Env(catalogue=catalogue)).compute()
    with rasterio.open(next(root.glob("*FRE_B8.tif"))) as src:
        dn, transform = src.read(1), src.transform
    expected = np.where(dn == -10000, np.nan, dn.astype("f4") * np.float32(1e-4)).astype("f4")
    x0 = round((transform.c - (float(cube.x[0]) - 5)) / 10)
    y0 = round(((float(cube.y[0]) + 5) - transform.f) / 10)
    got = cube.values[0, 0, y0 : y0 + dn.shape[0], x0 : x0 + dn.shape[1]]
    np.testing.assert_array_equal(got, expected)
    assert int(np.nansum(cube.values[0, 2])) == 6688  # pixels with CLM = 11, as the data's notes count them


def test_a_name_without_version(catalogue: Catalogue, tmp_path: Path) -> None:
    made = make_muscate(tmp_path / "b")
    folder = tmp_path / "a" / made.name.removesuffix("_V1-9")
    folder.parent.mkdir()
    made.rename(folder)
    assert catalogue.ingest([tmp_path / "a"]).rejected == []
    (item,) = catalogue.search("SENTINEL2_L2A_MAJA")
    assert item.id == folder.name and item.properties["processing:version"] == "1.9"
