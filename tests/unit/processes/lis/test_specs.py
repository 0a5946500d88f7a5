"""The definitions say what the functions take."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from processes import registry
from processes.lis.params import SENSORS, Params


@pytest.mark.parametrize("name", ["lis_snow", "snow_line", "snow_synthesis", "merge_snow"])
def test_parameters_and_defaults_agree(name):
    process = registry.get(name)
    signature = inspect.signature(process.function).parameters
    assert [k for k in signature if k != "env"] == [p["name"] for p in process.spec["parameters"]]
    for parameter in process.spec["parameters"]:
        default = signature[parameter["name"]].default
        if default is inspect.Parameter.empty:
            assert not parameter.get("optional")
        else:
            assert parameter["default"] == default


def test_every_option_is_declared():
    declared = {p["name"]: p["schema"] for p in registry.get("lis_snow").spec["parameters"]}
    options = declared["params"][0]["properties"]
    assert {k: v["default"] for k, v in options.items()} == {f.name: f.default for f in dataclasses.fields(Params)}
    assert declared["sensor"]["enum"] == ["auto", *SENSORS]
