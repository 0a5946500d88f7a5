"""The official test cases: as published, the same read as meant, with the shared patch, with our corrections on top."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import json5

from tests.conformance import assets, notation
from tests.conformance.corrections import CORRECTIONS, Correction

# `literal`: to the letter; `raw`: the same files, their notation read as meant (`tests.conformance.notation`)
Edition = Literal["literal", "raw", "patched", "repaired"]


@dataclass(frozen=True)
class Case:
    """One test of one process: ``source`` is the case as its edition has it, references resolved."""

    process: str
    index: int
    source: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.process}[{self.index}]"


@cache
def _parse(text: str) -> Any:
    """JSON5 as Python values, shared by all editions (the parser is slow). Callers must not change them."""
    return json5.loads(text)


def resolve(value: Any, folder: Path) -> Any:
    """A copy of ``value`` with ``$ref`` replaced by the content of the files."""
    if isinstance(value, dict):
        if isinstance(name := value.get("$ref"), str):
            if not (folder / name).is_file():
                return value  # some cases name files that were never published: they fail when run
            text = (folder / name).read_text(encoding="utf-8")
            return text if name.endswith((".wkt2", ".txt")) else copy.deepcopy(_parse(text))
        return {k: resolve(v, folder) for k, v in value.items()}
    return [resolve(v, folder) for v in value] if isinstance(value, list) else value


@contextmanager
def tests_folder(edition: Edition) -> Iterator[Path]:
    """Folder of the ``*.json5`` files; a patched copy for ``patched`` and ``repaired``."""
    source = assets.definitions_folder() / "tests"
    if edition in ("literal", "raw"):
        yield source
        return
    with tempfile.TemporaryDirectory() as temporary:
        mended = Path(temporary) / "tests"
        shutil.copytree(source, mended, ignore_dangling_symlinks=True)
        for file in mended.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)
        mended.chmod(0o755)
        command = ["patch", "-p1", "-s", "-d", temporary, "-i", str(assets.fixes())]
        subprocess.run(command, check=True, capture_output=True)
        yield mended


def load(edition: Edition) -> list[Case]:
    """Every case of an edition, ordered by process."""
    found = []
    with tests_folder(edition) as folder:
        for file in sorted(folder.glob("*.json5")):
            content = _parse(file.read_text(encoding="utf-8"))
            for index, source in enumerate(content["tests"]):
                case = Case(content["id"], index, resolve(source, folder))
                if edition == "raw":
                    case = Case(case.process, case.index, notation.as_meant(case.process, case.source))
                if edition == "repaired" and case.id in CORRECTIONS:
                    case = Case(case.process, case.index, resolve(corrected(case).source, folder))
                found.append(case)
    return found


def corrected(case: Case) -> Case:
    """``case`` with our corrections. Raises ``ValueError`` where a published value is not the one expected."""
    case = Case(case.process, case.index, copy.deepcopy(case.source))
    for correction in CORRECTIONS.get(case.id, ()):
        case = _replaced(case, correction)
    return case


def _replaced(case: Case, correction: Correction) -> Case:
    source = {"": case.source}
    inner: Any = source
    *way, last = ("", *correction.path)
    for step in way:
        inner = inner[step]
    present = inner[last] if isinstance(inner, list) else inner.get(last, Correction.absent)
    known = len(present) if callable(correction.correct) else present
    if json.dumps(known) != json.dumps(correction.published):
        raise ValueError(f"{case.id}: {correction.path} is {present!r}, not {correction.published!r}")
    if correction.correct == Correction.absent:
        del inner[last]
    else:
        inner[last] = correction.correct(present) if callable(correction.correct) else correction.correct
    return Case(case.process, case.index, source[""])
