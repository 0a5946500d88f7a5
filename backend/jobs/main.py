"""The worker process: Celery, its tasks, and nothing heavy. Started by `backend.jobs.worker`."""

from __future__ import annotations

import os
import sys
import threading
import warnings

from celery.platforms import SecurityWarning
from celery.signals import worker_ready, worker_shutting_down

from backend import serverlog
from backend.jobs.app import QUEUES, Sender, make_app
from backend.jobs.lease import STOPPING
from backend.jobs.tasks import Runner, register
from backend.settings import Settings
from backend.store.db import Database


def main(queues: str) -> None:
    """Take messages from ``queues`` (by comma) until told to end."""
    serverlog.configure()
    settings = Settings()
    _end_with_supervisor()
    runner = Runner(settings, Database(settings.database), Sender(settings))
    app = make_app(settings)
    register(app, runner)

    @worker_ready.connect(weak=False)
    def ready(**_: object) -> None:
        runner.for_jobs.warm(settings.worker_slots if "jobs" in queues else 0)

    @worker_shutting_down.connect(weak=False)
    def stopping(**_: object) -> None:
        STOPPING.set()

    # Celery warns of root because of pickled messages; ours are JSON, and containers often run as root
    warnings.simplefilter("ignore", SecurityWarning)
    worker = app.Worker(
        pool_cls="threads",
        concurrency=settings.worker_slots,
        queues=queues,
        loglevel="WARNING",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    try:
        worker.start()
    finally:
        runner.close()


def _end_with_supervisor() -> None:
    """End at once when the supervisor is gone: whoever starts it again expects one worker, not two."""

    def watch() -> None:
        os.read(0, 1)
        os._exit(1)  # computing processes notice by their own sockets

    threading.Thread(target=watch, daemon=True, name="supervisor").start()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ",".join(QUEUES))
