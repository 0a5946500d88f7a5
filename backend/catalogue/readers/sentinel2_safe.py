"""Sentinel-2 SAFE, level 1C and 2A, every processing baseline: folder or zip, compact or old naming, and the layout of
the public cloud archives (``metadata.xml`` beside ``B02.jp2`` or ``R10m/B02.jp2``).

What the metadata says is read by `backend.catalogue.readers.sentinel2_metadata`. The raster file is trusted for the grid:
decimated and cropped products keep the metadata of the whole tile.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pystac

from backend.catalogue import build
from backend.catalogue.bands import SENTINEL2
from backend.catalogue.grids import Grid, probe
from backend.catalogue.reader import Reader, Rejected
from backend.catalogue.readers import sentinel2_masks
from backend.catalogue.readers.sentinel2_metadata import (
    NAME,
    OLD_NAME,
    Facts,
    facts_of,
    geometry_of,
    properties_of,
    stem_of,
)
from backend.catalogue.tree import Tree, open_tree
from processes.load.angles import S2_BAND_IDS

FAMILY = "sentinel2_safe"
COLLECTIONS = {"1C": "SENTINEL2_L1C", "2A": "SENTINEL2_L2A"}
# the oldest L2A products have the layer before the granule: S2A_USER_SCL_L2A_TL_..._20m.jp2
IMAGE = re.compile(
    r"(?:.*[_/])?(?P<band>B\d[\dA]|SCL|AOT|WVP)(?:_L2A_TL_\w+?)?(?:_(?P<res>\d0)m)?\.(?:jp2|tiff?)", re.IGNORECASE
)
RESOLUTION_FOLDER = re.compile(r"(?:^|/)R(\d0)m/")
SCL_MASKS = {"CLOUD": [8, 9], "CLOUD_SHADOW": [3], "CIRRUS": [10], "SNOW": [11], "WATER": [6]}
MASK = re.compile(
    r"(?:QI_DATA|qi)/(?:.*_)?(?:MSK_)?(?P<kind>DETFOO|QUALIT|SATURA|CLOUDS|CLASSI|DEFECT|NODATA|TECQUA)_(?:.*_)?(?P<band>B\d[\dA])(?:_MSI(?:L\d\w)?)?\.(?:jp2|gml)",
    re.IGNORECASE,
)
# forecast (FO) or reanalysis (RE) of CAMS; the oldest products call ECMWF's file ECMWFD and put the granule's name around
METEOROLOGY = re.compile(
    r"(?:AUX_DATA|auxiliary)/(?:.*_)?(?:AUX_)?(?P<kind>CAMS[A-Z]{2}|ECMWF[TD])(?:_\w+)?(?:\.\w+)?", re.IGNORECASE
)
PROBABILITIES = {"CLDPRB": "cloud probability", "SNWPRB": "snow probability"}


def sniff(path: Path) -> bool:
    """A SAFE folder or zip by its name, or a folder with ``metadata.xml`` and bands beside it."""
    stem, zipped = stem_of(path), path.suffix.lower() == ".zip"
    if NAME.fullmatch(stem) or OLD_NAME.fullmatch(stem):
        if zipped:
            return True
        if not path.is_dir():
            return False
        # a folder with the name of a product but with bands only is for the reader of loose files
        return (
            path.suffix.upper() == ".SAFE"
            or any(path.glob("MTD_MSIL*.xml"))
            or (path / "GRANULE").is_dir()
            or (path / "metadata.xml").is_file()
        )
    if zipped or not path.is_dir():
        return False
    return (path / "metadata.xml").is_file() and (
        (path / "B02.jp2").is_file() or (path / "R10m").is_dir() or (path / "R60m").is_dir()
    )


def read(path: Path) -> list[pystac.Item]:
    """One item per granule. Raises `Rejected`."""
    tree = open_tree(path)
    product = _product_metadata(tree)
    granules = _granules(path, tree)
    return [_item(path, tree, product, prefix, tile_xml, len(granules) > 1) for prefix, tile_xml in granules]


def _product_metadata(tree: Tree) -> Element | None:
    """Root of the product's own metadata; None in the cloud layout, which has only that of the tile."""
    name = tree.first(r"(?:MTD_MSIL(?:1C|2A)|S2[A-D]_\w+_MTD_SAFL(?:1C|2A)_\w+)\.xml")
    if name is None:
        return None
    root = tree.xml(name)
    if not re.fullmatch(r"Level-(1C|2A)_User_Product", root.tag):
        raise Rejected(tree.root, f"{name} is not Sentinel-2 product metadata but {root.tag}")
    return root


