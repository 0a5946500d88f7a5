"""`ingest`: make the index say what is in the archive. Idempotent, incremental, parallel; no product is lost silently.

The walk asks readers about names only. A product is read again only when the names, sizes or times of its files have
changed. The index is written by the calling thread alone, one transaction per product.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pystac

from backend.catalogue.alone import read_alone
from backend.catalogue.cogs import SUFFIX, NotCopied, convert
from backend.catalogue.reader import Reader, Rejected, reader_for, reader_named, readers
from backend.catalogue.tree import PARTIAL

if TYPE_CHECKING:
    from backend.catalogue.index import Catalogue, Known

POOL_FROM = 200  # products below which starting processes costs more than it saves
RASTERS = re.compile(r"\.(tiff?|jp2|nc|hdf|h5|img|hgt|vrt|zip|tar|tar\.gz|tgz)$", re.IGNORECASE)
IGNORE = ".tuileignore"  # a folder with such a file is passed over: truth layers, scratch space
SKIP = re.compile(r"^(\..*|__pycache__|lost\+found|@eaDir|.*\.tuile-cog)$")
Told = Callable[[int, int, str], None]  # done, total, path


class Unreadable(Rejected):
    """A folder that cannot be listed: what was known under it is kept."""


@dataclass
class Report:
    """What an ingest did, as product paths."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    items: int = 0

    def __str__(self) -> str:
        return (
            f"{len(self.added)} added, {len(self.changed)} changed, {len(self.unchanged)} unchanged, "
            f"{len(self.removed)} removed, {len(self.rejected)} rejected"
        )


@dataclass(frozen=True)
class _Found:
    path: Path
    reader: str
    fingerprint: str
    to_cog: Path | None = None


def ingest(
    catalogue: Catalogue,
    paths: Iterable[Path | str],
    *,
    workers: int | None = None,
    on_progress: Told | None = None,
    force: bool = False,
    isolate: bool = False,
    leave: frozenset[str] = frozenset(),
    to_cog: Path | None = None,
) -> Report:
    """Take in what is new or changed under ``paths``, and forget what is gone from them.

    Parameters
    ----------
    paths : folders to walk, or products
    workers : products read at once; default one per core, at most 8
    on_progress : called after each product
    force : read every product again
    isolate : read in processes instead of threads when there are many products: faster, and a file that crashes GDAL
        costs one product. The caller's main module must be importable (``if __name__ == "__main__"``)
    leave : product paths that are left as they are this time (they are still being copied)
    to_cog : convert dear rasters into COGs (see `backend.catalogue.cogs`); the folder for those that cannot lie beside
        their product

    Returns
    -------
    Report; `Report.rejected` names every product that was not taken, with the reason.
    """
    report = Report()
    todo: list[_Found] = []
    known: dict[str, Known] = {}
    for root in dict.fromkeys(absolute(Path(p)) for p in paths):
        _compare(catalogue, root, todo, known, report, force, leave, to_cog)
    for done, (found, outcome) in enumerate(_read_all(todo, workers, isolate), 1):
        _store(catalogue, found, outcome, known, report)
        if on_progress is not None:
            on_progress(done, len(todo), str(found.path))
    if report.added or report.changed or report.removed:
        catalogue.optimize()
    report.rejected.sort(key=lambda r: str(r.path))
    return report


def absolute(path: Path) -> Path:
    """One path per place: ``..`` is followed, so that ``../data`` and ``/archive/data`` are not two archives. Symbolic
    links stay, they are names that the owner has chosen."""
    return path.resolve() if ".." in path.parts else path.absolute()


