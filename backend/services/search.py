"""The catalogue as a layer asks it: the same questions for every tile, answered once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from processes.demand import EVERYTHING, WGS84_NAME, Demand
from processes.env import Catalogue
from processes.errors import ProcessError
from processes.extents import box_in

if TYPE_CHECKING:
    import pystac

KEPT = 64  # answers
MANY = 200  # items above which an answer is narrowed to the tile's surroundings
_DEGREES = 0.1


class Searches:
    """`processes.env.Catalogue` of one layer. ``demand`` is that of the block being drawn.

    A graph over a large area finds the items of all of it before it looks at the few under a tile: many items are asked
    for again, around the tile only.
    """

    def __init__(self, catalogue: Catalogue):
        self._catalogue = catalogue
        self._collections: dict[str, dict[str, Any]] = {}
        self._found: OrderedDict[Any, list[pystac.Item]] = OrderedDict()
        self.demand: Demand = EVERYTHING

    def collection(self, collection_id: str) -> dict[str, Any]:
        if collection_id not in self._collections:
            self._collections[collection_id] = self._catalogue.collection(collection_id)
        return self._collections[collection_id]

    def search(
        self,
        collection_id: str,
        *,
        bbox: tuple[float, float, float, float] | None = None,
        interval: tuple[str | None, str | None] | None = None,
        where: Sequence[tuple[str, str, Any]] = (),
    ) -> list[pystac.Item]:
        items = self._search(collection_id, bbox, interval, where)
        if len(items) <= MANY or self.demand.box is None:
            return items
        around = self._around(bbox)
        return (self._search(collection_id, around, interval, where) if around else []) or items[:1]

    def _search(self, collection_id: str, bbox: Any, interval: Any, where: Any) -> list[pystac.Item]:
        key = (collection_id, bbox, interval, repr(where))
        if key not in self._found:
            self._found[key] = self._catalogue.search(collection_id, bbox=bbox, interval=interval, where=where)
            while len(self._found) > KEPT:
                self._found.popitem(last=False)
        self._found.move_to_end(key)
        return self._found[key]

    def _around(self, bbox: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
        assert self.demand.box is not None
        try:
            west, south, east, north = box_in(self.demand.box, WGS84_NAME)
        except ProcessError:
            return None
        west, south, east, north = west - _DEGREES, south - _DEGREES, east + _DEGREES, north + _DEGREES
        if bbox is not None and bbox[0] <= bbox[2]:
            west, south, east, north = max(west, bbox[0]), max(south, bbox[1]), min(east, bbox[2]), min(north, bbox[3])
        return (west, south, east, north) if west <= east and south <= north else None
