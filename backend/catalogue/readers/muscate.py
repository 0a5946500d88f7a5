"""What all MUSCATE products share (Sentinel-2, Landsat-8, VENuS, WASP): names, MTD_ALL.xml, masks, atmosphere."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pystac

from backend.catalogue import build
from backend.catalogue.grids import Grid, probe
from backend.catalogue.reader import Rejected
from backend.catalogue.tree import Tree, open_tree
from processes.band_names import padded
from processes.load.safexml import number, text, to_number

CHARACTERISTICS = "Product_Characteristics/"
# where angles are told: grids or means
GEOMETRY = "Geometric_Informations/"
SUN = (
    GEOMETRY + "Angles_Grids_List/Sun_Angles_Grids/Zenith/Values_List/VALUES",
    GEOMETRY + "Mean_Value_List/Sun_Angles/ZENITH_ANGLE",
)
PER_BAND = "Band_Viewing_Incidence_Angles_Grids_List"
VIEW = (
    GEOMETRY
    + "Angles_Grids_List/Viewing_Incidence_Angles_Grids_List//Viewing_Incidence_Angles_Grids/Zenith/Values_List/VALUES",
    GEOMETRY + "Mean_Value_List/Mean_Viewing_Incidence_Angle_List/Mean_Viewing_Incidence_Angle/ZENITH_ANGLE",
)


def sniff(path: Path, pattern: re.Pattern[str]) -> bool:
    """Does the path have the name of a product, as a folder or a zip archive?"""
    name = path.name[:-4] if path.suffix.lower() == ".zip" else path.name
    return bool(pattern.fullmatch(name)) and (path.suffix.lower() == ".zip" or path.is_dir())


def open_product(path: Path, pattern: re.Pattern[str]) -> tuple[Tree, dict[str, str]]:
    """The product's files and the parts of its name (plus ``id``, the whole name)."""
    stem = path.name[:-4] if path.suffix.lower() == ".zip" else path.name
    match = pattern.fullmatch(stem)
    if match is None:
        raise Rejected(path, "the name is not that of a product of this family")
    tree = open_tree(path)
    if not tree.sizes:
        raise Rejected(path, "the folder is empty")
    return tree, {**{k: v or "" for k, v in match.groupdict().items()}, "id": stem}


def metadata(tree: Tree) -> Element | None:
    """Root of MTD_ALL.xml, or None where the product came without it. Raises `Rejected` for a damaged one."""
    name = tree.first(r"[^/]*_MTD_ALL\.xml")
    if name is None:
        return None
    root = tree.xml(name)
    if root.tag != "Muscate_Metadata_Document":
        raise Rejected(tree.root, f"{name} is not MUSCATE metadata but {root.tag}")
    tree.check_arrival(listed_files(root), _group)
    return root


def _group(name: str) -> str | None:
    """Images of one nature come together; masks may be left out one by one."""
    match = re.search(r"_(SRE|FRE|FRC)_B\w+\.tiff?$", name)
    return match[1] if match else None


def listed_files(root: Element) -> list[str]:
    """Raster files the metadata names, relative to the product."""
    tags = ("IMAGE_FILE", "MASK_FILE")
    found = {(e.text or "").strip().removeprefix("./") for tag in tags for e in root.iter(tag)}
    return sorted(f for f in found if f and " " not in f)


def quantification(root: Element | None, name: str = "REFLECTANCE", default: float = 10000) -> float:
    """Scale factor of a quantity: one over its quantification value. Values below one are the factor itself: so Landsat
    products tell water vapour (0.05) and aerosol (0.005)."""
    value = number(root, f"Radiometric_Informations/{name}_QUANTIFICATION_VALUE") if root is not None else None
    value = value if value and value > 0 else default
    return 1 / value if value >= 1 else value


def nodata(root: Element | None, default: float = -10000) -> float:
    """The number that stands for no reflectance."""
    found = root.findall("Radiometric_Informations/Special_Values_List/SPECIAL_VALUE") if root is not None else []
    values = [to_number(e.text) for e in found if e.get("name", "").lower() == "nodata"]
    return values[0] if values and values[0] is not None else default


def instant(path: Path, root: Element | None, named: str) -> datetime:
    """Acquisition instant: from the metadata, else from the name."""
    stated = text(root, CHARACTERISTICS + "ACQUISITION_DATE") if root is not None else None
    try:
        return build.utc(stated or named)
    except ValueError:
        raise Rejected(path, f"the acquisition date '{stated or named}' cannot be read") from None


def orbit(root: Element | None) -> int | None:
    """ORBIT_NUMBER, where it is an orbit (not a path)."""
    value = number(root, CHARACTERISTICS + "ORBIT_NUMBER") if root is not None else None
    return int(value) if value and value > 0 else None