def _compare(
    catalogue: Catalogue,
    root: Path,
    todo: list[_Found],
    known: dict[str, Known],
    report: Report,
    force: bool,
    leave: frozenset[str],
    to_cog: Path | None,
) -> None:
    """What of a root has to be read; what is gone from it is removed."""
    if not root.exists():
        # An archive that is not mounted must not empty the catalogue; a single product may be told to be gone.
        if root.parent.is_dir() and str(root) in (before := catalogue.products(str(root))):
            _forget(catalogue, before, list(before), report)
        else:
            report.rejected.append(Rejected(root, "does not exist"))
        return
    before = catalogue.products(str(root))
    known.update(before)
    seen: set[str] = set()
    blind: list[str] = []
    for found in walk(root):
        if isinstance(found, Rejected):
            report.rejected.append(found)
            if isinstance(found, Unreadable):
                blind.append(str(found.path))
            continue
        path, reader = found
        if str(path) in leave:
            seen.add(str(path))
            continue
        try:
            mark = fingerprint(path, reader)
        except OSError as error:
            report.rejected.append(Rejected(path, f"cannot be read: {error.strerror or error}"))
            seen.add(str(path))
            continue
        seen.add(str(path))
        old = before.get(str(path))
        same = old is not None and old.fingerprint == mark and old.reason is None
        if same and not force and (to_cog is None or old is None or old.cogs is not None):
            report.unchanged.append(str(path))
        else:
            todo.append(_Found(path, reader.name, mark, to_cog))
    hidden = tuple(b.rstrip("/") + "/" for b in blind)
    gone = [p for p in before if p not in seen and not (hidden and p.startswith(hidden))]
    _forget(catalogue, before, gone, report)


def _forget(catalogue: Catalogue, before: dict[str, Known], gone: list[str], report: Report) -> None:
    catalogue.remove(gone)
    for path in gone:
        _drop_copies(before[path].cogs)
    report.removed += gone


def _drop_copies(folder: str | None) -> None:
    if folder and folder.endswith(SUFFIX):
        shutil.rmtree(folder, ignore_errors=True)


