"""`wasp_synthesis` on cubes, continued syntheses, and the spec beside the function."""

from __future__ import annotations

import inspect
import json
from datetime import date

import dask
import numpy as np
import pytest

from processes.errors import ProcessError
from processes.registry import SPECS
from processes.wasp import wasp_synthesis
from processes.wasp.composite import LAND, Options, average
from tests.bench.wasp_scenes import BANDS, make_scene
from tests.bench.wasp_truth import block_of, compare
from tests.unit.processes.wasp.helpers import cube

SMALL = make_scene(11, size=96, dates=5)


def small_cube(**extra: np.ndarray):
    return cube(
        SMALL.dn,
        SMALL.cloud,
        list(SMALL.dates),
        list(BANDS),
        AOT=SMALL.aot,
        WATER=SMALL.water,
        SNOW=SMALL.snow,
        **extra,
    )


def test_nothing_is_computed_while_building_and_chunks_do_not_matter():
    data = small_cube()
    whole = wasp_synthesis(data, date="2018-05-02")
    touched = []

    def watch(block):
        touched.append(block.shape)
        return block

    for chunks in ((96, 96), (40, 31), (25, 96)):
        lazy = data.chunk({"t": 2, "y": chunks[0], "x": chunks[1]})
        lazy = lazy.copy(data=lazy.data.map_blocks(watch, dtype=lazy.dtype, meta=np.empty((0,) * 4, lazy.dtype)))
        result = wasp_synthesis(lazy, date="2018-05-02")
        assert not touched
        with dask.config.set(scheduler="sync"):
            np.testing.assert_array_equal(result.values, whole.values)
        assert touched
        touched.clear()
    assert whole.dims == ("t", "bands", "y", "x")
    assert list(whole.bands.values) == [*BANDS, "FLG", "WGT", "DTS", "NCL"]
    assert whole.attrs["derived_from"] == ["a", "b"]
    assert whole.attrs["extent_used"] == [300005.0, 5099045.0, 300955.0, 5099995.0]


def test_cube_and_block_agree():
    result = wasp_synthesis(small_cube(), date="2018-05-02", brdf="none").isel(t=0)
    options = Options.of(brdf="none")
    made = block_of(SMALL, options)
    expected = average(made, [(d - SMALL.synthesis).days for d in SMALL.dates], options)
    np.testing.assert_array_equal(result.sel(bands="FLG"), expected.flag)
    np.testing.assert_array_equal(result.sel(bands="NCL"), expected.clear)
    # the block rounds the aerosol as products do, the cube takes it as it is
    np.testing.assert_allclose(result.sel(bands=list(BANDS)).values * 1e4, expected.refl, atol=3)
    days = (SMALL.synthesis - date(2000, 1, 1)).days
    np.testing.assert_allclose(result.sel(bands="DTS"), expected.date + days, atol=1)


def test_series_has_one_label_per_date():
    result = wasp_synthesis(small_cube(), date=["2018-04-20", "2018-05-02"], half_window=15)
    assert list(result.t.values) == [np.datetime64("2018-04-20"), np.datetime64("2018-05-02")]
    alone = wasp_synthesis(small_cube(), date="2018-05-02", half_window=15)
    np.testing.assert_array_equal(result.isel(t=1), alone.isel(t=0))


def test_angles_in_the_cube_correct_land():
    shape = SMALL.cloud.shape
    angles = {k: np.full(shape, v, np.float32) for k, v in {"SZA": 45, "SAA": 160, "VZA": 9, "VAA": 110}.items()}
    plain = wasp_synthesis(small_cube(), date="2018-05-02").isel(t=0)
    seen = wasp_synthesis(small_cube(**angles), date="2018-05-02").isel(t=0)
    land = plain.sel(bands="FLG").values == LAND
    ratio = (seen.sel(bands="B08") / plain.sel(bands="B08")).values
    assert np.nanmedian(ratio[land]) < 0.98
    np.testing.assert_array_equal(ratio[plain.sel(bands="FLG").values == 3], 1)


@pytest.mark.parametrize(
    ("change", "code"),
    [({"bands": list(BANDS)}, "ProcessParameterInvalid"), ({"bands": ["B03", "CLM"]}, "ProcessParameterInvalid"),
     ({"date": "2020-01-01"}, "NoDataAvailable"), ({"date": "soon"}, "ProcessParameterInvalid"),
     ({"date": []}, "ProcessParameterInvalid")],
)  # fmt: skip
def test_mistakes_are_told(change, code):
    data = small_cube()
    if bands := change.pop("bands", None):
        data = data.sel(bands=bands)
    with pytest.raises(ProcessError) as error:
        wasp_synthesis(data, **change)
    assert error.value.code == code


@pytest.mark.parametrize("variant", [{}, {"phenology": True, "surface": "perturbed"}, {"winter": True}])
def test_plus_is_nearer_to_the_truth(variant):
    found = compare(31, size=240, **variant)
    assert (found["plus"]["rmse"] <= 0.95 * found["wasp1"]["rmse"]).all()
    assert not any(np.isnan(v).any() for v in found["plus"].values())


def test_definition_and_function_agree():
    spec = json.loads((SPECS / "wasp_synthesis.json").read_text())
    parameters = [p for p in inspect.signature(wasp_synthesis).parameters.values() if p.name != "env"]
    assert [p["name"] for p in spec["parameters"]] == [p.name for p in parameters]
    for declared, actual in zip(spec["parameters"][1:], parameters[1:]):
        assert declared["optional"] and declared["default"] == actual.default
