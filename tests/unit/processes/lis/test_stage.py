"""lis_snow on products: equal to the array functions, native layout, clear errors, inputs of every layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

from processes.demand import EVERYTHING
from processes.env import Env, Limits
from processes.errors import ProcessError
from processes.lis.detect import Block, detect
from processes.lis.grids import halve
from processes.lis.inputs import band_on, open_item, read_item
from processes.lis.params import SENSORS, Params
from processes.lis.relief import relief_shade
from processes.lis.terrain import warp_dem
from processes.load.items import item_bands
from processes.load.load_collection import cube_of_items
from processes.stages import make_stage, run_here
from tests.unit.processes.lis.products import ORIGIN, Archive, asset, item, muscate, reflectance, static, write


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("l2a")
    made, planes = muscate(folder / "product")
    archive = Archive({"DEM": [static(folder / "dem", "DEM", planes["dem"], 20.0, nodata=-32768)]})
    return made, planes, archive


def environment(tmp_path, archive, log=None):
    sink = (lambda level, message, **_: log.append((level, message))) if log is not None else (lambda *_, **__: None)
    return Env(catalogue=archive, workspace=tmp_path, limits=Limits(threads=2), sink=sink)


@pytest.mark.parametrize("mode", ["lis", "plus"])
def test_product_equals_the_array_functions(scene, tmp_path, mode):
    made, planes, archive = scene
    log: list = []
    (product,) = run_here(make_stage("lis_snow", [made], {"mode": mode}), environment(tmp_path, archive, log))
    block = Block(
        green=halve(planes["B03"]), red=halve(planes["B04"]), swir=planes["B11"], cloud=planes["CLM_R2"],
        dem=planes["dem"], blue=halve(planes["SRE_B02"]), nir=planes["SRE_B8A"], geo=planes["MG2_R2"],
        relief=relief_shade(planes["dem"], 20.0, 150.0, 32.0, hillshade_lim=0.2),
    )  # fmt: skip
    layers, meta = detect(block, SENSORS["s2_muscate"], Params(), mode)
    bands = item_bands(product)
    for name, values in layers.items():
        with rasterio.open(bands[name].href) as source:
            np.testing.assert_array_equal(source.read(1), values, err_msg=name)
            assert source.block_shapes[0] == (512, 512) or min(source.shape) < 512
    assert product.collection_id == "LIS_SNOW"
    assert product.properties["lis:snow_line"] == meta["snow_line"]
    assert product.properties["eo:snow_cover"] == pytest.approx(meta["snow_percent"], abs=1e-3)
    told = json.loads(next(p for p in tmp_path.rglob("*_MTD.json")).read_text())
    assert told["extent_used"]["kind"] == "tile" and told["histogram"] == meta["histogram"]
    assert any("snow line" in m for _, m in log)
    # a second request is free
    before = sorted(tmp_path.rglob("*.tif"))
    run_here(make_stage("lis_snow", [made], {"mode": mode}), environment(tmp_path, Archive()))
    assert sorted(tmp_path.rglob("*.tif")) == before


def test_each_item_is_a_task_of_the_chains_queue(scene):
    """Whole tiles go to the workers of the queue ``chains``, one task per item; what decides the product decides its key."""
    from processes.lis import CHAIN

    made = scene[0]
    other = made.clone()
    other.id = "another"
    stage = make_stage("lis_snow", [made, other], {"mode": "lis"})
    assert CHAIN.queue == "chains" and [len(t.items) for t in stage.tasks] == [1, 1]
    keys = {t.key for t in stage.tasks}
    assert len(keys) == 2 and keys == {t.key for t in make_stage("lis_snow", [other, made], {"mode": "lis"}).tasks}
    assert not keys & {t.key for t in make_stage("lis_snow", [made, other], {"mode": "plus"}).tasks}


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_and_strips_do_not_matter(scene, tmp_path, monkeypatch, threads):
    made, _, archive = scene
    (expected,) = run_here(make_stage("lis_snow", [made], {}), environment(tmp_path / "a", archive))
    monkeypatch.setattr("processes.lis.inputs.STRIP", 64)
    monkeypatch.setattr("processes.lis.terrain.STRIP", 48)
    env = Env(catalogue=archive, workspace=tmp_path / "b", limits=Limits(threads=threads), sink=lambda *_, **__: None)
    (found,) = run_here(make_stage("lis_snow", [made], {}), env)
    for name, band in item_bands(expected).items():
        with rasterio.open(band.href) as a, rasterio.open(item_bands(found)[name].href) as b:
            np.testing.assert_array_equal(a.read(1), b.read(1), err_msg=name)


def test_product_loads_like_a_collection(scene, tmp_path):
    made, _, archive = scene
    env = environment(tmp_path, archive)
    products = run_here(make_stage("lis_snow", [made], {}), env)
    cube = cube_of_items(products, EVERYTHING, env, bands=["SEB", "FSCTOC"])
    assert list(cube.bands.values) == ["SEB", "FSCTOC"]
    assert cube.attrs["nodata"] == 255 and cube.dtype == np.uint8
    assert set(np.unique(cube.values)) <= set(range(101)) | {205, 255}
    beside = json.loads(next(tmp_path.rglob("LIS_S2-SNOW_T31TGL_20240105T105107_*[0-9].json")).read_text())
    assert beside["assets"]["SEB"]["href"].startswith("./")


def test_missing_dem_says_what_to_do(scene, tmp_path):
    with pytest.raises(ProcessError, match="Ingest a DEM") as caught:
        run_here(make_stage("lis_snow", [scene[0]], {}), environment(tmp_path, Archive()))
    assert caught.value.code == "NoDataAvailable"
    assert not list(tmp_path.rglob("*.tif"))


def test_partial_dem_is_told(scene, tmp_path):
    made, planes, _ = scene
    half = Archive({"DEM": [static(tmp_path / "dem", "DEM", planes["dem"][:100], 20.0)]})
    log: list = []
    run_here(make_stage("lis_snow", [made], {}), environment(tmp_path / "w", half, log))
    assert any(level == "warning" and "DEM covers" in message for level, message in log)


def test_tree_cover_and_water_of_the_archive(scene, tmp_path):
    made, planes, archive = scene
    shape = planes["dem"].shape
    tree = np.full(shape, 40, np.uint8)
    water = np.zeros(shape, np.uint8)
    water[30:60, 100:140] = 1
    more = Archive(
        {
            **archive.items,
            "TCD": [static(tmp_path / "a", "TCD", tree, 20.0)],
            "WATER": [static(tmp_path / "b", "WATER", water, 20.0)],
        }
    )
    (product,) = run_here(make_stage("lis_snow", [made], {}), environment(tmp_path / "w", more))
    with rasterio.open(item_bands(product)["SEB"].href) as source:
        assert (source.read(1)[water == 1] == 255).all()
    got = {}
    for name in ("FSCTOC", "FSCOG"):
        with rasterio.open(item_bands(product)[name].href) as source:
            got[name] = source.read(1)
    part = (got["FSCTOC"] > 10) & (got["FSCTOC"] < 50)
    expected = np.trunc(np.float32(100) * np.minimum(got["FSCTOC"][part] / 100 / 0.6, 1))
    assert part.any() and np.abs(got["FSCOG"][part] - expected).max() <= 1


def test_unknown_parameters_and_items_are_told(scene, tmp_path):
    made, _, archive = scene
    env = environment(tmp_path, archive)
    with pytest.raises(ProcessError, match="mode"):
        run_here(make_stage("lis_snow", [made], {"mode": "other"}), env)
    with pytest.raises(ProcessError, match="collection"):
        run_here(make_stage("lis_snow", [made], {"dem": 3}), env)
    bare = made.clone()
    bare.assets = {k: v for k, v in made.assets.items() if k == "B03"}
    with pytest.raises(ProcessError, match="no sensor known"):
        run_here(make_stage("lis_snow", [bare], {}), env)


@pytest.mark.parametrize("block", [16, 48, 64, 512])
def test_strips_of_any_height_give_the_same_band(tmp_path, monkeypatch, block):
    monkeypatch.setattr("processes.lis.inputs.STRIP", 32)
    rng = np.random.default_rng(0)
    values = rng.integers(0, 9000, (300, 260)).astype(np.int16)
    values[rng.random(values.shape) < 0.02] = -10000
    values[120:160, 30:200] = -10000
    grid = item_bands(
        item("g", {"B11": asset(write(tmp_path / "g.tif", values[::2, ::2].copy(), 20.0), reflectance("B11"))})
    )["B11"].geobox
    path = write(tmp_path / "f.tif", values, 10.0, nodata=-10000, block=block)
    band = item_bands(item("f", {"B03": asset(path, reflectance("B03"))}))["B03"]
    np.testing.assert_array_equal(band_on(band, grid, 10), halve(values))
    # a 10 m grid that starts one pixel earlier and ends later: cropped
    moved = write(
        tmp_path / "m.tif", np.pad(values, 1), 10.0, nodata=-10000, origin=(ORIGIN[0] - 10, ORIGIN[1] + 10), block=block
    )
    band = item_bands(item("m", {"B03": asset(moved, reflectance("B03"))}))["B03"]
    np.testing.assert_array_equal(band_on(band, grid, 10), halve(values))


def test_offsets_and_scales_become_digital_numbers(tmp_path):
    stored = np.array([[0, 1000], [1500, 11000]], np.uint16).repeat(2, 0).repeat(2, 1)
    path = write(tmp_path / "s.tif", stored, 20.0, nodata=0, block=16)
    entry = {"name": "B11", "tuile:kind": "reflectance", "raster:scale": 1e-4, "tuile:offset_dn": -1000, "nodata": 0}
    band = item_bands(item("s", {"B11": asset(path, entry)}))["B11"]
    assert band_on(band, band.geobox, 10)[::2, ::2].tolist() == [[-10000, 0], [500, 10000]]
    path = write(tmp_path / "l.tif", stored, 20.0, nodata=0, block=16)
    entry = {"name": "B06", "tuile:kind": "reflectance", "raster:scale": 2.75e-5, "raster:offset": -0.2, "nodata": 0}
    band = item_bands(item("l", {"B06": asset(path, entry)}))["B06"]
    assert band_on(band, band.geobox, 10)[::2, ::2].tolist() == [[-10000, -1725], [-1588, 1025]]


def test_native_maja_bits_and_uniform_masks(scene, tmp_path):
    made, planes, _ = scene
    native = made.clone()
    native.properties["tuile:clm_order"] = "C"
    assert open_item(native).sensor.id == "s2_maja_native"
    cloud = ((planes["CLM_R2"] & 2) > 0).astype(np.uint8)
    path = write(tmp_path / "cloud.tif", cloud, 20.0)
    uniform = made.clone()
    uniform.assets = {k: v for k, v in made.assets.items() if k not in ("CLM_R2", "MG2_R2")}
    uniform.assets["M"] = asset(path, {"name": "CLOUD", "tuile:kind": "mask", "tuile:decode": {"values": [1]}})
    np.testing.assert_array_equal(read_item(open_item(uniform)).cloud, cloud)


def test_real_srtm_tiles_join_without_a_seam(shared):
    from affine import Affine
    from odc.geo.geobox import GeoBox

    folder = shared / "data/dem_srtm3_alps"
    paths = sorted(folder.glob("N*.tif"))
    if len(paths) < 4:
        pytest.skip("no SRTM tiles in the shared data")
    bands = []
    for path in paths:
        bands.append(item_bands(item(path.stem, {"DEM": asset(path, {"name": "DEM", "nodata": -32768})}))["DEM"])
    # 40 km around the corner where the four tiles meet (45 N, 7 E)
    grid = GeoBox((400, 400), Affine(100, 0, 322000, 0, -100, 5006000), "EPSG:32632")
    dem, share = warp_dem(bands, grid)
    assert share == 1.0 and dem.dtype == np.int16
    assert 150 < dem.min() < 1500 and 2500 < dem.max() < 4700
    # voids at 0 are what let-it-snow works with
    assert warp_dem(bands, grid, fill_voids=False)[0].min() < 50
    one_by_one = [warp_dem([b], grid) for b in bands]
    assert all(0 < s < 1 for _, s in one_by_one)
    # where all four meet, the ground is as smooth as elsewhere
    steps = np.abs(np.diff(dem.astype(int), axis=0)).mean(axis=1)
    assert steps.max() < 2 * np.median(steps)
