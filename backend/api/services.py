"""Secondary web services: create, list, describe, change, delete; logs. Their tiles: `backend.api.services_tiles`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from backend.api import parse
from backend.api.links import link, url
from backend.api.listing import listing
from backend.api.logs import log_reply
from backend.api.render import known, nothing, reply
from backend.context import context
from backend.errors import OpenEOError
from backend.services import wmts
from backend.services.types import checked, complete, type_named
from backend.store import services, udps
from backend.store.models import Service, User
from backend.store.types import now, rfc3339

blueprint = Blueprint("services", __name__)
OURS = ("id", "type", "url", "attributes", "created", "costs", "links")
PROCESS_MAX = 4 << 20  # bytes of a process as JSON: it is held in memory as long as its map is looked at
# The Web Editor's name for what it makes to show a result, and leaves behind where its window is closed.
QUICK_VIEW, QUICK_VIEW_LIFE = "quick view", timedelta(days=1)


@blueprint.get("/services")
def list_services() -> Response:
    return listing("services", services.services, services.total, _summary)


@blueprint.post("/services")
def create() -> Response:
    user = parse.user()
    body = parse.body()
    type = type_named(body.get("type"))
    fields = _fields({"process": None, "log_level": None, "enabled": None, "configuration": None} | body, type)
    _check(user, fields["process"])
    title = (fields.get("title") or "").strip().lower()
    expires = now() + QUICK_VIEW_LIFE if title == QUICK_VIEW else None
    ctx = context()
    _sweep()
    with ctx.database.session() as session:
        if services.total(session, user.id) >= ctx.settings.max_services:
            raise OpenEOError(
                "ServiceQuotaExceeded",
                f"You have {ctx.settings.max_services} web services, which is as many as a user may have. Delete one.",
            )
        service = services.create(session, user.id, fields.pop("process"), type=type, expires=expires, **fields)
    if service.enabled:
        ctx.maps.warm()
    return nothing(201, {"Location": url("services.describe", service_id=service.id), "OpenEO-Identifier": service.id})


@blueprint.get("/services/<service_id>")
def describe(service_id: str) -> Response:
    user = parse.user()
    with context().database.session(read_only=True) as session:
        return reply(_whole(owned(session, service_id, user.id)))


@blueprint.patch("/services/<service_id>")
def change(service_id: str) -> Response:
    user = parse.user()
    body = parse.body()
    with context().database.session(read_only=True) as session:
        type = owned(session, service_id, user.id).type
    parse.refuse(body, OURS, "service")
    fields = _fields(body, type)
    if "process" in fields:
        _check(user, fields["process"])
    with context().database.session() as session:
        service = owned(session, service_id, user.id)
        for name, value in fields.items():
            setattr(service, name, value)
        if not fields.keys().isdisjoint(("process", "configuration")):
            service.revision += 1
        if "title" in fields and (fields["title"] or "").strip().lower() != QUICK_VIEW:
            service.expires = None  # somebody gave it a name: it is meant to stay
    return nothing()


@blueprint.delete("/services/<service_id>")
def delete(service_id: str) -> Response:
    user = parse.user()
    ctx = context()
    with ctx.database.session() as session:
        owned(session, service_id, user.id)
        services.remove(session, service_id)
    ctx.maps.forget(user.id, service_id)
    return nothing()


@blueprint.get("/services/<service_id>/logs")
def logs(service_id: str) -> Response:
    user = parse.user()
    with context().database.session(read_only=True) as session:
        service = owned(session, service_id, user.id)
        return reply(log_reply(session, service_id, service.log_level))


def owned(session: Session, service_id: str, user_id: str) -> Service:
    """The user's service; somebody else's does not exist for them. Raises ``ServiceNotFound``."""
    service = services.get(session, service_id, user_id)
    if service is None:
        raise OpenEOError("ServiceNotFound", f"The service '{service_id}' does not exist.")
    return service


def _fields(body: dict[str, Any], type: str) -> dict[str, Any]:
    """Columns of a service from a body: only what the body names."""
    own = {"enabled": _enabled, "configuration": lambda value: checked(type, value["configuration"])}
    return parse.members(body, parse.COMMON | own)


def _enabled(body: Mapping[str, Any]) -> bool:
    value = body["enabled"]
    if value is not None and not isinstance(value, bool):
        raise OpenEOError("ContentInvalid", "'enabled' must be true or false.")
    return value is not False


def _check(user: User, process: dict[str, Any]) -> None:
    """A service whose process is not valid would only ever make empty tiles. Raises the first problem."""
    if len(json.dumps(process)) > PROCESS_MAX:
        raise OpenEOError("ProcessGraphComplexity", f"The process of a web service may have {PROCESS_MAX >> 20} MiB.")
    ctx = context()
    with ctx.database.session(read_only=True) as session:
        namespace = udps.namespace(session, user.id)
    env = ctx.environments.env(user.id)
    from backend.graph import run  # what computes is heavy: the API starts without it

    problems = run.check(process, env, namespace=namespace, max_nodes=ctx.settings.max_nodes)
    if problems:
        first = problems[0]
        raise OpenEOError(first["code"], first["message"], path=first["path"], data=problems)


def _sweep() -> None:
    """Delete what has expired, anybody's."""
    ctx = context()
    with ctx.database.session(read_only=True) as session:
        gone = services.expired(session)
    for service_id, user_id in gone:
        with ctx.database.session() as session:
            services.remove(session, service_id)
        ctx.maps.forget(user_id, service_id)


def _summary(service: Service) -> dict[str, Any]:
    """As in a list of services."""
    return known(
        id=service.id,
        title=service.title,
        description=service.description,
        url=address(service),
        type=service.type,
        enabled=service.enabled,
        created=rfc3339(service.created),
        plan=service.plan,
        budget=service.budget,
    )


def _whole(service: Service) -> dict[str, Any]:
    settings = complete(service.type, service.configuration)
    attributes: dict[str, Any] = {
        "tile_matrix_set": wmts.MATRIX_SET,
        "minzoom": settings["minzoom"],
        "maxzoom": settings["maxzoom"],
    }
    if service.type == "WMTS":
        attributes |= {"layers": [wmts.LAYER], "capabilities": f"{address(service)}/1.0.0/WMTSCapabilities.xml"}
    else:
        attributes["url_512"] = address(service).replace("{y}", "{y}@2x")
    own = known(
        process=service.process,
        configuration=settings,
        attributes=attributes,
        log_level=service.log_level,
        expires=None if service.expires is None else rfc3339(service.expires),
    )
    monitor = link("monitor", url("services.logs", service_id=service.id), title="Logs")
    return _summary(service) | own | {"links": [monitor]}


def address(service: Service) -> str:
    """URL of the tiles: whoever knows it may look at them. Clients put numbers in place of ``{z}``, ``{x}``, ``{y}``."""
    own = url("services.describe", service_id=service.id)
    if service.type == "WMTS":
        return f"{own}/wmts/{service.secret}"
    return f"{own}/xyz/{service.secret}/{{z}}/{{x}}/{{y}}"
