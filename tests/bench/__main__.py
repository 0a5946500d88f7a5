"""Speed of Tuile beside the limit and beside its peers, on the same files, in one run.

    python -m tests.bench [--only W1,W2] [--size 2048] [--dates 12] [--peers none|installed|all] [--repeats 3]
    python -m tests.bench --quick      ratios against tests/bench/baseline.json; fails above 20 %

Every contender is a process of its own that stays; after a warm-up round all take turns, and medians are told. CPU seconds
(all threads and children) are the figures to trust on a shared machine; peak memory is what a run added to its process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench import report
from tests.bench.archive import Plan, archive
from tests.bench.contenders import CONTENDERS, Contender, Running, environment, is_installed
from tests.bench.workloads import ELSEWHERE, TITLES, describe_files, specification

ROOT = Path(__file__).resolve().parents[2]
BASELINE = Path(__file__).resolve().with_name("baseline.json")
REGRESSION = 1.2
SLOW = 30.0  # seconds of wall above which a contender's first run is its only one
LIMIT = 150.0  # seconds of wall above which a contender is ended
HEADER = """ratio_to_decode  = CPU seconds of ours / CPU seconds of decoding the same bytes with rasterio (1 is the limit)
ratio_to_odcstac = CPU seconds of odc-stac+xarray / CPU seconds of ours (how many times less CPU ours takes)"""


def main() -> None:
    options = _options()
    cache = Path(options.cache)
    described = archive(Plan(options.size, options.dates, options.compression), cache)
    spec = specification(described, options.threads)
    print(f"{report.machine()}\narchive: {report.archive_of(spec)}\n{HEADER}\n", flush=True)
    running = start(_chosen(options, cache), spec, cache)
    try:
        results = [measure(w, running, spec, cache, options.repeats) for w in options.only]
    finally:
        for contender in running:
            contender.close()
    for workload, title in ELSEWHERE.items():
        print(f"{workload}  {title}: {_elsewhere(workload)}")
    if options.docs:
        report.write(results, spec, ROOT / "docs", options.command)
    ratios = {r["workload"]: report.ratios(r) for r in results}
    failed = compare(ratios, options) if options.quick else 0
    for workload in ("W1", "W2", "W3"):
        if workload in ratios:
            decode, odc = (f"{v:.2f}" if v else "-" for v in ratios[workload])
            print(f"{workload} ratio_to_decode {decode} ratio_to_odcstac {odc}")
    sys.exit(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda v: v.upper().split(","), help="workloads, as W1,W3")
    parser.add_argument("--size", type=int, help="pixels of 10 m along the tile's side: 2048, 5490, 10980")
    parser.add_argument("--dates", type=int, default=12)
    parser.add_argument("--compression", choices=("deflate", "zstd"), default="deflate")
    parser.add_argument("--peers", choices=("none", "installed", "all"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", default=str(ROOT / ".bench"), help="archives and environments")
    parser.add_argument("--docs", action=argparse.BooleanOptionalAction, help="write docs/explanation/performance.md")
    parser.add_argument("--quick", action="store_true", help="ours, decode and odc-stac where it is installed")
    parser.add_argument("--store", action="store_true", help="with --quick: keep the ratios as the new baseline")
    options = parser.parse_args()
    options.command = "python -m tests.bench " + " ".join(sys.argv[1:])
    whole = options.only is None and options.size is None and options.peers is None and not options.quick
    options.only = [w for w in options.only or TITLES if not (options.quick and w == "W4")]
    if unknown := set(options.only) - set(TITLES):
        parser.error(f"{', '.join(unknown)}: this command measures {', '.join(TITLES)}")
    options.size = options.size or 2048
    options.peers = options.peers or ("installed" if options.quick else "all")
    options.docs = whole if options.docs is None else options.docs
    return options


def _chosen(options: argparse.Namespace, cache: Path) -> list[Contender]:
    chosen = []
    for c in CONTENDERS:
        own = c.requirements is None
        if options.quick and c.name not in ("decode", "ours", "odc-stac+xarray"):
            continue
        if own or options.peers == "all" or (options.peers == "installed" and is_installed(c, cache)):
            chosen.append(c)
    return chosen


def start(chosen: Sequence[Contender], spec: dict[str, Any], cache: Path) -> list[Running]:
    """Start the contenders; one that cannot be installed or started is told and left out (never ours or decode)."""
    out = []
    logs = cache / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for contender in chosen:
        try:
            running = Running(contender, environment(contender, cache), logs / f"{contender.peer}.log")
            running.ask("prepare", spec=spec)
            versions = running.ask("versions")["versions"]
        except Exception as error:
            if contender.requirements is None:
                raise
            print(f"{contender.name}: left out, {str(error).strip().splitlines()[-1]}", flush=True)
            continue
        running.versions = versions
        told = ", ".join(f"{k} {v}" for k, v in versions.items())
        print(f"{contender.name:22} import {running.import_cpu:4.1f} s CPU   {told}", flush=True)
        out.append(running)
    print()
    return out


def measure(
    workload: str, running: Sequence[Running], spec: dict[str, Any], cache: Path, repeats: int
) -> dict[str, Any]:
    """One workload: a warm-up round, then rounds in turn; medians and how the results compare."""
    print(f"{workload}  {TITLES[workload]} ({describe_files(workload, spec)})", flush=True)
    runs: dict[str, list[dict[str, float]]] = {}
    first: dict[str, dict[str, float]] = {}
    notes: dict[str, str] = {}
    for round_ in range(repeats + 1):
        for contender in running:
            name = contender.contender.name
            if name in notes or (name in first and contender.contender.requirements and first[name]["wall"] > SLOW):
                continue
            try:
                out = str(_folder(cache, name))
                reply = contender.ask("run", LIMIT, workload=workload, spec=spec, out=out)
            except RuntimeError as error:
                notes[name] = "failed: " + str(error).strip().splitlines()[-1][:200]
                continue
            if reply.get("not_offered"):
                notes[name] = "not offered"
            elif round_ == 0:
                first[name] = reply
                if contender.contender.requirements and reply["wall"] > SLOW:
                    runs[name] = [reply]
            else:
                runs.setdefault(name, []).append(reply)
    medians = {n: {k: statistics.median(r[k] for r in rs) for k in rs[0]} | {"runs": len(rs)} for n, rs in runs.items()}
    result = {"workload": workload, "title": TITLES[workload], "first": first, "medians": medians, "notes": notes}
    result["differences"] = differences(workload, running, medians, spec, cache)
    result["versions"] = {r.contender.name: r.versions for r in running}
    report.print_table(result)
    return result


def _folder(cache: Path, name: str) -> Path:
    folder = cache / "out" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def differences(
    workload: str, running: Sequence[Running], medians: dict[str, Any], spec: dict[str, Any], cache: Path
) -> dict[str, str]:
    """What each contender's last result differs from ours."""
    arrays: dict[str, np.ndarray] = {}
    out = {}
    for contender in running:
        name = contender.contender.name
        folder = cache / "out" / name
        if name == "decode" or name not in medians:
            continue
        try:
            contender.ask("array", workload=workload, spec=spec, out=str(folder))
            arrays[name] = np.load(folder / "result.npy")
        except RuntimeError as error:
            out[name] = "result unreadable: " + str(error).strip().splitlines()[-1][:160]
    ours = arrays.get("ours")
    for name, array in arrays.items():
        if name != "ours" and ours is not None:
            out[name] = report.difference(ours, array)
    return out


