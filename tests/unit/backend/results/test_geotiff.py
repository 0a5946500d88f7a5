"""COG writer: pixels, layout, metadata, any chunking."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile

from backend.errors import OpenEOError
from backend.results import write
from processes.save.save_result import SaveResult
from tests.unit.backend.results.conftest import MakeCube


def check_layout(path: Path) -> None:
    """What a COG is (OGC 21-026 and GDAL's own check): IFDs first and in order of size, then the tiles of the smallest
    overview, ... , of the image; each tile between its size and a copy of its last four bytes."""
    raw = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        pages = file.pages
        header = 8 if raw[2] == 42 else 16
        assert raw[header:].startswith(b"GDAL_STRUCTURAL_METADATA_SIZE=")
        ifds = [p.offset for p in pages]
        assert ifds == sorted(ifds)
        first_tile = min(min(p.dataoffsets) for p in pages)
        assert max(ifds) < first_tile
        sizes = [p.imagewidth for p in pages]
        assert sizes == sorted(sizes, reverse=True)
        assert max(p.imagewidth for p in pages[-1:]) <= pages[0].tilewidth or len(pages) == 1
        # data of a smaller overview lies before that of a larger one, tiles in row-major order
        spans = [(min(p.dataoffsets), max(p.dataoffsets)) for p in reversed(list(pages))]
        assert all(a[1] < b[0] for a, b in itertools.pairwise(spans))
        for page in pages:
            assert page.is_tiled
            assert list(page.dataoffsets) == sorted(page.dataoffsets)
            for offset, count in zip(page.dataoffsets, page.databytecounts):
                assert struct.unpack("<I", raw[offset - 4 : offset])[0] == count
                assert raw[offset + count : offset + count + 4] == raw[offset + count - 4 : offset + count]


@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzw", "none"])
@pytest.mark.parametrize(("dtype", "nodata"), [("f4", None), ("f8", None), ("i2", -10000), ("u1", 255), ("i4", -1)])
def test_gdal_reads_every_pixel(
    tmp_path: Path, make_cube: MakeCube, dtype: str, nodata: float | None, compression: str
) -> None:
    cube = make_cube(("bands", "y", "x"), dtype=dtype, nodata=nodata)
    [asset] = write([SaveResult(cube, "COG", {"compression": compression})], tmp_path)
    with rasterio.open(asset.path) as file:
        np.testing.assert_array_equal(file.read(), cube.values)
        assert file.crs.to_epsg() == 32631
        assert file.transform[:6] == (10, 0, 300000, 0, -10, 4900020)
        assert file.descriptions == ("B04", "B03", "B02")
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (np.isnan(file.nodata) if nodata is None else file.nodata == nodata) and file.dtypes[0] == cube.dtype
        assert file.overviews(1) == [2]
    check_layout(asset.path)


@pytest.mark.parametrize("chunks", [(512, 512), (1, 900), (700, 7), (128, 256), (1024, 1024), (333, 77)])
def test_any_chunking_gives_the_same_file(tmp_path: Path, make_cube: MakeCube, chunks: tuple[int, int]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    dims = ("y", "x")
    [a] = write([SaveResult(make_cube(dims), "COG")], tmp_path / "a", threads=2)
    [b] = write([SaveResult(make_cube(dims, chunks=chunks), "COG")], tmp_path / "b", threads=3)
    # statistics are sums in another order; pixels, overviews and layout are the same
    with rasterio.open(a.path) as x, rasterio.open(b.path) as y:
        np.testing.assert_array_equal(x.read(), y.read())
        for key, value in x.tags(1).items():
            assert float(y.tags(1)[key]) == pytest.approx(float(value), rel=1e-12)
    with rasterio.open(a.path, OVERVIEW_LEVEL=0) as x, rasterio.open(b.path, OVERVIEW_LEVEL=0) as y:
        np.testing.assert_array_equal(x.read(), y.read())
    check_layout(b.path)


def test_overviews_are_averages_of_valid_pixels(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(("y", "x"), size=(1301, 1999), chunks=(512, 512))
    [asset] = write([SaveResult(cube, "COG")], tmp_path)
    expected = cube.values
    with rasterio.open(asset.path) as file:
        assert file.overviews(1) == [2, 4]
    for level in (0, 1):
        h, w = (-(-n // 2) for n in expected.shape)
        padded = np.pad(
            expected.astype("f8"),
            ((0, 2 * h - expected.shape[0]), (0, 2 * w - expected.shape[1])),
            constant_values=np.nan,
        )
        with np.errstate(all="ignore"):
            quads = padded.reshape(h, 2, w, 2)
            n = np.isfinite(quads).sum(axis=(1, 3))
            expected = (np.nansum(quads, axis=(1, 3)) / np.where(n, n, np.nan)).astype("f4")
        with rasterio.open(asset.path, OVERVIEW_LEVEL=level) as file:
            np.testing.assert_allclose(file.read(1), expected, rtol=1e-6)


def test_overviews_of_classes_are_the_most_frequent_value(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(("y", "x"), size=(600, 600), dtype="u1", nodata=255)
    values = np.full((600, 600), 255, "u1")
    values[:2, :2] = [[3, 7], [7, 255]]
    values[:2, 2:4] = [[255, 255], [4, 255]]
    [asset] = write([SaveResult(cube.copy(data=values), "COG")], tmp_path)
    with rasterio.open(asset.path, OVERVIEW_LEVEL=0) as file:
        assert file.read(1)[0, :3].tolist() == [7, 4, 255]


def test_statistics_are_those_of_the_valid_pixels(tmp_path: Path, make_cube: MakeCube) -> None:
    for cube in (make_cube(("bands", "y", "x")), make_cube(("bands", "y", "x"), dtype="i2", nodata=-10000)):
        [asset] = write([SaveResult(cube, "GTiff")], tmp_path)
        valid = cube.values[1].astype("f8")
        valid = valid[np.isfinite(valid) & (valid != -10000)]
        with rasterio.open(asset.path) as file:
            tags = {k.removeprefix("STATISTICS_"): float(v) for k, v in file.tags(2).items()}
        expected = {"MINIMUM": valid.min(), "MAXIMUM": valid.max(), "MEAN": valid.mean(), "STDDEV": valid.std()}
        assert {k: tags[k] for k in expected} == pytest.approx(expected, rel=1e-12)
        assert asset.metadata["bands"][1]["statistics"]["mean"] == pytest.approx(expected["MEAN"], rel=1e-12)


def test_one_file_per_date(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube()
    assets = write([SaveResult(cube, "GTIFF", {"filename_prefix": "summer"})], tmp_path)
    assert [a.path.name for a in assets] == ["summer_2024-06-01Z.tif", "summer_2024-06-11Z.tif"]
    for n, asset in enumerate(assets):
        with rasterio.open(asset.path) as file:
            np.testing.assert_array_equal(file.read(), cube.values[n])
            assert file.tags()["TIFFTAG_DATETIME"] == f"2024:06:{'01' if n == 0 else '11'} 10:50:31"
        assert asset.properties["datetime"] == asset.cube["t"]["values"][0]
        assert asset.properties["derived_from"] == ["S2A_1", "S2A_2"]
    band = assets[0].metadata["bands"][0]
    assert (band["name"], band["eo:common_name"], band["data_type"], band["nodata"]) == ("B04", "red", "float32", "nan")
    assert assets[0].metadata["proj:code"] == "EPSG:32631"
    assert assets[0].metadata["proj:transform"] == [10, 0, 300000, 0, -10, 4900020]
    west, south, east, north = assets[0].bbox
    assert -180 < west < east < 180 and 44 < south < north < 45


def test_names_of_files_that_share_a_date_or_have_labels(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(size=(20, 30))
    same_day = cube.assign_coords(t=np.array(["2024-06-01T10:50:31", "2024-06-01T10:59:00"], "M8[ns]"))
    names = [a.path.name for a in write([SaveResult(same_day, "COG")], tmp_path)]
    assert names == ["openEO_2024-06-01T105031Z.tif", "openEO_2024-06-01T105900Z.tif"]
    named = cube.assign_coords(t=["first/date", "2024-mam"])
    assets = write([SaveResult(named, "COG")], tmp_path)
    assert [a.path.name for a in assets] == ["openEO_first-date.tif", "openEO_2024-mam.tif"]
    assert "datetime" not in assets[0].properties and assets[0].cube["t"]["values"] == ["first/date"]


@pytest.mark.parametrize("size", [(1, 1), (10, 10), (17, 600), (1, 513)])
def test_small_images(tmp_path: Path, make_cube: MakeCube, size: tuple[int, int]) -> None:
    cube = make_cube(("y", "x"), size=size)
    [asset] = write([SaveResult(cube, "COG")], tmp_path)
    with rasterio.open(asset.path) as file:
        np.testing.assert_array_equal(file.read(1), cube.values)
    check_layout(asset.path)


def test_bool_and_south_up_cubes(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(("y", "x"), size=(100, 80))
    mask = (cube > 3000).assign_attrs(cube.attrs)
    [asset] = write([SaveResult(mask.isel(y=slice(None, None, -1)), "COG")], tmp_path)
    with rasterio.open(asset.path) as file:
        np.testing.assert_array_equal(file.read(1), mask.values.astype("u1"))
        assert file.transform.e == -10 and file.transform.f == 4900020


def test_levels_a_codec_does_not_have(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(("y", "x"), size=(16, 16))
    with pytest.raises(OpenEOError, match="deflate is 12"):
        write([SaveResult(cube, "COG", {"level": 15})], tmp_path)
    assert write([SaveResult(cube, "COG", {"level": 15, "compression": "zstd"})], tmp_path)


def test_special_characters_in_band_names(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(("bands", "y", "x"), size=(16, 16)).assign_coords(bands=["NDVI <1 & >0", "é", "B02"])
    [asset] = write([SaveResult(cube, "COG")], tmp_path)
    with rasterio.open(asset.path) as file:
        assert file.descriptions == ("NDVI <1 & >0", "é", "B02")


def test_more_than_four_gigabytes_become_bigtiff(
    tmp_path: Path, make_cube: MakeCube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.results.tiff.CLASSIC_LIMIT", 1000)
    cube = make_cube(("bands", "y", "x"))
    [asset] = write([SaveResult(cube, "COG")], tmp_path)
    assert asset.path.read_bytes()[2] == 43
    with rasterio.open(asset.path) as file:
        np.testing.assert_array_equal(file.read(), cube.values)
    check_layout(asset.path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.isel(x=0, drop=True), "no x and y"),
        (lambda c: c.drop_vars("spatial_ref"), "coordinate reference system"),
        (lambda c: c.isel(t=slice(0, 0)), "empty"),
        (lambda c: c.expand_dims({"model": [1, 2]}), "'model' with 2 labels"),
        (lambda c: c.astype(str), "not numbers"),
        (lambda c: [1, 2], "not a raster cube"),
    ],
)
def test_what_a_geotiff_cannot_hold(tmp_path: Path, make_cube: MakeCube, change, says: str) -> None:
    with pytest.raises(OpenEOError, match=says) as caught:
        write([SaveResult(change(make_cube(size=(8, 8))), "GTiff")], tmp_path)
    assert caught.value.code == "FormatUnsuitable" and caught.value.status == 400
    assert list(tmp_path.iterdir()) == []
