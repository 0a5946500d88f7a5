"""The processes that draw tiles: ``TUILE_TILE_SLOTS`` of them, never the API's threads."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import BoundedSemaphore

from backend.errors import OpenEOError
from backend.jobs.messages import Broken, Failed, Log
from backend.jobs.process import Died, Spares, out_of_memory
from backend.jobs.tasks import internal
from backend.services.messages import AboutRequest, BlockRequest, Drawn, Found, Spec, Unknown
from backend.settings import Settings

CHILD = "backend.services.child"
RUNS = 5000  # requests a process serves before it is replaced
TIMEOUT = 30.0  # seconds a request may take
PATIENCE = 60.0  # seconds a request waits for a process
RETRY_AFTER = 2  # seconds a client is told to wait


class TilePool:
    """Processes that keep layers ready, one request at a time each."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._slots = BoundedSemaphore(settings.tile_slots)
        self._spares = Spares(settings, runs=RUNS, module=CHILD)

    def warm(self) -> None:
        """Start the processes now (they import on their own time)."""
        self._spares.warm(self._settings.tile_slots)

    def close(self) -> None:
        """End idle processes."""
        self._spares.close()

    def ask(self, request: AboutRequest | BlockRequest, spec: Spec) -> Found | Drawn:
        """Have a request answered. Raises `OpenEOError`: the graph's mistakes, ``InfrastructureBusy`` (503),
        ``RequestTimeout``, ``MemoryExceeded``, ``Internal``."""
        if not self._slots.acquire(timeout=PATIENCE):
            raise busy()
        try:
            return self._ask(request, spec)
        finally:
            self._slots.release()

    def _ask(self, request: AboutRequest | BlockRequest, spec: Spec, again: bool = True) -> Found | Drawn:
        process = self._spares.take()
        end: list[float] = []

        def log(entry: Log) -> None:
            """Entries come with the answer."""

        def check() -> None:
            if not end:  # a fresh process imports first: that is not the request's time
                end.append(time.monotonic() + (TIMEOUT if process.runs > 1 else 2 * TIMEOUT))
            if time.monotonic() > end[0]:
                raise OpenEOError(
                    "RequestTimeout",
                    f"This part of the map took more than {TIMEOUT:.0f} seconds and was stopped. Zoom in, or let the "
                    "graph use fewer dates or bands.",
                )

        try:
            answer = process.run(request, log=log, progress=lambda _: None, check=check)
            if isinstance(answer, Unknown):
                answer = process.run(replace(request, spec=spec), log=log, progress=lambda _: None, check=check)
        except Died as death:
            process.kill()
            if death.memory:
                raise out_of_memory(death.used, self._settings.memory_limit) from death
            if again:  # it may have been dead before it was asked, and drawing twice does no harm
                return self._ask(request, spec, again=False)
            raise OpenEOError("Internal", f"The process that drew the map ended with {death.how}.") from death
        except BaseException:
            process.kill()
            raise
        self._spares.give_back(process)
        if isinstance(answer, Failed):
            raise answer.error
        if isinstance(answer, Broken):
            raise internal(answer.summary, answer.stack, f"service {spec.key}")
        return answer


def busy() -> OpenEOError:
    """Too many wait already."""
    return OpenEOError(
        "InfrastructureBusy",
        f"The server draws as many maps as it can. Try again in {RETRY_AFTER} seconds.",
        headers={"Retry-After": str(RETRY_AFTER)},
    )
