"""What every response gets: CORS, a request id, compression, a line in the server's log; errors as JSON."""

from __future__ import annotations

import gzip
import hashlib
import logging
import re
import time
import uuid

from flask import Flask, Response, g, request
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from backend.api.render import reply
from backend.errors import OpenEOError
from backend.serverlog import request_id
from processes.errors import ProcessError

LOG = logging.getLogger("tuile.request")
RETRY_AFTER = 5  # seconds a client is told to wait for a database that does not answer
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.~-]+)(:\d{1,5})?")  # name or address, and port
GZIP_MIN = 1024  # bytes below which compression is not worth it
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Accept, Accept-Language, Authorization, Content-Type, If-Match, If-None-Match, "
    "If-Range, Idempotency-Key, Origin, Range, X-Requested-With",
    "Access-Control-Allow-Methods": "OPTIONS, GET, HEAD, POST, PATCH, PUT, DELETE",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Disposition, Content-Encoding, Content-Length, "
    "Content-Range, ETag, Link, Location, OpenEO-Costs, OpenEO-Identifier, Retry-After, X-Request-ID",
    "Access-Control-Max-Age": "86400",
}
# HTTP errors that Flask itself raises -> openEO codes
CODES = {
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    413: "ContentTooLarge",
    415: "ContentTypeInvalid",
}


def install(app: Flask, *, metadata_blueprints: frozenset[str]) -> None:
    """Hook into ``app``; responses of ``metadata_blueprints`` get an ETag that clients may revalidate."""

    @app.before_request
    def begin() -> Response | None:
        g.started, g.request_id = time.perf_counter(), str(uuid.uuid4())
        request_id.set(g.request_id)
        # Also for unknown paths and without login: this runs before a missing route is noticed.
        if request.method == "OPTIONS":
            return Response(status=204)
        if not HOST.fullmatch(request.host):  # links could not be made with it
            raise OpenEOError("ContentInvalid", "The header 'Host' (or 'X-Forwarded-Host', '-Port') names no host.")
        if "\0" in request.path or any("\0" in v for v in request.args.values()):  # no database takes it
            raise OpenEOError("NotFound", "There is nothing at an address with the character U+0000.")
        return None

    @app.after_request
    def end(response: Response) -> Response:
        response.headers.extend(CORS)
        response.headers["X-Request-ID"] = g.request_id
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        if request.blueprint in metadata_blueprints and request.method in ("GET", "HEAD"):
            _revalidate(response)
        _compress(response)
        _log(response)
        return response

    app.register_error_handler(OpenEOError, _openeo_error)
    app.register_error_handler(ProcessError, lambda error: _openeo_error(OpenEOError.of(error)))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(OperationalError, _database_error)
    app.register_error_handler(Exception, _crash)


def _openeo_error(error: OpenEOError) -> Response:
    level = logging.ERROR if error.status >= 500 else logging.INFO
    LOG.log(level, "%s: %s", error.code, error.message, extra={"tuile": {"error": error.id, "status": error.status}})
    return reply(error.to_json(), error.status, headers=error.headers)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:  # a redirect is not an error
        return error.get_response()  # type: ignore[return-value]
    told = {
        404: f"There is nothing at {request.path}.",
        405: f"{request.method} is not possible on {request.path}.",
        413: "The request's body is too large.",
    }.get(status, error.description or "The request could not be understood.")
    code = CODES.get(status, "ContentInvalid" if status < 500 else "Internal")
    return _openeo_error(OpenEOError(code, told, status=status))


def _database_error(error: OperationalError) -> Response:
    """The database is away, busy for too long, or its disk is full: nothing was stored, and later it may work."""
    # 53100: disk_full of PostgreSQL; its driver is not imported for SQLite
    if "disk is full" in str(error.orig) or getattr(error.orig, "sqlstate", None) == "53100":
        told = OpenEOError("StorageFailure", "The server's disk is full. Tell its operator, and try again later.")
    else:
        told = OpenEOError(
            "InfrastructureBusy",
            f"The server's database does not answer. Try again in {RETRY_AFTER} seconds.",
            headers={"Retry-After": str(RETRY_AFTER)},
        )
    LOG.error("database: %s", error.orig, extra={"tuile": {"error": told.id, "status": told.status}})
    return reply(told.to_json(), told.status, headers=told.headers)


def _crash(error: Exception) -> Response:
    # The cause goes to the server's log, not to the client.
    told = OpenEOError("Internal", "Server error. Tell the server's operator the id of this error.")
    LOG.error("crash: %r", error, exc_info=error, extra={"tuile": {"error": told.id, "status": 500}})
    return reply(told.to_json(), 500)


def _revalidate(response: Response) -> None:
    if response.status_code == 200:
        response.headers.setdefault("Cache-Control", "no-cache")
        response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32], weak=True)
        response.make_conditional(request)


def _compress(response: Response) -> None:
    """Compress JSON and HTML for who accepts it; never files, whose ranges and lengths must stay."""
    if response.mimetype not in ("application/json", "application/geo+json", "application/schema+json", "text/html"):
        return
    response.vary.add("Accept-Encoding")
    if (
        response.direct_passthrough
        or response.is_streamed
        or response.status_code != 200
        or "Content-Encoding" in response.headers
        or not request.accept_encodings.quality("gzip")
    ):
        return
    data = response.get_data()
    if len(data) >= GZIP_MIN:
        response.set_data(gzip.compress(data, compresslevel=6))
        response.headers["Content-Encoding"] = "gzip"


def _log(response: Response) -> None:
    # Without the query: it may hold a signature. Some paths hold a secret, and tell another.
    path = g.get("told_path") or request.path
    fields = {
        "method": request.method,
        "path": path,
        "status": response.status_code,
        "ms": round(1000 * (time.perf_counter() - g.started), 1),
    }
    if user_id := g.get("user_id"):
        fields["user"] = user_id
    LOG.info("%s %s %s", request.method, path, response.status_code, extra={"tuile": fields})
