"""``tuile serve``: the API behind waitress, in the embedded default with a worker process beside it."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import click
import waitress
import waitress.server

from backend import serverlog
from backend.jobs.process import for_requests
from backend.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

    from backend.context import Context

LOG = logging.getLogger("tuile.server")
THREADS = 8  # requests answered at once, beside those that wait; computing happens in other processes
BODY_MAX = 1 << 40  # uploads are limited by quota, JSON bodies by `backend.api.parse.JSON_MAX`


def listen(app: Flask, host: str, port: int) -> waitress.server.BaseWSGIServer:
    """A server that listens on ``host``; port 0 takes a free one. Its ``run()`` answers until ``close()``."""
    from backend.services.maps import WAITING

    return waitress.create_server(
        app,
        host=host,
        port=port,
        # one of each slot waits for its result, and so do tiles
        threads=THREADS + context_of(app).settings.sync_slots + WAITING,
        ident="tuile",
        max_request_body_size=BODY_MAX,
        channel_timeout=300,
        # The application itself decides what to believe of a proxy's headers (see backend.app).
        clear_untrusted_proxy_headers=False,
    )


def serve(app: Flask, host: str, port: int, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Answer requests until the process is told to stop (SIGTERM, SIGINT).

    Parameters
    ----------
    app : the application
    host, port : where to listen; port 0 takes a free one
    on_ready : called with the URL once the socket listens
    """
    server = listen(app, host, port)
    if on_ready is not None:
        on_ready(url_of(server))
    try:
        server.run()
    finally:
        server.close()


def url_of(server: waitress.server.BaseWSGIServer) -> str:
    """Address of a server of `listen` (of its first socket, where a name has several)."""
    sockets = getattr(server, "effective_listen", None)
    host, port = sockets[0] if sockets else (server.effective_host, server.effective_port)
    if host in ("0.0.0.0", "::", ""):
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def context_of(app: Flask) -> Context:
    """The context of an application, outside a request."""
    return app.extensions["tuile"]


@click.command("serve")
@click.option("--host", help="Address to listen on. Default: TUILE_HOST.")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one. Default: TUILE_PORT.")
@click.option(
    "--worker/--no-worker",
    default=None,
    help="Run a worker process beside the API. Default: with the embedded broker only.",
)
def serve_command(host: str | None, port: int | None, worker: bool | None) -> None:
    """Serve the openEO API."""
    serverlog.configure()
    settings = Settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        spares = for_requests(settings)
        stack.callback(spares.close)
        spares.warm(1)  # first of all: it imports what computes while this process imports what serves

        from backend.app import create_app
        from backend.jobs.sync import SyncPool
        from backend.store import services
        from backend.store.db import Database

        database = Database(settings.database)
        app = create_app(settings, database=database, sync=SyncPool(settings, database, spares))
        signal.signal(signal.SIGTERM, _stop)
        if worker if worker is not None else settings.embedded_broker:
            from backend.jobs.worker import beside

            stack.enter_context(beside(settings))
        maps = context_of(app).maps
        stack.callback(maps.close)
        with context_of(app).database.session(read_only=True) as session:
            shown = services.any_enabled(session)
        if shown:  # somebody may be looking at a map
            maps.warm()

        def ready(url: str) -> None:
            click.echo(f"Tuile is at {settings.public_url or url}", err=True)

        serve(app, host or settings.host, settings.port if port is None else port, on_ready=ready)


def _stop(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)
