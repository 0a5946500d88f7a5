"""Deflate in zlib's container, as TIFF and HDF5 have it: the fastest encoder for each effort."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def encoder(level: int | None) -> Callable[[Any], bytes]:
    """Function that deflates a contiguous buffer, in any thread. ``level`` 0 to 12; None is the encoder's own default.

    Level 1 is Intel's ISA-L: on predicted reflectances 3.7 times as fast as libdeflate's level 1, 8 times as zlib's, and the
    size is the same within half a per cent. Above that it is libdeflate.
    """
    if level == 1:
        from isal import isal_zlib

        return lambda data: isal_zlib.compress(data, 1)
    import imagecodecs

    return lambda data: bytes(imagecodecs.deflate_encode(data, level=level))
