"""What a view may use: one object, built by `backend.app.create_app`, found at ``current_app.extensions["tuile"]``.

The protocols say what the API asks of the other rooms of the house; `backend.jobs`, `backend.catalogue` and
`backend.results` keep to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flask import current_app

from backend.environment import Environments
from backend.results.asset import Asset
from backend.settings import Settings
from backend.store.db import Database

if TYPE_CHECKING:
    import pystac

    from backend.auth.bearer import Authenticator
    from backend.auth.signing import Signer
    from backend.services.mercator import Tile
    from backend.services.messages import About, Encoding
    from backend.store.services import Head


class Catalogue(Protocol):
    """Collections and their items (`backend.catalogue.open_catalogue(settings)`)."""

    def collections(self) -> list[dict[str, Any]]:
        """openEO metadata of every collection, by id, without ``links`` of the API."""
        ...

    def collection(self, collection_id: str) -> dict[str, Any]:
        """openEO metadata of one collection. Raises ``ProcessError('CollectionNotFound')``."""
        ...

    def search(
        self,
        collection_id: str,
        *,
        bbox: tuple[float, float, float, float] | None = None,
        interval: tuple[str | None, str | None] | None = None,
        where: Sequence[tuple[str, str, Any]] = (),
        limit: int | None = None,
        after: tuple[str, str] | None = None,
    ) -> list[pystac.Item]:
        """Items by place and time, ordered by instant, then id (see `processes.env.Catalogue`); at most ``limit``
        behind the one with (instant, id) ``after``."""
        ...

    def queryables(self, collection_id: str) -> dict[str, Any]:
        """JSON Schema of the properties a filter may use."""
        ...

    def item(self, collection_id: str, item_id: str) -> pystac.Item | None:
        """One item, or None."""
        ...

    def generation(self) -> str:
        """Changes with every change of the catalogue."""
        ...


class Jobs(Protocol):
    """Batch jobs as the API drives them (`backend.jobs.queue.Queue(settings, database)`)."""

    def start(self, job_id: str) -> None:
        """Queue a job that is not active: old results and log go, state ``queued``, a message to the workers.
        Nothing happens to a job that is queued or running."""
        ...

    def cancel(self, job_id: str) -> None:
        """Stop a queued or running job: state ``canceled``; finished files stay. Else nothing happens."""
        ...

    def delete_results(self, job_id: str) -> None:
        """Delete result files and their rows."""
        ...

    def folder(self, job_id: str) -> Path:
        """Where the job's result files lie."""
        ...


@dataclass(frozen=True)
class SyncResult:
    """Files of a synchronous request, in ``folder``; the caller deletes the folder when they are sent."""

    folder: Path
    assets: list[Asset]


class Sync(Protocol):
    """The pool that computes synchronous requests (`backend.jobs.sync.SyncPool(settings, database)`)."""

    def run(
        self,
        user_id: str,
        process: Mapping[str, Any],
        namespace: Mapping[str, Mapping[str, Any]],
        log_level: str,
        request_id: str,
    ) -> SyncResult:
        """Compute and wait. The log goes to source ``request_id``. Raises `OpenEOError`: the caller's mistakes, and
        ``InfrastructureBusy`` (503, ``Retry-After``) where no slot is free."""
        ...

    def warm(self) -> None:
        """Get ready before the first request comes."""
        ...

    def close(self) -> None:
        """End what waits for requests."""
        ...


class Maps(Protocol):
    """The tiles of web services (`backend.services.maps.Maps(settings, database, catalogue)`)."""

    def about(self, service: Head) -> About:
        """What is known of the picture before any tile is drawn. Raises `OpenEOError`; the log tells too."""
        ...

    def tile(self, service: Head, tile: Tile, encoding: Encoding, time: str | None = None) -> bytes:
        """The file of a tile, from the cache or drawn now. Raises `OpenEOError`; the log tells too."""
        ...

    def forget(self, user_id: str, service_id: str) -> None:
        """Delete what is kept of a service's tiles."""
        ...

    def warm(self) -> None:
        """Get ready before the first tile is asked for."""
        ...

    def close(self) -> None:
        """End what waits for requests."""
        ...


class Offers(Protocol):
    """What can be read, written, run and configured (`backend.offers`)."""

    def file_formats(self) -> dict[str, Any]: ...
    def udf_runtimes(self) -> dict[str, Any]: ...
    def service_types(self) -> dict[str, Any]: ...
    def processing_parameters(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Context:
    """Everything a view may use."""

    settings: Settings
    database: Database
    catalogue: Catalogue
    jobs: Jobs
    sync: Sync
    maps: Maps
    environments: Environments
    offers: Offers
    authenticator: Authenticator
    signer: Signer
    process_specs: Callable[[], Mapping[str, dict[str, Any]]]  # definitions of the predefined processes, by id


def context() -> Context:
    """The application's `Context`."""
    return current_app.extensions["tuile"]
