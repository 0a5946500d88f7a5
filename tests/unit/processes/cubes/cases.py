"""One case or more for every cube process: how to call it, and what numpy says must come out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
import xarray as xr

from processes.aggregate.climate import anomaly, climatological_normal
from processes.aggregate.temporal import aggregate_temporal, aggregate_temporal_period
from processes.aggregate.window import aggregate_spatial_window
from processes.apply import methods
from processes.apply.apply import apply, apply_dimension
from processes.apply.curves import fit_curve, predict_curve
from processes.apply.kernel import apply_kernel
from processes.apply.ndvi import ndvi
from processes.apply.neighborhood import apply_neighborhood
from processes.apply.polygon import apply_polygon
from processes.callback import LabeledArray
from processes.combine.dimensions import (
    add_dimension,
    dimension_labels,
    drop_dimension,
    flatten_dimensions,
    rename_dimension,
    rename_labels,
    unflatten_dimension,
)
from processes.combine.merge import merge_cubes
from processes.filter.labels import filter_bands, filter_labels, filter_temporal
from processes.filter.spatial import filter_bbox, filter_spatial
from processes.filter.trim import trim_cube
from processes.mask.mask import mask_
from processes.mask.mask_polygon import mask_polygon
from processes.reduce.dimension import reduce_dimension, reduce_spatial
from processes.resample.spatial import resample_cube_spatial, resample_spatial
from processes.resample.temporal import resample_cube_temporal
from tests.unit.processes.cubes.samples import SOUTH, WEST, Make, box, geojson, values

V = values()
W = values(seed=11)
Names = dict[str, str]


@dataclass(frozen=True)
class Case:
    """A call of ``process``; ``k`` is a number that goes through the callback where there is one."""

    process: str
    call: Callable[[Make, Any, float], Any]
    expect: Callable[[float], Any]
    callback: bool = False
    eager: str = ""  # why the process may compute while the graph is built
    note: str = ""

    @property
    def id(self) -> str:
        return f"{self.process}-{self.note}" if self.note else self.process


def quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """numpy's nan-functions without their warnings about all-NaN slices."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    return wrapped


nanmax, nanmean, nanmedian = quiet(np.nanmax), quiet(np.nanmean), quiet(np.nanmedian)


class Mean:
    """A reducer that says it merges, times ``context`` nothing: the streaming path."""

    merge = ("mean", {})

    def __call__(self, data: LabeledArray, context: Any = None) -> np.ndarray:
        return nanmean(data.values, axis=0)


def scaled_max(data: LabeledArray, context: Any = None) -> np.ndarray:
    return nanmax(data.values, axis=0) * np.float32(context)


def plus_mean(data: xr.DataArray, context: Any = None) -> xr.DataArray:
    return data.copy(data=data.values + nanmean(data.values) * np.float32(context))


def line(x: Any, parameters: Any) -> Any:
    return parameters.values[0] + parameters.values[1] * x


TRIANGLE = shapely.Polygon([(WEST + 4, SOUTH + 4), (WEST + 76, SOUTH + 4), (WEST + 76, SOUTH + 66)])


def centres() -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(WEST + np.arange(10) * 10 + 5, SOUTH + (np.arange(8)[::-1]) * 10 + 5)


def in_triangle() -> np.ndarray:
    xs, ys = centres()
    return shapely.intersects_xy(TRIANGLE, xs, ys)


def in_boxes(*boxes: tuple[float, float, float, float]) -> np.ndarray:
    xs, ys = centres()
    hit = np.zeros(xs.shape, bool)
    for w, s, e, n in boxes:
        hit |= (xs - WEST >= w) & (xs - WEST <= e) & (ys - SOUTH >= s) & (ys - SOUTH <= n)
    return hit


BOXES = ((2.0, 2.0, 38.0, 48.0), (52.0, 22.0, 98.0, 68.0))


def polygon_parts(k: float) -> np.ndarray:
    out = np.full(V.shape, np.nan, "f4")
    for b in BOXES:
        inside = in_boxes(b)
        part = np.where(inside, V, np.nan)
        out = np.where(inside, part + nanmean(part[..., inside]) * np.float32(k), out)
    return out


def kernel_sum(k: float) -> np.ndarray:
    kernel = np.arange(15).reshape(3, 5)
    clean = np.nan_to_num(V.astype("f8"), nan=0.0)
    padded = np.pad(clean, [(0, 0), (0, 0), (1, 1), (2, 2)], mode="symmetric")
    out = np.zeros(V.shape)
    for i in range(3):
        for j in range(5):
            out += kernel[i, j] * padded[..., i : i + 8, j : j + 10]
    return out * 0.5


