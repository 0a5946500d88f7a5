"""The `Env` of the service: what a process may ask of it, for one user and one request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.errors import OpenEOError
from backend.files import FileSpace
from backend.settings import Settings
from backend.store import users
from backend.store.db import Database
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
            catalogue=self._catalogue,
            files=NoFiles() if user_id is None else UserFiles(self._database, settings.files_dir, user_id),
            workspace=settings.workspace_dir,
            dispatch=dispatch,
            limits=Limits(settings.memory_limit, settings.threads, skip),
            sink=sink,
            fetch_allow=tuple(settings.fetch_allow),
            user=user_id,
            job=job,
        )


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
