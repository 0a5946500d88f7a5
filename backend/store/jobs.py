"""Jobs: state machine, leases, results.

States move by compare-and-set: an UPDATE that names the states it may leave, so that of two who try, one succeeds.
Functions take an open `Session` and do not commit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from backend.store import logs as _logs
from backend.store.db import changed_one
from backend.store.logs import add_log, logs
from backend.store.models import Job, JobAsset, StageRow
from backend.store.types import finite, now

__all__ = [
    "ACTIVE", "ENDED", "add_log", "assets", "change", "claim", "count", "create", "delete_assets", "expired", "get", "heartbeat",
    "jobs", "logs", "put_assets", "release", "remove", "resume", "sent", "total", "transition", "wait_for_stage",
]  # fmt: skip

ACTIVE = ("queued", "running")
ENDED = ("finished", "error", "canceled")
LEASE_SECONDS = 30.0


def create(session: Session, user_id: str, process: dict[str, Any], **fields: Any) -> Job:
    """Insert a job in state ``created``; ``fields`` are columns of `Job`."""
    job = Job(user_id=user_id, process=process, **fields)
    session.add(job)
    session.flush()
    return job


def get(session: Session, job_id: str, user_id: str | None = None) -> Job | None:
    """The job; with ``user_id`` only if that user owns it."""
    job = session.get(Job, job_id, populate_existing=True)
    return None if job is None or (user_id is not None and job.user_id != user_id) else job


def jobs(session: Session, user_id: str, *, limit: int | None = None, offset: int = 0) -> list[Job]:
    """A user's jobs, newest first."""
    query = select(Job).where(Job.user_id == user_id).order_by(Job.created.desc(), Job.id).offset(offset)
    return list(session.scalars(query.limit(limit) if limit is not None else query))


def total(session: Session, user_id: str) -> int:
    """How many a user has."""
    return session.scalar(select(func.count()).select_from(Job).where(Job.user_id == user_id)) or 0


def count(session: Session, states: Collection[str], user_id: str | None = None) -> int:
    """How many jobs are in ``states``."""
    query = select(func.count()).select_from(Job).where(Job.status.in_(states))
    return session.scalar(query.where(Job.user_id == user_id) if user_id is not None else query) or 0


def remove(session: Session, job_id: str) -> None:
    """Delete the row, its assets' rows and its log."""
    _logs.remove(session, job_id)
    session.execute(delete(JobAsset).where(JobAsset.job_id == job_id))
    session.execute(delete(Job).where(Job.id == job_id))


def transition(
    session: Session,
    job_id: str,
    from_states: Collection[str],
    to_state: str,
    *,
    owner: str | None = None,
    **changes: Any,
) -> bool:
    """Move a job from one of ``from_states`` to ``to_state``; False if it is in none of them.

    With ``owner``, only while that owner holds the lease. Times, lease and progress follow the state: ``queued``
    starts afresh (no error, progress 0, attempt 0), an ended state gives the lease back, ``finished`` means 100 %.
    ``changes`` are further columns to set.
    """
    time = now()
    values: dict[str, Any] = {"status": to_state, "updated": time}
    if to_state == "queued":
        values |= {"queued": time, "progress": 0.0, "attempt": 0, "sent": None} | dict.fromkeys(
            ("started", "finished", "error_code", "error_message", "usage"), None
        )
    if to_state in ENDED:
        values |= {"finished": time}
    if to_state == "finished":
        values |= {"progress": 100.0}
    if to_state != "running":
        values |= {"lease_owner": None, "lease_until": None, "waiting_stage": None}
    condition = and_(Job.id == job_id, Job.status.in_(from_states))
    if owner is not None:
        condition = and_(condition, Job.lease_owner == owner)
    return changed_one(session, update(Job).where(condition).values(**(values | changes)))


def change(session: Session, job_id: str, **columns: Any) -> bool:
    """Set columns of a job; False while it is queued or running."""
    free = update(Job).where(Job.id == job_id, Job.status.not_in(ACTIVE))
    return changed_one(session, free.values(updated=now(), **columns))


def claim(session: Session, job_id: str, owner: str, lease_seconds: float = LEASE_SECONDS) -> Job | None:
    """Take the job to run it: state ``running``, a lease for ``owner``, one more attempt.

    None if it is not queued or running, somebody else's lease is alive, or it waits for a stage.
    """
    time = now()
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.status.in_(ACTIVE), Job.waiting_stage.is_(None), _free(time))
        .values(
            status="running",
            updated=time,
            started=func.coalesce(Job.started, time),
            lease_owner=owner,
            lease_until=time + timedelta(seconds=lease_seconds),
            attempt=Job.attempt + 1,
        )
    )
    return get(session, job_id) if changed_one(session, statement) else None