def neighborhoods(k: float) -> np.ndarray:
    out = np.empty_like(V)
    padded = np.pad(V, [(0, 0), (0, 0), (1, 1 + 1), (2, 2 + 2)], constant_values=np.nan)
    for r in range(0, 8, 3):
        for c in range(0, 10, 4):
            window = padded[..., r : r + 5, c : c + 8]
            done = window + nanmean(window) * np.float32(k)
            h, w = min(3, 8 - r), min(4, 10 - c)
            out[..., r : r + h, c : c + w] = done[..., 1 : 1 + h, 2 : 2 + w]
    return out


def merged(k: float) -> np.ndarray:
    """V has months 1-6, W months 4-9, bands B1 B2 B3 and B3 B4 B1."""
    out = np.full((9, 4, 8, 10), np.nan, "f4")
    out[:6, :3] = V
    where = [2, 3, 0]
    for j, b in enumerate(where):
        for i in range(6):
            t = i + 3
            out[t, b] = V[t, b] + np.float32(k) * W[i, j] if t < 6 and b < 3 else W[i, j]
    return out


def windows(k: float) -> np.ndarray:
    padded = np.pad(V, [(0, 0), (0, 0), (0, 1), (0, 2)], constant_values=np.nan)
    return nanmax(padded.reshape(6, 3, 3, 3, 3, 4).transpose(3, 5, 0, 1, 2, 4).reshape(12, 6, 3, 3, 3), axis=0) * k


def trimmed() -> np.ndarray:
    out = V.copy()
    out[2] = out[5] = np.nan  # dates are not evenly spaced: one in the middle goes too
    out[..., :2, :] = np.nan
    out[..., 4, :] = np.nan  # a row inside stays
    out[:, 1] = np.nan
    return out


def coarse(array: np.ndarray) -> np.ndarray:
    return array[..., 1::2, 1::2]


def detect(data: xr.DataArray, options: Any, env: Any = None) -> xr.DataArray:
    """Method "test" of cloud_detection: what is above 1 is a cloud in B1, a shadow in B2."""
    hit = apply(filter_bands(data, ["B1", "B2"]), lambda x, context: np.nan_to_num(x) > 1)
    return rename_labels(hit, options["bands"], ["cloud", "shadow"], ["B1", "B2"])


def correct(data: xr.DataArray, options: Any, elevation_model: Any = None, env: Any = None) -> xr.DataArray:
    """Method "test" of atmospheric_correction: doubles everything."""
    return apply(data, lambda x, context: x * 2)


FIT_T = np.arange(6) * 2.0
FIT_TRUTH = np.stack([values((8, 10), 3, 0), values((8, 10), 4, 0)]).astype("f8")
FIT_DATA = FIT_TRUTH[0] + FIT_TRUTH[1] * FIT_T[:, None, None]


def fit_line(data: LabeledArray, context: Any = None) -> np.ndarray:
    return fit_curve(LabeledArray(data.values, FIT_T.tolist()), [1.0, 1.0], line)


