"""Arrays of blocks and of single values; callbacks on elements; dates; what has no official test."""

from __future__ import annotations

import math

import numpy as np
import pytest

from processes.callback import LabeledArray
from processes.errors import ProcessError
from processes.scalar import arithmetic, arrays, comparison, constants, dates, logic, sorting, statistics, texts

T = [np.datetime64(d, "ns") for d in ("2020-01-01", "2020-01-03", "2020-01-07")]


def series(*rows, labels=T):
    return LabeledArray(np.array(rows, "f4"), labels, "t")


def raises(code, function, *arguments, **options):
    with pytest.raises(ProcessError) as caught:
        function(*arguments, **options)
    assert caught.value.code == code
    return caught.value


def test_elements_by_label_and_index():
    data = series([1, 2], [3, 4], [5, 6])
    assert arrays.array_element(data, index=1).tolist() == [3, 4]
    assert arrays.array_element(data, label="2020-01-07").tolist() == [5, 6]
    assert arrays.array_element(data, label="2020-01-03T00:00:00Z").tolist() == [3, 4]
    assert (
        "2020-01-01T00:00:00Z"
        in raises("ArrayElementNotAvailable", arrays.array_element, data, label="2021-01-01").message
    )
    assert np.isnan(arrays.array_element(data, index=9, return_nodata=True)).tolist() == [True, True]
    bands = LabeledArray(np.array([[1], [2]], "u2"), ["B04", "B08"])
    assert (
        arrays.array_element(bands, label="B08").tolist() == [2] and arrays.array_element(bands, index=0).dtype == "u2"
    )
    raises("ArrayNotLabeled", arrays.array_element, [1, 2], label="B08")
    assert arrays.array_find_label(bands, "B08") == 1 and arrays.array_find_label(bands, "B8") is None
    assert arrays.array_labels(data)[0] == "2020-01-01T00:00:00Z" and arrays.array_labels([5, 6]) == [0, 1]


def test_apply_calls_with_value_index_label_context():
    seen = []

    def callback(x, index, label, context):
        seen.append((index, label, context))
        return x * 2

    result = arrays.array_apply(series([1, 2], [3, 4], [5, 6]), callback, context="c")
    assert result.values.tolist() == [[2, 4], [6, 8], [10, 12]] and result.labels == T
    assert seen[1] == (1, "2020-01-03T00:00:00Z", "c")
    assert arrays.array_apply([1, None], lambda x, **_: arithmetic.add(x, 1)) == [2, None]


def test_filter_by_label_shortens_by_value_marks():
    data = series([1, 2], [3, 4], [5, 6])
    late = arrays.array_filter(data, lambda label, **_: label > "2020-01-02")
    assert late.values.tolist() == [[3, 4], [5, 6]] and late.labels == T[1:]
    high = arrays.array_filter(data, lambda x, **_: comparison.gt(x, 3.5))
    np.testing.assert_array_equal(high.values, [[np.nan, np.nan], [np.nan, 4], [5, 6]])
    assert statistics.count(high).tolist() == [1, 2]
    # the same callback with other values gives other results
    assert arrays.array_filter([1, 5], lambda x, **_: x > 3) == [5]
    assert arrays.array_filter([7, 5], lambda x, **_: x > 3) == [7, 5]


def test_count_with_a_condition():
    data = series([1, 2], [3, np.nan], [5, np.inf])
    assert statistics.count(data).tolist() == [3, 1]
    assert statistics.count(data, condition=True).tolist() == [3, 3]
    assert statistics.count(data, condition=lambda x, context: comparison.gt(x, context), context=2).tolist() == [2, 1]
    assert statistics.count([1, math.inf, math.nan, None, "a"]) == 2


def test_gaps_are_filled_over_dates_not_indices():
    filled = arrays.array_interpolate_linear(series([0, np.nan], [np.nan, 1], [6, np.nan]))
    np.testing.assert_allclose(filled.values[:, 0], [0, 2, 6])  # two of six days
    np.testing.assert_array_equal(filled.values[:, 1], [np.nan, 1, np.nan])
    text = LabeledArray(np.array([0, None, 6], object), ["2020-01-01", "2020-01-03", "2020-01-07"])
    assert list(arrays.array_interpolate_linear(text).values) == [0, 2, 6]
    assert arrays.array_interpolate_linear([None, math.nan, 3, None, 5]) == [
        None,
        pytest.approx(math.nan, nan_ok=True),
        3,
        4,
        5,
    ]
    assert arrays.array_interpolate_linear([]) == []


