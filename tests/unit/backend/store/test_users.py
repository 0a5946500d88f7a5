"""Users, tokens, stored processes, files."""

from __future__ import annotations

from datetime import timedelta

from backend.store import files, jobs, logs, requests, udps, users
from backend.store.db import Database
from backend.store.models import LogEntry

DAY = timedelta(days=1)


def test_token_ends(database: Database, user_id: str) -> None:
    with database.session() as session:
        users.add_token(session, user_id, "old", -DAY)
        assert users.by_token(session, "old") is None
        users.add_token(session, user_id, "good", DAY)
        assert users.by_token(session, "good").id == user_id  # type: ignore[union-attr]
        users.remove_tokens(session, user_id)
        assert users.by_token(session, "good") is None


def test_identity_never_takes_over_a_name(database: Database, user_id: str) -> None:
    with database.session() as session:
        first = users.create_identity(session, "https://idp", "s1", "alice")
        second = users.create_identity(session, "https://other", "s1", "alice")
        assert len({user_id, first.id, second.id}) == 3
        assert (first.name, second.name) == ("alice (s1)", "alice (s1, https://other)")
        assert users.by_identity(session, "https://idp", "s1").id == first.id  # type: ignore[union-attr]


def test_set_user_makes_then_changes(database: Database) -> None:
    with database.session() as session:
        made = users.set_user(session, "demo", "secret one")
        before = made.password_hash
        users.add_token(session, made.id, "t", DAY)
        assert users.set_user(session, "demo", "secret two").id == made.id
        assert made.password_hash != before
        assert users.by_token(session, "t") is None


def test_removing_a_user_leaves_nothing(database: Database, user_id: str) -> None:
    with database.session() as session:
        job = jobs.create(session, user_id, {"process_graph": {}})
        logs.add_log(session, job.id, "info", "x")
        requests.put(session, "r1", user_id)
        logs.add_log(session, "r1", "info", "x")
        udps.put(session, user_id, "evi", {"process_graph": {}})
        files.put(session, user_id, "a", 1)
        users.add_token(session, user_id, "t", DAY)
        users.remove(session, users.get(session, user_id))  # type: ignore[arg-type]
    with database.session(read_only=True) as session:
        assert users.users(session) == []
        assert session.query(LogEntry).count() == 0
        assert jobs.get(session, job.id) is None


def test_stored_processes(database: Database, user_id: str) -> None:
    with database.session() as session:
        udps.put(session, user_id, "b", {"process_graph": {"x": 1}})
        udps.put(session, user_id, "a", {"process_graph": {}}, public=True)
        udps.put(session, user_id, "b", {"process_graph": {"y": None}})
        assert [r.id for r in udps.udps(session, user_id)] == ["a", "b"]
        assert [r.id for r in udps.udps(session, user_id, limit=1, offset=1)] == ["b"]
        assert udps.namespace(session, user_id)["b"] == {"process_graph": {"y": None}}
        assert udps.remove(session, user_id, "b") and not udps.remove(session, user_id, "b")
        assert udps.total(session, user_id) == 1


def test_files_count_against_quota(database: Database, user_id: str) -> None:
    with database.session() as session:
        assert files.used(session, user_id) == 0
        files.put(session, user_id, "a/b", 5)
        files.put(session, user_id, "c", 7)
        files.put(session, user_id, "c", 8)
        assert (files.used(session, user_id), files.total(session, user_id)) == (13, 2)
        files.remove(session, user_id, "a/b")
        assert [r.path for r in files.files(session, user_id)] == ["c"]


def test_requests_are_private(database: Database, user_id: str) -> None:
    with database.session() as session:
        requests.put(session, "r1", user_id)
        assert requests.belongs(session, "r1", user_id)
        assert not requests.belongs(session, "r1", "somebody else")
        assert not requests.belongs(session, "r2", user_id)
