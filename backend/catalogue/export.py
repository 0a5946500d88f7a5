"""``tuile catalogue export``: the index as a static STAC that any STAC tool reads.

``catalog.json``, one folder per collection with ``collection.json``, one JSON per item; collections of more than
`FLAT` items get one catalog per year. Asset hrefs stay the absolute paths of the archive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pystac

if TYPE_CHECKING:
    from backend.catalogue.index import Catalogue

FLAT, PAGE = 1000, 500
STAC_VERSION = "1.1.0"
Told = Callable[[int, str], None]  # items written, collection


@dataclass
class Exported:
    """What was written."""

    root: Path
    collections: int = 0
    items: int = 0
    problems: list[str] = field(default_factory=list)


def export(catalogue: Catalogue, folder: Path, *, check: int = 100, on_progress: Told | None = None) -> Exported:
    """Write every collection and item under ``folder`` (made where absent; files of the same names are replaced).

    Parameters
    ----------
    check : items per collection, and every collection and catalog, that are checked against the core JSON schemas of
        STAC 1.1 that pystac carries (about 50 ms each); what is wrong is listed in `Exported.problems`. The schemas of
        extensions live on the network and are not consulted. 0: nothing is checked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = Exported(folder)
    documents = catalogue.collections()
    children = [
        {"rel": "child", "href": f"./{d['id']}/collection.json", "type": "application/json", "title": d["title"]}
        for d in documents
    ]
    root = {
        "type": "Catalog", "stac_version": STAC_VERSION, "id": "tuile", "title": "Tuile archive",
        "description": "Products of a Tuile archive.",
        "links": [{"rel": "root", "href": "./catalog.json", "type": "application/json"}, *children],
    }  # fmt: skip
    _write(folder / "catalog.json", root, done, check > 0)
    for document in documents:
        _collection(catalogue, document, folder, done, check, on_progress)
    return done


def _collection(
    catalogue: Catalogue, document: dict[str, Any], folder: Path, done: Exported, check: int, told: Told | None
) -> None:
    id = document["id"]
    yearly = catalogue.count(id) > FLAT
    own: list[dict[str, Any]] = []
    years: dict[str, list[dict[str, Any]]] = {}
    for n, item in enumerate(_pages(catalogue, id)):
        year = str(item.datetime or item.common_metadata.start_datetime or "static")[:4]
        below = [year] if yearly else []
        name = re.sub(r"[^\w\-.]", "_", item.id) + ".json"
        up = "../" * (1 + len(below))
        links = [
            {"rel": "root", "href": f"{up}catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "./catalog.json" if yearly else "./collection.json", "type": "application/json"},
            {
                "rel": "collection",
                "href": "../collection.json" if yearly else "./collection.json",
                "type": "application/json",
            },
        ]
        item.clear_links()
        body = {**item.to_dict(include_self_link=False, transform_hrefs=False), "collection": id, "links": links}
        _write(folder.joinpath(id, *below, name), body, done, n < check)
        (years.setdefault(year, []) if yearly else own).append(
            {"rel": "item", "href": f"./{name}", "type": "application/geo+json"}
        )
        done.items += 1
        if told is not None:
            told(done.items, id)
    for year, items in years.items():
        links = [
            {"rel": "root", "href": "../../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../collection.json", "type": "application/json"},
            *items,
        ]
        body = {
            "type": "Catalog",
            "stac_version": STAC_VERSION,
            "id": f"{id}-{year}",
            "description": f"{document['title']}, {year}",
            "links": links,
        }
        _write(folder / id / year / "catalog.json", body, done, check > 0)
        own.append({"rel": "child", "href": f"./{year}/catalog.json", "type": "application/json"})
    above = [{"rel": r, "href": "../catalog.json", "type": "application/json"} for r in ("root", "parent")]
    kept = [
        link
        for link in document["links"]
        if link.get("rel") not in ("root", "parent", "self", "item", "items", "child")
    ]
    _write(folder / id / "collection.json", {**document, "links": [*above, *kept, *own]}, done, check > 0)
    done.collections += 1


def _pages(catalogue: Catalogue, id: str) -> Iterator[pystac.Item]:
    """Every visible item, a page at a time: a million of them need not be in memory."""
    after: tuple[str, str] | None = None
    while page := catalogue.search(id, limit=PAGE, after=after):
        yield from page
        last = page[-1].datetime or page[-1].common_metadata.start_datetime
        if len(page) < PAGE or last is None:
            return
        after = (last.isoformat(), page[-1].id)


def _write(path: Path, body: dict[str, Any], done: Exported, check: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body, indent=1, allow_nan=False))
    if check:
        done.problems += [f"{path.relative_to(done.root)}: {p}" for p in problems(body)]


def problems(body: dict[str, Any]) -> list[str]:
    """What the core schema of STAC finds wrong with a document."""
    from pystac.validation import RegisteredValidator

    kind = {
        "Feature": pystac.STACObjectType.ITEM,
        "Collection": pystac.STACObjectType.COLLECTION,
        "Catalog": pystac.STACObjectType.CATALOG,
    }[body["type"]]
    try:
        RegisteredValidator.get_validator().validate_core(body, kind, body["stac_version"], body.get("id"))
    except pystac.STACValidationError as error:
        return [str(error.__cause__ or error).splitlines()[0]]
    return []
