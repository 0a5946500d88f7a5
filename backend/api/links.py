"""Absolute URLs and links. Behind a proxy the request already tells the public address (`backend.app`)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import request, url_for

from backend.api.parse import Page


def url(endpoint: str, query: dict[str, Any] | None = None, **values: Any) -> str:
    """Absolute URL of a view. ``query`` is appended last, after the path."""
    path = url_for(endpoint, _external=True, **values)
    return f"{path}?{urlencode(query)}" if query else path


def link(rel: str, href: str, type: str = "application/json", title: str | None = None) -> dict[str, Any]:
    return {"rel": rel, "href": href, "type": type} | ({"title": title} if title else {})


def pages(page: Page, total: int) -> list[dict[str, Any]]:
    """Links ``first``, ``prev``, ``next``, ``last`` of a list with ``total`` entries; none if it is whole."""
    if page.limit is None:
        return []
    last = max((total - 1) // page.limit, 0) * page.limit
    offsets = {"first": 0, "last": last}
    if page.offset > 0:
        offsets["prev"] = max(page.offset - page.limit, 0)
    if page.offset + page.limit < total:
        offsets["next"] = page.offset + page.limit
    return [link(rel, here(limit=page.limit, offset=offset)) for rel, offset in offsets.items()]


def here(**changes: Any) -> str:
    """This request's URL with some query parameters changed; those of a signature are left out."""
    query = {k: v for k, v in request.args.items() if k not in ("expires", "signature")}
    query |= {k: str(v) for k, v in changes.items()}
    return f"{request.base_url}?{urlencode(query)}" if query else request.base_url
