"""The process that draws tiles: keeps the layers it was told of, draws the blocks it is asked for.

Started by `backend.services.pool` through `backend.jobs.process`; lives as long as the other end of its socket.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections import OrderedDict
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from backend import serverlog
from backend.jobs.child import Channel, rehearse
from backend.jobs.messages import Broken, Failed, Log
from backend.services.messages import AboutRequest, BlockRequest, Drawn, Found, Spec, Unknown
from backend.settings import Settings

if TYPE_CHECKING:
    from backend.services.layer import Layer

LAYERS = 32  # kept at once; a forgotten one is planned again
UNPACKED = 256 << 20  # bytes of unpacked blocks of files kept at most, and the share of the memory they may take
SHARE = 8
ENTRIES = 20  # log entries kept of one request: a graph that logs does so for every block


class Painters:
    """The layers of this process. The catalogue and the database are opened once."""

    def __init__(self, settings: Settings):
        import dask
        import dask.local

        from backend.catalogue import open_catalogue
        from backend.environment import Environments
        from backend.results.format import all_formats
        from backend.services import layer  # noqa: F401  (the point is the import)
        from backend.store.db import Database
        from processes.load import kept
        from processes.registry import processes

        processes()
        all_formats()
        rehearse()
        self.memory = settings.memory_limit // settings.tile_slots
        share = min(self.memory // SHARE, UNPACKED)
        self.memory -= share
        kept.allow(share)
        # one block at a time: blocks are drawn side by side in several processes. The function, not its name: to look a
        # name up dask imports all of distributed
        dask.config.set(scheduler=dask.local.get_sync)
        self.settings = settings
        self.environments = Environments(settings, Database(settings.database), open_catalogue(settings))
        self._layers: OrderedDict[str, Layer] = OrderedDict()

    def answer(self, request: AboutRequest | BlockRequest) -> Any:
        """Answer one request; whatever happens becomes an answer."""
        from backend.errors import OpenEOError
        from processes.errors import ProcessError

        if request.spec is None and request.key not in self._layers:
            return Unknown()
        logs = _Logs()
        try:
            layer = self._layer(request.key, request.spec, logs)
            if isinstance(request, AboutRequest):
                return Found(layer.about(), tuple(logs.entries))
            images = layer.draw(request.block, request.about, request.time, request.encoding)
            return Drawn(tuple(images), tuple(logs.entries))
        except OpenEOError as error:
            return Failed(error)
        except ProcessError as error:
            return Failed(OpenEOError.of(error))
        except MemoryError:
            return Failed(OpenEOError("MemoryExceeded", "This part of the map does not fit into memory.", status=500))
        except RecursionError:
            return Failed(OpenEOError("ProcessGraphComplexity", "Processes or callbacks call each other too deeply."))
        except Exception as error:
            return Broken(f"{type(error).__name__}: {error}", traceback.format_exc())

    def _layer(self, key: str, spec: Spec | None, logs: _Logs) -> Layer:
        from dataclasses import replace

        from backend.services.layer import Layer
        from processes.env import Limits

        settings = self.settings
        if spec is not None and key not in self._layers:
            env = self.environments.env(spec.user_id)
            limits = Limits(self.memory, 1, settings.skip_unreadable)
            self._layers[key] = Layer(
                spec, replace(env, limits=limits), max_nodes=settings.max_nodes, max_pixels=settings.tile_max_pixels
            )
        layer = self._layers[key]
        layer.env = replace(layer.env, sink=logs)
        self._layers.move_to_end(key)
        while len(self._layers) > LAYERS:
            self._layers.popitem(last=False)
        return layer


class _Logs:
    """Log sink of an `Env` that keeps the first entries."""

    def __init__(self) -> None:
        self.entries: list[Log] = []

    def __call__(
        self, level: str, message: str, *, code: str | None = None, data: Any = None, path: Sequence[str] = ()
    ) -> None:
        if len(self.entries) < ENTRIES:
            self.entries.append(Log(level, message, code, data, tuple(map(str, path))))


def main(descriptor: int) -> None:
    """Serve requests that come over the socket ``descriptor``."""
    serverlog.configure()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the socket
    channel = Channel(Connection(descriptor))
    painters = Painters(Settings())
    while True:
        channel.send(painters.answer(channel.inbox.get()))


if __name__ == "__main__":
    main(int(sys.argv[1]))
