"""W9: a block of six 20 m bands brought to 10 m: ours, the same formula with scipy's filters, and reading the inputs.

    python -m tests.bench.superres_block [SIZE]

Interleaved in one run, one thread, medians of three, seconds of CPU. SIZE is the side of the block in pixels of 10 m.
"scipy" filters with `gaussian_filter` and `zoom`; reading decodes the ten bands from lossless JPEG 2000 (as Sentinel-2
products have them) and from deflate. The error against the synthetic truth stands beside that of cubic interpolation.
The last line is JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from processes.superres.merging import MTF, degraded, fit_weights, merge_resolutions
from tests.bench.maja_kernel import read_band, write_band

REPEAT = 3


def scene(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Fields, grain and texture: four bands and six others at 10 m, float32 reflectance."""
    rng = np.random.default_rng(9)
    cells = -(-size // 16)
    fields = rng.integers(0, 12, (cells, cells)).repeat(16, 0).repeat(16, 1)[:size, :size]
    spectra = rng.uniform(0.02, 0.45, (12, 10))
    grain = gaussian_filter(rng.standard_normal((size, size)), 1.2) * 0.15
    own = [gaussian_filter(rng.standard_normal((size, size)), 4) * 0.05 for _ in range(10)]
    bands = np.stack([spectra[fields, b] * (1 + grain) + own[b] for b in range(10)]).clip(0.001)
    return bands[:4].astype(np.float32), bands[4:].astype(np.float32)


def with_scipy(high: np.ndarray, low: np.ndarray, weights: np.ndarray, mtf: float) -> np.ndarray:
    """The formula with scipy's filters: Gaussian, means of 2 x 2, cubic spline interpolation."""
    sigma = np.sqrt(-2 * np.log(mtf / np.cos(np.pi / 4))) * 2 / np.pi
    pan = np.tensordot(weights, high, 1)
    smooth = gaussian_filter(pan, sigma, truncate=5)
    seen = smooth.reshape(low.shape[0], 2, low.shape[1], 2).mean(axis=(1, 3))
    return pan + zoom(low - seen, 2, order=3, mode="grid-mirror", grid_mode=True)


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def run(size: int, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    high, truth = scene(size)
    low = {name: degraded(band, mtf) for (name, mtf), band in zip(MTF.items(), truth, strict=True)}
    weights = {name: fit_weights(high, low[name], mtf) for name, mtf in MTF.items()}
    files = {f"{i}": band for i, band in enumerate(high)} | low
    for name, values in files.items():
        dn = np.rint(values * 10000 + 1000).astype(np.uint16)
        write_band(folder / f"{name}.jp2", dn, driver="JP2OpenJPEG", quality=100, reversible="yes")
        write_band(folder / f"{name}.tif", dn, driver="COG", compress="deflate", predictor=2, level=6, blocksize=512)
    results: dict[str, list[np.ndarray]] = {}

    def merged(title: str, work: Callable[..., np.ndarray]) -> None:
        results[title] = [work(high, low[name], weights[name], mtf) for name, mtf in MTF.items()]

    def read(suffix: str) -> None:
        for name in files:
            read_band(folder / f"{name}.{suffix}")

    contenders: dict[str, Callable[[], None]] = {
        "ours": lambda: merged("ours", merge_resolutions),
        "scipy": lambda: merged("scipy", with_scipy),
        "JP2": lambda: read("jp2"),
        "COG": lambda: read("tif"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    contenders["ours"]()  # compiled, or taken from numba's cache
    for _ in range(REPEAT):
        for name, work in contenders.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    cubic = [merge_resolutions(high, low[n], np.zeros(4, np.float32), mtf) for n, mtf in MTF.items()]
    errors = {title: rmse(np.stack(made), truth) for title, made in {**results, "cubic": cubic}.items()}
    return {name: statistics.median(values) for name, values in seconds.items()}, errors


def main(size: int = 1024) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cpu, errors = run(size, Path(folder))
    mpix = size**2 / 1e6
    for name, value in cpu.items():
        error = f"  RMSE {errors[name]:.4f}" if name in errors else ""
        print(f"{name:<6} {value:7.3f} CPU-s  {value / mpix:7.3f} CPU-s per Mpix of ten bands{error}")
    print(f"cubic interpolation: RMSE {errors['cubic']:.4f}")
    ratios = {
        "ratio_to_reading": cpu["ours"] / cpu["JP2"],
        "ratio_to_cog": cpu["ours"] / cpu["COG"],
        "ratio_to_scipy": cpu["ours"] / cpu["scipy"],
    }
    figures = {"workload": "W9", "size": size, "cpu": cpu, "rmse": errors, **ratios}
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)
