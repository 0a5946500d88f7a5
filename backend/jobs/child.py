"""The process that computes: takes a request from its parent, runs it, tells progress, log and outcome.

Started by `backend.jobs.process`; lives as long as the other end of its socket. Everything heavy (GDAL, numba, dask,
the processes) is imported before the first request, and only here: parents stay small and can kill a computation at any
point without harm to themselves.
"""

from __future__ import annotations

import os
import queue
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from backend import serverlog
from backend.jobs.messages import (
    Broken,
    Done,
    Failed,
    GraphRequest,
    Log,
    Outcome,
    Pending,
    Progress,
    TaskRequest,
    Usage,
)
from backend.settings import Settings

if TYPE_CHECKING:
    from backend.environment import Environments

PROGRESS_SECONDS = 0.2


class Channel:
    """The socket to the parent; any thread may send. When the parent is gone, so is this process."""

    def __init__(self, connection: Connection):
        self._connection, self._lock = connection, threading.Lock()
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._receive, daemon=True, name="parent").start()

    def send(self, message: Any) -> None:
        with self._lock:
            self._connection.send(message)

    def _receive(self) -> None:
        try:
            while True:
                self.inbox.put(self._connection.recv())
        except (EOFError, OSError):
            # nobody waits for the outcome any more; children of this process (sandboxes) go with it
            os.killpg(0, signal.SIGKILL)

    def log(
        self, level: str, message: str, *, code: str | None = None, data: Any = None, path: Sequence[str] = ()
    ) -> None:
        """Log sink of an `Env`."""
        self.send(Log(level, message, code, data, tuple(map(str, path))))

    def progress(self) -> Any:
        """A progress callback that sends a few times per second."""
        last = [0.0]

        def tell(share: float) -> None:
            now = time.monotonic()
            if share >= 1 or now - last[0] >= PROGRESS_SECONDS:
                last[0] = now
                self.send(Progress(share))

        return tell


def rehearse() -> None:
    """Do what only a first request would otherwise wait for (0.3 s): the parser's imports, and those that numba makes when
    it first loads a kernel."""
    import numpy as np
    import openeo_pg_parser_networkx.pg_schema  # noqa: F401  (the point is the import)

    from processes.kernels.dn import scale_all

    scale_all(np.ones((1, 1), "i2"), np.int16(0), True, np.float32(0), np.float32(1), np.empty((1, 1), "f4"))


class Computer:
    """Runs requests. The catalogue and the database are opened once, for the first of them: a process that is started
    while the service still brings its database up to date must not see it half done."""

    def __init__(self, settings: Settings, channel: Channel):
        import backend.catalogue.index
        import backend.environment
        import backend.graph.run  # noqa: F401  (the point of these is the import)
        from backend.announced import Announced
        from backend.results.format import all_formats
        from processes.load import kept
        from processes.registry import processes

        processes()
        all_formats()
        kept.allow_share(settings.memory_limit)
        Announced(settings)()  # written down for the server, which has not imported them
        rehearse()
        self.settings, self.channel = settings, channel

    @cached_property
    def environments(self) -> Environments:
        from backend.catalogue import open_catalogue
        from backend.environment import Environments
        from backend.store.db import Database

        return Environments(self.settings, Database(self.settings.database), open_catalogue(self.settings))

    def run(self, request: Any) -> Outcome:
        """Run one request; whatever happens becomes an outcome."""
        from backend.errors import STORAGE, OpenEOError, storage_failure
        from processes.errors import ProcessError
        from processes.stages import CHAINS, StagePending

        wall, cpu = time.monotonic(), _cpu()
        try:
            outcome = self._task(request) if isinstance(request, TaskRequest) else self._graph(request)
        except StagePending as pending:
            return Pending(pending.stage, CHAINS[pending.stage.chain].queue)
        except OpenEOError as error:
            return Failed(error)
        except ProcessError as error:
            return Failed(OpenEOError.of(error))
        except MemoryError:
            from backend.jobs.process import out_of_memory

            return Failed(out_of_memory(_peak(), self.settings.memory_limit))
        except RecursionError:
            return Failed(OpenEOError("ProcessGraphComplexity", "Processes or callbacks call each other too deeply."))
        except OSError as error:
            if error.errno not in STORAGE:
                return Broken(f"{type(error).__name__}: {error}", traceback.format_exc())
            return Failed(storage_failure(error))
        except Exception as error:
            return Broken(f"{type(error).__name__}: {error}", traceback.format_exc())
        return replace(outcome, usage=Usage(_cpu() - cpu, time.monotonic() - wall, _peak()))

    def _graph(self, request: GraphRequest) -> Done:
        from backend.graph.run import execute
        from backend.jobs.dispatch import Elsewhere

        env = self.environments.env(
            request.user_id,
            job=request.job_id,
            sink=self.channel.log,
            dispatch=Elsewhere() if request.stages_elsewhere else None,
            skip_unreadable=request.skip_unreadable,
        )
        assets = execute(
            request.process,
            env,
            request.out,
            parameters={},
            namespace=request.namespace,
            on_progress=self.channel.progress(),
            max_nodes=self.settings.max_nodes,
            max_pixels=request.max_pixels,
            scheduler=self.settings.dask_scheduler,
        )
        return Done(assets)

    def _task(self, request: TaskRequest) -> Done:
        from processes.stages import run_task

        env = self.environments.env(None, sink=self.channel.log)
        assert env.workspace is not None
        run_task(env.workspace, request.task, env)
        return Done()


def _cpu() -> float:
    mine, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + children.ru_utime + children.ru_stime


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(descriptor: int) -> None:
    """Serve requests that come over the socket ``descriptor``."""
    serverlog.configure()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the socket
    channel = Channel(Connection(descriptor))
    computer = Computer(Settings(), channel)
    while True:
        channel.send(computer.run(channel.inbox.get()))


if __name__ == "__main__":
    main(int(sys.argv[1]))
