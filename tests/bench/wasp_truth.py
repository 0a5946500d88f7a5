"""Error of the synthesis against synthetic truth: ours in both modes and the unweighted mean.

    python -m tests.bench.wasp_truth [--tuning]

Seeds are the report seeds of `tests.bench.wasp_scenes`, never used while building (``--tuning``: the others). ``wasp1`` is
the recursion of WASP 1.0, which it equals to one digital number. Per scene and band: RMSE (DN), ratio of RMSE and of the
99th percentile of the error to wasp1, and the seam metric: standard deviation of the error's step across swath and
cloud-mask edges, on land seen clear on at least one date.
"""

from __future__ import annotations

import argparse

import numpy as np

from processes.wasp.composite import Block, Options, classify, synthesise, with_dark
from processes.wasp.directional import ROY_2016, factor
from processes.wasp.levels import levelled
from processes.wasp.rims import RimGrid
from processes.wasp.weights import CoarseGrid, aerosol_weight, date_weight
from tests.bench.wasp_scenes import BANDS, REPORT_SEEDS, TUNING_SEEDS, Scene, make_scene

VARIANTS: dict[str, dict[str, object]] = {
    "static, Roy": {},
    "phenology, Roy": {"phenology": True},
    "static, Lambert": {"surface": "lambert"},
    "phenology, perturbed BRDF": {"phenology": True, "surface": "perturbed"},
    "winter, New Year": {"winter": True},
}
TARGETS = {"rmse": 0.9, "p99": 0.7, "seam": 0.5}


def block_of(scene: Scene, options: Options) -> Block:
    """A scene as the block the synthesis takes, weights and factors as products would give them."""
    dates, bands, height, width = scene.dn.shape
    grid = CoarseGrid(height, width, 24, options.mode)
    rims = RimGrid.of(height, width, 10.0, options.weighting.edge_fade)
    weight = np.empty((dates, height, width), np.float32)
    for t, day in enumerate(scene.dates):
        sums = grid.start()
        grid.add(scene.cloud[t], 0, 0, sums)
        away = (day - scene.synthesis).days
        scale = date_weight(away, options.half_window, options.weighting, options.mode)
        aerosol = aerosol_weight(np.rint(scene.aot[t] * 200) / 200, options.weighting)  # as the product stores it
        grid.weight(*grid.fields(sums, options.weighting), aerosol, scale, 0, 0, weight[t])
        if rims is not None:
            cells = rims.start()
            rims.add(scene.cloud[t] | (scene.dn[t, 0] == -10000), 0, 0, cells)
            rims.fade(rims.pack(cells), 0, 0, weight[t])
    nodes = np.empty((dates, bands, 1, 1), np.float32)
    for t in range(dates):
        for b, band in enumerate(BANDS):
            azimuth = scene.sun_azimuth[t] - scene.view_azimuth[t, b]
            nodes[t, b] = factor(ROY_2016[band], scene.sun_zenith[t], scene.view_zenith[t, b], azimuth, options.brdf)
    cls = classify(scene.cloud, scene.water, scene.snow, scene.dn)
    made = Block(scene.dn, cls, scene.dn[:, 0], weight, nodes, nodes[:, 0], np.ones((dates, bands), bool))
    if options.level:
        made = levelled(made, np.rint(scene.aot * 200) / np.float32(200))
    return with_dark(made, 3) if options.robust else made


def unweighted_mean(scene: Scene, cls: np.ndarray) -> np.ndarray:
    """Mean of the clear land values as delivered (B, h, w)."""
    clear = (cls == 4)[:, None] & (scene.dn != -10000)
    return np.where(clear, scene.dn, 0).sum(axis=0) / np.maximum(clear.sum(axis=0), 1)


def edges(scene: Scene, cls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel pairs (left, right) across a swath or cloud edge of any date: where the set of clear dates changes."""
    clear = cls == 4
    changes = (clear[:, :, 1:] != clear[:, :, :-1]).any(axis=0)
    usable = scene.land & clear.any(axis=0)
    pairs = changes & usable[:, 1:] & usable[:, :-1]
    return np.nonzero(pairs)


def scores(scene: Scene, refl: np.ndarray, cls: np.ndarray) -> dict[str, np.ndarray]:
    """RMSE, 99th percentile of the absolute error and seam metric per band, DN."""
    error = refl - scene.truth
    seen = scene.land & (cls == 4).any(axis=0)
    y, x = edges(scene, cls)
    return {
        "rmse": np.sqrt((error[:, seen] ** 2).mean(axis=1)),
        "p99": np.quantile(np.abs(error[:, seen]), 0.99, axis=1),
        "seam": (error[:, y, x + 1] - error[:, y, x]).std(axis=1),
    }


def compare(seed: int, **variant: object) -> dict[str, dict[str, np.ndarray]]:
    """Scores of every method on one scene."""
    scene = make_scene(seed, **variant)  # type: ignore[arg-type]
    out = {}
    for name, options in {
        "wasp1": Options.of(mode="wasp1"),
        "plus": Options.of(),
        "plus, not level": Options.of(level=False),
        "plus, not robust": Options.of(robust=False),
    }.items():
        block = block_of(scene, options)
        out[name] = scores(scene, synthesise(block, scene.dates, scene.synthesis, options).refl, block.cls)
    out["mean"] = scores(scene, unweighted_mean(scene, block.cls), block.cls)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--tuning", action="store_true", help="the seeds used while building instead of the unseen ones"
    )
    seeds = TUNING_SEEDS if parser.parse_args().tuning else REPORT_SEEDS
    print("bands " + " ".join(BANDS) + "; DN; ratios to wasp1 (the original to 1 DN)")
    for title, variant in VARIANTS.items():
        found = [compare(seed, **variant) for seed in seeds]
        print(f"\n{title}")
        for method in found[0]:
            rmse = np.mean([f[method]["rmse"] for f in found], axis=0)
            ratios = {
                k: np.mean([f[method][k] for f in found], axis=0) / np.mean([f["wasp1"][k] for f in found], axis=0)
                for k in TARGETS
            }
            worst = np.max([f[method]["rmse"] / f["wasp1"]["rmse"] for f in found], axis=0)
            told = "  ".join(f"{k} x{_row(v, 2)}" for k, v in ratios.items())
            print(f"  {method:17s} RMSE {_row(rmse, 0)}  {told}  worst rmse x{_row(worst, 2)}")
        plus = [{k: f["plus"][k] / f["wasp1"][k] for k in TARGETS} for f in found]
        for k, target in TARGETS.items():
            met = sum(int((p[k] <= target).sum()) for p in plus)
            print(f"    target {k} <= {target}: {met} of {len(plus) * len(BANDS)} seed-bands")


def _row(values: np.ndarray, digits: int) -> str:
    return "/".join(f"{v:.{digits}f}" for v in values)


if __name__ == "__main__":
    main()
