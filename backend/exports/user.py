"""`UserExports`: what `export_workspace`, `export_collection` and `stac_modify` do once files are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from backend.errors import OpenEOError
from backend.exports.collections import FORMATS, UserCollections
from backend.exports.workspace import Workspace, target_of
from backend.files import FileSpace, storage
from backend.results import stac
from backend.results.asset import Asset
from backend.settings import Settings
from backend.store import jobs, users
from backend.store.db import Database
from backend.store.models import Job, new_id
from backend.store.types import now
from processes.env import Catalogue
from processes.errors import ProcessError, parameter_invalid
from processes.save.exports import Changes, ToWorkspace, patched

COLLECTION_ID = re.compile(r"[A-Za-z0-9_\-.~]{1,200}")


class UserExports:
    """`processes.env.Exports` of one user and one request.

    Parameters
    ----------
    catalogue : the archive's, whose collections nobody may add to
    job : id of the batch job, None for a synchronous request
    """

    def __init__(self, settings: Settings, database: Database, catalogue: Catalogue, user_id: str, job: str | None):
        self._settings, self._database, self._catalogue = settings, database, catalogue
        self._user_id, self._job = user_id, job

    def check(self, export: Any, format: str) -> None:
        try:
            if isinstance(export, ToWorkspace):
                target_of(export.workspace, export.merge, "id")
            else:
                self._check_collection(export.collection, format)
        except OpenEOError as error:
            raise ProcessError(error.code, error.message) from error

    def export(self, steps: Sequence[Any], files: Sequence[Asset]) -> None:
        job = self._described()
        rows = [stac.asset_row(job.id, n, a) for n, a in enumerate(files)]
        paths = {a.name: a.path for a in files}
        urls = stac.Urls("", lambda name: str(paths[name].absolute()), lambda item: item)
        document = stac.result_document(job, rows, urls)
        items = [stac.item_document(job, row, urls) for row in rows if stac.has_item(row)]
        try:
            for step in steps:
                if isinstance(step, Changes):
                    document = patched(document, step.changes)
                elif isinstance(step, ToWorkspace):
                    self._workspace(step).put(document, items, paths)
                else:
                    collections = UserCollections(self._settings.collections_dir, self._user_id)
                    collections.add(step.collection, document, items, most=self._free())
        except OpenEOError as error:
            raise ProcessError(error.code, error.message) from error

    def _check_collection(self, id: str, format: str) -> None:
        if not isinstance(id, str) or not COLLECTION_ID.fullmatch(id) or not id.strip("."):
            raise parameter_invalid("collection", f"'{id}' is no id of a collection: letters, digits and _-.~ only")
        try:
            self._catalogue.collection(id)
        except ProcessError:
            pass
        else:
            raise ProcessError(
                "PermissionsInsufficient",
                f"Collection '{id}' belongs to the archive and cannot be added to. Choose another id.",
            )
        from backend.results.format import get

        if get(format).name not in FORMATS:
            raise ProcessError(
                "FormatUnsuitable",
                f"Files of the format {format} cannot be loaded as a collection; save the result as {', '.join(FORMATS)}.",
            )

    def _workspace(self, step: ToWorkspace) -> Workspace:
        with self._database.session(read_only=True) as session:
            user: Any = users.get(session, self._user_id)
        space = FileSpace(self._database, self._settings.files_dir, user)
        lock = self._settings.files_dir / ".uploads" / f"{self._user_id}.lock"
        return Workspace(space, step.workspace, step.merge, lock)

    def _free(self) -> int:
        """Bytes of storage the user has left."""
        with self._database.session(read_only=True) as session:
            user: Any = users.get(session, self._user_id)
        taken = UserCollections(self._settings.collections_dir, self._user_id).size()
        return storage(self._database, user)["free"] - taken

    def _described(self) -> Job:
        """The job as its STAC documents tell it; one of its own for a synchronous request. Not a row of the database."""
        with self._database.session(read_only=True) as session:
            row = jobs.get(session, self._job, self._user_id) if self._job is not None else None
        at = now()
        known = {"title": row.title, "description": row.description, "created": row.created} if row is not None else {}
        return Job(
            **{"id": self._job or f"r-{new_id()}", "created": at, **known}, status="finished", updated=at, finished=at
        )
