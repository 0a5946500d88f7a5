"""Tuile behind HTTP: ``tuile serve`` as an operator starts it, a synchronous request per run; CPU and memory of the
server and of every process it started."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

from graphs import GRAPHS
from ours import NAMES, array, versions

WORKLOADS = ("W1", "W2", "W3", "W4")
__all__ = ["array", "versions"]
_server = {}
TICKS = os.sysconf("SC_CLK_TCK")


def prepare(spec):
    state = Path(tempfile.mkdtemp(prefix="tuile-bench-"))
    tuile = [sys.executable, "-m", "backend.cli"]
    environment = {
        **os.environ,
        "TUILE_ARCHIVE": spec["products"],
        "TUILE_DATA_DIR": str(state),
        "TUILE_THREADS": str(spec["threads"]),
        "TUILE_MEMORY_LIMIT": str(spec["memory"]),
        "TUILE_SYNC_SLOTS": "1",
        "TUILE_SYNC_MAX_PIXELS": str(10**12),
        "TUILE_PORT": "0",
    }
    subprocess.run([*tuile, "ingest"], env=environment, check=True, capture_output=True)
    subprocess.run(
        [*tuile, "user", "add", "bench", "--password", "bench-password"],
        env=environment,
        check=True,
        capture_output=True,
    )
    log = (state / "log").open("w+")
    process = subprocess.Popen([*tuile, "serve"], env=environment, stdout=log, stderr=log)
    _server.update(process=process, state=state)
    atexit.register(_stop)
    url = None
    while url is None:
        if process.poll() is not None:
            raise RuntimeError((state / "log").read_text()[-2000:])
        found = re.search(r"Tuile is at (\S+)", (state / "log").read_text())
        url = found[1].rstrip("/") if found else None
        if url is None:
            import time

            time.sleep(0.1)
    _server["url"] = url if url.endswith("/openeo/1.2") else url + "/openeo/1.2"
    basic = b64encode(b"bench:bench-password").decode()
    token = json.loads(_get("/credentials/basic", f"Basic {basic}"))["access_token"]
    _server["token"] = f"Bearer basic//{token}"


def _stop():
    process = _server.pop("process", None)
    if process is not None:
        process.terminate()
        process.wait(30)
        shutil.rmtree(_server["state"], ignore_errors=True)


def _get(path, authorization, body=None):
    request = urllib.request.Request(
        _server["url"] + path, data=body, headers={"Authorization": authorization, "Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.read()
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{error.code}: {error.read().decode()[:1000]}") from None


def run(workload, spec, out):
    for pid in _tree():
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    _server["held"] = _memory("VmRSS")
    body = json.dumps({"process": {"process_graph": GRAPHS[workload](spec)}}).encode()
    (out / NAMES[workload]).write_bytes(_get("/result", _server["token"], body))


def _tree():
    """The server and all its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    members = {_server["process"].pid}
    while grown := {p for p, parent in parents.items() if parent in members} - members:
        members |= grown
    return members


def cpu_seconds():
    """CPU seconds of the server's processes, ended children included."""
    total = 0
    for pid in _tree():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(v) for v in fields[11:15])
    return total / TICKS


def _memory(field):
    total = 0
    for pid in _tree():
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        found = re.search(rf"{field}:\s+(\d+)", status)
        total += int(found[1]) * 1024 if found else 0
    return total


def peak_memory():
    """Sum of the processes' high-water marks over what they held before (they need not coincide: an upper bound)."""
    return _memory("VmHWM") - _server["held"]
