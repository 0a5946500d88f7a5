"""Peak memory of a median composite over dates and area: it must follow the limit, not the request.

    python -m tests.bench.memory [ARCHIVE] [--limits 1,2,4] [--dates 12,35,70] [--sizes 1372,2745,5490] [--bands 10] [--docs]

ARCHIVE holds at least one MUSCATE product with B2, B3, B4, B8 (and perhaps more) of a full tile; more dates and bands are
links to the same files under other names (memory does not depend on what the pixels are). Every request runs in a
process of its own, as ``tuile run`` would; its peak resident memory is what ``/usr/bin/time -v`` tells. Exits with
status 1 where a peak exceeds the limit.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.bench import report
from tests.bench.archive import Plan, archive

ROOT = Path(__file__).resolve().parents[2]
BANDS = ("B2", "B3", "B4", "B8", "B5", "B6", "B7", "B8A", "B11", "B12")


def linked(products: Path, into: Path, dates: int, bands: int) -> Path:
    """An archive of ``dates`` products with ``bands`` bands whose files are links into ``archive``."""
    found = sorted(p for p in products.rglob("SENTINEL2?_*") if p.is_dir())
    usable = [p for p in found if any(p.glob("*_FRE_B*.tif"))]
    if not usable:
        raise SystemExit(f"{products} holds no MUSCATE product")
    root = into / f"{dates}x{bands}"
    for n in range(dates):
        source = usable[n % len(usable)]
        rasters = sorted(source.glob("*_FRE_B*.tif"))
        mask = next(source.glob("MASKS/*_CLM_R1.tif"), None)
        tile = re.search(r"_T\d{2}[A-Z]{3}_", source.name)
        name = f"SENTINEL2A_{date(2022, 1, 3) + timedelta(days=5 * n):%Y%m%d}-103000-000_L2A{tile[0] if tile else '_T31TCJ_'}D_V3-0"
        (root / name / "MASKS").mkdir(parents=True)
        for band in BANDS[:bands]:
            own = [r for r in rasters if r.stem.endswith(f"_{band}")] or [rasters[BANDS.index(band) % len(rasters)]]
            (root / name / f"{name}_FRE_{band}.tif").symlink_to(own[0].resolve())
        if mask is not None:
            (root / name / "MASKS" / f"{name}_CLM_R1.tif").symlink_to(mask.resolve())
    return root


def child(request: dict[str, Any]) -> dict[str, float]:
    """Compute one composite in this process."""
    from backend.catalogue import open_catalogue
    from backend.graph.run import execute
    from backend.settings import Settings
    from processes.env import Env, Limits

    catalogue = open_catalogue(Settings(archive=[Path(request["archive"])], data_dir=Path(request["state"])))
    item = catalogue.search("SENTINEL2_L2A_MAJA", limit=1)[0]
    asset = next(a for k, a in item.assets.items() if k.startswith("FRE"))
    x, y = asset.extra_fields["proj:transform"][2], asset.extra_fields["proj:transform"][5]
    side = request["size"] * 10.0
    names = [b if len(b) == 3 else f"B0{b[1]}" for b in BANDS[: request["bands"]]]
    extent = {"west": x, "east": x + side, "south": y - side, "north": y, "crs": str(item.properties["proj:code"])}
    middle = {
        "process_graph": {
            "m": {"process_id": "median", "arguments": {"data": {"from_parameter": "data"}}, "result": True}
        }
    }
    graph = {
        "load": {"process_id": "load_collection", "arguments": {"id": "SENTINEL2_L2A_MAJA", "spatial_extent": extent, "temporal_extent": None, "bands": names}},
        "median": {"process_id": "reduce_dimension", "arguments": {"data": {"from_node": "load"}, "dimension": "t", "reducer": middle}},
        "save": {"process_id": "save_result", "arguments": {"data": {"from_node": "median"}, "format": "COG"}, "result": True},
    }  # fmt: skip
    out = Path(request["out"])
    out.mkdir(exist_ok=True)
    env = Env(catalogue, limits=Limits(memory=request["limit"], threads=request["threads"]))
    began = time.perf_counter()
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assets = execute({"process_graph": graph}, env, out)
    used = resource.getrusage(resource.RUSAGE_SELF)
    for asset_ in assets:
        asset_.path.unlink()
    return {
        "peak": used.ru_maxrss * 1024, "before": held, "wall": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime,
    }  # fmt: skip


def measured(
    products: Path, scratch: Path, dates: int, size: int, limit: int, options: argparse.Namespace
) -> dict[str, Any]:
    """One composite in a process of its own."""
    links, state = scratch / f"{dates}x{options.bands}", scratch / f"state-{dates}"
    if not links.is_dir():
        linked(products, scratch, dates, options.bands)
        _index(links, state)
    request = {
        "archive": str(links), "state": str(state), "out": str(scratch / "out"), "size": size,
        "bands": options.bands, "limit": limit, "threads": options.threads,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.memory", "--child", json.dumps(request)],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    return found | {"dates": dates, "size": size, "bands": options.bands, "limit": limit}


def recorded(log: Path, told: str) -> dict[str, Any]:
    """A run of ``tuile run`` under ``/usr/bin/time -v``, from what that wrote. ``told``: dates, bands, size and limit as
    ``70,10,10980,4000000000``."""
    text = log.read_text()

    def value(name: str) -> str:
        return re.search(rf"{re.escape(name)}: (.*)", text)[1]  # type: ignore[index]

    if value("Exit status") != "0":
        raise SystemExit(f"{log}: the run failed")
    dates, bands, size, limit = (int(v) for v in told.split(","))
    clock = [float(v) for v in value("Elapsed (wall clock) time (h:mm:ss or m:ss)").split(":")]
    return {
        "dates": dates, "bands": bands, "size": size, "limit": limit, "command": value("Command being timed").strip('"'),
        "peak": int(value("Maximum resident set size (kbytes)")) * 1024,
        "cpu": float(value("User time (seconds)")) + float(value("System time (seconds)")),
        "wall": sum(v * 60**k for k, v in enumerate(reversed(clock))),
    }  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, nargs="?", help="by default one of 5490 pixels is generated")
    parser.add_argument("--limits", type=lambda v: [float(i) for i in v.split(",")], default=[1.0, 2.0, 4.0],
                        help="TUILE_MEMORY_LIMIT in GiB; the last one for the curves, all for the most dates")  # fmt: skip
    parser.add_argument("--dates", type=lambda v: [int(i) for i in v.split(",")], default=[12, 35, 70])
    parser.add_argument("--sizes", type=lambda v: [int(i) for i in v.split(",")], default=[1372, 2745, 5490])
    parser.add_argument("--bands", type=int, choices=range(1, 11), default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--recorded", nargs=2, metavar=("LOG", "DATES,BANDS,SIZE,LIMIT"),
                        help="add a run of `/usr/bin/time -v tuile run` from what it wrote")  # fmt: skip
    parser.add_argument("--docs", action="store_true", help="write the table into docs/explanation/performance.md")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = _options()
    if options.child:
        print(json.dumps(child(json.loads(options.child))))
        return
    source = options.archive
    if source is None:
        source = Path(archive(Plan(5490, 2), ROOT / ".bench")["products"])
    middle, most, last = sorted(options.sizes)[len(options.sizes) // 2], max(options.dates), options.limits[-1]
    steps = [(d, middle, last) for d in options.dates] + [
        (options.dates[0], s, last) for s in options.sizes if s != middle
    ]
    steps += [(most, middle, g) for g in options.limits[:-1]]
    found = []
    print(
        f"median over dates, {options.bands} bands, {options.threads} threads\n   dates   pixels  limit GiB      peak MB   wall s    CPU s"
    )
    with tempfile.TemporaryDirectory() as folder:
        for dates, size, limit in steps:
            found.append(measured(source.resolve(), Path(folder), dates, size, int(limit * 2**30), options))
            print("".join(v.rjust(w) for v, w in zip(_row(found[-1]), (8, 5, 9, 11, 13, 9, 9))), flush=True)
    if options.recorded:
        found.append(recorded(Path(options.recorded[0]), options.recorded[1]))
    if options.docs:
        _write(found, options)
    sys.exit(any(f["peak"] > f["limit"] for f in found))


def _row(found: dict[str, Any]) -> list[str]:
    over = " OVER" if found["peak"] > found["limit"] else ""
    return [
        str(found["dates"]), str(found["bands"]), str(found["size"]), f"{found['limit'] / 2**30:.2f}",
        f"{found['peak'] / 2**20:.0f}{over}", f"{found['wall']:.0f}", f"{found['cpu']:.0f}",
    ]  # fmt: skip


def _write(found: list[dict[str, Any]], options: argparse.Namespace) -> None:
    docs = ROOT / "docs"
    command = "python -m tests.bench --memory"
    columns = ["dates", "bands", "pixels along a side", "limit GiB", "peak MiB", "wall s", "CPU s"]
    lines = [f"`{command}` on {report.machine()}; {options.threads} threads; median over all dates, to a COG. The peak is that of "
             "the whole process, the program itself (some 300 MiB) included.", ""]  # fmt: skip
    lines += report.markdown(columns, [_row(f) for f in found], left=())
    lines += [f"\nThe last line: `/usr/bin/time -v {f['command']}` with `TUILE_MEMORY_LIMIT={f['limit']}`." for f in found if "command" in f]  # fmt: skip
    lines += ["", "![Peak memory](../assets/performance-memory.svg)"]
    _plot(found, docs / "assets" / "performance-memory.svg")
    data = {"command": command, "machine": report.machine(), "runs": found}
    (docs / "assets" / "performance-memory.json").write_text(json.dumps(data, indent=1) + "\n")
    report.replace_block(docs / "explanation" / "performance.md", "memory", lines)


def _plot(found: list[dict[str, Any]], path: Path) -> None:
    """Peak against values read, one mark per run, beside its limit."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for limit in sorted({f["limit"] for f in found}):
        runs = sorted((f["dates"] * f["bands"] * f["size"] ** 2 * 2 / 1e9, f["peak"] / 2**30) for f in found if f["limit"] == limit)  # fmt: skip
        (line,) = axes.plot(*zip(*runs), "o-", markersize=4, label=f"TUILE_MEMORY_LIMIT {limit / 2**30:.2f} GiB")
        axes.axhline(limit / 2**30, color=line.get_color(), linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlabel("GB read (uncompressed)")
    axes.set_ylabel("peak, GiB")
    axes.set_ylim(0)
    axes.legend(fontsize=7)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _index(links: Path, state: Path) -> None:
    """Take the archive into an index, in a process of its own: what that needs is not the request's."""
    state.mkdir()
    code = (
        "import sys; from pathlib import Path; from backend.catalogue import open_catalogue; from backend.settings import Settings; "
        "a = Path(sys.argv[1]); open_catalogue(Settings(archive=[a], data_dir=Path(sys.argv[2]))).ingest([a])"
    )
    subprocess.run([sys.executable, "-c", code, str(links), str(state)], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
