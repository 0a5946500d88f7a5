"""Tiles of web services: XYZ and WMTS. No login: the address holds a secret only the owner is told."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, Response, g, request

from backend.api.links import url
from backend.context import context
from backend.errors import OpenEOError
from backend.services import wmts as ogc
from backend.services.encode import MEDIA_TYPES
from backend.services.mercator import Tile
from backend.services.times import label_of
from backend.services.types import complete, encoding
from backend.store import services
from backend.store.services import Head

blueprint = Blueprint("services_tiles", __name__)
_ROW = re.compile(r"(\d{1,9})(@2x)?(?:\.(png|jpg|jpeg))?", re.ASCII)
MAX_AGE = 60  # seconds a viewer may show a tile without asking whether it is still the same


@blueprint.get("/services/<service_id>/xyz/<secret>/<int:z>/<int:x>/<row>")
def xyz(service_id: str, secret: str, z: int, x: int, row: str) -> Response:
    """A tile; ``row`` is its number, then ``@2x`` for 512 pixels, then a suffix for another format."""
    service = _service(service_id, secret)
    parts = _ROW.fullmatch(row)
    if parts is None:
        raise OpenEOError("NotFound", f"'{row}' is not a row of tiles, such as 5, 5@2x or 5.png.")
    double = 2 if parts[2] else None
    return _send(service, z, x, int(parts[1]), parts[3], _query("time"), double)


def _reports(view: Callable[..., Response]) -> Callable[..., Response]:
    """Failures of ``view`` as the exception reports OGC clients read, with the status of the openEO error."""

    @wraps(view)
    def answer(*args: Any, **kwargs: Any) -> Response:
        try:
            return view(*args, **kwargs)
        except OpenEOError as error:
            return Response(
                ogc.exception(error), error.status, error.headers, content_type=f"{ogc.TEXT}; charset=utf-8"
            )

    return answer


@blueprint.get("/services/<service_id>/wmts/<secret>")
@_reports
def wmts(service_id: str, secret: str) -> Response:
    """Key-value requests: GetCapabilities, GetTile. Names of parameters in any case; unknown ones are ignored."""
    service = _service(service_id, secret)
    given = {k.lower(): v for k, v in request.args.items()}
    wanted = given.get("request", "GetCapabilities").lower()
    if given.get("service", "wmts").lower() != "wmts":
        raise OpenEOError("InvalidParameterValue", "Parameter SERVICE must be WMTS.", data="service")
    if wanted == "getcapabilities":
        return _capabilities(service)
    if wanted == "gettile":
        return _named(service, given)
    raise OpenEOError(
        "OperationNotSupported", f"There is no operation '{given['request']}'.", status=501, data="request"
    )


@blueprint.get("/services/<service_id>/wmts/<secret>/1.0.0/WMTSCapabilities.xml")
@_reports
def capabilities(service_id: str, secret: str) -> Response:
    return _capabilities(_service(service_id, secret))


@blueprint.get("/services/<service_id>/wmts/<secret>/<layer>/<style>/<set>/<matrix>/<tile_row>/<col>.<suffix>")
@blueprint.get("/services/<service_id>/wmts/<secret>/<layer>/<style>/<time>/<set>/<matrix>/<tile_row>/<col>.<suffix>")
@_reports
def wmts_tile(
    service_id: str, secret: str, layer: str, style: str, set: str, matrix: str, tile_row: str, col: str, suffix: str,
    time: str | None = None,
) -> Response:  # fmt: skip
    """A tile by its RESTful address."""
    format = MEDIA_TYPES.get({"jpg": "jpeg"}.get(suffix, suffix), f"image/{suffix}")
    given = {"layer": layer, "style": style, "tilematrixset": set, "tilematrix": matrix, "tilerow": tile_row,
             "tilecol": col, "format": format}  # fmt: skip
    return _named(_service(service_id, secret), given | ({"time": time} if time else {}))


def _named(service: Head, given: dict[str, str]) -> Response:
    asked = ogc.asked(given)
    return _send(service, asked.z, asked.x, asked.y, asked.suffix, asked.time)


def _capabilities(service: Head) -> Response:
    about = context().maps.about(service)
    base = url("services_tiles.wmts", service_id=service.id, secret=service.secret)
    settings = complete(service.type, service.configuration)
    document = ogc.capabilities(about, settings, base, service.title, service.description)
    return Response(document, content_type=f"{ogc.TEXT}; charset=utf-8", headers={"Cache-Control": "no-cache"})


def _service(service_id: str, secret: str) -> Head:
    """The service, for who knows its secret. Raises ``ServiceNotFound``: nothing tells whether there is one."""
    g.told_path = request.path.replace(secret, "...")  # the server's log must not hold it
    with context().database.engine.connect() as connection:
        found = services.head(connection, service_id)
    if found is None or not hmac.compare_digest(found.secret.encode(), secret.encode()):
        raise OpenEOError("ServiceNotFound", "There is no such web service; ask its owner for its address.")
    if not found.enabled:
        raise OpenEOError("ServiceNotFound", "This web service is switched off by its owner.")
    return found


def _query(name: str) -> str | None:
    return next((v for k, v in request.args.items() if k.lower() == name), None)


def _send(
    service: Head, z: int, x: int, y: int, suffix: str | None, time: str | None, double: int | None = None
) -> Response:
    settings = complete(service.type, service.configuration)
    tile = Tile(z, x, y, 512 if double else settings["tile_size"])
    if not settings["minzoom"] <= z <= settings["maxzoom"]:
        told = f"This web service has the zooms {settings['minzoom']} to {settings['maxzoom']}, not {z}."
        raise OpenEOError("TileOutOfRange", told, status=404)
    if not tile.exists:
        raise OpenEOError("TileOutOfRange", f"Zoom {z} has rows and columns from 0 to {(1 << z) - 1}.", status=404)
    how = encoding(settings, suffix)
    maps = context().maps
    label = label_of(maps.about(service).times, time) if time else None
    data = maps.tile(service, tile, how, label)
    response = Response(data, content_type=MEDIA_TYPES[how.format])
    response.headers["Cache-Control"] = f"private, max-age={MAX_AGE}"
    response.set_etag(hashlib.sha256(data).hexdigest()[:32])
    response.make_conditional(request)
    return response
