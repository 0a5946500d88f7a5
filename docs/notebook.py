"""Tutorials that are scripts: run cell by cell when the docs are built, and shown with what they printed and drew.

In a script ``# %% [markdown]`` starts a cell of text (comment lines) and ``# %%`` a cell of code. The page is made of
the text, of the very code that ran (but for the formatter's ``fmt: skip``), of its standard output, and of its matplotlib figures as PNG files.

    python docs/notebook.py docs/tutorials/snow.py OUT

runs one script in the working directory and writes ``OUT/<name>.md`` and ``OUT/<name>-1.png`` ...
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".bench" / "tutorials"
MARK = re.compile(r"^# %%(?P<text> \[markdown\])?.*$", re.MULTILINE)
ARCHIVE = "archive"  # folder that a script generates its archive in
DPI = 110


class ScriptFailed(Exception):
    """A cell raised; the message holds its output and traceback."""


@dataclass(frozen=True)
class Cell:
    """One cell: its source without the mark, the line it starts at, and whether it is text."""

    source: str
    line: int
    text: bool


def cells(script: str) -> Iterator[Cell]:
    """Cells of a script in order; what comes before the first mark (the docstring) is left out."""
    marks = list(MARK.finditer(script))
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        source = script[mark.end() : following.start() if following else None].strip("\n")
        line = script.count("\n", 0, mark.end()) + 1
        if mark["text"]:
            source = "\n".join(row.removeprefix("#").removeprefix(" ") for row in source.splitlines())
        yield Cell(source, line, bool(mark["text"]))


def run(script: Path, out: Path) -> None:
    """Run a script in this process and the working directory; write its page and pictures into ``out``."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    scope: dict[str, Any] = {"__name__": script.stem}
    page: list[str] = []
    pictures = 0
    for cell in cells(script.read_text()):
        if cell.text:
            page.append(cell.source)
            continue
        shown = cell.source.strip().replace("  # fmt: skip", "")
        page.append(f"```python\n{shown}\n```")
        printed = io.StringIO()
        with redirect_stdout(printed):
            # blank lines before the cell, so that a traceback names the line of the script
            exec(compile("\n" * cell.line + cell.source, str(script), "exec"), scope)
        if printed.getvalue().strip():
            page.append(f"```text\n{printed.getvalue().rstrip()}\n```")
        for number in plt.get_fignums():
            figure = plt.figure(number)
            pictures += 1
            name = f"{script.stem}-{pictures}.png"
            figure.savefig(out / name, dpi=DPI)
            page.append(f"![{_title(figure)}]({name})")
        plt.close("all")
    (out / f"{script.stem}.md").write_text("\n\n".join(page) + "\n")


def _title(figure: Any) -> str:
    titles = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    return next((t for t in titles if t), "figure").replace("\n", " ")


def build(script: Path) -> tuple[Path, set[Path]]:
    """Folder with the page and pictures of a script, and the folders under `CACHE` that it rests on.

    Runs the script in a process of its own unless neither it nor the code it runs on has changed since it last ran.
    The archive it generates is kept longer: as long as the cell that generates it and the generator are the same.
    Raises `ScriptFailed`.
    """
    text = script.read_text()
    code = [p for part in ("backend", "processes") for p in sorted((ROOT / part).rglob("*.py"))]
    specs = sorted((ROOT / "processes" / "specs").rglob("*.json"))
    page = CACHE / f"{script.stem}-{_digest(text, Path(__file__), *code, *specs)}"
    making = next((c.source for c in cells(text) if not c.text and "generate(" in c.source), "")
    archive = CACHE / f"archive-{_digest(making, *sorted((ROOT / 'backend' / 'demo').rglob('*.py')))}"
    if not page.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".run-", dir=CACHE) as folder:
            work, out = Path(folder), Path(folder) / "out"
            out.mkdir()
            if archive.is_dir():
                (work / ARCHIVE).symlink_to(archive)
            _run_apart(script, out, work)
            if (work / ARCHIVE).is_dir() and not (work / ARCHIVE).is_symlink():
                _keep(work / ARCHIVE, archive)
            _keep(out, page)
    return page, {page, archive}


def _run_apart(script: Path, out: Path, work: Path) -> None:
    # the settings of whoever builds the docs are not the tutorial's
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TUILE_")}
    done = subprocess.run(
        [sys.executable, __file__, str(script), str(out)], cwd=work, env=clean, text=True, capture_output=True
    )
    if done.returncode:
        raise ScriptFailed(f"{script.name} failed:\n{done.stdout}{done.stderr}")


def _keep(folder: Path, target: Path) -> None:
    """Move a finished folder to its place; another build may have been faster."""
    try:
        folder.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def forget_others(used: set[Path]) -> None:
    """Delete the results of earlier builds, and what killed ones left; not what another build is working on."""
    for old in CACHE.iterdir() if CACHE.is_dir() else ():
        running = old.name.startswith(".") and time.time() - old.stat().st_mtime < 3600
        if old not in used and not running:
            shutil.rmtree(old, ignore_errors=True)


def _digest(*parts: str | Path) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.read_bytes() if isinstance(part, Path) else part.encode())
        whole.update(b"\0")
    return whole.hexdigest()[:16]


if __name__ == "__main__":
    run(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
