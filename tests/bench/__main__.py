"""Speed of Tuile beside the limit and beside its peers, on the same files, in one run.

    python -m tests.bench [--only W1,W2,W6] [--size 2048] [--compression deflate|zstd|both] [--peers none|installed|all]
    python -m tests.bench --quick      ratios against tests/bench/baseline.json; fails above 20 %
    python -m tests.bench --tile       decode, ours and odc-stac on a whole tile of 10980 pixels, one run each (12 GB of disk)
    python -m tests.bench --memory     peak memory over dates, area and limits (also: python -m tests.bench.memory)
    python -m tests.bench --growth     time against dates, area, bands, users, items; second core, process, worker
    python -m tests.bench --realism    the generated archive beside real bands (../shared/data)

Every contender is a process of its own that stays; after a warm-up round all take turns, and medians are told. CPU seconds
(all threads and children) are the figures to trust on a shared machine; peak memory is what a run added to its process.
Starting and importing count for `tuile run` only; every contender's import is told beside.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench import guard, others, report
from tests.bench.archive import Plan, archive
from tests.bench.contenders import CONTENDERS, Contender, Running, environment, is_installed
from tests.bench.workloads import TITLES, describe_files, specification

ROOT = Path(__file__).resolve().parents[2]
SLOW = 8.0  # seconds of wall above which a peer's first run is its only one
LIMIT = 300.0  # seconds of wall above which a contender is ended
BUDGET = 330.0  # seconds after which peers take no further turns, so that the whole ends within twelve minutes
QUICK = ("decode", "ours", "odc-stac+xarray")  # with --quick
FEW = (*QUICK, "odc-stac, chunks 512")  # who takes every turn, on the second archive and the whole tile too
HEADER = """ratio_to_decode  = CPU seconds of ours / CPU seconds of decoding the same bytes with rasterio
ratio_to_odcstac = CPU seconds of odc-stac+xarray / CPU seconds of ours (how many times less CPU ours takes)
ratio_to_odcstac_512 = the same with odc-stac's chunks as the blocks of the files"""


