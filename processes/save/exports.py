"""`export_workspace`, `export_collection`: copies of results where the user keeps things.

There are no files while a graph is evaluated, so an export is a step of the result to be written: checked now, done by
the service once the files are there (`processes.env.Exports`). The result goes on and may be exported again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from processes.demand import passes
from processes.env import Env
from processes.errors import ProcessError, parameter_invalid
from processes.registry import process
from processes.save.save_result import SaveResult


@dataclass(frozen=True)
class Changes:
    """A merge patch on the STAC collection of the files, for the exports after it."""

    changes: Mapping[str, Any]


@dataclass(frozen=True)
class ToWorkspace:
    """A copy in a workspace; ``merge``: the STAC collection there that it extends, None for one of its own."""

    workspace: str
    merge: str | None = None


@dataclass(frozen=True)
class ToCollection:
    """The files as items of a collection of the user."""

    collection: str


Export = ToWorkspace | ToCollection


@process(pure=False, demand=passes)
def export_workspace(data: Any, workspace: str, merge: str | None = None, *, env: Env | None = None) -> SaveResult:
    """Copy the files of a result, with their STAC documents, to a workspace of the user.

    Raises ``ProcessParameterInvalid`` (``data`` is not the outcome of ``save_result``), ``FilePathInvalid``, and
    ``FeatureUnsupported`` where there are no workspaces.
    """
    return _exported(data, ToWorkspace(workspace, merge), env)


@process(pure=False, demand=passes)
def export_collection(data: Any, collection: str, *, env: Env | None = None) -> SaveResult:
    """Add the files of a result to a collection of the user, made where there is none: `load_collection` reads it.

    The definition returns the id of the collection; it is part of the outcome, which can be exported further, because
    the collection is not there before the files are. Raises ``ProcessParameterInvalid``, ``FormatUnsuitable``, and
    ``FeatureUnsupported`` where there are no collections of users.
    """
    return _exported(data, ToCollection(collection), env)


def _exported(data: Any, export: Export, env: Env | None) -> SaveResult:
    if not isinstance(data, SaveResult):
        raise parameter_invalid(
            "data", "it must be what save_result returns: only results that are written can be copied"
        )
    exports = (env or Env()).exports
    if exports is None:
        raise ProcessError(
            "FeatureUnsupported",
            "Results cannot be exported here: there is no user with a workspace. Log in to a service, or use save_result.",
        )
    exports.check(export, data.format)
    return replace(data, steps=(*data.steps, export))


def changed(data: SaveResult, changes: Mapping[str, Any]) -> SaveResult:
    """The result, its STAC collection changed for the exports after it."""
    return replace(data, steps=(*data.steps, Changes(dict(changes))))


def patched(target: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Merge Patch (RFC 7386): null removes a field."""
    out = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, Mapping):
            out[key] = patched(out.get(key), value)
        else:
            out[key] = value
    return out
