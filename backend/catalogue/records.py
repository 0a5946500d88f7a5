"""Write products into the index: rows, places, documents, bands, and which version of an observation is visible.

Every function works inside the caller's transaction.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Container, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pystac
import sqlalchemy as sa
from shapely.geometry import shape

from backend.catalogue.build import iso, utc
from backend.catalogue.tables import COLUMNS, Places, band, collection, document, item, product
from processes.errors import ProcessError

Bbox = tuple[float, float, float, float]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VERSION_DIGITS = 8


def insert(connection: sa.Connection, places: Places, path: str, items: Sequence[pystac.Item]) -> None:
    keys: set[tuple[int, str]] = set()
    rows = []
    first = {str(each.collection_id): each for each in items}
    numbers = {id: _collection_number(connection, first[id]) for id in sorted(first)}
    for each in items:
        number = numbers[str(each.collection_id)]
        row = _row(each, number, path)
        row["number"] = connection.execute(sa.insert(item).values(**row).returning(item.c.number)).scalar_one()
        rows.append(row)
        keys.add((number, row["product"]))
        connection.execute(sa.insert(document).values(number=row["number"], json=_pack(each)))
        _describe_bands(connection, number, each)
    places.put(connection, rows)
    hidden = _supersede(connection, keys)
    _note_change(connection, {number for number, _ in keys}, shrunk=hidden)


def _pack(each: pystac.Item) -> bytes:
    """An item as it is kept: compressed JSON. Numbers that JSON does not know are written as STAC does (``"nan"``)."""
    body = each.to_dict(include_self_link=False, transform_hrefs=False)
    return zlib.compress(json.dumps(_known_numbers(body), separators=(",", ":"), allow_nan=False).encode(), 6)


def _known_numbers(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {k: _known_numbers(v) for k, v in value.items()}
    return [_known_numbers(v) for v in value] if isinstance(value, list | tuple) else value


def unpack(packed: bytes) -> dict[str, Any]:
    """The item's document that `insert` has kept."""
    text = zlib.decompress(packed)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # NaN, in an index made before
        return json.loads(text)


def to_item(found: dict[str, Any]) -> pystac.Item:
    """The item of a document that this index wrote (already migrated, without links): a third of pystac's own reading."""
    properties = found["properties"]
    when = properties.get("datetime")
    known = (
        "type",
        "stac_version",
        "stac_extensions",
        "id",
        "geometry",
        "bbox",
        "collection",
        "links",
        "assets",
        "properties",
    )
    out = pystac.Item(
        found["id"], found.get("geometry"), found.get("bbox"), None if when is None else _moment(when), properties,
        stac_extensions=found.get("stac_extensions"), collection=found.get("collection"),
        extra_fields={k: v for k, v in found.items() if k not in known},
    )  # fmt: skip
    for key, fields in found["assets"].items():
        asset = pystac.Asset(
            fields.pop("href"), fields.pop("title", None), fields.pop("description", None), fields.pop("type", None),
            fields.pop("roles", None), fields,
        )  # fmt: skip
        asset.owner = out
        out.assets[key] = asset
    for link in found.get("links") or ():
        out.add_link(pystac.Link.from_dict(link))
    return out


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _describe_bands(connection: sa.Connection, number: int, each: pystac.Item) -> None:
    """Note the bands that the collection did not have yet."""
    known = set(connection.execute(sa.select(band.c.name).where(band.c.collection == number)).scalars())
    for key, a in each.assets.items():
        for entry in a.extra_fields.get("bands", ()):
            if entry.get("name") and entry["name"] not in known:
                known.add(entry["name"])
                text = json.dumps({**_known_numbers(entry), "type": a.media_type, "roles": a.roles})
                connection.execute(sa.insert(band).values(collection=number, name=entry["name"], asset=key, json=text))


