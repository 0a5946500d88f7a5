"""``tuile ingest --watch``: keep the index up to date by looking again and again (works on network file systems)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from backend.catalogue.ingest import Report, absolute, fingerprint, ingest, walk
from backend.catalogue.reader import Rejected

if TYPE_CHECKING:
    from backend.catalogue.index import Catalogue


def watch(
    catalogue: Catalogue,
    roots: Sequence[Path],
    *,
    interval: float = 30.0,
    workers: int | None = None,
    on_report: Callable[[Report], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Ingest what arrives under ``roots`` until ``stop`` is set (or Ctrl-C).

    A product is taken when two looks in a row find it the same: what is still being copied is left alone. Rejections
    are reported once, and again when the product has changed.
    """
    stop = stop or threading.Event()
    seen: dict[str, str] = {}
    told: set[tuple[str, str]] = set()
    try:
        while True:
            report = look(catalogue, roots, seen, workers)
            report.rejected = [r for r in report.rejected if (str(r.path), r.reason) not in told]
            told |= {(str(r.path), r.reason) for r in report.rejected}
            if on_report is not None:
                on_report(report)
            if stop.wait(interval):
                return
    except KeyboardInterrupt:
        return


def look(catalogue: Catalogue, roots: Sequence[Path], seen: dict[str, str], workers: int | None = None) -> Report:
    """One look. ``seen`` holds the fingerprints of the look before and is brought up to date."""
    now: dict[str, str] = {}
    for root in roots:
        for found in walk(absolute(Path(root))):
            if not isinstance(found, Rejected):
                try:
                    now[str(found[0])] = fingerprint(*found)
                except OSError:
                    continue  # it went while we looked; the next look tells
    moving = {p for p, mark in now.items() if seen.get(p) != mark}
    seen.clear()
    seen.update(now)
    return ingest(catalogue, roots, workers=workers, leave=frozenset(moving))
