"""A contender's process: reads one JSON request per line, answers with one JSON line. Standard library only.

    python worker.py PEER.py

Runs in the contender's own environment. Requests: ``{"do": "versions"}``, ``{"do": "prepare", "spec"}``, ``{"do": "run",
"workload", "spec", "out"}`` (measured), ``{"do": "array", "workload", "spec", "out"}`` (what was written, as canonical
``result.npy``; not measured).
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any


def cpu_seconds() -> float:
    """Of this process, its ended children and its living descendants."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used) + living_children()


def living_children() -> float:
    """CPU seconds of descendants that still run (process pools)."""
    ticks: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks[int(entry.name)] = (int(fields[1]), sum(int(v) for v in fields[11:15]))
    members, total = {os.getpid()}, 0
    while grown := {p for p, (parent, _) in ticks.items() if parent in members} - members:
        total += sum(ticks[p][1] for p in grown)
        members |= grown
    return total / os.sysconf("SC_CLK_TCK")


def memory(field: str) -> int:
    """``VmRSS`` or ``VmHWM`` of this process, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def answer(peer: Any, request: dict[str, Any]) -> dict[str, Any]:
    do = request["do"]
    if do == "versions":
        return {"versions": peer.versions()}
    if do == "prepare":
        getattr(peer, "prepare", lambda spec: None)(request["spec"])
        return {}
    out = Path(request["out"])
    if do == "array":
        peer.array(request["workload"], request["spec"], out)
        return {}
    if request["workload"] not in peer.WORKLOADS:
        return {"not_offered": True}
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before, held = getattr(peer, "cpu_seconds", cpu_seconds)(), memory("VmRSS")
    began = time.perf_counter()
    peer.run(request["workload"], request["spec"], out)
    wall = time.perf_counter() - began
    cpu = getattr(peer, "cpu_seconds", cpu_seconds)() - before
    peak = getattr(peer, "peak_memory", lambda: memory("VmHWM") - held)()
    return {"wall": wall, "cpu": cpu, "peak": peak}


def main() -> None:
    path = Path(sys.argv[1]).resolve()
    if limit := int(os.environ.get("BENCH_MEMORY", "0")):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    # answers go to the real standard output; whatever libraries print goes to standard error
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path[0] = str(path.parent)
    module = importlib.util.spec_from_file_location(path.stem, path)
    assert module is not None and module.loader is not None
    peer = importlib.util.module_from_spec(module)
    began = cpu_seconds()
    try:
        module.loader.exec_module(peer)
        first: dict[str, Any] = {"import_cpu": cpu_seconds() - began}
    except BaseException:
        first = {"error": traceback.format_exc()}
    print(json.dumps(first), file=answers, flush=True)
    for line in sys.stdin:
        try:
            reply = answer(peer, json.loads(line))
        except BaseException:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    main()
