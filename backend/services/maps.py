"""The tiles of web services as the API serves them: from disk, else drawn by the pool, with the log told of failures."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from threading import Lock
from typing import Any

from backend.context import Catalogue
from backend.errors import OpenEOError
from backend.jobs.messages import Log
from backend.jobs.tasks import write_log
from backend.services.cache import TileCache
from backend.services.encode import blank
from backend.services.mercator import Tile
from backend.services.messages import About, AboutRequest, BlockRequest, Drawn, Encoding, Found, Spec
from backend.services.pool import TilePool, busy
from backend.services.types import complete, picture_options
from backend.settings import Settings
from backend.store import services, udps
from backend.store.db import Database
from backend.store.services import Head

WAITING = 24  # requests that may wait for a tile at once; each holds a thread of the API
EACH = 16  # of them for the services of one user: slow maps of one must not keep away those of all others
VERSION = 1  # of what tiles look like: part of the keys of kept tiles
_KNOWN = 512  # services remembered
_FRESH = 2.0  # seconds the catalogue's state is believed
_SULK = 5.0  # seconds a service that failed as a whole is not tried again
_SILENCE = 60.0  # seconds the same entry is not written to a log again
_EDGE = 1e-3  # metres

_blank = lru_cache(maxsize=16)(blank)


@dataclass
class _Layer:
    """What is remembered of one state of a service."""

    key: str
    spec: Spec
    lock: Lock = field(default_factory=Lock)
    about: About | None = None
    failed: tuple[float, OpenEOError] | None = None


class Maps:
    """`backend.context.Maps`.

    Parameters
    ----------
    settings, database, catalogue : the service's own
    """

    def __init__(self, settings: Settings, database: Database, catalogue: Catalogue, pool: TilePool | None = None):
        self._database, self._catalogue = database, catalogue
        self._pool = pool or TilePool(settings)
        self._cache = TileCache(settings.data_dir.absolute() / "tiles", settings.tile_cache)
        self._waiting: Counter[str] = Counter()  # by user
        self._layers: OrderedDict[tuple[str, int], tuple[str, bool, _Layer]] = OrderedDict()
        self._flights: dict[Any, Future[dict[Tile, bytes | None]]] = {}
        self._said: OrderedDict[Any, float] = OrderedDict()
        self._state = (0.0, "")
        self._lock = Lock()

    def warm(self) -> None:
        """Start the processes that draw."""
        self._pool.warm()

    def close(self) -> None:
        """End them."""
        self._pool.close()

    def forget(self, user_id: str, service_id: str) -> None:
        """Delete what is kept of a service's tiles."""
        self._cache.forget(user_id, service_id)

    def about(self, service: Head) -> About:
        """What is known of the picture before any tile is drawn. Raises `OpenEOError`; the log tells too."""
        layer = self._layer(service)
        return layer.about or self._wait(service, lambda: self._about(service, layer))

    def tile(self, service: Head, tile: Tile, encoding: Encoding, time: str | None = None) -> bytes:
        """The file of a tile, from the cache or drawn now. Raises `OpenEOError`; the log tells too."""
        layer = self._layer(service)
        kept = self._cache.get(service.user_id, service.id, layer.key, _name(tile, encoding, time))
        if kept is not None:
            return kept or _blank(tile.size, encoding)
        drawn = self._wait(service, lambda: self._drawn(service, layer, tile, encoding, time))
        return drawn or _blank(tile.size, encoding)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _wait(self, service: Head, work: Callable[[], Any]) -> Any:
        """``work``, unless too many wait already; its failure goes to the service's log."""
        with self._lock:
            if self._waiting[service.user_id] >= EACH or self._waiting.total() >= WAITING:
                raise busy()
            self._waiting[service.user_id] += 1
        try:
            return work()
        except OpenEOError as error:
            told = copy.copy(error)  # several may wait for the same tile, and each raises its own
            if error.code != "InfrastructureBusy":
                self._log(service, [Log("error", error.message, error.code, error.data, error.path)])
            raise told from None
        finally:
            with self._lock:
                self._waiting[service.user_id] -= 1
                if not self._waiting[service.user_id]:
                    del self._waiting[service.user_id]

    def _layer(self, service: Head) -> _Layer:
        """The present state of a service: its own, its owner's stored processes where it uses any, the catalogue's."""
        id = (service.id, service.revision)
        with self._lock:
            known = self._layers.get(id)
        if known is not None:
            state = self._state_of(service, known[1])
            if known[0] == state:
                return known[2]
        with self._database.session(read_only=True) as session:
            row = services.get(session, service.id)
            namespace = udps.namespace(session, service.user_id)
        if row is None:
            raise OpenEOError("ServiceNotFound", f"The service '{service.id}' does not exist.")
        stored = not namespace.keys().isdisjoint(_process_ids(row.process))
        state = self._state_of(service, stored)
        key = hashlib.blake2b(f"{VERSION} {service.id} {service.revision} {state}".encode(), digest_size=12).hexdigest()
        settings = complete(service.type, service.configuration)
        layer = _Layer(key, Spec(key, row.process, namespace if stored else {}, service.user_id,
                                 picture_options(settings), settings["resampling"]))  # fmt: skip
        with self._lock:
            layer = self._layers.setdefault(id, (state, stored, layer))[2] if known is None else layer
            self._layers[id] = (state, stored, layer)
            self._layers.move_to_end(id)
            while len(self._layers) > _KNOWN:
                self._layers.popitem(last=False)
        return layer

    def _state_of(self, service: Head, stored: bool) -> str:
        now = time.monotonic()
        if now > self._state[0]:
            self._state = (now + _FRESH, self._catalogue.generation())
        if not stored:
            return self._state[1]
        with self._database.session(read_only=True) as session:
            return f"{self._state[1]} {services.stored_processes(session, service.user_id)}"

    def _about(self, service: Head, layer: _Layer) -> About:
        with layer.lock:
            if layer.about is not None:
                return layer.about
            if layer.failed is not None and time.monotonic() < layer.failed[0] + _SULK:
                raise layer.failed[1]
            kept = self._cache.get(service.user_id, service.id, layer.key, "about.json")
            if kept is not None:
                layer.about = _read(kept)
                return layer.about
            try:
                found = self._pool.ask(AboutRequest(layer.key), layer.spec)
            except OpenEOError as error:
                if error.code != "InfrastructureBusy":
                    layer.failed = (time.monotonic(), error)
                raise
            assert isinstance(found, Found)
            layer.about = found.about
            self._cache.put(
                service.user_id, service.id, layer.key, "about.json", json.dumps(asdict(found.about)).encode()
            )
        self._log(service, found.logs)
        return layer.about

    def _drawn(self, service: Head, layer: _Layer, tile: Tile, encoding: Encoding, time: str | None) -> bytes | None:
        about = layer.about or self._about(service, layer)
        if not _touches(tile, about):
            return None
        block = tile.block()
        flight = (layer.key, block, encoding, time)
        with self._lock:
            future = self._flights.get(flight)
            mine = future is None
            if future is None:
                future = self._flights[flight] = Future()
        if not mine:
            return future.result()[tile]
        try:
            answer = self._pool.ask(BlockRequest(layer.key, about, block, encoding, time), layer.spec)
            assert isinstance(answer, Drawn)
            images = dict(zip(block.tiles, answer.images))
            for each, image in images.items():
                name = _name(each, encoding, time)
                self._cache.put(service.user_id, service.id, layer.key, name, image or b"")
            future.set_result(images)
        except BaseException as error:
            future.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flights[flight]
        self._log(service, answer.logs)
        return images[tile]

    def _log(self, service: Head, entries: Iterable[Log]) -> None:
        """Write entries to the service's log, each kind at most once a minute: a map asks for dozens of tiles at once."""
        now = time.monotonic()
        fresh = []
        with self._lock:
            for e in entries:
                kind = (service.id, e.level, e.code, e.message[:80])
                if now - self._said.get(kind, -_SILENCE) >= _SILENCE:
                    fresh.append(e)
                    self._said[kind] = now
                    self._said.move_to_end(kind)
            while len(self._said) > 10 * _KNOWN:
                self._said.popitem(last=False)
        if fresh:
            with self._database.session() as session:
                write_log(session, service.id, fresh, service.log_level)
                services.trim_log(session, service.id)


def _touches(tile: Tile, about: About) -> bool:
    a, b = tile.bounds, about.bounds
    return a[0] < b[2] - _EDGE and a[2] > b[0] + _EDGE and a[1] < b[3] - _EDGE and a[3] > b[1] + _EDGE


def _name(tile: Tile, encoding: Encoding, time: str | None) -> str:
    """Name of a kept tile."""
    when = f"-{hashlib.blake2b(time.encode(), digest_size=8).hexdigest()}" if time else ""
    quality = encoding.quality if encoding.format == "jpeg" else ""
    return f"{tile.z}-{tile.x}-{tile.y}-{tile.size}{when}.{encoding.format}{quality}"


def _read(text: bytes) -> About:
    value = json.loads(text)
    lists: dict[str, Any] = {k: tuple(value[k]) for k in ("bounds", "low", "high", "times")}
    return About(metres=value["metres"], dated=value["dated"], **lists)


def _process_ids(value: Any) -> set[str]:
    """Every process a graph calls, in callbacks too."""
    found: set[str] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            if isinstance(id := item.get("process_id"), str):
                found.add(id)
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return found
