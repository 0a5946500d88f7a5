"""A service on each broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers import Site, install_toys, redis_server


@pytest.fixture(params=["folder", pytest.param("redis", marks=pytest.mark.redis)])
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    install_toys(tmp_path / "toys", monkeypatch)
    if request.param == "folder":
        made = Site(tmp_path / "data")
        yield made
        made.close()
        return
    with redis_server(tmp_path) as url:
        made = Site(tmp_path / "data", url)
        yield made
        made.close()
