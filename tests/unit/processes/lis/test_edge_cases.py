"""Each edge case of the snow chain by its name, on scenes whose right answer is plain. See test_literal for every other one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from processes import cube as cubes
from processes.lis import lis_snow, snow_line, snow_metadata, snow_synthesis
from processes.lis.detect import Block, detect
from processes.lis.params import NODATA, SENSORS
from tests.unit.processes.lis.scenes import as_cube, mountain, plane, with_swath

S2 = SENSORS["s2_muscate"]
WHITE = {"green": 9000, "red": 8800, "swir": 900, "blue": 9200, "nir": 7800}
BARE = {"green": 900, "red": 800, "swir": 2400, "blue": 600, "nir": 3000}
both_modes = pytest.mark.parametrize("mode", ["lis", "plus"])


def painted(colour: dict[str, int], **more: object) -> Block:
    """A scene of one colour under a clear sky."""
    b = mountain(1)
    bands = {k: np.full_like(b.green, v) for k, v in colour.items()}
    return replace(b, **bands, cloud=np.zeros_like(b.cloud), relief=np.zeros_like(b.relief), **more)


@both_modes
def test_partial_swath(mode):
    """Half of the tile was not seen: nodata there, and the other half as if it were alone (but for the lis histogram)."""
    whole, part = mountain(1), with_swath(mountain(1), 120)
    seen, alone = detect(part, S2, mode=mode), detect(whole, S2, mode=mode)
    assert (seen[0]["SEB"][:, :120] == 255).all() and (seen[0]["SEB"][:, 120:] != 255).all()
    assert (seen[0]["SEB"][:, 132:] == alone[0]["SEB"][:, 132:]).mean() > 0.97
    assert 0 < seen[1]["snow_percent"] <= 100


@both_modes
def test_all_snow(mode):
    layers, meta = detect(painted(WHITE), S2, mode=mode)
    assert (layers["SEB"] == 100).all() and meta["snow_percent"] == 100 and meta["cloud_percent"] == 0
    assert meta["snow_line"] < mountain(1).dem.min() + 100
    assert (layers["FSCTOC"] == 81).all(), "the published law at this NDSI of .82"


@both_modes
def test_no_snow(mode):
    layers, meta = detect(painted(BARE), S2, mode=mode)
    assert (layers["SEB"] == 0).all() and meta["snow_percent"] == 0
    assert meta["snow_line"] == -1000 and meta["snow_line_found"] is False and meta["pass2_run"] is False
    assert len(meta["histogram"]) > 10, "the histogram is written all the same"


@both_modes
def test_flat_dem(mode):
    """Less than one bin of relief: no histogram, 1e9 for the snow line, pass 1 alone."""
    scene = mountain(1)
    flat = replace(scene, dem=(1500 + scene.dem % 99).astype(np.int16))
    layers, meta = detect(flat, S2, mode=mode)
    assert meta["snow_line"] == 1e9 and meta["histogram"] == []
    assert not (layers["EXPERT"] & 2).any() and (layers["EXPERT"] & 1).any()


@both_modes
def test_tree_cover_above_100_is_unknown(mode):
    for tree in (101, 200, 254, 255):
        layers, _ = detect(replace(mountain(1), tcd=np.full((240, 240), tree, np.uint8)), S2, mode=mode)
        np.testing.assert_array_equal(layers["FSCOG"], layers["FSCTOC"])
        assert (layers["QCFLAGS"][layers["SEB"] != 255] & 32).all() and not (layers["QCFLAGS"] & 8).any()


@both_modes
def test_tiny_snow(mode):
    """Less than a thousandth of the scene is snow: pass 2 does not run, pass 1 stands."""
    block = painted(BARE)
    rows, cols = np.unravel_index(np.argsort(block.dem.ravel())[-40:], block.dem.shape)
    for name, value in WHITE.items():
        getattr(block, name)[rows, cols] = value
    layers, meta = detect(block, S2, mode=mode)
    assert meta["pass2_run"] is False and meta["snow_line"] == -1000
    assert (layers["SEB"][rows, cols] == 100).all() and (layers["SEB"] == 100).sum() == 40


@both_modes
def test_overcast(mode):
    """Bright cloud everywhere: nothing but cloud, no snow line."""
    block = replace(painted(WHITE), cloud=np.full((240, 240), 3, np.uint8))
    layers, meta = detect(block, S2, mode=mode)
    assert (layers["SEB"] == 205).all() and meta["cloud_percent"] == 100 and meta["snow_line"] == -1000


@both_modes
def test_no_data_at_all(mode):
    layers, meta = detect(with_swath(mountain(1), 240), S2, mode=mode)
    assert (layers["SEB"] == 255).all() and meta["snow_percent"] == meta["cloud_percent"] == 0


@both_modes
def test_snow_line_at_the_bottom_and_above_the_top(mode):
    low, high = (detect(mountain(1, line=z), S2, mode=mode) for z in (-500.0, 4000.0))
    assert low[1]["snow_line"] < mountain(1).dem.min() + 200 and low[1]["snow_percent"] > 60
    assert high[1]["snow_percent"] < 1 and high[1]["snow_line_found"] is False


@both_modes
def test_one_pixel(mode):
    block = painted(WHITE).rows(0, 1)
    single = Block(**{k: None if v is None else v[:, :1] for k, v in block.__dict__.items()})
    layers, meta = detect(single, S2, mode=mode)
    assert layers["SEB"].tolist() == [[100]] and meta["snow_line"] == 1e9


@both_modes
@pytest.mark.parametrize("chunks", [None, (50, 77)])
def test_a_band_that_is_missing_where_swir_is_valid(mode, chunks):
    """The original computes with the fill value there; ``plus`` says nodata."""
    block = mountain(1)
    green = block.green.copy()
    green[:, :30] = NODATA
    cube = as_cube([replace(block, green=green)], chunks)
    seb = lis_snow(cube, dem=plane(block.dem), mode=mode).compute(scheduler="sync").values[0, 0]
    assert (seb[:, :30] == 255).all() if mode == "plus" else (seb[:, :30] != 255).all()


def series(codes, dates):
    values = np.asarray(codes, np.uint8).reshape(len(dates), 1, -1)
    coords = {
        "t": np.array(dates, "datetime64[ns]"),
        "y": [4.8e6 - 10],
        "x": 3e5 + 20 * (np.arange(values.shape[2]) + 0.5),
    }
    return cubes.cube(values, ["t", "y", "x"], coords, crs="EPSG:32631", nodata=255)


def layer(result, name):
    return result.sel(bands=name).values[0].tolist()


def test_all_cloudy_pixel_of_a_season():
    """A pixel never seen is nodata, beside one that is; the original says 0 days."""
    cube = series([[205, 100], [255, 100], [254, 0]], ["2017-11-01", "2018-01-10", "2018-04-01"])
    plus, lis = (snow_synthesis(cube, "2017-09-01", "2018-08-31", mode=m) for m in ("plus", "lis"))
    assert layer(plus, "SCD")[0] == 65535 and layer(lis, "SCD")[0] == 0
    assert layer(plus, "NOBS") == [0, 3] and layer(plus, "CCD") == [3, 0]


def test_season_across_new_year():
    """Days count on over 31 December: bare in early December, snow from the 20th on, bare in mid January."""
    cube = series([[0], [100], [100], [0]], ["2017-12-10", "2017-12-20", "2018-01-05", "2018-01-15"])
    out = snow_synthesis(cube, "2017-12-01", "2018-01-31")
    # halfway between observations belongs to the snow: 15 December to 10 January
    assert (layer(out, "SCD"), layer(out, "SOD"), layer(out, "SMOD")) == ([27], [14], [40])
    assert layer(out, "NSP") == [1] and layer(out, "GAP") == [16]


@pytest.mark.parametrize(("code", "days"), [(100, 365), (0, 0)])
def test_a_single_date(code, days):
    out = snow_synthesis(series([[code]], ["2018-02-01"]), "2017-09-01", "2018-08-31")
    assert layer(out, "SCD") == [days] and layer(out, "NOBS") == [1] and layer(out, "NSP") == [int(days > 0)]
    assert layer(out, "GAP") == [211] and layer(out, "SINCE") == [211]


def test_snow_line_of_all_snow_no_snow_and_all_cloud():
    z = np.linspace(500, 2500, 50)[None].repeat(4, 0)
    codes = np.stack([np.full(z.shape, c, np.uint8) for c in (100, 0, 205)])
    coords = {"t": np.array(["2018-01-01", "2018-01-02", "2018-01-03"], "M8[ns]"), "y": 4.8e6 - 20 * (np.arange(4) + 0.5), "x": 3e5 + 20 * (np.arange(50) + 0.5)}  # fmt: skip
    cube = cubes.cube(codes, ["t", "y", "x"], coords, crs="EPSG:32631", nodata=255)
    dem = cubes.cube(z, ["y", "x"], {k: coords[k] for k in "yx"}, crs="EPSG:32631")
    out = snow_line(cube, dem=dem).values[0]
    assert out[0].tolist() == [500, 1, 1], "all above the lowest candidate"
    assert 2500 < out[1][0] <= 2520 and out[1][1:].tolist() == [1, 1], "all below the highest"
    assert np.isnan(out[2][:2]).all() and out[2][2] == 0


def test_metadata_of_every_date_of_a_cube():
    """Snow line, percentages, histogram and extent per date; a date without data does not spoil its neighbours."""
    blocks = [mountain(1), with_swath(mountain(1), 240), mountain(1, line=1900.0)]
    cube = as_cube(blocks, (100, 240))
    told = snow_metadata(lis_snow(cube, dem=plane(blocks[0].dem)))
    assert [t["date"][:10] for t in told] == ["2024-01-05", "2024-01-10", "2024-01-15"]
    assert told[1]["snow_percent"] == 0 and told[0]["snow_line"] < told[2]["snow_line"]
    box = [300000.0, 4800000.0 - 4800, 304800.0, 4800000.0]
    assert all(t["extent_used"] == {"kind": "cube", "bbox": box, "crs": "EPSG:32631"} for t in told)
