"""The files of a product, whether it is a folder, or a zip or tar archive."""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from backend.catalogue.reader import Rejected
from processes.load import tars
from processes.load.safexml import BadXml, parse, read_bytes, read_member

MAX_ENTRIES = 200_000
SETTLE = 60  # seconds without change after which an incomplete product counts as complete
BOMB_RATIO, BOMB_FLOOR = 100, 1 << 30  # an archive that unpacks to over a GiB at more than 100:1 is refused
INNER = {"GRANULE", "MASKS", "MASK", "DATA", "IMG_DATA", "QI_DATA"}  # folders of a product, never the one that holds it
CLUTTER = re.compile(r"^__MACOSX/|(^|/)\.DS_Store$")  # what desktops add to archives
PARTIAL = re.compile(r"(\.(part|partial|filepart|crdownload|tmp|download|aria2)$)|(^\..+\.[A-Za-z0-9]{6}$)")


@dataclass(frozen=True)
class Tree:
    """Relative names of a product's files with their sizes.

    ``root`` is the folder, or the archive; ``prefix`` the folder inside the archive that holds the product.
    """

    root: Path
    sizes: dict[str, int] = field(repr=False)
    archive: str = ""  # how GDAL opens members: "vsizip" or "vsitar"; "" for a folder
    prefix: str = ""
    changed: float = 0.0  # when a file of the product last changed (st_ctime: copying cannot set it back)

    @property
    def names(self) -> list[str]:
        return list(self.sizes)

    def href(self, name: str) -> str:
        """Path that GDAL opens."""
        if self.archive:
            return f"/{self.archive}/{self.root}/{self.prefix}{name}"
        return str(self.root / name)

    def find(self, pattern: str, flags: int = re.IGNORECASE) -> list[str]:
        """Names that match ``pattern`` from start to end, sorted."""
        compiled = re.compile(pattern, flags)
        return sorted(n for n in self.sizes if compiled.fullmatch(n))

    def first(self, pattern: str) -> str | None:
        """The first name that matches, or None."""
        return next(iter(self.find(pattern)), None)

    def read(self, name: str) -> bytes:
        """Content of a metadata file. Raises `Rejected` when it is unreadable or too large."""
        try:
            if self.archive == "vsizip":
                with zipfile.ZipFile(self.root) as z:
                    return read_member(z, self.prefix + name)
            return read_bytes(self.href(name))
        except (BadXml, OSError, zipfile.BadZipFile, KeyError, RuntimeError) as error:
            raise Rejected(self.root, f"{name}: {error}") from None

    def xml(self, name: str) -> Element:
        """Root element of a metadata file. Raises `Rejected`."""
        try:
            return parse(self.read(name))
        except BadXml as error:
            raise Rejected(self.root, f"{name}: {error}") from None

    def check_arrival(
        self, listed: Iterable[str], group: Callable[[str], str | None], core: Callable[[str], bool] = lambda name: True
    ) -> None:
        """Refuse a product that is still being copied, judged by the files its metadata lists.

        A whole group (as ``group`` names it; None is not judged) may be left out by whoever keeps the archive, or all of
        its ``core``. A group that is there in part is a subset somebody chose, or a copy under way: it is taken once nothing has changed for
        `SETTLE` seconds. Raises `Rejected`.
        """
        groups: dict[str, list[str]] = {}
        for name in listed:
            if (key := group(name)) is not None:
                groups.setdefault(key, []).append(name)
        if not groups:
            return
        missing = {k: [n for n in names if n not in self.sizes] for k, names in groups.items()}
        if all(len(missing[k]) == len(groups[k]) for k in groups):
            raise Rejected(
                self.root, f"none of the rasters its metadata lists is there (e.g. {next(iter(groups.values()))[0]})"
            )
        kept = {k for k, names in groups.items() if any(core(n) and n in self.sizes for n in names)}
        partial = [n for k in sorted(kept) for n in missing[k]]
        if partial and not self.archive and time.time() - self.changed < SETTLE:
            raise Rejected(self.root, f"the copy may not have finished: {len(partial)} rasters its metadata lists are missing "
                           f"(e.g. {partial[0]}); it is taken once nothing has changed for {SETTLE} s")  # fmt: skip


def open_tree(path: Path) -> Tree:
    """List a product's files.

    Raises
    ------
    Rejected
        Unreadable, a broken or hostile archive, or a copy that has not finished.
    """
    opened = _open_folder if not path.is_file() else _open_tar if tars.suffix(path) else _open_zip
    try:
        tree = opened(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError, tars.BadTar) as error:
        raise Rejected(path, f"cannot be listed: {error}") from None
    if partial := [n for n in tree.sizes if PARTIAL.search(PurePosixPath(n).name)]:
        raise Rejected(path, f"the copy has not finished: {partial[0]}")
    return tree


def _open_folder(path: Path) -> Tree:
    stats = {p.relative_to(path).as_posix(): p.stat() for p in path.rglob("*") if p.is_file()}
    changed = max((s.st_ctime for s in stats.values()), default=0.0)
    top = _top(stats)  # unpacking often leaves a product in a folder of its own name
    return Tree(path.absolute() / top, {n[len(top) :]: stats[n].st_size for n in sorted(stats)}, changed=changed)


def _open_zip(path: Path) -> Tree:
    with zipfile.ZipFile(path) as z:
        infos = [i for i in z.infolist() if not i.is_dir() and not CLUTTER.search(i.filename)]
    if len(infos) > MAX_ENTRIES:
        raise Rejected(path, f"the archive has {len(infos)} entries, over the limit of {MAX_ENTRIES}")
    total, packed = sum(i.file_size for i in infos), sum(i.compress_size for i in infos)
    on_disk = path.stat().st_size
    if packed > on_disk or (total > BOMB_FLOOR and total > BOMB_RATIO * on_disk):
        raise Rejected(path, f"the archive of {on_disk} bytes unpacks to {total}: refused as a zip bomb")
    for info in infos:
        if info.filename.startswith(("/", "\\")) or ".." in PurePosixPath(info.filename).parts:
            raise Rejected(path, f"the archive has an unsafe member name: {info.filename}")
    prefix = _top(i.filename for i in infos)
    return Tree(path.absolute(), {i.filename[len(prefix) :]: i.file_size for i in infos}, "vsizip", prefix)


def _open_tar(path: Path) -> Tree:
    sizes = tars.members(path)
    prefix = _top(sizes)
    return Tree(path.absolute(), {n[len(prefix) :]: size for n, size in sizes.items()}, "vsitar", prefix)


def _top(names: Iterable[str]) -> str:
    """The one folder that holds everything in an archive, with its slash; "" where there is none."""
    listed = list(names)
    tops = {n.split("/", 1)[0] for n in listed if "/" in n}
    loose = any("/" not in n for n in listed)
    return f"{next(iter(tops))}/" if len(tops) == 1 and not loose and not tops & INNER else ""
