"""Snow detection on manually labelled points: spectral rules only (no relief, no clouds), ice counted both ways.

    python -m tests.bench.lis_points [--shared FOLDER]

The points of one glacier and date are one scene, as the chain would see it: end-members of the snow fraction come from
them. ``one scene of all`` puts every point into one strip instead. The thresholds of the ice option were chosen on these four
glaciers; ``leave one glacier out`` chooses them anew on three and judges them on the fourth, so that is the figure to
expect elsewhere. The Landsat-8 points (other days, another sensor, the same glaciers) chose nothing at all.
"""

from __future__ import annotations

import argparse
import gzip
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from processes.lis.detect import ICE, Block, detect
from processes.lis.params import SENSORS, Params
from tests.bench.lis_truth import kappa

BANDS = ("B2", "B3", "B4", "B8A", "B11")
LANDSAT = ("SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6")
# the table has digital numbers x 2.75e-5 (the surface temperature too), without collection 2's offset
OFFSET = -0.2
FILES = {"s2_sen2cor": "Sentinel-2_SR_training_data.csv.gz", "l8_c2": "Landsat_training_data.csv.gz"}
SNOW, ROCK, ICE_CLASS, WATER = (1, 2), 4, 3, 5
# slope over NDSI, NIR at NDSI 1, blue/red, NIR/green: what leave-one-out chooses from
GRID = tuple(product((0.0, 0.3, 0.6, 1.0), (0.40, 0.45, 0.50, 0.55), (1.15, 1.2, 1.25, 1.3), (0.78, 0.82, 0.86)))


def load(shared: Path, sensor: str) -> pd.DataFrame:
    """Points of a sensor; its bands under Sentinel-2's names."""
    with gzip.open(shared / "data/snow_ice_labels_cryogars" / FILES[sensor]) as file:
        table = pd.read_csv(file)
    if sensor == "l8_c2":
        table = table[[c for c in table if c not in BANDS]].rename(columns=dict(zip(LANDSAT, BANDS)))
        table[list(BANDS)] += OFFSET
    return table.dropna(subset=list(BANDS)).reset_index(drop=True)


def calls(table: pd.DataFrame, sensor: str) -> dict[str, np.ndarray]:
    """What each variant calls snow, per point: points become a strip of pixels at 1000 m, the snow line lies below."""
    dn = {k: np.clip(np.rint(table[k].to_numpy() * 1e4), -9999, 32767).astype(np.int16)[None] for k in BANDS}
    nothing = np.zeros(dn["B3"].shape, np.uint8)
    block = Block(
        dn["B3"], dn["B4"], dn["B11"], nothing, np.full(dn["B3"].shape, 1000, np.int16), dn["B2"], dn["B8A"], nothing
    )
    above = Params(snow_line=0.0, fsnow_total_lim=-1.0)
    runs = {
        "original, pass 1": ("lis", replace(above, ndsi_pass2=9.0)),
        "original, pass 2": ("lis", above),
        "plus": ("plus", above),
        "plus, half a pixel": ("plus", replace(above, seb_fraction=0.5)),
        "plus, ice option": ("plus", replace(above, ice=True)),
    }
    return {n: detect(block, SENSORS[sensor], p, m)[0]["SEB"][0] == 100 for n, (m, p) in runs.items()}


def by_scene(table: pd.DataFrame, sensor: str) -> dict[str, np.ndarray]:
    """`calls` for each glacier and date on its own, put together."""
    out: dict[str, np.ndarray] = {}
    for rows in table.groupby(["site_name", "image_date"]).indices.values():
        for name, called in calls(table.iloc[rows], sensor).items():
            out.setdefault(name, np.zeros(len(table), bool))[rows] = called
    return out


def show(title: str, kind: np.ndarray, called: dict[str, np.ndarray]) -> None:
    print(f"  {title}, {len(kind)} points")
    snow = np.isin(kind, SNOW)
    rows = {
        "without ice and water": np.isin(kind, (*SNOW, ROCK)),
        "with ice": kind != WATER,
        "with ice and water": kind > 0,
    }
    for name, values in called.items():
        text = "; ".join(f"{n} {a:.3f}/{k:.3f}" for n, q in rows.items() for a, k in [kappa(values[q], snow[q])])
        print(f"    {name:<20} {text}")


def without_ice(
    table: pd.DataFrame, snow: np.ndarray, slope: float, nir: float, ratio: float, dim: float
) -> np.ndarray:
    """``snow`` less what the ice rule takes for ice or water at other thresholds (see `processes.lis.detect.ICE`)."""
    blue, green, red, near, swir = (table[b].to_numpy() for b in BANDS)
    ndsi = (green - swir) / (green + swir)
    ice = (near < nir - slope * (1 - ndsi)) & (blue < ratio * red) & (near < dim * green)
    return snow & ~ice & ~(near < ICE[4] * green)


def leave_one_out(table: pd.DataFrame, snow: np.ndarray) -> None:
    """Ice thresholds chosen on three glaciers, judged on the fourth; ice is no snow, water left out."""
    kind, site = table["class"].to_numpy(), table.site_name.to_numpy()
    truth, counted = np.isin(kind, SNOW), kind != WATER
    variants = {p: without_ice(table, snow, *p) for p in GRID}
    joint = np.zeros(len(table), bool)
    print("  leave one glacier out: ice option, kappa with ice counted wrong")
    for name in np.unique(site):
        train, held = counted & (site != name), counted & (site == name)
        best = max(variants, key=lambda p: kappa(variants[p][train], truth[train])[1])
        joint[held] = variants[best][held]
        print(f"    {name:<14} thresholds {best}, kappa {kappa(joint[held], truth[held])[1]:.3f}")
    print(f"    together       accuracy {kappa(joint[counted], truth[counted])[0]:.3f}, kappa ", end="")
    print(f"{kappa(joint[counted], truth[counted])[1]:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[3] / "shared")
    shared = parser.parse_args().shared
    table = load(shared, "s2_sen2cor")
    kind, site = table["class"].to_numpy(), table.site_name.to_numpy()
    print("Labelled points (1 snow, 2 shaded snow, 3 ice, 4 rock, 5 water); accuracy / kappa")
    print("  specification, original's rules on all of them: pass 1 .971/.940, pass 2 .980/.958 without ice and water;")
    print("  pass 2 .853/.700 with ice as no snow. Its hold-out (ice as no snow): pass 1 .890/.771, pass 2 .879/.747")
    called = by_scene(table, "s2_sen2cor")
    show("Sentinel-2, each glacier and date a scene", kind, called)
    for name in np.unique(site):
        show(name, kind[site == name], {n: v[site == name] for n, v in called.items()})
    show("one scene of all", kind, calls(table, "s2_sen2cor"))
    leave_one_out(table, called["plus"])
    table = load(shared, "l8_c2")
    kind = table["class"].to_numpy()
    print("Landsat-8 points, on which nothing was chosen (specification, pass 2, offset not subtracted: .972/.942)")
    show("each glacier and date a scene", kind, by_scene(table, "l8_c2"))
    show("one scene of all", kind, calls(table, "l8_c2"))


if __name__ == "__main__":
    main()
