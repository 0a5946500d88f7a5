"""What a worker and the process that computes for it say to each other; plain data, pickled over a socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backend.errors import OpenEOError
    from backend.results.asset import Asset
    from processes.stages import Stage, Task


@dataclass(frozen=True)
class GraphRequest:
    """Run a process graph and write its results into ``out``.

    ``stages_elsewhere``: stages of chains go to other workers (the answer is `Pending`); else they run in the process.
    """

    process: Mapping[str, Any]
    namespace: Mapping[str, Mapping[str, Any]]
    out: Path
    user_id: str | None
    job_id: str | None = None
    max_pixels: int | None = None
    stages_elsewhere: bool = False
    skip_unreadable: bool | None = None


@dataclass(frozen=True)
class TaskRequest:
    """Do one task of a stage; its products go to the workspace."""

    task: Task


@dataclass(frozen=True)
class Log:
    """An entry for the log."""

    level: str
    message: str
    code: str | None = None
    data: Any = None
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """Share of finished blocks, 0 to 1."""

    share: float


@dataclass(frozen=True)
class Usage:
    """What a request took: CPU seconds, wall seconds, bytes of memory at the peak of the process."""

    cpu: float = 0.0
    wall: float = 0.0
    memory: int = 0

    def to_json(self) -> dict[str, Any]:
        """openEO's ``usage`` object."""
        return {
            "cpu": {"value": round(self.cpu, 2), "unit": "cpu-seconds"},
            "duration": {"value": round(self.wall, 2), "unit": "seconds"},
            "memory": {"value": round(self.memory / 2**20 * self.wall), "unit": "mb-seconds"},
            "peak_memory": {"value": round(self.memory / 2**20), "unit": "mb"},
        }


@dataclass(frozen=True)
class Done:
    """The request is done."""

    assets: Sequence[Asset] = ()
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class Pending:
    """The request needs the products of a stage first; its tasks belong into ``queue``."""

    stage: Stage
    queue: str


@dataclass(frozen=True)
class Failed:
    """The request cannot be done, and its caller can mend it."""

    error: OpenEOError


@dataclass(frozen=True)
class Broken:
    """The request hit a fault of ours; ``stack`` is for operators."""

    summary: str
    stack: str


Outcome = Done | Pending | Failed | Broken
