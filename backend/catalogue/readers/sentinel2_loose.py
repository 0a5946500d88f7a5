"""Sentinel-2 band files without the rest of their product: what is left when somebody keeps or clips only the images.

Known forms: a folder of ``T31TDH_20150726T105026_B02.jp2`` (L1C, or L2A with ``_10m`` and the like); a folder with the
name of a product and ``B02.tif`` in it; granule images of the L2A production (``..._A036527_T32TLS_N04.00_R60m_B01.jp2``);
one GeoTIFF with all bands, ``S2A_L1C_20150711T100008.tif``. Everything else a product tells is absent. The offset of
newer baselines is applied where the name tells the baseline, else where the level tells it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pystac

from backend.catalogue import build
from backend.catalogue.bands import SENTINEL2
from backend.catalogue.grids import Grid, probe
from backend.catalogue.reader import Reader, Rejected
from backend.catalogue.readers.sentinel2_metadata import NAME, OFFSET_SINCE
from backend.catalogue.readers.sentinel2_safe import COLLECTIONS, scl_bands
from processes.band_names import padded

FAMILY = "sentinel2_loose"
_BAND = r"(?P<band>B\d[\dA]|SCL|AOT|WVP)"
CLIP = re.compile(
    rf"(?:L2A_)?T(?P<tile>\d{{2}}[A-Z]{{3}})_(?P<when>\d{{8}}T\d{{6}})_{_BAND}(?:_\d0m)?\.(?:jp2|tiff?)", re.IGNORECASE
)
GRANULE = re.compile(
    rf"(?P<platform>S2[A-D])_OPER_MSI_L(?P<level>1C|2A)_TL_\w+?_(?P<made>\d{{8}}T\d{{6}})_A(?P<orbit>\d{{6}})_T(?P<tile>\d{{2}}[A-Z]{{3}})"
    rf"_N(?P<baseline>\d\d\.\d\d)(?:_R\d0m)?_{_BAND}\.(?:jp2|tiff?)",
    re.IGNORECASE,
)
STACK = re.compile(
    r"(?P<platform>S2[A-D])_L(?P<level>1C|2A)_(?P<when>\d{8}T\d{6})(?:_T(?P<tile>\d{2}[A-Z]{3}))?\.tiff?", re.IGNORECASE
)
PLAIN = re.compile(rf"(?:.*_)?{_BAND}(?:_\d0m)?\.(?:jp2|tiff?)", re.IGNORECASE)
# absolute orbits at known instants; a satellite makes 143 orbits in ten days
ORBITS = {
    "S2A": (44807, datetime(2024, 1, 20, 10, 54, 33, tzinfo=UTC)),
    "S2B": (36542, datetime(2024, 3, 5, 10, 55, 12, tzinfo=UTC)),
}


def sniff(path: Path) -> bool:
    """One of the known forms; folders are judged by the names of their files."""
    if path.is_file():
        return bool(STACK.fullmatch(path.name) or GRANULE.fullmatch(path.name) or CLIP.fullmatch(path.name))
    return bool(NAME.fullmatch(path.name)) and path.is_dir() and any(PLAIN.fullmatch(p.name) for p in path.iterdir())


def members(path: Path) -> list[Path]:
    """Files of the same acquisition beside this one, or everything in the folder."""
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    key = _key(path.name)
    return sorted(p for p in path.parent.iterdir() if _key(p.name) == key and p.is_file())


def _key(name: str) -> str | None:
    for pattern in (GRANULE, CLIP):
        if match := pattern.fullmatch(name):
            return re.sub(r"_R\d0m$", "", name[: match.start("band") - 1])
    if CLIP.fullmatch(name.replace("_TCI", "_B02")):  # the preview image belongs to the clip
        return name[: name.rindex("_TCI")]
    return name if STACK.fullmatch(name) else None


def read(path: Path) -> list[pystac.Item]:
    """The item of one acquisition. Raises `Rejected`."""
    if path.is_dir():
        named = NAME.fullmatch(path.name)
        if named is None:
            raise Rejected(path, "the name is not that of a Sentinel-2 product")
        files = {m["band"].upper(): p for p in sorted(path.rglob("*")) if (m := PLAIN.fullmatch(p.name))}
        return [_of_files(path, path.name, files, named.groupdict(), build.utc(named["start"]))]
    if named := STACK.fullmatch(path.name):
        return [_of_stack(path, named)]
    if named := GRANULE.fullmatch(path.name):
        return [
            _of_files(path, _key(path.name) or path.stem, _mates(path, GRANULE), named.groupdict(), _pass(path, named))
        ]
    named = CLIP.fullmatch(path.name)
    if named is None:
        raise Rejected(path, "the name is not that of a Sentinel-2 band")
    files = _mates(path, CLIP)
    level = "2A" if "SCL" in files or any(re.search(r"_\d0m\.", p.name) for p in files.values()) else "1C"
    return [
        _of_files(
            path, _key(path.name) or path.stem, files, {**named.groupdict(), "level": level}, build.utc(named["when"])
        )
    ]


def _mates(path: Path, pattern: re.Pattern[str]) -> dict[str, Path]:
    """Band -> file of one acquisition; the finest comes first in the names (R10m before R20m)."""
    out: dict[str, Path] = {}
    for mate in members(path):
        if match := pattern.fullmatch(mate.name):
            out.setdefault(match["band"].upper(), mate)
    return out


def _pass(path: Path, named: re.Match[str]) -> datetime:
    """When an orbit passed, from its number, within about 50 minutes: these names tell the processing time only."""
    known = ORBITS.get(named["platform"].upper())
    if known is None:
        raise Rejected(path, f"the acquisition time of {named['platform']} cannot be told from the orbit number")
    moment = known[1] + timedelta(days=(int(named["orbit"]) - known[0]) * 10 / 143)
    return moment.replace(microsecond=0)


def _offset(parts: dict[str, Any]) -> float:
    baseline = (parts.get("baseline") or "").replace(".", "")
    # N9999 is a reprocessing made for a data cube: its values come without offset
    return -1000.0 if baseline and OFFSET_SINCE <= int(baseline) < 9999 else 0.0


def _of_files(path: Path, id: str, files: dict[str, Path], parts: dict[str, Any], instant: datetime) -> pystac.Item:
    assets: dict[str, pystac.Asset] = {}
    grids: dict[str, Grid] = {}
    for band, file in sorted(files.items()):
        href = str(file.absolute())
        grids[band] = grid = probe(path, href)
        if band in SENTINEL2:
            bands = [
                build.reflectance(band, SENTINEL2[band], grid, scale=1e-4, nodata=0, offset_dn=_offset(parts))
                | {"gsd": grid.resolution}
            ]
        elif band == "SCL":
            bands = scl_bands(grid)
        else:
            bands = [build.band("AOT" if band == "AOT" else "WVC", grid, "continuous", scale=1e-3, nodata=0)]
        assets[band] = build.asset(href, grid, bands)
    _validity(assets, grids)
    return _item(path, id, parts, instant, assets, grids.values())


def _of_stack(path: Path, named: re.Match[str]) -> pystac.Item:
    """All bands in one file: names from the descriptions, else the thirteen of L1C or twelve of L2A in order."""
    href = str(path.absolute())
    grid = probe(path, href)
    names = [padded((d or "").split()[0].upper()) if d else "" for d in grid.descriptions]
    if not all(n in SENTINEL2 for n in names):
        standard = [b for b in SENTINEL2 if named["level"].upper() == "1C" or b != "B10"]
        if len(standard) != grid.count:
            raise Rejected(path, f"{path.name} has {grid.count} bands and does not say which")
        names = standard
    bands = []
    for i, name in enumerate(names, 1):
        scale, offset = grid.scales[i - 1], grid.offsets[i - 1]
        scale = scale if scale != 1 else 1e-4 if grid.dtypes[i - 1] != "float32" else 1.0
        nodata = grid.nodata[i - 1] if grid.nodata[i - 1] is not None else 0
        bands.append(
            build.reflectance(
                name, SENTINEL2[name], grid, scale=scale, nodata=nodata, index=i, offset_dn=offset / scale
            )
            | {"gsd": grid.resolution}
        )
    assets = {"data": build.asset(href, grid, bands)}
    _validity(assets, {"data": grid})
    return _item(path, path.stem, named.groupdict(), build.utc(named["when"]), assets, [grid])


def _validity(assets: dict[str, pystac.Asset], grids: dict[str, Grid]) -> None:
    if "SCL" in assets:
        return
    key = "B02" if "B02" in assets else next(iter(assets))
    entry = assets[key].extra_fields["bands"][0]
    index = entry.get("tuile:index", 1)
    assets[key].extra_fields["bands"].append(
        build.mask("VALID", grids[key], {"valid": True}, index=index, nodata=entry.get("nodata"))
    )


def _item(
    path: Path,
    id: str,
    parts: dict[str, Any],
    instant: datetime,
    assets: dict[str, pystac.Asset],
    grids: Iterable[Grid],
) -> pystac.Item:
    listed = list(grids)
    platform = (parts.get("platform") or "").upper()
    tile, level = parts.get("tile"), parts["level"].upper()
    orbit = parts.get("orbit")
    relative = build.s2_relative_orbit(platform, int(orbit)) if platform and orbit else None
    name = build.platform(platform) if platform else "sentinel-2"
    baseline = parts.get("baseline")
    properties = {
        "platform": name, "constellation": "sentinel-2", "instruments": ["msi"], "gsd": min(g.resolution for g in listed),
        "processing:version": baseline if not baseline or "." in baseline else f"{baseline[:2]}.{baseline[2:]}",
        "created": build.iso(build.utc(parts["made"])) if parts.get("made") else None,
        "sat:relative_orbit": relative, "grid:code": f"MGRS-{tile.upper()}" if tile else None,
        "tuile:datatake": f"{name}_{instant:%Y%m%dT%H%M%S}",
        "tuile:product": f"{platform or 'S2'}_MSIL{level}_{instant:%Y%m%dT%H%M%S}_T{tile or id}",
    }  # fmt: skip
    return build.item(
        path,
        id=id,
        collection=COLLECTIONS[level],
        family=FAMILY,
        instant=instant,
        assets=assets,
        grids=listed,
        properties=properties,
    )


reader = Reader(FAMILY, sniff, read, members, priority=60)
