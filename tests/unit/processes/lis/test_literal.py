"""Mode ``lis`` equals the description of the original, word for word, on scenes nobody chose."""

from __future__ import annotations

from dataclasses import asdict
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from processes.lis import lis_snow, snow_metadata
from processes.lis.detect import Block, detect
from processes.lis.grids import halve
from processes.lis.params import SENSORS, Params
from tests.unit.processes.lis import literal
from tests.unit.processes.lis.literal import LAYOUTS, NODATA, Settings, snow
from tests.unit.processes.lis.scenes import as_cube, plane

RELIEFS = ("mountain", "low hills", "flat", "below the sea and voids", "steps of a bin")
COVERS = ("mixed", "all snow", "no snow", "a few pixels", "noise", "codes at the thresholds")
SKIES = ("clear", "patches", "random codes", "overcast", "dark clouds")


def field(rng: np.random.Generator, shape: tuple[int, int], smooth: float) -> np.ndarray:
    """Smooth noise, 0..1."""
    f = gaussian_filter(rng.normal(size=shape), smooth, mode="wrap")
    return (f - f.min()) / max(float(np.ptp(f)), 1e-9)


def elevations(rng: np.random.Generator, shape: tuple[int, int], kind: str) -> np.ndarray:
    f = field(rng, shape, 6)
    low, high = int(rng.integers(-300, 900)), int(rng.integers(1000, 8000))
    if kind == "flat":
        return np.full(shape, low, np.int16) + (f > 0.5) * np.int16(rng.integers(0, 99))
    if kind == "low hills":
        return (low + f * rng.integers(90, 320)).astype(np.int16)
    if kind == "steps of a bin":  # elevations on the edges of bins
        return (low + 100 * np.rint(f * 17)).astype(np.int16)
    z = (low + f * (high - low)).astype(np.int16)
    if kind == "below the sea and voids":
        z[rng.random(shape) < 0.01] = -32768
        z[rng.random(shape) < 0.01] = 9999
    return z


def clouds(rng: np.random.Generator, shape: tuple[int, int], kind: str, sensor: str) -> np.ndarray:
    s = LAYOUTS[sensor]
    codes = [0, 3, 8, 9, 10, 4, 6, 11] if s.scl else [0, 1, 3, s.shadows[0] | 1, s.shadows[-1] | 1, s.high | 1, 2, 16]
    if s.all_bits:
        codes = [0, 224, 224 | 64, 8, 800, 96, 322, 224 | 800]
    dtype = np.uint16 if s.all_bits else np.uint8
    if kind == "clear":
        return np.zeros(shape, dtype)
    if kind == "overcast":
        return np.full(shape, codes[1], dtype)
    if kind == "random codes":
        return rng.integers(0, 1024 if s.all_bits else 12 if s.scl else 256, shape).astype(dtype)
    if kind == "dark clouds":
        return np.where(field(rng, shape, 5) > 0.45, codes[1], 0).astype(dtype)
    f = field(rng, shape, 5)
    return np.take(codes, np.clip(((f - 0.4) * 16).astype(int), 0, len(codes) - 1)).astype(dtype)


