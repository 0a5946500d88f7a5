"""Snow detection on scenes of a second generator, written after every threshold was set: do the gains hold elsewhere?

    python -m tests.bench.lis_other [--seeds 5 6]

Nothing is shared with `tests.bench.lis_scene`: terrain, lighting, spectra, clouds and forest are made differently, one thing
is changed per row. Prints kappa and accuracy in relief shade against half a pixel of snow, and the error of FSC.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from processes.lis.detect import Block, detect
from processes.lis.params import SENSORS
from tests.bench.lis_truth import kappa

S2 = SENSORS["s2_muscate"]
SKY = {"blue": 0.33, "green": 0.25, "red": 0.2, "nir": 0.13, "swir": 0.09}  # light in relief shade
HAZE = {"blue": 0.08, "green": 0.06, "red": 0.05, "nir": 0.03, "swir": 0.01}
CLOUD = {"blue": 0.75, "green": 0.74, "red": 0.75, "nir": 0.74, "swir": 0.45}


@dataclass(frozen=True)
class World:
    """What a scene is like; reflectances scatter by the shares ``snow_scatter`` and ``soil_scatter``."""

    law: str = "linear"
    light: str = "corrected"  # or "waves" of residual relief, "slopes" without any correction
    forest: float = 0.0
    haze: float = 0.0
    snow_scatter: float = 0.05
    soil_scatter: float = 0.3
    grainy: bool = True  # mixed pixels side by side, or in smooth patches
    low: float = 300.0
    high: float = 3300.0
    line: float = 0.5  # share of the ground below the snow line


WORLDS = {
    "plain": World(),
    "smooth patches": World(grainy=False),
    "light varies": World(light="waves"),
    "no slope correction": World(light="slopes"),
    "haze": World(haze=0.5),
    "dirty and clean snow": World(snow_scatter=0.25),
    "dark and bright soils": World(soil_scatter=0.7),
    "forest": World(forest=0.4),
    "low hills": World(low=200, high=1100),
    "little snow": World(line=0.93),
    "much snow": World(line=0.05),
    "tanh mixing": World(law="tanh"),
    "tanh, no correction": World(law="tanh", light="slopes"),
}


def noise(rng: np.random.Generator, n: int, smooth: float) -> np.ndarray:
    """Smooth noise 0..1 (n, n)."""
    f = gaussian_filter(rng.normal(size=(n, n)), smooth, mode="wrap")
    return (f - f.min()) / np.ptp(f)


def ground(rng: np.random.Generator, n: int, w: World) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Elevation, snow share seen from above, tree cover."""
    z = sum(a * noise(rng, n, s) for a, s in ((1, 60), (0.4, 20), (0.15, 7), (0.04, 2)))
    dem = w.low + (z - z.min()) / np.ptp(z) * (w.high - w.low)
    line = np.quantile(dem, w.line) + 150 * (noise(rng, n, 50) - 0.5)
    rough = rng.normal(0, 0.8, (n, n)) if w.grainy else gaussian_filter(rng.normal(size=(n, n)), 4) * 6
    share = 1 / (1 + np.exp(-((dem - line) / 120 + rough)))
    share = np.where((share < 0.02) | (dem < line - 500), 0, np.where(share > 0.98, 1, share))
    trees = np.where(noise(rng, n, 14) < w.forest, rng.uniform(0.3, 0.8), 0.0)
    return dem, share * (1 - trees), trees


def spectra(rng: np.random.Generator, n: int, w: World, share: np.ndarray) -> dict[str, np.ndarray]:
    """Reflectance of the mixtures in even light."""
    grain = 1 + 2 * w.snow_scatter * (noise(rng, n, 15) - 0.5) + rng.normal(0, 0.02, (n, n))
    swir = np.clip(0.1 * (1 + 6 * w.snow_scatter * (noise(rng, n, 20) - 0.5)), 0.03, 0.3)
    snow = {"blue": 0.93 * grain, "green": 0.91 * grain, "red": 0.9 * grain, "nir": 0.8 * grain**1.5, "swir": swir}
    soil, green = 1 + 2 * w.soil_scatter * (noise(rng, n, 10) - 0.5), noise(rng, n, 12)
    bare = {
        "blue": 0.05 * (1 - 0.4 * green), "green": 0.085, "red": 0.1 - 0.05 * green, "nir": 0.2 + 0.2 * green,
        "swir": 0.27 - 0.08 * green,
    }  # fmt: skip
    out = {k: share * snow[k] + (1 - share) * bare[k] * soil for k in snow}
    if w.law == "tanh":
        ndsi = np.clip((np.arctanh(np.clip(2 * share - 1, -0.95, 0.9)) + 1.42) / 2.65, -0.5, 0.95)
        out["swir"] = np.where(share > 0.05, out["green"] * (1 - ndsi) / (1 + ndsi), out["swir"])
    return out


