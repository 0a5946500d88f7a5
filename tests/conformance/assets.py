"""Where the standard's definitions and tests lie: beside the repository, or where ``TUILE_SHARED`` says."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]


def shared() -> Path:
    """Folder of shared test data. It may be absent; callers say what they do then."""
    return Path(os.environ.get("TUILE_SHARED") or ROOT.parent / "shared")


def definitions_folder() -> Path:
    """openEO processes 2.0.0-rc.2. Raises ``FileNotFoundError`` where absent."""
    folder = shared() / "openeo" / "assets" / "processes"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; set TUILE_SHARED to the folder that holds openeo/assets.")
    return folder


def fixes() -> Path:
    """Patch that mends the cases that are wrong as published."""
    return shared() / "openeo" / "tests_rc2_fixes.patch"