def scene(seed: int, shape: tuple[int, int], sensor: str, relief: str, cover: str, sky: str, holes: str) -> Block:
    """A scene of digital numbers in the sensor's scale."""
    rng = np.random.default_rng(seed)
    top = 1000 * LAYOUTS[sensor].multi
    dem = elevations(rng, shape, relief)
    z = np.clip(dem, -400, 8800)
    line = np.quantile(z, rng.uniform(0.1, 0.9))
    share = 1 / (1 + np.exp(-(z - line + rng.normal(0, 60, shape)) / 80.0))
    share = {"all snow": np.ones(shape), "no snow": np.zeros(shape), "noise": rng.random(shape)}.get(cover, share)
    if cover == "a few pixels":
        share = (rng.random(shape) < rng.choice([2e-4, 1e-3, 3e-3])).astype(float)
    shade = (field(rng, shape, 4) > 0.65).astype(np.uint8)
    light = np.where(shade == 1, rng.uniform(0.05, 0.5), 1.0)
    ends = {"green": (0.9, 0.09), "red": (0.88, 0.08), "swir": (0.09, 0.24), "blue": (0.92, 0.07), "nir": (0.8, 0.28)}
    cloud = clouds(rng, shape, sky, sensor)
    veil = np.where(cloud > 0, 0.0 if sky == "dark clouds" else rng.uniform(0, 0.6), 0.0)
    bands = {}
    for name, (white, bare) in ends.items():
        value = (share * white + (1 - share) * bare) * light + rng.normal(0, 0.02, shape)
        bands[name] = np.rint((value * (1 - veil) + 0.6 * veil) * top).astype(np.int16)
    if cover == "codes at the thresholds":  # NDSI and red exactly at, one below and one above what decides
        for name, values in (("green", [7, 23, 14, 6, -3, 0]), ("swir", [3, 17, 6, 4, 3, 0])):
            bands[name] = (rng.choice(values, shape) * top // 100).astype(np.int16)
        limits = [n * top // 1000 + d for n in (40, 100, 200, 300) for d in (-1, 0, 1)]
        bands["red"] = rng.choice(limits, shape).astype(np.int16)
        bands["blue"] = (bands["nir"] + rng.choice([159, 160, 161, -100], shape)).astype(np.int16)
    for name in bands if holes == "each band" else ("swir",) if holes == "swir" else ():
        bands[name][rng.random(shape) < 0.03] = NODATA
    if holes == "swath":
        for values in bands.values():
            values[:, : shape[1] // 3] = NODATA
    if holes == "everything":
        for values in bands.values():
            values[:] = NODATA
    if holes == "extremes":
        for values in bands.values():
            odd = rng.random(shape) < 0.05
            values[odd] = rng.choice([NODATA, -9999, -1, 0, 1, 32767, 25000], int(odd.sum()))
    return Block(
        **bands, cloud=cloud, dem=dem, relief=shade, tcd=rng.choice([0, 1, 2, 50, 90, 91, 99, 100, 101, 255, 37], shape).astype(np.uint8),
        geo=rng.integers(0, 256, shape).astype(np.uint8) if rng.random() < 0.7 else None,
    )  # fmt: skip


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "dz": st.sampled_from([50, 75.5, 100, 137, 300]),
        "ndsi_pass1": st.sampled_from([0.2, 0.4, 0.55]),
        "ndsi_pass2": st.sampled_from([0.0, 0.15, 0.3]),
        "red_pass1": st.sampled_from([100, 200, 400]),
        "red_pass2": st.sampled_from([0, 40, 120]),
        "fsnow_lim": st.sampled_from([0.0, 0.1, 0.5]),
        "fclear_lim": st.sampled_from([0.0, 0.1, 0.6]),
        "fsnow_total_lim": st.sampled_from([-1, 0.001, 0.2]),
        "red_darkcloud": st.sampled_from([100, 300, 650]),
        "red_backtocloud": st.sampled_from([50, 100, 500]),
        "strict_cloud_mask": st.booleans(),
        "shaded_snow": st.booleans(),
        "shaded_difference": st.sampled_from([-50, 160, 400]),
        "rf": st.sampled_from([3, 5, 8, 12]),
        "rm_snow_inside_cloud": st.just(True),
        "rm_min_area": st.sampled_from([5, 60]),
        "rm_radius": st.sampled_from([1, 3, 5]),
        "rm_cloud_share": st.sampled_from([0.3, 0.85]),
    },
)
SHAPES = st.tuples(st.integers(5, 90), st.integers(5, 90))
HOLES = st.sampled_from(["none", "swir", "each band", "swath", "everything", "extremes"])


def compare(block: Block, sensor: str, options: dict, water: np.ndarray | None, threads: int = 1) -> set[str]:
    expected = snow(block, sensor, Settings(**options), water)
    layers, meta = detect(block, SENSORS[sensor], Params.of(options), "lis", water=water, threads=threads)
    for name, values in expected.layers.items():
        if sensor in ("s2_sen2cor", "l8_lasrc") and name.startswith("QC"):
            continue  # the original's "mask above 0" says nothing there; see processes/lis/README.md
        np.testing.assert_array_equal(layers[name], values, err_msg=name)
    assert meta["snow_line"] == expected.snow_line
    assert meta["histogram"] == expected.histogram
    assert meta["snow_percent"] == pytest.approx(expected.snow_percent, abs=1e-12)
    assert meta["cloud_percent"] == pytest.approx(expected.cloud_percent, abs=1e-12)
    return expected.met


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), shape=SHAPES, sensor=st.sampled_from(sorted(LAYOUTS)), relief=st.sampled_from(RELIEFS),
    cover=st.sampled_from(COVERS), sky=st.sampled_from(SKIES), holes=HOLES, options=OPTIONS, lakes=st.booleans(),
)  # fmt: skip
def test_every_layer_on_any_scene(seed, shape, sensor, relief, cover, sky, holes, options, lakes):
    block = scene(seed, shape, sensor, relief, cover, sky, holes)
    water = (field(np.random.default_rng(seed), shape, 3) > 0.7).astype(np.uint8) if lakes else None
    compare(block, sensor, options, water)


