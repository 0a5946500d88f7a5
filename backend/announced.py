"""Definitions of the predefined processes, kept in the data folder.

To know them all, everything that computes must be imported: nearly a second of CPU and 200 MB that a server which only speaks
HTTP never needs. So they are written down, with a fingerprint of what they were made from; a release, a plug-in or a
definition that comes, goes or changes has another fingerprint, and they are made anew. Processes that compute have imported
everything anyway, so a worker that starts writes them for the server beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from backend.settings import Settings

LOG = logging.getLogger("tuile.server")
GROUP = "tuile.processes"
_SUFFIXES = (".py", ".json")


class Announced:
    """The definitions, by process id: ``announced()``.

    Parameters
    ----------
    settings : the service's; the file lies in its data folder
    """

    def __init__(self, settings: Settings):
        self._path = settings.data_dir / "processes.json"

    def __call__(self) -> Mapping[str, dict[str, Any]]:
        return self._specs

    @cached_property
    def _specs(self) -> Mapping[str, dict[str, Any]]:
        made_from = fingerprint()
        kept = self._kept(made_from)
        if kept is not None:
            return kept
        specs = definitions()
        self._keep(made_from, specs)
        return specs

    def _kept(self, made_from: str) -> dict[str, dict[str, Any]] | None:
        try:
            kept = json.loads(self._path.read_bytes())
            return kept["specs"] if kept["made_from"] == made_from else None
        except (OSError, ValueError, KeyError, TypeError):  # not there, or not whole: made anew
            return None

    def _keep(self, made_from: str, specs: Mapping[str, dict[str, Any]]) -> None:
        scratch = self._path.with_name(f".{self._path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            scratch.write_text(json.dumps({"made_from": made_from, "specs": specs}))
            scratch.replace(self._path)  # others see the whole file or the old one
        except OSError as error:  # a full or read-only disk: the definitions are known all the same
            LOG.warning("the definitions of the processes cannot be kept in %s: %s", self._path, error)
            with contextlib.suppress(OSError):
                scratch.unlink()


def definitions() -> dict[str, dict[str, Any]]:
    """The definitions by process id, from the processes themselves."""
    from processes.registry import processes as registered

    specs = {}
    for id, process in registered().items():
        try:
            specs[id] = process.spec
        except (OSError, ValueError) as error:  # one broken plug-in must not hide all the others
            LOG.error("process '%s' has no readable definition and is not announced: %s", id, error)
    return specs


def fingerprint() -> str:
    """Of all that the definitions can depend on: what is installed, and the files of the processes and their plug-ins."""
    told = hashlib.sha256(sys.version.encode())
    points = sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value))
    roots = {"processes", *(p.module.partition(".")[0] for p in points)}
    for line in (
        *_installed(),
        *(f"{p.name}={p.value}" for p in points),
        *(f for r in sorted(roots) for f in _files(r)),
    ):
        told.update(line.encode("utf-8", "backslashreplace") + b"\n")
    return told.hexdigest()


def _installed() -> Iterator[str]:
    """Names with versions of the distributions that can be imported."""
    for folder in sys.path:
        try:
            yield from sorted(n for n in os.listdir(folder or ".") if n.endswith((".dist-info", ".egg-info")))  # noqa: PTH208
        except OSError:  # not a folder
            continue


def _files(package: str) -> Iterator[str]:
    """Path, size and time of change of a package's code and definitions."""
    spec = find_spec(package)
    if spec is None:
        return
    for root in spec.submodule_search_locations or [spec.origin or ""]:
        here = Path(root)
        found = [here] if here.is_file() else sorted(p for p in here.rglob("*") if p.suffix in _SUFFIXES)
        for path in found:
            try:
                stat = path.stat()
            except FileNotFoundError:  # an installation is being changed at this moment
                continue
            yield f"{path} {stat.st_size} {stat.st_mtime_ns}"
