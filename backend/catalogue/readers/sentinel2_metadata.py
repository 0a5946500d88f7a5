"""What the metadata of a Sentinel-2 SAFE product says: who, when, where, radiometry and footprint.

Radiometry: Sentinel-2 Products Specification Document. Reflectance = (DN + offset) / quantification; the offset is
-1000 from baseline 04.00 on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from shapely.errors import ShapelyError
from shapely.geometry import MultiPolygon, Polygon, mapping, shape

from backend.catalogue import build
from backend.catalogue.grids import Grid, fold, footprint, union_bounds
from backend.catalogue.reader import Rejected
from processes.load.angles import S2_BAND_IDS
from processes.load.safexml import number, text, to_number

NAME = re.compile(
    r"(?P<platform>S2[A-D])_MSIL(?P<level>1C|2A)_(?P<start>\d{8}T\d{6})(?:_N(?P<baseline>\d{4}))?_R(?P<orbit>\d{3})"
    r"_T(?P<tile>\d{2}[A-Z]{3})_(?P<made>\d{8}T\d{6})"
)
OLD_NAME = re.compile(r"(?P<platform>S2[A-D])_(?:OPER|USER)_PRD_MSIL(?P<level>1C|2A)_PDMC_\d{8}T\d{6}_R(?P<orbit>\d{3})_V(?P<start>\d{8}T\d{6})_\d{8}T\d{6}")  # fmt: skip
GRANULE = re.compile(
    r"_(?:L(?P<level>1C|2A))_TL_.*?_(?P<made>\d{8}T\d{6})_A(?P<orbit>\d{6})_T(?P<tile>\d{2}[A-Z]{3})(?:_N(?P<baseline>\d\d\.\d\d))?"
)
OFFSET_SINCE = 400  # processing baseline 04.00


@dataclass(frozen=True)
class Facts:
    """Of one granule.

    Attributes
    ----------
    level : ``1C`` or ``2A``
    name, granule : of the product and of the granule
    instant : sensing time of the granule
    start : sensing start of the datatake, None where unknown; likewise the relative ``orbit``, the MGRS ``tile``, the
        processing ``baseline`` (04.00), when it was ``made`` and the ``direction`` of the orbit
    scales : per digital number, of ``reflectance``, ``AOT`` and ``WVP``
    offsets : in digital numbers by band
    """

    level: str
    name: str
    granule: str
    platform: str
    instant: datetime
    start: datetime | None
    orbit: int | None
    tile: str | None
    baseline: str | None
    made: str | None
    direction: str | None
    scales: dict[str, float]
    offsets: dict[str, float]


def stem_of(path: Path) -> str:
    return re.sub(r"(\.SAFE)?(\.zip)?$", "", path.name, flags=re.IGNORECASE)


def facts_of(path: Path, product: Element | None, tile: Element) -> Facts:
    """Who, when, where and which baseline, from the metadata, else from the names."""
    granule = text(tile, "General_Info/TILE_ID") or text(tile, "General_Info/TILE_ID_2A") or ""
    stem = stem_of(path)
    named = NAME.fullmatch(stem) or OLD_NAME.fullmatch(stem)
    parts = GRANULE.search(granule)
    info = (
        next((e for e in product.iter() if e.tag in ("Product_Info", "L2A_Product_Info")), None)
        if product is not None
        else None
    )
    level = (product.tag if product is not None else tile.tag)[6:8]
    uri = stem_of(Path((text(info, "PRODUCT_URI") or text(info, "PRODUCT_URI_2A") or "") if info is not None else ""))
    of_uri = NAME.fullmatch(uri)
    who = named or of_uri
    number_ = (text(info, "PROCESSING_BASELINE") if info is not None else None) or (
        parts["baseline"] if parts else None
    )
    baseline = (who.groupdict().get("baseline") if who else None) or (number_ or "").replace(".", "") or None
    stated = text(tile, "General_Info/SENSING_TIME")
    start = (who["start"] if who else None) or (
        text(info, "Datatake/DATATAKE_SENSING_START") if info is not None else None
    )
    try:
        instant = build.utc(stated or start or "")
        taken = build.utc(start) if start else None
    except ValueError:
        raise Rejected(path, f"the sensing time '{stated or start}' cannot be read") from None
    platform = who["platform"] if who else granule[:3]
    if not re.fullmatch(r"S2[A-D]", platform):
        raise Rejected(path, f"the platform cannot be told from '{granule or stem}'")
    orbit = int(who["orbit"]) if who else build.s2_relative_orbit(platform, int(parts["orbit"])) if parts else None
    mgrs = (who.groupdict().get("tile") if who else None) or (parts["tile"] if parts else None)
    return Facts(
        level=level,
        name=stem if named else of_uri[0] if of_uri else granule or stem,
        granule=granule,
        platform=platform,
        instant=instant,
        start=taken,
        orbit=orbit,
        tile=mgrs,
        baseline=f"{baseline[:2]}.{baseline[2:]}" if baseline else None,
        made=(text(info, "GENERATION_TIME") if info is not None else None)
        or (who.groupdict().get("made") if who else None)
        or (parts["made"] if parts else None),
        direction=_direction(text(info, "Datatake/SENSING_ORBIT_DIRECTION") if info is not None else None),
        scales=scales_of(product),
        offsets=offsets_of(product, baseline),
    )


def _direction(told: str | None) -> str | None:
    return told.lower() if told and told.lower() in ("ascending", "descending") else None


def scales_of(product: Element | None) -> dict[str, float]:
    """Quantification values: reflectance, AOT and WVP (in cm, which is g/cm2)."""
    told = (
        {e.tag: to_number(e.text) for e in product.iter() if "QUANTIFICATION_VALUE" in e.tag}
        if product is not None
        else {}
    )
    wanted = {
        "reflectance": told.get("QUANTIFICATION_VALUE")
        or told.get("BOA_QUANTIFICATION_VALUE")
        or told.get("L2A_BOA_QUANTIFICATION_VALUE")
        or 10000,
        "AOT": told.get("AOT_QUANTIFICATION_VALUE") or told.get("L2A_AOT_QUANTIFICATION_VALUE") or 1000,
        "WVP": told.get("WVP_QUANTIFICATION_VALUE") or told.get("L2A_WVP_QUANTIFICATION_VALUE") or 1000,
    }
    return {k: 1 / v for k, v in wanted.items() if v > 0}


def offsets_of(product: Element | None, baseline: str | None) -> dict[str, float]:
    """Offset in digital numbers by band; without a list in the metadata the baseline decides."""
    out: dict[str, float] = {}
    if product is not None:
        for element in product.iter():
            value, at = to_number(element.text), element.get("band_id") or ""
            if (
                element.tag in ("RADIO_ADD_OFFSET", "BOA_ADD_OFFSET")
                and value is not None
                and at.isdigit()
                and int(at) < 13
            ):
                out[S2_BAND_IDS[int(at)]] = value
    if not out and product is None and baseline and int(baseline) >= OFFSET_SINCE:
        out = dict.fromkeys(S2_BAND_IDS, -1000.0)
    return out


def properties_of(facts: Facts, tile: Element, product: Element | None) -> dict[str, Any]:
    """Properties of the granule's item; None where unknown."""
    quality = {e.tag: to_number(e.text) for e in tile.iter() if e.tag.endswith("_PERCENTAGE")}
    if quality.get("CLOUDY_PIXEL_PERCENTAGE") is None and product is not None:
        quality["CLOUDY_PIXEL_PERCENTAGE"] = to_number(
            next((e.text for e in product.iter("Cloud_Coverage_Assessment")), None)
        )
    zenith = number(tile, ".//Mean_Sun_Angle/ZENITH_ANGLE")
    views = tile.findall(".//Mean_Viewing_Incidence_Angle_List/Mean_Viewing_Incidence_Angle")
    platform, taken = facts.platform, facts.start
    key = taken.strftime("%Y%m%dT%H%M%S") if taken is not None else f"{facts.instant:%Y%m%d}_R{facts.orbit or 0:03d}"
    return {
        "platform": build.platform(platform), "constellation": "sentinel-2", "instruments": ["msi"], "gsd": 10,
        "created": _instant_or_none(facts.made), "processing:version": facts.baseline,
        "eo:cloud_cover": _percent(quality.get("CLOUDY_PIXEL_PERCENTAGE")),
        "eo:snow_cover": _percent(quality.get("SNOW_ICE_PERCENTAGE")),
        "view:sun_elevation": None if zenith is None else round(90 - zenith, 6),
        "view:sun_azimuth": number(tile, ".//Mean_Sun_Angle/AZIMUTH_ANGLE"),
        **build.mean_view((number(v, "ZENITH_ANGLE"), number(v, "AZIMUTH_ANGLE")) for v in views),
        "sat:relative_orbit": facts.orbit, "sat:orbit_state": facts.direction,
        "grid:code": f"MGRS-{facts.tile}" if facts.tile else None,
        "tuile:datatake": f"{build.platform(platform)}_{key}",
        "tuile:product": f"{platform}_MSIL{facts.level}_{key}_T{facts.tile}",
    }  # fmt: skip


