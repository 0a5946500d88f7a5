"""Stages: every task done once, jobs woken once, nothing waits for ever."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from backend.store import jobs, stages
from backend.store.db import Database
from backend.store.types import now

TASKS = {"a": {"n": 1}, "b": {"n": 2}, "c": {"n": 3}}


@pytest.fixture
def job_id(database: Database, user_id: str) -> str:
    """A job that runs at worker w."""
    with database.session() as session:
        job_id = jobs.create(session, user_id, {"process_graph": {}}).id
        jobs.transition(session, job_id, ("created",), "queued")
        assert jobs.claim(session, job_id, "w")
        return job_id


def submit(database: Database) -> list[str]:
    with database.session() as session:
        return stages.submit(session, "stage", "lis_snow", "chains", TASKS)


def test_last_task_wakes_the_waiting_job(database: Database, job_id: str) -> None:
    assert submit(database) == ["a", "b", "c"]
    with database.session() as session:
        assert jobs.wait_for_stage(session, job_id, "w", "stage")
        assert jobs.claim(session, job_id, "v") is None
        assert jobs.expired(session, now() + timedelta(days=1)) == []
        woken = []
        for key in TASKS:
            task = stages.claim_task(session, "stage", key, "w")
            assert task is not None and task.payload == TASKS[key]
            woken.append(stages.finish_task(session, "stage", key))
        assert woken == [[], [], [job_id]]
        assert stages.finish_task(session, "stage", "c") == []  # delivered twice
        row = stages.get(session, "stage")
        assert row is not None and (row.status, row.remaining, row.total) == ("finished", 0, 3)
        assert jobs.claim(session, job_id, "v")


def test_submitting_again_joins(database: Database) -> None:
    submit(database)
    assert submit(database) == []


def test_submit_raced_by_several(database: Database) -> None:
    sent: list[str] = []
    threads = [threading.Thread(target=lambda: sent.extend(submit(database))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sent) == ["a", "b", "c"]


def test_stage_that_ended_meanwhile_is_not_waited_for(database: Database, job_id: str) -> None:
    submit(database)
    with database.session() as session:
        for key in TASKS:
            stages.finish_task(session, "stage", key)
        assert not jobs.wait_for_stage(session, job_id, "w", "stage")
        assert jobs.heartbeat(session, job_id, "w")  # still ours: go on


def test_waiting_needs_the_lease(database: Database, job_id: str) -> None:
    submit(database)
    with database.session() as session:
        assert not jobs.wait_for_stage(session, job_id, "somebody else", "stage")


def test_failed_task_fails_the_stage_and_wakes(database: Database, job_id: str) -> None:
    submit(database)
    with database.session() as session:
        jobs.wait_for_stage(session, job_id, "w", "stage")
        stages.claim_task(session, "stage", "a", "w")
        stages.finish_task(session, "stage", "a")
        stages.claim_task(session, "stage", "b", "w")
        assert stages.fail_task(session, "stage", "b", "w", "NoDataAvailable", "no DEM") == [job_id]
        row = stages.get(session, "stage")
        assert row is not None and (row.status, row.error_code, row.error_message) == (
            "error", "NoDataAvailable", "no DEM",
        )  # fmt: skip
    # the next to ask tries the rest again
    assert submit(database) == ["b", "c"]
    with database.session() as session:
        assert stages.finish_task(session, "stage", "b") == []
        assert stages.finish_task(session, "stage", "c") == []
        assert stages.get(session, "stage").status == "finished"  # type: ignore[union-attr]


def test_task_of_a_dead_worker_is_found_and_taken(database: Database) -> None:
    submit(database)
    with database.session() as session:
        assert stages.expired_tasks(session) == []
        stages.claim_task(session, "stage", "a", "dead", lease_seconds=-1)
        assert stages.expired_tasks(session) == [("chains", "stage", "a")]
        assert stages.claim_task(session, "stage", "a", "alive")
        assert not stages.heartbeat_task(session, "stage", "a", "dead")
        assert stages.heartbeat_task(session, "stage", "a", "alive")
        assert stages.claim_task(session, "stage", "a", "third") is None
        later = now() + timedelta(seconds=31)
        stages.sent_tasks(session, "stage", ["c"])
        assert {k for _, _, k in stages.expired_tasks(session, later)} == {"a", "b", "c"}


def test_last_two_tasks_at_once_wake_once(database: Database, job_id: str) -> None:
    submit(database)
    with database.session() as session:
        jobs.wait_for_stage(session, job_id, "w", "stage")
        stages.finish_task(session, "stage", "a")
    woken: list[str] = []

    def finish(key: str) -> None:
        with database.session() as session:
            woken.extend(stages.finish_task(session, "stage", key))

    threads = [threading.Thread(target=finish, args=(k,)) for k in ("b", "c", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert woken == [job_id]
