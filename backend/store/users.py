"""Users and the tokens of basic login."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from backend.auth.passwords import hash_password
from backend.store.models import (
    Job,
    JobAsset,
    LogEntry,
    ProcessGraph,
    Request,
    Service,
    Token,
    User,
    UserFile,
)
from backend.store.types import new_id, now


def create(session: Session, name: str, password_hash: str) -> User:
    """Insert a user with a password. The name must be free."""
    user = User(name=name, password_hash=password_hash)
    session.add(user)
    session.flush()
    return user


def set_user(session: Session, name: str, password: str) -> User:
    """Make sure the user exists and has this password; a new password ends all sessions."""
    user = by_name(session, name)
    if user is None:
        return create(session, name, hash_password(password))
    user.password_hash = hash_password(password)
    remove_tokens(session, user.id)
    session.flush()
    return user


def get(session: Session, user_id: str) -> User | None:
    return session.get(User, user_id)


def by_name(session: Session, name: str) -> User | None:
    return session.scalar(select(User).where(User.name == name))


def users(session: Session) -> list[User]:
    """Every user, by name."""
    return list(session.scalars(select(User).order_by(User.name)))


def by_identity(session: Session, issuer: str, subject: str) -> User | None:
    """The user an OIDC identity belongs to."""
    return session.scalar(select(User).where(User.issuer == issuer, User.subject == subject))


def create_identity(session: Session, issuer: str, subject: str, name: str) -> User:
    """Insert the user of an OIDC identity. A name that is taken gets the subject, then the issuer, appended."""
    names = (name, f"{name} ({subject})", f"{name} ({subject}, {issuer})")
    free = next((n for n in names if by_name(session, n) is None), new_id())
    user = User(name=free, issuer=issuer, subject=subject)
    session.add(user)
    session.flush()
    return user


def job_ids(session: Session, user_id: str) -> list[str]:
    """Ids of all jobs of a user."""
    return list(session.scalars(select(Job.id).where(Job.user_id == user_id)))


def remove(session: Session, user: User) -> None:
    """Delete a user with everything in the database that is theirs. Files on disk are the caller's."""
    for owner in (Job.id, Request.id, Service.id):
        ids = select(owner).where(owner.class_.user_id == user.id)
        session.execute(delete(LogEntry).where(LogEntry.source.in_(ids)))
    session.execute(delete(JobAsset).where(JobAsset.job_id.in_(select(Job.id).where(Job.user_id == user.id))))
    for table in (Token, Job, Request, ProcessGraph, Service, UserFile):
        session.execute(delete(table).where(table.user_id == user.id))
    session.delete(user)
    session.flush()


def add_token(session: Session, user_id: str, token_hash: str, lifetime: timedelta) -> datetime:
    """Keep a token's hash; drops the user's expired ones. Returns the instant it expires."""
    time = now()
    session.execute(delete(Token).where(Token.user_id == user_id, Token.expires < time))
    session.add(Token(hash=token_hash, user_id=user_id, created=time, expires=time + lifetime))
    return time + lifetime


def by_token(session: Session, token_hash: str) -> User | None:
    """The user of a token that has not expired."""
    return session.scalar(
        select(User).join(Token, Token.user_id == User.id).where(Token.hash == token_hash, Token.expires > now())
    )


def remove_tokens(session: Session, user_id: str) -> None:
    """End all sessions of a user."""
    session.execute(delete(Token).where(Token.user_id == user_id))
