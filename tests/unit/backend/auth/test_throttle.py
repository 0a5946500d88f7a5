"""Logins that fail too often have to wait; nobody else does, and nobody for good."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from backend.auth import basic, throttle
from backend.errors import OpenEOError
from backend.store import logins, users
from backend.store.db import Database
from backend.store.models import LoginFailures

HOME, OFFICE, AWAY = "198.51.100.7", "2001:db8:1:2::5", "203.0.113.9"
LIMIT = 3


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr("backend.auth.passwords.generate_password_hash", lambda password, method: f"hash {password}")
    monkeypatch.setattr("backend.auth.passwords.check_password_hash", lambda kept, given: kept == f"hash {given}")
    database = Database(f"sqlite:///{tmp_path / 'tuile.sqlite'}")
    database.upgrade()
    with database.session() as session:
        for name in ("alice", "bob"):
            users.set_user(session, name, "right")
    yield database
    database.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[timedelta]:
    """What the time of failures is ahead of now; a test changes the entry."""
    ahead = [timedelta()]
    monkeypatch.setattr(logins, "now", lambda: datetime.now(UTC) + ahead[0])
    return ahead


def login(database: Database, name: str, password: str, address: str = HOME) -> str:
    """``ok``, or the code of the error."""
    try:
        basic.login(database, name, password, address=address, limit=LIMIT)
    except OpenEOError as error:
        return error.code
    return "ok"


def rows(database: Database) -> int:
    with database.session(read_only=True) as session:
        return session.scalar(select(func.count()).select_from(LoginFailures)) or 0


@pytest.mark.parametrize("name", ["alice", "nobody", "nul\0", "long" * 1000])
def test_the_limit_of_a_name_holds_over_all_addresses(database: Database, name: str) -> None:
    answers = [login(database, name, "wrong", f"192.0.2.{k}") for k in range(LIMIT + 2)]
    assert answers == ["CredentialsInvalid"] * LIMIT + ["TooManyRequests"] * 2


def test_the_right_password_waits_too(database: Database) -> None:
    for _ in range(LIMIT):
        login(database, "alice", "wrong")
    assert login(database, "alice", "right") == "TooManyRequests"
    assert login(database, "bob", "right") == "ok"


def test_the_wait_is_told_and_ends(database: Database, clock: list[timedelta]) -> None:
    for _ in range(LIMIT):
        login(database, "alice", "wrong")
    with pytest.raises(OpenEOError) as caught:
        basic.login(database, "alice", "right", address=HOME, limit=LIMIT)
    wait = int(caught.value.headers["Retry-After"])
    assert caught.value.status == 429 and f"Wait {wait} seconds" in caught.value.message
    assert wait == throttle.WINDOW.total_seconds() / LIMIT
    clock[0] = timedelta(seconds=wait - 5)
    assert login(database, "alice", "right") == "TooManyRequests"
    clock[0] = timedelta(seconds=wait)
    assert login(database, "alice", "right") == "ok"


def test_refused_attempts_do_not_prolong_the_wait(database: Database, clock: list[timedelta]) -> None:
    for _ in range(20 * LIMIT):
        login(database, "alice", "wrong")
    clock[0] = throttle.WINDOW / LIMIT
    assert login(database, "alice", "right") == "ok"


def test_right_passwords_are_not_counted(database: Database) -> None:
    assert [login(database, "alice", "right") for _ in range(6 * LIMIT)] == ["ok"] * 6 * LIMIT


def test_strangers_cannot_keep_a_user_out_where_she_was_before(database: Database) -> None:
    assert login(database, "alice", "right", OFFICE) == "ok"
    for k in range(LIMIT + 1):
        login(database, "alice", "wrong", f"192.0.2.{k}")
    assert login(database, "alice", "right", HOME) == "TooManyRequests"
    assert login(database, "alice", "right", "2001:db8:1:2:ffff::1") == "ok"  # another address of the same network


def test_a_known_address_has_its_own_limit(database: Database) -> None:
    assert login(database, "alice", "right") == "ok"
    assert [login(database, "alice", "wrong") for _ in range(LIMIT + 1)][-1] == "TooManyRequests"
    assert login(database, "alice", "right", AWAY) == "ok"


def test_one_address_cannot_try_many_names(database: Database) -> None:
    most = int(throttle.PER_ADDRESS * LIMIT)
    answers = [login(database, f"name {k}", "wrong", AWAY) for k in range(most + 1)]
    assert answers == ["CredentialsInvalid"] * most + ["TooManyRequests"]
    assert login(database, "alice", "right", HOME) == "ok"


def test_many_at_once_are_no_way_around(database: Database) -> None:
    answers: list[str] = []
    ask = lambda: answers.append(login(database, "alice", "wrong"))  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count("CredentialsInvalid") == LIMIT and answers.count("TooManyRequests") == 12 - LIMIT


def test_rows_go_when_they_say_nothing_any_more(database: Database, clock: list[timedelta]) -> None:
    for k in range(10):
        login(database, f"name {k}", "wrong", f"192.0.2.{k}")
    assert rows(database) == 20
    for _ in range(50):  # refused ones leave none
        login(database, "name 0", "wrong", AWAY)
    assert rows(database) <= 21
    clock[0] = throttle.WINDOW * 2
    assert login(database, "alice", "right") == "ok"
    assert rows(database) == 3  # her name, her address, and that she was here
    clock[0] = throttle.REMEMBERED + 3 * throttle.WINDOW
    login(database, "bob", "wrong", AWAY)
    assert rows(database) == 2


def test_no_limit(database: Database) -> None:
    for _ in range(4 * LIMIT):
        with pytest.raises(OpenEOError, match="CredentialsInvalid"):
            basic.login(database, "alice", "wrong", address=HOME, limit=0)
    assert rows(database) == 0
