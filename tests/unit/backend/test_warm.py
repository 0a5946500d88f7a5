"""``tuile doctor --warm`` runs a request of each kind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from backend.warm import requests, warm
from processes.registry import processes


def test_requests_name_processes_that_exist() -> None:
    made = requests([6.0, 44.0, 7.0, 45.0])
    for process in made.values():
        graph = process["process_graph"]
        assert sum(bool(n.get("result")) for n in graph.values()) == 1
        assert {n["process_id"] for n in graph.values()} <= processes().keys()
    assert {"lis_snow", "wasp_synthesis", "picture"} <= made.keys()


def test_all_of_them_run_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    told: list[str] = []
    warm(told.append)
    done = [t.rpartition(" in ")[0] for t in told[1:]]
    assert done == list(requests([0, 0, 1, 1]))
    assert list(tmp_path.iterdir()) == []
