"""Tiles on disk: a folder per user, in it one per service, in it one per state of the service.

``root/<user>/<service>/<key>/<name>``. The key changes with all that the tiles depend on, so nothing in a folder is ever
wrong; folders of older keys go when the first tile of a newer one comes. What a user's tiles may take is bounded: the
ones not looked at for longest go first.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from pathlib import Path
from threading import Lock

_LEFT = 0.8  # share of the bound that is kept when it is exceeded
_LOOKED = 60.0  # seconds: a look is noted if the last one noted was longer ago


class TileCache:
    """Files by (user, service, key, name). Several processes may share the folder.

    Parameters
    ----------
    root : folder, made when it is needed
    limit : bytes per user; 0 keeps nothing
    """

    def __init__(self, root: Path, limit: int):
        self._root, self._limit = root, limit
        self._used: dict[str, int] = {}
        self._lock = Lock()

    def get(self, user: str, service: str, key: str, name: str) -> bytes | None:
        """The file's content, None where there is none."""
        path = f"{self._root}/{user}/{service}/{key}/{name}"
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (for every tile: a Path costs more than the file)
                status = os.fstat(file.fileno())
                data = file.read(status.st_size)
            if time.time() - status.st_mtime > _LOOKED:
                os.utime(path)
        except OSError:
            return None
        return data

    def put(self, user: str, service: str, key: str, name: str, data: bytes) -> None:
        """Keep a file. A disk that takes no more only means that nothing is kept."""
        if len(data) > self._limit:
            return
        folder = self._root / user / service / key
        try:
            if not folder.is_dir():
                shutil.rmtree(folder.parent, ignore_errors=True)
                folder.mkdir(parents=True, exist_ok=True)
                with self._lock:
                    self._used.pop(user, None)
            scratch = folder / f".{uuid.uuid4().hex}"
            scratch.write_bytes(data)
            scratch.replace(folder / name)
        except OSError:
            return
        self._account(user, len(data))

    def forget(self, user: str, service: str) -> None:
        """Delete all tiles of a service."""
        shutil.rmtree(self._root / user / service, ignore_errors=True)
        with self._lock:
            self._used.pop(user, None)

    def _account(self, user: str, size: int) -> None:
        with self._lock:
            used = self._used.get(user)
            used = used + size if used is not None else sum(s for _, s, _ in self._files(user))
            if used > self._limit:
                used = self._evict(user)
            self._used[user] = used

    def _evict(self, user: str) -> int:
        """Delete what was not looked at for longest; bytes that are left. The folder is looked at anew: other processes
        write into it too."""
        files = sorted(self._files(user))
        used = sum(size for _, size, _ in files)
        for _, size, path in files:
            if used <= _LEFT * self._limit:
                break
            path.unlink(missing_ok=True)
            used -= size
        return used

    def _files(self, user: str) -> list[tuple[int, int, Path]]:
        """(time of the last look, bytes, path) of a user's files."""
        out = []
        for folder, _, names in os.walk(self._root / user):
            for name in names:
                path = Path(folder, name)
                try:
                    stat = path.stat()
                except OSError:  # gone meanwhile
                    continue
                out.append((stat.st_mtime_ns, stat.st_size, path))
        return out
