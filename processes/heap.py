"""Memory between blocks: kept by the process while blocks of one size follow one another, given back when they end.

glibc takes every large array from the kernel and gives it back when it is freed; the kernel clears each page of it every
time. A block of four bands and twelve dates is 50 MB, and so are its intermediates: that is an eighth of the CPU time of
a monthly mean. Elsewhere than on glibc nothing is done.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # mallopt(3)
KEPT = 64 << 20  # arrays up to this size come from memory that is kept
SPARE = 4 * KEPT  # free memory at the end of the heap above which it goes back at once


@cache
def _libc() -> Any:
    """The C library where it is glibc, with its thresholds set once per process; else None."""
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 (only glibc has it)
    except (AttributeError, OSError, TypeError):
        return None
    libc.mallopt(_MMAP_THRESHOLD, KEPT)
    libc.mallopt(_TRIM_THRESHOLD, SPARE)
    # arenas of threads end at 64 MiB and are unmapped when empty: two blocks of one thread would not fit in one
    libc.mallopt(_ARENA_MAX, 1)
    return libc


def prepare() -> None:
    """Set the thresholds now: best called before a process that computes starts its first thread."""
    _libc()


@contextmanager
def kept() -> Iterator[None]:
    """Freed memory stays with the process inside, and goes back to the system at the end."""
    libc = _libc()
    try:
        yield
    finally:
        if libc is not None:
            libc.malloc_trim(0)
