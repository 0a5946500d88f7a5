"""Which sensor a cube or product is of: wavelengths, bit orders of CLM, sensors without short-wave infrared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from processes.errors import ProcessError
from processes.lis import lis_snow
from processes.lis.detect import detect
from processes.lis.inputs import open_item, read_item
from processes.lis.params import SENSORS, guess_sensor, in_bit_order
from processes.load.items import item_bands
from processes.load.source import time_slices
from tests.unit.processes.lis.products import asset, item, muscate, reflectance, write
from tests.unit.processes.lis.scenes import as_cube, mountain, plane

VENUS = {"B03": 0.49, "B04": 0.555, "B07": 0.667, "B11": 0.865, "CLM": None}


def native(cloud: np.ndarray) -> np.ndarray:
    """A mask of Theia's bits in the order of the native MAJA writer: shadows are bits 2 and 3."""
    moved = (cloud & 0b1000_0011) | ((cloud & 32) >> 3) | ((cloud & 64) >> 3)
    return moved.astype(np.uint8)


@pytest.fixture(scope="module")
def block():
    return mountain(4)


def told(cube, order=None, waves=None):
    """The cube with what a collection tells of its bands."""
    info = {"CLM": {"bit_order": order}} if order else {}
    info |= {n: {"wavelength": w} for n, w in (waves or {}).items() if w}
    return cube.assign_attrs(band_info=info)


def test_venus_has_no_swir_and_the_error_says_so(block):
    with pytest.raises(ProcessError, match=r"short-wave infrared.*VENuS"):
        guess_sensor(VENUS, VENUS)
    with pytest.raises(ProcessError, match=r"short-wave infrared.*s2_muscate"):
        lis_snow(as_cube([block]), dem=plane(block.dem), sensor="venus")
    # VENuS numbers its bands like Sentinel-2: names alone would take blue for green and NIR for SWIR
    cube = as_cube([block]).sel(bands=["B03", "B04", "B11", "CLM"])
    for sensor in ("auto", "s2_muscate"):
        with pytest.raises(ProcessError, match="VENuS") as caught:
            lis_snow(told(cube, waves=VENUS), dem=plane(block.dem), sensor=sensor)
        assert caught.value.code == "ProcessParameterInvalid"


def test_venus_product_is_refused(tmp_path):
    values = np.full((16, 16), 900, np.int16)
    assets = {}
    for name, wave in VENUS.items():
        path = write(tmp_path / f"{name}.tif", values.astype(np.uint8 if name == "CLM" else np.int16), 10.0, block=16)
        entry = {"name": name, "tuile:kind": "class"} if name == "CLM" else reflectance(name)
        assets[name] = asset(path, {**entry, **({"eo:center_wavelength": wave} if wave else {})})
    with pytest.raises(ProcessError, match="VENuS"):
        open_item(item("VENUS-XS_20240105", assets, constellation="venus"))


def test_thematic_mapper_is_not_taken_for_oli():
    waves = {"B02": 0.56, "B03": 0.66, "B04": 0.83, "B05": 1.65, "B06": 11.45, "QA_PIXEL": None}
    with pytest.raises(ProcessError, match="no sensor known"):
        guess_sensor(waves, waves)
    oli = {"B03": 0.561, "B04": 0.655, "B06": 1.609, "B11": 12.0, "CLOUD": None}
    assert guess_sensor(oli, oli).id == "l8_muscate"


def test_the_collection_tells_the_bit_order(block):
    aux = {"dem": plane(block.dem), "mode": "lis"}
    theirs = as_cube([replace(block, cloud=native(block.cloud))])
    expected = lis_snow(told(as_cube([block]), "D").sel(bands=["B03", "B04", "B11", "CLM"]), **aux)
    found = lis_snow(told(theirs, "C"), **aux)
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.attrs["lis"]["sensor"] == "s2_maja_native"
    with pytest.raises(ProcessError, match="two bit orders"):
        lis_snow(told(theirs, "mixed"), **aux)
    # the caller knows better
    assert lis_snow(told(theirs, "mixed"), sensor="s2_maja_native", **aux).attrs["lis"]["sensor"] == "s2_maja_native"


