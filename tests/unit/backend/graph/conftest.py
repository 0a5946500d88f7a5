"""A small archive on disk, indexed, and graphs to run on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from processes.env import Env, Limits


@pytest.fixture(scope="session")
def small_archive(tmp_path_factory) -> Path:
    """Two tiles in two UTM zones, six dates, truth beside."""
    from backend.demo.archive import generate

    folder = tmp_path_factory.mktemp("archive") / "demo"
    generate(folder, size=240, dates=6, bands=("B04", "B08", "B11"), sre=False, workers=1)
    return folder


@pytest.fixture(scope="session")
def indexed(small_archive, tmp_path_factory) -> Any:
    from backend.catalogue import open_catalogue
    from backend.settings import Settings

    settings = Settings(archive=small_archive, data_dir=tmp_path_factory.mktemp("data"))  # type: ignore[call-arg]
    catalogue = open_catalogue(settings)
    catalogue.ingest([small_archive])
    return catalogue


@pytest.fixture
def log() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def env(indexed, tmp_path, log) -> Env:
    def sink(level, message, *, code=None, data=None, path=()):
        log.append((level, message))

    return Env(indexed, limits=Limits(memory=1 << 30, threads=2), workspace=tmp_path / "workspace", sink=sink)
