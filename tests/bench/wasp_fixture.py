"""The synthesis beside the real WASP 1.0: both against the truth of the parity fixtures.

    python -m tests.bench.wasp_fixture [--fixtures ../shared/data/parity/wasp]

The products of each fixture are ingested and synthesised as from any archive, in mode ``plus``; the program's images lie in
the fixture. Per band, on land: RMSE (DN) of both, and ours as a share of the program's for RMSE, 99th percentile and the seam
metric of `tests.bench.wasp_truth`. The mode ``wasp1`` is compared with the program pixel by pixel.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio

from backend.catalogue import open_catalogue
from backend.settings import Settings
from processes.band_names import padded
from processes.env import Env, Limits
from processes.stages import make_stage, run_here
from processes.wasp import CHAIN
from tests.bench.wasp_truth import TARGETS

GROUPS = {"R1": ("B2", "B3", "B4", "B8"), "R2": ("B5", "B6", "B7", "B8A", "B11", "B12")}


def band(path: str | Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)


def synthesised(folder: Path, work: Path, **params: Any) -> pystac.Item:
    """Our synthesis of a fixture's products."""
    found = open_catalogue(Settings(archive=folder / "inputs", data_dir=work / "data"))  # type: ignore[call-arg]
    found.ingest([folder / "inputs"])
    meta = json.loads((folder / "outputs/metadata.json").read_text())
    asked = {"date": meta["synthesis_date"], "half_window": meta["half_window_days"], **params}
    stage = make_stage(CHAIN.id, list(found.search("SENTINEL2_L2A_MAJA")), asked)
    return run_here(stage, Env(workspace=work, limits=Limits(threads=2)))[0]


def scores(error: np.ndarray, seen: np.ndarray, clear: np.ndarray) -> dict[str, float]:
    """RMSE, 99th percentile and standard deviation of the step of the error across the edges of what dates see."""
    edge = (clear[:, :, 1:] != clear[:, :, :-1]).any(axis=0) & seen[:, 1:] & seen[:, :-1]
    return {
        "rmse": float(np.sqrt((error[seen] ** 2).mean())),
        "p99": float(np.quantile(np.abs(error[seen]), 0.99)),
        "seam": float((error[:, 1:] - error[:, :-1])[edge].std()),
    }


def clear_dates(folder: Path, group: str) -> np.ndarray:
    """(T, h, w) bool, land seen clear inside the swath."""
    each = []
    for product in sorted((folder / "inputs").iterdir()):
        cloud, surface, edge = (band(product / f"MASKS/{product.name}_{m}_{group}.tif") for m in ("CLM", "MG2", "EDG"))
        each.append(((cloud & 1) == 0) & ((surface & 5) == 0) & (edge == 0))
    return np.stack(each)


def compare(folder: Path, item: pystac.Item) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    """Per band the scores of ours and of the program."""
    surface = band(folder / "truth/surface_R2.tif")
    out = {}
    for group, names in GROUPS.items():
        clear = clear_dates(folder, group)
        kind = surface if group == "R2" else np.kron(surface, np.ones((2, 2), surface.dtype))
        seen = (kind == 0) & clear.any(axis=0) & (band(folder / f"outputs/FLG_{group}.tif") == 4)
        for name in names:
            truth = band(folder / f"truth/reflectance_{name}.tif").astype(np.float64)
            ours, theirs = band(item.assets[f"FRC_{padded(name)}"].href), band(folder / f"outputs/FRC_{name}.tif")
            out[name] = scores(ours - truth, seen, clear), scores(theirs - truth, seen, clear)
    return out


def differing(folder: Path, item: pystac.Item) -> str:
    """How many pixels of ``wasp1`` are not the program's, per layer."""
    told = []
    for group, names in GROUPS.items():
        defined = np.ones(1, bool) if group == "R1" else band(folder / f"outputs/FLG_{group}.tif") != 1
        for kind in ("FLG", "WGT", "DTS"):
            off = band(item.assets[f"{kind}_{group}"].href) != band(folder / f"outputs/{kind}_{group}.tif")
            told.append(f"{kind}_{group} {int((off & defined).sum())}")
        for name in names:
            off = band(item.assets[f"FRC_{padded(name)}"].href).astype(int) - band(folder / f"outputs/FRC_{name}.tif")
            off = np.abs(off) * defined
            told.append(f"{name} {int((off > 0).sum())}" + (f" (by {off.max()})" if off.any() else ""))
    return ", ".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fixtures", type=Path, default=Path("../shared/data/parity/wasp"))
    for folder in sorted(p.parent.parent for p in parser.parse_args().fixtures.glob("*/outputs/metadata.json")):
        with tempfile.TemporaryDirectory() as work:
            found = compare(folder, synthesised(folder, Path(work) / "plus"))
            exact = differing(folder, synthesised(folder, Path(work) / "wasp1", mode="wasp1"))
        print(f"{folder.name}\n  wasp1, pixels that are not WASP 1.0's: {exact}")
        print("  plus       " + " ".join(f"{name:>5s}" for name in found))
        for title, which in (("RMSE WASP 1.0", 1), ("RMSE ours", 0)):
            print(f"  {title:13s}" + " ".join(f"{pair[which]['rmse']:5.0f}" for pair in found.values()))
        for k, target in TARGETS.items():
            ratios = [ours[k] / theirs[k] for ours, theirs in found.values()]
            met = sum(r <= target for r in ratios)
            print(
                f"  {k:5s} ratio  " + " ".join(f"{r:5.2f}" for r in ratios) + f"   <= {target}: {met} of {len(ratios)}"
            )


if __name__ == "__main__":
    main()
