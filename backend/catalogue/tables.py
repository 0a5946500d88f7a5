"""Tables of the index, and the spatial index of each database.

One row per item with the columns that searches use; the item itself is compressed JSON in a table of its own, so that
scans stay narrow. ``catalogue_place`` is what makes a search fast: an R*Tree in SQLite, a GiST index over built-in
range and box types in PostgreSQL (no extension needed). An item across the antimeridian has two places.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION = "4"
metadata = MetaData()
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite autoincrements INTEGER PRIMARY KEY only

meta = Table(
    "catalogue_meta", metadata, Column("key", String, primary_key=True), Column("value", String, nullable=False)
)

collection = Table(
    "catalogue_collection",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("static", Boolean, nullable=False, default=False),
    Column("generation", Integer, nullable=False, default=0),  # changes with the collection's items
    Column("shrunk", Integer, nullable=False, default=0, server_default="0"),  # changes when items go or are hidden
    # what its items have in common (see `facts`), as of the item numbers up to facts_upto and of facts_shrunk
    Column("facts", Text),
    Column("facts_upto", BigInteger),
    Column("facts_shrunk", Integer),
    Column("described", Text),  # its openEO metadata as of described_generation
    Column("described_generation", Integer),
    Column("described_at", Float),  # seconds since 1970
)

product = Table(
    "catalogue_product",
    metadata,
    Column("path", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("reader", String, nullable=False),
    Column("reason", String),  # why it was rejected; NULL: it was taken
    Column("cogs", String),  # folder of its COG copies; '' where it needed none; NULL: not asked for
    Column("ingested", Float, nullable=False),  # seconds since 1970
)

item = Table(
    "catalogue_item",
    metadata,
    Column("number", _Id, primary_key=True),
    Column("collection", Integer, ForeignKey("catalogue_collection.number"), nullable=False),
    Column("id", String, nullable=False),
    Column("path", String, nullable=False, index=True),  # of its product
    Column("start", BigInteger, nullable=False),  # us since 1970, UTC
    Column("west", Float, nullable=False),
    Column("south", Float, nullable=False),
    Column("east", Float, nullable=False),  # < west across the antimeridian
    Column("north", Float, nullable=False),
    Column("cloud_cover", Float),
    Column("snow_cover", Float),
    Column("sun_elevation", Float),
    Column("sun_azimuth", Float),
    Column("off_nadir", Float),
    Column("view_azimuth", Float),
    Column("platform", String),
    Column("relative_orbit", Integer),
    Column("orbit_state", String),
    Column("tile", String),
    Column("datatake", String),
    Column("product", String),
    Column("code", String),  # CRS of its imagery
    Column("version", String, nullable=False),  # sorts as versions do
    Column("hidden", Boolean, nullable=False, default=False),  # a newer version of the same observation is there
    Index("catalogue_item_time", "collection", "start", "id"),
    Index("catalogue_item_id", "collection", "id"),
    Index("catalogue_item_tile", "collection", "tile", "start", "id"),
    Index("catalogue_item_product", "collection", "product"),
)

document = Table(
    "catalogue_document",
    metadata,
    Column("number", _Id, primary_key=True, autoincrement=False),
    Column("json", LargeBinary, nullable=False),  # zlib-compressed
)

# what bands a collection has: the union over its items, kept while the collection has any
band = Table(
    "catalogue_band",
    metadata,
    Column("collection", Integer, ForeignKey("catalogue_collection.number"), primary_key=True),
    Column("name", String, primary_key=True),
    Column("asset", String, nullable=False),
    Column("json", Text, nullable=False),  # the band's entry, with media type and roles of its asset
)

# item property -> column
COLUMNS: Mapping[str, Column[Any]] = {
    "eo:cloud_cover": item.c.cloud_cover,
    "eo:snow_cover": item.c.snow_cover,
    "view:sun_elevation": item.c.sun_elevation,
    "view:sun_azimuth": item.c.sun_azimuth,
    "view:off_nadir": item.c.off_nadir,
    "view:azimuth": item.c.view_azimuth,
    "platform": item.c.platform,
    "sat:relative_orbit": item.c.relative_orbit,
    "sat:orbit_state": item.c.orbit_state,
    "grid:code": item.c.tile,
    "tuile:datatake": item.c.datatake,
    "tuile:product": item.c.product,
}

Box = tuple[float, float, float, float]
_DAY = 86_400_000_000
EPOCH_DAYS = 10957  # 2000-01-01: R*Tree coordinates are 32-bit floats, small numbers keep them within a minute


class Places:
    """The spatial index of one database."""

    def create(self, connection: sa.Connection) -> None:
        raise NotImplementedError

    def put(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add places of item rows (``number collection start west south east north``)."""
        raise NotImplementedError

    def drop(self, connection: sa.Connection, numbers: Sequence[int]) -> None:
        raise NotImplementedError

    def inside(
        self, collection: int, boxes: Iterable[Box], start: int | None, end: int | None
    ) -> sa.ColumnElement[bool]:
        """Condition on ``catalogue_item``: it touches one of ``boxes``; time narrows the index scan, not the answer."""
        raise NotImplementedError


