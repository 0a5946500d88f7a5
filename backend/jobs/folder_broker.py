"""A broker that is a folder: one file per message.

Kombu's own filesystem transport shows a message before it is written and keeps its routing tables in files that
several processes rewrite; a worker that reads at the wrong moment crashes. Here a message appears by rename, is taken by
rename, and routing tables stay in memory (queues are declared by whoever sends or consumes).
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.utils.json import dumps, loads

SCHEME = "tuile-folder"


class Channel(virtual.Channel):
    """Messages of queue ``q`` are files ``<time>-<id>.q.msg`` in the folder of the transport option ``folder``."""

    supports_fanout = False

    @property
    def folder(self) -> Path:
        path = Path(self.connection.client.transport_options["folder"])
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}.{queue}.msg"
        hidden = self.folder / f".{name}"
        hidden.write_text(dumps(message), encoding="utf-8")
        hidden.rename(self.folder / name)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        for path in self._messages(queue):
            taken = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                path.rename(taken)
            except FileNotFoundError:  # another worker was faster
                continue
            text = taken.read_text(encoding="utf-8")
            taken.unlink()
            return loads(text)
        raise Empty

    def _messages(self, queue: str) -> list[Path]:
        return sorted(p for p in self.folder.glob(f"*.{queue}.msg") if not p.name.startswith("."))

    def _size(self, queue: str) -> int:
        return len(self._messages(queue))

    def _purge(self, queue: str) -> int:
        found = self._messages(queue)
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)


class Transport(virtual.Transport):
    """The transport behind ``tuile-folder://``."""

    Channel = Channel
    # one table of exchanges and queues per process
    global_state = virtual.BrokerState()
    driver_type = "filesystem"
    driver_name = "tuile-folder"

    def __init__(self, client: Any, **kwargs: Any):
        super().__init__(client, **kwargs)
        self.state = self.global_state

    def driver_version(self) -> str:
        return "1"


TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"
