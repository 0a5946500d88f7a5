"""Processes that users store (UDPs)."""

from __future__ import annotations

import re

from flask import Blueprint, Response

from backend.api import parse
from backend.api.listing import listing
from backend.api.render import nothing, reply, udp, udp_summary
from backend.context import context
from backend.errors import OpenEOError
from backend.store import udps

blueprint = Blueprint("udps", __name__)


@blueprint.get("/process_graphs")
def list_udps() -> Response:
    return listing("processes", udps.udps, udps.total, udp_summary)


@blueprint.get("/process_graphs/<process_graph_id>")
def describe(process_graph_id: str) -> Response:
    user = parse.user()
    with context().database.session(read_only=True) as session:
        row = udps.get(session, user.id, process_graph_id)
    if row is None:
        raise _missing(process_graph_id)
    return reply(udp(row))


@blueprint.put("/process_graphs/<process_graph_id>")
def store(process_graph_id: str) -> Response:
    """Store or replace. Only the structure is checked: what a process needs is checked where it is used."""
    user = parse.user()
    # hyphens go beyond the API's pattern: clients and the official test suite take UUIDs for ids
    if not re.fullmatch(r"[\w-]+", process_graph_id, re.ASCII):
        raise OpenEOError("ProcessInvalid", "The id of a process consists of letters, digits, underscores and hyphens.")
    if process_graph_id in context().process_specs():
        raise OpenEOError("PredefinedProcessExists", f"A predefined process '{process_graph_id}' exists.")
    process = parse.process(parse.body())
    public = process.pop("public", False) is True
    process.pop("id", None)
    with context().database.session() as session:
        udps.put(session, user.id, process_graph_id, process, public=public)
    return nothing(200)


@blueprint.delete("/process_graphs/<process_graph_id>")
def delete(process_graph_id: str) -> Response:
    user = parse.user()
    with context().database.session() as session:
        if not udps.remove(session, user.id, process_graph_id):
            raise _missing(process_graph_id)
    return nothing()


def _missing(id: str) -> OpenEOError:
    return OpenEOError("ProcessGraphNotFound", f"There is no stored process '{id}'.")
