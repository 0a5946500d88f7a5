"""How the CPU time of an NDVI median composite grows with dates, area and bands, and what a second thread adds.

    python -m tests.bench.growth [--size 2048] [--repeats 3]

The archive of `tests.bench` with 24 dates. Each line is a request of `backend.graph.run.execute` in this process, the
median of the repeats; exponents are fitted to log(CPU) against log(what grows) by least squares: 1 is linear, less
means that fixed costs still show. Exits with status 1 where the exponent of dates or area exceeds 1.05.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backend.catalogue import open_catalogue
from backend.graph.run import execute
from backend.settings import Settings
from processes.env import Env, Limits
from tests.bench import report
from tests.bench.archive import Plan, archive

LIMIT = 1.05
DATES, BANDS = 24, ("B02", "B03", "B04", "B08")


def graph(spec: Mapping[str, Any], dates: int, share: float, bands: Sequence[str]) -> dict[str, Any]:
    """Median over the first ``dates`` of ``bands``, on the upper left ``share`` of the tile's side."""
    x, y = spec["origin"]
    side = spec["size"] * spec["resolution"] * share
    extent = {"west": x, "east": x + side, "south": y - side, "north": y, "crs": f"EPSG:{spec['epsg']}"}
    interval = [spec["items"][0]["datetime"], spec["items"][dates]["datetime"]]
    middle = {"m": {"process_id": "median", "arguments": {"data": {"from_parameter": "data"}}, "result": True}}
    load = {"id": "SENTINEL2_L2A_MAJA", "spatial_extent": extent, "temporal_extent": interval, "bands": list(bands)}
    reduce = {"data": {"from_node": "load"}, "dimension": "t", "reducer": {"process_graph": middle}}
    return {
        "load": {"process_id": "load_collection", "arguments": load},
        "median": {"process_id": "reduce_dimension", "arguments": reduce},
        "save": {"process_id": "save_result", "arguments": {"data": {"from_node": "median"}, "format": "COG"}, "result": True},
    }  # fmt: skip


def timed(process_graph: Mapping[str, Any], env: Env, repeats: int) -> tuple[float, float]:
    """Median CPU and wall seconds of a request, after one run that does not count."""
    runs = []
    for _ in range(repeats + 1):
        out = Path(tempfile.mkdtemp())
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        execute({"process_graph": process_graph}, env, out)
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
        runs.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall))
        shutil.rmtree(out)
    return tuple(statistics.median(r[k] for r in runs[1:]) for k in (0, 1))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    root = Path(__file__).resolve().parents[2]
    spec = archive(Plan(options.size, DATES + 1), root / ".bench")
    print(report.machine())
    with tempfile.TemporaryDirectory() as state:
        catalogue = open_catalogue(Settings(archive=[Path(spec["products"])], data_dir=Path(state)))
        catalogue.ingest([Path(spec["products"])])
        env = Env(catalogue, limits=Limits(memory=4 << 30, threads=2))
        steps: dict[str, list[tuple[float, tuple[int, float, Sequence[str]]]]] = {
            "dates": [(n, (n, 1.0, BANDS[2:])) for n in (3, 6, 12, 24)],
            "area": [(s * s, (6, s, BANDS[2:])) for s in (0.25, 0.5, 0.75, 1.0)],
            "bands": [(n, (6, 1.0, BANDS[:n])) for n in (1, 2, 3, 4)],
        }
        failed = False
        for what, requests in steps.items():
            cpu = []
            for x, request in requests:
                seconds, wall = timed(graph(spec, *request), env, options.repeats)
                cpu.append(seconds)
                print(f"{what:6} {x:7.4g}  CPU {seconds:6.2f} s  wall {wall:6.2f} s", flush=True)
            exponent = float(np.polyfit(np.log([x for x, _ in requests]), np.log(cpu), 1)[0])
            failed |= what != "bands" and exponent > LIMIT
            print(f"{what:6} exponent {exponent:.2f}")
        for threads in (1, 2):
            limited = Env(catalogue, limits=Limits(memory=4 << 30, threads=threads))
            seconds, wall = timed(graph(spec, 12, 1.0, BANDS[2:]), limited, options.repeats)
            print(f"threads {threads}  CPU {seconds:6.2f} s  wall {wall:6.2f} s")
    sys.exit(failed)


if __name__ == "__main__":
    main()
