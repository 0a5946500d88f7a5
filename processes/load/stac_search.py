"""Find STAC items behind an address: an item, a list of items, a collection or catalogue (static or API), job results.

Extents go to the server where it searches, and prune collections where it does not. Items come as documents with
absolute hrefs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

from processes.demand import Interval
from processes.env import Env
from processes.errors import ProcessError
from processes.extents import instant
from processes.load.fetch import Fetcher, shown

MOST_ITEMS = 10_000
MOST_DOCUMENTS = 20_000
PAGE = 200
THREADS = 8
POLL_FIRST_S, POLL_MOST_S, POLL_TOTAL_S = 1.0, 30.0, 6 * 3600.0
_FILTER = "item-search#filter"
_OPERATORS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Query:
    """What is wanted: bounds in EPSG:4326 (west > east crosses the antimeridian), instants, simple conditions."""

    bbox: Bounds | None = None
    interval: Interval = (None, None)
    where: tuple[tuple[str, str, Any], ...] = ()

    def touches(self, item: Mapping[str, Any]) -> bool:
        """Whether an item's box and time meet the query; unknown ones do."""
        return self._meets(item.get("bbox"), *instants_of(item))

    def may_hold(self, collection: Mapping[str, Any]) -> bool:
        """Whether a collection's extent meets the query."""
        extent = collection.get("extent") or {}
        boxes = (extent.get("spatial") or {}).get("bbox") or [None]
        spans = (extent.get("temporal") or {}).get("interval") or [()]
        return self._meets(boxes[0], *(spans[0] if len(spans[0]) == 2 else (None, None)))

    def _meets(self, box: Sequence[float] | None, first: str | None, last: str | None) -> bool:
        if self.bbox is not None and box and not boxes_meet(self.bbox, _flat(box)):
            return False
        start, end = (instant(v) if v else None for v in self.interval)
        before = start and last and (instant(last) or "") < start
        after = end and first and (instant(first) or "") >= end
        return not (before or after)

    def parameters(self) -> dict[str, str]:
        """As query parameters of an API."""
        out = {"limit": str(PAGE)}
        if self.bbox is not None:
            out["bbox"] = ",".join(f"{v:.9g}" for v in self.bbox)
        if self.interval != (None, None):
            out["datetime"] = "/".join(v or ".." for v in self.interval)
        return out


@dataclass
class Found:
    """Items, what their collection says (by id), and the description of the cube they are part of, if any."""

    items: list[dict[str, Any]] = field(default_factory=list)
    collections: dict[str, dict[str, Any]] = field(default_factory=dict)
    result: dict[str, Any] | None = None  # the document of job results


