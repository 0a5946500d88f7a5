"""VENuS, Landsat and mixes as products in MUSCATE layout: ingested, synthesised, read back."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from rasterio.transform import from_origin

from backend.catalogue import open_catalogue
from backend.settings import Settings
from processes.env import Env, Limits
from processes.load.load_collection import load_collection
from processes.stages import make_stage, run_here
from processes.wasp import CHAIN
from tests.unit.processes.wasp.helpers import read

SYNTHESIS = date(2018, 5, 2)
LEFT, TOP, METRES = 300000, 4900020, 900
CRS = "EPSG:32631"
# sensor: folder name, group of its masks, pixel size, scale of DN, bands
LAYOUTS: dict[str, tuple[str, str, float, int, tuple[str, ...]]] = {
    "VENUS": ("VENUS-XS_{}-105148-000_L2A_CAMARGUE_C_V1-0", "XS", 5, 1000, tuple(f"B{n}" for n in range(1, 13))),
    "LANDSAT8": ("LANDSAT8-OLITIRS-XS_{}-103532-000_L2A_T31TCJ_C_V1-0", "ALL", 30, 1000, tuple(f"B{n}" for n in range(1, 8))),
    "SENTINEL2": ("SENTINEL2A_{}-105148-000_L2A_T31TCJ_C_V1-0", "R1", 10, 10000, ("B2", "B3", "B4", "B8")),
    "SENTINEL2_R2": ("SENTINEL2A_{}-105148-000_L2A_T31TCJ_C_V1-0", "R2", 20, 10000, ("B5", "B6", "B7", "B8A", "B11", "B12")),
}  # fmt: skip
# reflectance of the field by wavelength, the same for all sensors
FIELD = {"blue": 0.05, "green": 0.08, "red": 0.06, "edge": 0.15, "nir": 0.30, "swir": 0.20}
COLOURS = {
    "VENUS": ("edge", "blue", "blue", "green", "edge", "edge", "red", "edge", "edge", "edge", "nir", "nir"),
    "LANDSAT8": ("blue", "blue", "green", "red", "nir", "swir", "swir"),
    "SENTINEL2": ("blue", "green", "red", "nir"),
    "SENTINEL2_R2": ("edge", "edge", "edge", "nir", "swir", "swir"),
}


def write(path: Path, values: np.ndarray, step: float) -> None:
    planes = values if values.ndim == 3 else values[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", driver="GTiff", height=planes.shape[1], width=planes.shape[2], count=len(planes),
                       dtype=planes.dtype, crs=CRS, transform=from_origin(LEFT, TOP, step, step)) as sink:  # fmt: skip
        sink.write(planes)


def product(
    archive: Path, layout: str, days: int, *, brighter: float = 0.0, cloudy: str = "", outside: str = ""
) -> Path:
    """A product ``days`` from the synthesis date; ``cloudy`` and ``outside`` name a half: west, east, all."""
    pattern, group, step, scale, bands = LAYOUTS[layout]
    name = pattern.format(f"{SYNTHESIS + timedelta(days=days):%Y%m%d}")
    n = int(METRES / step)
    columns = {"": slice(0, 0), "west": slice(0, n // 2), "east": slice(n // 2, n), "all": slice(0, n)}
    rng = np.random.default_rng(days + 1000)
    empty, cloud = np.zeros((n, n), bool), np.zeros((n, n), bool)
    empty[:, columns[outside]], cloud[:, columns[cloudy]] = True, True
    for band, colour in zip(bands, COLOURS[layout], strict=True):
        value = np.where(cloud, 0.5, FIELD[colour]) + brighter + rng.normal(0, 0.0005, (n, n))
        dn = np.where(empty, -10000, np.rint(value * scale)).astype("i2")
        for nature in ("FRE", "SRE"):
            write(archive / name / f"{name}_{nature}_{band}.tif", dn, step)
    atb = np.stack([np.full((n, n), 40, "u1"), np.full((n, n), 20, "u1")])
    write(archive / name / f"{name}_ATB_{group}.tif", atb, step)
    for kind, mask in {"CLM": np.where(cloud, 0b11, 0), "MG2": 0 * cloud, "EDG": empty}.items():
        write(archive / name / "MASKS" / f"{name}_{kind}_{group}.tif", np.asarray(mask, "u1"), step)
    return archive / name


def items_of(archive: Path, data: Path, *collections: str) -> list[pystac.Item]:
    catalogue = open_catalogue(Settings(archive=archive, data_dir=data))  # type: ignore[call-arg]
    report = catalogue.ingest([archive])
    assert not report.rejected
    return [item for c in collections for item in catalogue.search(c)]


def synthesise(items: list[pystac.Item], workspace: Path, **params: Any) -> list[pystac.Item]:
    stage = make_stage(CHAIN.id, items, {"date": SYNTHESIS.isoformat(), **params})
    return run_here(stage, Env(workspace=workspace, limits=Limits(threads=2)))


def test_venus_alone(tmp_path):
    for days, cloudy in ((-8, "west"), (0, "east"), (6, "")):
        product(tmp_path / "in", "VENUS", days, cloudy=cloudy)
    items = items_of(tmp_path / "in", tmp_path / "data", "VENUS_L2A")
    assert len(items) == 3
    (made,) = synthesise(items, tmp_path / "work", half_window=11)
    assert made.id == "VENUS-XS_20180502-000000-000_L3A_CAMARGUE_C_V1-0"
    assert made.properties["platform"] == "venus-xs" and "grid:code" not in made.properties
    assert (read(made, "FLG_R1") == 4).all() and (read(made, "NCL_R1") == 2).all()
    for n, colour in enumerate(COLOURS["VENUS"], 1):
        assert np.abs(read(made, f"FRC_B{n:02d}") - FIELD[colour] * 1e4).max() < 30, n
    # alone, VENuS counts in full: two dates of weight below 1 each, one of them far from the clouds
    weight = read(made, "WGT_R1").max()
    assert 700 < weight <= 2000
    (program,) = synthesise(items, tmp_path / "work", half_window=11, mode="wasp1")
    assert read(program, "WGT_R1").max() < 700  # WASP 1.0 gives it a third
    made.set_collection(None)
    made.validate()


def test_venus_is_read_back(tmp_path):
    product(tmp_path / "in", "VENUS", 0)
    (made,) = synthesise(items_of(tmp_path / "in", tmp_path / "data", "VENUS_L2A"), tmp_path / "work")
    found = open_catalogue(Settings(archive=tmp_path / "work", data_dir=tmp_path / "data2"))  # type: ignore[call-arg]
    assert not found.ingest([tmp_path / "work"]).rejected
    cube = load_collection("SENTINEL2_L3A_WASP", bands=["B03", "B11", "FLG", "DTS"], env=Env(found)).compute()
    np.testing.assert_allclose(cube.values[0, 0] * 1e4, read(made, "FRC_B03"), atol=1e-2)
    assert (cube.values[0, 2] == 4).all() and (cube.values[0, 3] == (SYNTHESIS - date(2000, 1, 1)).days).all()


def test_landsat_alone_and_read_back(tmp_path):
    for days in (-16, 0, 16):
        product(tmp_path / "in", "LANDSAT8", days)
    (made,) = synthesise(items_of(tmp_path / "in", tmp_path / "data", "LANDSAT8_L2A_THEIA"), tmp_path / "work")
    assert made.id.startswith("LANDSAT8_20180502") and made.id.endswith("T31TCJ_C_V1-0")
    bands = {"B02": "blue", "B03": "green", "B04": "red", "B8A": "nir", "B11": "swir", "B12": "swir"}
    for band, colour in bands.items():
        assert np.abs(read(made, f"FRC_{band}") - FIELD[colour] * 1e4).max() < 20
    assert {a.removeprefix("FRC_") for a in made.assets if a.startswith("FRC")} == set(bands)
    found = open_catalogue(Settings(archive=tmp_path / "work", data_dir=tmp_path / "data2"))  # type: ignore[call-arg]
    assert not found.ingest([tmp_path / "work"]).rejected
    assert len(list(found.search("SENTINEL2_L3A_WASP"))) == 1


@pytest.fixture(scope="module")
def mix(tmp_path_factory) -> list[pystac.Item]:
    archive = tmp_path_factory.mktemp("mix")
    for days in (-10, 0, 10):
        product(archive, "SENTINEL2", days, cloudy="west")
        product(archive, "SENTINEL2_R2", days, cloudy="west")
    product(archive, "LANDSAT8", 3, brighter=0.005)
    product(archive, "VENUS", -3, brighter=0.005)
    data = tmp_path_factory.mktemp("data")
    return items_of(archive, data, "SENTINEL2_L2A_MAJA", "LANDSAT8_L2A_THEIA", "VENUS_L2A")


def test_a_mix_has_the_bands_of_sentinel_2_and_all_its_dates(mix, tmp_path):
    assert len(mix) == 5
    (made,) = synthesise(mix, tmp_path, level=False)
    assert made.id.startswith("SENTINEL2A_20180502") and made.properties["grid:code"] == "MGRS-31TCJ"
    assert len(made.properties["derived_from"]) == 5
    clear = read(made, "NCL_R1")
    assert np.unique(clear[:, :44]).tolist() == [2] and np.unique(clear[:, 46:]).tolist() == [5]
    expected = {"B02": "blue", "B03": "green", "B04": "red", "B8A": "nir", "B11": "swir", "B07": "edge"}
    for band, colour in expected.items():
        refl = read(made, f"FRC_{band}")
        n = refl.shape[1]
        west, east = np.median(refl[:, : n // 2]), np.median(refl[:, n // 2 + 1 :])
        assert abs(east - FIELD[colour] * 1e4) < 35, band  # the brighter two count little
        assert abs(west - FIELD[colour] * 1e4 - 50) < 15, band
    # neither of them has the wide near infrared of Sentinel-2: where only they see the ground, there is none
    assert (read(made, "FRC_B08")[:, :44] == -10000).all() and (read(made, "FRC_B08")[:, 46:] > 2900).all()


def test_weights_of_sensors(mix, tmp_path):
    plain = read(synthesise(mix, tmp_path / "a", level=False)[0], "WGT_R1").astype(int)
    heavy = read(
        synthesise(mix, tmp_path / "b", level=False, sensor_weights={"landsat": 1, "venus": 1})[0], "WGT_R1"
    ).astype(int)
    west = np.median((heavy / plain)[:, :30])
    assert west == pytest.approx(1 / 0.33, rel=0.02)


def test_levelling_brings_sensors_together(mix, tmp_path):
    level, plain = (synthesise(mix, tmp_path / n, level=v)[0] for n, v in (("a", True), ("b", False)))
    steps = []
    for made in (level, plain):
        refl = read(made, "FRC_B03").astype(float)
        steps.append(abs(np.median(refl[:, 30:44]) - np.median(refl[:, 60:])))
    assert steps[1] > 20 and steps[0] < 0.8 * steps[1]


def test_venus_of_another_zone_stays_apart(tmp_path, mix):
    far = mix[-1].clone()
    far.bbox = [10.0, 10.0, 10.1, 10.1]
    made = synthesise([*mix[:-1], far], tmp_path)
    assert sorted(m.id.split("_")[0] for m in made) == ["SENTINEL2A", "VENUS-XS"]


def test_one_product_alone_and_an_always_cloudy_one(tmp_path):
    product(tmp_path / "in", "SENTINEL2", 4, cloudy="east", outside="west")
    (item,) = items_of(tmp_path / "in", tmp_path / "data", "SENTINEL2_L2A_MAJA")
    (made,) = synthesise([item], tmp_path / "work")
    flag, days = read(made, "FLG_R1"), read(made, "DTS_R1")
    assert (flag[:, :45] == 0).all() and (flag[:, 45:] == 1).all()
    assert (read(made, "FRC_B02")[:, :45] == -10000).all() and (read(made, "FRC_B02")[:, 45:] > 4500).all()
    assert (days[:, 45:] == (SYNTHESIS - date(2000, 1, 1)).days + 4).all() and (read(made, "NCL_R1") == 0).all()


def test_a_partial_swath_and_a_window(tmp_path):
    product(tmp_path / "in", "SENTINEL2", -5, outside="east")
    product(tmp_path / "in", "SENTINEL2", 5)
    product(tmp_path / "in", "SENTINEL2", 30, brighter=0.2)
    items = items_of(tmp_path / "in", tmp_path / "data", "SENTINEL2_L2A_MAJA")
    (made,) = synthesise(items, tmp_path / "work")
    clear = read(made, "NCL_R1")
    assert np.unique(clear[:, :45]).tolist() == [2] and np.unique(clear[:, 45:]).tolist() == [1]
    for band, colour in zip(("B02", "B03", "B04", "B08"), COLOURS["SENTINEL2"]):
        assert np.abs(read(made, f"FRC_{band}") - FIELD[colour] * 1e4).max() < 30
    days = read(made, "DTS_R1") - (SYNTHESIS - date(2000, 1, 1)).days
    assert (days[:, 45:] == 5).all() and np.abs(days[:, :20]).max() <= 1 and (np.diff(days, axis=1) >= 0).all()


def test_a_series_across_new_year(tmp_path):
    new_year = (date(2018, 1, 1) - SYNTHESIS).days
    for days in (-40, -20, -3, 4, 20, 41):
        product(tmp_path / "in", "SENTINEL2", new_year + days)
    items = items_of(tmp_path / "in", tmp_path / "data", "SENTINEL2_L2A_MAJA")
    dates = ["2017-12-01", "2018-01-01", "2018-02-01"]
    made = synthesise(items, tmp_path / "work", date=dates)
    assert [m.datetime.date().isoformat() for m in made if m.datetime] == dates
    assert [len(m.properties["derived_from"]) for m in made] == [2, 4, 2]
    for item, synthesis in zip(made, map(date.fromisoformat, dates)):
        away = read(item, "DTS_R1") - (synthesis - date(2000, 1, 1)).days
        assert np.abs(away).max() <= 23
    assert np.abs(read(made[1], "DTS_R1") - (date(2018, 1, 1) - date(2000, 1, 1)).days).max() <= 1
