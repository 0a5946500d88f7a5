"""Pixels that are only looked at come from overviews, at their place; all others come from the file itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from processes import cube as cubes
from processes.demand import Demand, View, carried
from processes.env import Env
from processes.load.load_collection import load_collection
from processes.resample.spatial import resample_spatial
from tests.unit.processes.load.conftest import levels_read, make_item, write_raster

STEP, LEFT, TOP, CRS = 10.0, 600000.0, 4900020.0, "EPSG:32631"
RISE = 16
RED = [{"name": "B04", "tuile:kind": "reflectance"}]
CLOUD = [{"name": "CLOUD", "tuile:kind": "mask", "tuile:decode": {"any_bits": 2}}]


def ramp(rows: int, cols: int, axis: str = "both") -> np.ndarray:
    """int16 that rises by `RISE` per pixel along an axis: what an overview's rounding adds is small beside it."""
    y, x = np.arange(rows)[:, None], np.arange(cols)
    return (RISE * (np.zeros((rows, cols)) + (axis != "y") * x + (axis != "x") * y)).astype("i2")


def tif(
    path: Path, pixels: np.ndarray, how: str | None, factors: tuple[int, ...] = (2, 4, 8), nodata: Any = None
) -> str:
    write_raster(path, pixels, Affine(STEP, 0, LEFT, 0, -STEP, TOP), CRS, nodata)
    if how is not None:
        with rasterio.open(path, "r+") as out:
            out.build_overviews(list(factors), Resampling[how])
    return str(path)


def jp2(path: Path, pixels: np.ndarray) -> str:
    source = tif(path.with_suffix(".tif"), pixels, None)
    rasterio.shutil.copy(
        source, path, driver="JP2OpenJPEG", quality=100, reversible=True, resolutions=5, blockxsize=256, blockysize=256
    )
    return str(path)


