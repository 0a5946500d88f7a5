"""Cubes to write."""

from __future__ import annotations

from collections.abc import Callable

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from processes import cube as cubes

DATES = np.array(["2024-06-01T10:50:31", "2024-06-11T10:50:31"], "M8[ns]")
MakeCube = Callable[..., xr.DataArray]


@pytest.fixture
def make_cube() -> MakeCube:
    def make(
        dims: tuple[str, ...] = ("t", "bands", "y", "x"),
        size: tuple[int, int] = (700, 900),
        dtype: str = "f4",
        chunks: tuple[int, int] = (300, 411),
        nodata: float | None = None,
        **attrs: object,
    ) -> xr.DataArray:
        """Random values on the 10 m grid of UTM 31N, some without data; blocks do not fit the tiles of any file."""
        coords = {
            "t": DATES,
            "bands": ["B04", "B03", "B02"],
            "y": 4900020.0 - 5 - 10 * np.arange(size[0]),
            "x": 300000.0 + 5 + 10 * np.arange(size[1]),
        }
        shape = tuple(len(coords[d]) for d in dims)
        values = (np.random.default_rng(5).normal(size=shape) * 1000 + 3000).astype(dtype)
        if nodata is not None:
            values[..., :40, :50] = nodata
        elif dtype.startswith("f"):
            values[..., :40, :50] = np.nan
        blocks = da.from_array(values, chunks=tuple({"y": chunks[0], "x": chunks[1], "t": 1}.get(d, -1) for d in dims))
        made = cubes.cube(
            blocks,
            dims,
            {d: coords[d] for d in dims},
            crs="EPSG:32631",
            nodata=nodata,
            derived_from=["S2A_1", "S2A_2"],
            band_info={"B04": {"common_name": "red", "wavelength": 0.665}} if "bands" in dims else None,
        )
        made.attrs.update(attrs)
        return made

    return make
