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
from tests.unit.processes.cubes.samples import Make, values
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


CASES = [usual, renamed, without_bands, without_time, plane, one_date, classes]


def same(got: xr.DataArray, data: xr.DataArray) -> None:
    assert cubes.kinds(got) == cubes.kinds(data)
    assert got.dims == data.dims
    for d in data.dims:
        assert cubes.plain_labels(got, str(d)) == pytest.approx(cubes.plain_labels(data, str(d))), d
    assert cubes.crs_of(got) == cubes.crs_of(data)
    assert got.dtype == data.dtype
    assert got.attrs.get("nodata") == data.attrs.get("nodata")
    np.testing.assert_array_equal(got.compute(scheduler="sync").values, data.compute(scheduler="sync").values)


@pytest.mark.parametrize("format", ["GTiff", "netCDF"])
@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_result_by_signed_address(make: Any, format: str, site: Site, env: Env) -> None:
    data = make()
    document, items = documents(data, format, site.folder / "job", site.url("/job"))
    site["/job/results"] = document
    for entry in items:
        site[f"/job/items/{entry['id']}.json"] = entry
    got = load_stac(site.url("/job/results?signature=abc"), env=env)
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


@pytest.mark.parametrize("format", ["GTiff", "netCDF"])
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
