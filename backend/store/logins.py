"""Failed logins: one leaking count per key, shared by all server processes."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from backend.store.models import LoginFailures
from backend.store.types import now

PURGE = 1000  # expired rows deleted at once


def add(session: Session, key: str, limit: float, window: timedelta) -> float:
    """Count a failure of ``key``. A count loses ``limit`` per ``window``.

    Returns seconds until there is room for it: 0 where it was counted; else nothing is (roll back). The row is locked
    until the transaction ends: take several keys in sorted order.
    """
    time = now()
    row = _row(session, key)
    leak = limit / window.total_seconds()
    count = max(0.0, row.count - leak * max(0.0, (time - row.updated).total_seconds())) + 1
    if count > limit:
        return (count - limit) / leak
    row.count, row.updated, row.expires = count, time, max(row.expires, time + window)
    return 0.0


def _row(session: Session, key: str) -> LoginFailures:
    """The row of ``key``, made if need be, locked."""
    time = now()
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    fresh = insert(LoginFailures).values(key=key, count=0.0, updated=time, expires=time)
    # an update that changes nothing: it locks the row, and returns it whoever made it
    same = fresh.on_conflict_do_update(index_elements=["key"], set_={"key": key}).returning(LoginFailures)
    return session.scalars(same, execution_options={"populate_existing": True}).one()


def take_back(session: Session, key: str) -> None:
    """Count one failure of ``key`` less."""
    row = session.get(LoginFailures, key, with_for_update=True)
    if row is not None:
        row.count = max(0.0, row.count - 1)


def keep(session: Session, key: str, lifetime: timedelta) -> None:
    """Have a row of ``key`` without failures for ``lifetime``."""
    row, time = _row(session, key), now()
    row.count, row.updated, row.expires = 0.0, time, time + lifetime


def kept(session: Session, key: str) -> bool:
    """Whether there is a row of ``key``."""
    row = session.get(LoginFailures, key)
    return row is not None and row.expires > now()


def purge(session: Session) -> None:
    """Delete what has expired. Rows that others work on stay until the next time."""
    old = select(LoginFailures.key).where(LoginFailures.expires < now()).limit(PURGE)
    session.execute(delete(LoginFailures).where(LoginFailures.key.in_(old.with_for_update(skip_locked=True))))