@pytest.fixture
def levels(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Which overviews are read (None: the pixels themselves)."""
    return levels_read(monkeypatch)


def looked_at(memory_catalogue: Any, href: str, view: View | None, bands: Any = RED, **arguments: Any) -> Any:
    catalogue = memory_catalogue({"C": [make_item("a", "2024-01-01", {"f": (href, bands)})]})
    return load_collection("C", env=Env(catalogue, demand=Demand(view=view)), **arguments)


@pytest.mark.parametrize("size", [(640, 640), (641, 639), (1001, 777)])
@pytest.mark.parametrize("step", [2, 3, 4, 5.3, 8, 16])
@pytest.mark.parametrize("how", ["average", "nearest", "bilinear", "jp2"])
def test_no_picture_moves(
    tmp_path: Path, memory_catalogue: Any, levels: list[int | None], how: str, step: float, size: tuple[int, int]
) -> None:
    """Brute force: each pixel of a ramp tells which pixel of the file it shows. It is never half a pixel of the picture
    beside the centre, and the whole is not shifted: by no more than half a pixel of the file."""
    for axis, coordinate, origin in (("x", "x", LEFT), ("y", "y", TOP)):
        pixels = ramp(*size, axis)
        href = jp2(tmp_path / "r.jp2", pixels) if how == "jp2" else tif(tmp_path / "r.tif", pixels, how)
        data = looked_at(memory_catalogue, href, View(resolution=(step * STEP, step * STEP)))
        assert data.shape[2:] == tuple(int(np.ceil(n / step - 1e-3)) for n in size)
        # the last row and column may reach beyond the file
        shown = data.values[0, 0, :-1, :-1].astype("f8") / RISE
        shown = shown.mean(axis=0 if axis == "x" else 1)
        wanted = abs(data[coordinate].values[:-1] - origin) / STEP - 0.5
        beside = shown - wanted
        # GDAL's nearest neighbours of odd sizes wander within their pixels, by half of one at most
        sampled = how == "jp2" or (how == "nearest" and size == (640, 640))
        assert np.abs(beside).max() <= (step / 4 + 1.6 if sampled else step / 2)
        # coarser than the coarsest level: the centre of a pixel lies between two of the level, the second is taken
        assert abs(beside.mean()) <= (0.7 if sampled or step < 16 else 4.1)
        if how in ("average", "bilinear") and step in (2, 4, 8) and size == (640, 640):
            assert np.abs(beside[1:-1]).max() < 0.01 + 0.5 / RISE * 3  # the levels nest: nothing but rounding
    assert set(levels) == {None} if how in ("nearest", "jp2") and step < 4 else None not in levels


def test_average_overviews_that_nest_are_the_mean(tmp_path: Path, memory_catalogue: Any) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 9000, (512, 512)).astype("i2")
    for step in (2, 4, 8):
        href = tif(tmp_path / f"{step}.tif", pixels, "average")
        got = looked_at(memory_catalogue, href, View(resolution=(step * STEP, step * STEP))).values[0, 0]
        mean = pixels.reshape(512 // step, step, 512 // step, step).mean(axis=(1, 3))
        # each level is rounded to an integer
        assert np.abs(got - mean).max() <= 0.5 * np.log2(step) + 1e-3


@pytest.mark.parametrize("projection", [None, 3857, 32632, 4326])
def test_a_grid_of_any_kind(
    tmp_path: Path, memory_catalogue: Any, levels: list[int | None], projection: int | None
) -> None:
    """Map tiles and new projections: what a pixel shows lies no further from its centre than half its size."""
    from processes.extents import transformer

    href = tif(tmp_path / "r.tif", ramp(1024, 1024), "average")
    full = looked_at(memory_catalogue, href, None)
    size = 80.0 if projection != 4326 else 0.0008
    exact = resample_spatial(full, resolution=size, projection=projection)
    levels.clear()
    seen = looked_at(memory_catalogue, href, View(grid=cubes.geobox_of(exact)))
    assert cubes.geobox_of(seen) == cubes.geobox_of(exact)
    x, y = np.meshgrid(seen.x.values, seen.y.values)
    crs = "EPSG:32631" if projection is None else f"EPSG:{projection}"
    x, y = transformer(crs, CRS).transform(x, y)
    column, row = (x - LEFT) / STEP - 0.5, (TOP - y) / STEP - 0.5
    wanted = RISE * (column + row)
    values, inside = seen.values[0, 0], (column > 8) & (row > 8) & (column < 1014) & (row < 1014)
    assert inside.sum() > 5000
    assert np.isfinite(values[inside]).all()
    beside = (values[inside] - wanted[inside]) / RISE
    assert np.abs(beside).max() <= 4 + 4 + 0.1  # half a pixel of the coarsest level that may serve, along both axes
    assert abs(beside.mean()) < 0.2
    assert levels and None not in levels
    assert (np.isnan(values) == np.isnan(exact.values[0, 0]))[inside].all()


def test_classes_come_from_nearest_neighbours_only(
    tmp_path: Path, memory_catalogue: Any, levels: list[int | None]
) -> None:
    rng = np.random.default_rng(2)
    codes = np.where(rng.random((512, 512)) < 0.5, 3, 200).astype("u1")
    view = View(resolution=(80.0, 80.0))
    for how, read_from in (("nearest", 1), ("average", None), ("mode", None), (None, None)):
        levels.clear()
        href = tif(tmp_path / f"{how}.tif", codes, how)
        found = looked_at(memory_catalogue, href, view, CLOUD)
        assert found.dtype == np.uint8
        assert set(np.unique(found.values)) <= {0, 1}
        assert set(levels) == {read_from}
    # of a mean no code could be told
    with rasterio.open(tmp_path / "average.tif", overview_level=1) as overview:
        assert not set(np.unique(overview.read(1))) <= {3, 200}
    levels.clear()
    found = looked_at(memory_catalogue, jp2(tmp_path / "c.jp2", codes), view, CLOUD)
    assert set(np.unique(found.values)) <= {0, 1}
    assert set(levels) == {None}


def test_nodata_and_borders(tmp_path: Path, memory_catalogue: Any) -> None:
    pixels = ramp(640, 640)
    pixels[:, :160] = -10000
    href = tif(tmp_path / "r.tif", pixels, "average", nodata=-10000)
    grid = GeoBox((30, 30), Affine(320.0, 0, LEFT - 960, 0, -320.0, TOP + 960), CRS)
    got = looked_at(memory_catalogue, href, View(grid=grid)).values[0, 0]
    inside = np.zeros((30, 30), bool)
    inside[3:23, 8:23] = True
    np.testing.assert_array_equal(np.isfinite(got), inside)


def test_files_without_overviews_and_finer_grids_are_read_as_they_are(
    tmp_path: Path, memory_catalogue: Any, levels: list[int | None]
) -> None:
    pixels = ramp(300, 300)
    plain = tif(tmp_path / "plain.tif", pixels, None)
    got = looked_at(memory_catalogue, plain, View(resolution=(40.0, 40.0)))
    np.testing.assert_array_equal(got.values[0, 0], pixels[2::4, 2::4])
    full = looked_at(memory_catalogue, plain, View(resolution=(15.0, 15.0)))
    np.testing.assert_array_equal(full.values[0, 0], pixels)  # less than twice as coarse: the resampling's own business
    assert set(levels) == {None}


@pytest.mark.parametrize("align", ["upper-left", "lower-left", "upper-right", "lower-right"])
@pytest.mark.parametrize("projection", [None, 32632])
def test_the_grid_is_that_of_the_resampling(
    tmp_path: Path, memory_catalogue: Any, align: str, projection: int | None
) -> None:
    href = tif(tmp_path / "r.tif", ramp(613, 541), "average")
    exact = resample_spatial(looked_at(memory_catalogue, href, None), 70, projection, align=align)
    seen = looked_at(memory_catalogue, href, View(None, (70.0, 70.0), projection, align))
    again = resample_spatial(seen, 70, projection, align=align)
    assert again is seen  # nothing is left for the process to do
    assert cubes.geobox_of(seen) == cubes.geobox_of(exact)
    np.testing.assert_array_equal(np.isnan(seen.values), np.isnan(exact.values))


def test_views_stop_where_values_would_be_others() -> None:
    resampled, tile = (
        Demand(view=View(resolution=(80.0, 80.0))),
        Demand(view=View(GeoBox((2, 2), Affine.identity(), CRS))),
    )
    for id, strict, loose in [
        ("filter_bands", True, True), ("rename_labels", True, True), ("ndvi", False, True), ("apply", False, True),
        ("mask", False, True), ("filter_bbox", False, True), ("apply_kernel", False, False),
        ("aggregate_spatial", False, False), ("resample_cube_spatial", False, False), ("of_a_plug_in", False, False),
    ]:  # fmt: skip
        assert (carried(id, resampled, resampled).view is not None) == strict, id
        assert (carried(id, tile, tile).view is not None) == loose, id
