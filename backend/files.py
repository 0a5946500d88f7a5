"""The files users upload: bytes under ``files_dir/<user id>``, rows for quota and listing."""

from __future__ import annotations

import os
import uuid
from pathlib import Path, PurePosixPath
from typing import IO

from backend.errors import OpenEOError
from backend.store import files
from backend.store.db import Database
from backend.store.models import User, UserFile

DEFAULT_QUOTA = 10 << 30  # bytes, for users without a quota of their own
_CHUNK = 1 << 20
_PATH_MAX, _NAME_MAX = 1000, 240
_UPLOADS = ".uploads"  # beside the users' folders: half a file is never seen


class FileSpace:
    """One user's files. ``path`` is what `processes.env.Files` asks for."""

    def __init__(self, database: Database, root: Path, user: User):
        self._database, self._user = database, user
        self._root, self._uploads = root / user.id, root / _UPLOADS

    def path(self, name: str) -> Path:
        """Real path of a file. Raises ``FileNotFound``, ``FilePathInvalid``, ``FileOperationUnsupported``."""
        path = self._root / normalised(name)
        if path.is_dir():
            raise _folder(name)
        if not path.is_file():
            raise OpenEOError("FileNotFound", f"File '{name}' does not exist.")
        return path

    def put(self, name: str, stream: IO[bytes], length: int | None) -> UserFile:
        """Store the stream; the file appears whole or not at all.

        Raises ``StorageQuotaExceeded``, ``FilePathInvalid``, ``FileOperationUnsupported``, ``StorageFailure``.
        """
        relative = normalised(name)
        target = self._root / relative
        if name.endswith("/") or target.is_dir():
            raise _folder(name)
        free = self._free(str(relative))
        if length is not None and length > free:
            raise _full(free)
        self._uploads.mkdir(parents=True, exist_ok=True)
        scratch = self._uploads / uuid.uuid4().hex
        try:
            size = _copy(stream, scratch, free)
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch.replace(target)
        except (NotADirectoryError, FileExistsError) as error:
            raise OpenEOError("FilePathInvalid", f"A part of '{name}' is a file, not a folder.") from error
        except OSError as error:
            raise OpenEOError(
                "StorageFailure", f"The file cannot be stored: {os.strerror(error.errno or 0)}."
            ) from error
        finally:
            scratch.unlink(missing_ok=True)
        with self._database.session() as session:
            return files.put(session, self._user.id, str(relative), size)

    def delete(self, name: str) -> None:
        """Delete a file and the folders it leaves empty. Raises like `path`."""
        path = self.path(name)
        path.unlink(missing_ok=True)
        with self._database.session() as session:
            files.remove(session, self._user.id, str(normalised(name)))
        for folder in path.relative_to(self._root).parents:
            try:
                (self._root / folder).rmdir()
            except OSError:  # not empty: neither are those above it
                break

    def _free(self, replaced: str) -> int:
        """Bytes left, counting a file that is about to be replaced as gone."""
        with self._database.session(read_only=True) as session:
            row = files.get(session, self._user.id, replaced)
            return quota(self._user) - files.used(session, self._user.id) + (row.size if row else 0)


def quota(user: User) -> int:
    """Bytes a user may store."""
    return DEFAULT_QUOTA if user.quota is None else user.quota


def storage(database: Database, user: User) -> dict[str, int]:
    """``{"quota", "free"}`` in bytes."""
    with database.session(read_only=True) as session:
        used = files.used(session, user.id)
    return {"quota": quota(user), "free": max(quota(user) - used, 0)}


def normalised(name: str) -> PurePosixPath:
    """A path inside the user's folder. Raises ``FilePathInvalid`` for anything that could lie outside it."""
    parts = [p for p in name.split("/") if p not in ("", ".")]
    bad = (
        not parts
        or ".." in parts
        or len(name.encode()) > _PATH_MAX
        or any(len(p.encode()) > _NAME_MAX for p in parts)
        or any(ord(c) < 32 or c in "\\\x7f" for c in name)
    )
    if bad:
        raise OpenEOError(
            "FilePathInvalid", "A path consists of names separated by '/', without '..', control characters or '\\'."
        )
    return PurePosixPath(*parts)


def _copy(stream: IO[bytes], path: Path, most: int) -> int:
    size = 0
    with path.open("wb") as out:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > most:
                raise _full(most)
            out.write(chunk)
    return size


def _full(free: int) -> OpenEOError:
    return OpenEOError(
        "StorageQuotaExceeded", f"The file is larger than the {max(free, 0)} bytes of storage you have left."
    )


def _folder(name: str) -> OpenEOError:
    return OpenEOError(
        "FileOperationUnsupported", f"'{name}' is a folder; only files can be read, written and deleted."
    )
