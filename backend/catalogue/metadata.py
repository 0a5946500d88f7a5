"""openEO collection metadata, from the index and the declarations; no product file is opened."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from backend.catalogue.bands import ANGLES, MASKS
from backend.catalogue.build import ALWAYS, EXTENSIONS, iso
from backend.catalogue.declared import declared
from backend.catalogue.records import EPOCH
from backend.catalogue.tables import band, item

STAC_VERSION = "1.1.0"
DATACUBE = "https://stac-extensions.github.io/datacube/v2.2.0/schema.json"
MAX_INSTANTS = 1000  # instants listed in cube:dimensions; above, the extent alone
MAX_VALUES = 200  # values listed in a summary
BAND_FIELDS = ("eo:common_name", "eo:center_wavelength", "eo:full_width_half_max", "gsd", "data_type", "nodata", "unit",
               "raster:scale", "raster:offset", "description")  # fmt: skip

QUERYABLES: dict[str, dict[str, Any]] = {
    "eo:cloud_cover": {"title": "Cloud cover", "type": "number", "minimum": 0, "maximum": 100},
    "eo:snow_cover": {"title": "Snow cover", "type": "number", "minimum": 0, "maximum": 100},
    "platform": {"title": "Platform", "type": "string"},
    "sat:relative_orbit": {"title": "Relative orbit", "type": "integer", "minimum": 1},
    "sat:orbit_state": {"title": "Orbit state", "type": "string"},
    "grid:code": {"title": "Tile", "type": "string"},
    "processing:version": {"title": "Processing version", "type": "string"},
    "view:sun_elevation": {"title": "Mean sun elevation", "type": "number", "minimum": -90, "maximum": 90},
    "view:sun_azimuth": {"title": "Mean sun azimuth", "type": "number", "minimum": 0, "maximum": 360},
    "view:off_nadir": {"title": "Mean view zenith angle", "type": "number", "minimum": 0, "maximum": 90},
    "view:azimuth": {"title": "Mean view azimuth", "type": "number", "minimum": 0, "maximum": 360},
}


def describe(connection: sa.Connection, number: int, id: str, static: bool) -> dict[str, Any]:
    """Metadata of one collection that has items."""
    known = declared(id)
    bands = _bands(connection, number)
    of = (item.c.collection == number) & ~item.c.hidden
    bbox = _bbox(connection, of)
    extent = [ALWAYS[0], ALWAYS[1]] if static else _interval(connection, of)
    dimensions: dict[str, Any] = {
        "x": {"type": "spatial", "axis": "x", "extent": [bbox[0], bbox[2]], "reference_system": 4326},
        "y": {"type": "spatial", "axis": "y", "extent": [bbox[1], bbox[3]], "reference_system": 4326},
    }
    if not static:
        dimensions["t"] = {"type": "temporal", "extent": extent}
        if instants := _instants(connection, of):
            dimensions["t"]["values"] = instants
    if bands:
        dimensions["bands"] = {"type": "bands", "values": [b["name"] for b in bands]}
    used = {k for b in bands for k in b} | {"proj:"}
    summaries = _summaries(connection, of, bands)
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [DATACUBE, *(u for p, u in EXTENSIONS.items() if any(k.startswith(p) for k in used | set(summaries)))],
        "id": id,
        "title": known.title,
        "description": known.description,
        "license": known.license,
        "keywords": list(known.keywords),
        "providers": [dict(p) for p in known.providers],
        "extent": {"spatial": {"bbox": [bbox]}, "temporal": {"interval": [extent]}},
        "cube:dimensions": dimensions,
        "bands": [_public(b) for b in bands],
        "summaries": summaries,
        "item_assets": _item_assets(bands),
        "links": [dict(link) for link in known.links],
    }  # fmt: skip


def _bands(connection: sa.Connection, number: int) -> list[dict[str, Any]]:
    rows = connection.execute(sa.select(band.c.asset, band.c.json).where(band.c.collection == number)).all()
    return sorted(({"asset": row.asset, **json.loads(row.json)} for row in rows), key=lambda b: _rank(b["name"]))


def _rank(name: str) -> tuple[int, Any, str]:
    """Spectral bands first, then other data, masks, angles, and the coarser copies of all of them."""
    if re.search(r"_R\d$", name):
        return 6, 0, name
    if name in MASKS:
        return 4, MASKS.index(name), name
    if name in ANGLES:
        return 5, ANGLES.index(name), name
    if match := re.fullmatch(r"(SRE_)?B(\d+)(A?)", name):
        return (1 if match[1] else 0), int(match[2]) + (0.5 if match[3] else 0), name
    return (3 if name in ("CLM", "MG2", "EDG", "SAT", "SCL") else 2), 0, name


def _public(entry: dict[str, Any]) -> dict[str, Any]:
    out = {"name": entry["name"], **{k: entry[k] for k in BAND_FIELDS if entry.get(k) is not None}}
    if entry.get("tuile:kind") == "mask":
        out |= {"data_type": "uint8", "nodata": 255}
    return out


def _item_assets(bands: list[dict[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for entry in bands:
        made = out.setdefault(
            entry["asset"], {"title": entry["asset"], "roles": entry.get("roles") or ["data"], "bands": []}
        )
        if entry.get("type"):
            made["type"] = entry["type"]
        made["bands"].append(_public(entry))
    return out


def _bbox(connection: sa.Connection, of: sa.ColumnElement[bool]) -> list[float]:
    c = item.c
    query = sa.select(sa.func.min(c.west), sa.func.min(c.south), sa.func.max(c.east), sa.func.max(c.north),
                      sa.func.count().filter(c.west > c.east)).where(of)  # fmt: skip
    west, south, east, north, crossing = connection.execute(query).one()
    return [-180.0, south, 180.0, north] if crossing else [west, south, east, north]


def _interval(connection: sa.Connection, of: sa.ColumnElement[bool]) -> list[str]:
    """First and last instant. Closed: clients and validators stumble over null."""
    low, high = connection.execute(sa.select(sa.func.min(item.c.start), sa.func.max(item.c.start)).where(of)).one()
    return [iso(EPOCH + timedelta(microseconds=v)) for v in (low, high)]


def _instants(connection: sa.Connection, of: sa.ColumnElement[bool]) -> list[str]:
    key = sa.func.coalesce(item.c.datatake, item.c.id)
    first = sa.func.min(item.c.start).label("first")
    found = (
        connection.execute(sa.select(first).where(of).group_by(key).order_by(first).limit(MAX_INSTANTS + 1))
        .scalars()
        .all()
    )
    if len(found) > MAX_INSTANTS:
        return []
    return list(dict.fromkeys(iso(EPOCH + timedelta(microseconds=v)) for v in found))


def _summaries(connection: sa.Connection, of: sa.ColumnElement[bool], bands: list[dict[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    c = item.c
    for key, column in (("platform", c.platform), ("sat:relative_orbit", c.relative_orbit), ("sat:orbit_state", c.orbit_state),
                        ("grid:code", c.tile), ("proj:code", c.code)):  # fmt: skip
        query = sa.select(column).where(of, column.is_not(None)).distinct().order_by(column).limit(MAX_VALUES + 1)
        values = connection.execute(query).scalars().all()
        if values and len(values) <= MAX_VALUES:
            out[key] = list(values)
    low, high = connection.execute(sa.select(sa.func.min(c.cloud_cover), sa.func.max(c.cloud_cover)).where(of)).one()
    if low is not None:
        out["eo:cloud_cover"] = {"minimum": low, "maximum": high}
    if gsd := sorted({b["gsd"] for b in bands if b.get("gsd")}):
        out["gsd"] = gsd
    return out


def queryables(document: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of the properties that items of a collection can be filtered by."""
    summaries = document.get("summaries", {})
    properties: dict[str, Any] = {}
    for name, schema in QUERYABLES.items():
        values = summaries.get(name)
        listed = {"enum": values} if isinstance(values, list) and len(values) <= 100 else {}
        properties[name] = {**schema, **listed}
    return {
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "type": "object",
        "title": document["title"],
        "properties": properties,
        "additionalProperties": True,
    }
