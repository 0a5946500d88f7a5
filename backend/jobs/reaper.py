"""Finds work nobody does - a worker died, a message was lost, a broker was away - and wakes workers for it."""

from __future__ import annotations

import logging
import shutil
import threading
import time

from sqlalchemy.exc import DBAPIError

from backend.jobs.app import Sender, message_seconds
from backend.settings import Settings
from backend.store import jobs, stages
from backend.store.db import Database

LOG = logging.getLogger("tuile.jobs")
# Folders of synchronous requests whose server died are removed after this; seconds.
STALE = 86400.0


class Reaper:
    """One look every third of a lease. Any number may run: what two find is sent twice, and claimed once."""

    def __init__(self, settings: Settings, database: Database, sender: Sender):
        self._settings, self._database, self._sender = settings, database, sender
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)

    def __enter__(self) -> Reaper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def look(self) -> int:
        """Send what waits for nobody; returns how many messages went."""
        unsent = message_seconds(self._settings)
        with self._database.session(read_only=True) as session:
            lost_jobs = jobs.expired(session, unsent_for=unsent)
            lost_tasks = stages.expired_tasks(session, unsent_for=unsent)
        told = [job_id for job_id in lost_jobs if self._sender.job(job_id)]
        done = [(stage, key) for queue, stage, key in lost_tasks if self._sender.task(queue, stage, key)]
        if told or done:
            with self._database.session() as session:
                jobs.sent(session, told)
                for stage, key in done:
                    stages.sent_tasks(session, stage, [key])
            LOG.info("sent again: %d jobs, %d stage tasks", len(told), len(done))
        return len(told) + len(done)

    def _run(self) -> None:
        self._sweep()
        while not self._stop.wait(self._settings.lease_seconds / 3):
            try:
                self.look()
            except DBAPIError as error:  # the database is away; it is asked again soon
                LOG.warning("the reaper cannot reach the database: %s", error)

    def _sweep(self) -> None:
        folder = self._settings.data_dir / "sync"
        for old in folder.iterdir() if folder.is_dir() else ():
            if time.time() - old.stat().st_mtime > STALE:
                shutil.rmtree(old, ignore_errors=True)
