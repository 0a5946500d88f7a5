"""A process that computes, seen from the worker that owns it: start, run a request, kill, tell what it died of."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any

from backend.errors import OpenEOError
from backend.jobs.handover import environment
from backend.jobs.messages import Log, Progress
from backend.settings import Settings

# One block per thread is what runs in parallel; libraries that start threads of their own only get in the way. One arena
# of memory for all threads: see `processes.heap`.
_DEFAULTS = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GDAL_NUM_THREADS", "MALLOC_ARENA_MAX"), "1"
)
CHILD = "backend.jobs.child"
REQUESTS = 50  # synchronous requests a process serves before it is replaced
POLL = 0.1  # seconds between looks at the clock while a request runs
# The plan keeps to TUILE_MEMORY_LIMIT; what has no plan (an array of 1e10 numbers written in a graph) must not take the
# machine down with it. Twice the limit, and what libraries alone may hold.
RUNAWAY, LIBRARIES = 2, 512 << 20


class Died(Exception):
    """The process ended while it worked.

    ``memory``: the kernel killed it for want of memory; ``used``: bytes when last looked.
    """

    def __init__(self, code: int | None, memory: bool, used: int):
        super().__init__(f"ended with {code}")
        self.code, self.memory, self.used = code, memory, used

    @property
    def how(self) -> str:
        """For a person: signal or exit status."""
        if self.code is not None and self.code < 0:
            return f"signal {-self.code} ({signal.Signals(-self.code).name})"
        return f"exit status {self.code}"


class ComputeProcess:
    """One child process (``module``, by default the one of jobs). Used by one thread at a time."""

    def __init__(self, settings: Settings, module: str = CHILD):
        ours, theirs = socket.socketpair()
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**_DEFAULTS, **os.environ, **environment(settings)},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a group of its own, so that all it starts can be killed with it
            )
        self._connection = Connection(ours.detach())
        self.runs, self._used = 0, 0
        self._most = RUNAWAY * settings.memory_limit + LIBRARIES

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def run(
        self,
        request: Any,
        *,
        log: Callable[[Log], None],
        progress: Callable[[float], None],
        check: Callable[[], None],
    ) -> Any:
        """Run a request and wait for its outcome (of jobs: `backend.jobs.messages.Outcome`).

        ``check`` is called several times per second; what it raises ends the wait (kill the process then). Raises
        `Died`, also for a process that must be killed because it takes far more memory than it may.
        """
        self.runs += 1
        kills = _kernel_kills()
        try:
            self._connection.send(request)
            while True:
                check()
                self._used = _memory(self.pid) or self._used
                if self._used > self._most:
                    raise Died(None, True, self._used)
                if not self._connection.poll(POLL):
                    continue
                match self._connection.recv():
                    case Log() as entry:
                        log(entry)
                    case Progress(share):
                        progress(share)
                    case outcome:
                        return outcome
        except (EOFError, BrokenPipeError, ConnectionResetError):
            code = self._wait()
            raise Died(code, code == -signal.SIGKILL and _kernel_kills() > kills, self._used) from None

    def memory(self) -> int:
        """Bytes of memory the process holds."""
        return _memory(self.pid)

    def kill(self) -> None:
        """End the process and all it started, now."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._wait()
        self._connection.close()

    def _wait(self) -> int | None:
        try:
            return self._popen.wait(10)
        except subprocess.TimeoutExpired:  # stuck in the kernel (a dead network drive): nothing more can be done
            return None


class Spares:
    """Processes at hand: taken for a request, given back if still good, replaced in time.

    Parameters
    ----------
    settings : what processes are started with
    runs : requests a process may serve before it is replaced (a fresh one leaks nothing)
    module : what the processes run
    """

    def __init__(self, settings: Settings, runs: int = 1, module: str = CHILD):
        self._settings, self._runs, self._module = settings, runs, module
        self._idle: list[ComputeProcess] = []
        self._lock, self._closed = Lock(), False

    def warm(self, count: int = 1) -> None:
        """Have ``count`` processes ready (they import on their own time)."""
        with self._lock:
            while not self._closed and len(self._idle) < count:
                self._idle.append(ComputeProcess(self._settings, self._module))

    def take(self) -> ComputeProcess:
        """A living process; started now if none is at hand."""
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.alive:
                    return process
                process.kill()
        return ComputeProcess(self._settings, self._module)

    def give_back(self, process: ComputeProcess) -> None:
        """Keep a process that finished a request in good order, unless it has served enough or holds much memory."""
        worn = process.runs >= self._runs or process.memory() > self._settings.memory_limit // 2
        with self._lock:
            if not worn and not self._closed and process.alive:
                self._idle.append(process)
                return
        process.kill()

    def close(self) -> None:
        """Kill what is idle; what works is its taker's."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for process in idle:
            process.kill()


def for_requests(settings: Settings) -> Spares:
    """The processes that compute synchronous requests."""
    return Spares(settings, runs=REQUESTS)


def out_of_memory(used: int, limit: int) -> OpenEOError:
    """The error of a computation that memory did not suffice for."""
    return OpenEOError(
        "MemoryExceeded",
        f"The computation ran out of memory ({_gib(used)} in use when last measured; it plans with {_gib(limit)}, "
        "TUILE_MEMORY_LIMIT). Ask for fewer bands, a smaller extent or a shorter period, or lower TUILE_MEMORY_LIMIT "
        "and TUILE_THREADS to what the machine has.",
        status=500,
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _memory(pid: int) -> int:
    """Resident bytes of a process, without the pages of files it maps; 0 where the system does not tell."""
    try:
        resident, files = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
        return (int(resident) - int(files)) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _kernel_kills() -> int:
    """How many processes the kernel has killed for memory, on this machine and in this container."""
    total = 0
    for path, key in (("/proc/vmstat", "oom_kill"), ("/sys/fs/cgroup/memory.events", "oom_kill")):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(path).read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == key:
                    total += int(value)
    return total
