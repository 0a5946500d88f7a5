"""Mode ``lis`` against outputs of let-it-snow 1.11.0 from the same inputs: not one pixel may differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from processes.lis.detect import Block, detect
from processes.lis.grids import coarse, halve, nearest_cells
from processes.lis.params import SENSORS, Params

LAYERS = {k: k for k in ("SEB", "NDSI", "FSCTOC", "FSCOG", "QCTOC", "QCOG", "QCFLAGS")} | {"EXPERT": "SNOW_ALL"}


def raster(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)


@pytest.fixture(scope="module")
def fixtures(shared: Path) -> list[Path]:
    found = sorted(p.parent for p in (shared / "data/parity/lis").glob("*/inputs"))
    if not found:
        pytest.skip("no LIS parity fixtures in the shared data")
    return found


def test_grids(fixtures):
    for folder in fixtures:
        dry = raster(folder / "inputs/water.tif") != 1
        for name, band in (("green", "FRE_B3"), ("red", "FRE_B4"), ("blue", "SRE_B2")):
            ours = halve(raster(folder / f"inputs/{band}.tif"), threads=2)
            assert (ours != raster(folder / f"intermediate/{name}_20m.tif"))[dry].sum() == 0
        red = raster(folder / "intermediate/red_20m.tif")
        cells = coarse(red, 12)
        np.testing.assert_array_equal(cells, raster(folder / "intermediate/red_coarse.tif"))
        rows, cols = (nearest_cells(n, m) for n, m in zip(red.shape, cells.shape))
        np.testing.assert_array_equal(cells[np.ix_(rows, cols)], raster(folder / "intermediate/red_coarse_nn.tif"))


def test_every_layer(fixtures):
    for folder in fixtures:
        given = {p.stem: raster(p) for p in (folder / "inputs").glob("*.tif")}
        block = Block(
            green=halve(given["FRE_B3"]),
            red=halve(given["FRE_B4"]),
            swir=given["FRE_B11"],
            cloud=given["CLM_R2"],
            dem=given["dem"],
            blue=halve(given["SRE_B2"]),
            nir=given["SRE_B8A"],
            relief=given["relief"],
            tcd=given["tcd"],
            geo=given["MG2_R2"],
        )
        ours, meta = detect(block, SENSORS["s2_muscate"], Params(), "lis", water=given["water"], threads=2)
        for layer, name in LAYERS.items():
            differ = int((ours[layer] != raster(folder / f"outputs/{name}.tif")).sum())
            assert differ == 0, f"{folder.name} {layer}: {differ} pixels differ"
        theirs = json.loads((folder / "outputs/metadata.json").read_text())
        assert meta["snow_line"] == theirs["zs_metadata"]
        assert meta["snow_percent"] == pytest.approx(theirs["snow_percent"], abs=1e-9)
        assert meta["cloud_percent"] == pytest.approx(theirs["cloud_percent"], abs=1e-9)
        assert [[int(v) for v in row] for row in meta["histogram"]] == theirs["histogram"]
