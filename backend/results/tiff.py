"""The bytes of a cloud-optimised GeoTIFF: IFDs first, then overviews from small to large, then the image.

A `Spool` keeps compressed tiles in the order they were made; `assemble` writes the header and copies the tiles to
their places without decoding them. Layout after the TIFF 6.0 and BigTIFF specifications, OGC 21-026 (COG) and GDAL's
COG driver: a structural-metadata block behind the header, every tile between its size and its last four bytes (so a
reader gets many tiles with one range request). Compression and predictors are imagecodecs' (libdeflate, zstd) and ISA-L's (deflate 1).
"""

from __future__ import annotations

import os
import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from xml.sax.saxutils import escape

import numpy as np
from odc.geo.geobox import GeoBox

from backend.results import deflate

ASCII, SHORT, LONG, DOUBLE, LONG8 = 2, 3, 4, 12, 16
_STRUCT = {ASCII: "s", SHORT: "H", LONG: "I", DOUBLE: "d", LONG8: "Q"}
COMPRESSIONS = {"none": 1, "lzw": 5, "deflate": 8, "zstd": 50000}
_STRUCTURE = (
    "LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    "BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)
# Classic TIFF has 32-bit offsets.
CLASSIC_LIMIT = 4_000_000_000


def encoder(dtype: np.dtype, tile: int, compression: str, level: int | None, predictor: bool) -> Callable[..., bytes]:
    """Function that turns a tile's pixels (h, w up to ``tile``) into compressed bytes; edge tiles are padded.

    ``level`` None takes what pays: deflate and zstd 1 for numbers of more than 8 bits, whose low bits are noise that
    no effort packs (on reflectances deflate 6 costs 1.5 times the CPU of deflate 1 and saves nothing), deflate 6 and
    zstd 9 for 8-bit classes and masks.
    """
    import imagecodecs

    if level is None:
        level = (
            {"deflate": 1, "zstd": 1}.get(compression)
            if dtype.itemsize > 1
            else {"deflate": 6, "zstd": 9}.get(compression)
        )
    pack: Callable[[Any], bytes] = {
        "none": lambda data: data.tobytes(),
        "lzw": imagecodecs.lzw_encode,
        "deflate": deflate.encoder(level),
        "zstd": lambda data: imagecodecs.zstd_encode(data, level=level),
    }[compression]
    number = predictor_of(dtype, compression, predictor)
    little = dtype.newbyteorder("<")

    def encode(pixels: np.ndarray) -> bytes:
        if pixels.shape != (tile, tile):
            missing = ((0, tile - pixels.shape[0]), (0, tile - pixels.shape[1]))
            pixels = np.pad(pixels, missing, mode="edge")  # repeats compress to nothing
        pixels = np.ascontiguousarray(pixels, little)
        if number == 3:
            pixels = imagecodecs.floatpred_encode(pixels, axis=-1)
        elif number == 2:
            pixels = imagecodecs.delta_encode(pixels, axis=-1)
        return pack(pixels)

    return encode


def predictor_of(dtype: np.dtype, compression: str, wanted: bool) -> int:
    """TIFF predictor: 3 for floats, 2 for integers, 1 (none) where it would not help."""
    if not wanted or compression == "none":
        return 1
    return 3 if dtype.kind == "f" else 2


class Spool:
    """Compressed tiles in a temporary file, in the order they come. Not locked: one thread at a time."""

    def __init__(self, path: Path):
        self.path = path
        self._file: BinaryIO = path.open("w+b")
        self._end = 0
        self._where: dict[tuple[int, int, int, int, int], tuple[int, int]] = {}

    def add(self, key: tuple[int, int, int, int, int], data: bytes) -> None:
        """Keep a tile. ``key`` is (image, level, band, tile row, tile column)."""
        self._file.write(data)
        self._where[key] = (self._end, len(data))
        self._end += len(data)

    def size(self, key: tuple[int, int, int, int, int]) -> int:
        return self._where[key][1]

    def read(self, key: tuple[int, int, int, int, int]) -> bytes:
        offset, size = self._where[key]
        return os.pread(self._file.fileno(), size, offset)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Image:
    """What the header says of an image and its overviews."""

    geobox: GeoBox
    bands: int
    dtype: np.dtype
    tile: int
    levels: Sequence[tuple[int, int]]  # (height, width) of the image and of each overview
    compression: str
    predictor: int
    nodata: float | None
    descriptions: Sequence[str]
    statistics: Sequence[Mapping[str, float] | None]
    time: str | None = None  # "YYYY:MM:DD HH:MM:SS", UTC


