"""Detection on arrays: the edge cases, against an independent plain-numpy version of the rules in mode ``lis``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from processes.errors import ProcessError
from processes.lis.detect import REGION, Block, detect
from processes.lis.grids import coarse, nearest_cells
from processes.lis.params import NODATA, SENSORS, Params, cloud_table, geo_table, guess_sensor
from tests.unit.processes.lis.scenes import mountain, with_swath

S2 = SENSORS["s2_muscate"]


def rules_in_numpy(b: Block, params: Params | None = None):
    """SEB, NDSI, FSC and snow line as the published rules have them, without kernels."""
    p = params or Params()
    g, r, s, blue, nir = (getattr(b, k).astype(float) for k in ("green", "red", "swir", "blue", "nir"))
    with np.errstate(all="ignore"):
        ndsi = (g - s) / (g + s)
    allc = b.cloud > 0
    never = ((b.cloud & 32) > 0) | ((b.cloud & 64) > 0) | ((b.cloud & 128) > 0)
    cells = coarse(b.red, 12)
    rc = cells[np.ix_(nearest_cells(g.shape[0], cells.shape[0]), nearest_cells(g.shape[1], cells.shape[1]))]
    back, p1 = allc & (r > 1000), ~allc & (ndsi > 0.4) & (r > 2000)
    refine = (allc & (rc > 3000)) | never
    low, high = int(b.dem.min()), int(b.dem.max())
    number = int((high - low) / p.dz)
    zs = None
    if number >= 1:
        width = (high - low) / number
        for k in range(number):
            inside = (b.dem >= low + k * width) & ((b.dem < low + (k + 1) * width) | (k == number - 1))
            clear = inside & ~allc
            if clear.sum() > 0.1 * inside.sum() and (p1 & inside).sum() > 0.1 * clear.sum():
                zs = np.floor(low + (max(k - 2, 0) + 0.5) * width - p.dz / 2)
                break
    enough = p1.mean() > p.fsnow_total_lim
    line = zs if zs is not None else 1e9
    p2 = ~refine & (b.dem > line) & (ndsi > 0.15) & (r > 400) & enough
    shaded = ~refine & (b.dem >= line) & (b.relief == 1) & (blue - nir > 160) & enough
    snow = p1 | p2 | shaded
    seb = np.where(s == NODATA, 255, np.where(snow, 100, np.where(refine | back, 205, 0)))
    found = seb == 100
    percent = np.clip(np.trunc((100 * np.nan_to_num(ndsi)).astype(np.float32)), 0, 255)
    toc = np.trunc((100 * np.minimum(0.5 * np.tanh(2.65 * percent / 100 - 1.42) + 0.5, 1)).astype(np.float32))
    unsure = shaded & ~p1 & ~p2
    toc = np.where(unsure, 100, np.where(found, toc, seb))
    reported = (zs if zs is not None else 1e9) if enough else -1000
    return {"SEB": seb, "NDSI": np.where(found, percent, seb), "FSCTOC": toc}, reported


def flat(b: Block) -> Block:
    return replace(b, dem=np.full_like(b.dem, 1234))


def bare(b: Block) -> Block:
    return replace(
        b,
        green=np.full_like(b.green, 900),
        red=np.full_like(b.red, 800),
        swir=np.full_like(b.swir, 2400),
        blue=np.full_like(b.blue, 600),
        nir=np.full_like(b.nir, 3000),
    )


def white(b: Block) -> Block:
    values = {"green": 9000, "red": 8800, "swir": 900, "blue": 9200, "nir": 7800}
    bands = {k: np.full_like(b.green, v) for k, v in values.items()}
    return replace(b, **bands, cloud=np.zeros_like(b.cloud))


def tiny(b: Block) -> Block:
    """Under a thousandth of the scene is snow."""
    out = bare(b)
    high = np.unravel_index(np.argsort(b.dem.ravel())[-30:], b.dem.shape)
    for name, value in (("green", 9000), ("red", 8800), ("swir", 900)):
        getattr(out, name)[high] = value
    return replace(out, cloud=np.zeros_like(b.cloud))


def overcast(b: Block) -> Block:
    return replace(b, cloud=np.full_like(b.cloud, 3), red=np.full_like(b.red, 6000))


def unusual_numbers(b: Block) -> Block:
    """Green nodata where SWIR is valid, zero sums, negative and very bright values."""
    green, red, swir = b.green.copy(), b.red.copy(), b.swir.copy()
    green[:20], green[30:40], swir[30:40] = NODATA, 100, -100
    green[50:60], swir[50:60], red[60:70] = 100, 100, -300
    green[80:90] = 25000
    return replace(b, green=green, red=red, swir=swir)


CASES = {
    "base": lambda b: b,
    "partial swath": lambda b: with_swath(b, 90),
    "no snow": bare,
    "all snow": white,
    "flat": flat,
    "flat and bare": lambda b: flat(bare(b)),
    "tiny snow": tiny,
    "overcast": overcast,
    "no data at all": lambda b: with_swath(b, 240),
    "unusual numbers": unusual_numbers,
    "odd size": lambda b: b.rows(3, 200),
    "one cell": lambda b: b.rows(100, 107),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 5])
def test_mode_lis_is_the_published_rules(case, seed):
    block = CASES[case](mountain(seed))
    layers, meta = detect(block, S2, mode="lis", threads=2)
    expected, line = rules_in_numpy(block)
    for name, values in expected.items():
        np.testing.assert_array_equal(layers[name], values, err_msg=name)
    assert meta["snow_line"] == line


@pytest.mark.parametrize("case", CASES)
def test_mode_plus_survives_and_is_consistent(case):
    block = CASES[case](mountain(3))
    layers, meta = detect(block, S2, Params(seb_fraction=0.5), threads=2)
    seb, toc, og = layers["SEB"], layers["FSCTOC"], layers["FSCOG"]
    hole = (block.green == NODATA) | (block.red == NODATA) | (block.swir == NODATA)
    assert set(np.unique(seb)) <= {0, 100, 205, 255}
    np.testing.assert_array_equal(seb == 255, hole)
    assert (toc[seb == 100] >= 50).all() and (toc[seb == 100] <= 100).all()
    assert (toc[seb == 0] < 50).all()
    fraction = toc <= 100
    assert (og[fraction] >= toc[fraction]).all() and (og[fraction] <= 100).all()
    np.testing.assert_array_equal(layers["NDSI"][~fraction], seb[~fraction])
    np.testing.assert_array_equal(layers["QCTOC"][~fraction], toc[~fraction])
    assert layers["QCTOC"][fraction].max(initial=0) <= 3
    assert 0 <= meta["snow_percent"] <= 100 and 0 <= meta["cloud_percent"] <= 100


def test_far_above_the_snow_line_less_snow_is_called_snow():
    """Dirty snow looks like thin snow; thin snow is near the snow line."""
    b = white(mountain(1))
    b = replace(b, relief=np.zeros_like(b.relief))
    for name, value, ground in (("green", 4400, 900), ("red", 4400, 800), ("swir", 1750, 2400)):
        getattr(b, name)[100:110] = value
        getattr(b, name)[200:] = ground
    dirty = {}
    for line in (0.0, 2500.0):
        layers, _ = detect(b, S2, Params(snow_line=line))
        dirty[line] = layers["SEB"][100:110], layers["FSCTOC"][100:110]
        fixed = detect(b, S2, Params(snow_line=line, seb_fraction=0.5))[0]["SEB"][100:110]
        assert (fixed == 0).all()
    assert ((dirty[0.0][1] > 30) & (dirty[0.0][1] < 50)).all()
    far = b.dem[100:110] > 900
    assert far.any() and (dirty[0.0][0][far] == 100).all()
    assert (dirty[2500.0][0] == 0).all()


def test_extremes_in_plus():
    assert detect(white(mountain(1)), S2)[1]["snow_percent"] == 100
    assert detect(bare(mountain(1)), S2)[1]["snow_percent"] == 0
    assert detect(bare(mountain(1)), S2)[1]["snow_line_found"] is False
    assert detect(flat(mountain(1)), S2)[1]["snow_line"] == 1e9
    assert detect(tiny(mountain(1)), S2, mode="lis")[1]["snow_line"] == -1000


def test_tree_cover():
    b = mountain(1)
    for tree, factor in ((0, 1.0), (50, 2.0), (100, np.inf), (101, 1.0), (255, 1.0)):
        for mode in ("lis", "plus"):
            layers, _ = detect(replace(b, tcd=np.full(b.shape, tree, np.uint8)), S2, mode=mode)
            found = layers["FSCTOC"] <= 100
            toc, og = layers["FSCTOC"][found], layers["FSCOG"][found]
            with np.errstate(invalid="ignore"):
                exact = np.where(toc > 0, np.minimum(toc * factor, 100), 0)
            assert np.abs(og - exact).max() <= 1
    # quality: the original multiplies percent, so 2 % of trees is the worst class
    few = replace(b, tcd=np.full(b.shape, 5, np.uint8), geo=np.zeros(b.shape, np.uint8))
    lis, plus = (detect(few, S2, mode=m)[0] for m in ("lis", "plus"))
    lit = (lis["SEB"] == 100) & (plus["SEB"] == 100) & (b.cloud == 0) & (b.relief == 0)
    assert (lis["QCOG"][lit] == 3).all()
    assert (plus["QCOG"][lit] == 0).all()


def test_nodata_does_not_weaken_the_snow_line_in_plus():
    whole, part = mountain(2), with_swath(mountain(2), 80)
    lines = {m: [detect(b, S2, mode=m)[1]["snow_line"] for b in (whole, part)] for m in ("lis", "plus")}
    assert abs(lines["plus"][0] - lines["plus"][1]) <= abs(lines["lis"][0] - lines["lis"][1])
    total = np.array(detect(part, S2)[1]["histogram"])[:, 1].sum()
    assert total == (part.swir != NODATA).sum()


def test_local_snow_line_follows_the_terrain():
    """Two valleys with snow lines 700 m apart: one line cannot serve both."""
    north, south = mountain(1, n=REGION * 2, line=1100.0), mountain(2, n=REGION * 2, line=1800.0)
    both = Block(
        **{k: None if v is None else np.concatenate([v, getattr(south, k)]) for k, v in north.__dict__.items()}
    )
    _, meta = detect(both, S2)
    low, high = meta["snow_line_local"]
    assert high - low > 400


def test_shadow_and_bright_cloud_never_become_snow():
    b = mountain(4)
    for mode in ("lis", "plus"):
        layers, _ = detect(b, S2, mode=mode)
        assert not (layers["SEB"][(b.cloud & 0b11100000) > 0] == 100).any()


def test_strict_cloud_mask():
    b = mountain(4)
    loose, strict = (detect(b, S2, Params(strict_cloud_mask=s), "lis")[0]["SEB"] for s in (False, True))
    changed = loose != strict
    assert changed.any() and (loose[changed] == 100).all() and (strict[changed] == 205).all()
    assert (b.cloud[changed] > 0).all()


def test_snow_inside_a_cloud_is_removed_on_request():
    b = white(mountain(1))
    cloud = np.full(b.shape, 3, np.uint8)
    cloud[100:140, 100:140] = 0  # a white hole in the cloud
    cloud[:50] = 0
    for name, value in (("green", 900), ("red", 800), ("swir", 2400)):
        getattr(b, name)[40:50] = value  # bare ground between the open snow and the cloud
    b = replace(b, cloud=cloud)
    params = Params(rm_snow_inside_cloud=True, rm_min_area=500)
    before, after = (detect(b, S2, p, "lis")[0]["EXPERT"] for p in (Params(), params))
    assert (before[100:140, 100:140] & 1).all()
    assert not (after[100:140, 100:140] & 1).any() and (after[100:140, 100:140] & 4).all()
    assert (after[:40] & 1).all()
    assert (detect(b, S2, Params(rm_snow_inside_cloud=True, rm_min_area=5000), "lis")[0]["EXPERT"] == before).all()


def test_ice_is_told_apart_and_dropped_on_request():
    b = white(mountain(1))
    values = {"green": 4300, "red": 4000, "swir": 300, "blue": 4200, "nir": 3000}
    for name, value in values.items():
        getattr(b, name)[60:90, 60:90] = value
    b = replace(b, relief=np.zeros(b.shape, np.uint8))
    kept, dropped = (detect(b, S2, Params(ice=i))[0] for i in (False, True))
    assert (kept["SEB"][60:90, 60:90] == 100).all() and (kept["EXPERT"][60:90, 60:90] & 64).all()
    assert (dropped["SEB"][60:90, 60:90] == 0).all() and (dropped["SEB"][:50] == 100).all()


def test_sensors_without_fractions():
    b = mountain(1)
    for name in ("l8_muscate", "take5"):
        small = replace(
            b, **{k: (getattr(b, k) // 10).astype(np.int16) for k in ("green", "red", "swir", "blue", "nir")}
        )
        layers, meta = detect(small, SENSORS[name], mode="lis")
        assert meta["snow_percent"] > 5 and (layers["FSCTOC"] == 255).all()


def test_tables_of_the_sensors():
    muscate = cloud_table(S2, np.uint8)
    assert [int(muscate[v]) for v in (0, 1, 33, 65, 129)] == [0, 9, 11, 11, 13]
    scl = cloud_table(SENSORS["s2_sen2cor"], np.uint8)
    assert [int(scl[v]) for v in (0, 3, 4, 8, 9, 10, 11)] == [0, 11, 0, 9, 9, 13, 0]
    lasrc = cloud_table(SENSORS["l8_lasrc"], np.uint16)
    assert [int(lasrc[v]) for v in (0, 32, 224, 8, 800, 864)] == [0, 0, 9, 10, 12, 12]
    second = cloud_table(SENSORS["l8_c2"], np.uint16)  # 21824 is clear land, 22280 cloud, 23888 shadow, 30048 snow
    assert [int(second[v]) for v in (21824, 22280, 23888, 30048)] == [0, 9, 11, 0]
    native = cloud_table(SENSORS["s2_maja_native"], np.uint8)
    assert [int(native[v]) for v in (5, 9, 33)] == [11, 11, 9]
    old = cloud_table(SENSORS["take5"], np.uint8)
    assert [int(old[v]) for v in (64, 128, 32)] == [11, 11, 13]
    assert [int(geo_table(S2, np.uint8)[v]) for v in (0, 1, 64, 128, 63)] == [0, 4, 9, 10, 4]
    assert [int(geo_table(SENSORS["take5"], np.uint8)[v]) for v in (7, 8, 200)] == [0, 8, 8]


@pytest.mark.parametrize(
    ("names", "sensor"),
    [
        (["B03", "B04", "B11", "CLM_R2"], "s2_muscate"),
        (["B03", "B04", "B11", "SCL", "CLOUD"], "s2_sen2cor"),
        (["B03", "B04", "B06", "CLM"], "l8_muscate"),
        (["B03", "B04", "B06", "NUA"], "l8_muscate_old"),
        (["XS1", "XS2", "SWIR", "NUA"], "take5"),
        (["B03", "B04", "B06", "QA_PIXEL"], "l8_c2"),
        (["B03", "B04", "B06", "PIXEL_QA"], "l8_lasrc"),
        (["sr_band3", "sr_band4", "sr_band6", "pixel_qa"], "l8_lasrc"),
    ],
)
def test_sensor_is_recognised(names, sensor):
    assert guess_sensor(names).id == sensor


def test_parameters_are_checked():
    assert Params.of({"dz": 50, "ice": True}).dz == 50
    for wrong in ({"nope": 1}, {"ice": 1}, {"fsc": "cubic"}, {"dz": 0}, {"red_pass1": float("nan")}, {"rf": 0}):
        with pytest.raises(ProcessError):
            Params.of(wrong)
