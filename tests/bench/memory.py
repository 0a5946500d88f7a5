"""Peak memory of a median composite over dates and area: it must follow the limit, not the request.

    python -m tests.bench.memory ARCHIVE [--limit 4] [--dates 12,70] [--sizes 2745,5490,10980] [--bands 4|10] [--threads 2]

ARCHIVE holds at least one MUSCATE product with B2, B3, B4, B8 (and perhaps more) of a full tile; more dates and bands are
links to the same files under other names (memory does not depend on what the pixels are). Every request runs in a
process of its own, as ``tuile run`` would; its peak resident memory is what ``/usr/bin/time -v`` tells. Exits with
status 1 where a peak exceeds the limit.
"""

from __future__ import annotations

import argparse
import itertools
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

BANDS = ("B2", "B3", "B4", "B8", "B5", "B6", "B7", "B8A", "B11", "B12")


def linked(archive: Path, into: Path, dates: int, bands: int) -> Path:
    """An archive of ``dates`` products with ``bands`` bands whose files are links into ``archive``."""
    found = sorted(p for p in archive.rglob("SENTINEL2?_*") if p.is_dir())
    products = [p for p in found if any(p.glob("*_FRE_B*.tif"))]
    if not products:
        raise SystemExit(f"{archive} holds no MUSCATE product")
    root = into / f"{dates}x{bands}"
    for n in range(dates):
        source = products[n % len(products)]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, nargs="?")
    parser.add_argument("--limit", type=float, default=4.0, help="TUILE_MEMORY_LIMIT in GiB")
    parser.add_argument("--dates", type=lambda v: [int(i) for i in v.split(",")], default=[12, 70])
    parser.add_argument("--sizes", type=lambda v: [int(i) for i in v.split(",")], default=[2745, 5490, 10980])
    parser.add_argument("--bands", type=int, choices=range(1, 11), default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(json.loads(options.child))))
        return
    limit = int(options.limit * 2**30)
    print(
        f"median over dates, {options.bands} bands, TUILE_MEMORY_LIMIT {options.limit:g} GiB, {options.threads} threads"
    )
    print("   dates   pixels      peak MB   wall s    CPU s")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for dates, size in itertools.product(options.dates, options.sizes):
            archive = scratch / f"{dates}x{options.bands}"
            state = scratch / f"state-{dates}"
            if not archive.is_dir():
                linked(options.archive, scratch, dates, options.bands)
                _index(archive, state)
            request = {
                "archive": str(archive), "state": str(state), "out": str(scratch / "out"), "size": size,
                "bands": options.bands, "limit": limit, "threads": options.threads,
            }  # fmt: skip
            done = subprocess.run(
                [sys.executable, "-m", "tests.bench.memory", "--child", json.dumps(request)],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            found = json.loads(done.stdout.splitlines()[-1])
            over = found["peak"] > limit
            failed |= over
            print(
                f"{dates:8} {size:8} {found['peak'] / 1e6:12.0f} {found['wall']:8.1f} {found['cpu']:8.1f}{'   OVER THE LIMIT' if over else ''}",
                flush=True,
            )
    sys.exit(failed)


def _index(archive: Path, state: Path) -> None:
    """Take the archive into an index, in a process of its own: what that needs is not the request's."""
    state.mkdir()
    code = (
        "import sys; from pathlib import Path; from backend.catalogue import open_catalogue; from backend.settings import Settings; "
        "a = Path(sys.argv[1]); open_catalogue(Settings(archive=[a], data_dir=Path(sys.argv[2]))).ingest([a])"
    )
    subprocess.run([sys.executable, "-c", code, str(archive), str(state)], check=True)


if __name__ == "__main__":
    main()
