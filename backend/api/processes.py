"""Predefined processes, and those that users share."""

from __future__ import annotations

from flask import Blueprint, Response

from backend.api import parse
from backend.api.links import link, pages, url
from backend.api.render import reply, udp
from backend.context import context
from backend.errors import OpenEOError
from backend.store import udps

blueprint = Blueprint("processes", __name__)
SPEC_VERSION = "2.0.0-rc.2"  # of the openEO processes


@blueprint.get("/processes")
def processes() -> Response:
    page = parse.page()
    specs = context().process_specs()
    ids = sorted(specs)
    shown = ids[page.offset : None if page.limit is None else page.offset + page.limit]
    links = [link("self", url("processes.processes")), link("root", url("discovery.capabilities"))]
    links += pages(page, len(ids))
    return reply({"version": SPEC_VERSION, "processes": [specs[i] for i in shown], "links": links})


@blueprint.get("/processes/<namespace>/<process_id>")
def shared(namespace: str, process_id: str) -> Response:
    """A process that its owner made public; ``namespace`` is ``u:<user id>``."""
    with context().database.session(read_only=True) as session:
        row = udps.get(session, namespace.removeprefix("u:"), process_id) if namespace.startswith("u:") else None
    if row is None or not row.public:
        raise OpenEOError("ProcessGraphNotFound", f"There is no public process '{process_id}' in '{namespace}'.")
    return reply(udp(row))