def test_append_concat_modify_keep_labels_where_they_can():
    bands = LabeledArray(np.array([[1], [2]], "f4"), ["a", "b"])
    more = arrays.array_append(bands, np.array([3], "f4"), label="c")
    assert more.labels == ["a", "b", "c"] and more.values.ravel().tolist() == [1, 2, 3]
    assert arrays.array_append(bands, 9).labels == ["a", "b", 2]
    raises("LabelExists", arrays.array_append, bands, 1, label="a")
    raises("ArrayNotLabeled", arrays.array_append, [1], 1, label="a")
    other = LabeledArray(np.array([[5]], "f4"), ["c"])
    assert arrays.array_concat(bands, other).labels == ["a", "b", "c"]
    assert arrays.array_concat(bands, [np.array([5.0], "f4")]).labels is None
    raises("ArrayLabelConflict", arrays.array_concat, bands, bands)
    changed = arrays.array_modify(bands, other, index=1, length=1)
    assert changed.labels == ["a", "c"] and changed.values.ravel().tolist() == [1, 5]
    assert arrays.array_modify(bands, [], index=0, length=1).labels == ["b"]
    raises("ArrayElementNotAvailable", arrays.array_modify, [1], [2], index=2)
    raises("ArrayLabelConflict", arrays.array_modify, bands, bands, index=2)
    raises("ArrayLengthMismatch", arrays.array_create_labeled, [1], ["a", "b"])


def test_concat_takes_what_a_callback_computed_per_pixel_as_one_element():
    pixels = LabeledArray(np.arange(12, dtype="f4").reshape(2, 1, 2, 3), ["B04", "B08"], "bands")
    difference = pixels.values[1] - pixels.values[0]
    got = arrays.array_concat(pixels, difference)
    assert got.values.shape == (3, 1, 2, 3)
    np.testing.assert_array_equal(got.values[2], difference)
    np.testing.assert_array_equal(arrays.array_concat(difference, pixels).values[0], difference)
    assert arrays.array_concat([1, 2], 3) == [1, 2, 3]
    assert arrays.array_concat(np.array([1, 2]), np.array([3])) == [1, 2, 3]


def test_find_and_contains_pixel_by_pixel():
    data = series([1, 2], [3, 1], [1, np.nan])
    np.testing.assert_array_equal(arrays.array_find(data, 1), [0, 1])
    np.testing.assert_array_equal(arrays.array_find(data, 1, reverse=True), [2, 1])
    np.testing.assert_array_equal(arrays.array_find(data, 3), [1, np.nan])
    assert arrays.array_contains(data, 3).tolist() == [True, False]
    assert arrays.array_find([1, 2, None], None) is None and arrays.array_contains([], 1) is False


def test_first_and_last_take_infinity_for_a_value():
    data = series([np.nan, np.inf], [np.inf, 1], [2, np.nan])
    assert arrays.first(data).tolist() == [np.inf, np.inf] and arrays.last(data).tolist() == [2, 1]
    assert np.isnan(arrays.first(data, ignore_nodata=False)[0])
    assert arrays.first(LabeledArray(np.array([[3], [4]], "u1"))).dtype == np.uint8


def test_sort_and_order_dates():
    days = ["2020-01-02", "2020-01-01T23:00:00-02:00", None, "2020-01-01"]
    assert sorting.sort(days) == ["2020-01-01", "2020-01-02", "2020-01-01T23:00:00-02:00"]
    assert sorting.order(days, nodata=False) == [2, 3, 0, 1]
    assert sorting.order([2, 1, 2, 1], asc=False) == [0, 2, 1, 3]
    raises("ProcessParameterInvalid", sorting.sort, ["pear", 1])
    raises("ArrayElementNotAvailable", sorting.rearrange, [1, 2], [2])


def test_rearrange_blocks_by_one_order_for_all():
    assert sorting.rearrange(series([1], [2], [3]), [2, 0]).values.ravel().tolist() == [3, 1]


def test_quantiles_ask_for_exactly_one_parameter():
    raises("QuantilesParameterMissing", statistics.quantiles, [1])
    raises("QuantilesParameterConflict", statistics.quantiles, [1], [0.5], 2)
    raises("AscendingProbabilitiesRequired", statistics.quantiles, [1], [0.5, 0.1])
    raises("ProcessParameterInvalid", statistics.quantiles, [1], [0.5, 1.5])
    raises("ProcessParameterInvalid", statistics.quantiles, [1], 1)
    assert statistics.quantiles([1, 2, 3], q=2) == [2]


