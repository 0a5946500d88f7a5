"""The official cases, case by case, for every process that works on values, arrays, texts or dates."""

from __future__ import annotations

import pytest

from processes import registry
from tests.conformance import assets
from tests.conformance.cases import load
from tests.conformance.corrections import CORRECTIONS
from tests.conformance.notation import as_meant
from tests.conformance.runner import run

if not (assets.shared() / "openeo").is_dir():
    pytest.skip("no official openEO assets beside the checkout", allow_module_level=True)

REPAIRED = load("repaired")
SCALAR = {id for id, p in registry.processes().items() if p.function.__module__.startswith("processes.scalar.")}
VALUES = [c for c in REPAIRED if c.process in SCALAR]
CUBES = [c for c in REPAIRED if c not in VALUES]


def test_all_cases_are_there():
    assert len(REPAIRED) == 1014
    assert len(VALUES) >= 895
    assert len({c.process for c in REPAIRED}) == 114


@pytest.mark.parametrize("case", VALUES, ids=lambda c: c.id)
def test_values(case):
    outcome = run(case)
    assert outcome.passed, outcome.failure


@pytest.mark.parametrize("chunked", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize("case", CUBES, ids=lambda c: c.id)
def test_cubes(case, chunked):
    outcome = run(case, chunked=chunked)
    assert outcome.passed, outcome.failure


@pytest.mark.parametrize(("edition", "floor"), [("literal", 961), ("raw", 977)])
def test_floor_as_published(edition, floor):
    """What passes without any repair of what cases say. Raise the floor when it rises; it never sinks."""
    assert sum(run(c).passed for c in load(edition)) >= floor


def test_every_case_that_fails_as_published_has_its_reason():
    """What does not pass raw is wrong upstream, and the printed list says how."""
    failing = {o.case.id for c in load("raw") if not (o := run(c)).passed}
    assert failing <= set(CORRECTIONS), failing - set(CORRECTIONS)


NAMED = {"process_graph": {"gt": {"process_id": "gt", "arguments": {"x": {"from_argument": "x"}, "y": 1}}}}


def test_notation_is_read_as_meant_and_nothing_else_changes():
    meant = as_meant(
        "array_filter", {"arguments": {"data": [1], "process": NAMED}, "returns": [{"key": "a", "value": 1}]}
    )
    assert meant["arguments"]["condition"]["process_graph"]["gt"]["arguments"]["x"] == {"from_parameter": "x"}
    assert meant["returns"] == {"type": "labeled-array", "data": [{"key": "a", "value": 1}]}
    untouched = {"arguments": {"data": [1], "process": 3, "condition": NAMED}, "returns": [{"key": "a"}]}
    assert as_meant("array_filter", untouched)["arguments"].keys() == {"data", "process", "condition"}
    assert as_meant("array_filter", untouched)["returns"] == [{"key": "a"}]
    changed = [
        c.id for c, d in zip(load("literal"), load("raw")) if as_meant(c.process, c.source) != c.source != d.source
    ]
    assert len(changed) < 25, changed  # a rule that catches more is no longer about notation


def test_every_correction_gives_a_reason_and_hits_a_case():
    ids = {c.id for c in REPAIRED}
    assert set(CORRECTIONS) <= ids
    assert all(c.reason and c.published != c.correct for group in CORRECTIONS.values() for c in group)


def test_a_wrong_answer_fails():
    case = next(c for c in VALUES if c.id == "add[1]")
    wrong = type(case)(case.process, case.index, {**case.source, "returns": 4})
    assert not run(wrong).passed
