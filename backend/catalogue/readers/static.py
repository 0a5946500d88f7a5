"""Rasters valid at any time, known by their names: elevation (DEM), tree cover density (TCD), water masks (WATER).

Names that are recognised, in any case: ``DEM``, ``MNT``, ``DTM``, ``SRTM``, ``TCD``, ``WATER``, ``WATERMASK`` as a word
of the file's name, or a folder of such a name that holds it; tiles named by their corner (``N45E006``).
"""

from __future__ import annotations

import re
from pathlib import Path

import pystac

from backend.catalogue import build
from backend.catalogue.grids import probe
from backend.catalogue.reader import Reader, Rejected
from backend.catalogue.tree import PARTIAL

FAMILY = "static"
SUFFIXES = {".tif", ".tiff", ".hgt"}
WORDS = {
    "DEM": re.compile(r"(^|[_\-. ])(DEM|MNT|DTM|SRTM|DSM)\d?([_\-. ]|$)|^[NS]\d{2}[EW]\d{3}([_\-.]|$)", re.IGNORECASE),
    "TCD": re.compile(r"(^|[_\-. ])TCD([_\-. ]|\d|$)", re.IGNORECASE),
    "WATER": re.compile(r"(^|[_\-. ])(WATER|WATER_?MASK|EAU)([_\-. ]|$)", re.IGNORECASE),
}
GENERIC = {
    "input",
    "inputs",
    "output",
    "outputs",
    "data",
    "dem",
    "mnt",
    "dtm",
    "tcd",
    "water",
    "static",
    "aux",
    "auxiliary",
    "rasters",
}


def _kind(path: Path) -> str | None:
    for name in (path.stem, path.parent.name):
        for kind, words in WORDS.items():
            if words.search(name):
                return kind
    return None


def sniff(path: Path) -> bool:
    """A single raster with a known word in its name or that of its folder."""
    return (
        path.suffix.lower() in SUFFIXES and _kind(path) is not None and not PARTIAL.search(path.name) and path.is_file()
    )


def read(path: Path) -> list[pystac.Item]:
    """The item of one file. Raises `Rejected`."""
    kind = _kind(path)
    if kind is None:
        raise Rejected(path, "the name does not say what the raster shows")
    grid = probe(path, str(path.absolute()))
    if kind == "DEM":
        # SRTM and most others mark voids with -32768 and do not always say so
        nodata = -32768 if grid.dtypes[0] == "int16" and grid.nodata[0] is None else None
        bands = [build.band("DEM", grid, "continuous", nodata=nodata, unit="m", description="elevation")]
    elif kind == "TCD":
        bands = [build.band("TCD", grid, "class", unit="%", description="tree cover density; above 100 unavailable")]
    else:
        bands = [build.band("WATER", grid, "class", description="1 where the ground is covered by water")]
    id = _id(path)
    properties = {"gsd": _metres(grid), "tuile:product": id, "tuile:datatake": "static"}
    return [build.item(path, id=id, collection=kind, family=FAMILY, instant=None, assets={kind: build.asset(str(path.absolute()), grid, bands)}, grids=[grid], properties=properties)]  # fmt: skip


def _metres(grid: object) -> float | None:
    resolution, code = grid.resolution, grid.code  # type: ignore[attr-defined]
    return None if code in ("EPSG:4326", "EPSG:4258") else resolution


def _id(path: Path) -> str:
    """The file's name; a name that says nothing but the kind is preceded by the folder it is in."""
    stem, folder = path.stem, path.absolute().parent
    if stem.lower() not in GENERIC:
        return stem
    while folder.name.lower() in GENERIC and folder != folder.parent:
        folder = folder.parent
    return f"{folder.name}_{stem}" if folder.name else stem


reader = Reader(FAMILY, sniff, read, priority=20)
