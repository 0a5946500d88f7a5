"""Which sensor a cube or product is of: wavelengths, bit orders of CLM, sensors without short-wave infrared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from processes.errors import ProcessError
from processes.lis import lis_snow
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
