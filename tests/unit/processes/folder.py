"""A folder as the files of a user."""

from __future__ import annotations

from pathlib import Path

from processes.errors import ProcessError


class Folder:
    """`processes.env.Files` of one folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, name: str) -> Path:
        if not (self.folder / name).is_file():
            raise ProcessError("FileNotFound", f"File '{name}' does not exist.")
        return self.folder / name
