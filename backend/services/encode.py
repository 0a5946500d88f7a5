"""Tiles as PNG and JPEG files, in memory."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from backend.services.messages import Encoding

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg"}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> colour type: grey, grey with alpha, RGB, RGBA
_LEFT = 1  # PNG filter "sub": each byte less the one of the pixel to its left


def encode(pixels: np.ndarray, encoding: Encoding) -> bytes:
    """A file of ``pixels`` (rows, columns, channels) uint8."""
    return png(pixels) if encoding.format == "png" else jpeg(pixels, encoding.quality)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file (ISO/IEC 15948) of ``pixels`` (rows, columns, 1 to 4 channels) uint8.

    Written here because compression is most of what a tile costs: ISA-L packs a noisy picture ten times faster than the
    libraries' zlib, to the same size.
    """
    from isal import isal_zlib

    rows, cols, channels = pixels.shape
    flat = np.ascontiguousarray(pixels).reshape(rows, cols * channels)
    lines = np.empty((rows, 1 + cols * channels), np.uint8)
    lines[:, 0] = _LEFT
    lines[:, 1 : 1 + channels] = flat[:, :channels]
    np.subtract(flat[:, channels:], flat[:, :-channels], out=lines[:, 1 + channels :])
    header = struct.pack(">IIBBBBB", cols, rows, 8, _COLOUR[channels], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", isal_zlib.compress(lines, 1)), (b"IEND", b""))
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """A JPEG file of ``pixels`` (rows, columns, 1 or 3 channels) uint8."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, "JPEG", quality=quality)
    return out.getvalue()


def blank(size: int, encoding: Encoding) -> bytes:
    """A tile without data: transparent, or black where the format knows no transparency."""
    channels = 2 if encoding.format == "png" else 1
    return encode(np.zeros((size, size, channels), np.uint8), encoding)
