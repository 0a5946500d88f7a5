"""Is a process valid? Every problem at once; a bad graph is a fine answer, never an error of the request."""

from __future__ import annotations

from flask import Blueprint, Response

from backend.api import parse
from backend.api.render import reply, without_nulls
from backend.context import context
from backend.errors import OpenEOError
from backend.store import udps

blueprint = Blueprint("validation", __name__)


@blueprint.post("/validation")
def validate() -> Response:
    user = parse.optional_user()
    body = parse.body()
    ctx = context()
    try:
        process = parse.process(body)
    except OpenEOError as error:
        return reply({"errors": [error.to_json()]})
    namespace = {}
    if user is not None:
        with ctx.database.session(read_only=True) as session:
            namespace = udps.namespace(session, user.id)
    env = ctx.environments.env(user.id if user else None)
    from backend.graph import run  # what computes is heavy: the API starts without it

    problems = run.check(process, env, namespace=namespace, max_nodes=ctx.settings.max_nodes)
    return reply({"errors": [without_nulls(p) for p in problems]})
