"""USGS Landsat collections 1 and 2, level 1 (L1TP, L1GT, L1GS) and level 2 (L2SP, L2SR): the files around one MTL.txt,
or the archive they are distributed in (.tar, .tar.gz), read where it lies. A gzipped archive has to be unpacked up to the
place that is read, each time: ``gunzip`` or ``tuile ingest --to-cog`` spare that.

Rescaling as the MTL says (USGS, "Landsat 8 data users handbook" and "Collection 2 level 2 science product guide"):
top-of-atmosphere reflectance = (M x DN + A) / sin(sun elevation), surface reflectance = M x DN + A.
"""

from __future__ import annotations

import glob
import math
import re
from pathlib import Path
from typing import Any

import pystac

from backend.catalogue import build
from backend.catalogue.bands import LANDSAT8, LANDSAT_TM, Spectral
from backend.catalogue.grids import Grid, probe
from backend.catalogue.reader import Reader, Rejected
from backend.catalogue.tree import Tree, open_tree
from processes.load import tars
from processes.load.landsat_view import look
from processes.load.safexml import BadXml, read_bytes, to_number

FAMILY = "landsat"
NAME = re.compile(
    r"(?P<sensor>L[COTEM]0(?P<number>\d))_(?P<level>L\d[A-Z]{2})_(?P<path>\d{3})(?P<row>\d{3})_(?P<day>\d{8})_(?P<made>\d{8})_(?P<collection>\d\d)_(?P<tier>\w\w)"
)
MTL = re.compile(NAME.pattern + r"_MTL\.txt", re.IGNORECASE)
QA_PIXEL = {
    "CLOUD": {"any_bits": 1 << 3}, "CLOUD_SHADOW": {"any_bits": 1 << 4}, "CIRRUS": {"any_bits": 1 << 2},
    "SNOW": {"any_bits": 1 << 5}, "WATER": {"any_bits": 1 << 7}, "VALID": {"no_bits": 1},
}  # fmt: skip
# collection 1: two-bit confidences, 3 is high
BQA = {
    "CLOUD": {"any_bits": 1 << 4}, "CLOUD_SHADOW": {"all_bits": 3 << 7}, "SNOW": {"all_bits": 3 << 9},
    "CIRRUS": {"all_bits": 3 << 11}, "VALID": {"no_bits": 1},
}  # fmt: skip
QUALITY = ("QA_RADSAT", "SR_QA_AEROSOL", "ST_QA", "SR_CLOUD_QA")
ANGLE_SCALE = 0.01  # degrees per digital number of the angle rasters


def sniff(path: Path) -> bool:
    """The MTL.txt of a product, or an archive with the name of one."""
    return (bool(MTL.fullmatch(path.name)) or _packed(path)) and path.is_file()


def _packed(path: Path) -> bool:
    ending = tars.suffix(path)
    return ending is not None and bool(NAME.fullmatch(path.name[: -len(ending)].upper()))


def members(path: Path) -> list[Path]:
    """Every file whose name begins with the product's; an archive alone."""
    if _packed(path):
        return [path]
    stem = path.name[: -len("_MTL.txt")]
    return sorted(p for p in path.parent.glob(f"{glob.escape(stem)}_*") if p.is_file())


def parse_mtl(data: bytes) -> dict[str, dict[str, str]]:
    """``GROUP`` -> key -> value. The same key in several groups (level 1 and level 2 rescaling) stays apart."""
    out: dict[str, dict[str, str]] = {}
    group = ""
    for line in data.decode("latin-1").splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            continue
        if key == "GROUP":
            group = value
        elif key != "END_GROUP":
            out.setdefault(group, {}).setdefault(key, value.strip('"'))
    return out


class _Mtl:
    """Lookup of MTL values: in one group, or in whichever has the key."""

    def __init__(self, path: Path, href: str):
        try:
            data = read_bytes(href, 4 << 20)
        except (BadXml, OSError) as error:
            raise Rejected(path, f"its MTL cannot be read: {error}") from None
        last = data.rstrip(b"\0 \r\n").rsplit(b"\n", 1)[-1].strip()
        if last != b"END" and not re.fullmatch(rb"END_GROUP\s*=\s*\w*METADATA_FILE", last):
            raise Rejected(path, "its MTL is incomplete: it has no END")
        self.groups, self.path = parse_mtl(data), path

    def get(self, key: str, group: str | None = None) -> str | None:
        if group is not None:
            return self.groups.get(group, {}).get(key)
        return next((g[key] for g in self.groups.values() if key in g), None)

    def number(self, key: str, group: str | None = None) -> float | None:
        return to_number(self.get(key, group))

    def need(self, key: str, group: str | None = None) -> float:
        found = self.number(key, group)
        if found is None:
            raise Rejected(self.path, f"its MTL does not tell {key}: it is incomplete")
        return found


