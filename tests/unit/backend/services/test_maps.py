"""Tiles as the API serves them: kept, drawn once, told of failures; with a pool that only counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.errors import OpenEOError
from backend.jobs.messages import Log
from backend.services.encode import blank
from backend.services.maps import EACH, WAITING, Maps
from backend.services.mercator import Tile, in_plane
from backend.services.messages import About, AboutRequest, BlockRequest, Drawn, Encoding, Found
from backend.settings import Settings
from backend.store import logs, services, udps, users
from backend.store.db import Database
from backend.store.services import Head

PNG = Encoding()
ABOUT = About(in_plane((1, 43, 2, 44)), 14.0, (0.0,), (1.0,), ("2024-05-01T10:30:00Z",), True)
TILE = Tile(9, 258, 187)
PROCESS = {"process_graph": {"mine": {"process_id": "mine", "arguments": {}, "result": True}}}


class CountingPool:
    """Answers with the tile's numbers; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.error: OpenEOError | None = None
        self.gate: threading.Event | None = None

    def ask(self, request: Any, spec: Any) -> Any:
        self.asked.append((request, spec))
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        if isinstance(request, AboutRequest):
            return Found(ABOUT, (Log("info", "looked"), Log("debug", "closely")))
        assert isinstance(request, BlockRequest)
        names = [f"{t.z}/{t.x}/{t.y}".encode() if (t.x + t.y) % 4 else None for t in request.block.tiles]
        return Drawn(tuple(names), (Log("warning", "one file is damaged"),))

    @property
    def drawn(self) -> int:
        return sum(isinstance(r, BlockRequest) for r, _ in self.asked)

    def warm(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to close."""


class Generations:
    """As much of a catalogue as is looked at."""

    def __init__(self) -> None:
        self.state = "1"

    def generation(self) -> str:
        return self.state


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'db.sqlite'}")
    made.upgrade()
    yield made
    made.close()


@pytest.fixture
def user(database: Database) -> str:
    with database.session() as session:
        return users.create(session, "ada", "hash").id


@pytest.fixture
def service(database: Database, user: str) -> Head:
    with database.session() as session:
        made = services.create(session, user, PROCESS, type="XYZ", configuration={"min": 0, "max": 1})
        found = services.head(session, made.id)
    assert found is not None
    return found


@pytest.fixture
def pool() -> CountingPool:
    return CountingPool()


@pytest.fixture
def catalogue() -> Generations:
    return Generations()


@pytest.fixture
def maps(tmp_path: Path, database: Database, pool: CountingPool, catalogue: Any, monkeypatch: Any) -> Maps:
    monkeypatch.setattr("backend.services.maps._FRESH", 0.0)
    return Maps(Settings(_env_file=None, data_dir=tmp_path), database, catalogue, pool)  # type: ignore[arg-type]


def entries(database: Database, service: Head) -> list[tuple[str, str]]:
    with database.session(read_only=True) as session:
        return [(e.level, e.message) for e in logs.logs(session, service.id)]


def test_neighbours_come_along(maps: Maps, service: Head, pool: CountingPool) -> None:
    assert maps.tile(service, TILE, PNG) == b"9/258/187"
    for tile in TILE.block().tiles:
        told = f"{tile.z}/{tile.x}/{tile.y}".encode()
        assert maps.tile(service, tile, PNG) == (told if (tile.x + tile.y) % 4 else blank(256, PNG))
    assert pool.drawn == 1
    assert maps.tile(service, TILE, Encoding("jpeg", 80)) == b"9/258/187"
    assert maps.tile(service, TILE, PNG, "2024-05-01T10:30:00Z") == b"9/258/187"
    assert pool.drawn == 3
    assert maps.about(service) == ABOUT and len(pool.asked) == 4


def test_beside_the_data_nothing_is_drawn(maps: Maps, service: Head, pool: CountingPool) -> None:
    assert maps.tile(service, Tile(9, 0, 0), PNG) == blank(256, PNG)
    assert maps.tile(service, Tile(9, 0, 0, 512), PNG) == blank(512, PNG)
    assert pool.drawn == 0


def test_tiles_outlive_the_server(
    maps: Maps, service: Head, pool: CountingPool, database: Database, catalogue: Any, tmp_path: Path
) -> None:
    first = maps.tile(service, TILE, PNG)
    again = Maps(Settings(_env_file=None, data_dir=tmp_path), database, catalogue, pool)  # type: ignore[arg-type]
    assert again.tile(service, TILE, PNG) == first and again.about(service) == ABOUT
    assert len(pool.asked) == 2
    again.forget(service.user_id, service.id)
    assert again.tile(service, TILE, PNG) == first and pool.drawn == 2


def test_what_changes_tiles_makes_new_ones(
    maps: Maps, service: Head, pool: CountingPool, database: Database, catalogue: Any
) -> None:
    maps.tile(service, TILE, PNG)
    catalogue.state = "2"
    maps.tile(service, TILE, PNG)
    assert pool.drawn == 2
    maps.tile(replace(service, revision=1), TILE, PNG)
    assert pool.drawn == 3 and len({spec.key for _, spec in pool.asked}) == 3
    maps.tile(replace(service, revision=1), TILE, PNG)
    assert pool.drawn == 3


def test_stored_processes_belong_to_a_service(
    maps: Maps, service: Head, pool: CountingPool, database: Database, user: str
) -> None:
    maps.tile(service, TILE, PNG)
    assert pool.asked[-1][1].namespace == {}
    other = {"process_graph": {"a": {"process_id": "add", "arguments": {}, "result": True}}}
    with database.session() as session:
        made = services.create(session, user, other, type="XYZ")
        unrelated = services.head(session, made.id)
        udps.put(session, user, "mine", {"process_graph": {"x": 1}})
    assert unrelated is not None
    maps.tile(replace(service, revision=1), TILE, PNG)
    assert set(pool.asked[-1][1].namespace) == {"mine"}
    maps.tile(unrelated, TILE, PNG)
    before = pool.drawn
    with database.session() as session:
        udps.put(session, user, "mine", {"process_graph": {"x": 2}})
    maps.tile(replace(service, revision=1), TILE, PNG)
    assert pool.drawn == before + 1 and pool.asked[-1][1].namespace["mine"] == {"process_graph": {"x": 2}}
    maps.tile(unrelated, TILE, PNG)
    assert pool.drawn == before + 1


def test_a_block_is_drawn_once_for_all_who_wait(maps: Maps, service: Head, pool: CountingPool) -> None:
    maps.about(service)
    pool.gate = threading.Event()
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda t=t: found.append(maps.tile(service, t, PNG))) for t in TILE.block().tiles * 3
    ]
    for thread in threads:
        thread.start()
    pool.gate.set()
    for thread in threads:
        thread.join(10)
    assert len(found) == 12 and pool.drawn == 1


def test_too_many_who_wait_are_sent_away(maps: Maps, service: Head, pool: CountingPool, database: Database) -> None:
    with database.session() as session:
        others = users.create(session, "bob", "hash").id
        made = services.create(session, others, PROCESS, type="XYZ")
        second = services.head(session, made.id)
    assert second is not None
    for each in (service, second):
        maps.about(each)
    pool.gate = threading.Event()
    many = [(service, n) for n in range(EACH)] + [(second, n) for n in range(WAITING - EACH)]
    threads = [threading.Thread(target=maps.tile, args=(s, Tile(14, 8260, 5960 + 2 * n), PNG)) for s, n in many]

    def busy(of: Head) -> OpenEOError:
        with pytest.raises(OpenEOError) as caught:
            maps.tile(of, Tile(14, 8264, 5990), PNG)
        return caught.value

    for n, thread in enumerate(threads):
        thread.start()
        end = time.monotonic() + 10
        while pool.drawn <= n and time.monotonic() < end:
            time.sleep(0.005)
        if n == EACH - 1:
            assert busy(service).code == "InfrastructureBusy"  # one user's share, while others still may
    assert pool.drawn == WAITING
    told = busy(second)
    assert (told.code, told.status) == ("InfrastructureBusy", 503) and told.headers["Retry-After"]
    pool.gate.set()
    for thread in threads:
        thread.join(10)
    assert maps.tile(second, Tile(14, 8264, 5990), PNG)


def test_failures_are_told_once(maps: Maps, service: Head, pool: CountingPool, database: Database) -> None:
    pool.error = OpenEOError("ProcessParameterInvalid", "band 'B99' does not exist", path=("load",))
    for _ in range(3):
        with pytest.raises(OpenEOError, match="B99"):
            maps.tile(service, TILE, PNG)
    assert len(pool.asked) == 1  # the service as a whole does not work: not tried for every tile
    assert entries(database, service) == [("error", "band 'B99' does not exist")]
    with database.session(read_only=True) as session:
        (entry,) = logs.logs(session, service.id)
    assert (entry.code, entry.path) == ("ProcessParameterInvalid", ["load"])


def test_a_tile_that_fails_may_work_later(maps: Maps, service: Head, pool: CountingPool, database: Database) -> None:
    maps.about(service)
    pool.error = OpenEOError("StorageFailure", "a file is gone")
    with pytest.raises(OpenEOError):
        maps.tile(service, TILE, PNG)
    pool.error = None
    assert maps.tile(service, TILE, PNG) == b"9/258/187"
    assert entries(database, service) == [
        ("info", "looked"),
        ("error", "a file is gone"),
        ("warning", "one file is damaged"),
    ]


def test_logs_are_bounded(database: Database, service: Head) -> None:
    with database.session() as session:
        for n in range(services.LOG_MAX + 5):
            logs.add_log(session, service.id, "info", str(n))
        logs.add_log(session, "another", "info", "kept")
        services.trim_log(session, service.id)
        assert [e.message for e in logs.logs(session, service.id)][:1] == ["5"]
        assert len(logs.logs(session, service.id)) == services.LOG_MAX and logs.logs(session, "another")
