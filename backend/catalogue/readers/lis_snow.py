"""Snow products of LIS: Theia L2B-SNOW, Copernicus HR-S&I FSC, and the folders that LIS itself writes.

Codes: 0 no snow, 100 snow (1..100 percent in the fractional layers), 205 cloud or shadow, 254 and 255 nodata.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pystac

from backend.catalogue import build
from backend.catalogue.grids import Grid, probe
from backend.catalogue.reader import Reader, Rejected
from backend.catalogue.tree import Tree, open_tree

FAMILY, COLLECTION = "lis_snow", "LIS_SNOW"
THEIA = re.compile(
    r"(?P<platform>SENTINEL2[A-DX]|LANDSAT8)[\w-]*?_(?P<when>\d{8}-\d{6}(?:-\d{3})?)_L2B-SNOW_(?P<tile>[\w-]+?)_[CDH]_V(?P<version>[\d-]+)"
)
CLMS = re.compile(r"FSC_(?P<when>\d{8}T\d{6})_(?P<platform>S2[A-D])_(?P<tile>T\d{2}[A-Z]{3})_V(?P<version>\d+)_\d")
LIS = re.compile(
    r"LIS_(?P<platform>S2|L8|SPOT|L2A)-SNOW(?:-FSC)?_(?P<tile>[\w-]+?)_(?P<when>\d{8}T\d{6})_(?P<version>[\d.]+)(?:_\d)?"
)
LAYERS = {
    "SEB": "SEB", "SNW": "SEB", "FSCTOC": "FSCTOC", "FSCOG": "FSCOG", "NDSI": "NDSI", "QCTOC": "QCTOC", "QCOG": "QCOG",
    "QCFLAGS": "EXPERT", "EXPERT": "EXPERT", "SNOW_ALL": "SNOW_ALL",
}  # fmt: skip
FILE = re.compile(rf"(?:.*[_/])?(?P<layer>{'|'.join(LAYERS)})(?:_R\d)?\.tiff?", re.IGNORECASE)
BITS = ("EXPERT", "QCFLAGS", "SNOW_ALL")  # bit fields: every value counts
TOLD = {
    "snow_percent": "eo:snow_cover",
    "cloud_percent": "eo:cloud_cover",
    "snow_line": "lis:snow_line",
    "mode": "lis:mode",
}


def _match(path: Path) -> re.Match[str] | None:
    stem = path.name[:-4] if path.suffix.lower() == ".zip" else path.name
    return next((m for p in (THEIA, CLMS, LIS) if (m := p.fullmatch(stem))), None)


def sniff(path: Path) -> bool:
    """A folder or zip with the name of a snow product."""
    return _match(path) is not None and (path.suffix.lower() == ".zip" or path.is_dir())


def read(path: Path) -> list[pystac.Item]:
    """The item of one product. Raises `Rejected`."""
    tree, named = open_tree(path), _match(path)
    if named is None:
        raise Rejected(path, "the name is not that of a snow product")
    parts = named.groupdict()
    assets: dict[str, pystac.Asset] = {}
    grids: list[Grid] = []
    for name in sorted(tree.names):
        found = FILE.fullmatch(name)
        if found is None:
            continue
        layer = found["layer"].upper()
        band = LAYERS[layer]
        if band in assets and layer == "QCFLAGS":
            band = layer  # products made here have both bit fields
        if band in assets:
            continue
        grid = probe(path, tree.href(name))
        grids.append(grid)
        bands = [build.band(band, grid, "class", nodata=None if band in BITS else 255)]
        assets[band] = build.asset(tree.href(name), grid, bands)
    if not grids:
        raise Rejected(path, "the product has no snow raster (SEB, FSCTOC ...)")
    _masks(assets, grids)
    instant: datetime = build.utc(parts["when"])
    tile = parts["tile"].removeprefix("T")
    stem = path.name[:-4] if path.suffix.lower() == ".zip" else path.name
    properties = {
        # L2A: written here of data whose sensor nobody told
        "platform": None if parts["platform"] == "L2A" else build.platform(parts["platform"]),
        "gsd": min(g.resolution for g in grids),
        "processing:version": parts["version"].replace("-", "."),
        "grid:code": f"MGRS-{tile}" if re.fullmatch(r"\d{2}[A-Z]{3}", tile) else None,
        "tuile:datatake": build.datatake(parts["platform"], instant),
        "tuile:product": f"{build.platform(parts['platform'])}_{instant:%Y%m%dT%H%M%S}_SNOW_T{tile}",
        **_told(path, tree),
    }
    return [build.item(path, id=stem, collection=COLLECTION, family=FAMILY, instant=instant, assets=assets, grids=grids, properties=properties)]  # fmt: skip


def _told(path: Path, tree: Tree) -> dict[str, Any]:
    """What the metadata of a product made here tell: cover, snow line, mode."""
    name = tree.first(r"[^/]*_MTD\.json")
    if name is None:
        return {}
    try:
        meta = json.loads(tree.read(name))
        told = {public: meta[key] for key, public in TOLD.items()}
        return {k: v for k, v in told.items() if v is not None and (k != "lis:snow_line" or meta["snow_line_found"])}
    except (ValueError, KeyError, TypeError) as error:
        raise Rejected(path, f"{name} is damaged: {error!r}") from None


def _masks(assets: dict[str, pystac.Asset], grids: list[Grid]) -> None:
    """SNOW, CLOUD and VALID from SEB, else from a fractional layer."""
    band = next((b for b in ("SEB", "FSCTOC", "FSCOG") if b in assets), None)
    if band is None:
        return
    snow = {"values": [100]} if band == "SEB" else {"range": [1, 100]}
    decoded: dict[str, dict[str, Any]] = {
        "SNOW": snow,
        "CLOUD": {"values": [205]},
        "VALID": {"valid": True, "not_values": [254]},
    }
    grid = grids[list(assets).index(band)]
    assets[band].extra_fields["bands"] += [build.mask(n, grid, how, nodata=255) for n, how in decoded.items()]


reader = Reader(FAMILY, sniff, read, priority=80)
