"""Bring the tables of an older index up to date, so that nobody has to ingest an archive again."""

from __future__ import annotations

import json
import zlib

import sqlalchemy as sa

from backend.catalogue.records import number_or_none
from backend.catalogue.tables import COLUMNS, SCHEMA_VERSION, collection, document, item, meta

BATCH = 5000


def upgrade(connection: sa.Connection, found: str) -> bool:
    """Make the tables those of `SCHEMA_VERSION`, inside the caller's transaction. False where no way leads there."""
    if found != "3":
        return False
    _from_3(connection)
    connection.execute(sa.update(meta).where(meta.c.key == "schema").values(value=SCHEMA_VERSION))
    return True


def _from_3(connection: sa.Connection) -> None:
    """Version 4: angles and snow cover as columns, facts of collections."""
    present = {c["name"] for c in sa.inspect(connection).get_columns(item.name)}
    new = {name: c for name, c in COLUMNS.items() if c.name not in present}
    for table, columns in ((item, list(new.values())), (collection, [collection.c.shrunk, collection.c.facts, collection.c.facts_upto, collection.c.facts_shrunk])):  # fmt: skip
        for column in columns:
            made = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {made}")
    last = 0
    while True:
        page = sa.select(document.c.number, document.c.json).where(document.c.number > last)
        rows = connection.execute(page.order_by(document.c.number).limit(BATCH)).all()
        if not rows:
            return
        values = []
        for row in rows:
            told = json.loads(zlib.decompress(row.json))["properties"]
            values.append({"at": row.number, **{f"v_{c.name}": number_or_none(told.get(n)) for n, c in new.items()}})
        change = sa.update(item).where(item.c.number == sa.bindparam("at"))
        connection.execute(change.values({c.name: sa.bindparam(f"v_{c.name}") for c in new.values()}), values)
        last = rows[-1].number
