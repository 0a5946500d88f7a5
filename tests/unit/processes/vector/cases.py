"""Cases of vector processes on cubes, for the suite that every cube process passes."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import shapely

from processes import cube as cubes
from processes.apply.indices import spectral_indices
from processes.vector.aggregate import aggregate_spatial
from processes.vector.cube import geometries_of, vector_cube
from processes.vector.points import vector_to_random_points, vector_to_regular_points
from processes.vector.shapes import filter_vector, vector_buffer, vector_reproject
from tests.unit.processes.cubes.cases import Case, Mean, nanmean, nanmedian, quiet, scaled_max
from tests.unit.processes.cubes.samples import CRS, SOUTH, WEST, Make, box, geojson, values

V = values()
# two that overlap, one with a hole, one of two parts, one beside the cube
ZONES = (
    box(2, 2, 38, 48),
    box(22, 12, 98, 68).difference(box(42, 22, 68, 48)),
    shapely.union_all([box(0, 60, 20, 80), box(80, 0, 100, 20)]),
    box(500, 500, 600, 600),
)


def zone_values(zone: Any) -> np.ndarray:
    """(6, 3, n) values of the cells whose centre is in a zone."""
    xs, ys = np.meshgrid(WEST + np.arange(10) * 10 + 5, SOUTH + np.arange(8)[::-1] * 10 + 5)
    return V[:, :, shapely.intersects_xy(zone, xs, ys)]


def of_zones(statistic: Any, empty: float = np.nan) -> np.ndarray:
    """(zones, 6, 3)."""
    found = [zone_values(z) for z in ZONES]
    return np.stack([statistic(v) if v.shape[-1] else np.full((6, 3), empty) for v in found]).astype("f8")


def median(data: Any, context: Any = None) -> Any:
    return nanmedian(data.values, axis=0) * np.float32(context)


class Named:
    """A reducer that merges, as compiled callbacks tell it."""

    def __init__(self, name: str, **options: Any):
        self.merge = (name, options)

    def __call__(self, data: Any, context: Any = None) -> Any:
        raise AssertionError("a mergeable reducer is not called")


def aggregate(reducer: Any, **more: Any) -> Any:
    return lambda m, n, k: aggregate_spatial(m(V), geojson(*ZONES), reducer, **({"context": k} | more))


def sample_variance(v: np.ndarray) -> np.ndarray:
    return quiet(np.nanvar)(v.astype("f8"), axis=-1, ddof=1)


MERGED = {
    "sum": lambda v: np.nansum(v.astype("f8"), axis=-1),
    "product": lambda v: np.nanprod(v.astype("f8"), axis=-1),
    "min": lambda v: quiet(np.nanmin)(v, axis=-1),
    "max": lambda v: quiet(np.nanmax)(v, axis=-1),
    "variance": sample_variance,
    "sd": lambda v: np.sqrt(sample_variance(v)),
}


def with_counts(k: float) -> np.ndarray:
    total = of_zones(lambda v: np.full((6, 3), v.shape[-1]), 0)
    return np.stack([of_zones(lambda v: nanmean(v, axis=-1)), total, of_zones(lambda v: np.isfinite(v).sum(-1), 0)], -1)


def ratio(a: int, b: int) -> np.ndarray:
    return quiet(lambda: (V[:, a] - V[:, b]) / (V[:, a] + V[:, b]))()


F = values((6, 3), seed=3)
CORNERS = [(2.0, 2.0), (22.0, 12.0), (42.0, 60.0), (62.0, 5.0), (75.0, 40.0), (90.0, 70.0)]  # lower left, 10 m squares


def features(make: Make) -> Any:
    """Squares of 10 m with three values each."""
    held = F if make.chunking == "numpy" else da.from_array(F, chunks=(2, 2) if make.chunking == "everything" else -1)
    bands = make.names["bands"]
    squares = [box(x, y, x + 10, y + 10) for x, y in CORNERS]
    return vector_cube(
        squares, CRS, held, dims=("geometry", bands), coords={bands: ["B1", "B2", "B3"]}, kinds={bands: cubes.BANDS}
    )


def in_degrees(make: Make) -> Any:
    """The squares in EPSG:4326 and back: geometries have moved by less than a millimetre, values not at all."""
    there = vector_reproject(features(make), 4326)
    assert all(abs(g.bounds[0]) < 180 for g in geometries_of(there))
    back = vector_reproject(there, CRS)
    for a, b in zip(geometries_of(back), geometries_of(features(make))):
        assert a.equals_exact(b, 1e-3)
    return there


def buffered(make: Make) -> Any:
    out = vector_buffer(features(make), 5)
    # a square of 10 m, four sides of 5 x 10 and a circle of 64 corners
    circle = 0.5 * 64 * 25 * np.sin(2 * np.pi / 64)
    np.testing.assert_allclose([g.area for g in geometries_of(out)], 100 + 200 + circle)
    return out


def regular(make: Make) -> Any:
    """Four cells of 5 m in each square: their centres, one label each."""
    out = vector_to_regular_points(features(make), 5, group=False)
    first = sorted((p.x - WEST, p.y - SOUTH) for p in geometries_of(out)[:4])
    np.testing.assert_allclose(first, [(4.5, 4.5), (4.5, 9.5), (9.5, 4.5), (9.5, 9.5)])
    return out


def random(make: Make) -> Any:
    out = vector_to_random_points(features(make), geometry_count=2, group=False, seed=1)
    for k, p in enumerate(geometries_of(out)):
        assert geometries_of(features(make))[k // 2].contains(p)
    return out


CASES = [
    Case(
        "filter_vector",
        lambda m, n, k: filter_vector(features(m), geojson(box(0, 0, 35, 35), box(70, 30, 99, 99)), "within"),
        lambda k: F[[0, 1, 4]],
        note="within",
    ),
    Case(
        "filter_vector",
        lambda m, n, k: filter_vector(features(m), geojson(box(0, 0, 25, 35), box(95, 30, 99, 99))),
        lambda k: F[[0, 1, 5]],
    ),
    Case("vector_reproject", lambda m, n, k: in_degrees(m), lambda k: F),
    Case("vector_buffer", lambda m, n, k: buffered(m), lambda k: F),
    Case("vector_to_regular_points", lambda m, n, k: regular(m), lambda k: np.repeat(F, 4, axis=0)),
    Case("vector_to_random_points", lambda m, n, k: random(m), lambda k: np.repeat(F, 2, axis=0)),
    Case("aggregate_spatial", aggregate(Mean()), lambda k: of_zones(lambda v: nanmean(v, axis=-1)), note="mean"),
    *(
        Case("aggregate_spatial", aggregate(Named(name)), lambda k, f=f: of_zones(f), note=name)  # type: ignore[misc]
        for name, f in MERGED.items()
    ),
    Case(
        "aggregate_spatial",
        aggregate(Named("count")),
        lambda k: of_zones(lambda v: np.isfinite(v).sum(-1), 0),
        note="count",
    ),
    Case(
        "aggregate_spatial",
        aggregate(Named("mean", ignore_nodata=False)),
        lambda k: of_zones(lambda v: np.mean(v, axis=-1)),
        note="strict",
    ),
    Case("aggregate_spatial", aggregate(Mean(), target_dimension="what"), with_counts, note="target"),
    Case(
        "aggregate_spatial",
        aggregate(median),
        lambda k: of_zones(lambda v: nanmedian(v, axis=-1) * k),
        callback=True,
        note="median",
    ),
    Case("aggregate_spatial", aggregate(scaled_max), lambda k: of_zones(lambda v: MERGED["max"](v) * k), callback=True, note="max-callback"),
    Case(
        "spectral_indices",
        lambda m, n, k: spectral_indices(m(V), ["NDVI", "NDMI"]),
        lambda k: np.stack([ratio(1, 0), ratio(1, 2)], axis=1),
    ),
    Case(
        "spectral_indices",
        lambda m, n, k: spectral_indices(m(V), ["EVI2"], {"g": 2}, append=True),
        lambda k: np.concatenate([V, quiet(lambda: 2 * (V[:, 1] - V[:, 0]) / (V[:, 1] + 2.4 * V[:, 0] + 1))()[:, None]], axis=1),
        note="append",
    ),
]  # fmt: skip
