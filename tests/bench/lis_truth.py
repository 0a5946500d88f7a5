"""Snow detection against the truth of synthetic scenes (labelled points: `tests.bench.lis_points`).

    python -m tests.bench.lis_truth [--tuning] [--seeds 1401 1402 1403 1404] [--relit 1] [--shared FOLDER]

Prints mode ``plus`` beside mode ``lis``, which is let-it-snow 1.11 pixel by pixel (see tests/unit/processes/lis/
test_parity.py), on seeds that were not looked at while thresholds were chosen, and the figures that the
specification gives for the original on its own scenes.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from processes.lis.detect import Block, detect
from processes.lis.grids import halve
from processes.lis.params import SENSORS, Params
from tests.bench.lis_scene import TUNING, UNSEEN, Scene, scene

S2 = SENSORS["s2_muscate"]


def kappa(called: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Accuracy and Cohen's kappa of two boolean arrays."""
    agree = float((called == truth).mean())
    chance = float(called.mean() * truth.mean() + (1 - called.mean()) * (1 - truth.mean()))
    return agree, (agree - chance) / (1 - chance) if chance < 1 else 1.0


@dataclass
class Sample:
    """Pixels that both modes call clear, of one or more scenes."""

    seb: np.ndarray
    toc: np.ndarray
    fsc: np.ndarray
    shade: np.ndarray
    ice: np.ndarray

    def figures(self) -> dict[str, float]:
        truth, called = self.fsc >= 0.5, self.seb == 100
        out = dict(zip(("acc50", "kappa50"), kappa(called, truth)))
        dry = ~self.ice
        out |= dict(zip(("acc50 no ice", "kappa50 no ice"), kappa(called[dry], truth[dry])))
        out["acc shade"], out["kappa shade"] = kappa(called[self.shade & dry], truth[self.shade & dry])
        out["acc25"], out["kappa25"] = kappa((self.toc > 0)[dry], (self.fsc >= 0.25)[dry])
        out["acc25 by FSC"], out["kappa25 by FSC"] = kappa((self.toc >= 25)[dry], (self.fsc >= 0.25)[dry])
        found = dry & ((self.toc > 0) | (self.fsc > 0.02))
        error = self.toc[found] / 100 - self.fsc[found]
        out["FSC rmse"], out["FSC bias"] = float(np.sqrt((error**2).mean())), float(error.mean())
        return out


def block_of(s: Scene) -> Block:
    return Block(halve(s.green), halve(s.red), s.swir, s.cloud, s.dem, halve(s.blue), s.nir, s.relief, s.tcd, s.mg2)


def judge(
    block: Block, water: np.ndarray, fsc: np.ndarray, shade: np.ndarray, ice: np.ndarray, runs
) -> dict[str, Sample]:
    """Samples by run name, over the pixels that every run calls clear."""
    layers = {name: detect(block, S2, params, mode, water=water, threads=2)[0] for name, (mode, params) in runs.items()}
    clear = np.logical_and.reduce([v["SEB"] <= 100 for v in layers.values()])
    clear &= np.logical_and.reduce([v["FSCTOC"] <= 100 for v in layers.values()])
    return {
        n: Sample(v["SEB"][clear], v["FSCTOC"][clear].astype(float), fsc[clear], shade[clear], ice[clear])
        for n, v in layers.items()
    }


def joined(samples: list[Sample]) -> Sample:
    return Sample(*(np.concatenate([getattr(s, k) for s in samples]) for k in ("seb", "toc", "fsc", "shade", "ice")))


def show(title: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}")
    columns = list(next(iter(rows.values())))
    print(" " * 22 + " ".join(f"{c:>15}" for c in columns))
    for name, row in rows.items():
        print(f"{name:<22}" + " ".join(f"{row[c]:>15.3f}" for c in columns))


RUNS = {
    "original (mode lis)": ("lis", Params()),
    "plus": ("plus", Params()),
    "plus, ice option": ("plus", Params(ice=True)),
}


def synthetic(seeds, relit: float) -> None:
    for mixing in ("linear", "tanh"):
        parts: dict[str, list[Sample]] = {n: [] for n in RUNS}
        for k, seed in enumerate(seeds):
            s = scene(seed, mixing=mixing, swath=k % 2 == 1, line=1500 + 120 * (k % 4), relit=relit)
            for name, sample in judge(block_of(s), s.water, s.fsc, s.shade, s.ice, RUNS).items():
                parts[name].append(sample)
        show(f"Synthetic scenes, {mixing} truth, seeds {seeds}", {n: joined(p).figures() for n, p in parts.items()})
        each = {n: [p.figures()["kappa50"] for p in v] for n, v in parts.items()}
        for name, values in each.items():
            print(f"  kappa50 per seed, {name}: " + " ".join(f"{v:.3f}" for v in values))
    print(
        "\nThe specification's own scenes, the original: kappa50 .836, acc50 .918, kappa25 .978, acc shade .955 and .906, FSC rmse .148"
    )


def fixtures(shared: Path) -> None:
    parts: dict[str, list[Sample]] = {n: [] for n in RUNS}
    for folder in sorted((shared / "data/parity/lis").glob("*/truth")):
        given = {p.stem: _raster(p) for p in (folder.parent / "inputs").glob("*.tif")}
        block = Block(
            halve(given["FRE_B3"]), halve(given["FRE_B4"]), given["FRE_B11"], given["CLM_R2"], given["dem"],
            halve(given["SRE_B2"]), given["SRE_B8A"], given["relief"], given["tcd"], given["MG2_R2"],
        )  # fmt: skip
        shade, fsc = (_raster(folder / "flags.tif") & 2) > 0, _raster(folder / "fsc.tif") / 1e4
        for name, sample in judge(block, given["water"], fsc, shade, np.zeros_like(shade), RUNS).items():
            parts[name].append(sample)
    if all(parts.values()):
        show("Parity fixtures (looked at while tuning)", {n: joined(p).figures() for n, p in parts.items()})


def _raster(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuning", action="store_true", help="use the seeds that thresholds were chosen on")
    parser.add_argument("--seeds", type=int, nargs="+", help="other seeds, for instance UNSEEN_ICE of lis_scene")
    parser.add_argument(
        "--relit", type=float, default=0.25, help="power of cos(i) left on sunny slopes (1: uncorrected)"
    )
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[3] / "shared")
    options = parser.parse_args()
    synthetic(options.seeds or (TUNING if options.tuning else UNSEEN), options.relit)
    fixtures(options.shared)


if __name__ == "__main__":
    main()
