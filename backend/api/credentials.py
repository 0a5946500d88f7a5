"""Login and the user's own account."""

from __future__ import annotations

from flask import Blueprint, Response, request

from backend.api import parse
from backend.api.render import reply
from backend.auth import basic
from backend.context import context
from backend.errors import OpenEOError
from backend.files import storage

blueprint = Blueprint("credentials", __name__)


@blueprint.get("/credentials/basic")
def basic_login() -> Response:
    given = request.authorization
    if given is None:
        # Without WWW-Authenticate: browsers would put up a login window of their own.
        raise OpenEOError("AuthenticationRequired", "Send user name and password by HTTP Basic.")
    if given.type != "basic":
        raise OpenEOError("AuthenticationSchemeInvalid", "Use the scheme HTTP Basic to log in here.")
    ctx = context()
    token = basic.login(
        ctx.database,
        given.username or "",
        given.password or "",
        address=parse.client_address(),
        limit=ctx.settings.login_failures,
    )
    return reply({"access_token": token}, headers={"Cache-Control": "no-store"})


@blueprint.get("/credentials/oidc")
def oidc_providers() -> Response:
    return reply({"providers": context().authenticator.providers.public()})


@blueprint.get("/me")
def me() -> Response:
    user = parse.user()
    return reply(
        {
            "user_id": user.id,
            "name": user.name,
            "storage": storage(context().database, user),
            "links": [],
        }
    )
