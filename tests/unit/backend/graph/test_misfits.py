"""Arguments of a wrong type are told as such; faults of ours stay faults."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backend.graph.misfits import misfit
from processes import cube as cubes
from processes import registry
from processes.callback import LabeledArray

CUBE = cubes.cube(np.zeros((2, 2)), ["y", "x"], {"y": [1.0, 0.0], "x": [0.0, 1.0]})


@pytest.mark.parametrize(
    ("process", "arguments", "words"),
    [
        ("mask", {"data": CUBE, "mask": None}, "'mask' in process 'mask' is invalid: it must be a data cube, not null"),
        ("add", {"x": CUBE, "y": 1}, "'x' in process 'add' is invalid: it must be null or a number, not a data cube"),
        ("and", {"x": True, "y": "yes"}, "it must be null or a boolean, not a text"),
        ("filter_temporal", {"data": CUBE, "extent": 1.0}, "it must be an array, not a number"),
        ("reduce_dimension", {"data": {}, "reducer": len, "dimension": "t"}, "it must be a data cube, not an object"),
        ("reduce_dimension", {"data": CUBE, "reducer": {}, "dimension": "t"}, "it must be a callback, not an object"),
        ("order", {"data": [1], "asc": LabeledArray(np.zeros((2, 1)), [1, 2], "t")}, "a boolean, not an array"),
    ],
)
def test_the_first_wrong_one_is_named(process: str, arguments: dict[str, Any], words: str) -> None:
    told = misfit(registry.get(process), arguments)
    assert told is not None and told.code == "ProcessParameterInvalid" and words in told.message


@pytest.mark.parametrize(
    ("process", "arguments"),
    [
        ("add", {"x": np.zeros((4, 4), "f4"), "y": np.int16(3)}),  # a block stands for its pixels
        ("reduce_dimension", {"data": CUBE, "reducer": len, "dimension": "t", "context": CUBE}),  # takes anything
        ("filter_spatial", {"data": CUBE, "geometries": {"type": "Point"}}),  # a cube or GeoJSON
        ("ndvi", {"data": CUBE, "nir": None}),  # not given
    ],
)
def test_what_fits_is_not_blamed(process: str, arguments: dict[str, Any]) -> None:
    assert misfit(registry.get(process), arguments) is None
