"""PNG files, written row by row."""

from __future__ import annotations

import struct
import zlib
from typing import Any, BinaryIO

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> colour type: grey, grey with alpha, RGB, RGBA
_LEFT = 1  # filter "sub": each byte less the one of the pixel to its left
_LEVEL = 2  # of ISA-L's 0 to 3: on a true-colour picture as small as zlib's 1


class PngWriter:
    """A PNG file (ISO/IEC 15948) of 8-bit pixels in the making, for pictures and map tiles.

    Written here because packing is most of what a picture costs: on a noisy picture ISA-L is some ten times as fast as
    the zlib behind GDAL and Pillow.

    Parameters
    ----------
    file : open for writing; left open
    width, height : pixels
    channels : 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA
    """

    def __init__(self, file: BinaryIO, width: int, height: int, channels: int):
        from isal import isal_zlib

        self.width, self.height, self.channels = width, height, channels
        self._packer: Any = isal_zlib.compressobj(_LEVEL)
        self._rows = 0
        self._file = file
        self._file.write(_SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _COLOUR[channels], 0, 0, 0))

    def write(self, pixels: np.ndarray) -> None:
        """The next rows, uint8 (rows, columns, channels)."""
        rows, cols, channels = pixels.shape
        if (cols, channels) != (self.width, self.channels) or self._rows + rows > self.height:
            raise ValueError(f"{pixels.shape} does not fit a picture of {self.width} x {self.height}")
        flat = np.ascontiguousarray(pixels).reshape(rows, cols * channels)
        lines = np.empty((rows, 1 + cols * channels), np.uint8)
        lines[:, 0] = _LEFT
        lines[:, 1 : 1 + channels] = flat[:, :channels]
        np.subtract(flat[:, channels:], flat[:, :-channels], out=lines[:, 1 + channels :])
        self._rows += rows
        self._data(self._packer.compress(lines))

    def finish(self) -> None:
        """Complete the file. Raises ``ValueError`` where rows are missing."""
        if self._rows != self.height:
            raise ValueError(f"{self._rows} of {self.height} rows were written")
        self._data(self._packer.flush())
        self._chunk(b"IEND", b"")

    def _data(self, packed: bytes) -> None:
        if packed:
            self._chunk(b"IDAT", packed)

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
