"""Zarr: a zipped store (one file to download) with the same variables as netCDF."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from backend.results.asset import Asset
from backend.results.format import PREFIX, Format, Output, Target
from backend.results.layout import CRS, Chunker, layout
from backend.results.netcdf import cube_asset


class Zarr(Output):
    """A Zarr store in the making: chunks go to a folder, which is zipped (not compressed again) at the end."""

    def __init__(self, data: Any, options: Mapping[str, Any], target: Target):
        import zarr
        from numcodecs import Blosc

        self.layout = layout(data, "Zarr")
        self.cube, self.chunker = self.layout.cube, Chunker(self.layout, target.store())
        self.path = target.path("zarr.zip")
        self.folder = target.folder / f".{target.stem}.zarr"
        # format 2 with consolidated metadata: what GDAL, xarray and every Zarr library read
        group = zarr.create_group(store=str(self.folder), zarr_format=2)
        group.attrs.update({"Conventions": "CF-1.8", "title": "openEO result"})
        for c in self.layout.coordinates:
            values = c.values.astype("U") if c.values.dtype == object else c.values
            made = group.create_array(
                c.name, shape=values.shape, chunks=values.shape, dtype=values.dtype, fill_value=None
            )
            made[...] = values
            made.attrs.update({"_ARRAY_DIMENSIONS": [c.name], **c.attrs})
        if self.layout.crs is not None:
            crs = group.create_array(CRS, shape=(), dtype="i4", fill_value=None)
            crs[...] = np.int32(0)
            crs.attrs.update({"_ARRAY_DIMENSIONS": [], **self.layout.crs})
        self.arrays = []
        for name, attrs in zip(self.layout.names, self.layout.attrs):
            made = group.create_array(
                name,
                shape=self.layout.shape,
                chunks=self.layout.chunks or (),
                dtype=self.layout.cube.dtype,
                fill_value=self.layout.fill,
                compressors=Blosc("zstd", clevel=int(options["level"]), shuffle=Blosc.SHUFFLE),
            )
            made.attrs.update({"_ARRAY_DIMENSIONS": list(self.layout.dims), **attrs})
            self.arrays.append(made)
        zarr.consolidate_metadata(group.store)

    def encode(self, where: tuple[slice, ...], block: np.ndarray) -> list[tuple[int, tuple[int, ...], np.ndarray]]:
        chunks = self.chunker.put(where, block)
        if not self.layout.tiled:
            return list(chunks)
        for chunk in chunks:  # whole chunks are files of their own: threads never meet, storing needs no lock
            self._store(*chunk)
        return []

    def write(self, where: tuple[slice, ...], payload: Any) -> None:
        for piece in payload:
            self._store(*piece)

    def _store(self, variable: int, start: tuple[int, ...], values: np.ndarray) -> None:
        lead = tuple(slice(s, s + 1) for s in start[: len(start) - values.ndim])
        tail = tuple(slice(a, a + n) for a, n in zip(start[len(lead) :], values.shape))
        self.arrays[variable][lead + tail] = values.reshape((1,) * len(lead) + values.shape)

    def finish(self) -> list[Asset]:
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for file in sorted(p for p in self.folder.rglob("*") if p.is_file()):
                archive.write(file, file.relative_to(self.folder).as_posix())
        return [cube_asset(self.layout.cube, self.path, "application/vnd+zarr+zip", "Zarr (zipped)", self.chunker)]

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.chunker.store.close()


FORMATS = [
    Format(
        "Zarr",
        "Zarr store, zipped",
        "One .zarr.zip with all dates: an array per band ('var' for a cube without bands), consolidated metadata, the "
        "reference system in the array 'crs'. Open it with zarr.storage.ZipStore, or unzip it first.",
        ("raster", "other"),
        Zarr,
        PREFIX
        | {
            "level": {
                "description": "Effort of zstd.",
                "schema": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
            }
        },
    )
]
