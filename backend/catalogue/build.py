"""Items as ``processes/load/README.md`` describes them, put together from grids and band tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac

from backend.catalogue.bands import ANGLES, Spectral
from backend.catalogue.grids import Grid, footprint, union_bounds
from backend.catalogue.reader import Rejected

EXTENSIONS = {
    "eo:": "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "proj:": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster:": "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "view:": "https://stac-extensions.github.io/view/v1.0.0/schema.json",
    "sat:": "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
    "grid:": "https://stac-extensions.github.io/grid/v1.1.0/schema.json",
    "processing:": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
}
ALWAYS = ("1970-01-01T00:00:00Z", "2099-12-31T23:59:59Z")  # of static rasters
MEDIA = {
    ".tif": "image/tiff; application=geotiff",
    ".tiff": "image/tiff; application=geotiff",
    ".jp2": "image/jp2",
    ".xml": "application/xml",
    ".txt": "text/plain",
    ".hgt": "application/x-hgt",
}


def reflectance(
    name: str, spectral: Spectral | None, grid: Grid, *, scale: float, nodata: float | None, index: int = 1, **more: Any
) -> dict[str, Any]:
    """A reflectance band: float32, NaN where ``nodata``. ``spectral`` may be that of another name (SRE_B02 -> B02)."""
    return band(name, grid, "reflectance", index=index, nodata=nodata, scale=scale, **(spectral.fields() if spectral else {}), **more)  # fmt: skip


def band(
    name: str,
    grid: Grid,
    kind: str,
    *,
    index: int = 1,
    nodata: float | None = None,
    scale: float | None = None,
    offset: float | None = None,
    decode: Mapping[str, Any] | None = None,
    offset_dn: float | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One entry of an asset's ``bands``. ``more`` are STAC fields; ``nodata`` None takes the file's own."""
    own = grid.nodata[index - 1]
    out: dict[str, Any] = {
        "name": name,
        "data_type": grid.dtypes[index - 1],
        "tuile:kind": kind,
        "gsd": grid.resolution,
        **more,
    }
    value = own if nodata is None else nodata
    if value is not None and value == value:
        out["nodata"] = int(value) if float(value).is_integer() else float(value)
    if scale is not None:
        out["raster:scale"] = scale
        out["raster:offset"] = 0.0 if offset is None else offset
    if offset_dn:
        out["tuile:offset_dn"] = offset_dn
        out["raster:offset"] = offset_dn * (scale or 1.0)
    if index != 1:
        out["tuile:index"] = index
    if decode:
        out["tuile:decode"] = dict(decode)
    return out


def mask(
    name: str, grid: Grid, decode: Mapping[str, Any], *, index: int = 1, nodata: float | None = None
) -> dict[str, Any]:
    """A 0/1 band decoded from the stored integers (``tuile:decode``)."""
    return band(name, grid, "mask", index=index, nodata=nodata, decode=decode)


def asset(href: str, grid: Grid, bands: Iterable[Mapping[str, Any]], *, roles: Sequence[str] = ("data",), title: str | None = None) -> pystac.Asset:  # fmt: skip
    """An asset for one raster file."""
    media = MEDIA.get(Path(href).suffix.lower())
    return pystac.Asset(href, title=title, media_type=media, roles=list(roles), extra_fields={**grid.fields(), "bands": [dict(b) for b in bands]})  # fmt: skip


def angles_asset(
    href: str, grid: Grid, source: str, names: Sequence[str] = ANGLES, per_band: Iterable[str] = ()
) -> pystac.Asset:
    """Angle bands computed from metadata at ``href`` by the angle reader ``source``, on the grid of the imagery.

    ``per_band``: spectral bands whose own viewing angles (``VZA_B04``) can be asked for beside the mean ones.
    """
    bands: list[dict[str, Any]] = [
        {"name": n, "data_type": "float32", "tuile:kind": "angle", "tuile:source": source, "unit": "deg"} for n in names
    ]
    bands += [{**b, "name": f"{b['name']}_{s}", "tuile:extra": True} for s in per_band for b in list(bands) if b["name"] in ("VZA", "VAA")]  # fmt: skip
    return pystac.Asset(href, media_type="application/xml", roles=["metadata"], extra_fields={**grid.fields(), "bands": bands})  # fmt: skip


def plain_asset(href: str, *, roles: Sequence[str] = ("metadata",), media_type: str | None = None) -> pystac.Asset:
    """A file without bands."""
    return pystac.Asset(href, media_type=media_type or MEDIA.get(Path(href).suffix.lower()), roles=list(roles))


