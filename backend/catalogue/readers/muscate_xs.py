"""MUSCATE L2A of sensors with one resolution (group XS): Landsat-5/7/8 as Theia makes them since 2017, and VENuS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pystac

from backend.catalogue import build
from backend.catalogue.bands import LANDSAT8, LANDSAT_TM, VENUS, Spectral
from backend.catalogue.grids import Grid, probe
from backend.catalogue.reader import Reader, Rejected
from backend.catalogue.readers import muscate
from backend.catalogue.readers.muscate_l2a import SHADOWS, clm_order
from processes.band_names import padded

FAMILY = "muscate_xs"
NAME = re.compile(
    r"(?P<platform>LANDSAT[5789]|VENUS)(?:-(?P<sensor>(?!XS_)[A-Z0-9+]+))?(?:-XS)?_(?P<when>\d{8}-\d{6}-\d{3})_L2A_(?P<tile>[\w-]+?)_(?P<writer>[CDH])(?:_V(?P<version>[\d-]+))?"
)


@dataclass(frozen=True)
class Sensor:
    collection: str
    bands: dict[str, Spectral]
    quantification: float


SENSORS = {
    "VENUS": Sensor("VENUS_L2A", VENUS, 1000),
    "LANDSAT8": Sensor("LANDSAT8_L2A_THEIA", LANDSAT8, 1000),
    "LANDSAT9": Sensor("LANDSAT8_L2A_THEIA", LANDSAT8, 1000),
    "LANDSAT7": Sensor("LANDSAT8_L2A_THEIA", LANDSAT_TM, 1000),
    "LANDSAT5": Sensor("LANDSAT8_L2A_THEIA", LANDSAT_TM, 1000),
}


def sniff(path: Path) -> bool:
    """A folder or zip with the name of such a product."""
    return muscate.sniff(path, NAME)


def read(path: Path) -> list[pystac.Item]:
    """The item of one product. Raises `Rejected`."""
    tree, named = muscate.open_product(path, NAME)
    meta = muscate.metadata(tree)
    sensor = SENSORS[named["platform"]]
    scale, nodata = muscate.quantification(meta, default=sensor.quantification), muscate.nodata(meta)
    assets: dict[str, pystac.Asset] = {}
    grids: list[Grid] = []
    for name in tree.names:
        found = re.search(r"_(FRE|SRE)_(B\w+)\.tiff?$", name, re.IGNORECASE)
        if not found or (plain := padded(found[2].upper())) not in sensor.bands:
            continue
        grid = probe(path, tree.href(name))
        grids.append(grid)
        nature = found[1].upper()
        entry = build.reflectance(
            plain if nature == "FRE" else f"SRE_{plain}", sensor.bands[plain], grid, scale=scale, nodata=nodata
        )
        if nature == "SRE":
            entry.pop("eo:common_name", None)
        assets[f"{nature}_{plain}"] = build.asset(
            tree.href(name), grid, [entry | {"gsd": grid.resolution}], roles=("data", "reflectance")
        )
    if not grids:
        raise Rejected(path, "the product has no FRE or SRE raster")
    muscate.atmosphere(path, tree, meta, assets)
    order = None
    for (kind, group), (href, grid) in muscate.masks(path, tree, ("CLM", "MG2", "EDG", "SAT")).items():
        kind = f"SAT_{padded(group)}" if kind == "SAT" and padded(group) in sensor.bands else kind
        bands = [build.band(kind, grid, "class")]
        if kind == "CLM":
            order = clm_order(href, named["writer"])
            decoded = {"CLOUD": 2, "CLOUD_SHADOW": SHADOWS[order], "CIRRUS": 128}
            bands += [build.mask(n, grid, {"any_bits": bits}) for n, bits in decoded.items()]
        elif kind == "MG2":
            bands += [build.mask("WATER", grid, {"any_bits": 1}), build.mask("SNOW", grid, {"any_bits": 4})]
        elif kind == "EDG":
            bands.append(build.mask("VALID", grid, {"no_bits": 1}))
        assets[kind] = build.asset(href, grid, bands, roles=("data", "cloud" if kind == "CLM" else "quality"))
    if "EDG" not in assets:
        first = next(iter(assets.values()))
        first.extra_fields["bands"].append(build.mask("VALID", grids[0], {"valid": True}, nodata=nodata))
    if meta is not None:
        muscate.metadata_assets(tree, meta, assets, min(grids, key=lambda g: g.resolution))
    instant = muscate.instant(path, meta, named["when"])
    properties = muscate.properties(meta, named, named["platform"]) | {
        "instruments": [named["sensor"].lower()] if named["sensor"] else None,
        "gsd": min(g.resolution for g in grids),
        "tuile:zone": named["tile"],
        "tuile:clm_order": order,
        "tuile:datatake": build.datatake(named["platform"], instant, muscate.orbit(meta)),
        "tuile:product": f"{named['platform']}_{named['when']}_L2A_{named['tile']}",
    }
    return [build.item(path, id=named["id"], collection=sensor.collection, family=FAMILY, instant=instant, assets=assets, grids=grids, properties=properties)]  # fmt: skip


reader = Reader(FAMILY, sniff, read, priority=80)
