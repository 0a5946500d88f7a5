"""Is the generated archive as hard to read as real products?

    python -m tests.bench.realism [--docs]

Bands of real products (the shared samples, read where they lie: `TUILE_SHARED`, by default ../shared) are written anew
as the archive is (deflate 6, predictor 2, blocks of 512; small ones repeated to 2048 pixels, which gives deflate
nothing, for it looks back 32 KB) and decoded like it. Told are the share of the raw size that is left and
the speed of decoding with rasterio on one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from tests.bench import report
from tests.bench.archive import Plan, archive
from tests.bench.workloads import GDAL

ROOT = Path(__file__).resolve().parents[2]
REAL = {
    "MUSCATE L2A T30TYP, FRE": "muscate_l2a_T30TYP_20181023/*/*_FRE_B[2348].tif",
    "Sentinel-2 L2A T48QUE": "s2_l2a_T48QUE_20200223_majortom/**/B0[2348].tif",
}
BANDS = ("B02", "B03", "B04", "B08")


def decoding(path: Path) -> float:
    """MB (raw) per CPU second, best of five."""
    best = float("inf")
    with rasterio.Env(**GDAL), rasterio.open(path) as source:
        height, width = source.shape
        raw = height * width * np.dtype(source.dtypes[0]).itemsize / 1e6
        target = np.empty((512, 512), source.dtypes[0])
        for _ in range(5):
            began = time.process_time()
            for r in range(0, height, 512):
                for c in range(0, width, 512):
                    h, w = min(512, height - r), min(512, width - c)
                    source.read(1, window=Window(c, r, w, h), out=target[:h, :w])
            best = min(best, time.process_time() - began)
    return raw / best


def rewritten(path: Path, folder: Path) -> tuple[Path, float]:
    """The band in the archive's form, and its size as a share of the raw one."""
    with rasterio.open(path) as source:
        pixels = source.read(1)
    times = max(1, 2048 // max(pixels.shape))
    pixels = np.tile(pixels, (times, times))
    out = folder / "band.tif"
    with rasterio.open(
        out, "w", driver="GTiff", height=pixels.shape[0], width=pixels.shape[1], count=1, dtype=pixels.dtype, tiled=True,
        blockxsize=512, blockysize=512, compress="deflate", zlevel=6, predictor=2, crs="EPSG:32631",
        transform=rasterio.Affine(10, 0, 0, 0, -10, 0),
    ) as file:  # fmt: skip
        file.write(pixels, 1)
    return out, out.stat().st_size / pixels.nbytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="write the table into docs/explanation/performance.md")
    options = parser.parse_args()
    shared = Path(os.environ.get("TUILE_SHARED", ROOT.parent / "shared")) / "data"
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for title, pattern in REAL.items():
            for path in sorted(shared.glob(pattern)):
                made, share = rewritten(path, Path(name))
                rows.append([title, path.stem.rpartition("_")[2], f"{share:.2f}", f"{decoding(made):.0f}"])
        generated = archive(Plan(2048, 12), ROOT / ".bench")
        for band in BANDS:
            paths = [Path(i["files"][band]) for i in generated["items"][:3]]
            shares = [rewritten(p, Path(name))[1] for p in paths]  # without the overviews
            speed = statistics.median(decoding(p) for p in paths)
            rows.append(["generated", band, f"{statistics.median(shares):.2f}", f"{speed:.0f}"])
    if len(rows) == len(BANDS):
        raise SystemExit(f"no real products under {shared}: set TUILE_SHARED")
    columns = ["", "band", "size / raw size", "decoded, MB per CPU s"]
    print("\n".join(" ".join(v.ljust(26) for v in row) for row in [columns, *rows]))
    if options.docs:
        lines = [
            f"`python -m tests.bench --realism` on {report.machine()}.",
            "",
            *report.markdown(columns, rows, (0, 1)),
        ]
        report.replace_block(ROOT / "docs" / "explanation" / "performance.md", "realism", lines)


if __name__ == "__main__":
    main()
