"""What a process may ask of the service: the `Env` handed in as keyword ``env``.

Every member has a local default, so a process runs and is tested without a server. An `Env` never enters a dask
task: tasks carry plain data only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from processes.demand import EVERYTHING, Demand
from processes.errors import ProcessError

if TYPE_CHECKING:
    import pystac


class Catalogue(Protocol):
    """Where collections are looked up and items found."""

    def collection(self, collection_id: str) -> dict[str, Any]:
        """openEO collection metadata. Raises ``ProcessError('CollectionNotFound')``."""
        ...

    def search(
        self,
        collection_id: str,
        *,
        bbox: tuple[float, float, float, float] | None = None,
        interval: tuple[str | None, str | None] | None = None,
        where: Sequence[tuple[str, str, Any]] = (),
    ) -> list[pystac.Item]:
        """Items that touch ``bbox`` (EPSG:4326; west > east crosses the antimeridian) and start in ``interval``
        (half-open ISO instants), ordered by instant, then id. ``where`` are ``(property, op, value)`` with op in
        ``= != < <= > >= in between``."""
        ...


class Files(Protocol):
    """The user's own uploaded files."""

    def path(self, name: str) -> Path:
        """Real path of an uploaded file of this user. Raises ``ProcessError('FileNotFound')``."""
        ...


class Results(Protocol):
    """Results of the user's own finished jobs."""

    def result(self, job_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """STAC collection and items of a finished job, hrefs of assets being paths of its files. Raises
        ``ProcessError('JobNotFound')``, ``ProcessError('JobNotFinished')``."""
        ...


class Dispatch(Protocol):
    """Runs the tasks of a stage (see `processes.stages`), here or on other workers."""

    def run(self, stage: Any, env: Env) -> list[pystac.Item]:
        """Items the stage produces. A dispatcher that sends the work elsewhere raises `StagePending` instead."""
        ...


@dataclass(frozen=True)
class UdfCall:
    """What ``run_udf`` asks a runtime for.

    Attributes
    ----------
    source : the code, whole
    runtime, version : as the user wrote them; ``version`` None means the runtime's default
    context : handed to the code unchanged
    """

    source: str
    runtime: str
    version: str | None = None
    context: Any = None


class UdfRuntimes(Protocol):
    """Runs user code (`udf/`). It goes with callbacks to where blocks are computed, so it must pickle, small."""

    def listed(self) -> dict[str, Any]:
        """Body of ``GET /udf_runtimes``."""
        ...

    def check(self, runtime: str, version: str | None) -> None:
        """Raises ``ProcessError('InvalidRuntime')``, ``ProcessError('InvalidVersion')``."""
        ...

    def run(self, call: UdfCall, data: Any) -> Any:
        """What the code makes of ``data``, from any thread, as often as there are blocks.

        ``data`` is what the process around it gives its callback (`processes.callback`): a `LabeledArray` (axis 0 is
        the array, the rest independent pixels), a numpy block of numbers, a cube in memory, or a plain value; the
        answer is of the same sorts. Shapes and dtypes are not declared: the process around asks with one or two pixels
        first, of ones and NaN. Raises `ProcessError` for a mistake in the code, with the user's own lines.
        """
        ...


class Exports(Protocol):
    """Places of the user's own that results are copied to once they are written (`processes.save.exports`)."""

    def check(self, export: Any, format: str) -> None:
        """Whether files of ``format`` may be exported so: asked before anything is computed. Raises `ProcessError`."""
        ...

    def export(self, steps: Sequence[Any], files: Sequence[Any]) -> None:
        """Do the steps of one result with its written files, in order. Raises `ProcessError`; what was exported before
        stays."""
        ...


@dataclass(frozen=True)
class Limits:
    """What one request may use.

    ``memory`` is bytes for the whole process; ``threads`` how many blocks run at once.
    """

    memory: int = 4 << 30
    threads: int = 2
    skip_unreadable: bool = False  # True: a corrupt tile is left out and a warning names it; False: the request fails


class NoCatalogue:
    def collection(self, collection_id: str) -> dict[str, Any]:
        raise ProcessError(
            "CollectionNotFound", f"Collection '{collection_id}' does not exist: no archive is configured."
        )

    def search(self, collection_id: str, **_: Any) -> list[pystac.Item]:
        self.collection(collection_id)
        return []


class NoFiles:
    def path(self, name: str) -> Path:
        raise ProcessError("FileNotFound", f"File '{name}' does not exist: no file storage is configured.")


_LOGGER = logging.getLogger("tuile.process")
_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}


def log_to_python(
    level: str, message: str, *, code: str | None = None, data: Any = None, path: Sequence[str] = ()
) -> None:
    """Default log sink: the standard library's logger ``tuile.process``."""
    _LOGGER.log(_LEVELS[level], "%s%s", f"[{'/'.join(path)}] " if path else "", message)


@dataclass(frozen=True)
class LoadReport:
    """What one load will read: written to `Env.ledger` when the lazy cube is made, read by estimates and limits.

    ``pixels`` counts values (dates x bands x rows x columns); ``block_bytes`` is what one block costs in memory.
    """

    collection: str
    items: tuple[str, ...]
    pixels: int
    bytes: int
    blocks: int
    block_bytes: int


@dataclass(frozen=True)
class Env:
    """The service as a process sees it. ``path`` and ``demand`` are those of the node being evaluated."""

    catalogue: Catalogue = field(default_factory=NoCatalogue)
    files: Files = field(default_factory=NoFiles)
    workspace: Path | None = None  # folder for stage products; None: a temporary one
    dispatch: Dispatch | None = None  # None: stages run here
    limits: Limits = field(default_factory=Limits)
    sink: Callable[..., None] = log_to_python
    fetch_allow: tuple[str, ...] = ()  # hosts (or CIDR blocks) that load_* may reach besides public ones
    results: Results | None = None  # None: jobs cannot be named by their id
    udf: UdfRuntimes | None = None  # None: no runtime is installed
    ogcapi: str | None = None  # landing page of the OGC API Processes whose processes run_ogcapi names
    exports: Exports | None = None  # None: results stay where they are written
    prepared: Mapping[str, str] | None = None  # in a callback: texts it needs, read when it was compiled (by reference)
    user: str | None = None
    job: str | None = None
    path: tuple[str, ...] = ()
    demand: Demand = EVERYTHING
    ledger: list[LoadReport] | None = None  # loads report here what they will read
    extra: Mapping[str, Any] = field(default_factory=dict)  # what a plug-in needs; never read by Tuile itself

    def at(self, path: Sequence[str], demand: Demand = EVERYTHING) -> Env:
        """The same environment seen from node ``path``."""
        return replace(self, path=tuple(path), demand=demand)

    def log(self, level: str, message: str, *, code: str | None = None, data: Any = None) -> None:
        """Write to the request's log. ``level`` is one of error, warning, info, debug."""
        self.sink(level, message, code=code, data=data, path=self.path)
