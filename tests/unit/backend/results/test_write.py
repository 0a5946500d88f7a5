"""Writing as a whole: one pass, progress, failures, formats."""

from __future__ import annotations

import errno
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from backend.errors import OpenEOError
from backend.results import formats, write
from backend.results.format import Target
from backend.results.tiles import Store
from processes import blocks
from processes.save.save_result import SaveResult
from tests.unit.backend.results.conftest import MakeCube


def counting(cube: xr.DataArray, seen: list[int]) -> xr.DataArray:
    def look(block: np.ndarray) -> np.ndarray:
        seen.append(block.size)
        return block

    return blocks.map_blocks(look, cube, dtype=cube.dtype)


def test_shared_blocks_are_computed_once(tmp_path: Path, make_cube: MakeCube) -> None:
    seen: list[int] = []
    cube = counting(make_cube(("bands", "y", "x")), seen)
    progress: list[float] = []
    assets = write(
        [SaveResult(cube, "COG"), SaveResult(cube * 2, "netCDF"), SaveResult(cube, "PNG")],
        tmp_path,
        on_progress=progress.append,
    )
    assert [a.path.name for a in assets] == ["openEO.tif", "openEO-2.nc", "openEO-3.png"]
    assert len(seen) == blocks.blocks_of(cube)
    assert progress == sorted(progress) and len(set(progress)) > 5 and progress[-1] == 1.0


def test_a_failing_block_leaves_nothing(tmp_path: Path, make_cube: MakeCube) -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        if block.shape[-1] != 411:
            raise ValueError("tile 3 is corrupt")
        return block

    cube = blocks.map_blocks(fail, make_cube(), dtype="f4")
    for name in ("COG", "netCDF", "Zarr", "PNG", "JSON"):
        with pytest.raises(ValueError, match="tile 3 is corrupt"):
            write([SaveResult({"a": 1}, "JSON"), SaveResult(cube, name)], tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_an_exception_in_progress_stops_the_run(tmp_path: Path, make_cube: MakeCube) -> None:
    class Stop(Exception):
        pass

    seen: list[int] = []

    def stop(share: float) -> None:
        raise Stop

    cube = counting(make_cube(chunks=(50, 50)), seen)
    with pytest.raises(Stop):
        write([SaveResult(cube, "COG")], tmp_path, on_progress=stop)
    assert len(seen) < blocks.blocks_of(cube) / 4 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["COG", "netCDF", "Zarr", "PNG"])
def test_full_disk(tmp_path: Path, name: str) -> None:
    """A file-size limit in a process of its own: the kernel refuses writes as a full disk does."""
    script = textwrap.dedent(
        f"""
        import resource, signal, sys
        from pathlib import Path
        import dask.array as da, numpy as np
        from backend.errors import OpenEOError
        from backend.results import write
        from processes import cube
        from processes.save.save_result import SaveResult

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        values = np.random.default_rng(0).normal(size=(3, 600, 600)).astype("f4")
        coords = {{"bands": list("abc"), "y": -np.arange(600.0), "x": np.arange(600.0)}}
        data = cube.cube(da.from_array(values, chunks=(3, 200, 200)), ("bands", "y", "x"), coords, crs="EPSG:32631")
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            write([SaveResult(data, {name!r})], Path({str(tmp_path)!r}))
        except OpenEOError as error:
            print(error.code, error.status, error.message)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("StorageFailure 500 The results could not be written: the storage is full"), done
    assert list(tmp_path.iterdir()) == []


def test_other_os_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write([SaveResult(1, "JSON")], tmp_path / "absent")
    assert caught.value.errno == errno.ENOENT


def test_unknown_format_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(OpenEOError, match=r"'SHP' is not supported.*COG.*GTiff.*netCDF") as caught:
        write([SaveResult(1, "SHP")], tmp_path)
    assert caught.value.code == "FormatUnsuitable"


def test_file_formats_document() -> None:
    body = formats()
    assert set(body["output"]) >= {
        "GTiff",
        "COG",
        "netCDF",
        "Zarr",
        "PNG",
        "JPEG",
        "JSON",
        "GeoJSON",
        "CSV",
        "Parquet",
        "LIS",
        "MUSCATE",
    }
    for name, entry in body["output"].items():
        assert entry["title"] and entry["description"] and entry["gis_data_types"]
        assert ("tile" if name in ("LIS", "MUSCATE") else "filename_prefix") in entry["parameters"]
        for parameter in entry["parameters"].values():
            assert parameter["description"] and parameter["subtype"] and parameter["required"] is False


@pytest.mark.parametrize("prefix", ["../evil", "/etc/x", "", ".hidden", "a/b"])
def test_prefixes_cannot_leave_the_folder(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(OpenEOError):
        write([SaveResult(1, "JSON", {"filename_prefix": prefix})], tmp_path)
    assert list(tmp_path.parent.glob("evil*")) == []


@pytest.mark.parametrize("name", ["COG", "netCDF"])
def test_unfinished_tiles_wait_on_disk_beyond_the_budget(
    tmp_path: Path, make_cube: MakeCube, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stores: list[Store] = []

    def small(target: Target) -> Store:
        stores.append(Store(300_000, target.folder / ".parts"))
        return stores[-1]

    (tmp_path / "plain").mkdir()
    cube = make_cube(("bands", "y", "x"), size=(1300, 1300), chunks=(100, 1300))
    [plain] = write([SaveResult(cube, name)], tmp_path / "plain")
    monkeypatch.setattr(Target, "store", small)
    peak = [0]
    [spilled] = write(
        [SaveResult(cube, name)], tmp_path, on_progress=lambda _: peak.append(max(s.held for s in stores))
    )
    assert max(peak) <= 300_000 and stores[0]._end > 300_000  # it held little and used the disk
    assert stores[0]._end < 3 * 1300 * 1300 * 4  # and used its room again
    if name == "COG":
        with rasterio.open(plain.path) as a, rasterio.open(spilled.path) as b:
            np.testing.assert_array_equal(a.read(), b.read())
            np.testing.assert_array_equal(a.read(1, out_shape=(163, 163)), b.read(1, out_shape=(163, 163)))
    else:
        assert xr.open_dataset(plain.path).identical(xr.open_dataset(spilled.path))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["plain", spilled.path.name])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_request(tmp_path: Path) -> None:
    """64 times the pixels, at most twice the rows of tiles that wait for their neighbours."""

    def peak(size: int) -> int:
        script = textwrap.dedent(
            f"""
            import resource
            from pathlib import Path
            import numpy as np
            from backend.results import write
            from processes import blocks, cube
            from processes.save.save_result import SaveResult

            def read(where):
                return np.full([b - a for a, b in where], 0.25, "f4")

            def data(n):
                chunks = [[3]] + [[500] * (n // 500)] * 2
                coords = {{"bands": list("abc"), "y": -np.arange(float(n)), "x": np.arange(float(n))}}
                return cube.cube(blocks.from_blocks(read, (3, n, n), chunks, "f4"), ("bands", "y", "x"), coords, crs=32631)

            write([SaveResult(data({size}), "COG")], Path({str(tmp_path)!r}), threads=2)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
            """
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
        return int(done.stdout) * (1024 if sys.platform != "darwin" else 1)

    small, large = peak(1000), peak(8000)
    assert large - small < 160e6, (
        f"{small / 1e6:.0f} MB for 1000 px, {large / 1e6:.0f} MB for 8000 px (768 MB of pixels)"
    )
