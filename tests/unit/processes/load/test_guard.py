"""Damaged HDF5 and netCDF files cost a reader, never the process that computes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from processes.env import Env, Limits
from processes.errors import ProcessError
from processes.load import guard, read
from processes.load.items import open_raster
from processes.load.load_collection import load_collection
from processes.load.rasters import items_of_file, make_item
from tests.unit.processes.load.conftest import MemoryCatalogue

PIXELS = np.arange(3 * 40 * 50, dtype="i2").reshape(3, 40, 50)
DAMAGE = b"!"  # at the end of a file: tests.toys.crashing_reader heeds it


def write(path: Path, pixels: np.ndarray = PIXELS) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("B04", data=pixels, chunks=(1, 16, 50), compression="gzip")
        file["B04"].attrs["note"] = "mine"
    return path


def damage(path: Path) -> None:
    with path.open("ab") as file:
        file.write(DAMAGE)


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The reader is the one that crashes."""
    guard._reader.end()
    monkeypatch.setattr(guard, "CHILD", "tests.toys.crashing_reader")
    yield
    guard._reader.end()


def test_it_is_what_rasterio_reads(tmp_path: Path) -> None:
    href = f"HDF5:{write(tmp_path / 'a b c.nc')}://B04"
    with rasterio.open(href) as one, open_raster(href) as two:
        for name in ("count", "shape", "width", "height", "crs", "transform", "dtypes", "nodatavals", "scales", "offsets",
                     "descriptions", "indexes", "block_shapes", "driver"):  # fmt: skip
            assert getattr(one, name) == getattr(two, name), name
        assert one.tags() == two.tags() and one.overviews(1) == two.overviews(1)
        for index in one.indexes:
            assert (two.read(index) == one.read(index)).all() and two.read(index).flags.writeable
            window = Window(7, 11, 20, 9)
            assert (two.read(index, window=window) == one.read(index, window=window)).all()
        assert two.read(1, window=Window(3, 3, 0, 4)).shape == (4, 0)
        with pytest.raises(IndexError):
            two.read(4)


def test_names() -> None:
    assert guard.path_of("HDF5:/a:b/c d.nc://B04") == "/a:b/c d.nc"
    assert guard.path_of('NETCDF:"/a:b/c.nc":B04') == "/a:b/c.nc"
    assert guard.path_of("/a/b.tif") == "/a/b.tif"
    assert not guard.is_named("/archive/HDF5.tif") and guard.is_named("NETCDF:x")


def test_a_file_of_unknown_make_is_told_by_its_content(tmp_path: Path) -> None:
    """HDF5 with the name of a GeoTIFF is guarded too."""
    path = write(tmp_path / "picture.tif", PIXELS)
    opened = open_raster(str(path), own=False)
    assert isinstance(opened, guard.GuardedRaster)


def test_a_crash_is_an_error_of_that_file_only(tmp_path: Path, crashing: None) -> None:
    bad, good = write(tmp_path / "crash.nc"), write(tmp_path / "good.nc")
    damage(bad)
    with open_raster(f"HDF5:{bad}://B04") as one, open_raster(f"HDF5:{good}://B04") as two:
        for _ in range(2):
            with pytest.raises(rasterio.errors.RasterioIOError, match="crashed the reader"):
                one.read(1)
            assert (two.read(1) == PIXELS[0]).all()


def test_a_known_damage_is_not_tried_again_until_the_file_changes(tmp_path: Path, crashing: None) -> None:
    bad, good = write(tmp_path / "crash.nc"), write(tmp_path / "good.nc")
    damage(bad)
    one, two = open_raster(f"HDF5:{bad}://B04"), open_raster(f"HDF5:{good}://B04")
    with pytest.raises(rasterio.errors.RasterioIOError):
        one.read(1)
    two.read(1)
    reader = guard._reader._popen
    with pytest.raises(rasterio.errors.RasterioIOError):
        one.read(1)
    assert guard._reader._popen is reader is not None and reader.poll() is None
    write(bad)
    os.utime(bad, ns=(1, 1))
    assert (one.read(2) == PIXELS[1]).all()


def test_a_reader_that_is_killed_says_nothing_of_the_file(tmp_path: Path, crashing: None) -> None:
    """By the kernel, for want of memory: another time it may be read."""
    path = write(tmp_path / "kill.nc")
    damage(path)
    stamp = path.stat().st_mtime_ns
    with open_raster(f"HDF5:{path}://B04") as source:
        with pytest.raises(rasterio.errors.RasterioIOError, match="the process that reads it ended with SIGKILL"):
            source.read(1)
        write(path)
        os.utime(path, ns=(stamp, stamp))
        assert (source.read(1) == PIXELS[0]).all()


