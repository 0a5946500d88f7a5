"""Stages of chains: which tasks are left, who does them, which jobs wait.

A stage is a row that counts down. Each task is leased like a job; the one whose end brings the count to zero, found by
compare-and-set, is told which jobs to wake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.store import jobs
from backend.store.db import changed_one
from backend.store.models import StageRow, StageTask
from backend.store.types import now


def submit(session: Session, key: str, chain: str, queue: str, tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Make sure the stage exists and is not failed; returns the keys of the tasks that are to be sent.

    ``tasks`` maps a task's key to its payload. A stage that another job submitted is joined (nothing to send); one
    that failed before is tried again from its unfinished tasks.
    """
    if _insert(session, key, chain, queue, tasks):
        return list(tasks)
    stage = session.get_one(StageRow, key, populate_existing=True, with_for_update=True)
    if stage.status == "pending":
        return []
    # Finished (but its products are gone, else nobody would ask) or failed: all or the unfinished tasks again.
    again = list(stage_tasks(session, key)) if stage.status == "finished" else _unfinished(session, key)
    for task in again:
        task.status, task.attempt, task.sent = "pending", 0, now()
        task.lease_owner = task.lease_until = task.error_code = task.error_message = None
    stage.status, stage.remaining, stage.updated = "pending", len(again), now()
    stage.error_code = stage.error_message = None
    session.flush()
    return [task.key for task in again]


def get(session: Session, key: str) -> StageRow | None:
    return session.get(StageRow, key, populate_existing=True)


def stage_tasks(session: Session, key: str) -> list[StageTask]:
    return list(session.scalars(select(StageTask).where(StageTask.stage_key == key).order_by(StageTask.key)))


def claim_task(
    session: Session, stage_key: str, key: str, owner: str, lease_seconds: float = jobs.LEASE_SECONDS
) -> StageTask | None:
    """Take a task to do it; None if it is done or somebody else's lease is alive."""
    time = now()
    free = or_(StageTask.lease_until.is_(None), StageTask.lease_until < time)
    statement = (
        update(StageTask)
        .where(_is(stage_key, key), StageTask.status.in_(("pending", "running")), free)
        .values(
            status="running",
            lease_owner=owner,
            lease_until=time + timedelta(seconds=lease_seconds),
            attempt=StageTask.attempt + 1,
        )
    )
    return session.get(StageTask, (stage_key, key), populate_existing=True) if changed_one(session, statement) else None


def heartbeat_task(
    session: Session, stage_key: str, key: str, owner: str, lease_seconds: float = jobs.LEASE_SECONDS
) -> bool:
    """Renew the lease; False means it was lost: stop working."""
    mine = and_(_is(stage_key, key), StageTask.status == "running", StageTask.lease_owner == owner)
    until = now() + timedelta(seconds=lease_seconds)
    return changed_one(session, update(StageTask).where(mine).values(lease_until=until))


def finish_task(session: Session, stage_key: str, key: str) -> list[str]:
    """The task's products are there. Returns the jobs to wake if it was the stage's last, else nothing.

    Whoever finishes counts, lease or not: the products are in the workspace.
    """
    done = (
        update(StageTask)
        .where(_is(stage_key, key), StageTask.status.in_(("pending", "running")))
        .values(status="finished", lease_owner=None, lease_until=None)
    )
    if not changed_one(session, done):
        return []
    session.execute(
        update(StageRow)
        .where(StageRow.key == stage_key)
        .values(remaining=StageRow.remaining - 1, updated=now())
        .execution_options(synchronize_session=False)
    )
    last = (
        update(StageRow)
        .where(StageRow.key == stage_key, StageRow.status == "pending", StageRow.remaining <= 0)
        .values(status="finished")
    )
    return jobs.resume(session, stage_key) if changed_one(session, last) else []


def fail_task(session: Session, stage_key: str, key: str, owner: str, code: str, message: str) -> list[str]:
    """The task cannot be done: the stage fails. Returns the jobs to wake (they find the error on the stage)."""
    error = {"status": "error", "error_code": code, "error_message": message}
    mine = and_(_is(stage_key, key), StageTask.status == "running", StageTask.lease_owner == owner)
    if not changed_one(session, update(StageTask).where(mine).values(**error, lease_owner=None, lease_until=None)):
        return []
    failed = update(StageRow).where(StageRow.key == stage_key, StageRow.status == "pending")
    return jobs.resume(session, stage_key) if changed_one(session, failed.values(**error, updated=now())) else []


def expired_tasks(
    session: Session, at: datetime | None = None, *, unsent_for: float = jobs.LEASE_SECONDS
) -> list[tuple[str, str, str]]:
    """``(queue, stage key, task key)`` of tasks of pending stages that nobody works on (see `jobs.expired`)."""
    at = at or now()
    forgotten = or_(StageTask.sent.is_(None), StageTask.sent < at - timedelta(seconds=unsent_for))
    query = (
        select(StageRow.queue, StageTask.stage_key, StageTask.key)
        .join(StageRow, StageRow.key == StageTask.stage_key)
        .where(
            StageRow.status == "pending",
            StageTask.status.in_(("pending", "running")),
            or_(StageTask.lease_until < at, and_(StageTask.lease_until.is_(None), forgotten)),
        )
        .order_by(StageRow.created, StageTask.key)
    )
    return [(queue, stage_key, key) for queue, stage_key, key in session.execute(query)]


def sent_tasks(session: Session, stage_key: str, keys: Iterable[str]) -> None:
    """Note that messages for these tasks have gone to the broker."""
    which = and_(StageTask.stage_key == stage_key, StageTask.key.in_(list(keys)))
    session.execute(update(StageTask).where(which).values(sent=now()))


def remove(session: Session, key: str) -> None:
    session.execute(delete(StageTask).where(StageTask.stage_key == key))
    session.execute(delete(StageRow).where(StageRow.key == key))


def _insert(session: Session, key: str, chain: str, queue: str, tasks: Mapping[str, Mapping[str, Any]]) -> bool:
    """Insert stage and tasks; False if the stage is there (also when another process inserts it at this moment)."""
    if get(session, key) is not None:
        return False
    try:
        with session.begin_nested():
            session.add(StageRow(key=key, chain=chain, queue=queue, total=len(tasks), remaining=len(tasks)))
            session.flush()
    except IntegrityError:
        return False
    session.add_all(StageTask(stage_key=key, key=k, payload=dict(p), sent=now()) for k, p in tasks.items())
    session.flush()
    return True


def _unfinished(session: Session, key: str) -> list[StageTask]:
    return [t for t in stage_tasks(session, key) if t.status != "finished"]


def _is(stage_key: str, key: str):  # type: ignore[no-untyped-def]
    return and_(StageTask.stage_key == stage_key, StageTask.key == key)