@pytest.mark.parametrize("chunks", [None, (64, 100)])
def test_a_native_mask_that_nobody_tells_of_is_noticed(block, chunks):
    theirs = as_cube([replace(block, cloud=native(block.cloud))], chunks)
    with pytest.raises(ProcessError, match="s2_maja_native"):
        lis_snow(theirs, dem=plane(block.dem)).compute(scheduler="sync")
    told_by_caller = lis_snow(theirs, dem=plane(block.dem), sensor="s2_maja_native")
    assert (told_by_caller.values[0, 0] == 205).any()
    # Theia's order and masks without shadows pass
    lis_snow(as_cube([block], chunks), dem=plane(block.dem)).compute(scheduler="sync")
    lis_snow(as_cube([replace(block, cloud=block.cloud & 3)]), dem=plane(block.dem))


def test_items_carry_the_bit_order_into_cubes(tmp_path):
    one, _ = muscate(tmp_path / "a", n=60)
    two = one.clone()
    two.id, two.datetime = "other", one.datetime.replace(day=9)
    one.properties["tuile:clm_order"], two.properties["tuile:clm_order"] = "D", "C"
    from processes.demand import EVERYTHING
    from processes.env import Env
    from processes.load.load_collection import cube_of_items

    env = Env(workspace=tmp_path)
    for items, order in (([one], "D"), ([two], "C"), ([one, two], "mixed")):
        cube = cube_of_items(items, EVERYTHING, env, bands=["B11", "CLM_R2"])
        assert cube.attrs["band_info"]["CLM_R2"]["bit_order"] == order
        assert "bit_order" not in cube.attrs["band_info"]["B11"]
    assert len(time_slices([one, two], {i.id: item_bands(i) for i in (one, two)}, ["B11"])) == 2


def test_uniform_masks_serve_any_sensor_alike(block):
    """0/1 masks are turned into bits of their own, whatever raster the sensor would have had."""
    cloud = block.cloud
    masks = {"CLOUD": cloud & 2 > 0, "CLOUD_SHADOW": cloud & 96 > 0, "CIRRUS": cloud & 128 > 0}
    cube = as_cube([block]).isel(bands=slice(0, 3))
    many = np.concatenate([cube.values, np.stack(list(masks.values()))[None].astype(np.float32)], 1)
    names = ["B03", "B04", "B11", *masks]
    full = as_cube([block]).isel(bands=[0] * 6).assign_coords(bands=names).copy(data=many)
    expected = lis_snow(full, dem=plane(block.dem), mode="lis").values
    for sensor in ("s2_muscate", "s2_sen2cor", "s2_maja_native"):
        got = lis_snow(full, dem=plane(block.dem), sensor=sensor, mode="lis").values
        np.testing.assert_array_equal(got, expected)
    assert (expected[0, 0] == 205).any()


def test_landsat_in_native_order_and_uniform_masks_of_products(tmp_path):
    assert in_bit_order(SENSORS["l8_muscate"], "C").shadow_in == 4
    assert in_bit_order(SENSORS["l8_muscate"], "D") is SENSORS["l8_muscate"]
    made, planes = muscate(tmp_path / "p", n=60)
    path = write(tmp_path / "c.tif", (planes["CLM_R2"] & 96 > 0).astype(np.uint8), 20.0)
    made.assets = {k: v for k, v in made.assets.items() if k not in ("CLM_R2", "MG2_R2")}
    made.assets["M"] = asset(path, {"name": "CLOUD", "tuile:kind": "mask", "tuile:decode": {"values": [1]}})
    source = open_item(made, "s2_sen2cor")
    assert source.sensor.all_any and not source.sensor.all_values
    assert set(np.unique(read_item(source).cloud)) <= {0, 1}


# sensor of the reference -> bands by role, scale of the files, cloud raster, geophysical raster, pixel in metres
PRODUCTS = {
    "s2_muscate": ({"green": "B03", "red": "B04", "swir": "B11"}, 1e-4, "CLM_R2", "MG2_R2", 20.0),
    "s2_maja_native": ({"green": "B03", "red": "B04", "swir": "B11"}, 1e-4, "CLM_R2", "MG2_R2", 20.0),
    "s2_sen2cor": ({"green": "B03", "red": "B04", "swir": "B11"}, 1e-4, "SCL", None, 20.0),
    "l8_muscate": ({"green": "B03", "red": "B04", "swir": "B06"}, 1e-3, "CLM", "MG2", 30.0),
    "l8_muscate_old": ({"green": "B03", "red": "B04", "swir": "B06"}, 1e-3, "NUA", "DIV", 30.0),
    "l8_lasrc": ({"green": "B03", "red": "B04", "swir": "B06"}, 1e-4, "PIXEL_QA", None, 30.0),
    "take5": ({"green": "XS1", "red": "XS2", "swir": "SWIR"}, 1e-3, "NUA", "DIV", 20.0),
}


