"""lis_snow on cubes: equal to the array functions, lazy, independent of chunks, honest about its inputs."""

from __future__ import annotations

import dask
import numpy as np
import pytest

from processes.errors import ProcessError
from processes.lis import lis_snow, snow_metadata
from processes.lis.detect import BANDS, detect
from processes.lis.params import SENSORS, Params
from tests.unit.processes.lis.scenes import as_cube, mountain, plane, with_swath

S2 = SENSORS["s2_muscate"]


@pytest.fixture(scope="module")
def blocks():
    return [mountain(1), with_swath(mountain(2, line=1200.0), 70)]


@pytest.fixture(scope="module")
def aux(blocks):
    return {"dem": plane(blocks[0].dem), "relief_shadow": plane(blocks[0].relief), "tcd": plane(blocks[0].tcd)}


def refuse(*_, **__):
    raise AssertionError("computed while the graph was being built")


@pytest.mark.parametrize("mode", ["lis", "plus"])
def test_cube_equals_arrays(blocks, aux, mode):
    result = lis_snow(as_cube(blocks), mode=mode, **aux)
    assert result.dims == ("t", "bands", "y", "x")
    assert list(result.bands.values) == list(BANDS)
    assert result.dtype == np.uint8
    assert result.attrs["nodata"] == 255
    for k, block in enumerate(blocks):
        # a cube has no geophysical mask unless it carries one
        plain = type(block)(
            **{**block.__dict__, "geo": None, "relief": blocks[0].relief, "dem": blocks[0].dem, "tcd": blocks[0].tcd}
        )
        layers, meta = detect(plain, S2, Params(), mode)
        for i, name in enumerate(BANDS):
            np.testing.assert_array_equal(result.values[k, i], layers[name], err_msg=name)
        told = snow_metadata(result)[k]
        assert told["snow_line"] == meta["snow_line"] > 500
        assert told["snow_percent"] == meta["snow_percent"] > 5
        assert told["extent_used"]["crs"] == "EPSG:32631"
        assert told["histogram"] == meta["histogram"]


@pytest.mark.parametrize("mode", ["lis", "plus"])
def test_chunks_do_not_matter_and_nothing_runs_early(blocks, aux, mode):
    whole = lis_snow(as_cube(blocks), mode=mode, sun_angles=[150, 30], dem=aux["dem"])
    for chunks in ((240, 240), (64, 100), (37, 240)):
        with dask.config.set(scheduler=refuse):
            lazy = lis_snow(
                as_cube(blocks, chunks), mode=mode, sun_angles=[150, 30], dem=plane(blocks[0].dem, (50, 60))
            )
        assert lazy.chunks is not None
        values, metas = lazy.compute(scheduler="threads", num_workers=2).values, snow_metadata(lazy)
        np.testing.assert_array_equal(values, whole.values)
        assert metas == snow_metadata(whole)


def test_masks_of_any_family(blocks, aux):
    block = blocks[0]
    cube = as_cube([block])
    seen = lis_snow(cube, mode="lis", **aux)
    uniform = cube.copy(data=cube.values.copy()).assign_coords(bands=["B03", "B04", "B11", "B02", "B8A", "CLOUD"])
    uniform.values[0, 5] = (block.cloud & 2) > 0
    fewer = lis_snow(uniform, mode="lis", **aux)
    cloud = (block.cloud & 2) > 0
    np.testing.assert_array_equal(fewer.values[0, 0][cloud], seen.values[0, 0][cloud])
    # the same raster given apart
    apart = lis_snow(cube.isel(bands=slice(0, 5)), cloud_mask=cube.isel(bands=[5]), mode="lis", **aux)
    np.testing.assert_array_equal(apart.values, seen.values)


def test_water_is_nodata(blocks, aux):
    wet = np.zeros(blocks[0].shape, np.uint8)
    wet[100:140, 100:140] = 1
    result = lis_snow(as_cube(blocks[:1]), water=plane(wet), **aux)
    assert (result.values[0, 0][wet == 1] == 255).all()
    assert (result.values[0, 0][wet == 0] != 255).all()


def test_integer_cubes_are_digital_numbers(blocks, aux):
    cube = as_cube(blocks[:1])
    digital = cube.copy(
        data=np.concatenate([np.rint(cube.values[:, :5] * 1e4), cube.values[:, 5:]], 1).astype(np.int16)
    )
    np.testing.assert_array_equal(lis_snow(digital, **aux).values, lis_snow(cube, **aux).values)


def test_missing_dem_says_what_to_do(blocks):
    with pytest.raises(ProcessError, match="Ingest a DEM") as caught:
        lis_snow(as_cube(blocks))
    assert caught.value.code == "NoDataAvailable"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"mode": "best"}, "mode"),
        ({"sensor": "venus"}, "sensor"),
        ({"params": {"ndsi": 1}}, "unknown ndsi"),
        ({"params": {"dz": "high"}}, "dz"),
        ({"sun_angles": [150]}, "azimuth"),
        ({"dem": 12}, "cube of elevations"),
    ],
)
def test_mistakes_are_told(blocks, aux, change, match):
    with pytest.raises(ProcessError, match=match):
        lis_snow(as_cube(blocks), **{**aux, **change})


def test_missing_bands_are_told(blocks, aux):
    with pytest.raises(ProcessError, match="B11"):
        lis_snow(as_cube(blocks).sel(bands=["B03", "B04", "CLM"]), **aux)
    with pytest.raises(ProcessError, match="cloud"):
        lis_snow(as_cube(blocks).sel(bands=["B03", "B04", "B11"]), sensor="s2_muscate", **aux)


def test_a_cube_without_dates_is_told(blocks, aux):
    with pytest.raises(ProcessError, match="no date"):
        lis_snow(as_cube(blocks).isel(t=slice(0, 0)), **aux)


def test_geographic_grid_is_refused(blocks, aux):
    from processes.cube import with_crs

    with pytest.raises(ProcessError, match="projected"):
        lis_snow(with_crs(as_cube(blocks), "EPSG:4326"), dem=with_crs(aux["dem"], "EPSG:4326"))


def test_dem_on_another_grid_is_warped(blocks):
    block = blocks[0]
    coarse = plane(block.dem.reshape(120, 2, 120, 2).mean((1, 3)).astype(np.float32))
    coarse = coarse.assign_coords(y=4.8e6 - 40 * (np.arange(120) + 0.5), x=3e5 + 40 * (np.arange(120) + 0.5))
    own = snow_metadata(lis_snow(as_cube([block]), dem=plane(block.dem)))[0]["snow_line"]
    warped = snow_metadata(lis_snow(as_cube([block]), dem=coarse))[0]["snow_line"]
    assert abs(own - warped) < 60
    lazy = lis_snow(as_cube([block], (64, 64)), dem=coarse)
    np.testing.assert_array_equal(lazy.values, lis_snow(as_cube([block]), dem=coarse).values)


def test_snow_metadata_of_another_cube():
    with pytest.raises(ProcessError, match="lis_snow"):
        snow_metadata(plane(np.zeros((4, 4))))