CASES = [
    Case(
        "filter_bbox",
        lambda m, n, k: filter_bbox(
            m(V), {"west": WEST + 11, "east": WEST + 55, "south": SOUTH + 14, "north": SOUTH + 36, "crs": 32631}
        ),
        lambda k: V[..., 4:7, 1:6],
    ),
    Case("filter_bands", lambda m, n, k: filter_bands(m(V), ["B3", "red"]), lambda k: V[:, [2, 0]]),
    Case(
        "filter_bands",
        lambda m, n, k: filter_bands(m(V), wavelengths=[[0.8, 2], [0.6, 0.7]]),
        lambda k: V[:, [1, 2, 0]],
        note="wavelengths",
    ),
    Case("filter_temporal", lambda m, n, k: filter_temporal(m(V), ["2020-02-01", "2020-04-01"]), lambda k: V[1:3]),
    Case(
        "filter_spatial",
        lambda m, n, k: filter_spatial(m(V), geojson(TRIANGLE)),
        lambda k: np.where(in_triangle(), V, np.nan)[..., 1:8, 0:8],
    ),
    Case(
        "filter_labels",
        lambda m, n, k: filter_labels(m(V), lambda value, context: value != f"B{context:.0f}", n["bands"], k),
        lambda k: V[:, [b for b in range(3) if b != k - 1]],
        callback=True,
    ),
    Case(
        "reduce_dimension",
        lambda m, n, k: reduce_dimension(m(V), scaled_max, n["t"], k),
        lambda k: nanmax(V, axis=0) * k,
        callback=True,
    ),
    Case(
        "reduce_dimension",
        lambda m, n, k: reduce_dimension(m(V), Mean(), n["t"]),
        lambda k: nanmean(V, axis=0),
        note="streaming",
    ),
    Case(
        "reduce_dimension",
        lambda m, n, k: reduce_dimension(m(V), Mean(), n["x"]),
        lambda k: nanmean(V, axis=3),
        note="x",
    ),
    Case(
        "reduce_spatial",
        lambda m, n, k: reduce_spatial(m(V), scaled_max, k),
        lambda k: nanmax(V, axis=(2, 3)) * k,
        callback=True,
    ),
    Case(
        "reduce_spatial",
        lambda m, n, k: reduce_spatial(m(V), Mean()),
        lambda k: nanmean(V, axis=(2, 3)),
        note="streaming",
    ),
    Case(
        "apply",
        lambda m, n, k: apply(m(V), lambda x, context: x * np.float32(context), k),
        lambda k: V * k,
        callback=True,
    ),
    Case(
        "apply_dimension",
        lambda m, n, k: apply_dimension(
            m(V),
            lambda data, context: np.cumsum(np.nan_to_num(data.values), axis=0) * np.float32(context),
            n["t"],
            context=k,
        ),
        lambda k: np.cumsum(np.nan_to_num(V), axis=0) * k,
        callback=True,
    ),
    Case(
        "apply_dimension",
        lambda m, n, k: apply_dimension(
            m(V), lambda data, context: np.stack([nanmax(data.values, 0), data.values[0]]), n["bands"], "q"
        ),
        lambda k: np.stack([nanmax(V, axis=1), V[:, 0]], axis=1),
        note="target",
    ),
    Case(
        "apply_kernel",
        lambda m, n, k: apply_kernel(m(V), np.arange(15).reshape(3, 5).tolist(), factor=0.5, border="reflect"),
        kernel_sum,
    ),
    Case(
        "apply_neighborhood",
        lambda m, n, k: apply_neighborhood(
            m(V),
            plus_mean,
            [{"dimension": n["x"], "value": 4, "unit": "px"}, {"dimension": n["y"], "value": 30, "unit": "m"}],
            [{"dimension": n["x"], "value": 2, "unit": "px"}, {"dimension": n["y"], "value": 1, "unit": "px"}],
            k,
        ),
        neighborhoods,
        callback=True,
    ),
    Case(
        "apply_polygon",
        lambda m, n, k: apply_polygon(m(V), geojson(*(box(*b) for b in BOXES)), plus_mean, context=k),
        polygon_parts,
        callback=True,
    ),
    Case(
        "aggregate_temporal",
        lambda m, n, k: aggregate_temporal(
            m(V),
            [["2020-01-01", "2020-03-01"], ["2021-01-01", "2022-01-01"], ["2020-02-01", None]],
            scaled_max,
            context=k,
        ),
        lambda k: np.stack([nanmax(V[:2], axis=0), np.full(V.shape[1:], np.nan, "f4"), nanmax(V[1:], axis=0)]) * k,
        callback=True,
    ),
    Case(
        "aggregate_temporal_period",
        lambda m, n, k: aggregate_temporal_period(m(V), "season", scaled_max, context=k),
        lambda k: np.stack([nanmax(V[:2], axis=0), nanmax(V[2:5], axis=0), V[5]]) * k,
        callback=True,
    ),
    Case(
        "aggregate_temporal_period",
        lambda m, n, k: aggregate_temporal_period(m(V), "season", Mean()),
        lambda k: np.stack([nanmean(V[:2], axis=0), nanmean(V[2:5], axis=0), V[5]]),
        note="streaming",
    ),
    Case(
        "aggregate_spatial_window",
        lambda m, n, k: aggregate_spatial_window(m(V), scaled_max, [4, 3], context=k),
        windows,
        callback=True,
    ),
    Case(
        "merge_cubes",
        lambda m, n, k: merge_cubes(
            m(V),
            m(W, first_month=4, bands=("B3", "B4", "B1")),
            lambda x, y, context: x + np.float32(context) * y,
            k,
        ),
        merged,
        callback=True,
    ),
    Case(
        "mask",
        lambda m, n, k: mask_(m(V), m((W[0, 0] > 1).astype("u1"), ("y", "x")), 9),
        lambda k: np.where(W[0, 0] > 1, 9, V),
    ),
    Case(
        "mask_polygon",
        lambda m, n, k: mask_polygon(m(V), geojson(TRIANGLE)),
        lambda k: np.where(in_triangle(), V, np.nan),
    ),
    Case("ndvi", lambda m, n, k: ndvi(m(V)), lambda k: quiet(lambda: (V[:, 1] - V[:, 0]) / (V[:, 1] + V[:, 0]))()),
    Case(
        "ndvi",
        lambda m, n, k: ndvi(m(V), nir="B3", target_band="index"),
        lambda k: np.concatenate([V, ((V[:, 2] - V[:, 0]) / (V[:, 2] + V[:, 0]))[:, None]], axis=1),
        note="target",
    ),
    Case("add_dimension", lambda m, n, k: add_dimension(m(V), "extra", "a"), lambda k: V[None]),
    Case("drop_dimension", lambda m, n, k: drop_dimension(m(V[:1]), n["t"]), lambda k: V[0]),
    Case("rename_dimension", lambda m, n, k: rename_dimension(m(V), n["t"], "when"), lambda k: V),
    Case("rename_labels", lambda m, n, k: rename_labels(m(V), n["bands"], ["a"], ["B2"]), lambda k: V),
    Case("dimension_labels", lambda m, n, k: dimension_labels(m(V), n["bands"]), lambda k: ["B1", "B2", "B3"]),
    Case(
        "trim_cube",
        lambda m, n, k: trim_cube(m(trimmed())),
        lambda k: trimmed()[[0, 1, 3, 4]][:, [0, 2]][..., 2:, :],
        eager="which labels are left depends on the values",
    ),
    Case(
        "flatten_dimensions",
        lambda m, n, k: flatten_dimensions(m(V), [n["bands"], n["t"]], "all"),
        lambda k: V.transpose(1, 0, 2, 3).reshape(18, 8, 10),
    ),
    Case(
        "unflatten_dimension",
        lambda m, n, k: unflatten_dimension(
            flatten_dimensions(m(V), [n["bands"], n["t"]], "all"), "all", ["b", "time"]
        ),
        lambda k: V.transpose(1, 0, 2, 3),
    ),
    Case("resample_spatial", lambda m, n, k: resample_spatial(m(V), 20), lambda k: coarse(V)),
    Case(
        "resample_spatial",
        lambda m, n, k: resample_spatial(m(V), 20, method="average"),
        lambda k: nanmean(V.reshape(6, 3, 4, 2, 5, 2).transpose(0, 1, 2, 4, 3, 5).reshape(6, 3, 4, 5, 4), axis=-1),
        note="average",
    ),
    Case(
        "resample_cube_spatial",
        lambda m, n, k: resample_cube_spatial(m(V), m(V[..., :4, :5], step=20.0)),
        lambda k: coarse(V),
    ),
    Case(
        "resample_cube_temporal",
        lambda m, n, k: resample_cube_temporal(
            m(V), m(V[:2], t=np.array(["2020-02-03", "2020-05-30"], "datetime64[ns]"))
        ),
        lambda k: V[[1, 5]],
    ),
    Case(
        "climatological_normal",
        lambda m, n, k: climatological_normal(m(V), "season", [2020, 2020]),
        lambda k: np.stack([np.full(V.shape[1:], np.nan, "f4"), nanmean(V[2:5], axis=0), V[5], V[5] * np.nan]),
    ),
    Case(
        "anomaly",
        lambda m, n, k: anomaly(m(V), climatological_normal(m(W), "month", [2020, 2020]), "month"),
        lambda k: V - W,
    ),
    Case(
        "fit_curve",
        lambda m, n, k: apply_dimension(m(FIT_DATA, ("t", "y", "x")), fit_line, n["t"], "parameter"),
        lambda k: FIT_TRUTH,
    ),
    Case(
        "predict_curve",
        lambda m, n, k: predict_curve(
            apply_dimension(m(FIT_DATA, ("t", "y", "x")), fit_line, n["t"], "parameter"), line, "new", [3.0, 4.5]
        ),
        lambda k: np.stack([FIT_TRUTH[0] + FIT_TRUTH[1] * x for x in (3.0, 4.5)]),
    ),
    Case(
        "predict_curve",
        # `function` has no context: what changes between the calls is in its closure
        lambda m, n, k: predict_curve(
            m(FIT_TRUTH, ("parameter", "y", "x"), parameter=[0, 1]),
            lambda x, parameters: line(x, parameters) * k,
            "new",
            [3.0],
        ),
        lambda k: (FIT_TRUTH[0] + FIT_TRUTH[1] * 3)[None] * k,
        callback=True,
        note="closure",
    ),
    Case(
        "cloud_detection",
        lambda m, n, k: methods.cloud_detection(m(V), "test", {"bands": n["bands"]}),
        lambda k: np.nan_to_num(V[:, :2]) > 1,
    ),
    Case(
        "atmospheric_correction",
        lambda m, n, k: methods.atmospheric_correction(m(V), None),
        lambda k: V * 2,
    ),
    Case(
        "ard_surface_reflectance",
        lambda m, n, k: methods.ard_surface_reflectance(
            m(V), "test", "test", cloud_detection_options={"bands": n["bands"]}
        ),
        lambda k: np.concatenate(
            [np.where((np.nan_to_num(V[:, :2]) > 1).any(axis=1)[:, None], np.nan, V * 2), np.nan_to_num(V[:, :2]) > 1],
            axis=1,
        ),
    ),
]
