"""What holds for every cube process: right values, nothing early, no dependence on chunks or on dimension names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from processes import registry
from processes.apply import methods
from processes.blocks import is_lazy
from tests.unit.processes.cubes.cases import CASES as RASTER_CASES
from tests.unit.processes.cubes.cases import Case, correct, detect
from tests.unit.processes.cubes.samples import CHUNKINGS, RENAMED, USUAL, Make, building, computed
from tests.unit.processes.ml.cases import CASES as ML_CASES
from tests.unit.processes.vector.cases import CASES as VECTOR_CASES

CASES = [*RASTER_CASES, *VECTOR_CASES, *ML_CASES]
CUBES = {"datacube", "raster-cube", "vector-cube", "ml-model"}
# Processes on cubes without a case here, and the tests that have what replaces it.
ELSEWHERE = {
    "create_data_cube": ("cubes/test_dimensions.py", "takes no cube: nothing to chunk"),
    "load_collection": ("load/test_load_collection.py", "reads files"),
    "load_stac": ("load_stac/test_load_stac.py", "reads files"),
    "load_result": ("load_stac/test_round_trip.py", "reads files"),
    "load_uploaded_files": ("load_stac/test_files.py", "reads files"),
    "load_url": ("load_stac/test_files.py", "reads files"),
    "load_geojson": ("vector/test_geometries.py", "takes no cube"),
    "load_ml_model": ("ml/test_forests.py", "reads a file"),
    "save_ml_model": ("ml/test_forests.py", "marks a model for writing"),
    "save_result": ("../backend/results", "marks a cube for writing"),
    "lis_snow": ("lis", "a chain"),
    "snow_line": ("lis", "a chain"),
    "snow_synthesis": ("lis", "a chain"),
    "merge_snow": ("lis", "a chain"),
    "wasp_synthesis": ("wasp", "a chain"),
}
EVERY = pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
LAZY = [c for c in CHUNKINGS if c != "numpy"]


@pytest.fixture(autouse=True)
def test_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method "test" for the processes that leave their methods to the chains."""
    table = {"cloud_detection": {"test": detect}, "atmospheric_correction": {"test": correct}}
    monkeypatch.setattr(methods, "_methods", table)
    monkeypatch.setattr(methods, "methods", lambda kind: list(table[kind]))


def same(got: Any, expected: Any) -> None:
    if isinstance(got, xr.DataArray):
        assert got.shape == np.shape(expected)
        np.testing.assert_allclose(got.values.astype("f8"), np.asarray(expected, "f8"), rtol=2e-5, atol=2e-5)
    else:
        assert got == expected


def result(case: Case, make: Make, k: float = 1) -> Any:
    return case.call(make, make.names, k)


def _of_cubes(process: registry.Process) -> bool:
    """Whether a process takes or gives a cube or a model, as its definition says."""
    schemas = [p["schema"] for p in process.spec["parameters"]] + [process.spec["returns"]["schema"]]
    return any(o.get("subtype") in CUBES for s in schemas for o in (s if isinstance(s, list) else [s]))


def test_every_registered_cube_process_has_a_case() -> None:
    """A new process on cubes fails here until it has a case, or a reason and a place of tests in ELSEWHERE."""
    found = {p.id for p in registry.processes().values() if _of_cubes(p)}
    cases = {c.process for c in CASES}
    assert found - cases - set(ELSEWHERE) == set()
    assert set(ELSEWHERE) & cases == set()
    assert (cases | set(ELSEWHERE)) - set(registry.processes()) == set()


@pytest.mark.parametrize("id", ELSEWHERE)
def test_what_is_tested_elsewhere_is_tested_there(id: str) -> None:
    place = Path(__file__).parents[1] / ELSEWHERE[id][0]
    files = [place] if place.is_file() else sorted(place.rglob("test_*.py"))
    assert any(id in f.read_text() for f in files), f"nothing in {place} names {id}"


def test_callbacks_of_every_process_that_takes_one_are_repeated() -> None:
    takes = {p.id for p in registry.processes().values() if _of_cubes(p) and _callbacks(p)}
    repeated = {c.process for c in CASES if c.callback}
    assert takes - repeated == set()


def _callbacks(process: registry.Process) -> list[str]:
    def is_callback(schema: Any) -> bool:
        return any(o.get("subtype") == "process-graph" for o in (schema if isinstance(schema, list) else [schema]))

    return [p["name"] for p in process.spec["parameters"] if is_callback(p["schema"])]


@EVERY
def test_values(case: Case) -> None:
    same(result(case, Make()), case.expect(1))


@EVERY
@pytest.mark.parametrize("chunking", LAZY)
def test_chunks_change_nothing_and_nothing_is_computed_early(case: Case, chunking: str) -> None:
    plain = result(case, Make())
    if case.eager:
        lazy = result(case, Make(chunking))
    else:
        with building():
            lazy = result(case, Make(chunking))
    if not isinstance(plain, xr.DataArray):
        assert lazy == plain
        return
    assert is_lazy(lazy)
    assert lazy.dims == plain.dims
    assert lazy.dtype == plain.dtype
    assert lazy.attrs == plain.attrs
    done = computed(lazy)
    assert done.dtype == lazy.dtype, "the dtype promised is not the one computed"
    same(done, plain.values)
    for d in plain.dims:
        assert list(done.coords[d].values) == list(plain.coords[d].values)


@EVERY
@pytest.mark.parametrize("chunking", ["numpy", "everything"])
def test_renamed_dimensions(case: Case, chunking: str) -> None:
    """Dimension types are metadata: no process guesses them from names."""
    usual = result(case, Make(chunking))
    renamed = result(case, Make(chunking, RENAMED))
    if not isinstance(usual, xr.DataArray):
        assert usual == renamed
        return
    assert [RENAMED.get(str(d), d) for d in usual.dims] == list(renamed.dims)
    kinds = {RENAMED.get(d, d): k for d, k in usual.attrs["dims"].items()}
    assert renamed.attrs["dims"] == kinds
    same(computed(renamed), computed(usual).values)


@EVERY
def test_tasks_travel_and_carry_no_cube(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks go to other machines: plain data and functions, never a lazy array with the graph behind it."""
    lazy = result(case, Make("everything"))
    if not isinstance(lazy, xr.DataArray):
        return

    def caught(self: Any, protocol: int = 2) -> Any:
        raise AssertionError("a task carries a lazy array")

    monkeypatch.setattr(da.Array, "__reduce__", caught)
    (optimised,) = dask.optimize(lazy.data)
    for task in dict(optimised.__dask_graph__()).values():
        cloudpickle.loads(cloudpickle.dumps(task))


@pytest.mark.parametrize("case", [c for c in CASES if c.callback], ids=lambda c: c.id)
@pytest.mark.parametrize("chunking", ["numpy", "everything"])
def test_callback_called_again_with_other_values(case: Case, chunking: str) -> None:
    """Results of a callback are never remembered: the same call with another context gives other values."""
    make = Make(chunking)
    for k in (1, 3, 1):
        same(computed(result(case, make, k)), case.expect(k))


def test_names_used_for_renaming_are_all_different() -> None:
    assert len(set(RENAMED.values()) | set(USUAL.values())) == 8