def test_integers_stay_exact():
    big = 2**60
    assert statistics.sum_([big, 1]) == big + 1 and arithmetic.add(big, 1) == big + 1
    assert arithmetic.multiply(big, 3) == 3 * big and arithmetic.power(3, 40) == 3**40
    assert arithmetic.int_(1e18) == 10**18 and isinstance(arithmetic.floor(1.5), int)
    assert statistics.product([big, 2]) == 2 * big and statistics.max_([big, big + 1]) == big + 1
    assert arithmetic.round_(25, -1) == 20


def test_errors_name_the_parameter():
    assert "'y'" in raises("ProcessParameterInvalid", arithmetic.add, 1, "2").message
    assert "array_apply" in raises("ProcessParameterInvalid", arithmetic.absolute, [1, 2]).message
    raises("ProcessParameterInvalid", statistics.sum_, 5)
    raises("ProcessParameterInvalid", statistics.sum_, ["a"])
    raises("ProcessParameterInvalid", logic.if_, np.array([True]), "a", None)
    raises("DivisionByZero", arithmetic.mod, 1, 0)
    raises("MinMaxSwapped", arithmetic.clip, np.array([1.0]), 2, 1)


def test_labels_with_datetime64_compare_with_texts():
    assert comparison.eq(T[0], "2020-01-01") is True and comparison.neq(T[0], "2020-01-02") is True
    assert texts.text_begins(T[0], "2020-01") is True


@pytest.mark.parametrize(
    ("x", "low", "high", "exclude", "expected"),
    [
        ("2020-01-01", "2020-01-01", "2020-01-02", False, True),
        ("2020-01-02", "2020-01-01", "2020-01-02", False, True),
        ("2020-01-02", "2020-01-01", "2020-01-02", True, False),
        ("2020-01-01T23:30:00-01:00", "2020-01-02", "2020-01-03", False, True),
        ("2020-01-01", "2020-01-02", "2020-01-01", False, False),
        ("2020-05-01T12:00:00Z", "06:00:00", "18:00:00", False, True),
        ("05:00:00", "06:00:00", "18:00:00", False, False),
        (np.datetime64("2020-01-01", "ns"), "2020-01-01", "2020-01-02", False, True),
    ],
)
def test_date_between(x, low, high, exclude, expected):
    assert dates.date_between(x, low, high, exclude) is expected


@pytest.mark.parametrize(
    ("first", "second", "unit", "expected"),
    [
        ("2020-01-01", "2020-01-01T00:00:00.25Z", "millisecond", 250),
        ("2020-01-01", "2020-01-02", "hour", 24),
        ("2020-01-01", "2020-01-15", "week", 2),
        ("2020-01-31", "2020-02-29", "month", 1),
        ("2020-01-01", "2020-02-15", "month", 1 + 14 / 29),
        ("2020-01-01", "2019-01-01", "year", -1),
        ("2020-02-29", "2021-02-28", "year", 1),
    ],
)
def test_date_difference(first, second, unit, expected):
    assert dates.date_difference(first, second, unit) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("date", "value", "unit", "expected"),
    [
        ("2020-03-31", -1, "month", "2020-02-29"),
        ("2020-01-01", -1, "month", "2019-12-01"),
        ("2020-12-31T23:59:60Z", 1, "second", "2021-01-01T00:00:00Z"),
        ("2020-01-01T00:00:00+02:00", 2, "week", "2020-01-15T00:00:00+02:00"),
        ("2020-01-01T00:00:00.5Z", 500, "millisecond", "2020-01-01T00:00:01Z"),
    ],
)
def test_date_shift(date, value, unit, expected):
    assert dates.date_shift(date, value, unit) == expected


def test_dates_that_are_none():
    raises("ProcessParameterInvalid", dates.date_shift, "yesterday", 1, "day")
    raises("ProcessParameterInvalid", dates.date_shift, "2020-01-01", 1, "fortnight")
    raises("ProcessParameterInvalid", dates.date_shift, "2020-01-01", 9000, "year")
    raises("ProcessParameterInvalid", dates.date_difference, "2020-13-01", "2020-01-01")


def test_patterns_are_literal():
    assert texts.text_contains("a.c", "a.c") is True and texts.text_contains("abc", "a.c") is False
    assert texts.text_ends("line\n", "line") is False
    assert texts.text_find("xßY", "y", case_sensitive=False) == 2
    assert texts.text_concat([1.5, None, True, "x"], ",") == "1.5,null,true,x"
    raises("ProcessParameterInvalid", texts.text_begins, 5, "5")


def test_constants():
    assert constants.pi() == math.pi and constants.e() == math.e and math.isnan(constants.nan())
    assert constants.constant("x") == "x"


@pytest.mark.parametrize("repeat", [10**8, 10**30])
def test_arrays_nobody_could_hold(repeat):
    assert "elements" in raises("ProcessParameterInvalid", arrays.array_create, [1], repeat).message
