"""Tiles as PNG and JPEG files, in memory."""

from __future__ import annotations

import io

import numpy as np

from backend.results.png import PngWriter
from backend.services.messages import Encoding

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg"}


def encode(pixels: np.ndarray, encoding: Encoding) -> bytes:
    """A file of ``pixels`` (rows, columns, channels) uint8."""
    return png(pixels) if encoding.format == "png" else jpeg(pixels, encoding.quality)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of ``pixels`` (rows, columns, 1 to 4 channels) uint8."""
    out = io.BytesIO()
    rows, cols, channels = pixels.shape
    writer = PngWriter(out, cols, rows, channels)
    writer.write(pixels)
    writer.finish()
    return out.getvalue()


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """A JPEG file of ``pixels`` (rows, columns, 1 or 3 channels) uint8."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, "JPEG", quality=quality)
    return out.getvalue()


def blank(size: int, encoding: Encoding) -> bytes:
    """A tile without data: transparent, or black where the format knows no transparency."""
    channels = 2 if encoding.format == "png" else 1
    return encode(np.zeros((size, size, channels), np.uint8), encoding)
