"""Logs: order, offset, level, limit."""

from __future__ import annotations

import pytest

from backend.store import logs
from backend.store.db import Database


def test_entries_come_back_in_order_with_everything(database: Database) -> None:
    with database.session() as session:
        for level in ("info", "error", "debug", "warning"):
            logs.add_log(session, "job", level, f"a {level}", code="C", path=["load1", "x"], data={"nan": float("nan")})
        logs.add_log(session, "another", "error", "not mine")
    with database.session(read_only=True) as session:
        found = logs.logs(session, "job")
        assert [e.level for e in found] == ["info", "error", "debug", "warning"]
        assert (found[0].path, found[0].data, found[0].code) == (["load1", "x"], {"nan": None}, "C")
        assert [e.level for e in logs.logs(session, "job", level="warning")] == ["error", "warning"]
        assert [e.id for e in logs.logs(session, "job", offset=found[1].id)] == [found[2].id, found[3].id]
        assert [e.id for e in logs.logs(session, "job", limit=2)] == [found[0].id, found[1].id]
        last = logs.last_error(session, "job")
        assert last is not None and last.message == "a error"
        assert logs.last_error(session, "nobody") is None


def test_unknown_level_is_refused(database: Database) -> None:
    with database.session() as session, pytest.raises(ValueError, match="shout"):
        logs.add_log(session, "job", "shout", "x")


def test_ids_are_never_used_again(database: Database) -> None:
    with database.session() as session:
        first = logs.add_log(session, "job", "info", "x")
        logs.remove(session, "job")
        assert logs.add_log(session, "job", "info", "y") > first
