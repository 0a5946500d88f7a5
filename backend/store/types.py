"""Column types and small values that every table shares."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """An instant in UTC: aware in Python on every database (SQLite itself knows no time zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite autoincrements INTEGER primary keys only.
Serial = BigInteger().with_variant(Integer, "sqlite")


def now() -> datetime:
    """The present instant, UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """An identifier nobody can guess."""
    return str(uuid.uuid4())


def rfc3339(value: datetime) -> str:
    """``2024-05-01T10:00:00Z``: the form the openEO API asks for."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def finite(value: Any) -> Any:
    """``value`` (plain JSON) with NaN and infinities as None: JSON columns of PostgreSQL refuse them."""
    if isinstance(value, float):
        return value if value == value and value not in (float("inf"), float("-inf")) else None
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return value