def scene(seed: int, w: World, n: int = 366) -> tuple[Block, np.ndarray, np.ndarray]:
    """A scene at 20 m, its true snow share and relief shade."""
    rng = np.random.default_rng(seed)
    dem, share, trees = ground(rng, n, w)
    bands = spectra(rng, n, w, share)
    down, right = np.gradient(dem, 20.0)
    zenith, azimuth = np.radians(60), np.radians(155)
    facing = np.cos(zenith) - np.sin(zenith) * (right * np.sin(azimuth) - down * np.cos(azimuth))
    facing /= np.sqrt(1 + right**2 + down**2)
    shade = facing < 0.2
    light: Any = {"corrected": 1.0, "waves": 1 + 0.15 * (noise(rng, n, 8) - 0.5)}.get(
        w.light, np.clip(facing / np.cos(zenith), 0.3, 1.8)
    )
    depth = np.clip(6 * (noise(rng, n, 25) - 0.6), 0, 2)
    clouded = depth > 0.15
    under = (shift(clouded.astype(float), (12, -8), order=0, cval=0) > 0) & ~clouded
    for name, values in bands.items():
        lit = values * np.where(shade, SKY[name], light) * (1 - 0.6 * w.haze) + w.haze * HAZE[name]
        seen = (lit + rng.normal(0, 0.004, (n, n))) * np.exp(-depth) + (1 - np.exp(-depth)) * CLOUD[name]
        bands[name] = np.where(under, seen * (0.35 if name in ("blue", "green") else 0.28), seen)
    digital = {k: np.clip(np.rint(v * 1e4), -9000, 30000).astype(np.int16) for k, v in bands.items()}
    block = Block(
        **digital, cloud=(clouded * 3 | under * 33).astype(np.uint8), dem=np.rint(dem).astype(np.int16),
        relief=shade.astype(np.uint8), tcd=np.rint(100 * trees).astype(np.uint8),
    )  # fmt: skip
    return block, share, shade


def figures(seed: int, w: World) -> list[float]:
    """kappa, accuracy in shade, FSC error: each for mode ``lis`` and mode ``plus``, where both see the ground."""
    block, share, shade = scene(seed, w)
    layers = [detect(block, S2, mode=m)[0] for m in ("lis", "plus")]
    clear = (layers[0]["SEB"] <= 100) & (layers[1]["SEB"] <= 100)
    truth = share >= 0.5
    kappas = [kappa(x["SEB"][clear] == 100, truth[clear])[1] for x in layers]
    dark = [float(((x["SEB"] == 100) == truth)[clear & shade].mean()) for x in layers]
    toc = [x["FSCTOC"] for x in layers]
    found = clear & (toc[0] <= 100) & (toc[1] <= 100) & ((toc[0] > 0) | (toc[1] > 0))
    errors = [float(np.sqrt(np.mean((x[found] / 100.0 - share[found]) ** 2))) for x in toc]
    return [*kappas, *dark, *errors]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6])
    seeds = parser.parse_args().seeds
    print(f"{'original (mode lis), plus':<26}{'kappa':>14}{'accuracy in shade':>20}{'FSC RMSE':>16}")
    for name, world in WORLDS.items():
        k0, k1, s0, s1, e0, e1 = np.mean([figures(s, world) for s in seeds], axis=0)
        print(f"{name:<26}{k0:8.3f} {k1:6.3f}{s0:13.3f} {s1:6.3f}{e0:10.3f} {e1:6.3f}", flush=True)


if __name__ == "__main__":
    main()