def test_a_hanging_file_is_given_up(tmp_path: Path, crashing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "TIMEOUT", 2.0)
    path = write(tmp_path / "hang.nc")
    damage(path)
    with open_raster(f"HDF5:{path}://B04") as source:
        with pytest.raises(rasterio.errors.RasterioIOError, match="took more than 2 s"):
            source.read(1)
        with pytest.raises(rasterio.errors.RasterioIOError, match="took more than 2 s"):  # at once
            source.read(1)


def test_threads_share_the_reader(tmp_path: Path) -> None:
    href = f"HDF5:{write(tmp_path / 'a.nc')}://B04"
    source, wrong = open_raster(href), []

    def look() -> None:
        for k in range(30):
            row = k % 30
            got = source.read(k % 3 + 1, window=Window(0, row, 50, 10))
            if not (got == PIXELS[k % 3, row : row + 10]).all():
                wrong.append(k)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_reader_ends_with_its_process(tmp_path: Path) -> None:
    href = f"HDF5:{write(tmp_path / 'a.nc')}://B04"
    script = f"from processes.load import guard; guard.GuardedRaster({href!r}); print(guard._reader._popen.pid)"
    pid = int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout)
    stat = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        threading.Event().wait(0.05)
    pytest.fail("the reader outlives the process it reads for")


@pytest.fixture
def series(tmp_path: Path, crashing: None) -> MemoryCatalogue:
    """A collection of two dates, the first in a file that crashes its reader."""
    items = []
    grid = {"proj:code": "EPSG:32631", "proj:shape": [40, 50], "proj:transform": [10.0, 0, 6e5, 0, -10.0, 4.9e6]}
    band = {"name": "B04", "tuile:index": 1, "data_type": "int16", "nodata": -1.0, "tuile:kind": "continuous"}
    for day, name in enumerate(("crash", "good"), start=1):
        path = write(tmp_path / f"{name}.nc")
        if name == "crash":
            damage(path)
        assets = {"B04": (f"HDF5:{path}://B04", grid | {"bands": [band]})}
        when = datetime(2024, 1, day, 10, tzinfo=UTC)
        items.append(make_item(name, when, assets, "EPSG:32631", (600000, 4899600, 600500, 4900000)))
    return MemoryCatalogue({"S": items})


def test_a_load_fails_naming_the_file(series: MemoryCatalogue) -> None:
    with pytest.raises(ProcessError, match=r"crash\.nc.* cannot be read: reading it crashed the reader") as caught:
        load_collection("S", env=Env(series)).compute(scheduler="sync")
    assert caught.value.code == "StorageFailure"


def test_a_load_may_leave_the_file_out(series: MemoryCatalogue) -> None:
    read.take_unreadable()
    env = Env(series, limits=Limits(skip_unreadable=True))
    cube = load_collection("S", env=env).compute(scheduler="sync")
    assert np.isnan(cube.values[0]).all() and (cube.values[1, 0] == PIXELS[0]).all()
    assert [Path(h.split("://")[0]).name for h in read.take_unreadable()] == ["crash.nc"]


# Bytes that make GDAL 3.9 with HDF5 1.14 crash (the last: hang) while it reads; later versions may say something instead
RECIPES = [
    [(2297, 128)],
    [(2376, 0), (2455, 36)],
    [(1276, 255), (1939236, 155)],
    [(1195, 1), (1939057, 212)],
    [(344, 118), (1276, 255), (2082, 240), (2572, 87)],
    [(999, 255), (2057, 61), (1138813, 67), (1543787, 43), (1937010, 190), (1939113, 3)],
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_real_damage(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr(guard, "TIMEOUT", 4.0)
    data = bytearray(next((shared / "data" / "s2_l2a_timeseries_31UDS").glob("L8_SR*.nc")).read_bytes())
    for at, value in recipe:
        data[at] = value
    path = tmp_path / "damaged.nc"
    path.write_bytes(data)
    try:
        with open_raster(f"HDF5:{path}://B04") as source:
            for index in source.indexes:
                source.read(index)
    except rasterio.errors.RasterioIOError as error:
        assert str(error)
    with pytest.raises(ProcessError) as caught:  # its x, y and CRS are not those of a cube, damaged or not
        items_of_file(path)
    assert caught.value.code == "StorageFailure"


def test_described_results_are_read_whole_before(tmp_path: Path) -> None:
    path = write(tmp_path / "result.nc")
    guard.check(str(path))
    path.write_bytes(path.read_bytes()[:3000])
    os.utime(path, ns=(1, 1))
    with pytest.raises(rasterio.errors.RasterioIOError):
        guard.check(str(path))
    with pytest.raises(rasterio.errors.RasterioIOError):
        guard.open_checked(f"HDF5:{path}://B04")
