"""`Catalogue`: items found by place, time and properties, in milliseconds, whatever their number."""

from __future__ import annotations

import json
import re
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pystac
import sqlalchemy as sa
from shapely import prepare
from shapely.geometry import MultiPolygon, box, shape
from shapely.geometry.base import BaseGeometry

from backend.catalogue import tables
from backend.catalogue.build import iso, utc
from backend.catalogue.tables import COLUMNS, band, collection, document, halves, item, metadata, places_for, product
from backend.store.db import Database
from processes.errors import ProcessError

Bbox = tuple[float, float, float, float]
Interval = tuple[str | None, str | None]
Condition = tuple[str, str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TOUCH = 1e-4  # degrees: footprints follow curved tile sides within about 10 m
VERSION_DIGITS = 8


@dataclass(frozen=True)
class Pair:
    """Two passes over one place, one of each collection. ``hours`` is b minus a."""

    a: str
    b: str
    hours: float


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
        self._metadata: tuple[str, dict[str, dict[str, Any]]] | None = None
        self._lock = threading.Lock()
        self._create()

    # -- questions ---------------------------------------------------------------------------------------------------

    def collections(self) -> list[dict[str, Any]]:
        """openEO metadata of every collection that has items, by id."""
        return [self._documents()[k] for k in sorted(self._documents())]

    def collection(self, collection_id: str) -> dict[str, Any]:
        """openEO metadata of one collection. Raises ``ProcessError('CollectionNotFound')``."""
        found = self._documents().get(collection_id)
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
        pushed, rest = _split(where)
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
                found = json.loads(zlib.decompress(row.json))
                if area is not None and not _touches(found["geometry"], area):
                    continue
                if all(test(found["properties"]) for test in rest):
                    out.append(_to_item(found))
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
        return None if found is None else _to_item(json.loads(zlib.decompress(found)))

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
        return [
            iso(EPOCH + timedelta(microseconds=start))
            for start, _ in self._passes(collection_id, bbox, interval, where)
        ]

    def pairs(
        self, a: str, b: str, bbox: Bbox | None = None, interval: Interval | None = None, max_hours: float = 24.0
    ) -> list[Pair]:
        """Passes of two collections over one place at most ``max_hours`` apart, ordered by instant of ``a``, then ``b``."""
        first, second = (self._passes(c, bbox, interval, ()) for c in (a, b))
        reach, low, out = int(max_hours * 3_600_000_000), 0, []
        for start, key in first:
            while low < len(second) and second[low][0] < start - reach:
                low += 1
            for other, other_key in second[low:]:
                if other > start + reach:
                    break
                if a != b or key < other_key:
                    out.append(Pair(_text(start), _text(other), round((other - start) / 3.6e9, 6)))
        return out

    # -- changes -----------------------------------------------------------------------------------------------------

    def ingest(self, paths: Iterable[Any], **options: Any) -> Any:
        """Take in what is new or changed under ``paths``; see `backend.catalogue.ingest.ingest`."""
        from backend.catalogue.ingest import ingest

        return ingest(self, paths, **options)

    def put(
        self, path: str, fingerprint: str, reader: str, items: Sequence[pystac.Item], reason: str | None, now: float
    ) -> None:
        """Replace everything known of one product: its items, or why it was rejected. One transaction."""
        with self._write() as connection:
            self._drop(connection, [path])
            if items:
                self._insert(connection, path, items)
            connection.execute(sa.insert(product).values(path=path, fingerprint=fingerprint, reader=reader, reason=reason, ingested=now))  # fmt: skip
            self._touch(connection)

    def remove(self, paths: Sequence[str]) -> None:
        """Forget products and their items. One transaction."""
        if paths:
            with self._write() as connection:
                self._drop(connection, paths)
                self._touch(connection)

    def products(self, under: str | None = None) -> dict[str, tuple[str, str | None]]:
        """Product path -> (fingerprint, reason of rejection or None), of those at or under a folder."""
        query = sa.select(product.c.path, product.c.fingerprint, product.c.reason)
        if under is not None:
            prefix = under.rstrip("/") + "/"
            query = query.where(sa.or_(product.c.path == under, product.c.path.startswith(prefix, autoescape=True)))
        with self.engine.connect() as connection:
            return {row.path: (row.fingerprint, row.reason) for row in connection.execute(query)}

    def generation(self) -> str:
        """Changes with every change of the index."""
        with self.engine.connect() as connection:
            return (
                connection.execute(sa.select(tables.meta.c.value).where(tables.meta.c.key == "generation")).scalar()
                or "0"
            )

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _write(self) -> Any:
        return self.engine.execution_options(tuile_begin="IMMEDIATE").begin()

    def _create(self) -> None:
        if sa.inspect(self.engine).has_table("catalogue_meta"):
            with self.engine.connect() as connection:
                found = connection.execute(sa.select(tables.meta.c.value).where(tables.meta.c.key == "schema")).scalar()
            if found == tables.SCHEMA_VERSION:
                return
            if found is not None:
                raise ProcessError("Internal", f"The catalogue was made by another version of Tuile (schema {found}); delete it and run 'tuile ingest' again.")  # fmt: skip
        with self._write() as connection:
            if connection.dialect.name == "postgresql":  # two processes may start at once
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7104031)"))
            metadata.create_all(connection)
            self.places.create(connection)
            if connection.execute(sa.select(sa.func.count()).select_from(tables.meta)).scalar_one() == 0:
                connection.execute(
                    sa.insert(tables.meta),
                    [{"key": "schema", "value": tables.SCHEMA_VERSION}, {"key": "generation", "value": "0"}],
                )

    def _documents(self) -> dict[str, dict[str, Any]]:
        """Metadata of every collection, made again when the index has changed."""
        from backend.catalogue.metadata import describe_all

        current = self.generation()
        with self._lock:
            if self._metadata is None or self._metadata[0] != current:
                self._metadata = (current, describe_all(self))
            return self._metadata[1]

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
        query = sa.select(item.c.number, item.c.start, item.c.id, item.c.datatake).where(item.c.collection == number)
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
        pushed, rest = _split(where)
        if rest:
            raise ProcessError("ProcessParameterInvalid", f"Dates can be filtered by {', '.join(COLUMNS)} only.")
        found = self._select(number, static, bbox, interval, False).where(*pushed).subquery()
        key = sa.func.coalesce(found.c.datatake, found.c.id)
        query = sa.select(sa.func.min(found.c.start).label("first"), key).group_by(key).order_by("first", key)
        with self.engine.connect() as connection:
            return [(row[0], row[1]) for row in connection.execute(query)]

    def _insert(self, connection: sa.Connection, path: str, items: Sequence[pystac.Item]) -> None:
        keys: set[tuple[int, str]] = set()
        rows = []
        for each in items:
            number = self._collection_number(connection, each)
            row = _row(each, number, path)
            row["number"] = connection.execute(sa.insert(item).values(**row).returning(item.c.number)).scalar_one()
            rows.append(row)
            keys.add((number, row["product"]))
            text = json.dumps(each.to_dict(include_self_link=False, transform_hrefs=False), separators=(",", ":"))
            connection.execute(sa.insert(document).values(number=row["number"], json=zlib.compress(text.encode(), 6)))
            self._describe_bands(connection, number, each)
        self.places.put(connection, rows)
        self._supersede(connection, keys)

    def _describe_bands(self, connection: sa.Connection, number: int, each: pystac.Item) -> None:
        """Note the bands that the collection did not have yet."""
        known = set(connection.execute(sa.select(band.c.name).where(band.c.collection == number)).scalars())
        for key, a in each.assets.items():
            for entry in a.extra_fields.get("bands", ()):
                if entry.get("name") and entry["name"] not in known:
                    known.add(entry["name"])
                    text = json.dumps({**entry, "type": a.media_type, "roles": a.roles})
                    connection.execute(
                        sa.insert(band).values(collection=number, name=entry["name"], asset=key, json=text)
                    )

    def _collection_number(self, connection: sa.Connection, each: pystac.Item) -> int:
        found = connection.execute(sa.select(collection.c.number).where(collection.c.id == each.collection_id)).scalar()
        if found is not None:
            return found
        made = (
            sa.insert(collection)
            .values(id=each.collection_id, static=each.datetime is None)
            .returning(collection.c.number)
        )
        return connection.execute(made).scalar_one()

    def _drop(self, connection: sa.Connection, paths: Sequence[str]) -> None:
        keys: set[tuple[int, str]] = set()
        for path in paths:
            found = connection.execute(
                sa.select(item.c.number, item.c.collection, item.c.product).where(item.c.path == path)
            ).all()
            numbers = [row.number for row in found]
            keys |= {(row.collection, row.product) for row in found}
            self.places.drop(connection, numbers)
            for part in (numbers[i : i + 500] for i in range(0, len(numbers), 500)):
                connection.execute(sa.delete(document).where(document.c.number.in_(part)))
                connection.execute(sa.delete(item).where(item.c.number.in_(part)))
            connection.execute(sa.delete(product).where(product.c.path == path))
        self._supersede(connection, keys)
        empty = ~sa.exists().where(item.c.collection == collection.c.number)
        for number in connection.execute(sa.select(collection.c.number).where(empty)).scalars().all():
            connection.execute(sa.delete(band).where(band.c.collection == number))
            connection.execute(sa.delete(collection).where(collection.c.number == number))

    def _supersede(self, connection: sa.Connection, keys: Iterable[tuple[int, str]]) -> None:
        """Of the items that show one observation, only the newest version stays visible."""
        for number, key in keys:
            same = (item.c.collection == number) & (item.c.product == key)
            found = (
                connection.execute(sa.select(item.c.number).where(same).order_by(item.c.version.desc(), item.c.path))
                .scalars()
                .all()
            )
            if found:
                connection.execute(sa.update(item).where(same).values(hidden=item.c.number != found[0]))

    def _touch(self, connection: sa.Connection) -> None:
        value = sa.cast(sa.cast(tables.meta.c.value, sa.BigInteger) + 1, sa.String)
        connection.execute(sa.update(tables.meta).where(tables.meta.c.key == "generation").values(value=value))


