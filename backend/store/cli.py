"""``tuile db``: the schema of the database."""

from __future__ import annotations

import click

from backend.settings import Settings
from backend.store import schema
from backend.store.db import Database


@click.group()
def db() -> None:
    """Look after the database's schema."""


@db.command()
def upgrade() -> None:
    """Bring the schema to the newest version (nothing happens if it is)."""
    database = Database(Settings().database)
    before = schema.current(database)
    database.upgrade()
    click.echo(f"schema {before or 'none'} -> {schema.current(database)} in {database.url.render_as_string()}")


@db.command()
def version() -> None:
    """Show the schema's version and the newest one."""
    database = Database(Settings().database)
    click.echo(f"schema {schema.current(database) or 'none'}, newest {schema.head()}")
