"""Secondary web services. Functions take an open `Session` and do not commit."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, or_, select
from sqlalchemy.orm import Session, defer

from backend.store import logs as _logs
from backend.store.models import LogEntry, ProcessGraph, Service
from backend.store.types import now

LOG_MAX = 1000  # entries kept in the log of a service


@dataclass(frozen=True)
class Head:
    """What a request for a tile needs to know of a service."""

    id: str
    user_id: str
    type: str
    title: str | None
    description: str | None
    configuration: dict[str, Any]
    enabled: bool
    log_level: str
    secret: str
    revision: int


def create(session: Session, user_id: str, process: dict[str, Any], **fields: Any) -> Service:
    """Insert a service; ``fields`` are columns of `Service`. Its secret is made here."""
    service = Service(user_id=user_id, process=process, secret=secrets.token_urlsafe(24), **fields)
    session.add(service)
    session.flush()
    return service


def get(session: Session, service_id: str, user_id: str | None = None) -> Service | None:
    """The service; with ``user_id`` only if that user owns it. One that has expired is not there."""
    row = session.get(Service, service_id, populate_existing=True)
    if row is None or (user_id is not None and row.user_id != user_id):
        return None
    return None if row.expires is not None and row.expires < now() else row


_columns = Service.__table__.c
# Every tile asks it: to build the statement, and a session for it, took four times as long as the answer.
_HEAD = select(*(_columns[n] for n in Head.__dataclass_fields__)).where(
    _columns.id == bindparam("id"), or_(_columns.expires.is_(None), _columns.expires >= bindparam("now"))
)


def head(asked: Session | Connection, service_id: str) -> Head | None:
    """The service without its process, which may be large."""
    row = asked.execute(_HEAD, {"id": service_id, "now": now()}).one_or_none()
    return Head(*row) if row is not None else None


def services(session: Session, user_id: str, *, limit: int | None = None, offset: int = 0) -> list[Service]:
    """A user's services, newest first; ``process`` is read only if somebody looks at it."""
    query = select(Service).where(Service.user_id == user_id, _alive()).order_by(Service.created.desc(), Service.id)
    query = query.options(defer(Service.process)).offset(offset)
    return list(session.scalars(query.limit(limit) if limit is not None else query))


def total(session: Session, user_id: str) -> int:
    """How many a user has."""
    query = select(func.count()).select_from(Service).where(Service.user_id == user_id, _alive())
    return session.scalar(query) or 0


def any_enabled(session: Session) -> bool:
    """Whether somebody has a service that is on."""
    return session.scalar(select(Service.id).where(Service.enabled, _alive()).limit(1)) is not None


def remove(session: Session, service_id: str) -> None:
    """Delete the row and its log."""
    _logs.remove(session, service_id)
    session.execute(delete(Service).where(Service.id == service_id))


def expired(session: Session) -> list[tuple[str, str]]:
    """(id, user) of services whose time is over."""
    query = select(Service.id, Service.user_id).where(Service.expires < now())
    return [(id, user) for id, user in session.execute(query)]


def trim_log(session: Session, service_id: str) -> None:
    """Drop all but the newest entries of a service's log."""
    newest = select(LogEntry.id).where(LogEntry.source == service_id).order_by(LogEntry.id.desc())
    first = session.scalar(newest.offset(LOG_MAX).limit(1))
    if first is not None:
        session.execute(delete(LogEntry).where(LogEntry.source == service_id, LogEntry.id <= first))


def stored_processes(session: Session, user_id: str) -> tuple[int, datetime | None]:
    """How many processes a user has stored and when the last change of one was: changes with any of them."""
    query = select(func.count(), func.max(ProcessGraph.updated)).where(ProcessGraph.user_id == user_id)
    count, latest = session.execute(query).one()
    return count, latest


def _alive() -> Any:
    return or_(Service.expires.is_(None), Service.expires >= now())
