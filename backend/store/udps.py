"""Processes that users stored (UDPs)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from backend.store.models import ProcessGraph
from backend.store.types import now


def put(session: Session, user_id: str, id: str, process: dict[str, Any], *, public: bool = False) -> None:
    """Store a process under ``id``; an older one is replaced."""
    row = get(session, user_id, id)
    if row is None:
        session.add(ProcessGraph(user_id=user_id, id=id, process=process, public=public))
    else:
        row.process, row.public, row.updated = process, public, now()
    session.flush()


def get(session: Session, user_id: str, id: str) -> ProcessGraph | None:
    return session.get(ProcessGraph, (user_id, id))


def udps(session: Session, user_id: str, *, limit: int | None = None, offset: int = 0) -> list[ProcessGraph]:
    """A user's processes, by id."""
    query = select(ProcessGraph).where(ProcessGraph.user_id == user_id).order_by(ProcessGraph.id).offset(offset)
    return list(session.scalars(query.limit(limit) if limit is not None else query))


def total(session: Session, user_id: str) -> int:
    """How many a user has."""
    return session.scalar(select(func.count()).select_from(ProcessGraph).where(ProcessGraph.user_id == user_id)) or 0


def namespace(session: Session, user_id: str) -> dict[str, dict[str, Any]]:
    """All of a user's processes by id, as the graph evaluator takes them."""
    return {row.id: row.process for row in udps(session, user_id)}


def remove(session: Session, user_id: str, id: str) -> bool:
    """Delete one; False if there is none."""
    row = get(session, user_id, id)
    if row is not None:
        session.execute(delete(ProcessGraph).where(ProcessGraph.user_id == user_id, ProcessGraph.id == id))
    return row is not None