def micros(value: str | datetime) -> int:
    """Microseconds since 1970 (UTC) of an ISO instant. Raises ``ProcessError('TemporalExtentInvalid')``... for bad text."""
    try:
        moment = utc(value) if isinstance(value, str) else value
    except ValueError:
        raise ProcessError("ProcessParameterInvalid", f"'{value}' is not an ISO 8601 instant.") from None
    return (moment - EPOCH) // timedelta(microseconds=1)


def _text(start: int) -> str:
    return iso(EPOCH + timedelta(microseconds=start))


def _row(each: pystac.Item, number: int, path: str) -> dict[str, Any]:
    p = each.properties
    start = each.datetime or each.common_metadata.start_datetime or EPOCH
    west, south, east, north = plain_bbox(each)
    return {
        "collection": number,
        "id": each.id,
        "path": path,
        "start": micros(start if start.tzinfo else start.replace(tzinfo=UTC)),
        "west": west,
        "south": south,
        "east": east,
        "north": north,
        "cloud_cover": p.get("eo:cloud_cover"),
        "platform": p.get("platform"),
        "relative_orbit": p.get("sat:relative_orbit"),
        "orbit_state": p.get("sat:orbit_state"),
        "tile": p.get("grid:code"),
        "datatake": p.get("tuile:datatake"),
        "product": p.get("tuile:product") or each.id,
        "code": p.get("proj:code"),
        "version": version_key(p.get("processing:version"), p.get("updated") or p.get("created")),
    }


