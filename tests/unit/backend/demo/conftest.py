"""One small archive that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.demo.archive import Archive, generate


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Two tiles of 1.8 km, four dates, everything written."""
    return generate(tmp_path_factory.mktemp("demo") / "archive", size=180, dates=4, overlap=0.5, workers=1)


def raster(product: Path, name: str) -> Path:
    """The file of a product whose name ends in `name`."""
    (path,) = product.rglob(f"*_{name}.tif")
    return path
