"""Tuile on the command line: `tuile run` in a process of its own every time, so that starting, importing and looking at the
archive (indexed before) count as well."""

from __future__ import annotations

import atexit
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from graphs import GRAPHS
from ours import NAMES, array, versions

WORKLOADS = ("W1", "W2", "W3", "W4")
__all__ = ["array", "versions"]
_held = {}


def prepare(spec):
    state = Path(tempfile.mkdtemp(prefix="tuile-bench-"))
    atexit.register(shutil.rmtree, state, ignore_errors=True)
    environment = os.environ | {"TUILE_THREADS": str(spec["threads"]), "TUILE_MEMORY_LIMIT": str(spec["memory"])}
    _held.update(state=state, environment=environment, peak=0)
    run("W4", spec, state)  # takes the archive into its index


def run(workload, spec, out):
    graph = out / "graph.json"
    graph.write_text(json.dumps({"process_graph": GRAPHS[workload](spec)}))
    command = [sys.executable, "-m", "backend.cli", "run", str(graph), "--quiet", "--archive", spec["products"]]
    command += ["--out", str(out / "files"), "--index", str(_held["state"] / "index")]
    done = subprocess.run(command, env=_held["environment"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    (name,) = done.stdout.split()
    shutil.move(name, out / NAMES[workload])


def peak_memory():
    """Of the largest process so far, starting included (the system tells no more of processes that have ended)."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
