"""The guard of `make bench-quick` trips when it should, and only then."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.bench import __main__ as bench
from tests.bench import guard

KEPT = {w: {"ratio_to_decode": r, "ratio_to_odcstac": 3.0} for w, r in (("W1", 1.3), ("W2", 1.1), ("W3", 0.95))}


def _worse(workload: str, factor: float) -> dict[str, Any]:
    return KEPT | {workload: {"ratio_to_decode": KEPT[workload]["ratio_to_decode"] * factor, "ratio_to_odcstac": 3.0}}


@pytest.mark.parametrize("workload", ["W1", "W2", "W3"])
def test_a_quarter_worse_fails(workload):
    lines, failed = guard.judge(_worse(workload, 1.25), KEPT)
    assert failed and next(w for w in lines if "REGRESSION" in w).startswith(workload) and "(+25%)" in " ".join(lines)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.15])
def test_a_good_run_passes(factor):
    lines, failed = guard.judge(_worse("W2", factor), KEPT)
    assert not failed and len(lines) == 3


def test_a_workload_that_was_not_measured_fails():
    assert guard.judge({k: v for k, v in KEPT.items() if k != "W1"}, KEPT)[1]


def test_a_slower_peer_or_none_is_no_fault_of_ours():
    now = {w: {"ratio_to_decode": r["ratio_to_decode"], "ratio_to_odcstac": None} for w, r in KEPT.items()}
    assert not guard.judge(now, KEPT)[1]


@pytest.mark.parametrize(("factor", "status"), [(1.25, 1), (1.0, 0)])
def test_the_command_ends_with_the_verdict(monkeypatch, capsys, factor, status):
    """The command itself, with measurements put in its place: cpu of ours a quarter above the kept ratio, and equal to it."""

    def measured(workload: str, *_: Any) -> dict[str, Any]:
        ours = {"cpu": 2 * KEPT[workload]["ratio_to_decode"] * factor, "wall": 1.0, "peak": 0.0, "runs": 3}
        medians = {"decode": {"cpu": 2.0, "wall": 1.0, "peak": 0.0, "runs": 3}, "ours": ours}
        return {"workload": workload, "title": "", "first": {}, "medians": medians, "notes": {}, "versions": {}, "differences": {}}  # fmt: skip

    spec = {"plan": {"size": 1, "dates": 1, "compression": "deflate"}, "threads": 2}
    monkeypatch.setattr(sys, "argv", ["bench", "--quick"])
    monkeypatch.setattr(bench, "start", lambda *_: [])
    monkeypatch.setattr(bench, "measure", measured)
    monkeypatch.setattr(bench, "described", lambda *_: spec)
    monkeypatch.setattr(guard, "stored", lambda: KEPT)
    with pytest.raises(SystemExit) as ended:
        bench.main()
    out = capsys.readouterr().out
    assert ended.value.code == status and ("REGRESSION" in out) == bool(status)
    assert out.splitlines()[-1].startswith("W3 ratio_to_decode")
