"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real data and official openEO assets beside the checkout (``TUILE_SHARED`` says otherwise)."""
    folder = Path(os.environ.get("TUILE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: real products and official assets are not part of the repository")
    return folder
