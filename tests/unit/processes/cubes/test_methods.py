"""Methods that packages bring: chosen by name or by the service, told to clients, missed with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from processes import registry
from processes.apply import methods
from processes.apply.apply import apply
from processes.errors import ProcessError
from tests.unit.processes.cubes.samples import Make, building, computed, values

V = values()


class Point:
    """An entry point of the group ``tuile.processes``: loading it imports the package that registers its methods."""

    def load(self) -> None:
        @methods.method("atmospheric_correction", "Toy")
        def halve(data: Any, options: Any, *, elevation_model: Any = None, env: Any = None) -> Any:
            factor = np.float32(options.get("factor", 0.5))
            return apply(data, lambda x, context: x * factor)

        @methods.method("atmospheric_correction", "Second")
        def refuse(data: Any, options: Any, *, elevation_model: Any = None, env: Any = None) -> Any:
            raise ProcessError("DigitalElevationModelInvalid", f"There is no elevation model '{elevation_model}'.")


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    registry.processes()
    monkeypatch.setattr(methods, "_methods", {kind: {} for kind in methods.KINDS})
    yield


@pytest.fixture
def toy(empty: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package installed beside the service, found when processes are looked for."""
    registry._discover.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: [Point()] if group == "tuile.processes" else [])
    yield
    monkeypatch.undo()
    registry._discover.cache_clear()
    registry.processes()


def call(id: str, *args: Any, **more: Any) -> Any:
    return registry.get(id).function(*args, **more)


@pytest.mark.parametrize("chunking", ["numpy", "everything"])
def test_null_takes_the_first_method_and_names_are_of_any_case(toy: None, chunking: str) -> None:
    data = Make(chunking)(V)
    with building():
        by_default = call("atmospheric_correction", data, None)
        by_name = call("atmospheric_correction", data, "toy", options={"factor": 3})
    np.testing.assert_allclose(computed(by_default), V / 2)
    np.testing.assert_allclose(computed(by_name), V * 3, rtol=1e-6)


def test_another_method_is_refused_with_those_there_are(toy: None) -> None:
    with pytest.raises(ProcessError, match=r"'FORCE'.*available are: Toy, Second") as caught:
        call("atmospheric_correction", Make()(V), "FORCE")
    assert caught.value.code == "ProcessParameterUnsupported"
    assert caught.value.data["available"] == ["Toy", "Second"]


def test_errors_of_a_method_come_through(toy: None) -> None:
    with pytest.raises(ProcessError, match=r"DigitalElevationModelInvalid.*'moon'"):
        call("atmospheric_correction", Make()(V), "second", elevation_model="moon")


@pytest.mark.parametrize("method", [None, "Fmask"])
def test_without_methods_the_error_says_so(empty: None, method: str | None) -> None:
    for id, args in (
        ("cloud_detection", (method,)),
        ("atmospheric_correction", (method,)),
        ("ard_surface_reflectance", ("FORCE", "Fmask")),
    ):
        with pytest.raises(ProcessError, match=r"FeatureUnsupported.*No method of .* is installed"):
            call(id, Make()(V), *args)


def test_definitions_tell_the_methods_and_keep_the_schema_of_the_standard(toy: None) -> None:
    found = registry.processes()["atmospheric_correction"]
    fresh = registry.Process(found.id, found.function, told=found.told).spec
    (parameter,) = (p for p in fresh["parameters"] if p["name"] == "method")
    assert parameter["description"].endswith("Available on this service: Toy, Second (Toy where null).")
    assert {"type": "string", "enum": ["FORCE", "iCOR"]} in parameter["schema"]
    ard = registry.processes()["ard_surface_reflectance"]
    told = {
        p["name"]: p["description"] for p in registry.Process(ard.id, ard.function, told=ard.told).spec["parameters"]
    }
    assert "Toy" in told["atmospheric_correction_method"]
    assert told["cloud_detection_method"].endswith("Available on this service: none.")
