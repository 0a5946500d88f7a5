"""One service with one worker for all tests of this folder (starting them is what takes time)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.workers import Site, install_toys


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("jobs")
    with pytest.MonkeyPatch.context() as patch:
        install_toys(folder / "toys", patch)
        made = Site(folder / "data", sync_slots=1)
        made.worker()
        yield made
        made.close()
