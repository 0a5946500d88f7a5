"""Cubes to test on: one array, as numpy or in blocks, with the usual dimension names or a user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dask
import dask.array as da
import numpy as np
import shapely
import xarray as xr
from pyproj import Transformer

from processes import cube as cubes

USUAL = {"t": "t", "bands": "bands", "y": "y", "x": "x"}
RENAMED = {"t": "zeit", "bands": "kanal", "y": "nord", "x": "ost"}
KINDS = {"t": cubes.TEMPORAL, "bands": cubes.BANDS, "y": cubes.Y, "x": cubes.X}
CRS = 32631
WEST, SOUTH, STEP = 600_000.0, 4_800_000.0, 10.0
INFO = {
    "B1": {"common_name": "red", "wavelength": 0.66},
    "B2": {"common_name": "nir", "wavelength": 0.84},
    "B3": {"common_name": "swir16", "wavelength": 1.61},
}
CHUNKINGS: dict[str, tuple[int, ...] | None] = {
    "numpy": None,
    "whole": (-1, -1, -1, -1),
    "rows": (-1, -1, 3, -1),
    "dates": (1, -1, -1, -1),
    "everything": (2, 2, 3, 4),
}


def values(shape: tuple[int, ...] = (6, 3, 8, 10), seed: int = 7, holes: float = 0.2) -> np.ndarray:
    """float32 between -1 and 3, with NaN holes."""
    rng = np.random.default_rng(seed)
    out = rng.uniform(-1, 3, shape).astype("f4")
    out[rng.random(shape) < holes] = np.nan
    return out


def months(count: int, first: int = 1, year: int = 2020) -> np.ndarray:
    start = np.datetime64(f"{year}-01", "M") + np.arange(first - 1, first - 1 + count)
    return start.astype("datetime64[ns]")


@dataclass(frozen=True)
class Make:
    """Builds cubes of one chunking and naming."""

    chunking: str = "numpy"
    names: Mapping[str, str] = field(default_factory=lambda: USUAL)

    def __call__(
        self,
        array: np.ndarray,
        dims: Sequence[str] = ("t", "bands", "y", "x"),
        *,
        first_month: int = 1,
        bands: Sequence[str] = ("B1", "B2", "B3"),
        west: float = WEST,
        south: float = SOUTH,
        step: float = STEP,
        crs: Any = CRS,
        nodata: float | None = None,
        **coords: Any,
    ) -> xr.DataArray:
        sizes = dict(zip(dims, array.shape))
        known: dict[str, Any] = {}
        if "t" in sizes:
            known["t"] = months(sizes["t"], first_month)
        if "bands" in sizes:
            known["bands"] = list(bands)[: sizes["bands"]]
        if "y" in sizes:
            known["y"] = south + (np.arange(sizes["y"])[::-1] + 0.5) * step
        if "x" in sizes:
            known["x"] = west + (np.arange(sizes["x"]) + 0.5) * step
        known.update(coords)
        chunks = CHUNKINGS[self.chunking]
        held: Any = array
        if chunks is not None:
            wanted = dict(zip(("t", "bands", "y", "x"), chunks))
            held = da.from_array(array, chunks=tuple(wanted.get(d, -1) for d in dims))
        return cubes.cube(
            held,
            [self.names.get(d, d) for d in dims],
            {self.names.get(d, d): known[d] for d in dims},
            kinds={self.names.get(d, d): KINDS.get(d, cubes.OTHER) for d in dims},
            crs=crs,
            nodata=nodata,
            band_info={b: INFO[b] for b in known.get("bands", []) if b in INFO} or None,
        )


def refuses(*_: Any, **__: Any) -> Any:
    raise AssertionError("something was computed while the graph was built")


def building() -> Any:
    """Context in which nothing may be computed."""
    return dask.config.set(scheduler=refuses)


def computed(result: Any) -> Any:
    return result.compute(scheduler="sync") if isinstance(result, xr.DataArray) else result


def geojson(*shapes: Any, crs: int = CRS) -> dict[str, Any]:
    """FeatureCollection (EPSG:4326) of shapely shapes in the cube's CRS."""
    move = Transformer.from_crs(crs, 4326, always_xy=True).transform
    moved = [shapely.transform(s, move, interleaved=False) for s in shapes]
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(s)} for s in moved]
    return {"type": "FeatureCollection", "features": features}


def box(west: float, south: float, east: float, north: float) -> Any:
    """Rectangle in metres from the cube's lower left corner."""
    return shapely.box(WEST + west, SOUTH + south, WEST + east, SOUTH + north)
