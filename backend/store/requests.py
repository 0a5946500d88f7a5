"""Synchronous requests: who sent them, so that only they read the log."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from backend.store.models import LogEntry, Request
from backend.store.types import now

KEEP = timedelta(days=7)


def put(session: Session, request_id: str, user_id: str) -> None:
    """Note a request; the user's old ones and their logs go."""
    old = select(Request.id).where(Request.user_id == user_id, Request.created < now() - KEEP)
    session.execute(delete(LogEntry).where(LogEntry.source.in_(old)))
    session.execute(delete(Request).where(Request.user_id == user_id, Request.created < now() - KEEP))
    session.add(Request(id=request_id, user_id=user_id))
    session.flush()


def belongs(session: Session, request_id: str, user_id: str) -> bool:
    row = session.get(Request, request_id)
    return row is not None and row.user_id == user_id
