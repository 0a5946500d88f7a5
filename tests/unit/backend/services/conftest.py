"""An archive of one ramp: each pixel tells where it is, so that a shift of a pixel is a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from backend.services.layer import Layer
from backend.services.messages import Spec
from processes.env import Env, Limits
from tests.unit.processes.load.conftest import MemoryCatalogue, make_item

SIZE, STEP, WEST, NORTH, CRS = 1200, 10.0, 500_000.0, 4_800_000.0, "EPSG:32631"
COLLECTION = "RAMP"


def ramp(seed: int = 0) -> np.ndarray:
    """Column + 7 x row (mod 9973), so that neighbours differ and every shift shows."""
    rows, cols = np.mgrid[:SIZE, :SIZE]
    return ((cols + 7 * rows + 911 * seed) % 9973 + 1).astype("i2")


def graph(**nodes: Any) -> dict[str, Any]:
    return {"process_graph": nodes}


def load(bands: list[str], days: list[str] | None = None, **more: Any) -> dict[str, Any]:
    arguments = {"id": COLLECTION, "spatial_extent": None, "temporal_extent": days, "bands": bands} | more
    return {"process_id": "load_collection", "arguments": arguments}


def call(process_id: str, result: bool = False, /, **arguments: Any) -> dict[str, Any]:
    return {"process_id": process_id, "arguments": arguments, "result": result}


def ref(name: str) -> dict[str, str]:
    return {"from_node": name}


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], np.ndarray]:
    """(day, band) -> numbers; files ``B04_0.tif`` ... beside, see `files`."""
    return {(d, b): ramp(2 * d + k) for d in range(3) for k, b in enumerate(("B04", "B08"))}


@pytest.fixture(scope="session")
def files(archive: dict[tuple[int, str], np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ramp")
    for (day, band), numbers in archive.items():
        profile: dict[str, Any] = {
            "driver": "GTiff", "dtype": "int16", "count": 1, "height": SIZE, "width": SIZE, "crs": CRS, "nodata": 0,
            "transform": Affine(STEP, 0, WEST, 0, -STEP, NORTH), "tiled": True, "blockxsize": 256, "blockysize": 256,
            "compress": "deflate",
        }  # fmt: skip
        path = folder / f"{band}_{day}.tif"
        with rasterio.open(path, "w", **profile) as out:
            out.write(numbers, 1)
        with rasterio.open(path, "r+") as out:
            out.build_overviews([2, 4], Resampling.average)
    return folder


@pytest.fixture
def catalogue(files: Path) -> MemoryCatalogue:
    items = []
    for day in range(3):
        held = {b: (str(files / f"{b}_{day}.tif"), [{"name": b, "tuile:kind": "continuous", "eo:common_name": c}])
                for b, c in (("B04", "red"), ("B08", "nir"))}  # fmt: skip
        when = f"2024-05-0{day + 1}T10:30:00"
        items.append(make_item(f"day-{day}", when, held, platform="s2a", **{"tuile:datatake": f"take-{day}"}))
    return MemoryCatalogue({COLLECTION: items})


@pytest.fixture
def layer(catalogue: MemoryCatalogue, tmp_path: Path) -> Callable[..., Layer]:
    env = replace(Env(), catalogue=catalogue, workspace=tmp_path, limits=Limits(1 << 30, 1))

    def make(process: dict[str, Any], resampling: str = "near", max_pixels: int = 10**8, **options: Any) -> Layer:
        spec = Spec("key", process, {}, "user", options, resampling)
        return Layer(spec, env, max_nodes=1000, max_pixels=max_pixels)

    dask.config.set(scheduler="sync")
    return make
