"""Blocks in pieces give what whole blocks give."""

from __future__ import annotations

import numpy as np
import pytest

from backend.graph.callbacks import CompiledCallback
from processes import cube as cubes
from processes import slabs
from processes.apply.apply import apply
from processes.reduce.dimension import reduce_dimension

X = {"from_parameter": "x"}
CALLBACKS = {
    "normalized_difference": {"x": X, "y": 0.3},
    "gt": {"x": X, "y": 0.5},
    "clip": {"x": X, "min": 0.2, "max": 0.8},
    "linear_scale_range": {"x": X, "inputMin": 0, "inputMax": 1, "outputMin": 0, "outputMax": 255},
    "log": {"x": X, "base": 3},
    "power": {"base": X, "p": 2},
    "between": {"x": X, "min": 0.2, "max": 0.6},
}
EXPECTED = {
    "normalized_difference": lambda v: (v - 0.3) / (v + 0.3),
    "gt": lambda v: np.where(np.isnan(v), np.nan, v > 0.5),
    "clip": lambda v: np.clip(v, 0.2, 0.8),
    "linear_scale_range": lambda v: np.clip(v, 0, 1) * 255,
    "log": lambda v: np.log(v) / np.log(3),
    "power": lambda v: v * v,
    "between": lambda v: np.where(np.isnan(v), np.nan, (v >= 0.2) & (v <= 0.6)),
}


def samples(shape: tuple[int, ...] = (3, 2, 300, 170)) -> np.ndarray:
    values = np.random.default_rng(0).uniform(0.01, 1.2, shape).astype("f4")
    values[:, :, 20:60, 30:50] = np.nan  # a piece without holes gives booleans, one with holes floats
    return values


def cube_of(values: np.ndarray) -> object:
    coords = {"t": np.arange(len(values)), "bands": list("ab"), "y": -np.arange(300.0), "x": np.arange(170.0)}
    return cubes.cube(values, ("t", "bands", "y", "x"), coords)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (5, 4), (3, 2, 10, 11), (2, 100), (100, 2), (4, 3, 1)])
@pytest.mark.parametrize("elements", [1, 7, 64, 10_000])
def test_pieces_cover_every_element_once(shape: tuple[int, ...], elements: int) -> None:
    hits = np.zeros(shape, int)
    for place in slabs.places(shape, elements):
        assert hits[place].size <= elements
        hits[place] += 1
    assert (hits == 1).all()


@pytest.mark.parametrize("name", CALLBACKS)
@pytest.mark.parametrize("strided", [False, True])
def test_apply_in_pieces(name: str, strided: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs, "ELEMENTS", 1000)
    calls: list[int] = []
    compiled = CompiledCallback({"n": {"process_id": name, "arguments": CALLBACKS[name], "result": True}})
    original = CompiledCallback.__call__
    monkeypatch.setattr(CompiledCallback, "__call__", lambda self, **k: calls.append(1) or original(self, **k))
    values = samples((3, 2, 300, 340))[..., ::2] if strided else samples()
    got = apply(cube_of(values), compiled)
    assert got.dtype == np.float32  # numbers of the graph do not widen a block
    np.testing.assert_allclose(got.values, EXPECTED[name](values.astype("f8")), rtol=2e-5, atol=1e-4)
    assert (len(calls) > 5) == (name not in ("clip", "power")), "one pass of numpy needs no pieces"


def test_integers_with_nodata_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs, "ELEMENTS", 1000)
    values = np.random.default_rng(0).integers(0, 100, (3, 2, 300, 170)).astype("i2")
    coords = {"t": np.arange(3), "bands": list("ab"), "y": -np.arange(300.0), "x": np.arange(170.0)}
    data = cubes.cube(values, ("t", "bands", "y", "x"), coords, nodata=7)
    compiled = CompiledCallback(
        {
            "a": {"process_id": "gt", "arguments": {"x": X, "y": 50}},
            "b": {
                "process_id": "if",
                "arguments": {"value": {"from_node": "a"}, "accept": X, "reject": None},
                "result": True,
            },
        }
    )
    np.testing.assert_array_equal(apply(data, compiled).values, np.where(values > 50, values, np.nan))


def test_band_math_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs, "ELEMENTS", 1000)
    values = samples()
    element = {"process_id": "array_element", "arguments": {"data": {"from_parameter": "data"}}}
    compiled = CompiledCallback(
        {
            "a": {**element, "arguments": {**element["arguments"], "label": "a"}},
            "b": {**element, "arguments": {**element["arguments"], "index": 1}},
            "c": {
                "process_id": "divide",
                "arguments": {"x": {"from_node": "a"}, "y": {"from_node": "b"}},
                "result": True,
            },
        }
    )
    got = reduce_dimension(cube_of(values), compiled, "bands")
    np.testing.assert_allclose(got.values, values[:, 0] / values[:, 1], rtol=1e-6)
    assert got.dtype == np.float32


@pytest.mark.parametrize("accept", [1, 2.5, None, X])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i4", "bool"])
def test_if_of_blocks(accept: object, dtype: str) -> None:
    values = np.arange(12).reshape(3, 4).astype(dtype)
    compiled = CompiledCallback(
        {"n": {"process_id": "if", "arguments": {"value": X, "accept": accept, "reject": 0}, "result": True}}
    )
    taken = values if accept is X else np.nan if accept is None else accept
    np.testing.assert_array_equal(np.asarray(compiled(x=values), "f8"), np.where(values != 0, taken, 0))


@pytest.mark.parametrize("p", [0, 2, 0.5, -1, 3, 1.5, float("nan"), None])
def test_powers_keep_nodata(p: float | None) -> None:
    values = np.array([1.0, 2.0, np.nan, 4.0], "f4")
    compiled = CompiledCallback({"n": {"process_id": "power", "arguments": {"base": X, "p": p}, "result": True}})
    exponent = np.nan if p is None else p
    expected = np.where(np.isnan(values) | np.isnan(exponent), np.nan, values.astype("f8") ** exponent)
    np.testing.assert_allclose(compiled(x=values), expected, rtol=1e-6)
