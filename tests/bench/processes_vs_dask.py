"""Our processes beside those of openeo-processes-dask, on the same cube in memory, in one run.

    python -m tests.bench.processes_vs_dask [--only median,zonal] [--docs]

Each side is a process of its own in its own environment, with two threads; after a warm-up they take turns, and medians
are told (of 9 runs below 3 s, else of 3; of one above 20 s). ratio = openeo-processes-dask / ours: how many times less
ours takes, the median over the pairs of runs, and the range it lies in with 96 % confidence (of 9 pairs, the second to
the eighth; of fewer, all). Ends with 1 where a target lies above that range in wall or CPU seconds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tests.bench import report
from tests.bench.contenders import CONTENDERS, Contender, Running, environment

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "processes-vs-dask.md"
SLOW = 20.0  # seconds above which the first run is the only one
FAST, FAST_TIMES = 3.0, 3  # runs below so many seconds are repeated so many times more often: they scatter most

# workload -> (title, the ratio that is wanted)
WORKLOADS: dict[str, tuple[str, float]] = {
    "ndvi": ("`ndvi`", 1),
    "add": ("`apply` of `add`", 1),
    "multiply": ("`apply` of `multiply`", 1),
    "difference": ("`apply` of `normalized_difference`", 1),
    "power": ("`apply` of `power`, squares", 1),
    "sqrt": ("`apply` of `sqrt`", 1),
    "log": ("`apply` of `log`, base 10", 1),
    "gt": ("`apply` of `gt`", 1),
    "clip": ("`apply` of `clip`", 1),
    "scale": ("`apply` of `linear_scale_range`", 1),
    "if": ("`apply` of `if` of `gt`, two nodes", 1),
    "evi": ("`reduce_dimension` over bands, EVI in eleven nodes", 1),
    "median": ("median over t", 3),
    "quantiles": ("three quantiles over t", 3),
    "interpolation": ("linear interpolation in time (one band: theirs refuses four)", 20),
    "zonal": ("`aggregate_spatial`, mean of 100 polygons (numpy cube: in blocks theirs takes over 19 GB)", 100),
    "month": ("`aggregate_temporal_period`, monthly mean", 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda v: v.split(","), default=list(WORKLOADS))
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench")
    parser.add_argument("--docs", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    spec = {"size": options.size, "dates": 20, "polygons": 100, "block": 512, "threads": 2}
    base = next(c for c in CONTENDERS if c.name == "openeo-processes-dask")
    requirements = (*(base.requirements or ()), "xproj", "exactextract", "tqdm", "cf-xarray")
    peer = Contender(
        "openeo-processes-dask", "vs_dask", requirements, ("openeo-processes-dask==2026.9.1", "xvec==0.2.0")
    )
    logs = options.cache / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    sides = {
        "ours": Running(Contender("ours", "vs_ours"), Path(sys.executable), logs / "vs_ours.log"),
        "theirs": Running(
            peer,
            environment(peer, options.cache),
            logs / "vs_dask.log",
        ),
    }
    try:
        for side in sides.values():
            side.ask("prepare", spec=spec)
            side.versions = side.ask("versions")["versions"]
        machine = report.machine()
        print(
            f"{machine}\n20 x 4 x {options.size} x {options.size} float32 in memory, blocks of 512, two threads",
            flush=True,
        )
        rows = [measure(w, sides, spec, options.repeats, options.cache) for w in options.only]
    finally:
        for side in sides.values():
            side.close()
    if options.docs:
        write(rows, sides, machine)
    sys.exit(int(any(not row["met"] for row in rows)))


def measure(
    workload: str, sides: dict[str, Running], spec: dict[str, Any], repeats: int, cache: Path
) -> dict[str, Any]:
    """Medians of one workload, on both sides in turn, and how far the results lie apart."""
    title, wanted = WORKLOADS[workload]
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    arrays = {}
    for round_ in range(FAST_TIMES * repeats + 1):
        for name, side in sides.items():
            first = runs[name][0]["wall"] if runs[name] else 0.0
            wanted_runs = 1 if first > SLOW else repeats + 1 if first > FAST else FAST_TIMES * repeats + 1
            if round_ < wanted_runs:
                runs[name].append(side.ask("run", workload=workload, spec=spec, out=str(cache)))
    told: dict[str, dict[str, float]] = {}
    for name, side in sides.items():
        kept = runs[name][1:] or runs[name]  # the first was the warm-up, except of those that run only once
        told[name] = {k: median(r[k] for r in kept) for k in ("wall", "cpu")} | {"runs": len(kept)}
        folder = cache / "out" / f"vs-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        side.ask("array", workload=workload, spec=spec, out=str(folder))
        arrays[name] = np.load(folder / "result.npy")
    ratios = {k: ratio_of([r[k] for r in runs["ours"]], [r[k] for r in runs["theirs"]]) for k in ("wall", "cpu")}
    met = all(high >= wanted for _, _, high in ratios.values())
    row = {"title": title, "wanted": wanted, "ratios": ratios, "met": met, **told}
    row["difference"] = report.difference(arrays["ours"], arrays["theirs"])
    print(
        f"{workload:14} wall {told['ours']['wall']:7.3f} s, theirs {told['theirs']['wall']:7.3f} s, ratio {shown(ratios['wall'])}"
        f"   cpu {told['ours']['cpu']:7.3f} s, theirs {told['theirs']['cpu']:7.3f} s, ratio {shown(ratios['cpu'])}"
        f"   wanted {wanted:3} {'met' if row['met'] else 'MISSED'}   {row['difference']}",
        flush=True,
    )
    return row


def ratio_of(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """theirs / ours: the median over pairs of runs, and the bounds of the interval that holds it with 96 % confidence.

    The warm-up does not count, except of what runs only once. Bounds are order statistics: the second and the eighth of
    nine (sign test); the least and the greatest of fewer.
    """
    pairs = list(zip(ours, theirs))
    found = sorted(b / a for a, b in (pairs[1:] or [(ours[-1], theirs[-1])]))
    cut = 1 if len(found) >= 9 else 0
    return median(found), found[cut], found[-1 - cut]


def shown(ratio: tuple[float, float, float]) -> str:
    """``1.4 (1.2-1.6)``."""
    digits = 2 if ratio[0] < 10 else 0
    return "{:.{d}f} ({:.{d}f}-{:.{d}f})".format(*ratio, d=digits)


def write(rows: list[dict[str, Any]], sides: dict[str, Running], machine: str) -> None:
    """The page of the documentation, between its marks."""
    columns = ["", "ours: wall s", "CPU s", "theirs: wall s", "CPU s", "ratio wall", "ratio CPU", "wanted", "results"]
    cells = []
    for row in rows:
        ours, theirs, ratios = row["ours"], row["theirs"], row["ratios"]
        seconds = [f"{side[what]:.2f}" for side in (ours, theirs) for what in ("wall", "cpu")]
        told = [shown(ratios["wall"]), shown(ratios["cpu"]), f"{row['wanted']:g}", row["difference"]]
        cells.append([row["title"], *seconds, *told])
    versions = "; ".join(", ".join(f"{k} {v}" for k, v in side.versions.items()) for side in sides.values())
    command = f"`python -m tests.bench.processes_vs_dask --docs` on {machine}."
    table = report.markdown(columns, cells, left=(0, len(columns) - 1))
    report.replace_block(PAGE, "measured", [command, "", *table, "", f"Versions: {versions}."])


if __name__ == "__main__":
    main()
