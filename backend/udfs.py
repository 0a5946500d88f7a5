"""UDF runtimes of the service: what is installed under the entry-point group ``tuile.udf``."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from processes.env import UdfRuntimes

if TYPE_CHECKING:
    from backend.settings import Settings

GROUP = "tuile.udf"


def udf_runtimes(settings: Settings) -> UdfRuntimes | None:
    """The runtimes, None where none is installed. An entry point names a function of the settings; of several the
    first by name counts: runtimes of several kinds are one package's business."""
    points = sorted(entry_points(group=GROUP), key=lambda p: p.name)
    return points[0].load()(settings) if points else None
