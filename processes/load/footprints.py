"""Which detector saw a pixel: the footprints that Sentinel-2 granules carry per band.

They are rasters of detector numbers from processing baseline 04.00 on (``MSK_DETFOO_B04.jp2``), polygons before
(``MSK_DETFOO_B04.gml``), in ``QI_DATA`` beside ``MTD_TL.xml`` or in ``qi`` in the layout of the cloud archives.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import PurePosixPath

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from processes.errors import ProcessError
from processes.load import gml
from processes.load.items import Band, grid, grid_of_file
from processes.load.safexml import siblings, stamp

REFERENCE = (
    "B04",
    "B03",
    "B02",
    "B08",
    "B8A",
    "B11",
)  # whose footprints stand for the mean over the bands: the first there is
NAME = re.compile(r"(?:.*_)?(?:MSK_)?DETFOO_(?:.*_)?(B\d[\dA])(?:_MSIL\w\w|_MSI)?\.(?:jp2|tiff?|gml)", re.IGNORECASE)
TILE, STEP = 10980, 10.0  # the grid on which polygons are drawn


def detectors(href: str, band: str, geobox: GeoBox, code: str, origin: tuple[float, float]) -> np.ndarray | None:
    """Detector numbers (uint8, rows x cols of ``geobox``; 0 unknown), None where no footprint is kept.

    Parameters
    ----------
    href : tile metadata beside which the footprints are
    band : spectral band; "" for the mean over the bands
    code, origin : CRS and upper left corner of the tile

    Raises
    ------
    ProcessError
        ``StorageFailure`` naming a footprint that cannot be read.
    """
    try:
        found = _found(href, stamp(href))
    except OSError as error:
        raise ProcessError("StorageFailure", f"{href} cannot be read: {error}.", file=href) from None
    chosen = band if band in found else next((b for b in (*REFERENCE, *found) if b in found), None)
    if chosen is None:
        return None
    from processes.load.read import grid_map

    polygons = found[chosen].lower().endswith(".gml")
    own = grid(code, TILE, TILE, tuple(Affine(STEP, 0, origin[0], 0, -STEP, origin[1]))[:6]) if polygons else grid_of_file(found[chosen])  # fmt: skip
    mask = Band("DETFOO", found[chosen], own, dtype="uint8", kind="class", source=gml.SOURCE if polygons else None)
    out = np.zeros(tuple(geobox.shape), "u1")
    where = grid_map(own, geobox)
    if where is not None:
        values = where.read(mask)
        out[where.place] = values if where.inside is None else np.where(where.inside, values, 0)
    return out


@lru_cache(maxsize=512)
def _found(href: str, mark: int) -> dict[str, str]:
    """Band -> footprint. ``mark`` tells that the product has changed."""
    names = [h for folder in ("QI_DATA", "qi") for h in siblings(href, folder)]
    matched = ((NAME.fullmatch(PurePosixPath(h).name), h) for h in names)
    return {m[1].upper(): h for m, h in matched if m}
