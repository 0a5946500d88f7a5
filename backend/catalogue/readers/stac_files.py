"""STAC on disk: an item JSON beside its rasters, or a whole catalogue (catalog.json, collection.json, items).

Items of other makers are brought to the form of ``processes/load/README.md``: hrefs made absolute, grids read from the
files where the item does not tell them, the band lists of STAC 1.0 (``eo:bands``, ``raster:bands``) merged.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pystac

from backend.catalogue import build
from backend.catalogue.grids import probe
from backend.catalogue.reader import Reader, Rejected
from processes.load.safexml import MAX_BYTES
from processes.load.stac_items import nodata_of

FAMILY = "stac"
ROOTS = ("catalog.json", "collection.json")
RASTER = re.compile(r"\.(tiff?|jp2|vrt|hgt|img)$", re.IGNORECASE)
MAX_DEPTH = 30


def sniff(path: Path) -> bool:
    """A folder with a catalogue or collection at its root, or a JSON beside a raster of the same name."""
    if path.is_dir():
        return any((path / n).is_file() for n in ROOTS)
    if path.suffix.lower() not in (".json", ".geojson"):
        return False
    return path.name.lower() == "item.json" or any(
        path.with_suffix(s).is_file() for s in (".tif", ".tiff", ".TIF", ".jp2")
    )


def read(path: Path) -> list[pystac.Item]:
    """Every item of the catalogue, or the one item. Raises `Rejected`."""
    if path.is_dir():
        root = next(path / n for n in ROOTS if (path / n).is_file())
        found = [convert(path, file, document, parent) for file, document, parent in _items(path, root)]
        if not found:
            raise Rejected(path, f"{root.name} leads to no item")
        return found
    document = _load(path, path)
    if document.get("type") != "Feature" or "stac_version" not in document:
        raise Rejected(path, "is no STAC item")
    return [convert(path, path, document, None)]


def members(path: Path) -> list[Path]:
    """The item and the rasters of the same name, or the whole folder."""
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    mates = path.parent.glob("*" if path.name.lower() == "item.json" else f"{glob.escape(path.stem)}.*")
    return sorted(p for p in mates if p.is_file())


def _load(product: Path, file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise Rejected(product, f"{file.name} is too large")
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Rejected(product, f"{file.name} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise Rejected(product, f"{file.name} is no STAC document")
    return found


def _items(product: Path, root: Path) -> Iterator[tuple[Path, dict[str, Any], str | None]]:
    """Follow ``item`` and ``child`` links that stay on disk, each document once."""
    seen: set[Path] = set()
    todo: list[tuple[Path, str | None, int]] = [(root.resolve(), None, 0)]
    while todo:
        file, parent, depth = todo.pop()
        if file in seen or depth > MAX_DEPTH:
            continue
        seen.add(file)
        document = _load(product, file)
        kind = document.get("type")
        if kind == "Feature":
            yield file, document, parent
            continue
        name = document.get("id") if kind == "Collection" else parent
        for link in document.get("links") or []:
            href = str(link.get("href", ""))
            if link.get("rel") in ("item", "child") and not urlparse(href).scheme:
                target = (file.parent / href).resolve()
                if not target.is_relative_to(product.resolve()):
                    raise Rejected(product, f"{file.name} links to {href}, outside the catalogue")
                todo.append((target, name, depth + 1))


def convert(product: Path, file: Path, document: dict[str, Any], parent: str | None) -> pystac.Item:
    """An item of another maker in the form that the pixel loader reads. Raises `Rejected`."""
    try:
        item = pystac.Item.from_dict(document, migrate=True)
    except (pystac.STACError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Rejected(product, f"{file.name} is no valid STAC item ({type(error).__name__}: {error})") from None
    item.clear_links()
    item.collection_id = document.get("collection") or parent or _folder_id(file)
    has_raster = False
    for key, asset in item.assets.items():
        asset.href = _absolute(product, file, asset.href)
        _merge_bands(asset)
        if RASTER.search(urlparse(asset.href).path) and not urlparse(asset.href).scheme:
            has_raster |= _from_file(product, key, asset)
        has_raster |= bool(asset.extra_fields.get("bands")) and "proj:transform" in {
            **item.properties,
            **asset.extra_fields,
        }
    if not has_raster:
        raise Rejected(product, f"{file.name} has no raster asset")
    item.properties.setdefault("tuile:family", FAMILY)
    item.properties.setdefault("tuile:product", item.id)
    when = item.datetime or item.common_metadata.start_datetime
    if when is not None and "tuile:datatake" not in item.properties:
        platform = item.properties.get("platform") or item.collection_id
        orbit = item.properties.get("sat:relative_orbit")
        item.properties["tuile:datatake"] = item.properties.get("s2:datatake_id") or build.datatake(
            str(platform), when, orbit
        )
    item.stac_extensions = sorted({*item.stac_extensions, *build.extensions_of(item)})
    return item


def _folder_id(file: Path) -> str:
    return re.sub(r"[^\w\-.~]", "_", file.absolute().parent.name.upper()) or "STAC"


def _absolute(product: Path, file: Path, href: str) -> str:
    if urlparse(href).scheme in ("http", "https", "s3"):
        return href
    if href.startswith("/vsi"):
        raise Rejected(product, f"{file.name} names {href}: virtual paths are not followed")
    return str((file.parent / href.removeprefix("file://")).resolve())


def _merge_bands(asset: pystac.Asset) -> None:
    """One ``bands`` list from the lists of STAC 1.0."""
    fields = asset.extra_fields
    eo, raster = fields.pop("eo:bands", None) or [], fields.pop("raster:bands", None) or []
    if fields.get("bands") or not (eo or raster):
        return
    bands = []
    for i in range(max(len(eo), len(raster))):
        e, r = (x[i] if i < len(x) and isinstance(x[i], dict) else {} for x in (eo, raster))
        entry = {"name": e.get("name"), "tuile:index": i + 1}
        entry |= {f"eo:{k}": e[k] for k in ("common_name", "center_wavelength", "full_width_half_max") if k in e}
        entry |= {f"raster:{k}": r[k] for k in ("scale", "offset") if k in r}
        entry |= {k: r[k] for k in ("nodata", "data_type", "unit") if k in r}
        bands.append(entry)
    fields["bands"] = bands


def _from_file(product: Path, key: str, asset: pystac.Asset) -> bool:
    """Complete an asset from its file; False where the file is not a georeferenced raster (a quicklook)."""
    fields = asset.extra_fields
    if not fields.get("bands") and set(asset.roles or []) & {"thumbnail", "overview", "metadata"}:
        return False
    grid = probe(product, asset.href)
    fields.update(grid.fields())
    listed = fields.get("bands") or [{} for _ in range(grid.count)]
    bands = []
    for i, entry in enumerate(listed[: max(grid.count, len(listed))], 1):
        index = int(entry.get("tuile:index", i if grid.count > 1 else 1))
        if index > grid.count:
            raise Rejected(product, f"asset {key} lists {len(listed)} bands, its file has {grid.count}")
        name = entry.get("name") or grid.descriptions[index - 1] or (key if grid.count == 1 else f"{key}_{index}")
        scale, offset = (
            entry.get("raster:scale", grid.scales[index - 1]),
            entry.get("raster:offset", grid.offsets[index - 1]),
        )
        kind = entry.get("tuile:kind") or (
            "reflectance"
            if entry.get("eo:common_name")
            else "class"
            if "classification:classes" in entry
            else "continuous"
        )
        made = build.band(
            name, grid, kind, index=index, nodata=nodata_of(entry.get("nodata")), scale=scale, offset=offset
        )
        bands.append(
            {
                **made,
                **{
                    k: v
                    for k, v in entry.items()
                    if k not in ("name", "nodata", "raster:scale", "raster:offset") and v is not None
                },
            }
        )
    fields["bands"] = bands
    return True


reader = Reader(FAMILY, sniff, read, members, priority=30)
