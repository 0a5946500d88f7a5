"""`mask_polygon`: replace the pixels outside (or inside) polygons."""

from __future__ import annotations

from typing import Any

import xarray as xr

from processes import cube as cubes
from processes.demand import passes
from processes.geometries import inside_cube, polygons
from processes.mask.mask import replace_where
from processes.registry import process


@process(demand=passes)
def mask_polygon(data: xr.DataArray, mask: Any, replacement: Any = None, inside: bool = False) -> xr.DataArray:
    """Pixels outside all polygons (``inside``: in any of them) become ``replacement``, by default nodata.

    A pixel is inside if its centre is, holes excepted. Raises ``ProcessParameterInvalid``, ``DimensionMissing``.
    """
    held = inside_cube(data, polygons(mask, cubes.geobox_of(data).crs))
    return replace_where(data, held if inside else ~held, replacement)