def assemble(path: Path, spool: Spool, number: int, image: Image) -> None:
    """Write image ``number`` of the spool, whole, as a COG."""
    spool.flush()
    keys = [_keys(number, level, image, shape) for level, shape in enumerate(image.levels)]
    total = sum(spool.size(k) + 8 for level in keys for k in level)
    big = total + (1 << 20) + sum(len(level) for level in keys) * 16 > CLASSIC_LIMIT
    tags = [_tags(image, level, shape) for level, shape in enumerate(image.levels)]
    start = _header_size(tags, keys, big)
    # data lies from the smallest overview to the image itself
    offsets: list[list[int]] = [[] for _ in keys]
    at = start
    for level in reversed(range(len(keys))):
        for key in keys[level]:
            offsets[level].append(at + 4)
            at += spool.size(key) + 8
    counts = [[spool.size(k) for k in level] for level in keys]
    with path.open("wb", buffering=1 << 20) as file:
        file.write(_header(tags, offsets, counts, big))
        for tiles in reversed(keys):
            for key in tiles:
                data = spool.read(key)
                file.write(struct.pack("<I", len(data)) + data + data[-4:].rjust(4, b"\0"))


def _keys(number: int, level: int, image: Image, shape: tuple[int, int]) -> list[tuple[int, int, int, int, int]]:
    down, across = -(-shape[0] // image.tile), -(-shape[1] // image.tile)
    return [(number, level, b, y, x) for b in range(image.bands) for y in range(down) for x in range(across)]


def _tags(image: Image, level: int, shape: tuple[int, int]) -> dict[int, tuple[int, Sequence[Any] | bytes]]:
    n = image.bands
    kind = {"u": 1, "i": 2, "f": 3}[image.dtype.kind]
    tags: dict[int, tuple[int, Sequence[Any] | bytes]] = {
        254: (LONG, [0 if level == 0 else 1]),
        256: (LONG, [shape[1]]),
        257: (LONG, [shape[0]]),
        258: (SHORT, [image.dtype.itemsize * 8] * n),
        259: (SHORT, [COMPRESSIONS[image.compression]]),
        262: (SHORT, [1]),
        277: (SHORT, [n]),
        284: (SHORT, [2 if n > 1 else 1]),
        322: (SHORT, [image.tile]),
        323: (SHORT, [image.tile]),
        339: (SHORT, [kind] * n),
    }
    if image.predictor != 1:
        tags[317] = (SHORT, [image.predictor])
    if n > 1:
        tags[338] = (SHORT, [0] * (n - 1))
    if image.nodata is not None:
        tags[42113] = (ASCII, _number(image.nodata, image.dtype).encode() + b"\0")
    if level == 0:
        tags[305] = (ASCII, b"Tuile\0")
        if image.time:
            tags[306] = (ASCII, image.time.encode() + b"\0")
        tags[42112] = (ASCII, _gdal_metadata(image) + b"\0")
        tags.update(_geo_tags(image.geobox))
    return tags


def _number(value: float, dtype: np.dtype) -> str:
    if value != value:
        return "nan"
    return str(int(value)) if dtype.kind in "iu" else repr(float(value))


def _gdal_metadata(image: Image) -> bytes:
    root = ET.Element("GDALMetadata")

    def item(name: str, text: str, band: int, **attributes: str) -> None:
        ET.SubElement(root, "Item", {"name": name, "sample": str(band), **attributes}).text = text

    for band, (name, statistics) in enumerate(zip(image.descriptions, image.statistics)):
        if name:  # GDAL unescapes descriptions once more than XML does
            item("DESCRIPTION", escape(name), band, role="description")
        if statistics:
            for key, field in (("MINIMUM", "minimum"), ("MAXIMUM", "maximum"), ("MEAN", "mean"), ("STDDEV", "stddev")):
                item(f"STATISTICS_{key}", repr(float(statistics[field])), band)
            item("STATISTICS_VALID_PERCENT", f"{statistics['valid_percent']:.4g}", band)
    return ET.tostring(root, encoding="utf-8")


def _geo_tags(geobox: GeoBox) -> dict[int, tuple[int, Sequence[Any] | bytes]]:
    """GeoTIFF tags, taken from a one-pixel file GDAL writes: CRS encoding is its business."""
    import rasterio
    import tifffile
    from rasterio.io import MemoryFile

    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), MemoryFile() as memory:
        profile = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"}
        crs = geobox.crs.to_wkt() if geobox.crs is not None else None
        with memory.open(**profile, crs=crs, transform=geobox.affine):
            pass
        memory.seek(0)
        with tifffile.TiffFile(BytesIO(memory.read())) as file:
            tags = file.pages.first.tags
            found: dict[int, tuple[int, Sequence[Any] | bytes]] = {}
            for code in (33550, 33922, 34264, 34735, 34736, 34737):
                if code in tags:
                    value = tags[code].value
                    if isinstance(value, str):
                        found[code] = (ASCII, value.encode() + b"\0")
                    else:
                        found[code] = (int(tags[code].dtype), value if isinstance(value, Sequence) else [value])
            return found