def properties(root: Element | None, named: dict[str, str], platform: str) -> dict[str, Any]:
    """Properties every MUSCATE item has; None where unknown."""
    version = named.get("version", "").replace("-", ".") or None
    out: dict[str, Any] = {"platform": build.platform(platform), "processing:version": version}
    if root is None:
        return out
    if produced := text(root, CHARACTERISTICS + "PRODUCTION_DATE"):
        try:
            out["created"] = build.iso(build.utc(produced))
        except ValueError:
            out["created"] = None
    out["processing:version"] = text(root, CHARACTERISTICS + "PRODUCT_VERSION") or version
    for element in root.iter("QUALITY_INDEX"):
        key = {"CloudPercent": "eo:cloud_cover", "SnowPercent": "eo:snow_cover"}.get(element.get("name", ""))
        value = to_number(element.text)
        if key and value is not None and 0 <= value <= 100:
            out[key] = value
    mean = "Geometric_Informations/Mean_Value_List/"
    zenith = number(root, mean + "Sun_Angles/ZENITH_ANGLE")
    out["view:sun_elevation"] = None if zenith is None else round(90 - zenith, 6)
    out["view:sun_azimuth"] = number(root, mean + "Sun_Angles/AZIMUTH_ANGLE")
    views = root.findall(mean + "Mean_Viewing_Incidence_Angle_List/Mean_Viewing_Incidence_Angle")
    out |= build.mean_view((number(v, "ZENITH_ANGLE"), number(v, "AZIMUTH_ANGLE")) for v in views)
    return out


def atmosphere(path: Path, tree: Tree, root: Element | None, assets: dict[str, pystac.Asset]) -> None:
    """ATB rasters: band 1 water vapour (g/cm2), band 2 aerosol optical thickness; 0 is nodata for both."""
    names = tree.find(r"[^/]*_ATB_\w+\.tiff?")
    groups = {n.rsplit("_", 1)[-1].split(".")[0].upper(): n for n in names}
    for position, (group, name) in enumerate(sorted(groups.items())):
        grid = probe(path, tree.href(name))
        if grid.count < 2:
            raise Rejected(path, f"{name} has {grid.count} band where water vapour and aerosol are expected")
        suffix = "" if position == 0 else f"_{group}"
        bands = [
            build.band(
                f"{public}{suffix}", grid, "continuous", index=index, nodata=0, scale=quantification(root, key, default)
            )
            for public, index, key, default in (
                ("WVC", 1, "WATER_VAPOR_CONTENT", 20),
                ("AOT", 2, "AEROSOL_OPTICAL_THICKNESS", 200),
            )
        ]
        assets[f"ATB_{group}"] = build.asset(tree.href(name), grid, bands)


def masks(path: Path, tree: Tree, kinds: tuple[str, ...]) -> dict[tuple[str, str], tuple[str, Grid]]:
    """``MASKS/*_KIND_GROUP.tif`` -> (href, grid) by (kind, group), R1 first."""
    out: dict[tuple[str, str], tuple[str, Grid]] = {}
    for name in tree.find(rf"MASKS/[^/]*_({'|'.join(kinds)})_\w+\.tiff?"):
        match = re.search(rf"_({'|'.join(kinds)})_(\w+)\.tiff?$", name, re.IGNORECASE)
        if match:
            out[match[1].upper(), match[2].upper()] = (tree.href(name), probe(path, tree.href(name)))
    return dict(sorted(out.items()))


def metadata_assets(tree: Tree, root: Element, assets: dict[str, pystac.Asset], finest: Grid) -> None:
    """MTD_ALL.xml itself, with the angles it tells as grids or as means of the scene, and the quicklook."""
    href = tree.href(tree.first(r"[^/]*_MTD_ALL\.xml") or "")
    sun, view = (any(to_number((e.text or "").split(" ")[0]) is not None for p in paths for e in root.findall(p)) for paths in (SUN, VIEW))  # fmt: skip
    names = [n for n, told in (("SZA", sun), ("SAA", sun), ("VZA", view), ("VAA", view)) if told]
    own = dict.fromkeys(padded(e.get("band_id") or "") for e in root.iter(PER_BAND) if e.find(".//VALUES") is not None)
    assets["MTD_ALL"] = build.angles_asset(href, finest, "muscate", names, own) if names else build.plain_asset(href)
    if look := tree.first(r"[^/]*_QKL_ALL\.jpe?g"):
        assets["quicklook"] = build.plain_asset(tree.href(look), roles=("thumbnail",), media_type="image/jpeg")