def _collection_number(connection: sa.Connection, each: pystac.Item) -> int:
    """Number of an item's collection, made where there is none.

    Its row stays locked until the transaction ends (PostgreSQL), so that item numbers of one collection become visible
    in their order: what describes a collection looks at the numbers behind the last it saw.
    """
    own = sa.select(collection.c.number).where(collection.c.id == each.collection_id).with_for_update()
    found = connection.execute(own).scalar()
    if found is not None:
        return found
    made = (
        sa.insert(collection).values(id=each.collection_id, static=each.datetime is None).returning(collection.c.number)
    )
    return connection.execute(made).scalar_one()


def drop(connection: sa.Connection, places: Places, paths: Sequence[str]) -> None:
    keys: set[tuple[int, str]] = set()
    for path in paths:
        found = connection.execute(
            sa.select(item.c.number, item.c.collection, item.c.product).where(item.c.path == path)
        ).all()
        numbers = [row.number for row in found]
        keys |= {(row.collection, row.product) for row in found}
        places.drop(connection, numbers)
        for part in (numbers[i : i + 500] for i in range(0, len(numbers), 500)):
            connection.execute(sa.delete(document).where(document.c.number.in_(part)))
            connection.execute(sa.delete(item).where(item.c.number.in_(part)))
        connection.execute(sa.delete(product).where(product.c.path == path))
    _supersede(connection, keys)
    touched = {number for number, _ in keys}
    _note_change(connection, touched, shrunk=touched)
    empty = ~sa.exists().where(item.c.collection == collection.c.number)
    for number in connection.execute(sa.select(collection.c.number).where(empty)).scalars().all():
        connection.execute(sa.delete(band).where(band.c.collection == number))
        connection.execute(sa.delete(collection).where(collection.c.number == number))


def _note_change(connection: sa.Connection, numbers: Iterable[int], *, shrunk: Container[int]) -> None:
    for number in sorted(numbers):
        changed = sa.update(collection).where(collection.c.number == number)
        gone = {"shrunk": collection.c.shrunk + 1} if number in shrunk else {}
        connection.execute(changed.values(generation=collection.c.generation + 1, **gone))


def _supersede(connection: sa.Connection, keys: Iterable[tuple[int, str]]) -> set[int]:
    """Of the items that show one observation, only the newest version stays visible.

    Returns the collections in which there was more than one.
    """
    several: set[int] = set()
    for number, key in keys:
        same = (item.c.collection == number) & (item.c.product == key)
        found = (
            connection.execute(sa.select(item.c.number).where(same).order_by(item.c.version.desc(), item.c.path))
            .scalars()
            .all()
        )
        if found:
            connection.execute(sa.update(item).where(same).values(hidden=item.c.number != found[0]))
        if len(found) > 1:
            several.add(number)
    return several


def micros(value: str | datetime) -> int:
    """Microseconds since 1970 (UTC) of an ISO instant. Raises ``ProcessError('TemporalExtentInvalid')``... for bad text."""
    try:
        moment = utc(value) if isinstance(value, str) else value
    except ValueError:
        raise ProcessError("ProcessParameterInvalid", f"'{value}' is not an ISO 8601 instant.") from None
    return (moment - EPOCH) // timedelta(microseconds=1)


def instant_text(moment: int) -> str:
    """The ISO instant so many microseconds after 1970 (UTC)."""
    return iso(EPOCH + timedelta(microseconds=moment))


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
        **{
            column.name: number_or_none(p.get(name))
            for name, column in COLUMNS.items()
            if isinstance(column.type, sa.Float)
        },
        "platform": p.get("platform"),
        "relative_orbit": p.get("sat:relative_orbit"),
        "orbit_state": p.get("sat:orbit_state"),
        "tile": p.get("grid:code"),
        "datatake": p.get("tuile:datatake"),
        "product": p.get("tuile:product") or each.id,
        "code": p.get("proj:code"),
        "version": version_key(p.get("processing:version"), p.get("updated") or p.get("created")),
    }


def number_or_none(value: Any) -> float | None:
    """A finite number of whatever a maker of items wrote, or None."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None


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
