"""The pool: who does not know a service is told, who dies is replaced, who takes too long is stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.errors import OpenEOError
from backend.jobs.messages import Broken, Failed
from backend.jobs.process import Died
from backend.services import pool as module
from backend.services.child import SHARE, UNPACKED, Painters
from backend.services.messages import About, AboutRequest, Found, Spec, Unknown
from backend.services.pool import TilePool
from backend.settings import Settings
from processes.load import kept

FOUND = Found(About((0, 0, 1, 1), 1.0, (0.0,), (1.0,)))
SPEC = Spec("key", {"process_graph": {}}, {}, "user", {})


class Actor:
    """A process that plays a part: each request takes the next answer of ``script``."""

    def __init__(self, script: list[Any]):
        self.script, self.runs, self.asked, self.killed = script, 0, [], False

    def run(self, request: Any, *, log: Any, progress: Any, check: Callable[[], None]) -> Any:
        self.runs += 1
        self.asked.append(request)
        check()
        answer = self.script.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def kill(self) -> None:
        self.killed = True


class Troupe:
    """As much of `backend.jobs.process.Spares` as the pool uses."""

    def __init__(self, *actors: Actor):
        self.waiting, self.back = list(actors), []

    def take(self) -> Actor:
        return self.waiting.pop(0)

    def give_back(self, actor: Actor) -> None:
        self.back.append(actor)


@pytest.fixture
def pool(tmp_path: Path) -> Callable[..., TilePool]:
    def make(*actors: Actor) -> TilePool:
        made = TilePool(Settings(_env_file=None, data_dir=tmp_path, tile_slots=1))  # type: ignore[call-arg]
        made._spares = Troupe(*actors)  # type: ignore[assignment]
        return made

    return make


def test_a_process_is_told_what_it_does_not_know(pool: Any) -> None:
    actor = Actor([Unknown(), FOUND])
    made = pool(actor)
    assert made.ask(AboutRequest("key"), SPEC) == FOUND
    assert [r.spec for r in actor.asked] == [None, SPEC] and made._spares.back == [actor]


def test_who_dies_is_replaced_once(pool: Any) -> None:
    first, second = Actor([Died(-9, False, 0)]), Actor([FOUND])
    made = pool(first, second)
    assert made.ask(AboutRequest("key"), SPEC) == FOUND
    assert first.killed and made._spares.back == [second]
    with pytest.raises(OpenEOError, match="SIGSEGV"):
        pool(Actor([Died(-11, False, 0)]), Actor([Died(-11, False, 0)])).ask(AboutRequest("key"), SPEC)
    with pytest.raises(OpenEOError) as caught:  # what took all memory is not tried again
        pool(Actor([Died(-9, True, 1 << 30)])).ask(AboutRequest("key"), SPEC)
    assert caught.value.code == "MemoryExceeded"


def test_mistakes_leave_the_process_alive(pool: Any) -> None:
    actor = Actor([Failed(OpenEOError("NoDataAvailable", "nothing there")), Broken("KeyError: 'x'", "Traceback ...")])
    made = pool(actor)
    with pytest.raises(OpenEOError, match="nothing there"):
        made.ask(AboutRequest("key"), SPEC)
    assert made._spares.back == [actor]
    made._spares.waiting.append(actor)
    with pytest.raises(OpenEOError) as caught:
        made.ask(AboutRequest("key"), SPEC)
    assert caught.value.code == "Internal" and "KeyError" not in caught.value.message


def test_who_takes_too_long_is_stopped(pool: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "TIMEOUT", -1.0)
    actor = Actor([FOUND])
    with pytest.raises(OpenEOError) as caught:
        pool(actor).ask(AboutRequest("key"), SPEC)
    assert caught.value.code == "RequestTimeout" and actor.killed


def test_no_slot(pool: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    made = pool()
    made._slots.acquire()
    with pytest.raises(OpenEOError) as caught:
        made.ask(AboutRequest("key"), SPEC)
    assert (caught.value.code, caught.value.status) == ("InfrastructureBusy", 503)


@pytest.mark.parametrize(("limit", "share"), [(1 << 30, (1 << 29) // SHARE), (64 << 30, UNPACKED)])
def test_blocks_kept_are_part_of_the_memory(tmp_path: Path, limit: int, share: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(kept, "KEPT", kept.Kept(0))
    monkeypatch.setattr("dask.config.set", lambda **_: None)
    settings = Settings(_env_file=None, data_dir=tmp_path, tile_slots=2, memory_limit=limit)  # type: ignore[call-arg]
    painters = Painters(settings)
    assert share == kept.KEPT.size
    assert painters.memory + share == limit // 2
