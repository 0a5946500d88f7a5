"""Logs of jobs, synchronous requests and services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from backend.store.models import LogEntry
from backend.store.types import finite

LEVELS = ("error", "warning", "info", "debug")  # most severe first


def add_log(
    session: Session,
    source: str,
    level: str,
    message: str,
    *,
    code: str | None = None,
    path: Sequence[str] = (),
    data: Any = None,
) -> int:
    """Append one entry to the log of ``source`` (id of a job, request or service); returns the entry's id."""
    if level not in LEVELS:
        raise ValueError(f"log level {level!r} is none of {', '.join(LEVELS)}")
    entry = LogEntry(source=source, level=level, message=message, code=code, path=list(path) or None, data=finite(data))
    session.add(entry)
    session.flush()
    return entry.id


def logs(
    session: Session,
    source: str,
    *,
    offset: int | None = None,
    limit: int | None = None,
    level: str = "debug",
) -> list[LogEntry]:
    """Entries after the one with id ``offset``, oldest first, at least as severe as ``level``."""
    severe = LEVELS[: LEVELS.index(level) + 1]
    query = select(LogEntry).where(LogEntry.source == source, LogEntry.level.in_(severe)).order_by(LogEntry.id)
    if offset is not None:
        query = query.where(LogEntry.id > offset)
    return list(session.scalars(query.limit(limit) if limit is not None else query))


def last_error(session: Session, source: str) -> LogEntry | None:
    """The newest entry of level ``error``."""
    newest = select(func.max(LogEntry.id)).where(LogEntry.source == source, LogEntry.level == "error")
    return session.scalar(select(LogEntry).where(LogEntry.id == newest.scalar_subquery()))


def remove(session: Session, source: str) -> None:
    session.execute(delete(LogEntry).where(LogEntry.source == source))
