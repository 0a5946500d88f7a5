"""How time grows: with dates, area, bands, users and items; what a second core, process or cluster worker adds.

    python -m tests.bench.growth [--size 2048] [--repeats 3] [--only dates,area,...] [--items 6] [--docs]

The archive of `tests.bench` with 24 dates. Dates, area, bands and threads: a median composite by `backend.graph.run.execute`
in this process, median of the repeats. Processes and users: synchronous requests to `tuile serve`; a user who is refused
(503) waits as told and asks again. Cluster: the same composite on dask.distributed workers of one thread each. Items: the
searches of `tests.bench.index` on SQLite. Exponents are fitted to log(seconds) against log(what grows): 1 is linear, less
means that fixed costs still show. Exits with status 1 where the exponent of dates or area exceeds 1.05, or a user's request
fails.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backend.catalogue import open_catalogue
from backend.catalogue.index import Catalogue
from backend.graph.run import execute
from backend.settings import Settings
from backend.store.db import Database
from processes.env import Env, Limits
from tests.bench import index, report, server
from tests.bench.archive import Plan, archive

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1.05
DATES, BANDS = 24, ("B02", "B03", "B04", "B08")
USERS, EACH = (1, 2, 5, 10, 20, 50), 2
Row = dict[str, Any]


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


def timed(process_graph: Mapping[str, Any], env: Env, repeats: int, scheduler: str = "threads") -> tuple[float, float]:
    """Median CPU (of this process) and wall seconds of a request, after one run that does not count."""
    runs = []
    for _ in range(repeats + 1):
        out = Path(tempfile.mkdtemp())
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        execute({"process_graph": process_graph}, env, out, scheduler=scheduler)
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
        runs.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall))
        shutil.rmtree(out)
    return tuple(statistics.median(r[k] for r in runs[1:]) for k in (0, 1))  # type: ignore[return-value]


def exponent(rows: Sequence[Row], field: str) -> float:
    """Slope of log(field) over log(x)."""
    return float(np.polyfit(np.log([r["x"] for r in rows]), np.log([r[field] for r in rows]), 1)[0])


def composites(spec: Mapping[str, Any], catalogue: Any, what: str, repeats: int) -> list[Row]:
    steps: dict[str, list[tuple[float, tuple[int, float, Sequence[str]]]]] = {
        "dates": [(n, (n, 1.0, BANDS[2:])) for n in (3, 6, 12, 24)],
        "area": [(s * s, (6, s, BANDS[2:])) for s in (0.25, 0.5, 0.75, 1.0)],
        "bands": [(n, (6, 1.0, BANDS[:n])) for n in (1, 2, 3, 4)],
    }
    env = Env(catalogue, limits=Limits(memory=4 << 30, threads=2))
    rows = []
    for x, request in steps[what]:
        cpu, wall = timed(graph(spec, *request), env, repeats)
        rows.append({"x": x, "cpu": cpu, "wall": wall})
    return rows


def threads(spec: Mapping[str, Any], catalogue: Any, repeats: int) -> list[Row]:
    rows = []
    for n in (1, 2):
        limited = Env(catalogue, limits=Limits(memory=4 << 30, threads=n))
        cpu, wall = timed(graph(spec, 12, 1.0, BANDS[2:]), limited, repeats)
        rows.append({"x": n, "cpu": cpu, "wall": wall})
    return rows


def cluster(spec: Mapping[str, Any], catalogue: Any, repeats: int) -> list[Row]:
    """Wall seconds with one and two dask.distributed workers; CPU is that of this process, which only writes."""
    from distributed import LocalCluster

    env, rows = Env(catalogue, limits=Limits(memory=4 << 30, threads=2)), []
    for n in (1, 2):
        with LocalCluster(n_workers=n, threads_per_worker=1, processes=True, dashboard_address=None) as made:
            cpu, wall = timed(graph(spec, 12, 1.0, BANDS[2:]), env, repeats, made.scheduler_address)
        rows.append({"x": n, "cpu": cpu, "wall": wall})
    return rows


def processes(spec: Mapping[str, Any]) -> list[Row]:
    """Four requests at once to a server that computes one or two at a time, each on one thread."""
    rows = []
    for slots in (1, 2):
        with server.serve(Path(spec["products"]), sync_slots=slots, threads=1) as running:
            server.load(running, graph(spec, 1, 0.25, BANDS[2:]), slots, 1)  # starts the processes
            told = server.load(running, graph(spec, 12, 1.0, BANDS[2:]), 4, 1)
        rows.append({"x": slots, **told.figures()})
    return rows


def users(spec: Mapping[str, Any]) -> list[Row]:
    """1 to 50 users at once, each asking twice for a composite of 512 x 512 pixels, six dates and two bands."""
    rows = []
    with server.serve(Path(spec["products"]), sync_slots=2, threads=1) as running:
        small = graph(spec, 6, 512 / spec["size"], BANDS[2:])
        server.load(running, small, 2, 1)
        for n in USERS:
            rows.append({"x": n, **server.load(running, small, n, EACH).figures()})
    return rows


def items(largest: int, repeats: int) -> list[Row]:
    """Searches over 10^3 to 10^``largest`` items: the median and the slowest of the questions' median milliseconds."""
    rows = []
    for power in range(3, largest + 1):
        with tempfile.TemporaryDirectory() as folder:
            opened = Database(f"sqlite:///{folder}/index.sqlite")
            catalogue = Catalogue(opened)
            written = index.fill(catalogue, 10**power)
            medians = {}
            for name, ask in index.questions(catalogue).items():
                ask()
                medians[name] = statistics.median(_milliseconds(ask) for _ in range(repeats))
            opened.close()
        slowest = max(medians, key=medians.__getitem__)
        rows.append({"x": 10**power, "written": written, "median": statistics.median(medians.values()),
                     "slowest": medians[slowest], "which": slowest})  # fmt: skip
    return rows