def walk(root: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[tuple[Path, Reader] | Rejected]:
    """Products under a folder with their readers, and what cannot be taken: unreadable folders, rasters nobody knows.

    ``above`` are the folders the walk came through: a symbolic link back to one of them is not followed.
    """
    reader = reader_for(root)
    if reader is not None:
        yield root, reader
        return
    if root.is_file():
        yield Rejected(root, "no reader knows this file")
        return
    try:
        stat = root.stat()
        if (stat.st_dev, stat.st_ino) in above:
            return
        inside = above | {(stat.st_dev, stat.st_ino)}
        entries = sorted(os.scandir(root), key=lambda e: e.name)
    except OSError as error:
        yield Unreadable(root, f"the folder cannot be read: {error.strerror}")
        return
    if any(e.name == IGNORE for e in entries):
        return
    files: list[Path] = []
    for entry in entries:
        path = Path(entry.path)
        if PARTIAL.search(entry.name):
            yield Rejected(path, "the copy has not finished")
        elif SKIP.match(entry.name):
            continue
        elif entry.is_dir():
            yield from walk(path, inside)
        else:
            files.append(path)
    yield from _claimed(root, files)


def _claimed(root: Path, files: list[Path]) -> Iterator[tuple[Path, Reader] | Rejected]:
    """Products among the files of one folder. The files of a product are nobody else's."""
    owned: set[Path] = set()
    for reader in readers():
        for path in files:
            if path not in owned and reader.sniff(path):
                owned |= {path, *reader.members(path)}
                yield path, reader
    strangers = [p.name for p in files if p not in owned and RASTERS.search(p.name)]
    if strangers:
        named = ", ".join(strangers[:3]) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        yield Rejected(root, f"no reader knows {'this raster' if len(strangers) == 1 else 'these rasters'}: {named}")


def fingerprint(path: Path, reader: Reader) -> str:
    """Digest of names, sizes and modification times of a product's files. Raises OSError."""
    digest = hashlib.sha256(reader.name.encode())
    for member in reader.members(path):
        stat = member.stat()
        digest.update(
            f"\0{member.relative_to(path) if path.is_dir() else member.name}|{stat.st_size}|{stat.st_mtime_ns}".encode()
        )
    return digest.hexdigest()


# items, folder of their COGs, what went wrong with these; or why there are no items
Outcome = tuple[list[dict[str, Any]], str | None, Rejected | None] | Rejected


def _read_one(found: _Found) -> Outcome:
    """Items of one product as dicts, or its rejection. Whatever a reader stumbles over becomes a rejection."""
    path, reader = found.path, reader_named(found.reader)
    try:
        items = read_alone(path, reader.name) if reader.fragile else reader.read(path)
        if fingerprint(path, reader) != found.fingerprint:
            return Rejected(path, "the product changes while it is read: the copy has not finished")
        if not items:
            return Rejected(path, "the product has nothing to offer")
        copies, trouble = None, None
        if found.to_cog is not None:
            try:
                copies = str(convert(path, items, found.to_cog) or "")
            except NotCopied as error:
                trouble = Rejected(path, error.reason)
        return [i.to_dict(include_self_link=False, transform_hrefs=False) for i in items], copies, trouble
    except Rejected as rejected:
        return Rejected(path, rejected.reason)
    except OSError as error:
        return Rejected(path, f"cannot be read: {error.strerror or error}")
    except Exception as error:
        # Metadata of unknown origin can break a reader in ways nobody foresaw: the archive must still be taken in.
        return Rejected(
            path, f"the reader {reader.name} cannot make sense of it ({type(error).__name__}: {str(error)[:200]})"
        )


def _read_all(todo: list[_Found], workers: int | None, isolate: bool) -> Iterator[tuple[_Found, Outcome]]:
    n = workers if workers is not None else min(os.cpu_count() or 1, 8)
    if n <= 1 or len(todo) < 2:
        for found in todo:
            yield found, _read_one(found)
    elif isolate and len(todo) >= POOL_FROM:
        yield from _read_isolated(todo, n)
    else:
        with ThreadPoolExecutor(n) as pool:
            yield from _gather(pool, todo)


def _gather(pool: Executor, todo: Iterable[_Found]) -> Iterator[tuple[_Found, Outcome]]:
    futures = {pool.submit(_read_one, f): f for f in todo}
    for future in as_completed(futures):
        yield futures[future], future.result()


def _read_isolated(todo: list[_Found], n: int) -> Iterator[tuple[_Found, Outcome]]:
    """In worker processes. When a file crashes one, the rest is read one product per process and the culprit named."""
    left = dict.fromkeys(todo)
    try:
        with _pool(n) as pool:
            for found, outcome in _gather(pool, todo):
                del left[found]
                yield found, outcome
    except BrokenProcessPool:
        with _pool(1) as pool:
            pool.submit(os.getpid).result()  # no process can be started at all: that is not a product's fault
        for found in left:
            yield found, _read_alone(found)


def _read_alone(found: _Found) -> Outcome:
    try:
        with _pool(1) as pool:
            return pool.submit(_read_one, found).result()
    except BrokenProcessPool:
        return Rejected(found.path, "reading it crashed the reader: a file of it is damaged")


def _pool(n: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(n, mp_context=multiprocessing.get_context("spawn"))


def _store(catalogue: Catalogue, found: _Found, outcome: Outcome, known: dict[str, Known], report: Report) -> None:
    path, now = str(found.path), time.time()
    old = known.get(path)
    copies = None if isinstance(outcome, Rejected) else outcome[1]
    if old is not None and old.cogs != copies:
        _drop_copies(old.cogs)
    if isinstance(outcome, Rejected):
        report.rejected.append(outcome)
        catalogue.put(path, found.fingerprint, found.reader, [], outcome.reason, now)
        return
    items = [pystac.Item.from_dict(d) for d in outcome[0]]
    catalogue.put(path, found.fingerprint, found.reader, items, None, now, copies)
    report.items += len(items)
    if outcome[2] is not None:
        report.rejected.append(outcome[2])
    (report.changed if old is not None and old.reason is None else report.added).append(path)
