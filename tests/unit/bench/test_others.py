"""What `make bench` takes from the benchmarks of W5 to W9: their options exist, their figures are found in what they print."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from tests.bench import others
from tests.bench.others import OTHERS, Other

WASP = """product: plain reading   wall   1.90 s   cpu   1.80 s
product: compute         cpu    0.90 s   compute/reading 0.50   13.3 Mpix*date per core-s, 10 bands
product: peak memory     0.90 GiB, the whole process"""
LIS = """  compute, mode lis: 0.61 CPU-s = 0.31 s per core pair; ratio to reading 0.80
  compute, mode plus: 0.71 CPU-s = 0.36 s per core pair; ratio to reading 0.93
  numpy over ours: 4.0
  peak memory of the stage 0.41 GiB, Python and imports included"""


@pytest.mark.parametrize("other", OTHERS, ids=lambda o: o.workload)
def test_the_command_exists_and_knows_its_options(other: Other):
    found = importlib.util.find_spec(other.module)
    assert found is not None and found.origin is not None
    source = Path(found.origin).read_text()
    for option in re.findall(r"--[a-z-]+", " ".join(other.arguments)):
        assert f'"{option}"' in source, f"{other.module} has no option {option}"


@pytest.mark.parametrize(
    ("workload", "text", "figures"),
    [
        ("W6", WASP, {"compute_to_reading": 0.5, "mpix_dates_per_cpu_s": 13.3, "peak_GiB": 0.9}),
        ("W7", LIS, {"compute_to_reading": 0.93, "numpy_to_ours": 4.0, "peak_GiB": 0.41}),
        ("W5", '{"rgb": {"cold": 9.5, "drawn": {"n": 3, "p95": 30.1}}, "slots": 2}', {"rgb cold": 9.5, "rgb drawn p95": 30.1}),
        ("W8", 'text\n{"workload": "W8", "cpu": {"ours": 0.5}, "size": 64}', {"cpu ours": 0.5, "size": 64}),
    ],
)  # fmt: skip
def test_figures(workload, text, figures):
    assert others.figures(next(o for o in OTHERS if o.workload == workload), text) == figures


def _other(tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch, **options: float) -> Other:
    (tmp_path / "measured_elsewhere.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Other("W0", "a test", "measured_elsewhere", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "key", "words"),
    [
        ("print('{\"a\": 1}')", "figures", "{'a': 1}"),
        ("raise SystemExit('no disk')", "note", "no disk"),
        ("print('nothing')", "note", "no figures"),
    ],
)
def test_what_became_of_a_command_is_told(tmp_path, monkeypatch, code, key, words):
    told = others.run(_other(tmp_path, code, monkeypatch), tmp_path)
    assert words in str(told[key])


def test_a_command_that_takes_too_long_is_ended_and_told(tmp_path, monkeypatch):
    other = _other(tmp_path, "import time; time.sleep(60)", monkeypatch, limit=1.0)
    assert "took more than 1 s" in others.run(other, tmp_path)["note"]


def test_a_command_that_does_not_exist_is_told(tmp_path):
    told = others.run(Other("W0", "a test", "tests.bench.nowhere"), tmp_path)
    assert "does not exist" in told["note"] and sys.modules.get("tests.bench.nowhere") is None
