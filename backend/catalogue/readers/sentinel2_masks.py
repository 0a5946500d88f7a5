"""Quality masks of Sentinel-2 granules as bands: rasters since processing baseline 04.00, GML polygons before.

CLOUD, CIRRUS (and SNOW since 04.00) where there is no scene classification. Per spectral band, loaded when asked for by
name: ``DETFOO_B04`` detector numbers, and 0/1 masks ``SATURA_B04`` saturated, ``DEFECT_B04`` defective, ``NODATA_B04``
no data, ``LOST_B04`` lost in transmission.

Bands of ``MSK_QUALIT``: 1 and 2 ancillary packets lost and degraded, 3 and 4 MSI packets lost and degraded, 5 defective,
6 no data, 7 partially corrected, 8 saturated (ESA, Sentinel-2 Products Specification Document).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pystac

from backend.catalogue import build
from backend.catalogue.grids import Grid, probe
from processes.load.gml import BITS, SOURCE

CLASSI = ("CLOUD", "CIRRUS", "SNOW")  # bands 1..3 of MSK_CLASSI
QUALIT = {3: "LOST", 5: "DEFECT", 6: "NODATA", 8: "SATURA"}
# bands of a GML file by its kind
CLOUDS = {"CLOUD": BITS["OPAQUE"], "CIRRUS": BITS["CIRRUS"]}
DEFECTS = {
    "SATURA": ("SATURA", BITS["QT_SATURATED"]), "DEFECT": ("DEFECT", BITS["QT_DEFECTIVE"]),
    "NODATA": ("NODATA", BITS["QT_NODATA"]), "TECQUA": ("LOST", BITS["MSI_LOST"]),
}  # fmt: skip


def add(
    product: Path, href: str, kind: str, band: str, assets: dict[str, pystac.Asset], grids: dict[str, Grid]
) -> None:
    """Add the asset of one mask file; ``grids`` are those of the imagery, on which polygons are drawn.

    Raises
    ------
    Rejected
        A raster that cannot be opened.
    """
    polygons = href.lower().endswith(".gml")
    if kind in ("CLOUDS", "CLASSI"):
        if "SCL" in assets:
            return
        grid = _coarsest(grids) if polygons else probe(product, href)
        bands = [_drawn(build.mask(n, _bytes(grid), {"any_bits": bits})) for n, bits in CLOUDS.items()] if polygons else [
            build.mask(n, grid, {"values": [1]}, index=i) for i, n in enumerate(CLASSI[: grid.count], 1)
        ]  # fmt: skip
        assets["CLOUDS" if polygons else "CLASSI"] = _asset(href, grid, bands, "cloud", polygons)
        return
    key = f"{kind}_{band}"
    if polygons and band not in grids:
        assets[key] = build.plain_asset(href, roles=("quality",), media_type="application/gml+xml")
        return
    grid = _bytes(grids[band]) if polygons else probe(product, href)
    if kind == "DETFOO":
        bands = [build.band(f"DETFOO_{band}", grid, "class", nodata=0, description="detector number")]
    elif kind == "QUALIT":
        bands = [
            build.mask(f"{n}_{band}", grid, {"values": [1]}, index=i) for i, n in QUALIT.items() if i <= grid.count
        ]
    elif polygons:
        name, bits = DEFECTS[kind]
        bands = [build.mask(f"{name}_{band}", grid, {"any_bits": bits})]
    else:
        bands = [build.mask(f"{DEFECTS[kind][0]}_{band}", grid, {"not_values": [0]})]
    bands = [b | {"tuile:extra": True} for b in bands]
    assets[key] = _asset(href, grid, [_drawn(b) for b in bands] if polygons else bands, "quality", polygons)


def _asset(href: str, grid: Grid, bands: list[dict[str, Any]], role: str, polygons: bool) -> pystac.Asset:
    made = build.asset(href, grid, bands, roles=("data", role))
    if polygons:
        made.media_type = "application/gml+xml"
    return made


def _drawn(band: dict[str, Any]) -> dict[str, Any]:
    return band | {"tuile:source": SOURCE}


def _bytes(grid: Grid) -> Grid:
    """The grid of imagery as that of a mask drawn on it."""
    return Grid(grid.shape, grid.transform, grid.code, 1, ("uint8",), (None,), (None,), (1.0,), (0.0,))


def _coarsest(grids: dict[str, Grid]) -> Grid:
    """Cloud masks are made at 60 m."""
    return max(grids.values(), key=lambda g: g.resolution)
