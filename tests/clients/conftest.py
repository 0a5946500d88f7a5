"""A real server on a small archive, for real clients."""

from __future__ import annotations

from pathlib import Path

import openeo
import pytest


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    from backend.demo.archive import generate

    folder = tmp_path_factory.mktemp("clients") / "archive"
    generate(folder, size=240, dates=4, bands=("B04", "B08", "B11"), sre=False, workers=1)
    return folder


@pytest.fixture(scope="session")
def served(archive, tmp_path_factory):
    """(URL, password of the user ``demo``) of ``tuile serve`` with its worker and synchronous slots."""
    from rich.console import Console

    from backend.demo.main_job import index_archive, make_user, server

    data = tmp_path_factory.mktemp("state")
    password = make_user(data, archive)
    index_archive(data, archive, Console(quiet=True))
    with server(archive, data) as url:
        yield url, password


@pytest.fixture(scope="module")
def connection(served):
    """The Python client, logged in."""
    url, password = served
    return openeo.connect(url).authenticate_basic("demo", password)