def _milliseconds(ask: Callable[[], Any]) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


FIELDS = {"dates": "cpu", "area": "cpu", "bands": "cpu", "users": "wall", "items": "median"}
TITLES = {
    "dates": "dates (2 bands, 2048 pixels)", "area": "share of the tile (6 dates, 2 bands)", "bands": "bands (6 dates)",
    "threads": "`TUILE_THREADS` (12 dates, 2 bands)", "cluster": "dask.distributed workers of one thread (same request)",
    "processes": "`TUILE_SYNC_SLOTS` (four of the same requests at once, one thread each)",
    "users": f"users at once ({EACH} requests each: 512 x 512 pixels, 6 dates, 2 bands; two slots)",
    "items": "items in the index (SQLite)",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", type=lambda v: v.split(","), default=list(TITLES), help=", ".join(TITLES))
    parser.add_argument("--items", type=int, default=6, help="largest power of ten of items")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/explanation/performance.md")
    options = parser.parse_args()
    spec = archive(Plan(options.size, DATES + 1), ROOT / ".bench")
    print(report.machine())
    found: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as state:
        catalogue = open_catalogue(Settings(archive=[Path(spec["products"])], data_dir=Path(state)))  # type: ignore[call-arg]
        catalogue.ingest([Path(spec["products"])])
        for what in options.only:
            measure: dict[str, Callable[[], list[Row]]] = {
                "threads": lambda: threads(spec, catalogue, options.repeats),
                "cluster": lambda: cluster(spec, catalogue, options.repeats),
                "processes": lambda: processes(spec), "users": lambda: users(spec),
                "items": lambda: items(options.items, max(options.repeats, 5)),
            }  # fmt: skip
            found[what] = measure.get(what, lambda w=what: composites(spec, catalogue, w, options.repeats))()  # type: ignore[misc]
            print("\n".join(table(what, found[what])), flush=True)
    if options.docs:
        _write(found)
    steep = [w for w in ("dates", "area") if w in found and exponent(found[w], "cpu") > LIMIT]
    lost = sum(int(r["failures"]) for w in ("users", "processes") for r in found.get(w, ()))
    if steep or lost:
        print(f"grows faster than its input: {', '.join(steep) or 'nothing'}; {lost} requests failed")
    sys.exit(bool(steep or lost))


def table(what: str, rows: Sequence[Row]) -> list[str]:
    """Markdown lines of one part."""
    if what == "items":
        columns = ["items", "written s", "median search ms", "slowest search ms", "which"]
        cells = [[f"{r['x']:,}", f"{r['written']:.1f}", f"{r['median']:.1f}", f"{r['slowest']:.1f}", r["which"]] for r in rows]  # fmt: skip
    elif what in ("users", "processes"):
        columns = [what, "requests", "all served in s", "per s", "median latency s", "p95 s", "refused (503)", "failed"]
        cells = [[str(r["x"]), str(r["requests"]), f"{r['wall']:.2f}", f"{r['per_second']:.1f}", f"{r['median']:.2f}",
                  f"{r['p95']:.2f}", str(r["busy"]), str(r["failures"])] for r in rows]  # fmt: skip
    else:
        columns = [what, "CPU s", "wall s"]
        cells = [[f"{r['x']:.4g}", f"{r['cpu']:.2f}", f"{r['wall']:.2f}"] for r in rows]
    slope = f"; exponent {exponent(rows, FIELDS[what]):.2f}" if what in FIELDS and len(rows) > 1 else ""
    return [f"**{TITLES[what]}**{slope}", "", *report.markdown(columns, cells, (len(columns) - 1,) if what == "items" else ()), ""]  # fmt: skip


def _write(found: Mapping[str, list[Row]]) -> None:
    docs, command, machine = ROOT / "docs", "python -m tests.bench --growth", report.machine()
    path = docs / "assets" / "performance-growth.json"
    path.write_text(json.dumps({"command": command, "machine": machine, "parts": found}, indent=1) + "\n")
    lines = [f"`{command}` on {machine}.", "", "![Growth](../assets/performance-growth.svg)", ""]
    for what, rows in found.items():
        lines += table(what, rows)
    _plot(found, docs / "assets" / "performance-growth.svg")
    report.replace_block(docs / "explanation" / "performance.md", "growth", lines[:-1])


def _plot(found: Mapping[str, list[Row]], path: Path) -> None:
    """Each part on axes of its own, logarithmic, beside a line of slope one."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    parts = [w for w in FIELDS if len(found.get(w, ())) > 1]
    figure, axes = plt.subplots(1, len(parts), figsize=(2.4 * len(parts), 2.6), layout="constrained", squeeze=False)
    for axis, what in zip(axes[0], parts):
        x, y = ([r[k] for r in found[what]] for k in ("x", FIELDS[what]))
        axis.loglog(x, y, "o-", markersize=4)
        axis.loglog(x, [y[-1] * v / x[-1] for v in x], "k--", linewidth=0.7)
        axis.set_title(f"{what}, exponent {exponent(found[what], FIELDS[what]):.2f}", fontsize=8)
        axis.set_ylabel({"cpu": "CPU s", "wall": "s until all are served", "median": "median search ms"}[FIELDS[what]], fontsize=8)  # fmt: skip
        axis.tick_params(labelsize=7)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
