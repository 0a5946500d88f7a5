"""Several files as one: what a synchronous request answers where a result has more than one file."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

from backend.results.asset import Asset

MEDIA_TYPE = "application/x-tar"


def tar(assets: Iterable[Asset], path: Path) -> Path:
    """Write the files of ``assets`` into an uncompressed TAR at ``path`` (they are compressed already)."""
    with tarfile.open(path, "w") as archive:
        for asset in assets:
            archive.add(asset.path, asset.path.name, recursive=False)
    return path
