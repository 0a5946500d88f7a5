"""`inspect` describes and changes nothing."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from processes.callback import LabeledArray
from processes.cube import cube
from processes.env import Env
from processes.errors import ProcessError
from processes.scalar.inspection import inspect


def logged(data, **options):
    entries = []
    env = Env(sink=lambda level, message, **more: entries.append((level, message, more["code"], more["data"])))
    assert inspect(data, **options, env=env) is data
    return entries[0]


def test_a_lazy_cube_is_described_without_computing_it():
    def fail(block):
        raise AssertionError("computed")

    values = da.ones((2, 3), chunks=1).map_blocks(fail, dtype="f4")
    entry = logged(cube(values, ("t", "x"), {"t": [0, 1]}), message="look", code="C", level="warning")
    assert entry[:3] == ("warning", "look", "C")
    assert entry[3]["dimensions"] == {"t": {"size": 2, "type": "temporal"}, "x": {"size": 3, "type": "spatial:x"}}


def test_values_and_blocks():
    assert logged(5)[3] == 5 and logged({"a": [1]})[3] == {"a": [1]}
    assert logged(np.ones((2, 2), "f4"))[3] == {"shape": [2, 2], "dtype": "float32"}
    assert logged(LabeledArray(np.ones((1, 2)), ["B04"]))[3]["labels"] == ["B04"]
    assert logged("x" * 5000)[3].endswith(" ...") and len(logged("x" * 5000)[3]) < 2100
    assert logged(print)[3] == {"type": "builtin_function_or_method"}


def test_unknown_level():
    with pytest.raises(ProcessError) as caught:
        inspect(1, level="loud")
    assert caught.value.code == "ProcessParameterInvalid"
