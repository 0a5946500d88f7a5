"""Blocks of GeoTIFFs unpacked without GDAL: the same numbers as GDAL's, for every layout; the others are left to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from processes.load import tiles
from processes.load.items import Band, grid
from processes.load.read import read_window

SIZE = (300, 421)  # no multiple of a block


def _pixels(dtype: str, count: int = 1) -> np.ndarray:
    rng = np.random.default_rng(3)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1, (count, *SIZE)).astype(dtype)
    limits = np.iinfo(dtype)  # the whole range: differences wrap around
    return rng.integers(limits.min, limits.max, (count, *SIZE), dtype=dtype, endpoint=True)


def _write(path: Path, values: np.ndarray, **options: Any) -> Path:
    profile = {"driver": "GTiff", "count": len(values), "height": SIZE[0], "width": SIZE[1], "dtype": values.dtype,
               "crs": "EPSG:32631", "transform": Affine(10, 0, 5e5, 0, -10, 5e6), "nodata": 7,
               "tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}  # fmt: skip
    with rasterio.open(path, "w", **(profile | options)) as file:
        file.write(values)
    return path


WINDOWS = [Window(0, 0, 421, 300), Window(128, 128, 128, 128), Window(10, 20, 400, 275), Window(260, 140, 161, 160)]


@pytest.mark.parametrize("compress", ["deflate", "zstd"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32"])
@pytest.mark.parametrize("predictor", [1, 2])
def test_the_same_numbers_as_gdal(tmp_path, compress, dtype, predictor):
    if dtype == "float32" and predictor == 2:
        predictor = 1
    path = _write(tmp_path / "a.tif", _pixels(dtype), compress=compress, predictor=predictor)
    with rasterio.open(path) as source:
        assert tiles.layout_of(source) is not None
        for window in WINDOWS:
            found = tiles.read(source, 1, window)
            assert found is not None and found.dtype == dtype
            np.testing.assert_array_equal(found, source.read(1, window=window))


@pytest.mark.parametrize("rows", [64, 77])
def test_strips_and_bands_apart(tmp_path, rows):
    values = _pixels("int16", 3)
    path = _write(tmp_path / "a.tif", values, tiled=False, blockxsize=SIZE[1], blockysize=rows, predictor=2, interleave="band")  # fmt: skip
    with rasterio.open(path) as source:
        assert source.block_shapes[0] == (rows, SIZE[1])
        for k in (1, 2, 3):
            for window in (Window(0, 0, 421, 300), Window(3, rows, 400, 300 - rows)):
                np.testing.assert_array_equal(tiles.read(source, k, window), source.read(k, window=window))


def test_a_window_that_wants_little_of_its_blocks_is_left_to_the_cache_of_gdal(tmp_path):
    path = _write(tmp_path / "a.tif", _pixels("int16"))
    with rasterio.open(path) as source:
        assert tiles.read(source, 1, Window(120, 120, 16, 16)) is None


@pytest.mark.parametrize(
    "options",
    [
        {"compress": "lzw"}, {"compress": None}, {"predictor": 3, "dtype": "float32"}, {"interleave": "pixel"},
        {"nbits": 12, "dtype": "uint16"}, {"endianness": "big"}, {"blockxsize": 16, "blockysize": 16},
    ],
)  # fmt: skip
def test_other_layouts_are_left_to_gdal(tmp_path, options):
    dtype = options.pop("dtype", "int16")
    values = _pixels(dtype, 2) if dtype == "float32" else np.abs(_pixels(dtype, 2) // 64)
    path = _write(tmp_path / "a.tif", values, **({"interleave": "band"} | options))
    with rasterio.open(path) as source:
        assert tiles.layout_of(source) is None
    assert read_window(_band(path), Window(0, 0, 421, 300)).tolist() == values[0].tolist()


def _band(path: Path) -> Band:
    return Band("B", str(path), grid("EPSG:32631", *SIZE, (10.0, 0.0, 5e5, 0.0, -10.0, 5e6)))


def test_absent_blocks_are_nodata(tmp_path):
    values = _pixels("int16")
    values[:, :200] = 7
    path = _write(tmp_path / "a.tif", values, sparse_ok="true", predictor=2)
    with rasterio.open(path) as source:
        assert tiles.read(source, 1, WINDOWS[0]) is None
    assert (read_window(_band(path), WINDOWS[0]) == values[0]).all()


def test_a_damaged_block_is_told_by_its_file(tmp_path):
    from processes.errors import ProcessError

    path = _write(tmp_path / "a.tif", _pixels("int16"), predictor=2)
    with rasterio.open(path) as source:
        at = int(source.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    held = bytearray(path.read_bytes())
    held[at : at + 40] = bytes(40)
    path.write_bytes(held)
    with rasterio.open(path) as source:
        assert tiles.read(source, 1, WINDOWS[0]) is None
    with pytest.raises(ProcessError, match=r"a\.tif cannot be read"):
        read_window(_band(path), WINDOWS[0])


def test_a_file_that_changes_is_read_anew(tmp_path):
    first, second = _pixels("int16"), _pixels("int16")[:, ::-1].copy()
    path = _write(tmp_path / "a.tif", first, predictor=2)
    assert (read_window(_band(path), WINDOWS[0]) == first[0]).all()
    path.unlink()
    _write(path, second, blockxsize=256, blockysize=256, compress="zstd")
    os.utime(path, ns=(1, 1))  # however coarse the clock of the file system
    assert (read_window(_band(path), WINDOWS[0]) == second[0]).all()
