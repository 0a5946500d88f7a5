"""What the visible items of a collection have in common: extent, instants, values of their properties.

A first look reads every row of the collection once. After that only items with higher numbers are looked at, and what
they tell is merged, as long as nothing went or was hidden: then everything is looked at again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from backend.catalogue.tables import COLUMNS, item

MAX_INSTANTS = 1000  # instants listed in cube:dimensions; above, the extent alone
MAX_VALUES = 200  # values listed in a summary; above, none
DAY = 86_400_000_000
# property -> column
LISTED = {"platform": item.c.platform, "sat:relative_orbit": item.c.relative_orbit, "sat:orbit_state": item.c.orbit_state,
          "proj:code": item.c.code}  # fmt: skip
TILE = "grid:code"
RANGED = ("eo:cloud_cover", "eo:snow_cover", "view:sun_elevation", "view:off_nadir")


@dataclass
class Facts:
    """Of one collection; ``first`` and ``last`` are us since 1970.

    ``instants`` holds the earliest instant of each pass (`tables.item.c.datatake`, else the item's id), ``values`` what
    a property takes; None where there are more than can be listed.
    """

    west: float
    south: float
    east: float
    north: float
    first: int
    last: int
    crossing: bool = False
    instants: dict[str, int] | None = field(default_factory=dict)
    values: dict[str, list[Any] | None] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def bbox(self) -> list[float]:
        """West, south, east, north; all longitudes where an item crosses the antimeridian."""
        return (
            [-180.0, self.south, 180.0, self.north] if self.crossing else [self.west, self.south, self.east, self.north]
        )

    def merged(self, other: Facts) -> Facts:
        """Facts of both sets of items together."""
        instants = None
        if self.instants is not None and other.instants is not None:
            keys = self.instants.keys() | other.instants.keys()
            each = {k: min(f[k] for f in (self.instants, other.instants) if k in f) for k in keys}
            instants = each if len(each) <= MAX_INSTANTS else None
        ranges = dict(self.ranges)
        for name, (low, high) in other.ranges.items():
            own = ranges.get(name, (low, high))
            ranges[name] = min(low, own[0]), max(high, own[1])
        return Facts(
            min(self.west, other.west), min(self.south, other.south), max(self.east, other.east), max(self.north, other.north),
            min(self.first, other.first), max(self.last, other.last), self.crossing or other.crossing, instants,
            {n: _union(self.values.get(n, []), other.values.get(n, [])) for n in (*LISTED, TILE)}, ranges,
        )  # fmt: skip

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Facts:
        told = json.loads(text)
        return cls(**{**told, "ranges": {k: (v[0], v[1]) for k, v in told["ranges"].items()}})


def _union(a: list[Any] | None, b: list[Any] | None) -> list[Any] | None:
    if a is None or b is None:
        return None
    both = sorted({*a, *b})
    return both if len(both) <= MAX_VALUES else None


def of_collection(connection: sa.Connection, number: int, kept: Facts | None = None, upto: int = 0) -> Facts:
    """Facts of a collection's visible items, or of those behind number ``upto`` merged into ``kept``.

    Raises
    ------
    LookupError
        There is no visible item.
    """
    of = (item.c.collection == number) & ~item.c.hidden
    if kept is not None:
        # the unary plus: the few new rows are found by their number, not through the indexes on collection
        own = item.c.collection if connection.dialect.name != "sqlite" else sa.literal_column("+catalogue_item.collection", sa.Integer)  # fmt: skip
        of = (own == number) & ~item.c.hidden & (item.c.number > upto)
    found = _scan(connection, of)
    if found is None:
        if kept is None:
            raise LookupError("the collection has no visible item")
        return kept
    found.values[TILE] = _tiles(connection, number) if kept is None else _distinct(connection, of)
    found.instants = None if kept is None and _many_days(connection, number) else _instants(connection, of)
    return found if kept is None else kept.merged(found)


def _scan(connection: sa.Connection, of: sa.ColumnElement[bool]) -> Facts | None:
    """Everything that one pass over the rows can tell: groups of equal listed values, each with its extremes."""
    c = item.c
    extremes = [f(COLUMNS[n]) for n in RANGED for f in (sa.func.min, sa.func.max)]
    query = sa.select(
        sa.func.min(c.west), sa.func.min(c.south), sa.func.max(c.east), sa.func.max(c.north), sa.func.min(c.start), sa.func.max(c.start),
        sa.func.count().filter(c.west > c.east), *extremes, *LISTED.values(),
    ).where(of).group_by(*LISTED.values())  # fmt: skip
    groups = connection.execute(query).all()
    if not groups:
        return None
    west, south, east, north, first, last, crossing, *rest = zip(*groups)
    out = Facts(min(west), min(south), max(east), max(north), min(first), max(last), any(crossing))
    for k, name in enumerate(RANGED):
        lows, highs = ([v for v in rest[2 * k + side] if v is not None] for side in (0, 1))
        if lows:
            out.ranges[name] = min(lows), max(highs)
    for name, column in zip(LISTED, rest[2 * len(RANGED) :]):
        out.values[name] = _union([v for v in set(column) if v is not None], [])
    return out


def _instants(connection: sa.Connection, of: sa.ColumnElement[bool]) -> dict[str, int] | None:
    key = sa.func.coalesce(item.c.datatake, item.c.id)
    query = sa.select(key, sa.func.min(item.c.start)).where(of).group_by(key).limit(MAX_INSTANTS + 1)
    found = {row[0]: row[1] for row in connection.execute(query)}
    return found if len(found) <= MAX_INSTANTS else None


def _distinct(connection: sa.Connection, of: sa.ColumnElement[bool]) -> list[str] | None:
    query = sa.select(item.c.tile).where(of, item.c.tile.is_not(None)).distinct().limit(MAX_VALUES + 1)
    return _union(list(connection.execute(query).scalars()), [])


def _tiles(connection: sa.Connection, number: int) -> list[str] | None:
    """Tiles of a collection, one step of the index per tile."""
    own = sa.select(sa.func.min(item.c.tile)).where(item.c.collection == number)
    found: list[str] = []
    tile = connection.execute(own).scalar()
    while tile is not None and len(found) <= MAX_VALUES:
        found.append(tile)
        tile = connection.execute(own.where(item.c.tile > tile)).scalar()
    return _union(found, [])


def _many_days(connection: sa.Connection, number: int) -> bool:
    """More days with items than instants can be listed? One step of the index per day: grouping all rows is dear."""
    own = sa.select(sa.func.min(item.c.start)).where(item.c.collection == number)
    day, steps = connection.execute(own).scalar(), 0
    while day is not None and steps <= MAX_INSTANTS:
        steps += 1
        day = connection.execute(own.where(item.c.start >= (day // DAY + 1) * DAY)).scalar()
    return steps > MAX_INSTANTS


def columns(facts: Facts, upto: int, shrunk: int) -> Mapping[str, Any]:
    """Values of the collection's columns that keep ``facts``."""
    return {"facts": facts.dump(), "facts_upto": upto, "facts_shrunk": shrunk}