def plain_bbox(each: pystac.Item) -> Bbox:
    """West, south, east, north; three-dimensional boxes lose their heights, a missing box is taken from the geometry."""
    if each.bbox and len(each.bbox) == 6:
        return each.bbox[0], each.bbox[1], each.bbox[3], each.bbox[4]
    if each.bbox:
        return each.bbox[0], each.bbox[1], each.bbox[2], each.bbox[3]
    return shape(each.geometry).bounds if each.geometry else (-180.0, -90.0, 180.0, 90.0)


def version_key(version: Any, made: Any) -> str:
    """Text that sorts as versions do (numbers by value), then by production date."""
    numbers = re.findall(r"\d+", str(version or ""))
    return ".".join(n.zfill(VERSION_DIGITS) for n in numbers) + "|" + str(made or "")


def _split(where: Sequence[Condition]) -> tuple[list[sa.ColumnElement[bool]], list[Callable[[dict[str, Any]], bool]]]:
    """Conditions for SQL columns, and tests on item properties for the rest."""
    pushed: list[sa.ColumnElement[bool]] = []
    rest: list[Callable[[dict[str, Any]], bool]] = []
    for name, op, value in where:
        if op not in OPERATORS:
            raise ProcessError(
                "ProcessParameterInvalid", f"The operator '{op}' is not known; there are {', '.join(OPERATORS)}."
            )
        if name in COLUMNS:
            pushed.append(_push(COLUMNS[name], op, value))
        else:
            rest.append(partial(_holds, name, op, value))
    return pushed, rest


def _push(column: sa.Column[Any], op: str, value: Any) -> sa.ColumnElement[bool]:
    if op == "in":
        return column.in_(list(value))
    if op == "between":
        return column.between(value[0], value[1])
    if op == "=":
        return column == value
    if op == "!=":
        return column != value
    return column.op(op, is_comparison=True)(value)


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "in": lambda a, b: a in b,
    "between": lambda a, b: b[0] <= a <= b[1],
}


def _holds(name: str, op: str, value: Any, properties: dict[str, Any]) -> bool:
    own = properties.get(name)
    try:
        return own is not None and OPERATORS[op](own, value)
    except TypeError:  # text compared with a number: not a match
        return False


def _area(bbox: Bbox | None) -> BaseGeometry | None:
    if bbox is None:
        return None
    area = MultiPolygon([box(*half) for half in halves(*bbox)]).buffer(TOUCH, join_style="mitre")
    prepare(area)
    return area


def _touches(geometry: dict[str, Any] | None, area: BaseGeometry) -> bool:
    return geometry is None or area.intersects(shape(geometry))


def _to_item(found: dict[str, Any]) -> pystac.Item:
    return pystac.Item.from_dict(found, preserve_dict=False, migrate=False)
