"""Synchronous requests: computed in a process, refused when all slots are taken, killable."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rasterio

from backend.errors import OpenEOError
from backend.jobs import sync
from backend.jobs.sync import SyncPool
from tests.workers import Site, wait_for


@pytest.fixture(scope="module")
def pool(site: Site) -> Iterator[SyncPool]:
    made = SyncPool(site.settings, site.database)
    made.warm()
    yield made
    made.close()


def ask(pool: SyncPool, site: Site, process_id: str, request_id: str, **arguments: Any):
    graph = {"p": {"process_id": process_id, "arguments": arguments, "result": True}}
    return pool.run(site.user, {"process_graph": graph}, {}, "info", request_id)


def test_values_and_cubes(pool: SyncPool, site: Site) -> None:
    result = ask(pool, site, "add", "r1", x=1, y=2)
    assert [a.path.read_text() for a in result.assets] == ["3"] and result.folder.is_dir()
    shutil.rmtree(result.folder)
    pids = {p._popen.pid for p in pool._spares._idle}
    result = ask(pool, site, "toy_cube", "r2", count=2)
    assert result.assets[0].path.suffix == ".nc"
    with rasterio.open(result.assets[0].path) as file:
        assert file.subdatasets or file.shape == (64, 128)
    assert {p._popen.pid for p in pool._spares._idle} == pids, "a good process serves the next request too"
    assert site.logs("r2")[-1].message.startswith("Finished")


@pytest.mark.parametrize(
    ("how", "code", "status"),
    [
        ("user", "NoDataAvailable", 400),
        ("bug", "Internal", 500),
        ("memory", "MemoryExceeded", 500),
        ("deep", "ProcessGraphComplexity", 400),
        ("full", "StorageFailure", 500),
    ],
)
def test_errors_reach_caller_and_log(pool: SyncPool, site: Site, how: str, code: str, status: int) -> None:
    with pytest.raises(OpenEOError) as caught:
        ask(pool, site, "toy_fault", f"r-{how}", how=how)
    assert (caught.value.code, caught.value.status) == (code, status) and "Traceback" not in caught.value.message
    assert "secret" not in caught.value.message
    entry = site.logs(f"r-{how}")[-1]
    assert (entry.level, entry.code) == ("error", code)
    assert ("stacktrace" in (entry.data or {})) == (how == "bug")
    assert not (site.settings.data_dir / "sync" / f"r-{how}").exists()


def test_full_pool_says_when_to_come_back_and_killed_process_is_replaced(pool: SyncPool, site: Site) -> None:
    raised: list[BaseException] = []

    def slow() -> None:
        try:
            ask(pool, site, "toy_cube", "slow", count=60, seconds=1.0)
        except OpenEOError as error:
            raised.append(error)

    before = set(site.computing())
    [idle] = pool._spares._idle
    thread = threading.Thread(target=slow)
    thread.start()
    wait_for(lambda: not pool._spares._idle, 10, lambda: "the request to start")
    with pytest.raises(OpenEOError) as busy:
        ask(pool, site, "add", "busy", x=1, y=1)
    assert busy.value.code == "InfrastructureBusy" and busy.value.status == 503
    assert 1 <= int(busy.value.headers["Retry-After"]) <= 60 and idle.pid in before
    os.kill(idle.pid, signal.SIGKILL)
    thread.join(10)
    assert raised and raised[0].code == "Internal" and "SIGKILL" in raised[0].message
    result = ask(pool, site, "add", "after", x=1, y=1)
    assert result.assets[0].path.read_text() == "2"


def test_requests_that_find_no_slot_wait_a_little(pool: SyncPool, site: Site) -> None:
    """Several users at once with short requests: none is refused, though one slot computes."""
    found: list[object] = []

    def short(n: int) -> None:
        found.append(ask(pool, site, "add", f"short-{n}", x=n, y=1).assets[0].path.read_text())

    threads = [threading.Thread(target=short, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == ["1", "2", "3", "4"]


def test_processes_the_kernel_kills_for_memory(pool: SyncPool, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([3, 4])  # the kernel's own count of such kills, before and after
    monkeypatch.setattr("backend.jobs.process._kernel_kills", lambda: next(counts))
    with pytest.raises(OpenEOError) as caught:
        ask(pool, site, "toy_fault", "oom", how="kill")
    assert caught.value.code == "MemoryExceeded" and "ran out of memory" in caught.value.message


def test_processes_that_take_far_more_memory_than_planned_are_stopped(site: Site) -> None:
    small = SyncPool(site.settings.model_copy(update={"memory_limit": 100 << 20}), site.database)
    try:
        with pytest.raises(OpenEOError) as caught:
            ask(small, site, "toy_fault", "greedy", how="greedy")
    finally:
        small.close()
    assert caught.value.code == "MemoryExceeded" and "0.1 GiB, TUILE_MEMORY_LIMIT" in caught.value.message


def test_a_data_folder_that_cannot_be_written(site: Site, tmp_path: Path) -> None:
    (tmp_path / "sync").touch()  # where the folder should be
    pool = SyncPool(site.settings.model_copy(update={"data_dir": tmp_path}), site.database)
    with pytest.raises(OpenEOError) as caught:
        ask(pool, site, "add", "nowhere", x=1, y=1)
    assert (caught.value.code, caught.value.status) == ("StorageFailure", 500) and str(tmp_path) not in str(
        caught.value
    )


def test_requests_that_take_too_long_are_stopped(pool: SyncPool, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "TIMEOUT", 1.0)
    with pytest.raises(OpenEOError) as caught:
        ask(pool, site, "toy_cube", "long", count=60, seconds=1.0)
    assert caught.value.code == "RequestTimeout" and caught.value.status == 408
    assert site.logs("long")[-1].code == "RequestTimeout"


def test_stages_run_in_the_request(pool: SyncPool, site: Site) -> None:
    result = ask(pool, site, "toy_stage", "stage", count=2, params={"tag": "sync"})
    assert result.assets[0].path.read_text() == "6"
