"""Blocks that are asked for by parts: unpacked once, the numbers GDAL gives, memory bounded, threads together."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from processes.env import Env
from processes.load import kept
from processes.load.kept import Kept
from processes.load.load_collection import load_collection
from processes.load.read import read_window
from tests.unit.processes.load.conftest import MemoryCatalogue, make_item
from tests.unit.processes.load.test_load_collection import RED, SWIR, UTM31, X0, Y0

PROFILES = {
    "deflate": {"driver": "GTiff", "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "predictor": 2},
    "lzw": {"driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "lzw"},
    "strips": {"driver": "GTiff", "blockysize": 32, "compress": "deflate"},
    "jp2": {"driver": "JP2OpenJPEG", "quality": 100, "reversible": "YES", "blockxsize": 512, "blockysize": 512},
}  # fmt: skip


def _raster(path, size, step, seed, profile):
    values = np.random.default_rng(seed).integers(1, 9000, (size, size)).astype("i2")
    more = {"count": 1, "dtype": "int16", "width": size, "height": size, "crs": UTM31, "nodata": -10000}
    with rasterio.open(path, "w", **profile, **more, transform=Affine(step, 0, X0, 0, -step, Y0)) as file:
        file.write(values, 1)
    return path


@pytest.fixture
def memory(monkeypatch):
    found = Kept(64 << 20)
    monkeypatch.setattr(kept, "KEPT", found)
    return found


@pytest.mark.parametrize("form", PROFILES)
def test_mixed_resolutions_unpack_each_coarse_block_once(tmp_path, form, memory, monkeypatch):
    fine = _raster(tmp_path / "b04", 1024, 10, 1, PROFILES[form])
    coarse = _raster(tmp_path / "b11", 512, 20, 2, PROFILES[form])
    item = make_item("P", "2024-06-01T10:50:00", {"B04": (fine, [RED]), "B11": (coarse, [SWIR])})
    unpacked: Counter[tuple[int, int]] = Counter()
    plain = kept._unpack

    def counted(source, index, place, direct, out):
        assert source.name == str(coarse)  # the fine band is wanted in whole blocks
        unpacked[place.row_off, place.col_off] += 1
        plain(source, index, place, direct, out)

    monkeypatch.setattr(kept, "_unpack", counted)
    data = load_collection("S2", None, None, ["B04", "B11"], env=Env(MemoryCatalogue({"S2": [item]})))
    values = data.values
    with rasterio.open(fine) as a, rasterio.open(coarse) as b:
        wanted = [a.read(1), b.read(1).repeat(2, 0).repeat(2, 1)]
        blocks = -(-512 // b.block_shapes[0][0]) * -(-512 // b.block_shapes[0][1])
    np.testing.assert_array_equal(values[0], np.stack(wanted).astype("f4") * np.float32(1e-4))
    assert set(unpacked.values()) <= {1} and len(unpacked) in (0, blocks)
    assert form not in ("jp2", "deflate") or unpacked


def test_windows_equal_rasterio_and_a_changed_file_is_read_again(tmp_path, memory):
    path = _raster(tmp_path / "a.tif", 600, 10, 3, PROFILES["deflate"])
    item = make_item("P", "2024-06-01T10:50:00", {"B04": (path, [RED])})
    from processes.load.items import item_bands

    band = item_bands(item)["B04"]
    windows = [Window(10, 20, 300, 290), Window(0, 0, 600, 600), Window(512, 512, 88, 88), Window(599, 599, 1, 1)]
    for seed in (3, 4):
        path = _raster(path, 600, 10, seed, PROFILES["deflate"])
        with rasterio.open(path) as source:
            for window in windows:
                np.testing.assert_array_equal(read_window(band, window), source.read(1, window=window))


def test_memory_is_bounded_and_the_oldest_go_first():
    held = Kept(3000)

    def get(key, fill):
        return held.get(key, (10, 100), "u1", fill)

    for k in range(5):
        assert (get(k, lambda out, k=k: out.fill(k)) == k).all()
    assert list(held._held) == [2, 3, 4] and held._used == 3000
    assert (get(2, lambda out: pytest.fail("it is kept")) == 2).all()
    get(5, lambda out: out.fill(5))
    assert list(held._held) == [4, 2, 5]
    held.allow(1000)
    assert list(held._held) == [5]


def test_threads_that_want_the_same_wait_for_the_one_that_makes_it():
    held, made, begun = Kept(1 << 20), [], threading.Barrier(4)

    def fill(out):
        made.append(1)
        threading.Event().wait(0.05)
        out[...] = 7

    def ask(_):
        begun.wait()
        return held.get("key", (2, 3), "i2", fill)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
    assert len(made) == 1 and all((a == 7).all() for a in answers)


def test_what_fails_is_tried_again():
    held = Kept(1 << 20)

    def fails(out):
        raise OSError("once")

    with pytest.raises(OSError, match="once"):
        held.get("key", (1, 3), "f4", fails)
    assert held.get("key", (1, 3), "f4", lambda out: out.fill(1)).sum() == 3 and not held._making
