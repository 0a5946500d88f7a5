"""Sentinel-2 L2A in MUSCATE format, as MAJA writes it and Theia distributes it (folder or zip).

Layout and scalings: Theia, "Sentinel-2 L2A product format"; bit orders of CLM: see `clm_order`. File names suffice:
without ``MTD_ALL.xml`` the fields that only it tells are absent.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import pystac
import rasterio
from rasterio.errors import RasterioError

from backend.catalogue import build
from backend.catalogue.bands import SENTINEL2
from backend.catalogue.grids import Grid, probe
from backend.catalogue.reader import Reader, Rejected
from backend.catalogue.readers import muscate
from backend.catalogue.tree import Tree
from processes.band_names import padded

FAMILY, COLLECTION = "muscate_l2a", "SENTINEL2_L2A_MAJA"
NAME = re.compile(
    r"(?P<platform>SENTINEL2[A-DX])_(?P<when>\d{8}-\d{6}-\d{3})_L2A_(?P<tile>T?\d{2}[A-Z]{3})_(?P<writer>[CDH])(?:_V(?P<version>[\d-]+))?"
)
# bit values of CLM by writer: shadows (of detected clouds, of clouds outside the image)
SHADOWS = {"D": 0b0110_0000, "C": 0b0000_1100}


def sniff(path: Path) -> bool:
    """A folder or zip archive with the name of a MUSCATE Sentinel-2 L2A product."""
    return muscate.sniff(path, NAME)


def read(path: Path) -> list[pystac.Item]:
    """The item of one product. Raises `Rejected`."""
    tree, named = muscate.open_product(path, NAME)
    meta = muscate.metadata(tree)
    assets: dict[str, pystac.Asset] = {}
    grids: list[Grid] = []
    for name in sorted(tree.names, key=_natural):
        if found := re.search(r"_(FRE|SRE)_(B\w+)\.tiff?$", name, re.IGNORECASE):
            _reflectance(path, tree, name, found[1].upper(), found[2].upper(), meta, assets, grids)
    if not grids:
        raise Rejected(path, "the product has no FRE or SRE raster")
    muscate.atmosphere(path, tree, meta, assets)
    finest = min(grids, key=lambda g: g.resolution)
    order = _masks(path, tree, named["writer"], assets)
    if meta is not None:
        muscate.metadata_assets(tree, meta, assets, finest)
    properties = muscate.properties(meta, named, named["platform"]) | {"tuile:clm_order": order}
    instant = muscate.instant(path, meta, named["when"])
    orbit = muscate.orbit(meta)
    relative = build.s2_relative_orbit(named["platform"], orbit) if orbit else None
    tile = named["tile"].removeprefix("T")
    properties |= {
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "sat:relative_orbit": relative,
        "grid:code": f"MGRS-{tile}",
        "tuile:datatake": build.datatake(named["platform"], instant, relative if relative else orbit),
        "tuile:product": f"{named['platform']}_{named['when']}_L2A_T{tile}",
    }
    return [build.item(path, id=named["id"], collection=COLLECTION, family=FAMILY, instant=instant, assets=assets, grids=grids, properties=properties)]  # fmt: skip


def _reflectance(
    path: Path, tree: Tree, name: str, nature: str, raw: str, meta: Element | None,
    assets: dict[str, pystac.Asset], grids: list[Grid],
) -> None:  # fmt: skip
    plain = padded(raw)
    if plain not in SENTINEL2:
        return
    grid = probe(path, tree.href(name))
    grids.append(grid)
    public = plain if nature == "FRE" else f"SRE_{plain}"
    entry = build.reflectance(
        public, SENTINEL2[plain], grid, scale=muscate.quantification(meta), nodata=muscate.nodata(meta)
    )
    if nature == "SRE":  # a common name must stand for one band: "blue" is FRE
        entry.pop("eo:common_name", None)
    assets[f"{nature}_{plain}"] = build.asset(tree.href(name), grid, [entry], roles=("data", "reflectance"))


def _masks(path: Path, tree: Tree, writer: str, assets: dict[str, pystac.Asset]) -> str | None:
    """Raw masks as they are (``CLM`` at 10 m, ``CLM_R2`` at 20 m ...) and the uniform 0/1 bands. Returns the CLM order."""
    found = muscate.masks(path, tree, ("CLM", "MG2", "EDG", "SAT"))
    order = None
    for (kind, group), (href, grid) in found.items():
        first = group == "R1" or (kind, "R1") not in found
        bands = [build.band(kind if first else f"{kind}_{group}", grid, "class")]
        if kind == "CLM" and first:
            order = clm_order(href, writer)
            bands += [
                build.mask("CLOUD", grid, {"any_bits": 0b0000_0010}),
                build.mask("CLOUD_SHADOW", grid, {"any_bits": SHADOWS[order]}),
                build.mask("CIRRUS", grid, {"any_bits": 0b1000_0000}),
            ]
        elif kind == "MG2" and first:
            bands += [build.mask("WATER", grid, {"any_bits": 1}), build.mask("SNOW", grid, {"any_bits": 4})]
        elif kind == "EDG" and first:
            bands.append(build.mask("VALID", grid, {"no_bits": 1}))
        assets[f"{kind}_{group}"] = build.asset(
            href, grid, bands, roles=("data", "cloud" if kind == "CLM" else "quality")
        )
    if not any(kind == "EDG" for kind, _ in found):
        for a in assets.values():
            entry = a.extra_fields["bands"][0]
            if entry["name"] in ("B02", "SRE_B02"):
                a.extra_fields["bands"].append({**_stored(entry), "name": "VALID", "tuile:kind": "mask", "tuile:decode": {"valid": True}})  # fmt: skip
                break
    return order


def _natural(name: str) -> tuple[str, str]:
    match = re.search(r"_(FRE|SRE)_(B\w+)\.tiff?$", name, re.IGNORECASE)
    return (match[1], padded(match[2])) if match else ("", name)


def _stored(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: entry[k] for k in ("data_type", "nodata", "gsd") if k in entry}


def clm_order(href: str, writer: str) -> str:
    """Which of the two bit orders a CLM raster has: ``D`` (Theia) or ``C`` (native MAJA writer).

    Bits 0 (all clouds and shadows), 1 (all clouds) and 7 (high cloud) agree. Theia has the shadows in bits 5 and 6,
    the native writer in 2 and 3. The letter in the name says who wrote it; files with the letter C exist in both
    orders, so these are looked at: in the native order bit 5 is a cloud test and comes only with bit 1, so a pixel
    with bit 5 and without bit 1 is a shadow in Theia's order.
    """
    if writer == "D":
        return "D"
    try:
        with rasterio.open(href) as src:
            # a pixel in ten along each side tells as much, and a whole tile would be 120 MB (of counts: a gigabyte)
            clm = src.read(1, out_shape=tuple(min(n, 1098) for n in src.shape))
    except RasterioError:
        return "C"
    counts = np.bincount(clm.ravel(), minlength=256)
    codes = np.arange(counts.size)
    clear_of_cloud = (codes & 0b10) == 0
    theia = counts[clear_of_cloud & ((codes & 0b0010_0000) != 0)].sum()
    native = counts[clear_of_cloud & ((codes & 0b0000_1100) != 0)].sum()
    return "D" if theia > native else "C"


reader = Reader(FAMILY, sniff, read, priority=80)
