"""Small questions about stages that workers ask of the store."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.store import stages
from backend.store.models import Job, StageTask
from backend.store.types import now

# Stages before the last pass over the pixels count for so much of a job's progress, in percent.
SHARE = 50.0


def waiting_jobs(session: Session, stage_key: str) -> list[str]:
    """Ids of the jobs that wait for a stage: their logs tell of its tasks."""
    return list(session.scalars(select(Job.id).where(Job.waiting_stage == stage_key).order_by(Job.id)))


def note_progress(session: Session, stage_key: str) -> None:
    """One more task of a stage is about to be finished: waiting jobs are so much further."""
    stage = stages.get(session, stage_key)
    if stage is None or stage.total == 0:
        return
    percent = SHARE * min(1.0, (stage.total - stage.remaining + 1) / stage.total)
    session.execute(
        update(Job)
        .where(Job.waiting_stage == stage_key, Job.progress < percent)
        .values(progress=percent, updated=now())
        .execution_options(synchronize_session=False)
    )


def release_task(session: Session, stage_key: str, key: str, owner: str, *, failed: bool) -> None:
    """Give a task back undone: anybody may claim it.

    ``failed``: its process died, and the caller sends a message; else the worker ends in good order: that attempt does
    not count, and the next worker's reaper finds the task.
    """
    session.execute(
        update(StageTask)
        .where(StageTask.stage_key == stage_key, StageTask.key == key, StageTask.lease_owner == owner)
        .values(
            status="pending",
            lease_owner=None,
            lease_until=None,
            sent=now() if failed else None,
            attempt=StageTask.attempt if failed else StageTask.attempt - 1,
        )
        .execution_options(synchronize_session=False)
    )