def _instant_or_none(value: str | None) -> str | None:
    try:
        return build.iso(build.utc(value)) if value else None
    except ValueError:
        return None


def _percent(value: float | None) -> float | None:
    return value if value is not None and 0 <= value <= 100 else None


def geometry_of(
    grids: list[Grid], product: Element | None, several: bool
) -> tuple[dict[str, Any], tuple[float, float, float, float]] | None:
    """Where the tile has data: the footprint in the metadata, cut to the rasters; None leaves the rasters' extent."""
    listed = text(product, ".//Global_Footprint/EXT_POS_LIST") if product is not None and not several else None
    if not listed:
        return None
    try:
        numbers = [float(v) for v in listed.split()]
        ring = [(numbers[i + 1], numbers[i]) for i in range(0, len(numbers) - 1, 2)]
        outline = Polygon(ring).buffer(0)
        raster, (west, _, east, _) = footprint(*union_bounds(grids))
        if west > east or outline.bounds[2] - outline.bounds[0] > 180:
            return None  # across the antimeridian the rasters' own extent is safer than mending the metadata's
        cut = outline.intersection(shape(raster))
    except (ValueError, IndexError, ShapelyError):
        return None
    parts = [p for p in getattr(cut, "geoms", [cut]) if isinstance(p, Polygon) and not p.is_empty]
    if not parts:
        return None
    whole = parts[0] if len(parts) == 1 else MultiPolygon(parts)
    return (mapping(whole), whole.bounds) if len(parts) > 1 else fold(whole)
