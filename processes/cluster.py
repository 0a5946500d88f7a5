"""Blocks computed by the workers of a dask.distributed cluster, written by the process that asked for them.

The graph is the one that threads would run: one task per block. Tasks are plain data and functions, so they travel;
files in the archive are opened by the workers, which must see them under the same paths. Finished blocks come back to
the process that writes the result, in the order they are ready.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

import dask
import numpy as np
from dask.array.core import slices_from_chunks

from processes.errors import ProcessError

CONNECT = 10.0  # seconds


def store(
    arrays: Sequence[Any], targets: Sequence[Any], address: str, *, threads: int, failed: Callable[[], bool]
) -> None:
    """``target[slices] = block`` for every block of every array, computed by the cluster at ``address``.

    ``threads`` blocks are handed to targets at once, and no more than twice as many wait for it in this process; the
    others stay with the workers. An exception of a block or of a target is raised once the others are cancelled.
    ``failed()`` tells that a target wants no more. Raises ``ProcessError('InfrastructureBusy')`` where no cluster answers.
    """
    try:
        from distributed import as_completed
    except ImportError:
        raise ProcessError(
            "Internal",
            "TUILE_DASK_SCHEDULER names a dask.distributed scheduler, but the package is missing: pip install distributed.",
        ) from None
    with _client(address) as client, ThreadPoolExecutor(threads) as pool:
        blocks, places = [], []
        for array, target in zip(dask.optimize(*arrays), targets):
            blocks += list(array.to_delayed(optimize_graph=False).ravel())
            places += [(target, where) for where in slices_from_chunks(array.chunks)]
        futures = client.compute(blocks, optimize_graph=False)
        # equal blocks (a constant) are one future with several places
        wanted: dict[str, list[Any]] = {}
        for future, place in zip(futures, places):
            wanted.setdefault(future.key, []).append(place)
        completed = as_completed(list({f.key: f for f in futures}.values()), loop=client.loop)
        del futures, blocks
        waiting = BoundedSemaphore(2 * threads)
        handed: list[Any] = []

        def put(block: np.ndarray, at: Sequence[Any]) -> None:
            try:
                for target, where in at:
                    target[where] = block
            finally:
                waiting.release()

        for future in completed:
            block = future.result()
            waiting.acquire()
            if failed():
                break
            handed.append(pool.submit(put, block, wanted.pop(future.key)))
            future.release()  # the worker may forget it
            del block
        for done in handed:
            done.result()
        _collect_unreadable(client)


def _client(address: str) -> Any:
    from distributed import Client

    try:
        return Client(address, set_as_default=False, timeout=CONNECT)
    except (OSError, TimeoutError, ValueError) as error:
        raise ProcessError(
            "InfrastructureBusy",
            f"The dask scheduler at {address} (TUILE_DASK_SCHEDULER) does not answer: {error}. Start it, or correct the address.",
        ) from error


def _collect_unreadable(client: Any) -> None:
    """What workers left out because it could not be read, told as if it had been read here."""
    from processes.load.read import note_unreadable, take_unreadable

    for found in client.run(take_unreadable).values():
        note_unreadable(found)