def halves(west: float, south: float, east: float, north: float) -> list[Box]:
    """The one or two plain boxes of a box that may cross the antimeridian (west > east)."""
    if west <= east:
        return [(west, south, east, north)]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


class RTreePlaces(Places):
    """SQLite R*Tree over longitude, latitude, day and collection. Row id = 2 x item number + half."""

    def create(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql(
            "CREATE VIRTUAL TABLE IF NOT EXISTS catalogue_place USING rtree(id, west, east, south, north, day0, day1, c0, c1)"
        )

    def put(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        values = []
        for row in rows:
            day = row["start"] / _DAY - EPOCH_DAYS
            for half, (w, s, e, n) in enumerate(halves(row["west"], row["south"], row["east"], row["north"])):
                values.append((2 * row["number"] + half, w, e, s, n, day, day, row["collection"], row["collection"]))
        if values:
            connection.exec_driver_sql("INSERT INTO catalogue_place VALUES (?,?,?,?,?,?,?,?,?)", values)

    def drop(self, connection: sa.Connection, numbers: Sequence[int]) -> None:
        if numbers:
            ids = [(2 * n + half,) for n in numbers for half in (0, 1)]
            connection.exec_driver_sql("DELETE FROM catalogue_place WHERE id = ?", ids)

    def inside(
        self, collection: int, boxes: Iterable[Box], start: int | None, end: int | None
    ) -> sa.ColumnElement[bool]:
        place = sa.table(
            "catalogue_place",
            *(sa.column(c) for c in ("id", "west", "east", "south", "north", "day0", "day1", "c0", "c1")),
        )
        c = place.c
        found: list[sa.Select[Any]] = []
        for west, south, east, north in boxes:
            tests = [
                c.west <= east,
                c.east >= west,
                c.south <= north,
                c.north >= south,
                c.c0 <= collection,
                c.c1 >= collection,
            ]
            if start is not None:
                tests.append(c.day1 >= start / _DAY - EPOCH_DAYS)
            if end is not None:
                tests.append(c.day0 <= end / _DAY - EPOCH_DAYS)
            found.append(sa.select(sa.literal_column("id / 2")).select_from(place).where(*tests))
        return item.c.number.in_(found[0] if len(found) == 1 else sa.union(*found))


class GistPlaces(Places):
    """PostgreSQL: one GiST index over (collection as int4range, box, time as int8range), built-in operator classes."""

    def create(self, connection: sa.Connection) -> None:
        for statement in (
            "CREATE TABLE IF NOT EXISTS catalogue_place ("
            "number bigint NOT NULL, collection int4range NOT NULL, extent box NOT NULL, span int8range NOT NULL)",
            "CREATE INDEX IF NOT EXISTS catalogue_place_gist ON catalogue_place USING gist (extent, span, collection)",
            "CREATE INDEX IF NOT EXISTS catalogue_place_number ON catalogue_place (number)",
        ):
            connection.exec_driver_sql(statement)

    def put(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        values = [
            {"n": row["number"], "c": row["collection"], "t": row["start"], "w": w, "s": s, "e": e, "k": n}
            for row in rows
            for w, s, e, n in halves(row["west"], row["south"], row["east"], row["north"])
        ]
        if values:
            connection.execute(sa.text(
                "INSERT INTO catalogue_place VALUES (:n, int4range(:c, :c, '[]'), "
                "box(point(CAST(:e AS float8), CAST(:k AS float8)), point(CAST(:w AS float8), CAST(:s AS float8))), int8range(:t, :t, '[]'))"), values)  # fmt: skip

    def drop(self, connection: sa.Connection, numbers: Sequence[int]) -> None:
        if numbers:
            connection.execute(sa.text("DELETE FROM catalogue_place WHERE number = ANY(:n)"), {"n": list(numbers)})

    def inside(
        self, collection: int, boxes: Iterable[Box], start: int | None, end: int | None
    ) -> sa.ColumnElement[bool]:
        found: list[sa.Select[Any]] = []
        for west, south, east, north in boxes:
            where = [
                sa.literal_column(f"extent && box(point({east!r},{north!r}), point({west!r},{south!r}))", sa.Boolean),
                sa.literal_column(f"collection && int4range({collection:d},{collection:d},'[]')", sa.Boolean),
            ]
            if start is not None or end is not None:
                low, high = ("NULL" if v is None else f"{v:d}" for v in (start, end))
                where.append(sa.literal_column(f"span && int8range({low},{high},'[]')", sa.Boolean))
            found.append(sa.select(sa.column("number")).select_from(sa.table("catalogue_place")).where(*where))
        return item.c.number.in_(found[0] if len(found) == 1 else sa.union(*found))


def places_for(engine: sa.Engine) -> Places:
    """The spatial index that fits the database."""
    if engine.dialect.name == "sqlite":
        return RTreePlaces()
    if engine.dialect.name == "postgresql":
        return GistPlaces()
    raise ValueError(f"the catalogue runs on SQLite or PostgreSQL, not on {engine.dialect.name}")
