"""The Flask application. `create_app` builds everything; importing this module does nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from backend.announced import Announced
from backend.api import (
    collections,
    credentials,
    discovery,
    files,
    formats,
    jobs,
    middleware,
    processes,
    result,
    results,
    services,
    services_tiles,
    udps,
    validation,
)
from backend.auth.bearer import Authenticator
from backend.auth.oidc import Providers
from backend.auth.secret import secret_key
from backend.auth.signing import Signer
from backend.context import Catalogue, Context, Jobs, Maps, Offers, Sync
from backend.environment import Environments
from backend.settings import Settings
from backend.store.db import Database

METADATA = frozenset({"root", "discovery", "collections", "processes", "formats"})


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    catalogue: Catalogue | None = None,
    jobs: Jobs | None = None,
    sync: Sync | None = None,
    maps: Maps | None = None,
    offers: Offers | None = None,
    process_specs: Callable[[], Mapping[str, dict[str, Any]]] | None = None,
) -> Flask:
    """The service as a WSGI application.

    Parameters
    ----------
    settings : the service's settings
    database, catalogue, jobs, sync, maps, offers, process_specs : by default those of the settings

    Notes
    -----
    On SQLite (embedded) the schema is brought to the newest version; on PostgreSQL that is for ``tuile db upgrade``, so
    that a rolling update does not migrate by accident.
    """
    database = database or Database(settings.database)
    if database.is_sqlite:
        database.upgrade()
    catalogue = catalogue or _catalogue(settings)
    app = Flask("tuile", root_path=__file__.rpartition("/")[0], static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # done below, without a redirect
    app.extensions["tuile"] = Context(
        settings=settings,
        database=database,
        catalogue=catalogue,
        jobs=jobs or _jobs(settings, database),
        sync=sync or _sync(settings, database),
        maps=maps or _maps(settings, database, catalogue),
        environments=Environments(settings, database, catalogue),
        offers=offers or _offers(settings),
        authenticator=Authenticator(database, Providers(settings.oidc_providers)),
        signer=Signer(secret_key(settings), settings.result_ttl),
        process_specs=process_specs or Announced(settings),
    )
    _register(app)
    middleware.install(app, metadata_blueprints=METADATA)
    app.wsgi_app = _public_address(_one_slash(app.wsgi_app), settings.public_url)  # type: ignore[method-assign]
    return app


def _register(app: Flask) -> None:
    app.register_blueprint(discovery.root)
    app.register_blueprint(discovery.discovery, url_prefix=discovery.PREFIX)
    modules = (collections, credentials, files, formats, jobs, processes, result, results, services, services_tiles, udps,
               validation)  # fmt: skip
    for module in modules:
        app.register_blueprint(module.blueprint, url_prefix=discovery.PREFIX)


def _catalogue(settings: Settings) -> Catalogue:
    from backend.catalogue import open_catalogue

    return open_catalogue(settings)


def _jobs(settings: Settings, database: Database) -> Jobs:
    from backend.jobs.queue import Queue

    return Queue(settings, database)


def _sync(settings: Settings, database: Database) -> Sync:
    from backend.jobs.sync import SyncPool

    return SyncPool(settings, database)


def _maps(settings: Settings, database: Database, catalogue: Catalogue) -> Maps:
    from backend.services.maps import Maps as Drawn

    return Drawn(settings, database, catalogue)


def _offers(settings: Settings) -> Offers:
    from backend.offers import Offers as Installed

    return Installed(settings)


Wsgi = Callable[..., Iterable[bytes]]


def _one_slash(app: Wsgi) -> Wsgi:
    """``//jobs`` is ``/jobs``: some clients join URLs carelessly, and not all follow redirects with a body."""

    def collapse(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["PATH_INFO"] = re.sub("/{2,}", "/", environ.get("PATH_INFO", ""))
        return app(environ, start_response)

    return collapse


def _public_address(app: Wsgi, public_url: str | None) -> Wsgi:
    """Links tell the address clients use: the configured one, else what the proxy in front says it is."""
    if not public_url:
        return ProxyFix(app, x_for=1, x_proto=1, x_host=1, x_port=1, x_prefix=1)
    parts = urlsplit(public_url)
    if not parts.scheme or not parts.netloc:
        raise ValueError(f"TUILE_PUBLIC_URL must be a URL such as https://tiles.example.org, not {public_url!r}")

    def configured(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["wsgi.url_scheme"], environ["HTTP_HOST"] = parts.scheme, parts.netloc
        if parts.path.strip("/"):
            environ["SCRIPT_NAME"] = parts.path.rstrip("/")
        return app(environ, start_response)

    return configured