def instants_of(item: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """First and last instant of an item."""
    p = item.get("properties") or {}
    when = p.get("datetime")
    return p.get("start_datetime") or when, p.get("end_datetime") or when


def _flat(box: Sequence[float]) -> Bounds:
    return (box[0], box[1], box[3], box[4]) if len(box) == 6 else (box[0], box[1], box[2], box[3])


def boxes_meet(a: Bounds, b: Bounds) -> bool:
    """Whether two boxes touch; either may cross the antimeridian (west > east)."""
    if a[1] > b[3] or b[1] > a[3]:
        return False
    spans = [[(w, e)] if w <= e else [(w, 180.0), (-180.0, e)] for w, _, e, _ in (a, b)]
    return any(w1 <= e2 and w2 <= e1 for w1, e1 in spans[0] for w2, e2 in spans[1])


def find(url: str, query: Query, fetcher: Fetcher, env: Env) -> Found:
    """Everything behind ``url`` that meets the query. Raises `ProcessError`; nothing found is an empty list."""
    document = wait_for_result(url, fetcher, env)
    kind = document.get("type")
    found = Found()
    if kind == "Feature":
        found.items = [absolute(document, url)]
        _describe(found, found.items, fetcher)
    elif kind == "FeatureCollection":
        more = {} if urlsplit(url).query else query.parameters()
        given = parse_qs(urlsplit(url).query)
        if not more and "bbox" not in given and "intersects" not in given and query.bbox is not None:
            more = {k: v for k, v in query.parameters().items() if k not in given}
        first = fetcher.json(url, params=more) if more and _has_next(document) else document
        found.items = list(_pages(first, url, fetcher))
        _describe(found, found.items, fetcher)
    elif kind in ("Collection", "Catalog"):
        _collection(document, url, query, fetcher, found)
    else:
        raise ProcessError("NoDataAvailable", f"{shown(url)} is not a STAC document: its type is '{kind}'.")
    found.items = [i for i in found.items if query.touches(i)]
    if len(found.items) > MOST_ITEMS:
        raise ProcessError("NoDataAvailable", f"{shown(url)} has {len(found.items)} items in the extents asked for; at most {MOST_ITEMS} can be loaded. Ask for less area or time.")  # fmt: skip
    return found


def wait_for_result(url: str, fetcher: Fetcher, env: Env) -> dict[str, Any]:
    """The document behind ``url``; where it is of an openEO job that runs, the one once the job has finished.

    Asks again after 1 s, then less and less often. Raises ``NoDataAvailable`` where the job failed or takes too long.
    """
    started, pause, told = time.monotonic(), POLL_FIRST_S, False
    while True:
        document = fetcher.json(url)
        if not isinstance(document, dict):
            raise ProcessError("NoDataAvailable", f"{shown(url)} is not a STAC document.")
        status = document.get("openeo:status") or (document.get("properties") or {}).get("openeo:status")
        if status in (None, "finished"):
            return document
        if status != "running":
            raise ProcessError(
                "NoDataAvailable", f"The job behind {shown(url)} has no result: its status is '{status}'."
            )
        if time.monotonic() - started > POLL_TOTAL_S:
            raise ProcessError("NoDataAvailable", f"The job behind {shown(url)} still runs after {POLL_TOTAL_S / 3600:.0f} h; load it later.")  # fmt: skip
        if not told:
            env.log("info", f"Waiting for the job behind {shown(url)}")
            told = True
        time.sleep(pause)
        pause = min(pause * 1.5, POLL_MOST_S)


def _collection(document: dict[str, Any], url: str, query: Query, fetcher: Fetcher, found: Found) -> None:
    if document.get("type") == "Collection":
        found.collections[str(document.get("id"))] = document
    if document.get("openeo:status"):
        found.result = document
    if (items := link(document, "items", url)) is not None and document.get("type") == "Collection":
        found.items = _search(document, url, items, query, fetcher)
        return
    if document.get("type") == "Catalog" and _conforms(document, "item-search"):
        raise ProcessError(
            "NoDataAvailable",
            f"{shown(url)} is a whole STAC API; give the address of one of its collections, or of a search "
            f"(.../search?collections=...).",
        )
    _walk(document, url, query, fetcher, found)
    if not found.items and document.get("assets"):
        found.items = [absolute(as_item(document), url)]


def as_item(collection: Mapping[str, Any]) -> dict[str, Any]:
    """A collection with assets and without items, as the one item it is."""
    extent = collection.get("extent") or {}
    boxes = (extent.get("spatial") or {}).get("bbox") or [None]
    span = ((extent.get("temporal") or {}).get("interval") or [[None, None]])[0]
    properties = {k: v for k, v in collection.items() if k.startswith(("proj:", "cube:", "bands"))}
    properties |= {"datetime": span[0]} if span[0] == span[1] else {"start_datetime": span[0], "end_datetime": span[1]}
    return {
        "type": "Feature", "id": collection.get("id", "collection"), "bbox": boxes[0], "geometry": None,
        "properties": properties, "assets": collection["assets"], "links": collection.get("links", []),
        "collection": collection.get("id"),
    }  # fmt: skip


def _search(
    collection: Mapping[str, Any], url: str, items: str, query: Query, fetcher: Fetcher
) -> list[dict[str, Any]]:
    """Items of an API's collection: by its search with conditions where it can, else by its items."""
    parameters = query.parameters()
    conditions = [
        w for w in query.where if w[1] in _OPERATORS and isinstance(w[2], (int, float, str)) and w[2] is not True
    ]
    root = link(collection, "root", url)
    if conditions and root is not None:
        landing = fetcher.json(root)
        search = link(landing, "search", root)
        if search is not None and _conforms(landing, _FILTER):
            asked = {"collections": str(collection["id"]), "filter-lang": "cql2-text", "filter": _cql(conditions)}
            page, body = _asked(landing, search, parameters | asked, fetcher)
            return list(_pages(page, search, fetcher, body))
    return list(_pages(fetcher.json(items, params=parameters), items, fetcher))


def _asked(
    landing: Mapping[str, Any], search: str, parameters: Mapping[str, str], fetcher: Fetcher
) -> tuple[Any, dict[str, Any] | None]:
    """The first page of a search and, where it can only be posted, what was posted."""
    methods = {str(e.get("method", "GET")).upper() for e in landing.get("links") or [] if e.get("rel") == "search"}
    if "GET" in methods:
        return fetcher.json(search, params=parameters), None
    body: dict[str, Any] = {**parameters, "collections": [parameters["collections"]], "limit": PAGE}
    if "bbox" in body:
        body["bbox"] = [float(v) for v in body["bbox"].split(",")]
    return fetcher.json(search, method="POST", body=body), body


def _cql(conditions: Sequence[tuple[str, str, Any]]) -> str:
    def literal(value: Any) -> str:
        return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)

    return " AND ".join(f'"{name}" {_OPERATORS[op]} {literal(value)}' for name, op, value in conditions)


