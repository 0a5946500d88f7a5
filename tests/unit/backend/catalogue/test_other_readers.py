"""Readers for what comes without a product format: STAC on disk, folders with a naming rule, static rasters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.catalogue.export import export
from backend.catalogue.index import Catalogue
from backend.catalogue.reader import readers
from backend.store.db import Database
from processes.env import Env
from processes.load.items import item_bands
from processes.load.load_collection import load_collection
from tests.unit.backend.catalogue.conftest import make_muscate, write_raster

DN = np.arange(36, dtype="u2").reshape(6, 6)


def stac_item(id: str, href: str, **asset: Any) -> dict[str, Any]:
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": id, "collection": "FIELD", "links": [], "stac_extensions": [],
        "geometry": {"type": "Polygon", "coordinates": [[[0, 44], [1, 44], [1, 45], [0, 45], [0, 44]]]}, "bbox": [0, 44, 1, 45],
        "properties": {"datetime": "2021-05-04T10:00:00Z", "platform": "drone-1"}, "assets": {"red": {"href": href, **asset}},
    }  # fmt: skip


def test_every_reader_is_installed() -> None:
    names = {r.name for r in readers()}
    assert names >= {
        "muscate_l2a",
        "muscate_xs",
        "sentinel2_safe",
        "sentinel2_loose",
        "landsat",
        "theia_n2a",
        "wasp_l3a",
        "lis_snow",
        "stac",
        "static",
        "naming",
        "netcdf_series",
    }


def test_an_item_beside_its_raster(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    write_raster(folder / "field.tif", DN, nodata=0)
    (folder / "field.json").write_text(
        json.dumps(
            stac_item(
                "field",
                "field.tif",
                **{
                    "eo:bands": [{"name": "B04", "common_name": "red"}],
                    "raster:bands": [{"scale": 0.001, "offset": -0.1, "nodata": 0}],
                },
            )
        )
    )
    report = catalogue.ingest([folder])
    assert len(report.added) == 1 and report.rejected == []  # the raster is the item's, no stranger
    cube = load_collection("FIELD", bands=["red"], env=Env(catalogue=catalogue)).compute()
    expected = (DN.astype("f4") + np.float32(-100)) * np.float32(0.001)
    got = cube.values[0, 0, :6, :6]
    np.testing.assert_allclose(got[0, 1:], expected[0, 1:], rtol=1e-6)
    assert np.isnan(got[0, 0]) and str(cube.t.values[0]).startswith("2021-05-04")
    write_raster(folder / "field.tif", DN + 1, nodata=0)
    assert len(catalogue.ingest([folder]).changed) == 1  # the raster counts as part of the product


def test_a_catalogue_on_disk_round_trip(catalogue: Catalogue, tmp_path: Path) -> None:
    """What we export, we read: same ids, same bands, same pixels."""
    make_muscate(tmp_path / "a")
    catalogue.ingest([tmp_path / "a"])
    export(catalogue, tmp_path / "static", check=0)
    with Catalogue(Database(f"sqlite:///{tmp_path / 'second.sqlite'}")) as second:
        report = second.ingest([tmp_path / "static"])
        assert report.rejected == [] and report.items == 1
        (one,), (two,) = (c.search("SENTINEL2_L2A_MAJA") for c in (catalogue, second))
        assert one.id == two.id and item_bands(one) == item_bands(two)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{not json", "cannot be read"),
        ("[1, 2]", "no STAC document"),
        ('{"type": "Feature", "geometry": null}', "no STAC item"),
        (json.dumps(stac_item("x", "nowhere.tif")), "cannot be opened"),
        (json.dumps(stac_item("x", "/vsicurl/http://host/x.tif")), "virtual paths"),
        (json.dumps({**stac_item("x", "x.tif"), "assets": {}}), "no raster asset"),
        (json.dumps({**stac_item("x", "x.tif"), "properties": {}}), "no valid STAC item"),
    ],
)
def test_bad_items_are_named(catalogue: Catalogue, tmp_path: Path, text: str, reason: str) -> None:
    write_raster(tmp_path / "a" / "x.tif", DN)
    (tmp_path / "a" / "x.json").write_text(text)
    (rejected,) = catalogue.ingest([tmp_path / "a"]).rejected
    assert reason in rejected.reason


def test_a_catalogue_that_links_outside_itself(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "c"
    folder.mkdir(parents=True)
    (folder / "catalog.json").write_text(
        json.dumps({"type": "Catalog", "id": "x", "links": [{"rel": "item", "href": "../../secret.json"}]})
    )
    (rejected,) = catalogue.ingest([tmp_path / "a"]).rejected
    assert "outside the catalogue" in rejected.reason


RULE = {
    "collection": "ORTHO", "pattern": r"(?P<name>ortho_(?P<date>\d{8}))_(?P<band>\w+)\.tif", "platform": "plane",
    "default": {"scale": 0.001, "nodata": 0},
    "bands": {"NIR": {"common_name": "nir", "center_wavelength": 0.85}, "QA": {"kind": "class", "nodata": 255, "masks": {"CLOUD": {"any_bits": 2}}}},
}  # fmt: skip


def test_a_naming_rule(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "ortho"
    for day in ("20210504", "20210604"):
        write_raster(folder / f"ortho_{day}_NIR.tif", DN)
        write_raster(folder / f"ortho_{day}_QA.tif", (DN % 4).astype("u1"))
    (folder / "tuile.json").write_text(json.dumps(RULE))
    report = catalogue.ingest([tmp_path / "a"])
    assert report.items == 2 and report.rejected == []
    assert catalogue.dates("ORTHO") == ["2021-05-04T00:00:00Z", "2021-06-04T00:00:00Z"]
    cube = load_collection("ORTHO", bands=["nir", "CLOUD"], env=Env(catalogue=catalogue)).compute()
    np.testing.assert_array_equal(cube.values[0, 0, 0, 1:6], DN[0, 1:6].astype("f4") * np.float32(0.001))
    np.testing.assert_array_equal(cube.values[0, 1, 1, :6], (DN[1] % 4 & 2) > 0)


@pytest.mark.parametrize(
    "change",
    [
        {"pattern": "("},
        {"pattern": "x"},
        {"collection": "a b"},
        {"pattern": r"(?P<date>\d+)x"},
        {"default": {"kind": "odd"}},
    ],
)
def test_bad_rules_are_named(catalogue: Catalogue, tmp_path: Path, change: dict[str, Any]) -> None:
    folder = tmp_path / "a" / "ortho"
    write_raster(folder / "ortho_20210504_NIR.tif", DN)
    (folder / "tuile.json").write_text(json.dumps({**RULE, **change}))
    (rejected,) = catalogue.ingest([tmp_path / "a"]).rejected
    assert rejected.path == folder and "tuile.json" in rejected.reason


def test_static_rasters_by_name(catalogue: Catalogue, tmp_path: Path) -> None:
    root = tmp_path / "a"
    for name in (
        "N45E006.tif",
        "dem/alps.tif",
        "site/DEM.tif",
        "other/DEM.tif",
        "tcd/TCD_2018_010m.tif",
        "masks/water.tif",
    ):
        write_raster(root / name, DN.astype("i2"))
    assert catalogue.ingest([root]).rejected == []
    ids = {c["id"]: sorted(i.id for i in catalogue.search(c["id"])) for c in catalogue.collections()}
    assert ids == {
        "DEM": ["N45E006", "alps", "other_DEM", "site_DEM"],
        "TCD": ["TCD_2018_010m"],
        "WATER": ["masks_water"],
    }


def test_rasters_that_cannot_be_placed(catalogue: Catalogue, tmp_path: Path) -> None:
    import rasterio

    with rasterio.open(tmp_path / "DEM.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8") as out:
        out.write(DN[:4, :4].astype("u1"), 1)
    (tmp_path / "dem_2.tif").write_bytes(b"not a raster")
    reasons = {r.path.name: r.reason for r in catalogue.ingest([tmp_path]).rejected if r.path.name != "index"}
    assert "no coordinate reference system" in reasons["DEM.tif"] and "cannot be opened" in reasons["dem_2.tif"]
