"""Batch jobs as the API drives them: start, cancel, delete results."""

from __future__ import annotations

import shutil
from pathlib import Path

from backend.jobs.app import Sender
from backend.settings import Settings
from backend.store import jobs, logs
from backend.store.db import Database


class Queue:
    """`backend.context.Jobs` on the database and the broker.

    Parameters
    ----------
    settings, database : the service's own
    """

    def __init__(self, settings: Settings, database: Database):
        self._settings, self._database = settings, database
        self._sender = Sender(settings)

    def start(self, job_id: str) -> None:
        """Queue a job that is not active: old results and log go, state ``queued``, a message to the workers.

        Nothing happens to a job that is queued or running. A broker that does not answer delays the job, no more.
        """
        with self._database.session() as session:
            if not jobs.transition(session, job_id, ("created", *jobs.ENDED), "queued"):
                return
            logs.remove(session, job_id)
            jobs.delete_assets(session, job_id)
            # with the row locked no worker can claim the job and write before the old files are gone
            self._clear(job_id)
        if self._sender.job(job_id):
            with self._database.session() as session:
                jobs.sent(session, [job_id])

    def cancel(self, job_id: str) -> None:
        """Stop a queued or running job: state ``canceled``. Its worker notices within a second or two."""
        with self._database.session() as session:
            if jobs.transition(session, job_id, jobs.ACTIVE, "canceled"):
                logs.add_log(session, job_id, "info", "The job was canceled.")

    def delete_results(self, job_id: str) -> None:
        """Delete result files and their rows."""
        with self._database.session() as session:
            jobs.delete_assets(session, job_id)
        self._clear(job_id)

    def folder(self, job_id: str) -> Path:
        """Where the job's result files lie."""
        return self._settings.results_dir / job_id

    def _clear(self, job_id: str) -> None:
        shutil.rmtree(self.folder(job_id), ignore_errors=True)
