"""Collections of users: results they have exported, found and loaded like the archive's collections.

``collections_dir/<user>/<collection>/`` holds ``collection.json`` (what its maker says of it), ``items/*.json`` in the
form of ``processes/load/README.md`` and ``files/<item>/``. Nobody but this module writes there: items lead to files of
the server. The folder is the truth; what searches is an index of each process's own, made again when a folder changes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from backend.errors import OpenEOError
from backend.store.types import finite

if TYPE_CHECKING:
    import pystac

FORMATS = ("GTiff", "COG", "netCDF")
DESCRIBED = "collection.json"
TOLD = ("title", "description", "license", "keywords", "providers")  # what a maker says that the index does not know
MOST_USERS = 64  # whose indexes are kept


class UserCollections:
    """The collections of one user on disk."""

    def __init__(self, root: Path, user_id: str):
        self.root = root / user_id

    def ids(self) -> list[str]:
        """Ids, sorted."""
        if not self.root.is_dir():
            return []
        # folders that are being deleted begin with a dot, which ids never do here
        found = (p for p in self.root.iterdir() if not p.name.startswith("."))
        return sorted(unquote(p.name) for p in found if (p / DESCRIBED).is_file())

    def folder(self, id: str) -> Path:
        return self.root / quote(id, safe="").replace(".", "%2E")

    def add(
        self, id: str, document: Mapping[str, Any], items: Sequence[Mapping[str, Any]], *, most: int | None = None
    ) -> None:
        """Copy items with their files into a collection, made where there is none. Items of the same id are replaced.

        Raises ``FormatUnsuitable`` where no file is a georeferenced raster, ``StorageQuotaExceeded``.
        """
        size = sum(_size(Path(a["href"])) for item in items for a in item["assets"].values())
        if most is not None and size > most:
            raise OpenEOError(
                "StorageQuotaExceeded", f"The files take {size} bytes; you have {max(most, 0)} bytes of storage left."
            )
        folder = self.folder(id)
        (folder / "items").mkdir(parents=True, exist_ok=True)
        moved = [self._files(folder, item) for item in items]
        for item in self._converted(id, moved):
            _write(
                folder / "items" / f"{quote(item.id, safe='')}.json",
                item.to_dict(include_self_link=False, transform_hrefs=False),
            )
        if not (folder / DESCRIBED).is_file():
            _write(folder / DESCRIBED, {"id": id, **{k: document[k] for k in TOLD if document.get(k)}})

    def remove(self, id: str) -> bool:
        """Delete a collection and its files; False where there is none."""
        folder = self.folder(id)
        if not (folder / DESCRIBED).is_file():
            return False
        gone = self.root / f".{uuid.uuid4().hex}"  # away at once, then file by file
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def size(self) -> int:
        """Bytes of all files."""
        return _size(self.root) if self.root.is_dir() else 0

    def told(self, id: str) -> dict[str, Any]:
        return json.loads((self.folder(id) / DESCRIBED).read_text(encoding="utf-8"))

    def items(self, id: str) -> list[pystac.Item]:
        import pystac

        files = sorted((self.folder(id) / "items").glob("*.json"))
        found = [pystac.Item.from_dict(json.loads(f.read_text(encoding="utf-8")), migrate=False) for f in files]
        for item in found:
            item.collection_id = id
        return found

    def mark(self) -> tuple[Any, ...]:
        """Changes with every change on disk."""
        out = []
        for id in self.ids():
            folder = self.folder(id)
            out.append((id, (folder / DESCRIBED).stat().st_mtime_ns, (folder / "items").stat().st_mtime_ns))
        return tuple(out)

    @staticmethod
    def _files(folder: Path, item: Mapping[str, Any]) -> dict[str, Any]:
        """The item with its files copied; each file appears whole or not at all."""
        place = folder / "files" / quote(str(item["id"]), safe="")
        place.mkdir(parents=True, exist_ok=True)
        assets = {}
        for name, asset in item["assets"].items():
            scratch = place / f".{uuid.uuid4().hex}"
            shutil.copyfile(asset["href"], scratch)
            scratch.replace(place / name)
            assets[name] = {**asset, "href": str((place / name).absolute())}
        return {**item, "assets": assets}

    @staticmethod
    def _converted(id: str, items: Sequence[Mapping[str, Any]]) -> list[pystac.Item]:
        from processes.env import Env
        from processes.load.fetch import Fetcher
        from processes.load.stac_items import Converter

        with Fetcher() as fetcher:
            converter = Converter(fetcher, Env(), {}, _local=True)
            found = converter.convert(items)
        if not found:
            why = converter.explain() or "none of the files has a place on Earth"
            raise OpenEOError("FormatUnsuitable", f"Nothing can be added to collection '{id}': {why}")
        for item in found:
            item.collection_id = id
            item.properties.setdefault("tuile:family", "export")
        return found


class UserCatalogue:
    """`processes.env.Catalogue` of one user: the archive's collections and the user's own, which come first.

    Parameters
    ----------
    shared : the archive's catalogue
    own : index of the user's collections, None where there are none
    told : what the user says of them, by id
    """

    def __init__(self, shared: Any, own: Any, told: Mapping[str, Mapping[str, Any]]):
        self._shared, self._own, self._told = shared, own, told

    def _of(self, collection_id: str) -> Any:
        return self._own if collection_id in self._told else self._shared

    def collections(self) -> list[dict[str, Any]]:
        own = [self.collection(id) for id in self._told]
        return [*own, *(c for c in self._shared.collections() if c["id"] not in self._told)]

    def collection(self, collection_id: str) -> dict[str, Any]:
        return {**self._of(collection_id).collection(collection_id), **self._told.get(collection_id, {})}

    def search(self, collection_id: str, **options: Any) -> list[pystac.Item]:
        return self._of(collection_id).search(collection_id, **options)

    def queryables(self, collection_id: str) -> dict[str, Any]:
        return self._of(collection_id).queryables(collection_id)

    def item(self, collection_id: str, item_id: str) -> pystac.Item | None:
        return self._of(collection_id).item(collection_id, item_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared, name)  # what only the archive's catalogue can: dates, pairs


class UserCatalogues:
    """Catalogues by user, kept while their folders do not change."""

    def __init__(self, shared: Any, root: Path):
        self._shared, self._root = shared, root
        self._kept: OrderedDict[str, tuple[tuple[Any, ...], UserCatalogue]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, user_id: str | None) -> Any:
        """What ``user_id`` (None: nobody) sees: the archive's own catalogue where there is nothing more."""
        if user_id is None:
            return self._shared
        for _ in range(3):
            try:
                return self._present(user_id)
            except FileNotFoundError:  # a collection was deleted meanwhile: look again
                continue
        return self._present(user_id)

    def _present(self, user_id: str) -> Any:
        collections = UserCollections(self._root, user_id)
        mark = collections.mark()
        if not mark:
            return self._shared
        with self._lock:
            kept = self._kept.get(user_id)
            if kept is None or kept[0] != mark:
                kept = self._kept[user_id] = (mark, self._made(collections))
            self._kept.move_to_end(user_id)
            while len(self._kept) > MOST_USERS:
                self._kept.popitem(last=False)
            return kept[1]

    def _made(self, collections: UserCollections) -> UserCatalogue:
        from backend.catalogue.index import Catalogue
        from backend.store.db import Database

        folder = Path(tempfile.mkdtemp(prefix="tuile-index-"))
        index = Catalogue(Database(f"sqlite:///{folder / 'index.sqlite'}"))
        weakref.finalize(index, shutil.rmtree, folder, ignore_errors=True)
        told = {}
        for id in collections.ids():
            index.put(str(collections.folder(id)), "", "export", collections.items(id), None, 0.0)
            told[id] = {k: v for k, v in collections.told(id).items() if k in TOLD}
        index.collections()  # described now: nothing is written to the index once others read it
        return UserCatalogue(self._shared, index, told)


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(e.stat().st_size for e in path.rglob("*") if e.is_file())


def _write(path: Path, document: Mapping[str, Any]) -> None:
    scratch = path.with_name(f".{uuid.uuid4().hex}")
    scratch.write_text(json.dumps(finite(dict(document)), allow_nan=False), encoding="utf-8")
    os.replace(scratch, path)  # noqa: PTH105
