"""openEO collection metadata, from the index and the declarations; no product file is opened."""

from __future__ import annotations

import json
import re
from typing import Any

import sqlalchemy as sa

from backend.catalogue.bands import ANGLES, MASKS
from backend.catalogue.build import ALWAYS, EXTENSIONS
from backend.catalogue.declared import declared
from backend.catalogue.facts import Facts
from backend.catalogue.records import instant_text
from backend.catalogue.tables import band

STAC_VERSION = "1.1.0"
DATACUBE = "https://stac-extensions.github.io/datacube/v2.2.0/schema.json"
ITEMS_ONLY = ("grid:",)  # extensions whose schema knows no collections
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


def describe(connection: sa.Connection, number: int, id: str, static: bool, facts: Facts) -> dict[str, Any]:
    """Metadata of one collection that has items; ``facts`` are those of its items."""
    known = declared(id)
    bands = _bands(connection, number)
    bbox = facts.bbox
    extent = [ALWAYS[0], ALWAYS[1]] if static else [instant_text(facts.first), instant_text(facts.last)]
    dimensions: dict[str, Any] = {
        "x": {"type": "spatial", "axis": "x", "extent": [bbox[0], bbox[2]], "reference_system": 4326},
        "y": {"type": "spatial", "axis": "y", "extent": [bbox[1], bbox[3]], "reference_system": 4326},
    }
    if not static:
        # closed: clients and validators stumble over null
        dimensions["t"] = {"type": "temporal", "extent": extent}
        if facts.instants:
            dimensions["t"]["values"] = list(dict.fromkeys(instant_text(v) for v in sorted(facts.instants.values())))
    if bands:
        dimensions["bands"] = {"type": "bands", "values": [b["name"] for b in bands]}
    summaries = _summaries(facts, bands)
    used = {k for b in bands for k in _public(b)} | set(summaries)
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [DATACUBE, *(u for p, u in EXTENSIONS.items() if p not in ITEMS_ONLY and any(k.startswith(p) for k in used))],
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
    if re.fullmatch(r"[A-Z]+_B\d[\dA]", name) and not name.startswith("SRE_"):
        return 7, 0, name  # footprints, defects and angles of single bands
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


def _summaries(facts: Facts, bands: list[dict[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {name: sorted(values) for name, values in facts.values.items() if values}
    for name, (low, high) in facts.ranges.items():
        out[name] = {"minimum": low, "maximum": high}
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
