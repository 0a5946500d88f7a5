"""Who we are: well-known document, capabilities, conformance, health, landing page."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from flask import Blueprint, Response, current_app, render_template

from backend.api.links import link, url
from backend.api.render import reply
from backend.context import context
from backend.store import schema

API_VERSION = "1.2.0"
PREFIX = "/openeo/1.2"
STAC_VERSION = "1.1.0"
TITLE = "Tuile"
DESCRIPTION = (
    "An openEO backend over an archive of satellite tiles: the standard processes, and the chains of the Theia land "
    "data centre as processes of their own."
)
CONFORMANCE = (
    "https://api.openeo.org/1.2.0",
    "https://api.openeo.org/extensions/processing-parameters/0.1.0",
    "https://api.stacspec.org/v1.0.0/collections",
)
EDITOR = "https://editor.openeo.org/"
CLIENT_DOCS = "https://docs.openeo.cloud/"
# Links lead to these; nobody needs to be told of them in the capabilities.
UNLISTED = frozenset(
    {"results.asset", "results.item", "results.sources", "result.logs", "discovery.capabilities", "collections.delete",
     "services_tiles.xyz",
     "services_tiles.wmts", "services_tiles.capabilities", "services_tiles.wmts_tile"}
)  # fmt: skip

root = Blueprint("root", __name__, template_folder="templates")
discovery = Blueprint("discovery", __name__)


@root.get("/")
def landing() -> str:
    """A page for people who open the server in a browser."""
    return render_template(
        "landing.html",
        title=TITLE,
        description=DESCRIPTION,
        version=version("tuile"),
        api=url("discovery.capabilities"),
        editor=editor(),
        docs=CLIENT_DOCS,
        collections=sorted(context().catalogue.collections(), key=lambda c: c["id"]),
        collections_url=url("collections.collections"),
        processes_url=url("processes.processes"),
    )


@root.get("/.well-known/openeo")
def well_known() -> Response:
    return reply({"versions": [_version()]})


@root.get("/health")
@discovery.get("/health")
def health() -> tuple[Response, int]:
    """Whether requests can be served: 503 while the database is not there or not of this release."""
    ready = schema.current(context().database) == schema.head()
    status = 200 if ready else 503
    return reply({"status": "ok" if ready else "database schema is not up to date: run 'tuile db upgrade'"}), status


@discovery.get("/")
def capabilities() -> Response:
    return reply(
        {
            "type": "Catalog",
            "stac_version": STAC_VERSION,
            "id": "tuile",
            "title": TITLE,
            "description": DESCRIPTION,
            "api_version": API_VERSION,
            "backend_version": version("tuile"),
            "production": _version()["production"],
            "conformsTo": list(CONFORMANCE),
            "endpoints": endpoints(),
            "links": [
                link("self", url("discovery.capabilities")),
                link("root", url("discovery.capabilities")),
                link("version-history", url("root.well_known"), title="All API versions of this server"),
                link("conformance", url("discovery.conformance"), title="Conformance classes"),
                link("data", url("collections.collections"), title="Collections"),
                link("about", url("root.landing"), "text/html", title="Landing page"),
                link("web-editor", editor(), "text/html", title="openEO Web Editor"),
            ],
        }
    )


@discovery.get("/conformance")
def conformance() -> Response:
    return reply({"conformsTo": list(CONFORMANCE)})


def endpoints() -> list[dict[str, Any]]:
    """What this application answers, read from its own routes: nothing is announced that does not exist."""
    hidden = set(UNLISTED)
    if not context().authenticator.providers.public():
        hidden.add("credentials.oidc_providers")  # answers with an empty list, over which some clients stumble
    found: dict[str, set[str]] = {}
    for rule in current_app.url_map.iter_rules():
        if rule.rule.startswith(PREFIX) and rule.endpoint not in hidden and rule.methods:
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule.removeprefix(PREFIX))
            found.setdefault(path, set()).update(rule.methods - {"HEAD", "OPTIONS"})
    return [{"path": path, "methods": sorted(methods)} for path, methods in sorted(found.items())]


def editor() -> str:
    """The Web Editor, opened on this server."""
    return f"{EDITOR}?server={url('discovery.capabilities').rstrip('/')}"


def _version() -> dict[str, Any]:
    # A server is meant for production once it has a public address that is encrypted.
    public = context().settings.public_url or ""
    return {
        "url": url("discovery.capabilities").rstrip("/"),
        "api_version": API_VERSION,
        "production": public.startswith("https://"),
    }
