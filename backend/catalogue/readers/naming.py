"""GeoTIFFs and JPEG 2000 files named by a rule of their owner: a folder with a file ``tuile.json``.

``tuile.json`` says how the names are built and what the numbers mean::

    {
      "collection": "MY_SERIES",
      "pattern": "(?P<name>.+_(?P<date>\\d{8}(T\\d{6})?))_(?P<band>B\\w+)\\.tif",
      "platform": "sentinel-2a",
      "bands": {"B04": {"common_name": "red", "center_wavelength": 0.665, "scale": 0.0001, "offset": 0, "nodata": 0},
                "QA": {"kind": "class", "masks": {"CLOUD": {"any_bits": 8}}}},
      "default": {"scale": 0.0001, "nodata": 0}
    }

``pattern`` is a Python regular expression on the path inside the folder. It must have a group ``date``, may have
``name`` (what the files of one product share; else everything before the band), ``band`` (else the file's own band
descriptions, then the keys of ``bands`` in order) and ``tile``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pystac

from backend.catalogue import build
from backend.catalogue.grids import Grid, probe
from backend.catalogue.reader import Reader, Rejected
from backend.catalogue.tree import Tree, open_tree

FAMILY, RULE = "naming", "tuile.json"
KINDS = ("reflectance", "continuous", "class", "mask")


def sniff(path: Path) -> bool:
    """A folder with a naming rule."""
    return path.is_dir() and (path / RULE).is_file()


def read(path: Path) -> list[pystac.Item]:
    """One item per product of the folder. Raises `Rejected`."""
    tree = open_tree(path)
    rule, pattern = _rule(path, tree)
    products: dict[str, list[tuple[str, re.Match[str]]]] = {}
    for name in tree.names:
        if match := pattern.fullmatch(name):
            parts = match.groupdict()
            key = parts.get("name") or (name[: match.start("band")] if parts.get("band") else Path(name).stem)
            products.setdefault(key.strip("_-./ "), []).append((name, match))
    if not products:
        raise Rejected(path, f"no file matches the pattern of {RULE}")
    return [_item(path, tree, rule, key, files) for key, files in sorted(products.items())]


def _rule(path: Path, tree: Tree) -> tuple[dict[str, Any], re.Pattern[str]]:
    try:
        rule = json.loads(tree.read(RULE))
        pattern = re.compile(rule["pattern"])
        if "date" not in pattern.groupindex:
            raise Rejected(path, f"the pattern of {RULE} has no group 'date'")
        if not re.fullmatch(r"[\w\-.~/]+", rule["collection"]):
            raise Rejected(path, f"the collection id '{rule['collection']}' of {RULE} has forbidden characters")
        return rule, pattern
    except (ValueError, KeyError, TypeError, re.error) as error:
        raise Rejected(path, f"{RULE} cannot be used: {type(error).__name__} {error}") from None


def _item(
    path: Path, tree: Tree, rule: Mapping[str, Any], key: str, files: list[tuple[str, re.Match[str]]]
) -> pystac.Item:
    assets: dict[str, pystac.Asset] = {}
    grids: list[Grid] = []
    for name, match in files:
        grid = probe(path, tree.href(name))
        named = match.groupdict().get("band")
        names = [named] if named else [d or "" for d in grid.descriptions]
        if not all(names):
            names = list(rule.get("bands", {}))[: grid.count] or [f"B{i:02d}" for i in range(1, grid.count + 1)]
        grids.append(grid)
        bands = [b for i, n in enumerate(names[: grid.count], 1) for b in _bands(path, rule, n, i, grid)]
        assets[named or Path(name).stem] = build.asset(tree.href(name), grid, bands)
    parts = files[0][1].groupdict()
    try:
        instant = build.utc(parts["date"])
    except ValueError:
        raise Rejected(path, f"'{parts['date']}' in {files[0][0]} is not a date") from None
    platform = rule.get("platform")
    properties = {
        "platform": platform,
        "grid:code": parts.get("tile"),
        "gsd": min(g.resolution for g in grids),
        "tuile:datatake": build.datatake(platform or rule["collection"], instant),
        "tuile:product": key,
    }
    return build.item(path, id=re.sub(r"[^\w\-.]", "_", key), collection=rule["collection"], family=FAMILY, instant=instant, assets=assets, grids=grids, properties=properties)  # fmt: skip


def _bands(path: Path, rule: Mapping[str, Any], name: str, index: int, grid: Grid) -> list[dict[str, Any]]:
    told = {**rule.get("default", {}), **rule.get("bands", {}).get(name, {})}
    scale = told.get("scale", grid.scales[index - 1])
    offset = told.get("offset", grid.offsets[index - 1])
    kind = told.get("kind") or ("reflectance" if scale != 1 else "continuous")
    if kind not in KINDS:
        raise Rejected(path, f"{RULE}: kind '{kind}' of band {name} is not one of {', '.join(KINDS)}")
    fields = {
        k: told[v]
        for k, v in (("eo:common_name", "common_name"), ("eo:center_wavelength", "center_wavelength"), ("unit", "unit"))
        if v in told
    }
    numbers = {} if kind in ("class", "mask") else {"scale": scale, "offset": offset}
    out = [
        build.band(
            name, grid, kind, index=index, nodata=told.get("nodata"), decode=told.get("decode"), **numbers, **fields
        )
    ]
    out += [
        build.mask(n, grid, decode, index=index, nodata=told.get("nodata"))
        for n, decode in told.get("masks", {}).items()
    ]
    return out


reader = Reader(FAMILY, sniff, read, priority=95)
