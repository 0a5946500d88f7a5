"""The list of what users uploaded: what quota and listing read. The bytes lie in ``files_dir``."""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from backend.store.models import UserFile
from backend.store.types import now


def put(session: Session, user_id: str, path: str, size: int) -> UserFile:
    """Note a file; an older one of the same path is replaced."""
    row = session.get(UserFile, (user_id, path)) or UserFile(user_id=user_id, path=path)
    row.size, row.modified = size, now()
    session.add(row)
    session.flush()
    return row


def get(session: Session, user_id: str, path: str) -> UserFile | None:
    return session.get(UserFile, (user_id, path))


def files(session: Session, user_id: str, *, limit: int | None = None, offset: int = 0) -> list[UserFile]:
    """A user's files, by path."""
    query = select(UserFile).where(UserFile.user_id == user_id).order_by(UserFile.path).offset(offset)
    return list(session.scalars(query.limit(limit) if limit is not None else query))


def total(session: Session, user_id: str) -> int:
    """How many a user has."""
    return session.scalar(select(func.count()).select_from(UserFile).where(UserFile.user_id == user_id)) or 0


def used(session: Session, user_id: str) -> int:
    """Bytes a user's files take."""
    return int(session.scalar(select(func.sum(UserFile.size)).where(UserFile.user_id == user_id)) or 0)


def remove(session: Session, user_id: str, path: str) -> None:
    session.execute(delete(UserFile).where(UserFile.user_id == user_id, UserFile.path == path))
