"""Lists of what a user has, page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from flask import Response
from sqlalchemy.orm import Session

from backend.api import parse
from backend.api.links import pages
from backend.api.render import reply
from backend.context import context


class Rows(Protocol):
    """Rows of a user, in their order."""

    def __call__(self, session: Session, user_id: str, *, limit: int | None, offset: int) -> Sequence[Any]: ...


def listing(
    name: str, rows: Rows, total: Callable[[Session, str], int], render: Callable[[Any], dict[str, Any]]
) -> Response:
    """The page of the user's ``rows`` that the request asks for, as ``{name: [...], "links": [...]}``."""
    user, page = parse.user(), parse.page()
    with context().database.session(read_only=True) as session:
        found = [render(row) for row in rows(session, user.id, limit=page.limit, offset=page.offset)]
        count = total(session, user.id)
    return reply({name: found, "links": pages(page, count)})
