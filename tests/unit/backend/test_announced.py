"""The definitions of the processes are kept between starts, and made anew when what they are made from changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend import announced
from backend.announced import Announced
from backend.settings import Settings

ROOT = Path(__file__).parents[3]
PLUGIN = """
from pathlib import Path
from processes.registry import process

@process(spec=Path(__file__).with_name("twice.json"))
def twice(x):
    return 2 * x
"""
DEFINITION = {"id": "twice", "description": "Twice x.", "parameters": [], "returns": {"schema": {}}}
ASK = """
import sys, json
from backend.announced import Announced
from backend.settings import Settings
specs = Announced(Settings())()
print(json.dumps([len(specs), specs.get("twice", {}).get("description"), "processes.registry" in sys.modules]))
"""


def test_they_follow_the_plug_ins_that_are_installed(tmp_path: Path) -> None:
    """As servers of one data folder see it, started one after the other."""
    plugin = tmp_path / "site"
    (plugin / "more").mkdir(parents=True)
    (plugin / "more" / "__init__.py").write_text(PLUGIN)
    (plugin / "more" / "twice.json").write_text(json.dumps(DEFINITION))

    def ask() -> tuple[int, str | None, bool]:
        env = os.environ | {"TUILE_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": f"{ROOT}{os.pathsep}{plugin}"}
        run = subprocess.run([sys.executable, "-c", ASK], env=env, cwd=tmp_path, capture_output=True, check=True)
        count, description, imported = json.loads(run.stdout)
        return count, description, imported

    count, description, imported = ask()
    assert count > 150 and description is None and imported
    assert ask() == (count, None, False)
    info = plugin / "more-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: more\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[tuile.processes]\nmore = more\n")
    assert ask() == (count + 1, "Twice x.", True)
    assert ask() == (count + 1, "Twice x.", False)
    (plugin / "more" / "twice.json").write_text(json.dumps(DEFINITION | {"description": "Two times x."}))
    assert ask() == (count + 1, "Two times x.", True)
    for file in info.iterdir():
        file.unlink()
    info.rmdir()
    assert ask() == (count, None, True)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per time the definitions are made from the processes."""
    times: list[int] = []

    def definitions() -> dict[str, dict[str, Any]]:
        times.append(1)
        return {"add": {"id": "add", "description": "é"}}

    monkeypatch.setattr(announced, "definitions", definitions)
    return times


def test_they_are_made_once(tmp_path: Path, made: list[int]) -> None:
    one = Announced(Settings(data_dir=tmp_path / "data"))
    assert one() is one() and Announced(Settings(data_dir=tmp_path / "data"))() == one() and len(made) == 1
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["processes.json"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"made_from": 1}', b"\xff", b'{"specs": {}, "made_from": "x"}'])
def test_a_damaged_file_is_replaced(tmp_path: Path, made: list[int], damage: bytes) -> None:
    settings = Settings(data_dir=tmp_path)
    (tmp_path / "processes.json").write_bytes(damage)
    assert list(Announced(settings)()) == ["add"] and list(Announced(settings)()) == ["add"] and len(made) == 1


def test_a_disk_that_takes_nothing_costs_time_only(tmp_path: Path, made: list[int]) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(data_dir=tmp_path / "file" / "data")
    assert list(Announced(settings)()) == ["add"] and list(Announced(settings)()) == ["add"] and len(made) == 2


def test_changes_that_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = announced.fingerprint()
    assert announced.fingerprint() == before
    monkeypatch.syspath_prepend(str(tmp_path))
    assert announced.fingerprint() == before
    (tmp_path / "other-2.dist-info").mkdir()  # an extra that a process may tell of
    assert announced.fingerprint() != before