@pytest.mark.parametrize("sensor", PRODUCTS)
@pytest.mark.parametrize("sky", ["patches", "dark clouds"])
def test_products_of_every_sensor_follow_the_published_rules(tmp_path, sensor, sky):
    """Files with the sensor's names, scale and masks, through the stage, against the literal reading of the rules."""
    from processes.env import Env
    from processes.stages import make_stage, run_here
    from tests.unit.processes.lis.literal import Settings, snow
    from tests.unit.processes.lis.products import Archive, static
    from tests.unit.processes.lis.test_literal import scene

    names, scale, mask, geo, pixel = PRODUCTS[sensor]
    block = replace(scene(11, (90, 70), sensor, "mountain", "mixed", sky, "swath"), blue=None, nir=None, tcd=None)
    block = replace(block, geo=np.random.default_rng(0).integers(0, 256, block.shape).astype(np.uint8) if geo else None)
    assets = {}
    for role, name in names.items():
        path = write(tmp_path / f"{name}.tif", getattr(block, role), pixel, nodata=-10000)
        assets[name] = asset(path, reflectance(name, **{"raster:scale": scale}))
    for name, values in ((mask, block.cloud), (geo, block.geo)):
        if values is not None:
            assets[name] = asset(write(tmp_path / f"{name}.tif", values, pixel), {"name": name, "tuile:kind": "class"})
    order = {"tuile:clm_order": "C"} if sensor == "s2_maja_native" else {}
    made = item(sensor, assets, constellation="any", **order)
    archive = Archive({"DEM": [static(tmp_path / "dem", "DEM", block.dem, pixel)]})
    env = Env(catalogue=archive, workspace=tmp_path / "w", sink=lambda *_, **__: None)
    (product,) = run_here(make_stage("lis_snow", [made], {"mode": "lis"}), env)
    expected = snow(block, sensor, Settings())
    assert len({"pass 1", "pass 2", "snow line"} & expected.met) == 3
    import rasterio

    for name in ("SEB", "NDSI", "FSCTOC", "FSCOG", "EXPERT"):
        with rasterio.open(item_bands(product)[name].href) as source:
            np.testing.assert_array_equal(source.read(1), expected.layers[name], err_msg=name)
    assert product.properties["lis:snow_line"] == expected.snow_line


def test_landsat_collection_2_numbers_and_bits(tmp_path, block):
    """Stored as 2.75e-5 per count from -0.2, fill 0, QA_PIXEL in the bits of collection 2."""
    names = {"green": "B03", "red": "B04", "swir": "B06"}
    assets = {}
    for role, name in names.items():
        stored = np.rint((getattr(block, role) * 1e-4 + 0.2) / 2.75e-5).astype(np.uint16)
        stored[:, :40] = 0
        path = write(tmp_path / f"{name}.tif", stored, 30.0, nodata=0)
        entry = {"raster:scale": 2.75e-5, "tuile:offset_dn": round(-0.2 / 2.75e-5, 9), "nodata": 0}
        assets[name] = asset(path, reflectance(name, **entry))
    qa = np.full(block.shape, 21824, np.uint16)
    qa[block.cloud & 2 > 0], qa[block.cloud & 96 > 0], qa[block.cloud & 128 > 0] = 22280, 23888, 21824 | 4
    assets["QA_PIXEL"] = asset(
        write(tmp_path / "qa.tif", qa, 30.0, nodata=1), {"name": "QA_PIXEL", "tuile:kind": "class"}
    )
    source = open_item(item("LC08", assets, constellation="landsat"))
    assert source.sensor.id == "l8_c2"
    read = read_item(source)
    for role in names:
        seen, true = getattr(read, role), getattr(block, role)
        assert (seen[:, :40] == -10000).all() and np.abs(seen[:, 40:].astype(int) - true[:, 40:]).max() <= 1
    table = detect(replace(read, dem=block.dem), source.sensor, mode="lis")[0]
    theirs = detect(replace(block, blue=None, nir=None, tcd=None, geo=None), SENSORS["l8_muscate"], mode="lis")[0]
    assert (table["EXPERT"] & 16 == theirs["EXPERT"] & 16).all(), "the same clouds"
    assert (table["SEB"][:, :40] == 255).all() and (table["SEB"] == 100).mean() > 0.1
