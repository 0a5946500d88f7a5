"""Theia N2A, the format of CNES's first processing centre: Landsat-5/7/8 over France, SPOT-4 and SPOT-5 Take5.

``PLATFORM_SENSOR_XS_DATE_N2A_[ORTHO_SURF_CORR_(PENTE|ENV)_]ZONE``: one multi-band GeoTIFF in reflectance x 1000, masks
in ``MASK/``. Bits: NUA 0 clouds and shadows, 1 clouds, 5 high clouds, 6 and 7 shadows; DIV 0 no data, 1 water, 2 snow,
3 sun too low (Theia, "SPOT4 (Take5) and Landsat product format").
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pystac

from backend.catalogue import build
from backend.catalogue.bands import LANDSAT8, LANDSAT_TM, SPOT4, Spectral
from backend.catalogue.grids import Grid, probe
from backend.catalogue.reader import Reader, Rejected
from backend.catalogue.tree import Tree, open_tree
from processes.load import tars
from processes.load.safexml import number, text

FAMILY = "theia_n2a"
NAME = re.compile(r"(?P<platform>LANDSAT[578]|SPOT[45])_(?P<sensor>\w+?)_XS_(?P<day>\d{8})_N2A_(?P<zone>[\w-]+)")
SCALE, NODATA = 1 / 1000, -10000
SPOT = tuple(SPOT4)
# bands of the file in order
ORDER: dict[str, tuple[dict[str, Spectral], tuple[str, ...]]] = {
    "LANDSAT8": (LANDSAT8, ("B01", "B02", "B03", "B04", "B05", "B06", "B07")),
    "LANDSAT7": (LANDSAT_TM, ("B01", "B02", "B03", "B04", "B05", "B07")),
    "LANDSAT5": (LANDSAT_TM, ("B01", "B02", "B03", "B04", "B05", "B07")),
    "SPOT4": (SPOT4, SPOT),
    "SPOT5": (SPOT4, SPOT),
}
MASKS: dict[str, dict[str, dict[str, int]]] = {
    "NUA": {"CLOUD": {"any_bits": 2}, "CLOUD_SHADOW": {"any_bits": 64 | 128}, "CIRRUS": {"any_bits": 32}},
    "DIV": {"WATER": {"any_bits": 2}, "SNOW": {"any_bits": 4}, "VALID": {"no_bits": 1}},
    "SAT": {},
}


def sniff(path: Path) -> bool:
    """A folder, or a zip or tar archive, with the name of an N2A product."""
    stem, packed = _stem(path)
    return bool(NAME.fullmatch(stem)) and "ORTHO_SURF" not in stem and (packed or path.is_dir())


def _stem(path: Path) -> tuple[str, bool]:
    """Name without the suffix of an archive, and whether it has one."""
    suffix = ".zip" if path.suffix.lower() == ".zip" else tars.suffix(path)
    return (path.name[: -len(suffix)], True) if suffix else (path.name, False)


def read(path: Path) -> list[pystac.Item]:
    """The item of one product. Raises `Rejected`."""
    tree = open_tree(path)
    stem, _ = _stem(path)
    named = NAME.fullmatch(stem)
    if named is None:
        raise Rejected(path, "the name is not that of an N2A product")
    table, order = ORDER[named["platform"]]
    assets: dict[str, pystac.Asset] = {}
    grid = _reflectance(path, tree, table, order, assets)
    _masks(path, tree, grid, assets)
    header = _header(tree)
    properties, instant = _properties(path, header, named)
    if header is not None and (name := tree.first(r"[^/]*_N2A_[^/]*\.xml")):
        known = header.find("RADIOMETRY/ANGLES") is not None
        view = number(header, "RADIOMETRY/ANGLES/THETA_V") is not None
        angles = ("SZA", "SAA", "VZA", "VAA") if view else ("SZA", "SAA")
        assets["header"] = (
            build.angles_asset(tree.href(name), grid, "take5", angles) if known else build.plain_asset(tree.href(name))
        )
    collection = "SPOT_TAKE5_L2A" if named["platform"].startswith("SPOT") else "LANDSAT8_L2A_THEIA"
    return [
        build.item(
            path,
            id=stem,
            collection=collection,
            family=FAMILY,
            instant=instant,
            assets=assets,
            grids=[grid],
            properties=properties,
        )
    ]


def _reflectance(
    path: Path, tree: Tree, table: dict[str, Spectral], order: tuple[str, ...], assets: dict[str, pystac.Asset]
) -> Grid:
    """The slope-corrected image (else the one without), and the other beside it as ``ENV_...``."""
    images = {n: tree.first(rf"[^/]*_ORTHO_SURF_CORR_{n}_[^/]*\.tiff?") for n in ("PENTE", "ENV")}
    found = [(n, name) for n, name in images.items() if name]
    if not found:
        raise Rejected(path, "the product has no image (ORTHO_SURF_CORR_PENTE or _ENV)")
    first: Grid | None = None
    for position, (nature, name) in enumerate(found):
        grid = probe(path, tree.href(name))
        if grid.count != len(order):
            raise Rejected(path, f"{name} has {grid.count} bands, {len(order)} are expected")
        # clips of these products were rewritten as unsigned: there the special value cannot occur
        nodata = NODATA if grid.dtypes[0].startswith(("int", "float")) else None
        bands = [
            build.reflectance(b if position == 0 else f"ENV_{b}", table[b], grid, scale=SCALE, nodata=nodata, index=i)
            for i, b in enumerate(order, 1)
        ]
        if position:
            for entry in bands:
                entry.pop("eo:common_name", None)
        assets[nature] = build.asset(tree.href(name), grid, bands, roles=("data", "reflectance"))
        first = first or grid
    assert first is not None
    return first


def _masks(path: Path, tree: Tree, image: Grid, assets: dict[str, pystac.Asset]) -> None:
    valid = False
    for kind, decoded in MASKS.items():
        name = tree.first(rf"MASK/[^/]*_{kind}\.tiff?")
        if name is None:
            continue
        grid = probe(path, tree.href(name))
        if grid.dtypes[0] not in ("uint8", "uint16", "int16"):
            continue  # bits need integers
        entries = [build.band(kind, grid, "class"), *(build.mask(n, grid, how) for n, how in decoded.items())]
        assets[kind] = build.asset(
            tree.href(name), grid, entries, roles=("data", "cloud" if kind == "NUA" else "quality")
        )
        valid |= kind == "DIV"
    if not valid:
        nature = next(iter(assets))
        entry = assets[nature].extra_fields["bands"][0]
        assets[nature].extra_fields["bands"].append(
            build.mask("VALID", image, {"valid": True}, nodata=entry.get("nodata"))
        )


def _header(tree: Tree) -> Element | None:
    name = tree.first(r"[^/]*_N2A_[^/]*\.xml")
    if name is None:
        return None
    root = tree.xml(name)
    if root.tag != "METADATA":
        raise Rejected(tree.root, f"{name} is not N2A metadata but {root.tag}")
    return root


def _properties(path: Path, header: Element | None, named: re.Match[str]) -> tuple[dict[str, Any], Any]:
    stated = text(header, "HEADER/DATE_PDV") if header is not None else None
    try:
        instant = build.utc(stated or named["day"])
        produced = text(header, "HEADER/DATE_PROD") if header is not None else None
        created = build.iso(build.utc(produced)) if produced else None
    except ValueError as error:
        raise Rejected(path, f"a date of its metadata cannot be read: {error}") from None
    sun = number(header, "RADIOMETRY/ANGLES/THETA_S") if header is not None else None
    azimuth = number(header, "RADIOMETRY/ANGLES/PHI_S") if header is not None else None
    return {
        "platform": build.platform(named["platform"]), "instruments": [named["sensor"].lower()],
        "gsd": 20 if named["platform"].startswith("SPOT") else 30, "created": created,
        "processing:version": text(header, "HEADER/VERSION") if header is not None else None,
        "view:sun_elevation": None if sun is None else round(90 - sun, 6),
        "view:sun_azimuth": None if azimuth is None else azimuth % 360,
        **(build.mean_view([(number(header, "RADIOMETRY/ANGLES/THETA_V"), number(header, "RADIOMETRY/ANGLES/PHI_V"))]) if header is not None else {}),
        "tuile:zone": named["zone"], "tuile:datatake": build.datatake(named["platform"], instant),
        "tuile:product": f"{named['platform']}_{named['day']}_N2A_{named['zone']}",
    }, instant  # fmt: skip


reader = Reader(FAMILY, sniff, read, priority=80)
