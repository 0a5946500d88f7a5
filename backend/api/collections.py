"""Collections, their items and what items can be filtered by."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, after_this_request

from backend.api import parse
from backend.api.links import here, link, pages, url
from backend.api.render import nothing, reply, without_nulls
from backend.context import context
from backend.errors import OpenEOError
from backend.exports.collections import UserCollections

blueprint = Blueprint("collections", __name__)
ITEMS_PER_PAGE = 100  # without `limit`: an archive may hold millions
ITEMS_MAX = 10_000
GEOJSON = "application/geo+json"
SCHEMA = "application/schema+json"


@blueprint.get("/collections")
def collections() -> Response:
    page = parse.page()
    found = sorted(_catalogue().collections(), key=lambda c: c["id"])
    shown = found[page.offset : None if page.limit is None else page.offset + page.limit]
    links = [link("self", url("collections.collections")), link("root", url("discovery.capabilities"))]
    return reply({"collections": [_collection(c) for c in shown], "links": links + pages(page, len(found))})


@blueprint.get("/collections/<collection_id>")
def collection(collection_id: str) -> Response:
    return reply(_collection(_catalogue().collection(collection_id)))


@blueprint.get("/collections/<collection_id>/queryables")
def queryables(collection_id: str) -> Response:
    """JSON Schema of the properties a filter may use."""
    own = {"$id": url("collections.queryables", collection_id=collection_id)}
    return reply(_catalogue().queryables(collection_id) | own, type=SCHEMA)


@blueprint.get("/collections/<collection_id>/items")
def items(collection_id: str) -> Response:
    """Items as GeoJSON, by ``bbox`` and ``datetime``, a page at a time (``after``: the last item of the page before)."""
    catalogue = _catalogue()
    limit = min(parse.number("limit", 1) or ITEMS_PER_PAGE, ITEMS_MAX)
    found = catalogue.search(
        collection_id, bbox=parse.bbox(), interval=parse.interval(), limit=limit + 1, after=parse.after()
    )
    shown = [i.to_dict(include_self_link=False) for i in found[:limit]]
    links = [
        link("root", url("discovery.capabilities")),
        link("collection", url("collections.collection", collection_id=collection_id)),
    ]
    if len(found) > limit:
        last = f"{shown[-1]['properties']['datetime']},{shown[-1]['id']}"
        links.append(link("next", here(limit=limit, after=last), GEOJSON))
    features = [_item(collection_id, i) for i in shown]
    document = {"type": "FeatureCollection", "features": features, "numberReturned": len(shown), "links": links}
    return reply(document, type=GEOJSON)


@blueprint.get("/collections/<collection_id>/items/<item_id>")
def item(collection_id: str, item_id: str) -> Response:
    catalogue = _catalogue()
    catalogue.collection(collection_id)
    found = catalogue.item(collection_id, item_id)
    if found is None:
        raise OpenEOError("NotFound", f"Collection '{collection_id}' has no item '{item_id}'.")
    return reply(_item(collection_id, found.to_dict(include_self_link=False)), type=GEOJSON)


@blueprint.delete("/collections/<collection_id>")
def delete(collection_id: str) -> Response:
    """Delete a collection that the user has made with ``export_collection`` (as STAC API's transactions do)."""
    user = parse.user()
    if not UserCollections(context().settings.collections_dir, user.id).remove(collection_id):
        context().catalogue.collection(collection_id)
        raise OpenEOError("PermissionsInsufficient", f"Collection '{collection_id}' is not yours to delete.")
    return nothing()


def _catalogue() -> Any:
    """The catalogue as the sender sees it: with a login, the own collections are there too."""
    user = parse.optional_user()

    @after_this_request
    def varies(response: Response) -> Response:
        response.vary.add("Authorization")
        return response

    return context().environments.catalogue(user.id if user is not None else None)


def _collection(metadata: dict[str, Any]) -> dict[str, Any]:
    id = metadata["id"]
    own = [
        link("self", url("collections.collection", collection_id=id)),
        link("root", url("discovery.capabilities")),
        link("parent", url("discovery.capabilities")),
        link("items", url("collections.items", collection_id=id), GEOJSON, title="Items"),
        link(
            "http://www.opengis.net/def/rel/ogc/1.0/queryables",
            url("collections.queryables", collection_id=id),
            SCHEMA,
            title="Queryables",
        ),
    ]
    rels = {x["rel"] for x in own}
    others = [x for x in metadata.get("links", []) if x.get("rel") not in rels]
    return without_nulls(metadata) | {"links": own + others}


def _item(collection_id: str, item: dict[str, Any]) -> dict[str, Any]:
    """An item for the public: assets that are files of this server have no address and are left out."""
    public = {k: a for k, a in item.get("assets", {}).items() if a["href"].startswith(("http://", "https://"))}
    links = [
        link("self", url("collections.item", collection_id=collection_id, item_id=item["id"]), GEOJSON),
        link("root", url("discovery.capabilities")),
        link("parent", url("collections.collection", collection_id=collection_id)),
        link("collection", url("collections.collection", collection_id=collection_id)),
    ]
    shown = without_nulls(item) | {"assets": without_nulls(public), "links": links, "collection": collection_id}
    # GeoJSON asks for a geometry and STAC for a datetime, null where there is none.
    shown.setdefault("geometry", None)
    shown["properties"].setdefault("datetime", None)
    return shown
