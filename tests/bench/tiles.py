"""W5: how long map tiles take, through HTTP, beside reading the same tiles with rasterio alone.

    python -m tests.bench.tiles [--size 2048] [--dates 12] [--slots 2]

``tuile serve`` runs as an operator starts it; services show the benchmark's archive: ``rgb`` (true colours of one date),
``ndvi`` (of one date) and ``composite`` (median NDVI of all dates, clouds masked). Tiles are 256 x 256 PNG. Milliseconds
(median, p95; CPU time per tile of the server and all its processes, the figure to trust on a shared machine), each tile
measured where it has not been drawn before:

- ``cold``: the first tile of a server that has just started (processes import, the graph is planned, the stretch found);
- ``drawn``: at the data's resolution, one after the other, as a viewer asks (row by row);
- ``drawn10``: the same, ten requests at a time;
- ``random``: at half the resolution, one after the other in random order;
- ``overview``: at a quarter and less;
- ``kept``, ``kept10``: tiles that were drawn before (a cache on disk), one and ten at a time.

``rasterio`` is the plain way without graph, HTTP or cache: one process warps the bands of a tile from files it keeps open
and packs a PNG (level 1).

``main(size)`` prints one JSON line.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from affine import Affine

from backend.services.mercator import CRS, Bounds, Tile, in_plane, range_of, resolution
from tests.bench.archive import Plan, archive
from tests.bench.peers.graphs import composite, load, node, ref
from tests.bench.worker import living_children
from tests.bench.workloads import specification

ROOT = Path(__file__).resolve().parents[2]
NATIVE = 14  # the zoom whose pixels are next below 10 m at the archive's latitude
SERVICES = ("rgb", "ndvi", "composite")
MOST = 64  # tiles of a measurement
CONCURRENT = 10
WARMING = 3
USER, PASSWORD = "bench", "bench-password"
_kept = threading.local()


def main(size: int = 2048, dates: int = 12, slots: int = 2, cache: Path | None = None) -> dict[str, Any]:
    """Measure, print one JSON line, return it."""
    described = archive(Plan(size, dates), cache or ROOT / ".bench")
    spec = specification(described)
    bounds = in_plane(tuple(spec["bbox"]))
    out: dict[str, Any] = {"workload": "W5", "unit": "ms", "size": size, "dates": dates, "slots": slots}
    for name in SERVICES:
        with server(spec, slots) as (url, token):
            out[name] = measured(create(url, token, graph(name, spec)), bounds)
        print(f"W5 {name}: {out[name]}", file=sys.stderr, flush=True)
    out["rasterio"] = {name: plain(name, spec, bounds) for name in ("rgb", "ndvi")}
    print(json.dumps(out), flush=True)
    return out


def measured(url: str, bounds: Bounds) -> dict[str, Any]:
    """Latencies of the service whose tiles lie at ``url``."""
    left, right = halves(bounds)
    coarse = tiles(bounds, NATIVE - 1)
    random.Random(0).shuffle(coarse)
    overview = [t for z in range(NATIVE - 2, NATIVE - 5, -1) for t in tiles(bounds, z)]
    out: dict[str, Any] = {"cold": round(timed(url, left[-1]), 1)}
    for number in range(WARMING):  # every process of the pool plans the graph and compiles what it needs once
        together(url, [Tile(NATIVE + 4, *corner(right[-1], NATIVE + 4, 4 * number + k)) for k in range(4)])
    seen, apart = left[: MOST - 1], right[:MOST]
    for name, wanted, at_once in (
        ("drawn", seen, 1),
        ("drawn10", apart, CONCURRENT),
        ("random", coarse[:MOST], 1),
        ("overview", overview, 1),
        ("kept", seen, 1),
        ("kept10", [*seen, *apart] * 2, CONCURRENT),
    ):
        before = living_children()
        times = [timed(url, t) for t in wanted] if at_once == 1 else together(url, wanted)
        out[name] = told(times, living_children() - before)
    return out


def tiles(bounds: Bounds, zoom: int) -> list[Tile]:
    """All tiles of a zoom that show data, row by row."""
    first_col, last_col, first_row, last_row = range_of(zoom, bounds)
    return [Tile(zoom, x, y) for y in range(first_row, last_row + 1) for x in range(first_col, last_col + 1)]


def halves(bounds: Bounds) -> tuple[list[Tile], list[Tile]]:
    """The tiles of the data's resolution in two halves that share no block."""
    every = tiles(bounds, NATIVE)
    middle = sorted({t.x // 2 for t in every})
    cut = middle[len(middle) // 2]
    return [t for t in every if t.x // 2 < cut], [t for t in every if t.x // 2 >= cut]


def corner(tile: Tile, zoom: int, number: int) -> tuple[int, int]:
    """Column and row of one of the tiles below ``tile`` in a deeper zoom, far apart from one another."""
    deeper = zoom - tile.z
    across = 1 << deeper
    at = (2 * number) % (across * across)
    return (tile.x << deeper) + at % across, (tile.y << deeper) + at // across


def graph(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The process graph of a service."""
    if name == "composite":
        return composite(spec) | {"save": _png("median", -0.2, 0.9)}
    if name == "ndvi":
        index = node("ndvi", data=ref("load"), nir="B08", red="B04")
        return {"load": load(["B04", "B08"], spec["last_day"]), "ndvi": index, "save": _png("ndvi", -0.2, 0.9)}
    return {"load": load(["B04", "B03", "B02"], spec["last_day"]), "save": _png("load", 0, 0.3)}


def _png(data: str, low: float, high: float) -> dict[str, Any]:
    return node("save_result", True, data=ref(data), format="PNG", options={"min": low, "max": high})


@contextmanager
def server(spec: dict[str, Any], slots: int) -> Iterator[tuple[str, str]]:
    """(address of the API, bearer token) of a fresh server over the archive."""
    with tempfile.TemporaryDirectory(prefix="tuile-bench-") as state:
        environment = os.environ | {
            "TUILE_ARCHIVE": spec["products"],
            "TUILE_DATA_DIR": state,
            "TUILE_TILE_SLOTS": str(slots),
            "TUILE_SYNC_SLOTS": "1",
            "PYTHONPATH": str(ROOT),
        }
        tuile = [sys.executable, "-m", "backend.cli"]
        for command in (["ingest"], ["user", "add", USER, "--password", PASSWORD]):
            subprocess.run([*tuile, *command], env=environment, check=True, capture_output=True)
        log = Path(state, "server.log")
        with log.open("w") as out:
            process = subprocess.Popen([*tuile, "serve", "--port", "0"], env=environment, stdout=out, stderr=out)
        try:
            url = _address(process, log) + "/openeo/1.2"
            basic = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            answer = _ask("GET", f"{url}/credentials/basic", {"Authorization": f"Basic {basic}"})
            yield url, f"Bearer basic//{json.loads(answer[1])['access_token']}"
        finally:
            process.terminate()
            process.wait(30)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(600):
        found = re.search(r"Tuile is at (\S+)", log.read_text())
        if found:
            return found[1].rstrip("/")
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(log.read_text()[-2000:])


def create(url: str, token: str, process_graph: dict[str, Any]) -> str:
    """URL of the tiles of a new service."""
    headers = {"Authorization": token, "Content-Type": "application/json"}
    body = json.dumps({"type": "XYZ", "process": {"process_graph": process_graph}}).encode()
    answer, _ = _ask("POST", f"{url}/services", headers, body)
    _, told = _ask("GET", answer.headers["Location"], headers)
    return json.loads(told)["url"]


def timed(url: str, tile: Tile) -> float:
    """Milliseconds until the whole tile is here. Raises RuntimeError for anything but a picture."""
    began = time.perf_counter()
    _ask("GET", url.format(z=tile.z, x=tile.x, y=tile.y), {})
    return (time.perf_counter() - began) * 1000


def together(url: str, wanted: Sequence[Tile]) -> list[float]:
    """`timed` for all, ten at a time."""
    with ThreadPoolExecutor(CONCURRENT) as pool:
        return list(pool.map(lambda t: timed(url, t), wanted))


def _ask(
    method: str, url: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    """One request over this thread's connection, which stays open as a browser's does."""
    parts = urlsplit(url)
    connections = _kept.__dict__.setdefault("connections", {})
    if parts.netloc not in connections:
        connections[parts.netloc] = http.client.HTTPConnection(parts.netloc, timeout=120)
    connection = connections[parts.netloc]
    connection.request(method, parts.path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{answer.status} {content[:500]!r}")
    return answer, content


def told(times: Sequence[float], cpu: float) -> dict[str, float]:
    """Median, 95th percentile, CPU time per tile of ``cpu`` seconds in all."""
    return {
        "n": len(times),
        "median": round(float(np.percentile(times, 50)), 1),
        "p95": round(float(np.percentile(times, 95)), 1),
        "cpu": round(1000 * cpu / len(times), 1),
    }


def plain(name: str, spec: dict[str, Any], bounds: Bounds) -> dict[str, float]:
    """The tiles of ``drawn`` by rasterio, files open, after a round that warms GDAL."""
    import rasterio
    from PIL import Image
    from rasterio.vrt import WarpedVRT
    from rasterio.windows import Window

    bands = ("B04", "B03", "B02") if name == "rgb" else ("B04", "B08")
    times, cpu = [], []
    with rasterio.Env(**spec["gdal"]):
        every = tiles(bounds, NATIVE)
        west, north, step = every[0].bounds[0], every[0].bounds[3], resolution(NATIVE)
        size = {"width": 256 * (every[-1].x - every[0].x + 1), "height": 256 * (every[-1].y - every[0].y + 1)}
        grid = Affine(step, 0, west, 0, -step, north)
        files = [
            WarpedVRT(rasterio.open(spec["items"][-1]["files"][b]), crs=CRS, transform=grid, **size) for b in bands
        ]
        for tile in [*halves(bounds)[1][:8], *halves(bounds)[0][: MOST - 1]]:
            window = Window(256 * (tile.x - every[0].x), 256 * (tile.y - every[0].y), 256, 256)
            began, used = time.perf_counter(), time.process_time()
            held = [f.read(1, window=window) for f in files]
            values = np.stack(held).astype("f4")
            alpha = np.uint8(255) * (values != spec["nodata"]).all(axis=0)
            if name == "ndvi":
                values = (((values[1] - values[0]) / (values[1] + values[0]) + 0.2) / 1.1)[None]
            else:
                values = values / 3000
            grey = (np.clip(np.nan_to_num(values), 0, 1) * 255).astype("u1")
            Image.fromarray(np.dstack([*grey, alpha])).save(io.BytesIO(), "PNG", compress_level=1)
            times.append((time.perf_counter() - began) * 1000)
            cpu.append(time.process_time() - used)
    return told(times[8:], sum(cpu[8:]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="pixels of 10 m along the archive's side")
    parser.add_argument("--dates", type=int, default=12)
    parser.add_argument("--slots", type=int, default=2, help="processes that draw")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server must not outlive this process
    main(given.size, given.dates, given.slots)
