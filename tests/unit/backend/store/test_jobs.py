"""The job state machine: who may do what when, and only once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from backend.store import jobs, logs
from backend.store.db import Database
from backend.store.models import Job, JobAsset
from backend.store.types import now

PROCESS = {"process_graph": {"one": {"process_id": "add", "arguments": {"x": 1, "y": None}, "result": True}}}


@pytest.fixture
def job_id(database: Database, user_id: str) -> str:
    with database.session() as session:
        return jobs.create(session, user_id, PROCESS, title="Mine").id


def queue(database: Database, job_id: str) -> None:
    with database.session() as session:
        assert jobs.transition(session, job_id, ("created", *jobs.ENDED), "queued")


def read(database: Database, job_id: str) -> Job:
    with database.session(read_only=True) as session:
        job = jobs.get(session, job_id)
        assert job is not None
        return job


def test_life_of_a_job(database: Database, job_id: str) -> None:
    job = read(database, job_id)
    assert (job.status, job.process, job.title) == ("created", PROCESS, "Mine")
    queue(database, job_id)
    with database.session() as session:
        claimed = jobs.claim(session, job_id, "w1")
        assert claimed is not None
        assert (claimed.status, claimed.lease_owner, claimed.attempt) == ("running", "w1", 1)
        assert jobs.heartbeat(session, job_id, "w1", progress=40)
        assert jobs.transition(session, job_id, ("running",), "finished", owner="w1", usage={"cpu": 1})
    job = read(database, job_id)
    assert (job.status, job.progress, job.lease_owner, job.usage) == ("finished", 100.0, None, {"cpu": 1})
    assert job.created <= job.queued <= job.started <= job.finished == job.updated  # type: ignore[operator]


def test_starting_again_starts_afresh(database: Database, job_id: str) -> None:
    queue(database, job_id)
    with database.session() as session:
        jobs.claim(session, job_id, "w1")
        jobs.heartbeat(session, job_id, "w1", progress=80)
        jobs.transition(session, job_id, ("running",), "error", error_code="X", error_message="y")
    queue(database, job_id)
    job = read(database, job_id)
    assert (job.progress, job.attempt, job.error_code, job.started, job.finished) == (0.0, 0, None, None, None)


def test_transition_only_from_given_states(database: Database, job_id: str) -> None:
    with database.session() as session:
        assert not jobs.transition(session, job_id, ("running",), "finished")
        assert not jobs.transition(session, "no such job", ("created",), "queued")
    assert read(database, job_id).status == "created"


def test_unqueued_job_cannot_be_claimed(database: Database, job_id: str) -> None:
    with database.session() as session:
        assert jobs.claim(session, job_id, "w1") is None


def test_one_of_many_claims_wins(database: Database, job_id: str) -> None:
    queue(database, job_id)
    won: list[str] = []

    def claim(owner: str) -> None:
        with database.session() as session:
            if jobs.claim(session, job_id, owner):
                won.append(owner)

    threads = [threading.Thread(target=claim, args=(f"w{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert read(database, job_id).attempt == 1


def test_lease_that_ran_out_is_taken_over(database: Database, job_id: str) -> None:
    queue(database, job_id)
    with database.session() as session:
        jobs.claim(session, job_id, "dead", lease_seconds=-1)
        assert jobs.expired(session) == [job_id]
        taken = jobs.claim(session, job_id, "alive")
        assert taken is not None and (taken.lease_owner, taken.attempt) == ("alive", 2)
        assert jobs.expired(session) == []
        # the one thought dead wakes up: it has lost everything
        assert not jobs.heartbeat(session, job_id, "dead", progress=99)
        assert not jobs.transition(session, job_id, ("running",), "finished", owner="dead")
    job = read(database, job_id)
    assert (job.status, job.progress) == ("running", 0.0)


def test_progress_never_decreases(database: Database, job_id: str) -> None:
    queue(database, job_id)
    with database.session() as session:
        jobs.claim(session, job_id, "w1")
        for value, known in ((30, 30), (10, 30), (70, 70)):
            assert jobs.heartbeat(session, job_id, "w1", progress=value)
            assert jobs.get(session, job_id).progress == known  # type: ignore[union-attr]


def test_canceled_job_loses_its_worker(database: Database, job_id: str) -> None:
    queue(database, job_id)
    with database.session() as session:
        jobs.claim(session, job_id, "w1")
        assert jobs.transition(session, job_id, jobs.ACTIVE, "canceled")
        assert not jobs.heartbeat(session, job_id, "w1")
        assert jobs.claim(session, job_id, "w2") is None
        assert jobs.expired(session, now() + timedelta(days=1)) == []


def test_forgotten_message_is_found(database: Database, job_id: str) -> None:
    queue(database, job_id)
    with database.session() as session:
        assert jobs.expired(session) == [job_id]  # never sent
        jobs.sent(session, [job_id])
        assert jobs.expired(session) == []
        assert jobs.expired(session, now() + timedelta(seconds=31)) == [job_id]
        assert jobs.expired(session, now() + timedelta(seconds=31), unsent_for=60) == []


def test_released_job_is_free_at_once(database: Database, job_id: str) -> None:
    queue(database, job_id)
    with database.session() as session:
        jobs.claim(session, job_id, "w1")
        assert not jobs.release(session, job_id, "w2")
        assert jobs.release(session, job_id, "w1")
        assert jobs.expired(session) == [job_id]
        assert jobs.claim(session, job_id, "w2")


def test_change_is_locked_while_active(database: Database, job_id: str) -> None:
    with database.session() as session:
        assert jobs.change(session, job_id, title="New")
    queue(database, job_id)
    with database.session() as session:
        assert not jobs.change(session, job_id, title="Newer")
    assert read(database, job_id).title == "New"


def test_assets_keep_order_and_drop_nan(database: Database, job_id: str) -> None:
    new = [
        JobAsset(name=n, media_type="image/tiff", roles=["data"], metadata_={"bands": [{"m": float("nan")}]}, size=3)
        for n in ("b.tif", "a.tif")
    ]
    with database.session() as session:
        jobs.put_assets(session, job_id, new)
    with database.session() as session:
        found = jobs.assets(session, job_id)
        assert [(a.name, a.ordinal) for a in found] == [("b.tif", 0), ("a.tif", 1)]
        assert found[0].metadata_ == {"bands": [{"m": None}]}
        jobs.put_assets(session, job_id, [])
        assert jobs.assets(session, job_id) == []


def test_lists_are_by_user_newest_first(database: Database, user_id: str, job_id: str) -> None:
    with database.session() as session:
        later = jobs.create(session, user_id, PROCESS, created=now() + timedelta(seconds=1)).id
        assert [j.id for j in jobs.jobs(session, user_id)] == [later, job_id]
        assert [j.id for j in jobs.jobs(session, user_id, limit=1, offset=1)] == [job_id]
        assert jobs.jobs(session, "somebody else") == []
        assert (jobs.total(session, user_id), jobs.total(session, "somebody else")) == (2, 0)
        assert jobs.get(session, job_id, "somebody else") is None


def test_remove_takes_log_and_assets(database: Database, job_id: str) -> None:
    with database.session() as session:
        logs.add_log(session, job_id, "info", "hello")
        jobs.put_assets(session, job_id, [JobAsset(name="a", media_type="x", roles=[], size=1)])
        jobs.remove(session, job_id)
    with database.session(read_only=True) as session:
        assert jobs.get(session, job_id) is None
        assert logs.logs(session, job_id) == []
        assert jobs.assets(session, job_id) == []
