"""The user's own files."""

from __future__ import annotations

from flask import Blueprint, Response, request, send_file

from backend.api import parse
from backend.api.listing import listing
from backend.api.render import file, nothing, reply
from backend.context import context
from backend.files import FileSpace
from backend.store import files

blueprint = Blueprint("files", __name__)


@blueprint.get("/files")
def list_files() -> Response:
    return listing("files", files.files, files.total, file)


@blueprint.get("/files/<path:path>")
def download(path: str) -> Response:
    found = _space().path(path)
    return send_file(found.absolute(), mimetype="application/octet-stream", download_name=found.name, conditional=True)


@blueprint.put("/files/<path:path>")
def upload(path: str) -> Response:
    space = _space()
    request.max_content_length = None  # the quota limits it
    return reply(file(space.put(path, request.stream, request.content_length)))


@blueprint.delete("/files/<path:path>")
def delete(path: str) -> Response:
    _space().delete(path)
    return nothing()


def _space() -> FileSpace:
    ctx = context()
    return FileSpace(ctx.database, ctx.settings.files_dir, parse.user())
