"""What clients read about the collections, kept: in memory, and in the database for other processes and later ones."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

import sqlalchemy as sa

from backend.catalogue.facts import Facts, columns, of_collection
from backend.catalogue.metadata import describe
from backend.catalogue.tables import collection, item
from backend.store.db import Database

LARGE, MAX_LAG = 200_000, 60.0  # items, seconds: describing a million items takes seconds


class Descriptions:
    """openEO metadata of every collection that has items, made again where its items have changed."""

    def __init__(self, database: Database):
        self.database = database
        self._kept: dict[str, tuple[int, dict[str, Any]]] = {}  # by id: generation and metadata
        self._lock = threading.Lock()

    def all(self) -> dict[str, dict[str, Any]]:
        """Metadata of every collection: from memory, else from the database, else made again and kept in both."""
        c = collection.c
        query = sa.select(c.id, c.number, c.static, c.generation).order_by(c.id)
        with self.database.engine.connect() as connection:
            rows = connection.execute(query).all()
        with self._lock:
            out: dict[str, dict[str, Any]] = {}
            for row in rows:
                kept = self._kept.get(row.id)
                if kept is None or kept[0] != row.generation:
                    self._kept[row.id] = kept = self._describe(row)
                out[row.id] = kept[1]
            return out

    def _describe(self, row: Any) -> tuple[int, dict[str, Any]]:
        """(generation, metadata) of one collection. While a large one loses items, metadata may lag a minute."""
        with self.database.engine.connect() as connection:
            c = collection.c
            query = sa.select(c.generation, c.described, c.described_generation, c.described_at, c.shrunk, c.facts, c.facts_upto, c.facts_shrunk)  # fmt: skip
            known = connection.execute(query.where(c.number == row.number)).one()
            if known.described_generation == known.generation:
                return known.generation, json.loads(known.described)
            grown = known.facts is not None and known.facts_shrunk == known.shrunk
            lag = known.described_at is not None and time.time() - known.described_at < MAX_LAG
            if not grown and lag and _is_large(connection, row.number):
                return known.described_generation, json.loads(known.described)
            kept = (Facts.load(known.facts), known.facts_upto) if grown else (None, 0)
            upto = connection.execute(sa.select(sa.func.max(item.c.number)).where(item.c.number > kept[1])).scalar()
            facts = of_collection(connection, row.number, *kept)
            made = describe(connection, row.number, row.id, row.static, facts)
        values = {"described": json.dumps(made), "described_generation": known.generation, "described_at": time.time()}
        kept_facts = columns(facts, max(upto or 0, kept[1]), known.shrunk)
        same = (collection.c.number == row.number) & (collection.c.generation == known.generation)
        try:
            with self.database.writing() as connection:
                connection.execute(sa.update(collection).where(same).values(**values, **kept_facts))
        except sa.exc.OperationalError as error:  # a read-only database: every process makes its own
            logging.getLogger(__name__).info("collection metadata could not be kept: %s", error.orig)
        return known.generation, made


def _is_large(connection: sa.Connection, number: int) -> bool:
    beyond = sa.select(item.c.number).where(item.c.collection == number).offset(LARGE).limit(1)
    return connection.execute(beyond).first() is not None
