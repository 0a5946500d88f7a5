"""Counts of failed logins, on every database."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from backend.store import logins
from backend.store.db import Database

WINDOW = timedelta(minutes=10)


def test_counts_until_full_and_takes_back(database: Database) -> None:
    waits = []
    for _ in range(3):
        with database.session() as session:
            waits.append(logins.add(session, "k", 2.0, WINDOW))
    assert waits[:2] == [0.0, 0.0] and waits[2] == pytest.approx(300, abs=1)
    with database.session() as session:
        logins.take_back(session, "k")
        logins.take_back(session, "of nobody")
    with database.session() as session:
        assert logins.add(session, "k", 2.0, WINDOW) == 0.0


def test_kept_rows_outlive_the_window(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.session() as session:
        logins.add(session, "k", 2.0, WINDOW)
        logins.keep(session, "own", timedelta(days=1))
        logins.keep(session, "own", timedelta(days=1))
    later = logins.now() + 2 * WINDOW
    monkeypatch.setattr(logins, "now", lambda: later)
    with database.session() as session:
        logins.purge(session)
        assert [logins.kept(session, k) for k in ("own", "k")] == [True, False]
        assert logins.add(session, "own", 2.0, WINDOW) == 0.0
    with database.session(read_only=True) as session:
        assert logins.kept(session, "own")


def test_several_servers_count_together(database: Database) -> None:
    counted: list[float] = []
    errors: list[Exception] = []

    def count() -> None:
        try:
            for _ in range(5):
                with database.session() as session:
                    logins.purge(session)
                    counted.append(logins.add(session, "a", 8.0, WINDOW) or logins.add(session, "b", 8.0, WINDOW))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(counted) == 20
    assert sum(wait == 0 for wait in counted) == 8
