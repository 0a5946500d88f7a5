"""Blocks give, pixel by pixel, what single values give; dtypes are those `processes.scalar.values` promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processes import registry
from processes.callback import LabeledArray

NUMBERS = st.one_of(st.floats(-1e3, 1e3, width=32), st.sampled_from([0.0, 1.0, -1.0, math.inf, -math.inf]), st.none())

UNARY = [
    *[
        "absolute",
        "arccos",
        "arcosh",
        "arcsin",
        "arctan",
        "arsinh",
        "artanh",
        "ceil",
        "cos",
        "cosh",
        "exp",
        "floor",
        "int",
        "ln",
        "round",
        "sgn",
        "sin",
        "sinh",
        "sqrt",
    ],
    *["tan", "tanh"],
]
BINARY = ["add", "subtract", "multiply", "divide", "power", "arctan2", "normalized_difference", "log"]
COMPARISONS = ["eq", "neq", "gt", "gte", "lt", "lte"]
REDUCERS = ["sum", "product", "mean", "median", "min", "max", "sd", "variance", "first", "last", "count"]
RUNNING = ["cumsum", "cumproduct", "cummax", "cummin"]


def call(id, *values, **options):
    names = [p["name"] for p in registry.get(id).spec["parameters"]]
    return registry.get(id).function(**dict(zip(names, values)), **options)


def block(values, dtype="f8"):
    return np.array([math.nan if v is None else v for v in values], dtype)


def same(pixel, single):
    """A pixel stands for a single value: NaN for None, 1 and 0 for true and false."""
    if single is None or (isinstance(single, float) and math.isnan(single)):
        return math.isnan(float(pixel))
    return float(pixel) == pytest.approx(float(single), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("id", UNARY)
@given(values=st.lists(NUMBERS, min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_unary(id, values):
    result = call(id, block(values))
    assert result.shape == (len(values),)
    for pixel, value in zip(result, values):
        assert same(pixel, call(id, value)), (id, value)


@pytest.mark.parametrize("id", BINARY + COMPARISONS)
@given(pairs=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_binary(id, pairs):
    x, y = ([p[i] for p in pairs] for i in (0, 1))
    result = call(id, block(x), block(y))
    for pixel, a, b in zip(result, x, y):
        expected = call(id, a, b)
        if id == "power" and expected is not None and abs(expected) > 1e300:
            continue  # overflow is infinite in blocks, exact in integers
        assert same(pixel, expected), (id, a, b)
    one_sided = call(id, block(x), y[0])
    assert all(same(p, call(id, a, y[0])) or id == "power" for p, a in zip(one_sided, x))


@pytest.mark.parametrize("id", REDUCERS)
@pytest.mark.parametrize("ignore", [True, False])
@given(rows=st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=7))
@settings(max_examples=25, deadline=None)
def test_reducers(id, ignore, rows):
    if id in ("sd", "variance", "product"):  # squares of infinity have no number to compare with
        rows = [[v if v is None or math.isfinite(v) else 7.0 for v in row] for row in rows]
    options = {} if id == "count" else {"ignore_nodata": ignore}
    values = np.array([block(row) for row in rows])
    result = call(id, LabeledArray(values), **options)
    assert result.shape == (3,)
    for pixel, column in zip(result, zip(*rows)):
        assert same(pixel, call(id, list(column), **options)), (id, column)


@pytest.mark.parametrize("id", RUNNING)
@pytest.mark.parametrize("ignore", [True, False])
@given(
    rows=st.lists(st.lists(st.one_of(st.integers(-5, 5), st.none()), min_size=2, max_size=2), min_size=1, max_size=7)
)
@settings(max_examples=25, deadline=None)
def test_running(id, ignore, rows):
    result = call(id, LabeledArray(np.array([block(r) for r in rows])), ignore_nodata=ignore).values
    for p, column in enumerate(zip(*rows)):
        expected = call(id, list(column), ignore_nodata=ignore)
        assert all(same(pixel, single) for pixel, single in zip(result[:, p], expected))


@given(rows=st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=1, max_size=9), asc=st.booleans())
@settings(max_examples=50, deadline=None)
def test_sorting(rows, asc):
    values = LabeledArray(np.array([block(r) for r in rows]))
    ranked = call("sort", values, asc=asc).values
    places = call("order", values, asc=asc).values
    for p, column in enumerate(zip(*rows)):
        expected = call("sort", list(column), asc=asc)
        padded = expected + [None] * (len(rows) - len(expected))
        assert all(same(a, b) for a, b in zip(ranked[:, p], padded))
        expected = call("order", list(column), asc=asc)
        assert places[: len(expected), p].tolist() == expected
    again = call("rearrange", values, LabeledArray(places)).values
    np.testing.assert_array_equal(again, ranked)


@given(
    rows=st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=1, max_size=120),
    probabilities=st.lists(st.floats(0, 1), max_size=4).map(sorted),
)
@settings(max_examples=50, deadline=None)
def test_quantiles(rows, probabilities):
    result = call("quantiles", LabeledArray(np.array([block(r) for r in rows])), probabilities).values
    assert result.shape == (len(probabilities), 2)
    for p, column in enumerate(zip(*rows)):
        expected = call("quantiles", list(column), probabilities)
        assert all(same(a, b) for a, b in zip(result[:, p], expected))


@pytest.mark.parametrize("n", [1, 2, 12, 96, 97, 200])
def test_median_of_any_length_is_numpys(n):
    rng = np.random.default_rng(n)
    values = rng.normal(size=(n, 700)).astype("f4")
    values[rng.random(values.shape) < 0.3] = np.nan
    values[0, 0], values[:, 1] = np.inf, np.nan
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
        expected = np.nanmedian(values, axis=0)
    np.testing.assert_allclose(call("median", LabeledArray(values)), expected, rtol=1e-6)
    whole = call("median", LabeledArray(values), ignore_nodata=False)
    assert np.isnan(whole[np.isnan(values).any(axis=0)]).all()


@pytest.mark.parametrize("truth", ["and", "or", "xor"])
def test_logic_has_three_values(truth):
    sides = [True, False, None]
    x, y = (np.array(v, "f4") for v in zip(*[(_f(a), _f(b)) for a in sides for b in sides]))
    result = call(truth, x, y)
    expected = [call(truth, a, b) for a in sides for b in sides]
    assert all(same(p, e) for p, e in zip(result, expected))
    assert call(truth, np.array([True]), np.array([False])).dtype == bool
    one_sided = zip(call(truth, x, None), [a for a in sides for _ in sides])
    assert all(same(p, call(truth, a, None)) for p, a in one_sided)


def _f(value):
    return math.nan if value is None else float(value)


@pytest.mark.parametrize("id", ["all", "any"])
@pytest.mark.parametrize("ignore", [True, False])
def test_all_and_any(id, ignore):
    rows = [[True, True, False, None, False], [True, None, None, None, True]]
    result = call(id, LabeledArray(np.array([[_f(v) for v in r] for r in rows], "f4")), ignore_nodata=ignore)
    assert all(same(p, call(id, list(c), ignore_nodata=ignore)) for p, c in zip(result, zip(*rows)))
    assert call(id, LabeledArray(np.array([[True], [False]]))).dtype == bool


# dtypes and wrap-around


@pytest.mark.parametrize(
    ("dtype", "out"),
    [
        ("u1", "f4"),
        ("i2", "f4"),
        ("u2", "f4"),
        ("i4", "f8"),
        ("u4", "f8"),
        ("i8", "f8"),
        ("f4", "f4"),
        ("f8", "f8"),
        ("?", "f4"),
    ],
)
@pytest.mark.parametrize("id", ["subtract", "add", "multiply", "divide", "normalized_difference"])
def test_dtype_of_arithmetic(id, dtype, out):
    x, y = np.array([1, 1], dtype), np.array([1, 0], dtype)
    assert call(id, x, y).dtype == out
    assert call(id, x, 2).dtype == out
    assert call(id, x, None).dtype == out and np.isnan(call(id, x, None)).all()


@pytest.mark.parametrize("id", ["gt", "gte", "lt", "lte", "eq", "neq", "between"])
def test_comparisons_give_booleans_where_all_is_defined(id):
    rest = (0, 1) if id == "between" else (0,)
    assert call(id, np.array([1, 2], "u1"), *rest).dtype == bool
    assert call(id, np.array([1, 2], "f4"), *rest).dtype == bool
    holey = call(id, np.array([1, np.nan], "f4"), *rest)
    assert holey.dtype == np.float32 and np.isnan(holey[1]) and holey[0] in (0, 1)


def test_unsigned_integers_do_not_wrap_around():
    x, y = np.array([10], "u1"), np.array([20], "u1")
    assert call("subtract", x, y) == -10
    assert call("normalized_difference", x, y) == pytest.approx(-1 / 3)
    assert call("add", np.array([250], "u1"), np.array([10], "u1")) == 260
    assert call("multiply", np.array([60000], "u2"), 10) == 600000
    assert not call("gte", x, y)[0] and call("gt", x, -1)[0]
    assert call("eq", x, y, delta=10)[0] and not call("eq", x, y, delta=9)[0]
    assert call("sum", [x, np.array([250], "u1")]) == 260
    assert call("cumsum", LabeledArray(np.array([[200], [100]], "u1"))).values[1, 0] == 300
    assert call("absolute", np.array([-128], "i1")) == 128


def test_texts_beside_blocks_are_never_equal():
    x = np.array([1, np.nan], "f4")
    assert call("eq", x, "1")[0] == 0 and call("neq", x, "1")[0] == 1
    assert np.isnan(call("eq", x, "1")[1])


# blocks in lists


def test_a_list_of_blocks_is_an_array():
    x, y = np.array([1.0, 5.0, np.nan], "f4"), np.array([2.0, 3.0, 4.0], "f4")
    np.testing.assert_array_equal(call("max", [x, y]), [2, 5, 4])
    np.testing.assert_array_equal(call("sum", [x, y, 10]), [13, 18, 14])
    np.testing.assert_array_equal(call("sum", [x, None], ignore_nodata=False), [np.nan] * 3)
    np.testing.assert_array_equal(call("array_create", [x, 7]).values, [[1, 5, np.nan], [7, 7, 7]])
    np.testing.assert_array_equal(call("extrema", [x, y]).values, [[1, 3, 4], [2, 5, 4]])
    assert call("min", [np.array([3], "u1"), np.array([2], "u1")]).dtype == np.uint8


def test_reducing_nothing_gives_nodata():
    empty = LabeledArray(np.empty((0, 4), "f4"))
    for id in set(REDUCERS) - {"count"}:
        assert np.isnan(call(id, empty)).all() and call(id, empty).shape == (4,)
        assert call(id, []) is None
    assert call("count", empty).tolist() == [0, 0, 0, 0]
    assert call("all", empty).all() and not call("any", empty).any()
    assert np.isnan(call("quantiles", empty, [0.5]).values).all()


# if


def test_if_chooses_pixel_by_pixel():
    x = np.array([0.2, 0.7, np.nan], "f4")
    chosen = call("if", call("gt", x, 0.5), x, None)
    np.testing.assert_array_equal(chosen, np.array([np.nan, 0.7, np.nan], "f4"))
    assert chosen.dtype == np.float32
    np.testing.assert_array_equal(call("if", call("gt", x, 0.5), 1, 0), [0, 1, 0])
    both = call("if", np.array([True, False]), np.array([True, True]), False)
    assert both.dtype == bool and both.tolist() == [True, False]
    assert call("if", True, "a", "b") == "a" and call("if", None, "a", "b") == "b"


# checks


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("is_nan", [False, True, False]),
        ("is_nodata", [False, True, False]),
        ("is_valid", [True, False, False]),
        ("is_infinite", [False, False, True]),
    ],
)
def test_kinds_of_values_in_blocks(id, expected):
    found = call(id, np.array([1, np.nan, np.inf], "f4"))
    assert found.dtype == bool and found.tolist() == expected
    assert call(id, np.array([1, 2], "i2")).tolist() == [id == "is_valid"] * 2


def test_mod_of_blocks():
    x = np.array([27, -27, 3.5, 2, np.nan], "f4")
    np.testing.assert_allclose(call("mod", x, 5), [2, 3, 3.5, 2, np.nan])
    assert np.isnan(call("mod", x, 0)).all()
    assert call("mod", x, math.inf)[:4].tolist() == [27, -27, 3.5, 2]


def test_clip_and_scale_blocks():
    x = np.array([-5, 0.25, 9, np.nan], "f4")
    np.testing.assert_array_equal(call("clip", x, 0, 1), np.array([0, 0.25, 1, np.nan], "f4"))
    np.testing.assert_array_equal(call("linear_scale_range", x, 0, 1, 0, 200), np.array([0, 50, 200, np.nan], "f4"))
    assert call("clip", np.array([7], "u1"), 0, 5).dtype == np.float32
