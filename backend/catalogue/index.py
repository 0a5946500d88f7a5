"""`Catalogue`: items found by place, time and properties, in milliseconds, whatever their number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pystac
import sqlalchemy as sa
from shapely import prepare
from shapely.geometry import MultiPolygon, box, shape
from shapely.geometry.base import BaseGeometry

from backend.catalogue import tables
from backend.catalogue.conditions import Condition, split
from backend.catalogue.descriptions import Descriptions
from backend.catalogue.records import drop, insert, instant_text, micros, to_item, unpack
from backend.catalogue.tables import COLUMNS, collection, document, halves, item, metadata, places_for, product
from backend.catalogue.upgrade import upgrade
from backend.store.db import Database
from processes.errors import ProcessError

Bbox = tuple[float, float, float, float]
Interval = tuple[str | None, str | None]
TOUCH = 1e-4  # degrees: footprints follow curved tile sides within about 10 m


@dataclass(frozen=True)
class Pair:
    """Two passes over one place, one of each collection. ``hours`` is b minus a."""

    a: str
    b: str
    hours: float


@dataclass(frozen=True)
class Known:
    """A product as the index has it: ``reason`` of its rejection or None; ``cogs`` as in `tables.product`."""

    fingerprint: str
    reason: str | None
    cogs: str | None


class Catalogue:
    """The index of an archive; implements `processes.env.Catalogue`.

    Parameters
    ----------
    database : where the tables are (made on first use)
    """

    def __init__(self, database: Database):
        self.database = database
        self.engine = database.engine
        self.places = places_for(self.engine)
        self.descriptions = Descriptions(database)
        self._create()

    # -- questions ---------------------------------------------------------------------------------------------------

    def collections(self) -> list[dict[str, Any]]:
        """openEO metadata of every collection that has items, by id."""
        return list(self.descriptions.all().values())

    def collection(self, collection_id: str) -> dict[str, Any]:
        """openEO metadata of one collection. Raises ``ProcessError('CollectionNotFound')``."""
        found = self.descriptions.all().get(collection_id)
        if found is None:
            raise ProcessError(
                "CollectionNotFound", f"Collection '{collection_id}' does not exist.", collection=collection_id
            )
        return found

    def queryables(self, collection_id: str) -> dict[str, Any]:
        """JSON Schema of the properties a collection can be filtered by. Raises ``CollectionNotFound``."""
        from backend.catalogue.metadata import queryables

        return queryables(self.collection(collection_id))

    def search(
        self,
        collection_id: str,
        *,
        bbox: Bbox | None = None,
        interval: Interval | None = None,
        where: Sequence[Condition] = (),
        limit: int | None = None,
        after: tuple[str, str] | None = None,
        superseded: bool = False,
    ) -> list[pystac.Item]:
        """Items that touch ``bbox`` and start in ``interval``, ordered by instant, then id.

        Parameters
        ----------
        collection_id : raises ``CollectionNotFound`` when unknown
        bbox : west, south, east, north in EPSG:4326; west > east crosses the antimeridian
        interval : half-open ISO instants; ignored by static collections, whose items are valid at any time
        where : ``(property, op, value)``, op in ``= != < <= > >= in between``; items without the property do not match
        limit, after : paging: at most ``limit`` items behind the one with this (instant, id)
        superseded : also older versions of the same observation
        """
        number, static = self._number(collection_id)
        pushed, rest = split(where)
        query = self._select(number, static, bbox, interval, superseded).add_columns(document.c.json)
        query = (
            query.join(document, document.c.number == item.c.number).where(*pushed).order_by(item.c.start, item.c.id)
        )
        if after is not None:
            start = micros(after[0])
            query = query.where(sa.or_(item.c.start > start, sa.and_(item.c.start == start, item.c.id > after[1])))
        area = _area(bbox)
        exact = area is None and not rest  # every row is an answer: the database can stop at the limit
        if limit is not None and exact:
            query = query.limit(limit)
        out: list[pystac.Item] = []
        with self.engine.connect() as connection:
            for row in connection.execution_options(yield_per=500).execute(query):
                found = unpack(row.json)
                if area is not None and not _touches(found["geometry"], area):
                    continue
                if all(test(found["properties"]) for test in rest):
                    out.append(to_item(found))
                    if len(out) == limit:
                        break
        return out

    def item(self, collection_id: str, item_id: str) -> pystac.Item | None:
        """One item (its newest version first), or None."""
        query = (
            sa.select(document.c.json)
            .join(item, item.c.number == document.c.number)
            .join(collection, collection.c.number == item.c.collection)
            .where(collection.c.id == collection_id, item.c.id == item_id)
            .order_by(item.c.hidden, item.c.version.desc(), item.c.path)
            .limit(1)
        )
        with self.engine.connect() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else to_item(unpack(found))

    def count(
        self, collection_id: str | None = None, *, bbox: Bbox | None = None, interval: Interval | None = None, superseded: bool = False
    ) -> int:  # fmt: skip
        """Number of items whose bounding box touches ``bbox``, of one collection or of all."""
        with self.engine.connect() as connection:
            if collection_id is None:
                query = sa.select(sa.func.count()).select_from(item)
                return connection.execute(query if superseded else query.where(~item.c.hidden)).scalar_one()
            number, static = self._number(collection_id)
            found = self._select(number, static, bbox, interval, superseded).subquery()
            return connection.execute(sa.select(sa.func.count()).select_from(found)).scalar_one()

    def dates(self, collection_id: str, bbox: Bbox | None = None, interval: Interval | None = None, where: Sequence[Condition] = ()) -> list[str]:  # fmt: skip
        """Instants at which a place was observed: one per platform and datatake, the earliest instant of the pass.

        Answered from the index columns alone; ``where`` may name `tables.COLUMNS` only. Raises ``CollectionNotFound``,
        ``ProcessParameterInvalid``.
        """
        return [instant_text(start) for start, _ in self._passes(collection_id, bbox, interval, where)]

    def pairs(
        self, a: str, b: str, bbox: Bbox | None = None, interval: Interval | None = None, max_hours: float = 24.0,
        where: Sequence[Condition] = (),
    ) -> list[Pair]:  # fmt: skip
        """Passes of two collections over one place at most ``max_hours`` apart, ordered by instant of ``a``, then ``b``.

        ``where`` holds for the items of both; as in `dates`.
        """
        first, second = (self._passes(c, bbox, interval, where) for c in (a, b))
        reach, low, out = int(max_hours * 3_600_000_000), 0, []
        for start, key in first:
            while low < len(second) and second[low][0] < start - reach:
                low += 1
            for other, other_key in second[low:]:
                if other > start + reach:
                    break
                if a != b or (other, other_key) > (start, key):  # within one collection each pair comes once
                    out.append(Pair(instant_text(start), instant_text(other), round((other - start) / 3.6e9, 6)))
        return out

    # -- changes -----------------------------------------------------------------------------------------------------

    def ingest(self, paths: Iterable[Any], **options: Any) -> Any:
        """Take in what is new or changed under ``paths``; see `backend.catalogue.ingest.ingest`."""
        from backend.catalogue.ingest import ingest

        return ingest(self, paths, **options)

    def put(
        self,
        path: str,
        fingerprint: str,
        reader: str,
        items: Sequence[pystac.Item],
        reason: str | None,
        now: float,
        cogs: str | None = None,
    ) -> None:
        """Replace everything known of one product: its items, or why it was rejected. One transaction."""
        with self.database.writing() as connection:
            drop(connection, self.places, [path])
            if items:
                insert(connection, self.places, path, items)
            connection.execute(sa.insert(product).values(path=path, fingerprint=fingerprint, reader=reader, reason=reason, ingested=now, cogs=cogs))  # fmt: skip
            self._touch(connection)

    def remove(self, paths: Sequence[str]) -> None:
        """Forget products and their items. One transaction."""
        if paths:
            with self.database.writing() as connection:
                drop(connection, self.places, paths)
                self._touch(connection)

    def products(self, under: str | None = None) -> dict[str, Known]:
        """Product path -> what is known of it, of those at or under a folder."""
        query = sa.select(product.c.path, product.c.fingerprint, product.c.reason, product.c.cogs)
        if under is not None:
            prefix = under.rstrip("/") + "/"
            query = query.where(sa.or_(product.c.path == under, product.c.path.startswith(prefix, autoescape=True)))
        with self.engine.connect() as connection:
            return {row.path: Known(row.fingerprint, row.reason, row.cogs) for row in connection.execute(query)}

    def generation(self) -> str:
        """Changes with every change of the index."""
        with self.engine.connect() as connection:
            return (
                connection.execute(sa.select(tables.meta.c.value).where(tables.meta.c.key == "generation")).scalar()
                or "0"
            )

    def optimize(self) -> None:
        """After large changes: let the database look at its figures, and describe the collections."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA optimize")
            else:
                connection.exec_driver_sql("ANALYZE catalogue_item, catalogue_place, catalogue_document")
        self.collections()  # described here, so that the first client need not wait

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _create(self) -> None:
        if sa.inspect(self.engine).has_table("catalogue_meta"):
            with self.engine.connect() as connection:
                found = connection.execute(sa.select(tables.meta.c.value).where(tables.meta.c.key == "schema")).scalar()
            if found is not None and found != tables.SCHEMA_VERSION:
                self._upgrade()
            if found is not None:
                return
        with self.database.writing() as connection:
            _alone(connection)
            metadata.create_all(connection)
            self.places.create(connection)
            if connection.execute(sa.select(sa.func.count()).select_from(tables.meta)).scalar_one() == 0:
                connection.execute(
                    sa.insert(tables.meta),
                    [{"key": "schema", "value": tables.SCHEMA_VERSION}, {"key": "generation", "value": "0"}],
                )

    def _upgrade(self) -> None:
        with self.database.writing() as connection:
            _alone(connection)
            version = sa.select(tables.meta.c.value).where(tables.meta.c.key == "schema")
            found = connection.execute(version).scalar_one()
            if found != tables.SCHEMA_VERSION and not upgrade(connection, found):
                raise ProcessError("Internal", f"The catalogue was made by another version of Tuile (schema {found}); delete it and run 'tuile ingest' again.")  # fmt: skip

    def _number(self, collection_id: str) -> tuple[int, bool]:
        with self.engine.connect() as connection:
            row = connection.execute(
                sa.select(collection.c.number, collection.c.static).where(collection.c.id == collection_id)
            ).first()
        if row is None:
            raise ProcessError(
                "CollectionNotFound", f"Collection '{collection_id}' does not exist.", collection=collection_id
            )
        return row.number, row.static

    def _select(
        self, number: int, static: bool, bbox: Bbox | None, interval: Interval | None, superseded: bool
    ) -> sa.Select[Any]:
        start, end = (None, None) if static or interval is None else (micros(v) if v else None for v in interval)
        # with a box the spatial index must lead: the unary plus keeps the planner off the indexes on collection
        of = item.c.collection if bbox is None else sa.literal_column("+catalogue_item.collection", sa.Integer)
        query = sa.select(item.c.number, item.c.start, item.c.id, item.c.datatake).where(of == number)
        if not superseded:
            query = query.where(~item.c.hidden)
        if start is not None:
            query = query.where(item.c.start >= start)
        if end is not None:
            query = query.where(item.c.start < end)
        if bbox is not None:
            w, s, e, n = bbox
            boxes = halves(w - TOUCH, s - TOUCH, e + TOUCH, n + TOUCH) if w <= e else halves(w, s - TOUCH, e, n + TOUCH)
            query = query.where(self.places.inside(number, boxes, start, end))
        return query

    def _passes(self, collection_id: str, bbox: Bbox | None, interval: Interval | None, where: Sequence[Condition]) -> list[tuple[int, str]]:  # fmt: skip
        number, static = self._number(collection_id)
        pushed, rest = split(where)
        if rest:
            raise ProcessError("ProcessParameterInvalid", f"Dates can be filtered by {', '.join(COLUMNS)} only.")
        found = self._select(number, static, bbox, interval, False).where(*pushed).subquery()
        key = sa.func.coalesce(found.c.datatake, found.c.id)
        query = sa.select(sa.func.min(found.c.start).label("first"), key).group_by(key).order_by("first", key)
        with self.engine.connect() as connection:
            return [(row[0], row[1]) for row in connection.execute(query)]

    def _touch(self, connection: sa.Connection) -> None:
        value = sa.cast(sa.cast(tables.meta.c.value, sa.BigInteger) + 1, sa.String)
        connection.execute(sa.update(tables.meta).where(tables.meta.c.key == "generation").values(value=value))


def _alone(connection: sa.Connection) -> None:
    """Two processes may start at once: the second waits here (on SQLite already where the transaction begins)."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7104031)"))


def _area(bbox: Bbox | None) -> BaseGeometry | None:
    if bbox is None:
        return None
    area = MultiPolygon([box(*half) for half in halves(*bbox)]).buffer(TOUCH, join_style="mitre")
    prepare(area)
    return area


def _touches(geometry: dict[str, Any] | None, area: BaseGeometry) -> bool:
    return geometry is None or area.intersects(shape(geometry))
