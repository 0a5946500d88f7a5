"""The tables. Change one, then add a migration (``migrations/versions``); a test compares both."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, ForeignKey, Index, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backend.store.types import Instant, Serial, new_id, now


class Base(DeclarativeBase):
    """Constraints have fixed names so that migrations can speak of them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        dict[str, Any]: JSON,
        list[Any]: JSON,
        datetime: Instant,
        str: String(255),
        int: Integer,
        float: Float,
        bool: Boolean,
    }


def _user() -> Mapped[str]:
    return mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)


class User(Base):
    """A person or client. With a password hash: basic login; with issuer and subject: an OIDC identity."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str | None] = mapped_column(Text)
    issuer: Mapped[str | None]
    subject: Mapped[str | None]
    created: Mapped[datetime] = mapped_column(default=now)
    quota: Mapped[int | None] = mapped_column(BigInteger)  # bytes of uploaded files; None: the server's default
    __table_args__ = (Index("ix_users_issuer_subject", "issuer", "subject", unique=True),)


class Token(Base):
    """A bearer token of basic login; only its SHA-256 is kept."""

    __tablename__ = "tokens"
    hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = _user()
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime]


class LoginFailures(Base):
    """Failed logins of one user name or address (`backend.auth.throttle`). ``count`` is as of ``updated`` and shrinks
    with time; after ``expires`` the row says nothing any more."""

    __tablename__ = "login_failures"
    key: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[float] = mapped_column(default=0.0)
    updated: Mapped[datetime]
    expires: Mapped[datetime] = mapped_column(index=True)


class Job(Base):
    """A batch job.

    ``status``: created, queued, running, finished, error, canceled. Whoever runs it holds a lease: ``lease_owner``
    until ``lease_until``. ``waiting_stage`` is the key of a stage the job waits for: it is running, nobody holds it,
    and nobody may claim it until the stage is done. ``sent`` is when a message for it last went to the broker.
    """

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[str] = _user()
    title: Mapped[str | None] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    process: Mapped[dict[str, Any]]
    plan: Mapped[str | None]
    budget: Mapped[float | None]
    log_level: Mapped[str] = mapped_column(default="info")
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)  # further properties the client sent (job_options)
    status: Mapped[str] = mapped_column(default="created")
    created: Mapped[datetime] = mapped_column(default=now)
    updated: Mapped[datetime] = mapped_column(default=now)
    queued: Mapped[datetime | None]
    started: Mapped[datetime | None]
    finished: Mapped[datetime | None]
    progress: Mapped[float] = mapped_column(default=0.0)  # percent, never decreasing between two starts
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    attempt: Mapped[int] = mapped_column(default=0)
    sent: Mapped[datetime | None]
    waiting_stage: Mapped[str | None] = mapped_column(index=True)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    usage: Mapped[dict[str, Any] | None]
    __table_args__ = (Index("ix_jobs_status_lease_until", "status", "lease_until"),)


class Request(Base):
    """A synchronous request, kept so that its user can read its log."""

    __tablename__ = "requests"
    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = _user()
    created: Mapped[datetime] = mapped_column(default=now)


class LogEntry(Base):
    """One line of a log. ``source`` is the id of a job, a synchronous request or a service."""

    __tablename__ = "job_logs"
    id: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    source: Mapped[str]
    time: Mapped[datetime] = mapped_column(default=now)
    level: Mapped[str]
    message: Mapped[str] = mapped_column(Text)
    code: Mapped[str | None]
    path: Mapped[list[Any] | None]  # node ids, outermost first
    data: Mapped[Any | None] = mapped_column(JSON)
    __table_args__ = (Index("ix_job_logs_source_id", "source", "id"), {"sqlite_autoincrement": True})


class JobAsset(Base):
    """One result file of a job (`backend.graph.run.Asset`, with its name inside the job's result folder)."""

    __tablename__ = "job_assets"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str]
    title: Mapped[str] = mapped_column(Text, default="")
    roles: Mapped[list[Any]]
    # `metadata` is taken by SQLAlchemy; the column is called so all the same
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    properties: Mapped[dict[str, Any]] = mapped_column(default=dict)
    geometry: Mapped[dict[str, Any] | None]
    bbox: Mapped[list[Any] | None]
    cube: Mapped[dict[str, Any] | None]
    size: Mapped[int] = mapped_column(BigInteger, default=0)


class StageRow(Base):
    """A stage of a chain whose tasks run on workers. ``status``: pending, finished, error."""

    __tablename__ = "stages"
    key: Mapped[str] = mapped_column(primary_key=True)
    chain: Mapped[str]
    queue: Mapped[str]
    status: Mapped[str] = mapped_column(default="pending")
    total: Mapped[int]
    remaining: Mapped[int]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(default=now)
    updated: Mapped[datetime] = mapped_column(default=now)


class StageTask(Base):
    """One task of a stage, leased like a job. ``payload`` is a `processes.stages.Task` as plain JSON."""

    __tablename__ = "stage_tasks"
    stage_key: Mapped[str] = mapped_column(ForeignKey("stages.key", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    payload: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(default="pending")  # pending, running, finished, error
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    attempt: Mapped[int] = mapped_column(default=0)
    sent: Mapped[datetime | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (Index("ix_stage_tasks_status_lease_until", "status", "lease_until"),)


class ProcessGraph(Base):
    """A process a user stored (UDP)."""

    __tablename__ = "process_graphs"
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    process: Mapped[dict[str, Any]]
    public: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime] = mapped_column(default=now)
    updated: Mapped[datetime] = mapped_column(default=now)


class Service(Base):
    """A secondary web service (XYZ, WMTS)."""

    __tablename__ = "services"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[str] = _user()
    type: Mapped[str]
    title: Mapped[str | None] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    process: Mapped[dict[str, Any]]
    configuration: Mapped[dict[str, Any]] = mapped_column(default=dict)
    enabled: Mapped[bool] = mapped_column(default=True)
    plan: Mapped[str | None]
    budget: Mapped[float | None]
    log_level: Mapped[str] = mapped_column(default="info")
    secret: Mapped[str | None]  # part of the tile URL
    revision: Mapped[int] = mapped_column(default=0, server_default="0")  # counts changes of what is shown
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime | None]


class UserFile(Base):
    """A file in a user's space; the bytes lie in ``files_dir``, the row is what quota and listing read."""

    __tablename__ = "files"
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(String(1024), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    modified: Mapped[datetime] = mapped_column(default=now)
