"""Schema versions: Alembic without files to configure; the migrations lie in the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

if TYPE_CHECKING:
    from backend.store.db import Database

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x7475696C65  # PostgreSQL advisory lock "tuile": one process migrates, the others wait


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def upgrade(database: Database) -> None:
    """Bring the schema to the newest version, in one transaction that other processes wait for."""
    if current(database) == head():
        return
    with database.writing() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def current(database: Database) -> str | None:
    """Version of the schema in the database; None where there is none."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """Newest version this release knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()
