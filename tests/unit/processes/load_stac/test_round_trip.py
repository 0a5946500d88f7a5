"""What the service writes and describes comes back the same: dimensions, labels, values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from backend.results import stac, write
from processes import cube as cubes
from processes.combine.dimensions import rename_dimension, rename_labels
from processes.env import Env
from processes.errors import ProcessError
from processes.load.load_stac import load_result, load_stac
from processes.save.save_result import SaveResult
from tests.unit.processes.cubes.samples import CRS, SOUTH, WEST, Make, values
from tests.unit.processes.load_stac.server import Site

WHEN = datetime(2024, 1, 1, tzinfo=UTC)


def documents(data: xr.DataArray, format: str, folder: Path, base: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """STAC of a job that saved ``data``, as the service makes it; files under ``base``."""
    folder.mkdir(parents=True, exist_ok=True)
    assets = [
        SimpleNamespace(
            name=a.path.name, media_type=a.media_type, title=a.title, roles=list(a.roles), size=a.path.stat().st_size,
            metadata_=dict(a.metadata), properties=dict(a.properties), geometry=a.geometry, bbox=a.bbox, cube=a.cube,
        )
        for a in write([SaveResult(data, format)], folder)
    ]  # fmt: skip
    job: Any = SimpleNamespace(
        id="j1", title=None, description=None, created=WHEN, updated=WHEN, finished=WHEN, status="finished"
    )
    urls = stac.Urls(f"{base}/results", lambda name: f"{base}/{name}", lambda id: f"{base}/items/{id}.json")
    rows: Any = assets
    return stac.result_document(job, rows, urls), [stac.item_document(job, a, urls) for a in rows if stac.has_item(a)]


def usual() -> xr.DataArray:
    return Make("everything")(values())


def renamed() -> xr.DataArray:
    data = Make("everything", {"t": "zeit", "bands": "kanal", "y": "nord", "x": "ost"})(values())
    return rename_labels(data, "zeit", ["2020-djf", "2020-mam", "2020-jja"], cubes.plain_labels(data, "zeit")[:3]).isel(zeit=slice(0, 3))  # fmt: skip


def without_bands() -> xr.DataArray:
    return Make("everything")(values()[:, 0], ("t", "y", "x"))


def without_time() -> xr.DataArray:
    return Make("everything")(values()[0], ("bands", "y", "x"))


def plane() -> xr.DataArray:
    return Make("everything")(values()[0, 0], ("y", "x"))


def one_date() -> xr.DataArray:
    return rename_dimension(Make()(values()[:1]), "t", "day")


def classes() -> xr.DataArray:
    return Make("everything")(np.arange(480, dtype="u1").reshape(2, 3, 8, 10) % 7, nodata=3)


def double() -> xr.DataArray:
    return Make("everything")(np.random.default_rng(0).normal(1e9, 1, (2, 3, 8, 10)))


def codes() -> xr.DataArray:
    """Integers of 16 bits below zero, with nodata."""
    return Make("everything")(np.arange(480, dtype="i2").reshape(2, 3, 8, 10) - 200, nodata=-7)


def counts() -> xr.DataArray:
    """Integers that float32 cannot hold, with nodata."""
    return Make("everything")(np.arange(480, dtype="i4").reshape(2, 3, 8, 10) + 2**30, nodata=-1)


CASES = [usual, renamed, without_bands, without_time, plane, one_date, classes, double, codes, counts]


def seasons() -> xr.DataArray:
    """Five dimensions: two of them of no type that items know."""
    array = np.random.default_rng(1).normal(size=(2, 3, 4, 8, 10, 2))
    dims = ("t", "bands", "quantile", "y", "x", "member")
    return Make("everything")(array, dims, quantile=[0.1, 0.25, 0.5, 0.9], member=["a", "b"])


def texts() -> xr.DataArray:
    return Make()(values((2, 3, 8, 10)), ("season", "bands", "y", "x"), season=["winter", "summer"])


def series() -> xr.DataArray:
    """Without a place on Earth: means of an area."""
    return Make("everything")(values()[:, :, 0, 0], ("t", "bands"))


def profile() -> xr.DataArray:
    return Make("everything")(np.arange(18, dtype="f8").reshape(6, 3), ("t", "bands"))


FURTHER = [seasons, texts, series, profile]


def same(got: xr.DataArray, data: xr.DataArray) -> None:
    assert cubes.kinds(got) == cubes.kinds(data)
    assert got.dims == data.dims
    for d in data.dims:
        assert cubes.plain_labels(got, str(d)) == pytest.approx(cubes.plain_labels(data, str(d))), d
    assert cubes.crs_of(got) == cubes.crs_of(data)
    assert got.dtype == data.dtype
    assert got.attrs.get("nodata") == data.attrs.get("nodata")
    np.testing.assert_array_equal(got.compute(scheduler="sync").values, data.compute(scheduler="sync").values)


def published(data: xr.DataArray, format: str, site: Site) -> str:
    """Address of the results of a job that wrote ``data``."""
    document, items = documents(data, format, site.folder / "job", site.url("/job"))
    site["/job/results"] = document
    for entry in items:
        site[f"/job/items/{entry['id']}.json"] = entry
    return site.url("/job/results?signature=abc")


def spatial_last(data: xr.DataArray) -> xr.DataArray:
    """As files have it: y and x last."""
    last = [d for d in ("y", "x") if d in data.dims]
    return cubes.like(data.transpose(*(d for d in data.dims if d not in last), *last), data)


@pytest.mark.parametrize("format", ["netCDF", "Zarr"])
@pytest.mark.parametrize("make", FURTHER, ids=lambda c: c.__name__)
def test_results_with_further_dimensions_or_without_place(make: Any, format: str, site: Site, env: Env) -> None:
    data = make()
    got = load_stac(published(data, format, site), env=env)
    assert isinstance(got.data, da.Array)
    same(got, spatial_last(data))
    by_id = load_result("j1", env=replace(Env(), results=Stored(data, format, site.folder / "other")))
    same(by_id, spatial_last(data))


@pytest.mark.parametrize("format", ["netCDF", "Zarr"])
def test_part_of_a_result_with_further_dimensions(format: str, tmp_path: Path) -> None:
    data = spatial_last(seasons())
    env = replace(Env(), results=Stored(data, format, tmp_path / "job"), ledger=[])
    box = {"west": WEST + 10, "east": WEST + 50, "south": SOUTH + 20, "north": SOUTH + 60, "crs": CRS}
    got = load_result("j1", box, ["2020-02-01", "2020-03-01"], ["B3"], env=env)
    expected = data.sel(bands=["B3"]).isel(t=[1], x=slice(1, 5), y=slice(2, 6))
    assert got.dims == data.dims and got.sizes == expected.sizes
    assert env.ledger is not None and env.ledger[0].pixels == expected.size
    np.testing.assert_array_equal(got.compute(scheduler="sync").values, expected.compute(scheduler="sync").values)


def test_integers_without_nodata_keep_their_values(tmp_path: Path) -> None:
    """They come back as floats that hold them exactly: NaN is what lies beside the file."""
    for dtype, start, floating in (("i2", -200, "f4"), ("u4", 2**31, "f8"), ("i4", 2**30, "f8")):
        data = Make("everything")(np.arange(480, dtype=dtype).reshape(2, 3, 8, 10) + np.array(start, dtype))
        env = replace(Env(), results=Stored(data, "GTiff", tmp_path / dtype))
        got = load_result("j1", env=env)
        assert got.dtype == floating
        np.testing.assert_array_equal(got.compute(scheduler="sync").values, data.compute(scheduler="sync").values)


def test_damaged_files_are_told(tmp_path: Path) -> None:
    stored = Stored(seasons(), "Zarr", tmp_path / "job")
    (file,) = (tmp_path / "job").glob("*.zip")
    file.write_bytes(b"PK nothing")
    with pytest.raises(ProcessError, match=r"StorageFailure.*zarr.zip"):
        load_result("j1", env=replace(Env(), results=stored))


@pytest.mark.parametrize("format", ["GTiff", "netCDF", "Zarr"])
@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_result_by_signed_address(make: Any, format: str, site: Site, env: Env) -> None:
    data = make()
    got = load_stac(published(data, format, site), env=env)
    assert isinstance(got.data, da.Array)
    same(got, data)


class Stored:
    """The service's side of a job's results: documents with paths of files."""

    def __init__(self, data: xr.DataArray, format: str, folder: Path):
        self.found = documents(data, format, folder, str(folder))

    def result(self, job_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        if job_id != "j1":
            raise ProcessError("JobNotFound", f"The job '{job_id}' does not exist.")
        return self.found


@pytest.mark.parametrize("format", ["GTiff", "netCDF", "Zarr"])
@pytest.mark.parametrize("make", [usual, renamed], ids=lambda c: c.__name__)
def test_result_by_job_id(make: Any, format: str, tmp_path: Path) -> None:
    env = replace(Env(), results=Stored(make(), format, tmp_path / "job"))
    same(load_result("j1", env=env), make())
    with pytest.raises(ProcessError, match="JobNotFound"):
        load_result("j2", env=env)
    with pytest.raises(ProcessError, match="JobNotFound"):
        load_result("j1", env=Env())


@pytest.mark.parametrize("format", ["GTiff", "netCDF"])
def test_part_of_a_result(format: str, tmp_path: Path) -> None:
    data = usual()
    env = replace(Env(), results=Stored(data, format, tmp_path / "job"))
    got = load_result("j1", temporal_extent=["2020-02-01", "2020-04-01"], bands=["B3", "B1"], env=env)
    assert cubes.labels(got, "bands") == ["B3", "B1"]
    np.testing.assert_array_equal(got.compute(scheduler="sync").values, data.values[1:3][:, [2, 0]])
