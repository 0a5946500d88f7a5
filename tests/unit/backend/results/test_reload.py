"""`load_result` through the service's own database: what a user's job wrote comes back, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.environment import Environments, UserResults
from backend.results import stac, write
from backend.settings import Settings
from backend.store import jobs, users
from backend.store.db import Database
from processes import cube as cubes
from processes.errors import ProcessError
from processes.load.load_stac import load_result
from processes.save.save_result import SaveResult
from tests.unit.processes.cubes.samples import Make, values


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    made = Database(settings.database)
    made.upgrade()
    yield made
    made.close()


def finished(
    database: Database, settings: Settings, user: str, data: Any, format: str, status: str = "finished"
) -> str:
    """A job of ``user`` whose results are ``data``, written and recorded as by a worker."""
    with database.session() as session:
        id = jobs.create(session, user, {"process_graph": {}}).id
    folder = settings.results_dir / id
    folder.mkdir(parents=True)
    rows = [stac.asset_row(id, n, a) for n, a in enumerate(write([SaveResult(data, format)], folder))]
    with database.session() as session:
        jobs.put_assets(session, id, rows)
        jobs.change(session, id, status=status)
    return id


def two_users(database: Database) -> list[str]:
    with database.session() as session:
        return [users.create(session, name, "hash").id for name in ("ada", "bob")]


@pytest.mark.parametrize("format", ["GTiff", "netCDF", "Zarr"])
def test_a_result_of_the_users_own(format: str, database: Database, settings: Settings) -> None:
    ada, _ = two_users(database)
    data = Make("everything")(values().astype("f8"))
    id = finished(database, settings, ada, data, format)
    env = Environments(settings, database, catalogue=None).env(ada)  # type: ignore[arg-type]
    got = load_result(id, env=env)
    assert got.dims == data.dims and got.dtype == data.dtype
    for d in data.dims:
        assert cubes.plain_labels(got, str(d)) == pytest.approx(cubes.plain_labels(data, str(d)))
    np.testing.assert_array_equal(got.compute(scheduler="sync").values, data.compute(scheduler="sync").values)


def test_a_table_of_means_has_no_place_and_comes_back(database: Database, settings: Settings) -> None:
    ada, _ = two_users(database)
    data = Make("everything")(values()[:, :, 0, 0], ("t", "bands"))
    env = Environments(settings, database, catalogue=None).env(ada)  # type: ignore[arg-type]
    got = load_result(finished(database, settings, ada, data, "netCDF"), bands=["B2"], env=env)
    np.testing.assert_array_equal(got.compute(scheduler="sync").values, data.values[:, [1]])


def test_results_of_others_and_of_running_jobs_are_not_there(database: Database, settings: Settings) -> None:
    ada, bob = two_users(database)
    data = Make()(values())
    of_bob = finished(database, settings, bob, data, "GTiff")
    runs = finished(database, settings, ada, data, "GTiff", status="running")
    env = Environments(settings, database, catalogue=None).env(ada)  # type: ignore[arg-type]
    for id in (of_bob, "no-such-job"):
        with pytest.raises(ProcessError, match="JobNotFound"):
            load_result(id, env=env)
    with pytest.raises(ProcessError, match=r"JobNotFinished.*running"):
        load_result(runs, env=env)


def test_documents_name_files_that_exist(database: Database, settings: Settings) -> None:
    ada, _ = two_users(database)
    id = finished(database, settings, ada, Make()(values()), "GTiff")
    document, items = UserResults(database, settings.results_dir, ada).result(id)
    assert document["cube:dimensions"]["bands"]["values"] == ["B1", "B2", "B3"]
    assert len(items) == 6
    for item in items:
        for asset in item["assets"].values():
            assert Path(asset["href"]).is_file()
            assert [b["data_type"] for b in asset["bands"]] == ["float32"] * 3
