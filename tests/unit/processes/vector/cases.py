"""Cases of vector processes on cubes, for the suite that every cube process passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from processes.apply.indices import spectral_indices
from processes.vector.aggregate import aggregate_spatial
from tests.unit.processes.cubes.cases import Case, Mean, nanmean, nanmedian, quiet, scaled_max
from tests.unit.processes.cubes.samples import SOUTH, WEST, box, geojson, values

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


CASES = [
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