def _granules(path: Path, tree: Tree) -> list[tuple[str, str]]:
    """(prefix of the granule's files, its metadata file), one per granule."""
    found = tree.find(r"GRANULE/[^/]+/(?:MTD_TL|S2[A-D]_\w+_L(?:1C|2A)_TL_[\w.]+)\.xml")
    if found:
        return [(name.rsplit("/", 1)[0] + "/", name) for name in found]
    name = tree.first(r"(?:MTD_TL|metadata)\.xml")
    if name is None:
        packed = tree.first(r".*MTD_\w+\.xml\.gz|.*metadata\.xml\.gz")
        raise Rejected(
            path,
            f"its metadata is packed ({packed})" if packed else "the metadata of its granule (MTD_TL.xml) is missing",
        )
    return [("", name)]


def _item(path: Path, tree: Tree, product: Element | None, prefix: str, tile_xml: str, several: bool) -> pystac.Item:
    tile = tree.xml(tile_xml)
    if not re.fullmatch(r"Level-(1C|2A)_Tile_ID", tile.tag):
        raise Rejected(path, f"{tile_xml} is not Sentinel-2 tile metadata but {tile.tag}")
    facts = facts_of(path, product, tile)
    images = _images(tree, prefix)
    if product is not None:
        listed = [
            f"{(e.text or '').strip()}.jp2" for e in product.iter() if e.tag in ("IMAGE_FILE", "IMAGE_ID") and e.text
        ]
        tree.check_arrival(
            [n for n in listed if n.startswith("GRANULE/") and (not several or n.startswith(prefix))], _group, _spectral
        )
    if not images:
        raise Rejected(path, "the product has no imagery")
    assets: dict[str, pystac.Asset] = {}
    grids: dict[str, Grid] = {}
    for band, name in sorted(images.items()):
        grids[band] = probe(path, tree.href(name))
        assets[band] = _image(tree.href(name), band, grids[band], facts)
    _validity(assets, grids)
    _quality(path, tree, prefix, assets, grids)
    finest = min(grids.values(), key=lambda g: g.resolution)
    href = tree.href(tile_xml)
    has_angles = tile.find(".//Sun_Angles_Grid") is not None and tile.find(".//Tile_Geocoding") is not None
    assets["MTD_TL"] = build.plain_asset(href)
    if has_angles:
        told = {e.get("bandId") or "" for e in tile.iter("Viewing_Incidence_Angles_Grids")}
        own = [b for k, b in enumerate(S2_BAND_IDS) if str(k) in told and b in images]
        assets["MTD_TL"] = build.angles_asset(href, finest, "s2_tile", per_band=own)
    id = facts.granule if several else facts.name
    return build.item(
        path, id=id, collection=COLLECTIONS[facts.level], family=FAMILY, instant=facts.instant, assets=assets,
        grids=list(grids.values()), properties=properties_of(facts, tile, product), geometry=geometry_of(list(grids.values()), product, several),
    )  # fmt: skip


def _group(name: str) -> str | None:
    """L2A products are often kept at some resolutions only: what belongs together is one resolution, without its picture."""
    if "_TCI" in name:
        return None
    found = RESOLUTION_FOLDER.search(name)
    return found[0] if found else "IMG_DATA"


def _spectral(name: str) -> bool:
    """A spectral band, not a layer that is often kept alone (SCL)."""
    found = IMAGE.fullmatch(name)
    return found is not None and found["band"].upper() in SENTINEL2


