"""``tuile worker``: a supervised worker process, and the reaper beside it.

The supervisor starts `backend.jobs.main` (Celery with a pool of *threads*) and starts it again when it dies. A Celery
task only watches a computing process (`backend.jobs.process`), so threads suffice: Celery's own forking pool would fork
a process that has threads and database connections, could not end a computation in the middle, and would keep GDAL's
handles and caches from job to job.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType

import click

from backend.jobs.app import QUEUES, Sender
from backend.jobs.handover import environment
from backend.jobs.reaper import Reaper
from backend.settings import Settings
from backend.store.db import Database

LOG = logging.getLogger("tuile.jobs")
GRACE = 15.0  # seconds a worker has to give its work back
BACKOFF = (0.5, 30.0)  # seconds before a worker that died at once is started again: first and most
HEALTHY = 60.0  # seconds after which a worker that dies is not taken for one that cannot start


class Supervisor:
    """Keeps one worker process running.

    Parameters
    ----------
    settings : what the worker is started with
    queues : whose messages it takes
    """

    def __init__(self, settings: Settings, queues: Sequence[str] = QUEUES):
        self._settings, self._queues = settings, tuple(queues)
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    @property
    def pid(self) -> int | None:
        """Process id of the worker, while there is one."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        self._process = self._spawn()
        self._thread.start()

    def stop(self) -> None:
        """Tell the worker to end; it gives its work back. Kills it if it does not within some seconds."""
        self._stop.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._thread.join(GRACE)

    def _spawn(self) -> subprocess.Popen[bytes]:
        import os

        # the pipe tells the worker when its supervisor is gone, however that happened
        return subprocess.Popen(
            [sys.executable, "-m", "backend.jobs.main", ",".join(self._queues)],
            env={**os.environ, **environment(self._settings)},
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the supervisor, which then tells the worker
        )

    def _run(self) -> None:
        pause = BACKOFF[0]
        while not self._stop.is_set():
            assert self._process is not None
            born = time.monotonic()
            code = self._process.wait()
            if self._stop.is_set():
                return
            pause = BACKOFF[0] if time.monotonic() - born > HEALTHY else min(2 * pause, BACKOFF[1])
            LOG.error("the worker process ended with %s; it is started again in %.1f s", code, pause)
            if self._stop.wait(pause):
                return
            self._process = self._spawn()


@contextlib.contextmanager
def beside(settings: Settings, queues: Sequence[str] = QUEUES) -> Iterator[Supervisor]:
    """A worker process, supervised, and the reaper, while the block runs."""
    database = Database(settings.database)
    if database.is_sqlite:
        database.upgrade()
    supervisor = Supervisor(settings, queues)
    with Reaper(settings, database, Sender(settings)):
        supervisor.start()
        try:
            yield supervisor
        finally:
            supervisor.stop()
            database.close()


@click.command("worker")
@click.option("--queues", default=",".join(QUEUES), show_default=True, help="Queues to take work from, by comma.")
@click.option("--slots", type=click.IntRange(1), help="Jobs and stage tasks at once. Default: TUILE_WORKER_SLOTS.")
def worker_command(queues: str, slots: int | None) -> None:
    """Compute batch jobs and stages of chains."""
    from backend import serverlog

    serverlog.configure()
    wanted = [q.strip() for q in queues.split(",") if q.strip()]
    if unknown := [q for q in wanted if q not in QUEUES]:
        raise click.UsageError(f"There is no queue {', '.join(unknown)}; there are {', '.join(QUEUES)}.")
    settings = Settings()
    if slots is not None:
        settings = settings.model_copy(update={"worker_slots": slots})
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    told = threading.Event()

    def stop(signum: int, frame: FrameType | None) -> None:
        told.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with beside(settings, wanted):
        click.echo(f"Tuile worker takes {', '.join(wanted)} from {_broker(settings)}", err=True)
        told.wait()


def _broker(settings: Settings) -> str:
    if settings.embedded_broker:
        return f"the folder {settings.data_dir / 'broker'}"
    from kombu.utils.url import maybe_sanitize_url

    return maybe_sanitize_url(settings.broker_url or "")
