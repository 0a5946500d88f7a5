"""`tuile serve` as an operator starts it, and many users at once who ask it for composites."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START, ANSWER = 60.0, 300.0  # seconds


@dataclass(frozen=True)
class Server:
    url: str
    token: str

    def ask(self, path: str, body: Any = None) -> bytes:
        """Body of the answer; raises urllib's HTTPError."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": self.token, "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=ANSWER) as reply:
            return reply.read()


@contextmanager
def serve(products: Path, **settings: Any) -> Iterator[Server]:
    """A server over ``products`` with ``TUILE_`` settings (lower case names), gone with its data at the end."""
    state = Path(tempfile.mkdtemp(prefix="tuile-bench-"))
    given = {"archive": products, "data_dir": state, "port": 0, "sync_max_pixels": 10**12} | settings
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUILE_")}
    environment |= {f"TUILE_{k.upper()}": str(v) for k, v in given.items()}
    tuile = [sys.executable, "-m", "backend.cli"]
    options: Any = {"env": environment, "cwd": ROOT}
    log = (state / "log").open("w+")
    try:
        for command in (["ingest"], ["user", "add", "bench", "--password", "bench-password"]):
            subprocess.run([*tuile, *command], check=True, capture_output=True, **options)
        process = subprocess.Popen([*tuile, "serve"], stdout=log, stderr=log, **options)
        try:
            url = _address(process, state / "log")
            basic = b64encode(b"bench:bench-password").decode()
            found = json.loads(Server(url, f"Basic {basic}").ask("/credentials/basic"))
            yield Server(url, f"Bearer basic//{found['access_token']}")
        finally:
            process.terminate()
            process.wait(30)
    finally:
        log.close()
        shutil.rmtree(state, ignore_errors=True)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + START
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        if found := re.search(r"Tuile is at (\S+)", log.read_text()):
            url = found[1].rstrip("/")
            return url if url.endswith("/openeo/1.2") else url + "/openeo/1.2"
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text()[-2000:]}")


@dataclass
class Load:
    """What came of many requests at once: seconds from the first attempt to the answer, refusals (503), failures."""

    latency: list[float] = field(default_factory=list)
    busy: int = 0
    failures: list[str] = field(default_factory=list)
    wall: float = 0.0

    def figures(self) -> dict[str, float]:
        ordered = sorted(self.latency)
        return {
            "requests": len(ordered), "wall": self.wall, "per_second": len(ordered) / self.wall, "busy": self.busy,
            "median": statistics.median(ordered), "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
            "failures": len(self.failures),
        }  # fmt: skip


def load(server: Server, graph: Mapping[str, Any], users: int, each: int) -> Load:
    """``users`` at once ask for ``graph`` ``each`` times, one after another, waiting as a refusal tells them to."""
    told, lock = Load(), threading.Lock()

    def user() -> None:
        for _ in range(each):
            began, refused = time.perf_counter(), 0
            try:
                while (wait := _attempt(server, graph)) is not None:
                    refused += 1
                    time.sleep(wait)
            except (OSError, urllib.error.HTTPError) as error:
                with lock:
                    told.failures.append(str(error))
                continue
            finally:
                with lock:
                    told.busy += refused
            with lock:
                told.latency.append(time.perf_counter() - began)

    threads = [threading.Thread(target=user) for _ in range(users)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.wall = time.perf_counter() - began
    return told


def _attempt(server: Server, graph: Mapping[str, Any]) -> float | None:
    """None where the answer came, else the seconds to wait (Retry-After)."""
    try:
        server.ask("/result", {"process": {"process_graph": graph}})
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise
        return float(error.headers.get("Retry-After") or 1)
    return None
