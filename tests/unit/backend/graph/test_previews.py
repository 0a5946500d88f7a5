"""Which graphs look at overviews: pictures resampled by nearest neighbours, and map tiles; no data ever do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image
from rasterio.enums import Resampling

from backend.graph.evaluate import evaluate
from backend.graph.plan import restricted
from backend.graph.run import execute, prepare
from processes.demand import Demand, View
from processes.env import Env, Limits
from tests.unit.processes.load.conftest import MemoryCatalogue, levels_read, make_item, write_raster

CRS, LEFT, TOP = "EPSG:32631", 600000.0, 4900020.0


def node(id: str, /, **arguments: Any) -> dict[str, Any]:
    return {"process_id": id, "arguments": arguments}


def graph(
    *steps: tuple[str, dict[str, Any]], format: str = "PNG", bands: tuple[str, ...] = ("B04", "B03", "B02")
) -> Any:
    """load -> steps -> save; each step works on the one before."""
    made = {"load": node("load_collection", id="C", spatial_extent=None, temporal_extent=None, bands=list(bands))}
    last = "load"
    for k, (id, arguments) in enumerate(steps):
        made[name := f"s{k}"] = node(id, data={"from_node": last}, **arguments)
        last = name
    made["save"] = node("save_result", data={"from_node": last}, format=format) | {"result": True}
    return {"process_graph": made}


SMALL = ("resample_spatial", {"resolution": 40})
NDVI = ("ndvi", {"nir": "B04", "red": "B03", "target_band": None})
SCALE = (
    "apply",
    {
        "process": {
            "process_graph": {
                "s": node("linear_scale_range", x={"from_parameter": "x"}, inputMin=0, inputMax=9000, outputMax=255)
                | {"result": True}
            }
        }
    },
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(3)
    out = {}
    for band in ("B02", "B03", "B04"):
        pixels = rng.integers(1, 9000, (512, 512)).astype("i2")
        out[band] = write_raster(folder / f"{band}.tif", pixels, Affine(10, 0, LEFT, 0, -10, TOP), CRS, -10000)
        with rasterio.open(out[band], "r+") as file:
            file.build_overviews([2, 4, 8], Resampling.average)
    return out


@pytest.fixture
def env(files: dict[str, str], tmp_path: Path) -> Env:
    bands = {b: (f, [{"name": b, "tuile:kind": "reflectance"}]) for b, f in files.items()}
    return Env(MemoryCatalogue({"C": [make_item("a", "2024-01-01", bands)]}), limits=Limits(1 << 30, 2))  # type: ignore[arg-type]


@pytest.fixture
def levels(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    return levels_read(monkeypatch)


@pytest.mark.parametrize(
    "steps",
    [
        [SMALL],
        [SMALL, SCALE],
        [("filter_bands", {"bands": ["B04", "B03", "B02"]}), SMALL, SCALE],
        [("filter_temporal", {"extent": ["2023-01-01", "2025-01-01"]}), SMALL],
        [("resample_spatial", {"resolution": 60, "projection": 3857}), SCALE],
    ],
)
def test_pictures_look_at_overviews(env: Env, tmp_path: Path, levels: list[int | None], steps: Any) -> None:
    [asset] = execute(graph(*steps), env, tmp_path)
    assert set(levels) == {1}
    assert min(Image.open(asset.path).size) >= 118


@pytest.mark.parametrize(
    ("steps", "format"),
    [
        ([SMALL], "GTiff"),  # data
        ([SMALL], "netCDF"),
        ([("resample_spatial", {"resolution": 40, "method": "average"})], "PNG"),  # a mean of the pixels themselves
        ([("resample_spatial", {"resolution": 15})], "PNG"),
        ([SCALE, SMALL], "PNG"),  # a function of the pixels, then some of its values
        ([NDVI, SMALL], "PNG"),
        ([("apply_kernel", {"kernel": [[1, 1, 1]] * 3, "factor": 1 / 9}), SMALL], "PNG"),
        ([], "PNG"),
    ],
)
def test_all_else_reads_the_pixels(env: Env, tmp_path: Path, levels: list[int | None], steps: Any, format: str) -> None:
    execute(graph(*steps, format=format), env, tmp_path)
    assert set(levels) == {None}


def test_what_is_also_data_is_read_as_data(env: Env, tmp_path: Path, levels: list[int | None]) -> None:
    both = graph(SMALL)
    both["process_graph"]["data"] = node("save_result", data={"from_node": "s0"}, format="GTiff")
    execute(both, env, tmp_path)
    assert set(levels) == {None}


def test_a_picture_shows_what_the_overview_holds(env: Env, files: dict[str, str], tmp_path: Path) -> None:
    shown = graph(SMALL, SCALE)
    shown["process_graph"]["save"]["arguments"]["options"] = {"min": 0, "max": 255}
    [asset] = execute(shown, env, tmp_path)
    picture = np.asarray(Image.open(asset.path))
    for k, band in enumerate(("B04", "B03", "B02")):
        with rasterio.open(files[band], overview_level=1) as overview:
            np.testing.assert_array_equal(picture[..., k], np.rint(overview.read(1) / 9000 * 255))


def test_a_map_tile_is_a_picture_of_the_whole_graph(env: Env, levels: list[int | None]) -> None:
    """One plan, looked at on the grid of a tile: the load fills it from the overview, whatever works on each pixel."""
    plan = prepare(graph(NDVI, ("apply", {"process": SCALE[1]["process"]}), bands=("B04", "B03")), env)
    grid = GeoBox((64, 64), Affine(80, 0, LEFT + 640, 0, -80, TOP - 640), CRS)
    box = grid.boundingbox
    demand = Demand(box=(box.left, box.bottom, box.right, box.top, CRS), picture=True, view=View(grid))
    [save] = evaluate(restricted(plan, demand), env)
    assert save.data.shape[-2:] == (64, 64)
    assert np.isfinite(save.data.values[..., :56, :56]).all() and np.isnan(save.data.values[..., 56:, 56:]).all()
    assert set(levels) == {2}
    assert evaluate(plan, env)[0].data.shape[-2:] == (512, 512)  # the plan is as it was
