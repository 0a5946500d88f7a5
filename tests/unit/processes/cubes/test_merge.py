"""merge_cubes and curve fitting by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely

from processes import cube as cubes
from processes.apply.curves import abscissae, fit_curve, predict_curve
from processes.callback import LabeledArray
from processes.combine.dimensions import add_dimension
from processes.combine.merge import merge_cubes
from processes.errors import ProcessError
from processes.filter.labels import filter_bands
from processes.vector.cube import vector_cube
from tests.unit.processes.cubes.samples import SOUTH, WEST, Make, building, computed, values

MAKE, CHUNKED = Make(), Make("everything")
BOTH = pytest.mark.parametrize("make", [MAKE, CHUNKED], ids=["numpy", "chunked"])


def add(x: Any, y: Any, context: Any = None) -> Any:
    return x + y


def second(x: Any, y: Any, context: Any = None) -> Any:
    return y


@BOTH
def test_bands_are_joined_and_can_be_taken_apart_again(make: Make) -> None:
    a, b = make(values()), make(values(seed=2), bands=("C1", "C2", "C3"))
    got = merge_cubes(a, b)
    assert cubes.labels(got, "bands") == ["B1", "B2", "B3", "C1", "C2", "C3"]
    np.testing.assert_array_equal(computed(filter_bands(got, ["C1", "C2", "C3"])).values, computed(b).values)
    assert list(got.attrs["band_info"]) == ["B1", "B2", "B3"]


@BOTH
def test_cubes_with_a_new_dimension_each_are_stacked(make: Make) -> None:
    a, b = make(values()), make(values(seed=2))
    got = merge_cubes(add_dimension(a, "source", "one"), add_dimension(b, "source", "two"))
    assert cubes.labels(got, "source") == ["one", "two"]
    np.testing.assert_array_equal(computed(got).values, [values(), values(seed=2)])


@BOTH
def test_dates_are_sorted(make: Make) -> None:
    late, early = values((2, 1, 2, 2), 1, 0), values((2, 1, 2, 2), 2, 0)
    got = computed(merge_cubes(make(late, first_month=5), make(early, first_month=1)))
    np.testing.assert_array_equal(got.values, [*early, *late])
    assert (np.diff(got.coords["t"].values.astype("i8")) > 0).all()


@BOTH
@pytest.mark.parametrize("swap", [False, True])
def test_a_terrain_model_meets_every_date_and_band(make: Make, swap: bool) -> None:
    v, dem = values(), values((8, 10), 5, 0)
    cubes_ = [make(v), make(dem, ("y", "x"))]
    with pytest.raises(ProcessError, match="OverlapResolverMissing"):
        merge_cubes(*cubes_)
    got = computed(merge_cubes(*(cubes_[::-1] if swap else cubes_), add))
    assert got.dims == ("t", "bands", "y", "x")
    np.testing.assert_allclose(got.values, v + dem)


@BOTH
def test_dimensions_that_each_cube_lacks(make: Make) -> None:
    v, w = values((6, 8, 10), 1), values((3, 8, 10), 2)
    got = computed(merge_cubes(make(v, ("t", "y", "x")), make(w, ("bands", "y", "x")), add))
    assert got.sizes == {"t": 6, "y": 8, "x": 10, "bands": 3}
    np.testing.assert_allclose(got.transpose("t", "bands", "y", "x").values, v[:, None] + w[None])
    assert got.attrs["dims"]["bands"] == cubes.BANDS


@BOTH
def test_neighbouring_tiles_become_one_image(make: Make) -> None:
    v = values((1, 1, 8, 20), holes=0)
    left, right = make(v[..., :10]), make(v[..., 10:], west=WEST + 100)
    for one, two in ((left, right), (right, left)):
        got = computed(merge_cubes(one, two))
        np.testing.assert_array_equal(got.values, v)
        np.testing.assert_array_equal(got.coords["x"].values, WEST + 5 + 10 * np.arange(20))
    lower = make(v[..., :10], south=SOUTH - 80)
    got = computed(merge_cubes(left, lower))
    assert (np.diff(got.coords["y"].values) == -10).all()
    np.testing.assert_array_equal(got.values, np.concatenate([v[..., :10], v[..., :10]], axis=2))


@BOTH
def test_tiles_that_meet_at_a_corner_leave_nodata_between(make: Make) -> None:
    v = np.ones((1, 1, 2, 2), "u1")
    got = computed(merge_cubes(make(v), make(v * 2, west=WEST + 20, south=SOUTH - 20)))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(np.nan_to_num(got.values[0, 0]), np.kron([[1, 0], [0, 2]], np.ones((2, 2))))
    kept = computed(merge_cubes(make(v, nodata=9), make(v * 2, west=WEST + 20, south=SOUTH - 20, nodata=9)))
    assert kept.dtype == np.uint8
    assert kept.attrs["nodata"] == 9
    np.testing.assert_array_equal(kept.values[0, 0], np.kron([[1, 9], [9, 2]], np.ones((2, 2))))


@BOTH
def test_other_grids_are_resampled_onto_the_first(make: Make) -> None:
    v = values((1, 1, 4, 4), holes=0)
    fine = np.arange(64, dtype="f4").reshape(1, 1, 8, 8)
    got = computed(merge_cubes(make(v, step=20.0), make(fine), second))
    assert got.shape == (1, 1, 4, 4)
    np.testing.assert_array_equal(got.values[0, 0], fine[0, 0, 1::2, 1::2])
    other = make(np.ones((1, 1, 40, 40), "f4"), crs=32632, west=113_600, south=4_810_000)
    assert cubes.crs_of(merge_cubes(make(values((1, 1, 8, 8))), other, add)).epsg == 32631


@BOTH
def test_labels_in_another_order_are_matched(make: Make) -> None:
    v = values((1, 3, 2, 2), holes=0)
    got = computed(merge_cubes(make(v), make(v[:, ::-1], bands=("B3", "B2", "B1")), lambda x, y, context: x - y))
    np.testing.assert_array_equal(got.values, np.zeros_like(v))


@BOTH
def test_integers_keep_their_dtype_where_they_agree_on_nodata(make: Make) -> None:
    v = np.array([[[[1, 255], [3, 4]]]], "u1")
    a, b = make(v, nodata=255), make(v, bands=("C",), nodata=255)
    got = merge_cubes(a, b)
    assert (got.dtype, got.attrs["nodata"]) == (np.uint8, 255)
    different = computed(merge_cubes(a, make(v, bands=("C",))))
    assert different.dtype == np.float32
    np.testing.assert_array_equal(different.values[0, :, 0, 1], [np.nan, 255])
    both = computed(merge_cubes(a, make(v, nodata=255), lambda x, y, context: np.fmax(x, y)))
    np.testing.assert_array_equal(both.values[0, 0], [[1, np.nan], [3, 4]])


def test_dimension_of_the_same_name_and_another_type() -> None:
    a, b = MAKE(values()), MAKE(values())
    b.attrs = {**b.attrs, "dims": {**b.attrs["dims"], "bands": cubes.OTHER}}
    with pytest.raises(ProcessError, match="IncompatibleDataCubes"):
        merge_cubes(a, b, add)


def test_only_what_overlaps_goes_through_the_resolver() -> None:
    seen = []

    def watch(x: Any, y: Any, context: Any = None) -> Any:
        seen.append(np.shape(x))
        return x

    with building():
        lazy = merge_cubes(CHUNKED(values()), CHUNKED(values(), first_month=6), watch)
    seen.clear()
    computed(lazy)
    assert sum(int(np.prod(s)) for s in seen) == 3 * 8 * 10  # one month of eleven


def vectors(*points: tuple[float, float], band: str = "B1", shape: Any = shapely.Point) -> Any:
    held = [shape(p) for p in points]
    numbers = np.arange(float(len(held))).reshape(-1, 1)
    return vector_cube(
        held, 4326, numbers, dims=("geometry", "bands"), coords={"bands": [band]}, kinds={"bands": cubes.BANDS},
        properties={"name": [f"p{i}" for i in range(len(held))]},
    )  # fmt: skip


def test_vector_cubes_merge_by_equal_geometries() -> None:
    got = merge_cubes(vectors((1, 2), (3, 4)), vectors((3, 4), (5, 6)), add)
    assert [g.x for g in got.coords["geometry"].values] == [1, 3, 5]
    np.testing.assert_array_equal(got.values.ravel(), [0, 1, 1])
    wide = merge_cubes(vectors((1, 2), (3, 4)), vectors((1, 2), (3, 4), band="B2"))
    np.testing.assert_array_equal(wide.values, [[0, 0], [1, 1]])
    assert list(wide.coords["name"].values) == ["p0", "p1"]
    assert cubes.kind_of(wide, "geometry") == cubes.GEOMETRY


def test_vector_cubes_of_other_types_and_rasters_do_not_merge() -> None:
    lines = vectors(((1, 2), (3, 4)), shape=shapely.LineString)
    with pytest.raises(ProcessError, match="IncompatibleGeometryTypes"):
        merge_cubes(vectors((1, 2)), lines)
    with pytest.raises(ProcessError, match="IncompatibleDataCubes"):
        merge_cubes(vectors((1, 2)), MAKE(values()))


# --- curves ---


def line(x: Any, parameters: LabeledArray) -> Any:
    return parameters.values[0] + parameters.values[1] * x


def test_abscissae() -> None:
    np.testing.assert_array_equal(abscissae(None, 3), [0, 1, 2])
    np.testing.assert_array_equal(abscissae([1, 2.5], 2), [1, 2.5])
    np.testing.assert_array_equal(abscissae(["1970-01-02", np.datetime64("1970-01-03")], 2), [86400, 172800])


def test_fit_of_a_nonlinear_model_is_that_of_scipy() -> None:
    from scipy.optimize import curve_fit

    rng = np.random.default_rng(1)
    x = np.linspace(0, 4, 30)
    truth = rng.uniform(0.5, 2, (3, 20))
    y = truth[0] * np.exp(-truth[1] * x[:, None]) + truth[2] + rng.normal(0, 0.02, (30, 20))

    def decay(x: Any, parameters: LabeledArray) -> Any:
        p = parameters.values
        return p[0] * np.exp(-p[1] * x) + p[2]

    got = fit_curve(LabeledArray(y, x.tolist()), [1, 1, 1], decay)
    for i in range(20):
        expected, _ = curve_fit(lambda x, a, b, c: a * np.exp(-b * x) + c, x, y[:, i], p0=[1, 1, 1])
        np.testing.assert_allclose(got[:, i], expected, rtol=1e-4)


def test_fit_ignores_nodata_unless_told() -> None:
    y = np.array([1.0, np.nan, 5.0, 7.0])
    np.testing.assert_allclose(fit_curve(LabeledArray(y, [0, 1, 2, 3]), [0, 0], line), [1, 2], atol=1e-8)
    assert np.isnan(fit_curve(LabeledArray(y, [0, 1, 2, 3]), [0, 0], line, ignore_nodata=False)).all()
    assert np.isnan(fit_curve(LabeledArray(y[:2], [0, 1]), [0, 0], line)).all()
    np.testing.assert_allclose(fit_curve([1, None, 5, 7], [0, 0], line), [1, 2], atol=1e-8)
    with pytest.raises(ProcessError, match="ProcessParameterInvalid"):
        fit_curve([1, 2], [], line)


def test_predict_for_dates() -> None:
    held = MAKE(np.array([[[1.0]], [[2.0]]]), ("p", "y", "x"), p=[0, 1])
    got = predict_curve(held, line, "t", ["1970-01-01T00:00:10Z", "1970-01-01T00:00:20Z"])
    assert cubes.kind_of(got, "t") == cubes.TEMPORAL
    np.testing.assert_array_equal(got.values.ravel(), [21, 41])
    with pytest.raises(ProcessError, match="labels"):
        predict_curve(held, line, "t")
    with pytest.raises(ProcessError, match="DimensionNotAvailable"):
        predict_curve(MAKE(values()), line, "new", [1])


def test_a_resolver_that_returns_arrays_is_told_so() -> None:
    with pytest.raises(ProcessError, match=r"one value .* it returned an array of 2 values") as caught:
        merge_cubes(MAKE(values()), MAKE(values()), lambda x, y, context=None: np.array([3, 3]))
    assert caught.value.code == "ProcessParameterInvalid"
