"""The pool that computes synchronous requests: ``TUILE_SYNC_SLOTS`` processes, never the API's threads."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from backend.context import SyncResult
from backend.errors import OpenEOError, storage_failure
from backend.jobs.messages import Broken, Done, Failed, GraphRequest, Log, Outcome
from backend.jobs.process import Died, Spares, for_requests, out_of_memory
from backend.jobs.tasks import internal, write_log
from backend.settings import Settings
from backend.store.db import Database

WAIT = 3.0  # seconds a request waits for a slot before it is refused
LINE = 6  # requests that may wait: each holds one of the API's threads
RETRY_MOST = 60  # seconds a client is told to wait at most when it is refused
TIMEOUT = 30 * 60.0  # seconds after which a request belongs into a batch job


class SyncPool:
    """`backend.context.Sync`.

    Parameters
    ----------
    settings, database : the service's own
    spares : processes started before, of `backend.jobs.process.for_requests`
    """

    def __init__(self, settings: Settings, database: Database, spares: Spares | None = None):
        self._settings, self._database = settings, database
        self._slots = BoundedSemaphore(settings.sync_slots)
        self._line = BoundedSemaphore(LINE)
        self._seconds = 1.0  # what a request takes, lately
        self._spares = spares or for_requests(settings)

    def warm(self) -> None:
        """Start a process now, so that the first request does not wait for its imports."""
        self._spares.warm(1)

    def close(self) -> None:
        """End idle processes."""
        self._spares.close()

    def run(
        self,
        user_id: str,
        process: Mapping[str, Any],
        namespace: Mapping[str, Mapping[str, Any]],
        log_level: str,
        request_id: str,
    ) -> SyncResult:
        """Compute and wait; the caller deletes the result's folder.

        Raises
        ------
        OpenEOError
            The caller's mistakes; ``InfrastructureBusy`` (503, ``Retry-After``) where no slot is free;
            ``RequestTimeout``; ``MemoryExceeded``; ``Internal``.
        """
        if not self._slot():
            wait = self._retry_after()
            raise OpenEOError(
                "InfrastructureBusy",
                f"All {self._settings.sync_slots} slots for synchronous requests are taken. Try again in "
                f"{wait} seconds, or create a batch job.",
                headers={"Retry-After": str(wait)},
            )
        began = time.monotonic()
        folder = (self._settings.data_dir / "sync" / request_id).absolute()
        done = False
        try:
            folder.mkdir(parents=True)
            request = GraphRequest(process, namespace, folder, user_id, max_pixels=self._settings.sync_max_pixels)
            result = self._compute(request, folder, request_id, log_level)
            done = True
            return result
        except OSError as error:
            raise storage_failure(error) from error
        finally:
            self._seconds += 0.2 * (time.monotonic() - began - self._seconds)
            self._slots.release()
            if not done:
                shutil.rmtree(folder, ignore_errors=True)

    def _slot(self) -> bool:
        """Take a slot. Where none is free a few requests wait a little, so that short ones follow one another without the
        pause a refused client makes."""
        if self._slots.acquire(blocking=False):
            return True
        if not self._line.acquire(blocking=False):
            return False
        try:
            return self._slots.acquire(timeout=WAIT)
        finally:
            self._line.release()

    def _retry_after(self) -> int:
        """Seconds until those who wait now are likely to be served; spread, so that the refused do not return at once."""
        likely = self._seconds * LINE / self._settings.sync_slots
        return min(max(1, round(likely * random.uniform(0.5, 1.5))), RETRY_MOST)

    def _compute(self, request: GraphRequest, folder: Path, request_id: str, level: str) -> SyncResult:
        entries: list[Log] = []
        error: OpenEOError | None = None
        try:
            match self._outcome(request, entries):
                case Done(assets, usage):
                    entries.append(Log("info", f"Finished: {len(assets)} files, {usage.wall:.1f} s."))
                    return SyncResult(folder, list(assets))
                case Failed(found):
                    error = found
                    entries.append(Log("error", error.message, error.code, error.data, error.path))
                case Broken(summary, stack):
                    error = internal(summary, stack, f"request {request_id}")
                    entries.append(Log("error", error.message, error.code, {"stacktrace": stack}))
                case other:
                    raise AssertionError(f"unexpected outcome {other}")
            raise error
        except OpenEOError as raised:
            if raised is not error:
                entries.append(Log("error", raised.message, raised.code))
            raise
        finally:
            with self._database.session() as session:
                write_log(session, request_id, entries, level)

    def _outcome(self, request: GraphRequest, entries: list[Log]) -> Outcome:
        end = time.monotonic() + TIMEOUT

        def check() -> None:
            if time.monotonic() > end:
                raise OpenEOError(
                    "RequestTimeout",
                    f"The request took more than {TIMEOUT / 60:.0f} minutes and was stopped. Run it as a batch job.",
                )

        process = self._spares.take()
        try:
            outcome = process.run(request, log=entries.append, progress=lambda _: None, check=check)
        except Died as death:
            process.kill()
            if death.memory:
                raise out_of_memory(death.used, self._settings.memory_limit) from death
            raise OpenEOError("Internal", f"The process that computed the request ended with {death.how}.") from death
        except BaseException:
            process.kill()
            raise
        self._spares.give_back(process)
        return outcome