def read(path: Path) -> list[pystac.Item]:
    """The item of one product. Raises `Rejected`."""
    tree, name = _tree(path)
    named = MTL.fullmatch(name)
    if named is None:
        raise Rejected(path, "the name is not that of a Landsat MTL file")
    stem = name[: -len("_MTL.txt")]
    href = tree.href(name)
    mtl = _Mtl(path, href)
    level2 = named["level"].upper().startswith("L2")
    table = LANDSAT8 if int(named["number"]) >= 8 else LANDSAT_TM
    assets: dict[str, pystac.Asset] = {}
    grids: list[Grid] = []
    for file in sorted(tree.names):
        suffix = file[len(stem) + 1 :]
        if not file.startswith(f"{stem}_") or not re.search(r"\.tiff?$", suffix, re.IGNORECASE):
            continue
        key = suffix.rsplit(".", 1)[0].upper()
        grid = probe(path, tree.href(file))
        bands = _bands(key, grid, mtl, table, level2)
        if bands:
            grids.append(grid)
            assets[key] = build.asset(tree.href(file), grid, bands)
    if not any(b["tuile:kind"] == "reflectance" for a in assets.values() for b in a.extra_fields["bands"]):
        raise Rejected(path, "the product has no band raster beside its MTL")
    _check_arrival(tree, stem, mtl)
    finest = min(grids, key=lambda g: g.resolution)
    have = {b["name"] for a in assets.values() for b in a.extra_fields["bands"]}
    if "VALID" not in have:
        first = next(a for a in assets.values() if a.extra_fields["bands"][0]["tuile:kind"] == "reflectance")
        nodata = first.extra_fields["bands"][0].get("nodata")
        first.extra_fields["bands"].append(
            build.mask("VALID", grids[list(assets.values()).index(first)], {"valid": True}, nodata=nodata)
        )
    view = ("VZA", "VAA") if look({k: v for g in mtl.groups.values() for k, v in g.items()}) else ()
    angles = [n for n in ("SZA", "SAA", *view) if n not in have]
    assets["MTL"] = build.angles_asset(href, finest, "landsat_mtl", angles) if angles else build.plain_asset(href)
    assets["MTL"].media_type = "text/plain"
    properties, instant = _properties(path, mtl, named)
    return [build.item(path, id=stem, collection="LANDSAT_L2" if level2 else "LANDSAT_L1", family=FAMILY, instant=instant, assets=assets, grids=grids, properties=properties)]  # fmt: skip


def _tree(path: Path) -> tuple[Tree, str]:
    """The product's files, and its MTL.txt among them."""
    if not _packed(path):
        stats = {p.name: p.stat() for p in members(path)}
        changed = max((s.st_ctime for s in stats.values()), default=0.0)
        return Tree(path.absolute().parent, {n: s.st_size for n, s in stats.items()}, changed=changed), path.name
    tree = open_tree(path)
    found = tree.find(MTL.pattern)
    if len(found) != 1:
        raise Rejected(path, f"the archive has {len(found) or 'no'} MTL.txt: one is expected")
    return tree, found[0]


def _check_arrival(tree: Tree, stem: str, mtl: _Mtl) -> None:
    """Refuse a product of which bands are still to come."""
    listed = {v for g in mtl.groups.values() for k, v in g.items() if re.fullmatch(r"FILE_NAME_BAND_(ST_B)?\d+\w*", k)}
    # level 2 products repeat the level 1 record: files of the product itself only
    tree.check_arrival(sorted(n for n in listed if n.startswith(stem)), lambda n: "ST" if "_ST_" in n else "bands")


