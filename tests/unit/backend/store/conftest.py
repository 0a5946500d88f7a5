"""The store's tests run on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from backend.store import users
from backend.store.db import Database


@pytest.fixture
def database(empty: Database) -> Database:
    empty.upgrade()
    return empty


@pytest.fixture
def user_id(database: Database) -> str:
    with database.session() as session:
        return users.create(session, "alice", "hash").id
