"""Periods, intervals and normals by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from processes import times
from processes.aggregate.climate import anomaly, climatological_normal
from processes.aggregate.periods import label, ordinals
from processes.aggregate.temporal import aggregate_temporal, aggregate_temporal_period
from processes.callback import LabeledArray
from processes.errors import ProcessError
from processes.filter.labels import filter_temporal
from processes.resample.temporal import resample_cube_temporal
from tests.unit.processes.cubes.samples import Make, computed

MAKE = Make()


def series(instants: list[str], make: Make = MAKE, **options: Any) -> Any:
    """A cube of one pixel whose values are 1, 2, 3 ..."""
    values = np.arange(1, len(instants) + 1, dtype="f4").reshape(-1, 1, 1, 1)
    return make(values, t=np.array(instants, "datetime64[ns]"), **options)


def total(data: LabeledArray, context: Any = None) -> np.ndarray:
    return data.values.sum(axis=0) if len(data) else np.full(data.values.shape[1:], np.nan, "f4")


def sums(cube: Any) -> list[float]:
    return [None if np.isnan(v) else float(v) for v in computed(cube).values.ravel()]


@pytest.mark.parametrize(
    ("period", "instant", "expected"),
    [
        ("hour", "2020-02-29T23:59:59", "2020-02-29-23"),
        ("day", "2020-12-31T12:00", "2020-366"),
        ("day", "2021-01-01", "2021-001"),
        ("week", "2021-01-03", "2020-53"),
        ("week", "2024-12-30", "2025-01"),
        ("week", "1969-12-31", "1970-01"),
        ("dekad", "2020-01-10T23:59", "2020-01"),
        ("dekad", "2020-01-11", "2020-02"),
        ("dekad", "2020-02-29", "2020-06"),
        ("dekad", "2020-12-31", "2020-36"),
        ("month", "1969-12-31", "1969-12"),
        ("season", "2020-01-31", "2019-djf"),
        ("season", "2020-12-01", "2020-djf"),
        ("season", "2020-11-30", "2020-son"),
        ("tropical-season", "2020-04-30", "2019-ndjfma"),
        ("tropical-season", "2020-05-01", "2020-mjjaso"),
        ("tropical-season", "2020-11-01", "2020-ndjfma"),
        ("year", "2020-12-31", "2020"),
        ("decade", "2029-12-31", "2020"),
        ("decade-ad", "2020-12-31", "2011"),
        ("decade-ad", "2021-01-01", "2021"),
    ],
)
def test_label_of_the_period_of_an_instant(period: str, instant: str, expected: str) -> None:
    (ordinal,) = ordinals(period, np.array([instant], "datetime64[ns]"))
    assert label(period, ordinal) == expected


def test_periods_are_complete_and_empty_ones_are_nodata() -> None:
    got = aggregate_temporal_period(series(["2020-01-05", "2020-04-10", "2020-04-11"]), "month", total)
    assert list(got.coords["t"].values) == ["2020-01", "2020-02", "2020-03", "2020-04"]
    assert sums(got) == [1, None, None, 5]


def test_year_of_days_has_as_many_labels_as_days() -> None:
    got = aggregate_temporal_period(series(["2020-01-01", "2020-12-31"]), "day", total)
    assert got.sizes["t"] == 366
    assert got.coords["t"].values[-1] == "2020-366"


def test_empty_period_is_nodata_for_a_reducer_that_fails_on_nothing() -> None:
    def fails(data: LabeledArray, context: Any = None) -> np.ndarray:
        return data.values.max(axis=0)  # numpy raises for no values

    got = aggregate_temporal_period(series(["2020-01-05", "2020-03-10"]), "month", fails)
    assert sums(got) == [1, None, 2]


def test_count_of_an_empty_period_is_zero() -> None:
    def count(data: LabeledArray, context: Any = None) -> np.ndarray:
        return np.isfinite(data.values).sum(axis=0)

    for make in (MAKE, Make("dates")):
        got = aggregate_temporal_period(series(["2020-01-05", "2020-03-10"], make), "month", count)
        assert got.dtype == np.int64
        assert sums(got) == [1, 0, 1]


def test_cube_without_dates_has_no_periods() -> None:
    empty = filter_temporal(series(["2020-01-05"]), ["2021-01-01", None])
    assert aggregate_temporal_period(empty, "month", total).sizes["t"] == 0


def test_intervals_by_time_of_day_wrap_around_midnight() -> None:
    cube = series(["2020-01-01T05:00", "2020-01-01T06:00", "2020-01-02T17:59", "2020-01-02T18:00"])
    got = aggregate_temporal(cube, [["06:00:00", "18:00:00"], ["18:00:00", "06:00:00"]], total)
    assert sums(got) == [5, 5]
    assert list(got.coords["t"].values) == ["06:00:00", "18:00:00"]


@pytest.mark.parametrize(
    ("intervals", "options", "code"),
    [
        ([["2020-01-01", "2020-01-01"]], {}, "TemporalExtentEmpty"),
        ([["2020-01-01", "2020-02-01"], ["2020-01-01", "2020-03-01"]], {}, "DistinctDimensionLabelsRequired"),
        ([["2020-01-01", "2020-02-01"]], {"labels": ["a", "b"]}, "ProcessParameterInvalid"),
        ([["2020-01-01", "2020-02-01"]], {"dimension": "z"}, "DimensionNotAvailable"),
        ([["2020-01-01", "06:00:00"]], {}, "ProcessParameterInvalid"),
        ([["2020-13-01", None]], {}, "ProcessParameterInvalid"),
    ],
)
def test_aggregate_temporal_errors(intervals: Any, options: dict[str, Any], code: str) -> None:
    with pytest.raises(ProcessError) as error:
        aggregate_temporal(series(["2020-01-05"]), intervals, total, **options)
    assert error.value.code == code


def test_filter_temporal_is_half_open_and_understands_zones() -> None:
    cube = series(["2020-01-01", "2020-01-02", "2020-01-03"])
    assert sums(filter_temporal(cube, ["2020-01-01", "2020-01-03"])) == [1, 2]
    assert sums(filter_temporal(cube, ["2020-01-02T01:00:00+01:00", None])) == [2, 3]
    with pytest.raises(ProcessError, match="TemporalExtentEmpty"):
        filter_temporal(cube, ["2020-01-03", "2020-01-01"])
    with pytest.raises(ProcessError, match="ProcessParameterInvalid"):
        filter_temporal(cube, [None, None])


def test_filter_temporal_of_aggregated_labels() -> None:
    seasons = aggregate_temporal_period(series(["2020-01-05", "2020-04-10", "2020-07-11"]), "season", total)
    assert sums(filter_temporal(seasons, ["2020-03-01", None])) == [2, 3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020", "2020-01-01"),
        ("2020-060", "2020-02-29"),
        ("2020-02-03-14", "2020-02-03T14:00"),
        ("2020-ndjfma", "2020-11-01"),
        ("2020-06-01T12:00:00.5Z", "2020-06-01T12:00:00.500"),
        ("2020-06-01T00:00:00-02:30", "2020-06-01T02:30"),
    ],
)
def test_instants_of_labels(text: str, expected: str) -> None:
    assert times.parse(text) == np.datetime64(expected)


def test_text_that_is_no_instant() -> None:
    with pytest.raises(ProcessError, match="ProcessParameterInvalid"):
        times.parse("before")


def test_resample_temporal_ties_go_to_the_earlier_and_order_does_not_matter() -> None:
    source = series(["2020-01-03", "2020-01-01"])
    target = series(["2020-01-02", "2020-02-01"])
    got = resample_cube_temporal(source, target)
    assert sums(got) == [2, 1]
    assert list(got.coords["t"].values) == list(target.coords["t"].values)


def test_resample_temporal_takes_the_nearest_valid_value_within_days() -> None:
    source = series(["2020-01-01", "2020-01-04", "2020-01-20"])
    source = source.copy(data=np.array([1, np.nan, 3], "f4").reshape(source.shape))
    target = series(["2020-01-05", "2020-01-12", "2020-01-14"])
    assert sums(resample_cube_temporal(source, target, valid_within=7)) == [1, None, 3]
    # the limit itself is outside
    assert sums(resample_cube_temporal(source, series(["2020-01-08"]), valid_within=7)) == [None]


def test_resample_temporal_errors() -> None:
    cube = series(["2020-01-01"])
    with pytest.raises(ProcessError, match="DimensionNotAvailable"):
        resample_cube_temporal(cube, cube, "z")
    with pytest.raises(ProcessError, match="DimensionMismatch"):
        resample_cube_temporal(cube, cube, "x")
    with pytest.raises(ProcessError, match="DimensionMismatch"):
        resample_cube_temporal(cube, cube.isel(t=0, drop=True))


def test_normals_of_seasons_take_december_of_the_year_before_and_drop_the_last_winter() -> None:
    cube = series(["2019-12-15", "2020-01-15", "2020-07-15", "2020-12-15", "2021-01-15", "2021-12-15"])
    got = climatological_normal(cube, "season", [2020, 2021])
    assert list(got.coords["t"].values) == ["djf", "mam", "jja", "son"]
    assert sums(got) == [np.mean([1, 2, 4, 5]), None, 3, None]
    without = climatological_normal(cube.isel(t=slice(1, None)), "season", [2020, 2021])
    assert sums(without)[0] == np.mean([4, 5])


def test_normals_need_the_whole_period() -> None:
    with pytest.raises(ProcessError, match="climatology_period"):
        climatological_normal(series(["2019-12-15"]), "month")


def test_normals_of_one_period_and_anomalies_from_it() -> None:
    cube = series(["2020-01-15", "2020-07-15", "2021-01-01"])
    normal = climatological_normal(cube, "climatology-period", [2020, 2020])
    assert sums(normal) == [1.5]
    assert sums(anomaly(cube, normal, "climatology-period")) == [-0.5, 0.5, 1.5]


def test_anomaly_of_labels_without_normal_is_nodata() -> None:
    cube = series(["2020-01-15", "2020-07-15"])
    normals = climatological_normal(cube, "month", [2020, 2020]).isel(t=[0])
    assert sums(anomaly(cube, normals, "month")) == [0, None]
    with pytest.raises(ProcessError, match="none of its labels"):
        anomaly(cube, normals.isel(t=[0]).assign_coords(t=["05"]), "month")


def test_anomaly_of_aggregated_seasons() -> None:
    cube = series(["2020-04-10", "2020-07-11", "2021-04-10"])
    seasons = aggregate_temporal_period(cube, "season", total)
    normals = climatological_normal(cube, "season", [2020, 2021])
    got = anomaly(seasons, normals, "season")
    assert dict(zip(got.coords["t"].values, sums(got)))["2021-mam"] == 1
