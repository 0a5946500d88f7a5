"""The migrations make what the models say; upgrading is safe to repeat and to race."""

from __future__ import annotations

import threading
from datetime import datetime

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from backend.store import schema
from backend.store.db import Database
from backend.store.models import Base, User


def test_migrations_equal_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrade_is_idempotent(empty: Database) -> None:
    assert schema.current(empty) is None
    empty.upgrade()
    empty.upgrade()
    assert schema.current(empty) == schema.head() == "0003"


def test_upgrade_raced_by_several(empty: Database) -> None:
    errors: list[Exception] = []

    def upgrade() -> None:
        try:
            empty.upgrade()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert schema.current(empty) == schema.head()


def test_downgrade_leaves_nothing(database: Database) -> None:
    with database.engine.begin() as connection:
        config = schema._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]


def test_sqlite_settings(database: Database) -> None:
    if not database.is_sqlite:
        pytest.skip("about SQLite")
    with database.engine.connect() as connection:
        read = lambda name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()  # noqa: E731
        assert (read("journal_mode"), read("foreign_keys"), read("busy_timeout")) == ("wal", 1, 30000)


def test_transaction_rolls_back(database: Database) -> None:
    with pytest.raises(RuntimeError), database.session() as session:
        session.add(User(name="bob"))
        session.flush()
        raise RuntimeError
    with database.session(read_only=True) as session:
        assert session.query(User).count() == 0


def test_instants_are_aware(database: Database) -> None:
    with pytest.raises(Exception, match="no time zone"), database.session() as session:
        session.add(User(name="bob", created=datetime(2024, 1, 1)))
