"""A service on disk with real worker processes, for tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backend.jobs.handover import environment
from backend.jobs.queue import Queue
from backend.settings import Settings
from backend.store import jobs, users
from backend.store.db import Database
from backend.store.models import Job, LogEntry

TOYS = Path(__file__).parent / "toys"
LEASE = 3.0  # seconds; short, so that another worker takes over soon


class Site:
    """Settings, database and queue of a service, and the workers a test starts."""

    def __init__(self, folder: Path, broker_url: str | None = None, **settings: Any):
        known = {"threads": 1, "memory_limit": 1 << 30, "lease_seconds": LEASE} | settings
        self.settings = Settings(_env_file=None, data_dir=folder, broker_url=broker_url, **known)
        self.database = Database(self.settings.database)
        self.database.upgrade()
        with self.database.session() as session:
            self.user = users.create(session, "ada", "a long password").id
        self.queue = Queue(self.settings, self.database)
        self.workers: list[subprocess.Popen[bytes]] = []

    def create(self, process_id: str, *, save: str | None = None, **arguments: Any) -> str:
        """A job of one process (and ``save_result``); returns its id."""
        graph: dict[str, Any] = {"p": {"process_id": process_id, "arguments": arguments, "result": save is None}}
        if save is not None:
            graph["s"] = {
                "process_id": "save_result",
                "arguments": {"data": {"from_node": "p"}, "format": save},
                "result": True,
            }
        with self.database.session() as session:
            return jobs.create(session, self.user, {"process_graph": graph}).id

    def start(self, process_id: str, *, save: str | None = None, **arguments: Any) -> str:
        job_id = self.create(process_id, save=save, **arguments)
        self.queue.start(job_id)
        return job_id

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start ``tuile worker``."""
        worker = subprocess.Popen(
            [sys.executable, "-m", "backend.cli", "worker", *options],
            env=os.environ | environment(self.settings),
            start_new_session=True,
        )
        self.workers.append(worker)
        return worker

    def job(self, job_id: str) -> Job:
        with self.database.session(read_only=True) as session:
            found = jobs.get(session, job_id)
        assert found is not None
        return found

    def logs(self, job_id: str) -> list[LogEntry]:
        with self.database.session(read_only=True) as session:
            return jobs.logs(session, job_id)

    def wait(self, job_id: str, *states: str, seconds: float = 60) -> Job:
        """The job when it is in one of ``states``."""
        wait_for(lambda: self.job(job_id).status in states, seconds, lambda: f"{states}: {self.tell(job_id)}")
        return self.job(job_id)

    def tell(self, job_id: str) -> str:
        """State and log, for the message of a failed test."""
        job = self.job(job_id)
        lines = [f"{e.level} {e.code} {e.message} {e.data}" for e in self.logs(job_id)]
        return f"job is {job.status} {job.progress} attempt {job.attempt} {job.error_message}\n" + "\n".join(lines)

    def computing(self) -> list[int]:
        """Process ids of the computing processes of this site's workers."""
        return [p for p in processes_with(self.settings.data_dir) if "backend.jobs.child" in command(p)]

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in self.workers:
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                worker.kill()
        wait_for(lambda: not processes_with(self.settings.data_dir), 20, lambda: "processes were left behind")
        self.database.close()


def wait_for(condition: Callable[[], bool], seconds: float, told: Callable[[], str]) -> None:
    """Fail unless ``condition`` becomes true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:.0f} s for {told()}")
        time.sleep(0.05)


def processes_with(folder: Path) -> list[int]:
    """Processes whose environment names ``folder`` as ``TUILE_DATA_DIR`` (Linux)."""
    wanted, found = f"TUILE_DATA_DIR={folder.absolute()}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def install_toys(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the toy processes a plug-in of every worker started from now on."""
    info = folder / "tuile_toys-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tuile-toys\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[tuile.processes]\ntoys = tuile_toys\n")
    path = [str(folder), str(TOYS), str(Path(__file__).parent.parent)]
    patch.setenv("PYTHONPATH", os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    patch.setenv("TUILE_TEST_TOYS", str(folder))


@contextmanager
def redis_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """URL of a Redis server on ``port`` or a free one. Without redis-server: skips, or fails where TUILE_TEST_REDIS=1."""
    program = shutil.which("redis-server")
    if program is None:
        reason = "redis-server is not installed (Debian: apt-get install redis-server)"
        if os.environ.get("TUILE_TEST_REDIS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(port), 10, lambda: "redis-server")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
