"""XML of unknown origin, read safely: no entities, no DTD, bounded size and depth.

Product metadata comes from archives that nobody vouches for. Everything that parses XML goes through `parse`, which
fails with one error type, `BadXml`, whatever is wrong with the text.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml import ElementTree as SafeTree

from processes.load import tars

MAX_BYTES = 64 << 20  # the largest real MTD_TL.xml is about 1 MB
MAX_RATIO = 200  # compressed XML seldom exceeds 30:1
RATIO_FLOOR = 4 << 20  # below this size the ratio does not matter
MAX_DEPTH = 64


class BadXml(ValueError):
    """The text is not XML that we are willing to read; the message says why."""


def parse(data: bytes) -> Element:
    """Root element, with namespaces removed from every tag.

    Raises
    ------
    BadXml
        Malformed, truncated, too large, too deep, or with a DTD or entities.
    """
    if len(data) > MAX_BYTES:
        raise BadXml(f"metadata of {len(data)} bytes is over the limit of {MAX_BYTES}")
    try:
        root = SafeTree.fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise BadXml(f"XML with a DTD or entities is refused ({type(error).__name__})") from None
    except (ParseError, ValueError, LookupError) as error:
        raise BadXml(f"XML cannot be parsed: {error}") from None
    _strip(root)
    return root


def _strip(root: Element) -> None:
    level: list[Element] = [root]
    for _ in range(MAX_DEPTH):
        below: list[Element] = []
        for element in level:
            if isinstance(element.tag, str) and element.tag.startswith("{"):
                element.tag = element.tag.rpartition("}")[2]
            below.extend(element)
        if not below:
            return
        level = below
    raise BadXml(f"XML is nested more than {MAX_DEPTH} levels deep")


def text(root: Element, path: str, default: str | None = None) -> str | None:
    """Stripped text of the first element at ``path`` (ElementTree syntax); ``default`` where absent or empty."""
    found = root.find(path)
    value = (found.text or "").strip() if found is not None else ""
    return value or default


def number(root: Element, path: str) -> float | None:
    """Finite number at ``path``, or None."""
    return to_number(text(root, path))


def to_number(value: str | None) -> float | None:
    """A finite float from text, or None."""
    try:
        out = float(value) if value else None
    except ValueError:
        return None
    return out if out is not None and abs(out) != float("inf") and out == out else None


def stamp(href: str) -> int:
    """Modification time (ns) of a local file, or of the archive that a member is in. Raises OSError."""
    return Path(split_archive(href)[0] if href.startswith(("/vsizip/", "/vsitar/")) else href).stat().st_mtime_ns


def siblings(href: str, folder: str) -> list[str]:
    """Hrefs of the files in ``folder`` beside a local file or a member of a zip archive, sorted; none without such a folder.

    Raises OSError for an unreadable archive.
    """
    if not href.startswith("/vsizip/"):
        return sorted(str(p) for p in (Path(href).parent / folder).glob("*"))
    archive, member = split_archive(href)
    start = f"{member.rpartition('/')[0]}/{folder}/".lstrip("/")
    try:
        with zipfile.ZipFile(archive) as z:
            names = [n for n in z.namelist() if n.startswith(start) and "/" not in n[len(start) :] and n != start]
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise OSError(f"{href}: {error}") from None
    return sorted(f"/vsizip/{archive}/{n}" for n in names)


def read_bytes(href: str, limit: int = MAX_BYTES) -> bytes:
    """Content of a local file, or of a member of an archive (``/vsizip/``, ``/vsitar/``).

    Raises
    ------
    BadXml
        Larger than ``limit`` or compressed beyond belief.
    OSError
        Absent or unreadable.
    """
    if href.startswith("/vsizip/"):
        archive, member = split_archive(href)
        try:
            with zipfile.ZipFile(archive) as z:
                return read_member(z, member, limit)
        except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError) as error:
            raise OSError(f"{href}: {error}") from None
    if href.startswith("/vsitar/"):
        archive, member = split_archive(href)
        try:
            return tars.read_member(Path(archive), member, limit)
        except tars.BadTar as error:
            raise BadXml(str(error)) from None
    path = Path(href)
    size = path.stat().st_size
    if size > limit:
        raise BadXml(f"{path.name} of {size} bytes is over the limit of {limit}")
    return path.read_bytes()


def read_member(z: zipfile.ZipFile, member: str, limit: int = MAX_BYTES) -> bytes:
    """One member of an open archive, refused when its size or compression ratio is that of a bomb."""
    info = z.getinfo(member)
    if info.file_size > limit:
        raise BadXml(f"{member} of {info.file_size} bytes is over the limit of {limit}")
    if info.file_size > RATIO_FLOOR and info.file_size > MAX_RATIO * max(info.compress_size, 1):
        raise BadXml(f"{member} is compressed {info.file_size // max(info.compress_size, 1)}:1: refused as a zip bomb")
    with z.open(info) as stream:  # the declared size may lie: never read beyond the limit
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise BadXml(f"{member} is larger than it declares and over the limit of {limit}")
    return data


def split_archive(href: str) -> tuple[str, str]:
    """Archive and member of a ``/vsizip/ARCHIVE.zip/MEMBER`` or ``/vsitar/ARCHIVE.tar/MEMBER`` path. Raises OSError."""
    found = re.match(r"/vsi(?:zip|tar)/+(.+?\.(?:zip|tar|tar\.gz|tgz))/(.*)", href, re.IGNORECASE | re.DOTALL)
    if found is None:
        raise OSError(f"{href} names no member of an archive")
    return "/" + found[1], found[2]
