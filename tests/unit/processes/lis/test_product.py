"""A cube of snow written as products, which the catalogue ingests and loads back as they were."""

from __future__ import annotations

import json

import numpy as np
import pytest

from backend.catalogue import open_catalogue
from backend.settings import Settings
from processes.env import Env
from processes.errors import ProcessError
from processes.lis import lis_snow, snow_metadata, write_cube
from processes.load.load_collection import load_collection
from tests.unit.processes.lis.scenes import as_cube, mountain, plane, with_swath


@pytest.mark.parametrize("chunks", [None, (100, 64)])
def test_dates_of_a_cube_become_products_that_load_back(tmp_path, chunks):
    blocks = [mountain(1), with_swath(mountain(1, line=1900.0), 70)]
    cube = lis_snow(as_cube(blocks, chunks), dem=plane(blocks[0].dem))
    items = write_cube(cube, tmp_path / "products", tile="T31TGL")
    assert [i.id for i in items] == ["LIS_S2-SNOW_T31TGL_20240105T105000_1.1", "LIS_S2-SNOW_T31TGL_20240110T105000_1.1"]
    catalogue = open_catalogue(Settings(archive=tmp_path / "none", data_dir=tmp_path / "data"))
    report = catalogue.ingest([tmp_path / "products"])
    assert len(report.added) == 2 and not report.rejected
    names = ["SEB", "NDSI", "FSCTOC", "FSCOG", "QCTOC", "QCOG", "EXPERT"]
    back = load_collection("LIS_SNOW", bands=names, env=Env(catalogue))
    np.testing.assert_array_equal(back.values, cube.values)
    assert back.t.values.tolist() == cube.t.values.tolist()
    for item, told in zip(items, snow_metadata(cube)):
        assert item.properties["eo:snow_cover"] == pytest.approx(told["snow_percent"], abs=1e-3)
        assert item.properties["tuile:derived_from"] == ["a"]
        beside = json.loads((tmp_path / "products" / item.id / f"{item.id}_MTD.json").read_text())
        assert beside["extent_used"] == told["extent_used"] and beside["snow_line"] == told["snow_line"]


def test_what_is_no_snow_cube_is_told(tmp_path):
    block = mountain(1)
    cube = lis_snow(as_cube([block, block]), dem=plane(block.dem))
    for wrong in (plane(block.dem), cube.isel(t=[0])):
        with pytest.raises(ProcessError, match="whole result of lis_snow"):
            write_cube(wrong, tmp_path)
    with pytest.raises(ProcessError, match="tile"):
        write_cube(cube, tmp_path, tile="../up")
    assert not list(tmp_path.iterdir())