def item(
    product: Path,
    *,
    id: str,
    collection: str,
    family: str,
    instant: datetime | None,
    assets: Mapping[str, pystac.Asset],
    grids: Sequence[Grid],
    properties: Mapping[str, Any],
    geometry: tuple[dict[str, Any], tuple[float, float, float, float]] | None = None,
) -> pystac.Item:
    """An item whose footprint covers ``grids``, or is ``geometry`` (geometry, bbox). None-valued properties are left out.

    An item without an instant is valid at any time (static rasters). Raises `Rejected` where no grid has pixels.
    """
    if not grids:
        raise Rejected(product, "no raster of the product could be found")
    code, bounds = union_bounds(grids)
    try:
        shape, bbox = geometry or footprint(code, bounds)
    except ValueError as error:
        raise Rejected(product, f"the footprint cannot be computed: {error}") from None
    kept = {k: v for k, v in properties.items() if v is not None}
    if instant is None:
        kept = {"start_datetime": ALWAYS[0], "end_datetime": ALWAYS[1], **kept}
    out = pystac.Item(
        id, shape, list(bbox), instant, {"tuile:family": family, "proj:code": code, **kept},
        extra_fields={"collection": collection}, assets=dict(assets),
    )  # fmt: skip
    out.collection_id = collection
    out.stac_extensions = extensions_of(out)
    return out


def extensions_of(made: pystac.Item) -> list[str]:
    """Schema URLs of the extensions whose fields an item uses."""
    keys = set(made.properties)
    for a in made.assets.values():
        keys |= set(a.extra_fields)
        keys |= {k for b in a.extra_fields.get("bands", ()) for k in b}
    return [url for prefix, url in EXTENSIONS.items() if any(k.startswith(prefix) for k in keys)]


def mean_view(angles: Iterable[tuple[float | None, float | None]]) -> dict[str, float | None]:
    """Mean viewing direction as ``view:off_nadir`` (mean zenith) and ``view:azimuth`` (direction of the vector mean)."""
    known = [(z, a) for z, a in angles if z is not None and a is not None]
    if not known:
        return {}
    east = sum(math.sin(math.radians(z)) * math.sin(math.radians(a)) for z, a in known)
    north = sum(math.sin(math.radians(z)) * math.cos(math.radians(a)) for z, a in known)
    return {
        "view:off_nadir": round(sum(z for z, _ in known) / len(known), 6),
        "view:azimuth": round(math.degrees(math.atan2(east, north)) % 360, 6),
    }


def utc(value: str) -> datetime:
    """Instant from ISO or compact text (``20181023-105107-455``, ``20240120T105341``), in UTC. Raises ValueError."""
    compact = re.fullmatch(r"(\d{8})(?:[-T_](\d{6})(?:[-.](\d{1,6}))?)?Z?", value)
    if compact:
        day, clock, fraction = compact.groups()
        parsed = datetime.strptime(day + (clock or "000000"), "%Y%m%d%H%M%S")
        return parsed.replace(microsecond=int((fraction or "0").ljust(6, "0")), tzinfo=UTC)
    text = re.sub(r"(\.\d{6})\d+", r"\1", value.strip().replace("Z", "+00:00"))
    parsed = datetime.fromisoformat(text)
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def iso(instant: datetime) -> str:
    """RFC 3339 in UTC with ``Z``."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def platform(name: str) -> str:
    """``SENTINEL2A``, ``S2A``, ``Sentinel-2A`` -> ``sentinel-2a``; ``LANDSAT8``, ``LC08`` -> ``landsat-8``."""
    low = re.sub(r"[^a-z0-9]", "", name.lower())
    if match := re.fullmatch(r"(?:sentinel|s)2([a-d]|x)?", low):
        return f"sentinel-2{'' if match[1] in (None, 'x') else match[1]}"
    if match := re.fullmatch(r"(?:landsat|l[cteom]?)0?(\d)", low):
        return f"landsat-{match[1]}"
    if match := re.fullmatch(r"spot(\d)", low):
        return f"spot-{match[1]}"
    return "venus" if low.startswith("ven") else low


def s2_relative_orbit(name: str, absolute: int) -> int | None:
    """Relative orbit 1..143 from the absolute orbit number; checked on granules of both satellites.

    Numbers up to 143 are taken as relative: no product was distributed from the first ten days of a mission.
    """
    if 1 <= absolute <= 143:
        return absolute
    phase = {"sentinel-2a": 2, "sentinel-2b": -27}.get(platform(name))
    return None if phase is None else (absolute + phase) % 143 + 1


def datatake(name: str, instant: datetime, orbit: int | str | None = None) -> str:
    """Key equal for the tiles of one pass: platform, day, and orbit where it is known."""
    day = instant.astimezone(UTC).strftime("%Y%m%d")
    return f"{platform(name)}_{day}" + (f"_R{orbit:0>3}" if orbit is not None else "")
