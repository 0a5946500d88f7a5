"""Sentinel-2 L3A monthly syntheses (WASP) in MUSCATE format: FRC reflectance, FLG, WGT, DTS, NCL per resolution."""

from __future__ import annotations

import re
from pathlib import Path

import pystac

from backend.catalogue import build
from backend.catalogue.bands import SENTINEL2
from backend.catalogue.grids import Grid, probe
from backend.catalogue.reader import Reader, Rejected
from backend.catalogue.readers import muscate
from processes.band_names import padded

FAMILY, COLLECTION = "wasp_l3a", "SENTINEL2_L3A_WASP"
NAME = re.compile(
    r"(?P<platform>SENTINEL2[A-DX]|VENUS(?:-XS)?|LANDSAT[5789]?)_(?P<when>\d{8}-\d{6}-\d{3})_L3A_(?P<tile>[\w-]+?)_(?P<writer>[CD])(?:_V(?P<version>[\d-]+))?"
)
FLAGS = {"CLOUD": [1], "SNOW": [2], "WATER": [3]}  # 4 is land, 0 nodata


def sniff(path: Path) -> bool:
    """A folder or zip with the name of an L3A synthesis."""
    return muscate.sniff(path, NAME)


def read(path: Path) -> list[pystac.Item]:
    """The item of one synthesis. Raises `Rejected`."""
    tree, named = muscate.open_product(path, NAME)
    meta = muscate.metadata(tree)
    assets: dict[str, pystac.Asset] = {}
    grids: list[Grid] = []
    for name in tree.names:
        found = re.search(r"_FRC_(B\w+)\.tiff?$", name, re.IGNORECASE)
        if found and (band := padded(found[1].upper())) in SENTINEL2:
            grid = probe(path, tree.href(name))
            grids.append(grid)
            entry = build.reflectance(
                band, SENTINEL2[band], grid, scale=muscate.quantification(meta), nodata=muscate.nodata(meta)
            )
            assets[f"FRC_{band}"] = build.asset(
                tree.href(name), grid, [entry | {"gsd": grid.resolution}], roles=("data", "reflectance")
            )
    if not grids:
        raise Rejected(path, "the synthesis has no FRC raster")
    found_masks = muscate.masks(path, tree, ("FLG", "WGT", "DTS", "NCL"))
    for (kind, group), (href, grid) in found_masks.items():
        first = group == "R1" or (kind, "R1") not in found_masks
        public = kind if first else f"{kind}_{group}"
        bands = [
            build.band(public, grid, "continuous", scale=1 / 1000)
            if kind == "WGT"
            else build.band(public, grid, "class")
        ]
        if kind == "FLG" and first:
            bands += [build.mask(n, grid, {"values": codes}) for n, codes in FLAGS.items()]
            bands.append(build.mask("VALID", grid, {"not_values": [0]}))
        assets[f"{kind}_{group}"] = build.asset(href, grid, bands, roles=("data", "quality"))
    instant = muscate.instant(path, meta, named["when"])
    dates = "" if meta is None else meta.findtext(".//DATE_UNIT") or ""  # originals say nothing: days of the year
    tile = named["tile"].removeprefix("T")
    platform = named["platform"].rstrip("X") if named["platform"].startswith("SENTINEL2") else named["platform"]
    properties = muscate.properties(meta, named, platform) | {
        "gsd": min(g.resolution for g in grids),
        "grid:code": f"MGRS-{tile}" if re.fullmatch(r"\d{2}[A-Z]{3}", tile) else None,
        "tuile:datatake": f"l3a_{instant:%Y%m%d}",
        "tuile:dts": "days_since_2000" if dates.startswith("days_since_2000") else "doy",
        "tuile:product": f"{named['platform']}_{named['when']}_L3A_T{tile}",
    }
    return [build.item(path, id=named["id"], collection=COLLECTION, family=FAMILY, instant=instant, assets=assets, grids=grids, properties=properties)]  # fmt: skip


reader = Reader(FAMILY, sniff, read, priority=80)