def _elsewhere(workload: str) -> str:
    here = Path(__file__).parent
    if workload in ("W6", "W7"):
        script = "wasp" if workload == "W6" else "lis"
        return "see these" if (here / f"{script}.py").is_file() else f"tests/bench/{script}.py does not exist yet"
    if workload == "W5":
        services = ROOT / "backend" / "services"
        served = any(p.name != "__init__.py" for p in services.glob("*.py"))
        return "served, not measured by this command" if served else "not offered yet"
    return "does not exist yet"


def compare(ratios: dict[str, Any], options: argparse.Namespace) -> int:
    """Print how the ratios moved since the baseline; 1 where one is more than 20 % worse."""
    here = {w: {"ratio_to_decode": r[0], "ratio_to_odcstac": r[1]} for w, r in ratios.items()}
    if options.store or not BASELINE.is_file():
        BASELINE.write_text(json.dumps(here, indent=2) + os.linesep)
        print(f"kept in {BASELINE.name}")
        return 0
    failed = 0
    stored = json.loads(BASELINE.read_text())
    for workload, now in here.items():
        before = stored.get(workload, {}).get("ratio_to_decode")
        if not before or not now["ratio_to_decode"]:
            continue
        worse = now["ratio_to_decode"] / before
        failed |= worse > REGRESSION
        print(f"{workload} ratio_to_decode {now['ratio_to_decode']:.2f}, stored {before:.2f}: {'REGRESSION' if worse > REGRESSION else 'ok'} ({worse - 1:+.0%})")  # fmt: skip
    return int(failed)


if __name__ == "__main__":
    main()
