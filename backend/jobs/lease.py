"""What a worker does while a computation runs: keep the lease, write progress and log, notice when to stop."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from backend.jobs.messages import Log
from backend.store.db import Database
from backend.store.logs import LEVELS, add_log

LOG = logging.getLogger("tuile.jobs")
STOPPING = threading.Event()  # set when this worker is told to end
BEATS = 3  # heartbeats per lease


class LeaseLost(Exception):
    """Somebody else works on it, or it was canceled or deleted: stop, and touch nothing."""


class ShutDown(Exception):
    """The worker ends: give the work back."""


def new_owner() -> str:
    """A name for this piece of work by this worker, used once."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"


class Keeper:
    """Keeps one lease. `check` is called several times per second and raises when work must stop.

    Parameters
    ----------
    database : the store
    beat : renews the lease in a session, with progress in percent (or None); False if it is lost
    alive : looks in a session whether the lease is still ours (cheap; called every second)
    lease_seconds : how long a lease lasts
    sources : logs that entries go to; called when there is something to write
    level : the least severe level to write
    base : progress in percent that earlier runs and stages have reached; this run goes on from there
    """

    def __init__(
        self,
        database: Database,
        beat: Callable[[Session, float | None], bool],
        alive: Callable[[Session], bool],
        *,
        lease_seconds: float,
        sources: Callable[[Session], list[str]],
        level: str = "debug",
        base: float = 0.0,
    ):
        self._database, self._beat, self._alive, self._sources = database, beat, alive, sources
        self._lease, self._levels = lease_seconds, LEVELS[: LEVELS.index(level) + 1]
        self._second = min(1.0, lease_seconds / BEATS)
        self._looked = self._kept = time.monotonic()
        self._percent: float | None = None
        self._base = min(base, 99.0)
        self._entries: list[Log] = []

    def log(self, entry: Log) -> None:
        """Take an entry; it is written within a second."""
        if entry.level in self._levels:
            self._entries.append(entry)

    def progress(self, share: float) -> None:
        """Take note of progress (0 to 1). 100 % is for a finished job alone."""
        self._percent = self._base + (99.0 - self._base) * min(1.0, share)

    def check(self) -> None:
        """Write what is to be written; raises `ShutDown` or `LeaseLost`."""
        if STOPPING.is_set():
            raise ShutDown
        now = time.monotonic()
        if now - self._looked < self._second:
            return
        self._looked = now
        try:
            self._write(now)
        except OperationalError as error:  # the database is busy or away: the lease is ours until it ends
            LOG.warning("the database does not answer: %s", error)
            if now - self._kept > self._lease:
                raise LeaseLost from error

    def _write(self, now: float) -> None:
        due = now - self._kept >= self._lease / BEATS
        if not (due or self._percent is not None or self._entries):
            with self._database.session(read_only=True) as session:
                if not self._alive(session):
                    raise LeaseLost
            return
        with self._database.session() as session:
            if not self._beat(session, self._percent):
                raise LeaseLost
            self._flush(session)
        self._kept, self._percent, self._entries = now, None, []

    def flush(self, session: Session) -> None:
        """Write the entries that wait, as part of a session that ends the work."""
        self._flush(session)
        self._entries = []

    def _flush(self, session: Session) -> None:
        if not self._entries:
            return
        for source in self._sources(session):
            for e in self._entries:
                add_log(session, source, e.level, e.message, code=e.code, path=e.path, data=e.data)