def _bands(key: str, grid: Grid, mtl: _Mtl, table: dict[str, Spectral], level2: bool) -> list[dict[str, Any]]:
    fill = grid.nodata[0] if grid.nodata[0] is not None else 0
    if match := re.fullmatch(r"SR_B(\d+)" if level2 else r"B(\d+)(?:_VCID_\d)?", key):
        return _spectral(key, int(match[1]), grid, mtl, table, level2, fill)
    if match := re.fullmatch(r"ST_B(\d+)", key):
        group = "LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"
        scale, offset = (mtl.need(f"TEMPERATURE_{k}_BAND_{key}", group) for k in ("MULT", "ADD"))
        fields = {k: v for k, v in table[f"B{int(match[1]):02d}"].fields().items() if k != "gsd"}
        return [
            build.band(key, grid, "continuous", nodata=fill, scale=scale, offset_dn=offset / scale, unit="K", **fields)
        ]
    if key == "QA_PIXEL":
        return [build.band(key, grid, "class", nodata=1), *(build.mask(n, grid, how) for n, how in QA_PIXEL.items())]
    if key == "BQA":
        return [build.band(key, grid, "class", nodata=1), *(build.mask(n, grid, how) for n, how in BQA.items())]
    if key in QUALITY:
        return [build.band(key, grid, "class")]
    if key in ("SZA", "SAA", "VZA", "VAA"):
        return [build.band(key, grid, "continuous", scale=ANGLE_SCALE, unit="deg")]
    return []


def _spectral(
    key: str, n: int, grid: Grid, mtl: _Mtl, table: dict[str, Spectral], level2: bool, fill: float
) -> list[dict[str, Any]]:
    name = f"B{n:02d}"
    spectral = table.get(name)
    group = "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS" if level2 else None
    scale = mtl.number(f"REFLECTANCE_MULT_BAND_{n}", group)
    if scale is None:  # thermal: radiance
        at = key.removeprefix("B")
        scale, offset = mtl.need(f"RADIANCE_MULT_BAND_{at}"), mtl.need(f"RADIANCE_ADD_BAND_{at}")
        public = name if "VCID" not in key else f"{name}_{key.rsplit('_', 1)[1]}"
        fields = spectral.fields() if spectral else {}
        return [
            build.band(
                public,
                grid,
                "continuous",
                nodata=fill,
                scale=scale,
                offset_dn=offset / scale,
                unit="W/m2/sr/um",
                **{**fields, "gsd": grid.resolution},
            )
        ]
    offset = mtl.need(f"REFLECTANCE_ADD_BAND_{n}", group)
    offset_dn = round(offset / scale, 9)
    if not level2:
        elevation = mtl.need("SUN_ELEVATION")
        if elevation <= 0:
            raise Rejected(mtl.path, f"the sun is below the horizon ({elevation} degrees)")
        scale /= math.sin(math.radians(elevation))
    return [
        build.reflectance(name, spectral, grid, scale=scale, nodata=fill, offset_dn=offset_dn)
        | {"gsd": grid.resolution}
    ]


def _properties(path: Path, mtl: _Mtl, named: re.Match[str]) -> tuple[dict[str, Any], Any]:
    clock = mtl.get("SCENE_CENTER_TIME")
    day = mtl.get("DATE_ACQUIRED") or f"{named['day'][:4]}-{named['day'][4:6]}-{named['day'][6:]}"
    made = (
        mtl.get("DATE_PRODUCT_GENERATED", "LEVEL2_PROCESSING_RECORD")
        or mtl.get("DATE_PRODUCT_GENERATED")
        or mtl.get("FILE_DATE")
    )
    try:
        instant = build.utc(f"{day}T{clock}" if clock else day)
        created = build.iso(build.utc(made or named["made"]))
    except ValueError as error:
        raise Rejected(path, f"a date of its MTL cannot be read: {error}") from None
    cloud = mtl.number("CLOUD_COVER")
    code = named["path"] + named["row"]
    platform = f"landsat-{named['number']}"
    return {
        "platform": platform, "constellation": "landsat",
        "instruments": [i.lower() for i in (mtl.get("SENSOR_ID") or "").split("_") if i] or None,
        "gsd": 30, "created": created, "processing:version": f"{named['collection']}.{named['made']}",
        "eo:cloud_cover": cloud if cloud is not None and 0 <= cloud <= 100 else None,
        "view:sun_elevation": mtl.number("SUN_ELEVATION"),
        "view:sun_azimuth": (mtl.number("SUN_AZIMUTH") or 0) % 360 if mtl.number("SUN_AZIMUTH") is not None else None,
        "sat:orbit_state": "descending" if (mtl.number("SUN_ELEVATION") or -1) > 0 else None,
        "grid:code": f"WRS2-{code}",
        "tuile:datatake": build.datatake(platform, instant, int(named["path"])),
        "tuile:product": f"{named['sensor']}_{named['level']}_{code}_{named['day']}",
    }, instant  # fmt: skip


reader = Reader(FAMILY, sniff, read, members, priority=80)
