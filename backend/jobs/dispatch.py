"""Stages of chains on workers: the coordinator submits the tasks and stops; the last task to finish wakes it.

In the computing process, `Elsewhere` is the `processes.env.Dispatch`: it only says "not here". The worker that owns the
process then calls `submit`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from backend.errors import OpenEOError
from backend.jobs.app import Sender
from backend.store import stages
from backend.store.db import Database
from backend.store.jobs import wait_for_stage
from backend.store.models import Job

if TYPE_CHECKING:
    import pystac

    from processes.env import Env
    from processes.stages import Stage, Task


class Elsewhere:
    """Sends every stage that is not finished to other workers."""

    def run(self, stage: Stage, env: Env) -> list[pystac.Item]:
        from processes.stages import StagePending

        raise StagePending(stage)


def submit(database: Database, sender: Sender, job: Job, owner: str, stage: Stage, queue: str) -> bool:
    """Make the job wait for a stage and send the stage's tasks into ``queue``.

    Returns
    -------
    False if there is nothing to wait for, because the stage ended in the meantime: run the job again.

    Raises
    ------
    OpenEOError
        The stage failed since the job was started; trying again would fail again.
    """
    with database.session() as session:
        row = stages.get(session, stage.key)
        if row is not None and row.status == "error" and job.queued is not None and row.updated >= job.queued:
            raise OpenEOError(row.error_code or "Internal", row.error_message or f"The stage {stage.chain} failed.")
        payloads = {task.key: asdict(task) for task in stage.tasks}
        keys = stages.submit(session, stage.key, stage.chain, queue, payloads)
        waits = wait_for_stage(session, job.id, owner, stage.key)
        if waits:  # claims count attempts to find jobs that kill workers; waiting in good order is none
            session.execute(update(Job).where(Job.id == job.id).values(attempt=0))
    for key in keys:
        sender.task(queue, stage.key, key)
    return waits


def task_of(payload: dict[str, Any]) -> Task:
    """The task a stage's row keeps."""
    from processes.stages import Task

    return Task(payload["chain"], tuple(payload["items"]), payload["params"], payload["key"])
