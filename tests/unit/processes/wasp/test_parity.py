"""Mode ``wasp1`` against what WASP 1.0 made of the same inputs (shared/data/parity/wasp)."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio

from backend.catalogue import open_catalogue
from backend.settings import Settings
from processes.band_names import padded
from processes.env import Env, Limits
from processes.load.angles import read_grids
from processes.stages import make_stage, run_here
from processes.wasp.angle_grids import NodeAngles
from processes.wasp.composite import Block, classify, halved, recurse
from processes.wasp.directional import ROY_2016
from processes.wasp.weights import CoarseGrid, Weighting, aerosol_weight, date_weight

GROUPS = {"R1": ("B2", "B3", "B4", "B8"), "R2": ("B5", "B6", "B7", "B8A", "B11", "B12")}


def fixtures(shared: Path) -> list[Path]:
    folders = sorted(p.parent.parent for p in (shared / "data/parity/wasp").glob("*/outputs/metadata.json"))
    if not folders:
        pytest.skip("no WASP parity fixture beside the checkout")
    return folders


def band(path: Path, index: int = 1) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(index)


def series(folder: Path, own_weights: bool, group: str) -> tuple[Block, list[int]]:
    """The fixture's inputs as one block; weights of the program itself or computed from masks and aerosol."""
    meta = json.loads((folder / "outputs/metadata.json").read_text())
    weighting = Weighting()
    planes = []
    for info in meta["dates"]:
        name = info["product"]
        at = folder / "inputs" / name
        clm, mg2 = (band(at / f"MASKS/{name}_{m}_R1.tif") for m in ("CLM", "MG2"))
        blue = band(at / f"{name}_FRE_B2.tif")
        if own_weights:
            grid = CoarseGrid(*clm.shape, 24, "wasp1")
            sums = grid.start()
            grid.add(clm & 1, 0, 0, sums)
            aerosol = aerosol_weight(band(at / f"{name}_ATB_R1.tif", 2) / np.float32(200), weighting)
            scale = date_weight(info["days_from_synthesis"], meta["half_window_days"], weighting, "wasp1")
            weight = grid.weight(*grid.fields(sums, weighting), aerosol, scale, 0, 0, np.empty(clm.shape, np.float32))
        else:
            weight = band(folder / f"intermediate/weight_total_{info['date'].replace('-', '')}_R1.tif")
        if group == "R2":
            clm, mg2 = clm[1::2, 1::2], mg2[1::2, 1::2]
            weight, blue = halved(weight[None])[0], np.nan_to_num(halved(blue[None], -10000)[0], nan=-10000)
        angles = NodeAngles.of(read_grids("muscate", str(at / f"{name}_MTD_ALL.xml")))
        assert angles is not None
        nodes = np.stack([angles.factors(padded(b), ROY_2016[padded(b)], "wasp1", "wasp1") for b in GROUPS[group]])
        dn = np.stack([band(at / f"{name}_FRE_{b}.tif") for b in GROUPS[group]])
        cls = classify((clm & 1)[None] > 0, (mg2 & 1)[None] > 0, (mg2 & 4)[None] > 0, dn[None])[0]
        planes.append((dn, cls, blue, weight, nodes))
    dn, cls, blue, weight, nodes = (np.stack(p) for p in zip(*planes))
    step = 500.0 if group == "R1" else 250.0
    made = Block(dn, cls, blue, weight, nodes, nodes[:, 0], np.ones(dn.shape[:2], bool), step=step)
    return made, [date.fromisoformat(i["date"]).timetuple().tm_yday - 1 for i in meta["dates"]]


@pytest.mark.parametrize("group", ["R1", "R2"])
@pytest.mark.parametrize("own_weights", [False, True])
def test_parity(shared: Path, group: str, own_weights: bool):
    for folder in fixtures(shared):
        made, days = series(folder, own_weights, group)
        result = recurse(made, days)
        flag, weight, day = (band(folder / f"outputs/{k}_{group}.tif") for k in ("FLG", "WGT", "DTS"))
        defined = np.ones(flag.shape, bool) if group == "R1" else flag != 1  # undefined at 20 m in the program
        np.testing.assert_array_equal(result.flag, flag)
        off = np.abs(np.rint(result.weight * 1000) - weight)
        late = np.abs(np.nan_to_num(result.date) - day)[defined]
        assert off.max() == 0 and late.max() == 0
        errors = []
        for i, name in enumerate(GROUPS[group]):
            truth = band(folder / f"outputs/FRC_{name}.tif").astype(np.float32)
            ours = np.nan_to_num(result.refl[i], nan=-10000.0)
            errors.append(np.abs(ours - truth)[defined])
        errors_all = np.concatenate(errors)
        assert (errors_all == 0).mean() > 0.99999 and errors_all.max() <= 1


def test_weights_of_each_date_are_equal_bit_by_bit(shared: Path):
    for folder in fixtures(shared):
        made, _ = series(folder, True, "R1")
        theirs, _ = series(folder, False, "R1")
        np.testing.assert_array_equal(made.weight, theirs.weight)


def test_products_of_the_chain_are_the_programs(shared: Path, tmp_path: Path):
    """From the folders on disk through the catalogue and the stage, in blocks, to files."""
    for folder in fixtures(shared):
        found = open_catalogue(Settings(archive=folder / "inputs", data_dir=tmp_path / folder.name))  # type: ignore[call-arg]
        assert not found.ingest([folder / "inputs"]).rejected
        items = list(found.search("SENTINEL2_L2A_MAJA"))
        meta = json.loads((folder / "outputs/metadata.json").read_text())
        assert len(items) == len(meta["dates"])
        asked = {"date": meta["synthesis_date"], "half_window": meta["half_window_days"]}
        stage = make_stage("wasp_synthesis", items, {**asked, "mode": "wasp1"})
        (item,) = run_here(stage, Env(workspace=tmp_path / "work", limits=Limits(threads=2)))
        for group, names in GROUPS.items():
            flag = band(folder / f"outputs/FLG_{group}.tif")
            np.testing.assert_array_equal(band(Path(item.assets[f"FLG_{group}"].href)), flag)
            defined = np.ones(flag.shape, bool) if group == "R1" else flag != 1
            for kind in ("WGT", "DTS"):
                ours, theirs = (
                    band(Path(p)) for p in (item.assets[f"{kind}_{group}"].href, folder / f"outputs/{kind}_{group}.tif")
                )
                np.testing.assert_array_equal(ours[defined], theirs[defined], err_msg=f"{kind}_{group}")
            for name in names:
                ours = band(Path(item.assets[f"FRC_{padded(name)}"].href)).astype(int)
                off = np.abs(ours - band(folder / f"outputs/FRC_{name}.tif"))[defined]
                assert off.max() <= 1 and (off > 0).mean() < 1e-4, name


def test_factors_as_measured(shared: Path):
    for folder in fixtures(shared):
        meta = json.loads((folder / "outputs/metadata.json").read_text())
        for info in meta["dates"]:
            angles = NodeAngles.of(
                read_grids("muscate", str(folder / f"inputs/{info['product']}/{info['product']}_MTD_ALL.xml"))
            )
            assert angles is not None
            for name, measured in info["directional_factor"].items():
                ours = angles.factors(padded(name), ROY_2016[padded(name)], "wasp1", "wasp1")
                assert abs(float(np.nanmean(ours)) - measured) < 2e-4
