"""Read one product in a process of its own: libraries that crash on damaged files (HDF5) cost that product only.

``python -m backend.catalogue.alone READER PATH`` writes the items, or the reason of the rejection, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pystac

from backend.catalogue.reader import Rejected, reader_named

TIMEOUT = 600  # seconds


def read_alone(path: Path, reader: str) -> list[pystac.Item]:
    """Items of a product. Raises `Rejected`, also where the reader's process dies."""
    command = [sys.executable, "-m", "backend.catalogue.alone", reader, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise Rejected(path, f"reading it took more than {TIMEOUT} s: a file of it is damaged") from None
    try:
        told = json.loads(done.stdout) if done.returncode == 0 else None
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Rejected(path, "reading it crashed the reader: a file of it is damaged")
    if "reason" in told:
        raise Rejected(path, told["reason"])
    return [pystac.Item.from_dict(d) for d in told["items"]]


def main(name: str, path: str) -> None:
    """Read a product and tell what came of it."""
    try:
        found = reader_named(name).read(Path(path))
        told: dict[str, Any] = {"items": [i.to_dict(include_self_link=False, transform_hrefs=False) for i in found]}
    except Rejected as rejected:
        told = {"reason": rejected.reason}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:3])