def main() -> None:
    options = _options()
    for name in ("memory", "growth", "realism"):
        if getattr(options, name):
            _other_command(name, options)
    cache, began = Path(options.cache), time.monotonic()
    print(f"{report.machine()}\n{HEADER}\n", flush=True)
    passes: list[dict[str, Any]] = []
    for n, compression in enumerate(options.compressions if set(options.only) & set(TITLES) else ()):
        spec = described(options, compression)
        chosen = [c for c in _chosen(options, cache) if (n == 0 and not options.tile) or c.name in FEW]
        passes.append(_pass(chosen, spec, options, began))
    elsewhere = []
    for other in others.OTHERS:
        if other.workload in options.only:
            told = others.run(other, cache / "logs")
            report.print_other(told)
            elsewhere.append(told)
    if options.docs and options.tile:
        report.write_tile(passes[0], ROOT / "docs", options.command)
    elif options.docs and passes:
        report.write(passes, elsewhere, ROOT / "docs", options.command)
    ratios = {r["workload"]: report.ratios(r) for one in passes[:1] for r in one["results"]}
    failed = _judge(ratios, options) if options.quick else 0
    print(f"{time.monotonic() - began:.0f} s in all")
    for workload in ("W1", "W2", "W3"):
        if workload in ratios:
            told = (f"{name} {v:.2f}" if v else f"{name} -" for name, v in ratios[workload].items())
            print(workload, *told)
    sys.exit(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*TITLES, *(o.workload for o in others.OTHERS)]
    parser.add_argument("--only", type=lambda v: v.upper().split(","), help="workloads, as W1,W3")
    parser.add_argument("--size", type=int, help="pixels of 10 m along the tile's side: 2048, 5490, 10980")
    parser.add_argument("--dates", type=int, default=12)
    parser.add_argument("--compression", choices=("deflate", "zstd", "both"))
    parser.add_argument("--peers", choices=("none", "installed", "all"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", default=str(ROOT / ".bench"), help="archives and environments")
    parser.add_argument("--docs", action=argparse.BooleanOptionalAction, help="write docs/explanation/performance.md")
    parser.add_argument("--quick", action="store_true", help="ours, decode and odc-stac where it is installed")
    parser.add_argument("--store", action="store_true", help="with --quick: keep the ratios as the new baseline")
    parser.add_argument("--tile", action="store_true", help="a whole tile, one run each, writing the docs")
    for name in ("memory", "growth", "realism"):
        parser.add_argument(f"--{name}", action="store_true", help=f"python -m tests.bench.{name}, writing the docs")
    options, options.rest = parser.parse_known_args()
    if options.rest and not (options.memory or options.growth or options.realism):
        parser.error(f"unknown: {' '.join(options.rest)}")
    options.command = "make bench" if len(sys.argv) == 1 else "python -m tests.bench " + " ".join(sys.argv[1:])
    whole = options.only is None and options.size is None and options.peers is None and not options.quick
    if options.tile:
        options.only, options.size, options.repeats, whole = ["W1", "W2", "W3"], 10980, 0, True
    if unknown := set(options.only or ()) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: this command measures {', '.join(known)}")
    options.only = options.only or (["W1", "W2", "W3"] if options.quick else known)
    options.size = options.size or 2048
    options.peers = options.peers or ("installed" if options.quick else "all")
    options.docs = whole if options.docs is None else options.docs
    both = ["deflate", "zstd"]
    asked = options.compression or ("both" if whole and not options.tile else "deflate")
    options.compressions = both if asked == "both" else [asked]
    return options


def _other_command(name: str, options: argparse.Namespace) -> None:
    """Run the command of a part that takes long, with what was not understood here as its options."""
    import importlib

    sys.argv = [f"tests.bench.{name}", "--docs", *options.rest]
    importlib.import_module(f"tests.bench.{name}").main()
    sys.exit(0)


def described(options: argparse.Namespace, compression: str) -> dict[str, Any]:
    """The archive, generated unless it is there, and what every contender is told of it."""
    return specification(archive(Plan(options.size, options.dates, compression), Path(options.cache)), options.threads)


def _chosen(options: argparse.Namespace, cache: Path) -> list[Contender]:
    chosen = []
    for c in CONTENDERS:
        if options.quick and c.name not in QUICK:
            continue
        if (
            c.requirements is None
            or options.peers == "all"
            or (options.peers == "installed" and is_installed(c, cache))
        ):
            chosen.append(c)
    return chosen


def _pass(
    chosen: Sequence[Contender], spec: dict[str, Any], options: argparse.Namespace, began: float
) -> dict[str, Any]:
    """All workloads on one archive."""
    cache = Path(options.cache)
    print(f"archive: {report.archive_of(spec)}", flush=True)
    running = start(chosen, spec, cache)
    wanted = [
        w for w in options.only if w in TITLES and (w != "W4" or len(chosen) > len(FEW) or options.only == ["W4"])
    ]
    try:
        results = [measure(w, running, spec, cache, options.repeats, began + BUDGET) for w in wanted]
    finally:
        for contender in running:
            contender.close()
    return {"archive": report.archive_of(spec), "threads": spec["threads"], "results": results}


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
    workload: str, running: Sequence[Running], spec: dict[str, Any], cache: Path, repeats: int, deadline: float
) -> dict[str, Any]:
    """One workload: a warm-up round, then rounds in turn; medians and how the results compare."""
    print(f"{workload}  {TITLES[workload]} ({describe_files(workload, spec)})", flush=True)
    runs: dict[str, list[dict[str, float]]] = {}
    first: dict[str, dict[str, float]] = {}
    notes: dict[str, str] = {}
    for round_ in range(repeats + 1):
        for contender in running:
            name = contender.contender.name
            peer = contender.contender.requirements is not None and name not in FEW
            late = time.monotonic() > deadline and round_ > 1  # everyone has had one turn after the first
            if name in notes or (peer and name in first and (first[name]["wall"] > SLOW or late)):
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
                if repeats == 0 or (peer and reply["wall"] > SLOW):  # its only run, the first though it is
                    runs[name] = [reply]
            else:
                runs.setdefault(name, []).append(reply)
    order = [r.contender.name for r in running if r.contender.name in runs]
    medians = {n: {k: statistics.median(r[k] for r in runs[n]) for k in runs[n][0]} | {"runs": len(runs[n])} for n in order}  # fmt: skip
    result = {"workload": workload, "title": TITLES[workload], "first": first, "medians": medians, "notes": notes}
    result["differences"] = differences(workload, running, medians, spec, cache)
    result["versions"] = {r.contender.name: r.versions for r in running}
    report.print_table(result)
    return result


def _folder(cache: Path, name: str) -> Path:
    folder = cache / "out" / name.replace(" ", "-")
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
        folder = cache / "out" / name.replace(" ", "-")
        if name == "decode" or name not in medians:
            continue
        try:
            contender.ask("array", workload=workload, spec=spec, out=str(folder))
            arrays[name] = np.load(folder / "result.npy", mmap_mode="r")
        except RuntimeError as error:
            out[name] = "result unreadable: " + str(error).strip().splitlines()[-1][:160]
    ours = arrays.get("ours")
    for name, array in arrays.items():
        if name != "ours" and ours is not None:
            out[name] = report.difference(ours, array)
    return out


def _judge(ratios: dict[str, Any], options: argparse.Namespace) -> int:
    """How the ratios moved since the baseline; 1 where one is more than 20 % worse."""
    now = {w: {k: r[k] for k in ("ratio_to_decode", "ratio_to_odcstac")} for w, r in ratios.items()}
    if options.store:
        guard.keep(now)
        print(f"kept in {guard.BASELINE.name}")
        return 0
    stored = {w: r for w, r in guard.stored().items() if w in options.only}
    lines, failed = guard.judge(now, stored)
    print("\n".join(lines))
    return int(failed)


if __name__ == "__main__":
    main()
