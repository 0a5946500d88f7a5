"""netCDF-4, CF-1.8: chunks are shuffled and deflated in the threads that compute them and stored as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from backend.results import deflate, describe
from backend.results.asset import Asset
from backend.results.format import PREFIX, Format, Output, Target
from backend.results.layout import CRS, Chunker, layout


class NetCdf(Output):
    """A netCDF file in the making."""

    def __init__(self, data: Any, options: Mapping[str, Any], target: Target):
        import h5netcdf
        import h5py

        self.layout = layout(data, "netCDF")
        self.cube, self.path = self.layout.cube, target.path("nc")
        self.deflate = deflate.encoder(int(options["level"]))
        self.level, self.chunker = int(options["level"]), Chunker(self.layout, target.store())
        # HDF5's own lock keeps one thread in it at a time; track_order is what the netCDF library expects
        self._hdf = h5py.File(self.path, "w", libver=("earliest", "v110"), track_order=True)
        self.file = h5netcdf.File(self._hdf, "w")
        self._define(options)
        self._sets = [self._hdf[name] for name in self.layout.names]

    def _define(self, options: Mapping[str, Any]) -> None:
        import h5py

        shape = self.layout
        self.file.attrs.update({"Conventions": "CF-1.8", "institution": "Tuile", "title": options["title"]})
        if ids := shape.cube.attrs.get("derived_from"):
            self.file.attrs["source"] = ", ".join(ids)[:60_000]  # HDF5 keeps attributes under 64 KiB
        self.file.dimensions = dict(zip(shape.dims, shape.shape))
        for c in shape.coordinates:
            dtype = h5py.string_dtype() if c.values.dtype == object else c.values.dtype
            made = self.file.create_variable(c.name, (c.name,), dtype)
            made[...] = c.values
            made.attrs.update(c.attrs)
        if shape.crs is not None:
            self.file.create_variable(CRS, (), "i4", data=np.int32(0)).attrs.update(shape.crs)
        for name, attrs in zip(shape.names, shape.attrs):
            filters: dict[str, Any] = {"compression": "gzip", "compression_opts": self.level, "shuffle": True}
            if not self.level:  # as it is: a filter that does nothing still costs a pass over the bytes
                filters = {}
            made = self.file.create_variable(
                name,
                shape.dims,
                shape.cube.dtype,
                fillvalue=None if shape.fill is None else shape.cube.dtype.type(shape.fill),
                **({"chunks": shape.chunks} | filters if shape.dims else {}),
            )
            made.attrs.update(attrs)

    def encode(self, where: tuple[slice, ...], block: np.ndarray) -> list[tuple[int, tuple[int, ...], Any]]:
        chunks = self.chunker.put(where, block)
        if not self.layout.tiled:
            return list(chunks)
        return [(variable, start, self._compress(tile)) for variable, start, tile in chunks]

    def _compress(self, tile: np.ndarray) -> bytes | np.ndarray:
        """What HDF5's filters shuffle and deflate would make of a chunk (edge chunks are whole in the file)."""
        height, width = self.layout.chunks[-2:]
        if tile.shape != (height, width):
            tile = np.pad(tile, ((0, height - tile.shape[0]), (0, width - tile.shape[1])), mode="edge")
        if not self.level:
            return np.ascontiguousarray(tile)
        bytes_ = tile.view("u1").reshape(-1, tile.dtype.itemsize)
        return self.deflate(bytes_.T.tobytes())

    def write(self, where: tuple[slice, ...], payload: Any) -> None:
        for variable, start, data in payload:
            if self.layout.tiled:
                self._sets[variable].id.write_direct_chunk(start, data)
            elif start:
                self._sets[variable][tuple(slice(a, a + n) for a, n in zip(start, data.shape))] = data
            else:
                self._sets[variable][()] = data

    def finish(self) -> list[Asset]:
        self.close()
        return [cube_asset(self.layout.cube, self.path, "application/x-netcdf", "netCDF", self.chunker)]

    def close(self) -> None:
        self.file.close()
        self._hdf.close()
        self.chunker.store.close()


def cube_asset(cube: Any, path: Any, media_type: str, title: str, chunker: Chunker) -> Asset:
    """The asset of a file that holds a whole cube."""
    geobox = describe.grid(cube)
    geometry, bbox = describe.footprint(geobox) if geobox is not None else (None, None)
    bands = describe.bands(cube, cube.dtype, chunker.layout.fill, chunker.statistics)
    time: list[str] = next((d["values"] for d in describe.dimensions(cube).values() if d["type"] == "temporal"), [])
    return Asset(
        path=path,
        media_type=media_type,
        title=title,
        metadata=(describe.projection(geobox) if geobox is not None else {}) | {"bands": bands},
        properties=describe.time_properties(time, cube) | describe.sources(cube),
        geometry=geometry,
        bbox=bbox,
        cube=describe.dimensions(cube),
    )


FORMATS = [
    Format(
        "netCDF",
        "netCDF-4 (CF-1.8)",
        "One file with all dates: a variable per band ('var' for a cube without bands), the reference system in the "
        "variable 'crs'.",
        ("raster", "other"),
        NetCdf,
        PREFIX
        | {
            "level": {
                "description": "Effort of deflate; higher levels are slower and hardly smaller, 0 does not compress.",
                "schema": {"type": "integer", "minimum": 0, "maximum": 9, "default": 1},
            },
            "title": {
                "description": "Global attribute 'title' of the file.",
                "schema": {"type": "string", "default": "openEO result"},
            },
        },
    )
]
