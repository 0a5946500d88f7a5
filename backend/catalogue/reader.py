"""What a product reader is, and where readers are found.

A reader turns one product of one family into STAC items as ``processes/load/README.md`` describes them. Third
parties add families through the entry-point group ``tuile.readers``: an entry point names a `Reader`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path

import pystac

GROUP = "tuile.readers"


class Rejected(Exception):
    """A product that is not taken, and why, told to the person who owns the archive."""

    def __init__(self, path: Path | str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type[Rejected], tuple[str, str]]:  # crosses process boundaries
        return Rejected, (str(self.path), self.reason)


def _members(path: Path) -> list[Path]:
    """Files of a product that is one folder or one file."""
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    return [path]


@dataclass(frozen=True)
class Reader:
    """One family of products.

    Attributes
    ----------
    name : family, e.g. ``muscate_l2a``; becomes ``tuile:family``
    sniff : does this path look like a product of mine? From names only: nothing is opened
    read : items of the product; raises `Rejected`
    members : files that make up the product; a change in any of them means a new ingest
    priority : the highest that sniffs a path reads it; specific families before general ones
    fragile : a library it reads with can crash on damaged files: products are read in a process of their own
    """

    name: str
    sniff: Callable[[Path], bool]
    read: Callable[[Path], list[pystac.Item]]
    members: Callable[[Path], list[Path]] = _members
    priority: int = 50
    fragile: bool = False


@lru_cache(maxsize=1)
def readers() -> tuple[Reader, ...]:
    """Every installed reader, the most specific first."""
    found = [point.load() for point in entry_points(group=GROUP)]
    return tuple(sorted(found, key=lambda r: (-r.priority, r.name)))


def reader_for(path: Path) -> Reader | None:
    """The reader that claims ``path``, or None."""
    return next((r for r in readers() if r.sniff(path)), None)


def reader_named(name: str) -> Reader:
    """The installed reader called ``name``. Raises KeyError."""
    return {r.name: r for r in readers()}[name]
