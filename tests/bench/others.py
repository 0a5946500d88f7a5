"""W5 to W9: benchmarks of their own, run as commands at a size that suits one run, their figures picked up.

Each prints either a line of JSON at its end or lines of text with the figures; what it printed is kept in the log folder.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Other:
    """``figures``: name and pattern (one group, the last match counts) of what is picked from the text; without them the
    last line is JSON, of which ``wanted`` (all where empty) is taken, names of nested values joined by spaces."""

    workload: str
    title: str
    module: str
    arguments: tuple[str, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()
    wanted: tuple[str, ...] = ()
    limit: float = 400.0  # seconds


NUMBER = r"([0-9.]+)"
OTHERS = [
    Other("W5", "256 x 256 XYZ tiles through HTTP, milliseconds", "tests.bench.tiles", ("--size", "1024"), wanted=(
        "rgb cold", "rgb drawn median", "rgb drawn p95", "rgb drawn10 median", "rgb drawn10 p95", "rgb kept p95", "rgb kept10 p95",
        "ndvi drawn p95", "composite drawn p95", "composite drawn10 p95")),
    Other(
        "W6", "WASP synthesis, 10 dates x 10 bands, from files to a product", "tests.bench.wasp",
        ("--size", "5490", "--dates", "10"),
        (("compute_to_reading", rf"compute/reading {NUMBER}"), ("mpix_dates_per_cpu_s", rf"{NUMBER} Mpix\*date per core-s"),
         ("peak_GiB", rf"peak memory +{NUMBER} GiB")),
    ),
    Other(
        "W7", "LIS snow cover of a tile (20 m), eight layers", "tests.bench.lis", ("--size", "5490"),
        (("compute_to_reading", rf"mode plus: .* ratio to reading {NUMBER}"), ("numpy_to_ours", rf"numpy over ours: {NUMBER}"),
         ("peak_GiB", rf"peak memory of the stage {NUMBER} GiB")),
    ),
    Other("W8", "MAJA surface reflectance of a band at full resolution", "tests.bench.maja_kernel", ("2048",)),
    Other("W9", "resolution merge of a block, six 20 m bands to 10 m", "tests.bench.superres_block", ("1024",)),
]  # fmt: skip


def run(other: Other, logs: Path) -> dict[str, Any]:
    """``{workload, title, command, figures}``, or ``{..., note}`` telling why there are none."""
    command = ["python", "-m", other.module, *other.arguments]
    told: dict[str, Any] = {"workload": other.workload, "title": other.title, "command": " ".join(command)}
    if importlib.util.find_spec(other.module) is None:
        return told | {"note": f"not measured: {other.module} does not exist"}
    log = logs / f"{other.workload}.log"
    try:
        done = subprocess.run(
            [sys.executable, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=other.limit
        )
    except subprocess.TimeoutExpired:
        return told | {"note": f"not measured: took more than {other.limit:.0f} s"}
    log.write_text(done.stdout + done.stderr)
    found = figures(other, done.stdout)
    if not found:
        last = (done.stderr.strip().splitlines() or ["it printed no figures"])[-1][:200]
        return told | {"note": f"failed with status {done.returncode}: {last}"}
    return told | {"figures": found} | ({"note": f"ended with status {done.returncode}"} if done.returncode else {})


def figures(other: Other, text: str) -> dict[str, Any]:
    """What a benchmark's output tells."""
    if other.figures:
        matches = {name: re.findall(pattern, text) for name, pattern in other.figures}
        return {name: float(m[-1]) for name, m in matches.items() if m}
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            told = _flat({k: v for k, v in json.loads(line).items() if k != "workload"})
            return {k: v for k, v in told.items() if k in other.wanted} if other.wanted else told
    return {}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key} ")
        elif isinstance(value, int | float | str):
            out[prefix + key] = value
    return out
