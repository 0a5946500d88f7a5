"""Thousands of polygons in one pass, beside exactextract and GDAL's rasterisation."""

from __future__ import annotations

import threading
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from rasterio.features import geometry_mask

from processes import cube as cubes
from processes.blocks import from_blocks
from processes.vector.aggregate import aggregate_spatial
from processes.vector.cube import vector_cube
from tests.unit.processes.cubes.samples import CRS, SOUTH, WEST, computed
from tests.unit.processes.vector.cases import Named

SIZE, STEP, COUNT = 400, 10.0, 2000
RNG = np.random.default_rng(3)
PIXELS = RNG.uniform(-5, 100, (SIZE, SIZE)).astype("f4")
PIXELS[RNG.random(PIXELS.shape) < 0.1] = np.nan
BOUNDS = (WEST, SOUTH, WEST + SIZE * STEP, SOUTH + SIZE * STEP)


def stars() -> list[Any]:
    """Polygons of 5 to 12 corners, some with a hole, anywhere on the cube, overlapping as chance has it."""
    out = []
    for _ in range(COUNT):
        x, y = RNG.uniform(WEST + 150, BOUNDS[2] - 150), RNG.uniform(SOUTH + 150, BOUNDS[3] - 150)
        angles = np.sort(RNG.uniform(0, 2 * np.pi, RNG.integers(5, 13)))
        radii = RNG.uniform(25, 140, len(angles))
        star = shapely.Polygon(np.column_stack([x + radii * np.cos(angles), y + radii * np.sin(angles)]))
        star = shapely.make_valid(star)
        if RNG.random() < 0.2:
            star = star.difference(shapely.Point(x, y).buffer(20))
        out.append(star)
    return out


STARS = stars()


def counted() -> tuple[Any, list[Any]]:
    """A lazy cube, and the list of the blocks that were read."""
    read: list[Any] = []
    lock = threading.Lock()

    def block(location: Any) -> np.ndarray:
        with lock:
            read.append(location)
        (y0, y1), (x0, x1) = location
        return PIXELS[y0:y1, x0:x1]

    chunks = ((128, 128, 144), (100, 200, 100))
    ys, xs = BOUNDS[3] - (np.arange(SIZE) + 0.5) * STEP, WEST + (np.arange(SIZE) + 0.5) * STEP
    values = from_blocks(block, (SIZE, SIZE), chunks, "f4")
    return cubes.cube(values, ("y", "x"), {"y": ys, "x": xs}, crs=CRS), read


def by_exactextract(operation: str) -> np.ndarray:
    source = NumPyRasterSource(PIXELS.astype("f8"), *BOUNDS, nodata=np.nan)
    frame = gpd.GeoDataFrame(geometry=STARS, crs=CRS)
    found = exact_extract(source, frame, [operation], output="pandas", include_cols=[])
    return np.asarray(found[operation], "f8")


@pytest.mark.parametrize(
    ("reducer", "operation"), [("mean", "mean"), ("sum", "sum"), ("max", "max"), ("count", "count")]
)
def test_exact_coverage_is_that_of_exactextract(reducer: str, operation: str) -> None:
    data, read = counted()
    zones = vector_cube(STARS, CRS)
    got = computed(aggregate_spatial(data, zones, Named(reducer), context={"coverage": "exact"}))
    assert got.shape == (COUNT,)
    np.testing.assert_allclose(got.values.astype("f8"), by_exactextract(operation), rtol=2e-4, atol=2e-3)
    assert len(read) == len(set(read)) == 9, "every block is read once, whatever the number of polygons"


def test_centres_are_those_of_gdal() -> None:
    data, read = counted()
    got = computed(aggregate_spatial(data, vector_cube(STARS, CRS), Named("mean")))
    assert len(read) == len(set(read)) == 9
    transform = Affine(STEP, 0, WEST, 0, -STEP, BOUNDS[3])
    for k in range(0, COUNT, 20):
        inside = geometry_mask([STARS[k]], (SIZE, SIZE), transform, invert=True)
        expected = np.nanmean(PIXELS[inside].astype("f8")) if np.isfinite(PIXELS[inside]).any() else np.nan
        np.testing.assert_allclose(float(got.values[k]), expected, rtol=1e-5, atol=1e-5)