def _conforms(document: Mapping[str, Any], ending: str) -> bool:
    return any(str(c).endswith(ending) for c in document.get("conformsTo") or [])


def link(document: Mapping[str, Any], rel: str, base: str) -> str | None:
    """Absolute address of the first link with a relation (GET and JSON preferred)."""
    found = [e for e in document.get("links") or [] if e.get("rel") == rel and e.get("href")]
    found.sort(key=lambda e: (e.get("method", "GET") != "GET", "html" in str(e.get("type", ""))))
    return urljoin(base, found[0]["href"]) if found else None


def _has_next(document: Mapping[str, Any]) -> bool:
    return any(e.get("rel") == "next" for e in document.get("links") or [])


def _pages(page: Any, url: str, fetcher: Fetcher, posted: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Items of a page and of those after it. A link that says ``merge`` changes only parts of what was ``posted``."""
    seen: set[str] = set()
    count = 0
    while True:
        for item in page.get("features") or []:
            count += 1
            if count > MOST_ITEMS:
                raise ProcessError("NoDataAvailable", f"{shown(url)} has more than {MOST_ITEMS} items for the extents asked for; ask for less area or time.")  # fmt: skip
            yield absolute(item, url)
        after = next((e for e in page.get("links") or [] if e.get("rel") == "next" and e.get("href")), None)
        if after is None or not page.get("features"):
            return
        target, method = urljoin(url, after["href"]), str(after.get("method", "GET")).upper()
        body = after.get("body") if method == "POST" else None
        if method == "POST" and (after.get("merge") or body is None):
            body = {**(posted or {}), **(body or {})}
        mark = f"{method} {target} {body}"
        if mark in seen:
            return
        seen.add(mark)
        page, url = fetcher.json(target, method=method, body=body), target


def _walk(document: dict[str, Any], url: str, query: Query, fetcher: Fetcher, found: Found) -> None:
    """Items below a static catalogue, breadth first; collections outside the extents are not entered."""
    seen, todo, count = {url}, [(document, url)], 0
    with ThreadPoolExecutor(THREADS) as pool:
        while todo:
            wanted: list[str] = []
            for node, base in todo:
                for entry in node.get("links") or []:
                    if entry.get("rel") in ("item", "child") and entry.get("href"):
                        target = urljoin(base, entry["href"])
                        if target not in seen:
                            seen.add(target)
                            wanted.append(target)
            count += len(wanted)
            if count > MOST_DOCUMENTS:
                raise ProcessError("NoDataAvailable", f"{shown(url)} leads to more than {MOST_DOCUMENTS} documents; give the address of one of its collections.")  # fmt: skip
            todo = []
            for target, inner in zip(wanted, pool.map(fetcher.json, wanted)):
                kind = inner.get("type") if isinstance(inner, dict) else None
                if kind == "Feature":
                    found.items.append(absolute(inner, target))
                elif kind == "Catalog" or (kind == "Collection" and query.may_hold(inner)):
                    if kind == "Collection":
                        found.collections[str(inner.get("id"))] = inner
                    todo.append((inner, target))


def _describe(found: Found, items: Sequence[Mapping[str, Any]], fetcher: Fetcher) -> None:
    """Fetch the collections of items that do not say what their bands are (``item_assets`` may)."""
    for item in items:
        id = item.get("collection")
        plain = any(not (a.get("bands") or a.get("eo:bands")) for a in (item.get("assets") or {}).values())
        if id is None or id in found.collections or not plain:
            continue
        target = link(item, "collection", str(item.get("tuile:url", "")))
        try:
            document = fetcher.json(target) if target else {}
        except ProcessError:
            document = {}  # it would only help
        found.collections[str(id)] = document if isinstance(document, dict) else {}


def absolute(item: Mapping[str, Any], url: str) -> dict[str, Any]:
    """An item with absolute hrefs of assets; ``tuile:url`` is where it came from."""
    base = link(item, "self", url) or url
    base = base if urlsplit(base).netloc == urlsplit(url).netloc or not urlsplit(url).netloc else url
    assets = {
        str(k): {**a, "href": urljoin(base, a["href"])}
        for k, a in (item.get("assets") or {}).items()
        if isinstance(a, Mapping) and isinstance(a.get("href"), str)
    }
    return {**item, "assets": assets, "tuile:url": url}
