"""A workspace: a folder of the user's file storage that holds STAC and the files it describes.

``<workspace>/<result>/collection.json``, ``.../<item>/<item>.json`` and the item's files beside it, links relative: the
folder can be taken anywhere. It is part of the user's files: listed, downloaded and deleted there, and in the quota.
"""

from __future__ import annotations

import fcntl
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from backend.errors import OpenEOError
from backend.files import FileSpace, normalised

ID = re.compile(r"[\w\-.~]+")
COLLECTION = "collection.json"


def target_of(workspace: str, merge: str | None, result: str) -> PurePosixPath:
    """Path of the STAC collection. Raises ``FilePathInvalid``."""
    if not isinstance(workspace, str) or not ID.fullmatch(workspace) or workspace.strip(".") == "":
        raise OpenEOError("FilePathInvalid", f"'{workspace}' is no id of a workspace: letters, digits and _-.~ only.")
    if merge is None:
        return normalised(f"{workspace}/{result}/{COLLECTION}")
    path = normalised(f"{workspace}/{merge}")
    return path if path.suffix == ".json" else path / COLLECTION


@dataclass(frozen=True)
class Workspace:
    """One export. ``lock``: a file that exports of the user hold while they change what is there."""

    space: FileSpace
    workspace: str
    merge: str | None
    lock: Path

    def put(self, document: Mapping[str, Any], items: Sequence[Mapping[str, Any]], paths: Mapping[str, Path]) -> None:
        """Copy files and documents; the collection comes last, so that it never names what is not there.

        Raises ``StorageQuotaExceeded``, ``FilePathInvalid``, ``StorageFailure``.
        """
        target = target_of(self.workspace, self.merge, str(document["id"]))
        with _held(self.lock):
            before = self._before(target)
            own, moved = _placed(document, items, before)
            for name, at in moved.items():
                self._copy(paths[name], target.parent / at)
            for item in _relative_items(items, moved, before or own, target.name):
                self._json(item, target.parent / item["id"] / f"{item['id']}.json")
            self._json(own if before is None else _merged(before, own), target)

    def _before(self, target: PurePosixPath) -> dict[str, Any] | None:
        """The collection to extend, None where there is none yet."""
        if self.merge is None:
            return None
        try:
            found = json.loads(self.space.path(str(target)).read_text(encoding="utf-8"))
        except OpenEOError as error:
            if error.code != "FileNotFound":
                raise
            return None
        except ValueError:
            found = None
        if not isinstance(found, dict) or found.get("type") != "Collection":
            raise OpenEOError("FilePathInvalid", f"'{target}' is no STAC collection that could be extended.")
        return found

    def _copy(self, source: Path, target: PurePosixPath) -> None:
        """A file, or a folder of files (Zarr)."""
        for file in sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]:
            to = target / file.relative_to(source) if source.is_dir() else target
            with file.open("rb") as stream:
                self.space.put(str(to), stream, file.stat().st_size)

    def _json(self, document: Mapping[str, Any], target: PurePosixPath) -> None:
        held = json.dumps(document, indent=2).encode()
        self.space.put(str(target), io.BytesIO(held), len(held))


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _placed(
    document: Mapping[str, Any], items: Sequence[Mapping[str, Any]], before: Any
) -> tuple[dict[str, Any], dict[str, str]]:
    """The collection with relative links, and file name -> path beside it. Files without an item lie beside the
    collection, or in a folder of the result where the collection is another's."""
    of_item = {name: item["id"] for item in items for name in item["assets"]}
    extra = f"{document['id']}/" if before is not None else ""
    # files of a product stay together, in the folder that is the product
    alone = {name for name in of_item if "/" not in name}
    moved = {name: f"{of_item[name]}/{name}" if name in alone else f"{extra}{name}" for name in document["assets"]}
    links = [
        {"rel": "item", "href": f"./{i['id']}/{i['id']}.json", "type": "application/geo+json", "title": next(iter(i["assets"]))}
        for i in items
    ]  # fmt: skip
    root = {"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"}
    assets = {name: {**asset, "href": f"./{moved[name]}"} for name, asset in document["assets"].items()}
    own = {k: v for k, v in document.items() if k not in ("openeo:status", "expires")}
    return {**own, "links": [root, *links], "assets": assets}, moved


def _relative_items(
    items: Sequence[Mapping[str, Any]], moved: Mapping[str, str], collection: Mapping[str, Any], name: str
) -> Iterator[dict[str, Any]]:
    for item in items:
        assets = {n: {**a, "href": _beside(moved[n], item["id"])} for n, a in item["assets"].items()}
        links = [
            {"rel": rel, "href": f"../{name}", "type": "application/json"} for rel in ("root", "parent", "collection")
        ]
        yield {**item, "collection": collection["id"], "assets": assets, "links": links}


def _beside(path: str, folder: str) -> str:
    """``path`` as seen from ``folder``, both beside the collection."""
    return f"./{path.removeprefix(f'{folder}/')}" if path.startswith(f"{folder}/") else f"../{path}"


def _merged(before: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The collection that was there with the items, files and extents of the new one."""
    had = {link.get("href") for link in before.get("links", [])}
    links = [*before.get("links", []), *(x for x in new["links"] if x["rel"] == "item" and x["href"] not in had)]
    out = {**before, "links": links, "assets": {**before.get("assets", {}), **new["assets"]}}
    out["extent"] = {
        "spatial": {"bbox": [_box([b for e in (before, new) for b in e["extent"]["spatial"]["bbox"]])]},
        "temporal": {"interval": [_span([i for e in (before, new) for i in e["extent"]["temporal"]["interval"]])]},
    }
    if before.get("cube:dimensions") != new.get("cube:dimensions"):
        out.pop("cube:dimensions", None)  # several cubes
    out["stac_extensions"] = list(dict.fromkeys([*before.get("stac_extensions", []), *new.get("stac_extensions", [])]))
    return out


def _box(boxes: Sequence[Sequence[float]]) -> list[float]:
    west, south, east, north = zip(*boxes)
    return [min(west), min(south), max(east), max(north)]


def _span(intervals: Sequence[Sequence[str | None]]) -> list[str | None]:
    starts, ends = zip(*intervals)
    return [None if None in starts else min(starts), None if None in ends else max(ends)]
