"""Every effort of deflate is a zlib stream that gives the same bytes back."""

from __future__ import annotations

import zlib

import h5py
import numpy as np
import pytest

from backend.results import write
from backend.results.deflate import encoder
from processes import cube as cubes
from processes.save.save_result import SaveResult


@pytest.mark.parametrize("level", [None, 0, 1, 6, 12])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_round_trip(level, size):
    data = np.random.default_rng(0).integers(0, 9, size, "u1")
    assert zlib.decompress(encoder(level)(data)) == data.tobytes()
    assert zlib.decompress(encoder(level)(data.tobytes())) == data.tobytes()


def test_fast_level_packs_as_well_as_zlib():
    smooth = np.cumsum(np.random.default_rng(1).integers(0, 3, 300_000), dtype="u4").astype("u1")
    assert len(encoder(1)(smooth)) < 1.1 * len(zlib.compress(smooth.tobytes(), 1))


@pytest.mark.parametrize("level", [0, 1])
def test_netcdf_with_and_without_compression(tmp_path, level):
    values = np.random.default_rng(2).random((2, 700, 530)).astype("f4")
    values[0, :3] = np.nan
    coords = {"bands": ["a", "b"], "y": -np.arange(700.0), "x": np.arange(530.0)}
    data = cubes.cube(values, ("bands", "y", "x"), coords, crs="EPSG:32631")
    (asset,) = write([SaveResult(data, "netCDF", {"level": level})], tmp_path)
    with h5py.File(asset.path) as file:
        np.testing.assert_array_equal(file["a"][:], values[0])
        np.testing.assert_array_equal(file["b"][:], values[1])
        assert file["a"].compression == (None if level == 0 else "gzip")
