"""A small area of a large tile costs what the area costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from processes.env import Env, LoadReport
from processes.load.load_stac import load_stac
from tests.unit.processes.cubes.samples import building
from tests.unit.processes.load_stac.server import NORTH, WEST, Site, item, raster

SIDE, AREA = 1500, 20  # pixels


def test_load_stac_reads_the_area_and_not_the_tile(site: Site, env: Env) -> None:
    held = np.random.default_rng(1).integers(1, 10_000, (1, SIDE, SIDE), "u2")
    raster(site.folder / "tile.tif", held)
    box = {
        "west": WEST + 7000,
        "east": WEST + 7000 + 10 * AREA,
        "north": NORTH - 9000,
        "south": NORTH - 9000 - 10 * AREA,
    }
    asset = {
        "href": "./tile.tif",
        "type": "image/tiff; application=geotiff",
        "roles": ["data"],
        "eo:bands": [{"name": "B1"}],
    }
    document = item("i", "2021-01-01T10:00:00Z", {"red": asset})
    document["bbox"] = [4.0, 43.0, 5.0, 44.0]
    site["/i.json"] = document
    ledger: list[LoadReport] = []
    with building():
        data = load_stac(site.url("/i.json"), {**box, "crs": 32631}, env=replace(env, ledger=ledger))
    assert data.shape == (1, 1, AREA, AREA)
    assert [r.pixels for r in ledger] == [AREA * AREA]
    got = data.compute(scheduler="sync").values[0, 0]
    np.testing.assert_array_equal(got, held[0, 900 : 900 + AREA, 700 : 700 + AREA])
