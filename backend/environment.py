"""The `Env` of the service: what a process may ask of it, for one user and one request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from backend.errors import OpenEOError
from backend.exports.collections import UserCatalogues
from backend.exports.user import UserExports
from backend.files import FileSpace
from backend.settings import Settings
from backend.store import jobs, users
from backend.store.db import Database
from backend.udfs import udf_runtimes
from processes.env import Catalogue, Dispatch, Env, Limits, NoFiles, log_to_python
from processes.errors import ProcessError


class Environments:
    """Makes an `Env` for each request.

    Parameters
    ----------
    settings, database, catalogue : the service's own
    """

    def __init__(self, settings: Settings, database: Database, catalogue: Catalogue):
        self._settings, self._database, self._catalogue = settings, database, catalogue
        self._catalogues = UserCatalogues(catalogue, settings.collections_dir)
        self._udf = udf_runtimes(settings)

    def catalogue(self, user_id: str | None) -> Any:
        """The catalogue as ``user_id`` (None: nobody) sees it: with the user's own collections."""
        return self._catalogues.of(user_id)

    def env(
        self,
        user_id: str | None,
        *,
        job: str | None = None,
        sink: Callable[..., None] = log_to_python,
        dispatch: Dispatch | None = None,
        skip_unreadable: bool | None = None,
    ) -> Env:
        """Catalogue, files, workspace and limits as ``user_id`` (None: nobody) sees them."""
        settings = self._settings
        skip = settings.skip_unreadable if skip_unreadable is None else skip_unreadable
        return Env(
            catalogue=self.catalogue(user_id),
            files=NoFiles() if user_id is None else UserFiles(self._database, settings.files_dir, user_id),
            workspace=settings.workspace_dir,
            dispatch=dispatch,
            limits=Limits(settings.memory_limit, settings.threads, skip),
            sink=sink,
            fetch_allow=(*settings.fetch_allow, *_own_address(settings)),
            results=None if user_id is None else UserResults(self._database, settings.results_dir, user_id),
            udf=self._udf,
            ogcapi=settings.ogcapi_url,
            exports=None if user_id is None else UserExports(settings, self._database, self._catalogue, user_id, job),
            user=user_id,
            job=job,
        )


def _own_address(settings: Settings) -> tuple[str, ...]:
    """``host:port`` of the service itself: signed links to its own results may be loaded wherever it runs."""
    parts = urlsplit(settings.public_url or "")
    if not parts.hostname:
        return ()
    return (f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}",)


class UserResults:
    """`processes.env.Results` of one user."""

    def __init__(self, database: Database, root: Path, user_id: str):
        self._database, self._root, self._user_id = database, root, user_id

    def result(self, job_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The STAC documents of a job's results, hrefs being paths. Raises ``JobNotFound``, ``JobNotFinished``."""
        from backend.results import stac

        with self._database.session(read_only=True) as session:
            job = jobs.get(session, job_id, self._user_id)
            assets = jobs.assets(session, job_id) if job is not None else []
        if job is None:
            raise ProcessError("JobNotFound", f"The batch job '{job_id}' does not exist.")
        if job.status != "finished":
            raise ProcessError("JobNotFinished", f"The batch job '{job_id}' has no results: it is {job.status}.")
        folder = self._root / job.id
        urls = stac.Urls("", lambda name: str((folder / name).absolute()), lambda item: item)
        items = [stac.item_document(job, a, urls) for a in assets if stac.has_item(a)]
        return stac.result_document(job, assets, urls), items


class UserFiles:
    """`processes.env.Files` of one user."""

    def __init__(self, database: Database, root: Path, user_id: str):
        self._database, self._root, self._user_id = database, root, user_id

    def path(self, name: str) -> Path:
        with self._database.session(read_only=True) as session:
            user: Any = users.get(session, self._user_id)
        if user is None:
            raise ProcessError("FileNotFound", f"File '{name}' does not exist.")
        try:
            return FileSpace(self._database, self._root, user).path(name)
        except OpenEOError as error:  # processes know their own error type only
            raise ProcessError(error.code, error.message) from error
