"""Log documents, the same for jobs and synchronous requests."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from backend.api import parse
from backend.api.links import here, link
from backend.api.render import log_entry
from backend.store import logs


def log_reply(session: Session, source: str, kept: str = "debug") -> dict[str, Any]:
    """Entries after id ``offset``, at most ``limit``, at least as severe as ``level``.

    ``kept`` is the least severe level that was kept at all: nothing below it can be shown.
    """
    asked = parse.query_level(kept)
    level = min(asked, kept, key=logs.LEVELS.index)
    limit = parse.number("limit", 1)
    entries = logs.logs(
        session,
        source,
        offset=parse.number("offset", 0),
        limit=None if limit is None else limit + 1,
        level=level,
    )
    links = []
    if limit is not None and len(entries) > limit:
        entries = entries[:limit]
        links.append(link("next", here(limit=limit, offset=entries[-1].id)))
    return {"level": level, "logs": [log_entry(e) for e in entries], "links": links}