def _images(tree: Tree, prefix: str) -> dict[str, str]:
    """Band -> file, the finest where a band comes at several resolutions."""
    best: dict[str, tuple[int, str]] = {}
    inside = ("IMG_DATA/",) if any(n.startswith(f"{prefix}IMG_DATA/") for n in tree.sizes) else ("",)
    for name in tree.names:
        rest = name.removeprefix(prefix)
        if (
            not name.startswith(prefix + inside[0])
            or "QI_DATA" in rest
            or rest.startswith(("qi/", "preview/", "auxiliary/"))
        ):
            continue
        match = IMAGE.fullmatch(rest)
        if match is None or (band := match["band"].upper()) not in (*SENTINEL2, "SCL", "AOT", "WVP"):
            continue
        folder = RESOLUTION_FOLDER.search(rest)
        resolution = int(match["res"] or (folder[1] if folder else 0))
        if band not in best or resolution < best[band][0]:
            best[band] = (resolution, name)
    return {band: name for band, (_, name) in best.items()}


def _image(href: str, band: str, grid: Grid, facts: Facts) -> pystac.Asset:
    if band in SENTINEL2:
        entry = build.reflectance(
            band,
            SENTINEL2[band],
            grid,
            scale=facts.scales["reflectance"],
            nodata=0,
            offset_dn=facts.offsets.get(band),
        )
        return build.asset(href, grid, [entry | {"gsd": grid.resolution}], roles=("data", "reflectance"))
    if band == "SCL":
        return build.asset(href, grid, scl_bands(grid), roles=("data", "cloud"))
    name, unit = ("AOT", "1") if band == "AOT" else ("WVC", "g/cm2")
    return build.asset(
        href, grid, [build.band(name, grid, "continuous", scale=facts.scales[band], nodata=0, unit=unit)]
    )


def scl_bands(grid: Grid, index: int = 1) -> list[dict[str, Any]]:
    """SCL itself and the uniform masks. CLOUD is medium and high probability; thin cirrus is CIRRUS alone."""
    masks = [build.mask(n, grid, {"values": codes}, index=index, nodata=0) for n, codes in SCL_MASKS.items()]
    return [
        build.band("SCL", grid, "class", index=index, nodata=0),
        *masks,
        build.mask("VALID", grid, {"valid": True}, index=index, nodata=0),
    ]


def _validity(assets: dict[str, pystac.Asset], grids: dict[str, Grid]) -> None:
    """VALID from a spectral band where there is no SCL."""
    if "SCL" in assets:
        return
    band = next((b for b in ("B02", "B04", "B03", "B08", *grids) if b in grids and b in SENTINEL2), None)
    if band:
        assets[band].extra_fields["bands"].append(build.mask("VALID", grids[band], {"valid": True}, nodata=0))


def _quality(path: Path, tree: Tree, prefix: str, assets: dict[str, pystac.Asset], grids: dict[str, Grid]) -> None:
    """Quality masks and embedded meteorology."""
    for name in tree.names:
        rest = name.removeprefix(prefix)
        if not name.startswith(prefix):
            continue
        if match := re.fullmatch(r"(?:QI_DATA|qi)/(?:MSK_)?(CLDPRB|SNWPRB)_(\d0)m\.jp2", rest):
            if match[1] not in assets or match[2] == "20":
                grid = probe(path, tree.href(name))
                assets[match[1]] = build.asset(
                    tree.href(name),
                    grid,
                    [build.band(match[1], grid, "class", unit="%", description=PROBABILITIES[match[1]])],
                )
        elif found := MASK.fullmatch(rest):
            sentinel2_masks.add(path, tree.href(name), found["kind"].upper(), found["band"].upper(), assets, grids)
        elif match := METEOROLOGY.fullmatch(rest):
            kind = match["kind"].upper()
            key = f"AUX_{kind}" if kind.startswith("CAMS") else "AUX_ECMWFT"
            media = "application/x-grib"
            assets.setdefault(
                key, build.plain_asset(tree.href(name), roles=("metadata", "atmosphere"), media_type=media)
            )
        elif re.fullmatch(r"(?:QI_DATA/.*_PVI|preview)\.jp2", rest):
            assets["preview"] = build.plain_asset(tree.href(name), roles=("overview",))
    for pattern, key in ((r"MTD_MSIL(1C|2A)\.xml", "MTD"), (r"manifest\.safe", "manifest")):
        if found_name := tree.first(pattern):
            assets[key] = build.plain_asset(tree.href(found_name), media_type="application/xml")


reader = Reader(FAMILY, sniff, read, priority=80)
