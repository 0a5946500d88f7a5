"""Synchronous requests: a process in, a file out."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from flask import Blueprint, Response, g, send_file

from backend.api import parse
from backend.api.links import link, url
from backend.api.logs import log_reply
from backend.api.render import reply
from backend.context import SyncResult, context
from backend.errors import OpenEOError
from backend.store import requests, udps

blueprint = Blueprint("result", __name__)


@blueprint.post("/result")
def compute() -> Response:
    user = parse.user()
    body = parse.body()
    process, level = parse.process(body.get("process")), parse.log_level(body)
    parse.plan(body)
    parse.budget(body)
    ctx = context()
    with ctx.database.session() as session:
        requests.put(session, g.request_id, user.id)
        namespace = udps.namespace(session, user.id)
    try:
        result = ctx.sync.run(user.id, process, namespace, level, g.request_id)
    except OpenEOError as error:
        error.headers = error.headers | _headers()
        raise
    return _send(result)


@blueprint.get("/result/logs/<request_id>")
def logs(request_id: str) -> Response:
    """The log of a synchronous request (header ``OpenEO-Identifier``, link ``monitor``)."""
    user = parse.user()
    with context().database.session(read_only=True) as session:
        if not requests.belongs(session, request_id, user.id):
            raise OpenEOError("NotFound", f"There is no request '{request_id}' of yours.")
        return reply(log_reply(session, request_id))


def _headers() -> dict[str, str]:
    monitor = link("monitor", url("result.logs", request_id=g.request_id))
    return {
        "OpenEO-Identifier": g.request_id,
        "OpenEO-Costs": "0",
        "Link": f'<{monitor["href"]}>; rel="monitor"; type="application/json"',
    }


def _send(result: SyncResult) -> Response:
    """The only file, or all of them as a TAR.

    The folder is deleted before the first byte goes out: the open file stays readable, and nothing is left behind
    however the connection ends.
    """
    data = [a for a in result.assets if "data" in a.roles] or result.assets
    try:
        if len(data) == 1:
            path, media_type = data[0].path, data[0].media_type
        else:
            path, media_type = _tar(result), "application/x-tar"
        file, size = path.open("rb"), path.stat().st_size
    finally:
        shutil.rmtree(result.folder, ignore_errors=True)
    response = send_file(file, mimetype=media_type, download_name=path.name)
    response.content_length = size
    response.headers.extend(_headers())
    return response


def _tar(result: SyncResult) -> Path:
    path = result.folder / "result.tar"
    with tarfile.open(path, "w") as archive:
        for asset in result.assets:
            archive.add(asset.path, arcname=asset.name)
    return path