def heartbeat(
    session: Session,
    job_id: str,
    owner: str,
    *,
    lease_seconds: float = LEASE_SECONDS,
    progress: float | None = None,
) -> bool:
    """Renew the lease; False means it was lost or the job was canceled: stop working.

    ``progress`` (percent) is kept if it is more than what is known.
    """
    time = now()
    mine = (Job.id == job_id, Job.status == "running", Job.lease_owner == owner)
    alive = changed_one(session, update(Job).where(*mine).values(lease_until=time + timedelta(seconds=lease_seconds)))
    if alive and progress is not None:
        more = update(Job).where(*mine, Job.progress < progress).values(progress=progress, updated=time)
        session.execute(more)
    return alive


def release(session: Session, job_id: str, owner: str) -> bool:
    """Give a running job back unfinished (the worker shuts down): anybody may claim it."""
    mine = (Job.id == job_id, Job.status == "running", Job.lease_owner == owner)
    return changed_one(session, update(Job).where(*mine).values(lease_owner=None, lease_until=None, sent=None))


def wait_for_stage(session: Session, job_id: str, owner: str, stage_key: str) -> bool:
    """Give a running job back until ``stage_key`` is done.

    False if there is nothing to wait for (the stage ended meanwhile: go on) or the lease was lost (the next heartbeat
    tells). Locks the stage, so that its last task cannot end unseen between the look and the wait.
    """
    stage = session.get(StageRow, stage_key, populate_existing=True, with_for_update=True)
    if stage is None or stage.status != "pending":
        return False
    mine = (Job.id == job_id, Job.status == "running", Job.lease_owner == owner)
    values = {"lease_owner": None, "lease_until": None, "waiting_stage": stage_key, "updated": now()}
    return changed_one(session, update(Job).where(*mine).values(**values))


def resume(session: Session, stage_key: str) -> list[str]:
    """Ids of the jobs that waited for ``stage_key``; they may be claimed from now on."""
    waiting = list(session.scalars(select(Job.id).where(Job.waiting_stage == stage_key).with_for_update()))
    session.execute(update(Job).where(Job.id.in_(waiting)).values(waiting_stage=None, sent=None))
    return waiting


def expired(session: Session, at: datetime | None = None, *, unsent_for: float = LEASE_SECONDS) -> list[str]:
    """Jobs somebody should be working on and nobody is: their lease ran out, or they have no lease and no message
    was sent for them in the last ``unsent_for`` seconds. Oldest first."""
    at = at or now()
    forgotten = or_(Job.sent.is_(None), Job.sent < at - timedelta(seconds=unsent_for))
    query = (
        select(Job.id)
        .where(
            Job.status.in_(ACTIVE),
            Job.waiting_stage.is_(None),
            or_(Job.lease_until < at, and_(Job.lease_until.is_(None), forgotten)),
        )
        .order_by(Job.queued, Job.id)
    )
    return list(session.scalars(query))


def sent(session: Session, job_ids: Iterable[str]) -> None:
    """Note that a message for these jobs has gone to the broker."""
    session.execute(update(Job).where(Job.id.in_(list(job_ids))).values(sent=now()))


def put_assets(session: Session, job_id: str, new: Sequence[JobAsset]) -> None:
    """Replace the job's assets by ``new``, in this order."""
    delete_assets(session, job_id)
    for ordinal, asset in enumerate(new):
        asset.job_id, asset.ordinal = job_id, ordinal
        asset.metadata_, asset.properties = finite(asset.metadata_ or {}), finite(asset.properties or {})
        asset.cube = finite(asset.cube)
        session.add(asset)
    session.flush()


def assets(session: Session, job_id: str) -> list[JobAsset]:
    """The job's result files, in the order saved."""
    return list(session.scalars(select(JobAsset).where(JobAsset.job_id == job_id).order_by(JobAsset.ordinal)))


def delete_assets(session: Session, job_id: str) -> None:
    session.execute(delete(JobAsset).where(JobAsset.job_id == job_id))


def _free(time: datetime) -> ColumnElement[bool]:
    return or_(Job.lease_until.is_(None), Job.lease_until < time)
