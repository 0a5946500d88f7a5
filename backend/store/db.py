"""One database: engine, sessions, schema.

Every transaction is short: open a session, do a few statements, leave the block. On SQLite a session takes the write
lock when it begins (``BEGIN IMMEDIATE``): a transaction that starts reading and then writes would otherwise fail at
once, without waiting, when another process wrote in between. Read-only sessions begin deferred and never wait.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, CursorResult, Engine, Update, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session, sessionmaker

BUSY_TIMEOUT = 30.0  # seconds a SQLite writer waits for another


class Database:
    """The service's state.

    Parameters
    ----------
    url
        SQLAlchemy URL. ``sqlite:///path`` and ``postgresql://...`` (psycopg 3).
    """

    def __init__(self, url: str):
        self.url = _with_driver(make_url(url))
        self.engine = _sqlite(self.url) if self.is_sqlite else create_engine(self.url, pool_pre_ping=True)
        self._write = sessionmaker(self.engine.execution_options(tuile_begin="IMMEDIATE"), expire_on_commit=False)
        self._read = sessionmaker(self.engine, expire_on_commit=False)
        # A forked child must not speak over its parent's connections.
        engine = weakref.ref(self.engine)
        os.register_at_fork(after_in_child=lambda: _forget(engine()))

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[Session]:
        """A transaction: committed at the end of the block, rolled back on an exception.

        Objects stay usable after the block (their loaded columns, detached).
        """
        with (self._read if read_only else self._write)() as session, session.begin():
            yield session

    def writing(self) -> AbstractContextManager[Connection]:
        """A connection for statements without objects, in a transaction like that of `session`."""
        return self.engine.execution_options(tuile_begin="IMMEDIATE").begin()

    def upgrade(self) -> None:
        """Bring the schema to the newest version (several processes may do so at once)."""
        from backend.store.schema import upgrade

        upgrade(self)

    def close(self) -> None:
        self.engine.dispose()


def changed_one(session: Session, statement: Update) -> bool:
    """Whether an update found the row it is for: who changes state so knows that nobody else did."""
    result = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


def _forget(engine: Engine | None) -> None:
    if engine is not None:
        engine.dispose(close=False)


def _with_driver(url: URL) -> URL:
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url


def _sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver leaves BEGIN to the listener below
        for pragma in (
            f"busy_timeout={int(BUSY_TIMEOUT * 1000)}",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('tuile_begin', 'DEFERRED')}")

    return engine