def _pack(kind: int, values: Sequence[Any] | bytes) -> bytes:
    if isinstance(values, bytes):
        return values
    return struct.pack(f"<{len(values)}{_STRUCT[kind]}", *values)


def _with_tiles(
    tags: Mapping[int, tuple[int, Sequence[Any] | bytes]], offsets: Sequence[int], counts: Sequence[int], big: bool
) -> list[tuple[int, int, Sequence[Any] | bytes]]:
    whole = dict(tags) | {324: (LONG8 if big else LONG, offsets), 325: (LONG, counts)}
    return [(code, *whole[code]) for code in sorted(whole)]


def _structure() -> bytes:
    return f"GDAL_STRUCTURAL_METADATA_SIZE={len(_STRUCTURE):06d} bytes\n{_STRUCTURE}".encode()


def _header(
    tags: Sequence[Mapping[int, tuple[int, Sequence[Any] | bytes]]],
    offsets: Sequence[Sequence[int]],
    counts: Sequence[Sequence[int]],
    big: bool,
) -> bytes:
    """Everything before the first tile. Its length does not depend on the values of ``offsets`` and ``counts``."""
    inline, entry_format, count_format = (8, "<HHQ", "<Q") if big else (4, "<HHI", "<H")
    pointer = "<Q" if big else "<I"
    structure = _structure()
    start = _even((16 if big else 8) + len(structure))
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, start) if big else struct.pack("<2sHI", b"II", 42, start)
    out = bytearray((head + structure).ljust(start, b"\0"))
    for n, ifd in enumerate(tags):
        entries = _with_tiles(ifd, offsets[n], counts[n], big)
        table = struct.calcsize(count_format) + len(entries) * (12 + inline if big else 12) + struct.calcsize(pointer)
        at = _even(len(out) + table)
        body, extra = bytearray(struct.pack(count_format, len(entries))), bytearray()
        for code, kind, values in entries:
            data = _pack(kind, values)
            body += struct.pack(entry_format, code, kind, len(values))
            if len(data) <= inline:
                body += data.ljust(inline, b"\0")
            else:
                body += struct.pack(pointer, at + len(extra))
                extra += data.ljust(_even(len(data)), b"\0")
        end = at + len(extra)
        body += struct.pack(pointer, end if n + 1 < len(tags) else 0)
        out += bytes(body).ljust(at - len(out), b"\0") + extra
    return bytes(out)


def _header_size(
    tags: Sequence[Mapping[int, tuple[int, Sequence[Any] | bytes]]], keys: Sequence[Sequence[Any]], big: bool
) -> int:
    zeros = [[0] * len(level) for level in keys]
    return len(_header(tags, zeros, zeros, big))


def _even(n: int) -> int:
    return n + n % 2
