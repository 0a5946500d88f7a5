"""Blocks of files that are looked at by parts, kept unpacked until the other parts are asked for.

A block of a 20 m band spans four blocks of the 10 m bands beside it, one of a JPEG 2000 file up to 36 tasks; neighbouring
map tiles look at the same blocks as well. Each is unpacked once, whichever thread asks first, and kept for the others
as long as memory allows (`allow`). What is wanted in whole blocks is not kept: nobody asks for it twice.
"""

from __future__ import annotations

import math
import mmap
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from processes.load import tiles

DEFAULT, MOST = 128 << 20, 1 << 30  # bytes
SHARE = 16  # of the memory of a process that computes, one part of so many
MOST_BLOCKS = 64  # of a window: of more (strips of one row) the calls would cost more than they save


class Kept:
    """Arrays by key, the least recently used forgotten beyond ``size`` bytes. For many threads."""

    def __init__(self, size: int):
        self.size, self._used = size, 0
        self._held: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, shape: tuple[int, int], dtype: Any, fill: Callable[[np.ndarray], Any]) -> np.ndarray:
        """The array of ``key``, filled by one thread while others that want it wait. Not to be written to."""
        with self._lock:
            if (found := self._find(key)) is not None:
                return found
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if (found := self._find(key)) is not None:
                    return found
            try:
                made = _array(shape, np.dtype(dtype))
                fill(made)
                made.flags.writeable = False
            finally:
                with self._lock:
                    self._making.pop(key, None)
            with self._lock:
                self._held[key] = made
                self._used += made.nbytes
                self._forget_beyond(self.size)
            return made

    def _find(self, key: Hashable) -> np.ndarray | None:
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
        return found

    def _forget_beyond(self, size: int) -> None:
        while self._used > size:
            self._used -= self._held.popitem(last=False)[1].nbytes

    def allow(self, size: int) -> None:
        """Keep at most ``size`` bytes from now on."""
        with self._lock:
            self.size = size
            self._forget_beyond(size)


def _array(shape: tuple[int, int], dtype: np.dtype[Any]) -> np.ndarray:
    """Memory of its own: in the heap of the process it would lie between the large arrays that come and go."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_POPULATE", 0)
    return np.ndarray(shape, dtype, buffer=mmap.mmap(-1, math.prod(shape) * dtype.itemsize, flags=flags))


KEPT = Kept(DEFAULT)


def allow(size: int) -> None:
    """Let this process keep at most ``size`` bytes of unpacked blocks."""
    KEPT.allow(size)


def allow_share(memory: int) -> None:
    """Let this process, which may use ``memory`` bytes for what it computes, keep its share of unpacked blocks."""
    allow(min(memory // SHARE, MOST))


def window_of(source: Any, file: Hashable | None, index: int, window: Window, *, direct: bool = True) -> np.ndarray:
    """Stored numbers of a window of band ``index``, in the cheapest way: blocks that are kept, else unpacked into place by
    `processes.load.tiles` (``direct``: not of an overview), else by GDAL.

    ``file`` is a name of the file's present content, None where there is none (nothing is kept then).
    """
    pixels = read(source, file, index, window, direct=direct) if file is not None else None
    if pixels is None and direct:
        pixels = tiles.read(source, index, window)
    return source.read(index, window=window) if pixels is None else pixels


def read(source: Any, file: Hashable, index: int, window: Window, *, direct: bool) -> np.ndarray | None:
    """Stored numbers of a window of band ``index`` that takes parts of blocks, as ``source.read`` gives them.

    ``file`` is a name of the file's present content; ``direct``: blocks may be unpacked by `processes.load.tiles` (not
    those of an overview). None where the window is made of whole blocks, or of very many.
    """
    if not isinstance(source, rasterio.io.DatasetReader):
        return None
    high, wide = source.block_shapes[index - 1]
    top, left = int(window.row_off), int(window.col_off)
    bottom, right = top + int(window.height), left + int(window.width)
    rows, cols = range(top // high, -(-bottom // high)), range(left // wide, -(-right // wide))
    whole = (
        top == rows.start * high
        and left == cols.start * wide
        and bottom == min(rows.stop * high, source.height)
        and right == min(cols.stop * wide, source.width)
    )
    if whole or len(rows) * len(cols) > MOST_BLOCKS or math.prod(source.block_shapes[index - 1]) > KEPT.size:
        return None
    out = np.empty((bottom - top, right - left), source.dtypes[index - 1])
    for row in rows:
        for col in cols:
            y, x = row * high, col * wide
            place = Window(x, y, min(wide, source.width - x), min(high, source.height - y))
            shape = int(place.height), int(place.width)
            block = KEPT.get((file, index, row, col), shape, out.dtype, partial(_unpack, source, index, place, direct))
            y0, y1, x0, x1 = max(y, top), min(y + high, bottom), max(x, left), min(x + wide, right)
            out[y0 - top : y1 - top, x0 - left : x1 - left] = block[y0 - y : y1 - y, x0 - x : x1 - x]
    return out


def _unpack(source: rasterio.DatasetReader, index: int, place: Window, direct: bool, out: np.ndarray) -> None:
    if not direct or tiles.read(source, index, place, out) is None:
        source.read(index, window=place, out=out)