def test_no_branch_is_left():
    """The scenes of this file go through every rule (so that none is only compared where it does nothing)."""
    ringed = scene(3, (60, 60), "s2_muscate", "mountain", "all snow", "clear", "none")
    ringed.cloud[:] = 3
    ringed.cloud[20:40, 20:40] = 0
    met = compare(ringed, "s2_muscate", {"rm_snow_inside_cloud": True, "rm_min_area": 50}, None)
    dazzled = scene(5, (40, 40), "s2_muscate", "mountain", "mixed", "clear", "none")  # green above SWIR's fill value
    dazzled.green[:9], dazzled.red[:9], dazzled.swir[:9] = 25000, 9000, NODATA
    met |= compare(dazzled, "s2_muscate", {}, None)
    for relief in RELIEFS:
        for cover in COVERS:
            for k, sky in enumerate(SKIES):
                holes = ("none", "swath", "extremes", "each band")[(k + len(cover)) % 4]
                met |= compare(
                    scene(k, (48, 61), "s2_muscate", relief, cover, sky, holes), "s2_muscate", {}, None, threads=2
                )
    assert met >= {
        "pass 1", "pass 2", "shaded", "unsure shade", "back to cloud", "through a cloud", "bright cloud", "no data", "shadow",
        "high", "snow on no data", "removed", "clear under dark cloud", "dense forest", "no tree cover", "pass 2 skipped",
        "no snow line", "snow line", "flat",
    }  # fmt: skip


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), rows=st.integers(17, 60), cols=st.integers(17, 60), sky=st.sampled_from(SKIES[:2])
)
def test_cubes_of_any_chunks(seed, rows, cols, sky):
    """The same through reflectance cubes, cut anywhere."""
    block = scene(seed, (60, 60), "s2_muscate", "mountain", "mixed", sky, "swath")
    expected = snow(Block(**{**asdict(block), "geo": None}), "s2_muscate", Settings())
    aux = {"dem": plane(block.dem), "relief_shadow": plane(block.relief), "tcd": plane(block.tcd)}
    lazy = lis_snow(as_cube([block], (rows, cols)), sensor="s2_muscate", mode="lis", **aux)
    values = lazy.compute(scheduler="sync")
    for k, name in enumerate(lazy.bands.values):
        np.testing.assert_array_equal(values.values[0, k], expected.layers[str(name)], err_msg=str(name))
    assert snow_metadata(lazy)[0]["snow_line"] == expected.snow_line


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), half=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    holes=st.sampled_from([0.0, 0.02, 0.3, 0.9, "rows", "corner"]), values=st.sampled_from(["any", "steps", "reflectance"]),
)  # fmt: skip
def test_ten_to_twenty_metres(seed, half, holes, values):
    """Eight taps of the widened cubic each way, nodata left out, valid where the lower right pixel is, half up; in integers."""
    rng = np.random.default_rng(seed)
    shape = 2 * half[0], 2 * half[1]
    band = {
        "any": rng.integers(-9999, 32767, shape), "steps": rng.choice([-9999, 32767, 0], shape),
        "reflectance": rng.integers(-200, 12000, shape),
    }[values].astype(np.int16)  # fmt: skip
    if holes == "rows":
        band[: shape[0] // 2] = NODATA
    elif holes == "corner":
        band[shape[0] // 3 :, : shape[1] // 3] = NODATA
    else:
        band[rng.random(shape) < holes] = NODATA
    np.testing.assert_array_equal(halve(band), literal.halved(band))


def test_literal_rules_give_the_outputs_of_the_original(shared):
    """The description itself is right: it repeats what let-it-snow 1.11 wrote, so being equal to it means something."""
    import json

    import rasterio

    folders = sorted(p.parent for p in (shared / "data/parity/lis").glob("*/inputs"))
    if not folders:
        pytest.skip("no LIS parity fixtures in the shared data")
    for folder in folders:

        def raster(name, folder=folder):
            with rasterio.open(folder / f"{name}.tif") as source:
                return source.read(1)

        given = {p.stem: raster(f"inputs/{p.stem}") for p in (folder / "inputs").glob("*.tif")}
        halves = {k: raster(f"intermediate/{k}_20m") for k in ("green", "red", "blue")}
        block = Block(
            **halves, swir=given["FRE_B11"], nir=given["SRE_B8A"], cloud=given["CLM_R2"], dem=given["dem"],
            relief=given["relief"], tcd=given["tcd"], geo=given["MG2_R2"],
        )  # fmt: skip
        result = snow(block, "s2_muscate", Settings(), given["water"])
        names = {k: k for k in result.layers} | {"EXPERT": "SNOW_ALL"}
        differ = {k: int((v != raster(f"outputs/{names[k]}")).sum()) for k, v in result.layers.items()}
        assert not any(differ.values()), f"{folder.name}: {differ}"
        theirs = json.loads((folder / "outputs/metadata.json").read_text())
        assert result.snow_line == theirs["zs_metadata"]
        assert [[int(v) for v in row] for row in result.histogram] == theirs["histogram"]


def test_reference_is_its_own():
    """It uses nothing of the package it judges."""
    from pathlib import Path

    text = Path(literal.__file__).read_text()
    code = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert reduce(lambda a, b: a and "processes" not in b, code, True)
