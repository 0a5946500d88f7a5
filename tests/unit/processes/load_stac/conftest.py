"""A site and an environment that may reach it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from processes.env import Env
from processes.load import rasters
from tests.unit.processes.load_stac.server import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    rasters.header.cache_clear()
    served = Site(tmp_path / "site")
    yield served
    served.close()


@pytest.fixture
def env(site: Site, tmp_path: Path) -> Env:
    return Env(workspace=tmp_path / "workspace", fetch_allow=(f"127.0.0.1:{site.server.server_port}", site.files))
