"""GTiff and COG: one cloud-optimised GeoTIFF per date, all bands in it, in one pass over the blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from backend.results import describe, tiff
from backend.results.asset import Asset
from backend.results.format import PREFIX, Format, Output, Target, unsuitable
from backend.results.raster import overview_of, raster
from backend.results.tiles import Pyramid, Statistics

MEDIA_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"


class GeoTiffs(Output):
    """GeoTIFFs in the making: tiles and overviews are compressed as blocks come, and wait in a spool file."""

    def __init__(self, data: Any, options: Mapping[str, Any], target: Target, name: str):
        self.raster = raster(data, name)
        self.cube = self.raster.cube
        geobox = describe.grid(self.cube)
        if geobox is None:
            raise unsuitable(name, "the cube has no coordinate reference system.")
        self.geobox, self.target, self.format = geobox, target, name
        self.dtype = np.dtype(self.cube.dtype)
        self.compression = options["compression"].lower()
        if self.compression != "zstd" and options.get("level", 0) > 12:
            raise unsuitable(name, "the highest level of deflate is 12.")
        size = min(int(options["blocksize"]), -(-max(self.raster.height, self.raster.width) // 16) * 16)
        self.predictor = tiff.predictor_of(self.dtype, self.compression, options["predictor"])
        self.compress = tiff.encoder(self.dtype, size, self.compression, options.get("level"), options["predictor"])
        store = target.store()
        self.pyramid = Pyramid(
            self.raster.height,
            self.raster.width,
            size,
            self.dtype,
            overview=overview_of(self.cube, options["overviews"]),
            nodata=self.raster.nodata,
            store=store,
        )
        self.size, self.store = size, store
        times = self.raster.times
        self.images = [None] if times is None else times
        n_bands = len(self.raster.bands or [None])
        self.statistics = [[Statistics() for _ in range(n_bands)] for _ in self.images]
        self.spool = tiff.Spool(target.folder / f".{target.stem}.tiles")

    def encode(self, where: tuple[slice, ...], block: np.ndarray) -> list[tuple[tuple[int, int, int, int, int], bytes]]:
        out = []
        for t, b, y, x, plane in self.raster.planes(where, block):
            for level, ty, tx, tile in self.pyramid.put((t, b), y, x, plane):
                if level == 0:
                    self.statistics[t][b].add(tile, self.raster.nodata)
                out.append(((t, level, b, ty, tx), self.compress(tile)))
        return out

    def write(self, where: tuple[slice, ...], payload: Any) -> None:
        for key, data in payload:
            self.spool.add(key, data)

    def finish(self) -> list[Asset]:
        labels = file_labels(self.images)
        return [self._finish(n, time, label) for n, (time, label) in enumerate(zip(self.images, labels))]

    def _finish(self, number: int, time: Any, label: str) -> Asset:
        statistics = self.statistics[number]
        path = self.target.path("tif", label)
        instant = describe.instant(time)
        image = tiff.Image(
            geobox=self.geobox,
            bands=len(statistics),
            dtype=self.dtype,
            tile=self.size,
            levels=[(level.height, level.width) for level in self.pyramid.levels],
            compression=self.compression,
            predictor=self.predictor,
            nodata=self.raster.nodata,
            descriptions=self.raster.bands or [""],
            statistics=[s.to_stac() for s in statistics],
            time=instant[:19].replace("-", ":").replace("T", " ") if instant else None,
        )
        tiff.assemble(path, self.spool, number, image)
        geometry, bbox = describe.footprint(self.geobox)
        bands = describe.bands(self.raster.cube, self.dtype, self.raster.nodata, statistics)
        held = [] if time is None else [time]
        return Asset(
            path=path,
            media_type=MEDIA_TYPE,
            title=f"{self.format}{f' of {describe.text(time)}' if time is not None else ''}",
            metadata=describe.projection(self.geobox) | {"bands": bands},
            properties=describe.time_properties(held, self.cube) | describe.sources(self.cube),
            geometry=geometry,
            bbox=bbox,
            cube=describe.dimensions(self.raster.cube, held),
        )

    def close(self) -> None:
        self.spool.close()
        self.store.close()


def file_labels(times: Sequence[Any]) -> list[str]:
    """What tells the files of a series apart: ``2024-06-01Z`` where dates suffice, else date and time, else the label."""
    if list(times) == [None]:
        return [""]
    for unit in ("D", "s", "ms", "ns"):
        if not all(isinstance(t, np.datetime64) for t in times):
            break
        names = [np.datetime_as_string(t, unit=unit).replace(":", "") + "Z" for t in times]
        if len(set(names)) == len(names):
            return names
    names = [re.sub(r"[^\w.+-]+", "-", describe.text(t)).strip("-.") or str(n) for n, t in enumerate(times)]
    return names if len(set(names)) == len(names) else [f"{n}-{name}" for n, name in enumerate(names)]


PARAMETERS = PREFIX | {
    "compression": {
        "description": "How tiles are compressed. Every reader knows deflate; zstd is three times as fast to write and to read.",
        "schema": {
            "type": "string",
            "enum": ["deflate", "zstd", "lzw", "none", "DEFLATE", "ZSTD", "LZW", "NONE"],
            "default": "deflate",
        },
    },
    "level": {
        "description": "Effort of deflate (1-12) or zstd (1-19). By default what pays for the data type.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 19},
    },
    "predictor": {
        "description": "Store differences of neighbours, which compress better.",
        "schema": {"type": "boolean", "default": True},
    },
    "blocksize": {
        "description": "Edge of a tile in pixels.",
        "schema": {"type": "integer", "enum": [128, 256, 512, 1024], "default": 512},
    },
    "overviews": {
        "description": "How overviews are made: the average of valid pixels, the most frequent value, the nearest pixel, "
        "or none; auto takes the mode for classes and masks and the average for the rest.",
        "schema": {"type": "string", "enum": ["auto", "average", "mode", "nearest", "none"], "default": "auto"},
    },
}
_HOW = (
    "A cloud-optimised GeoTIFF (tiled, with overviews and statistics) per label of the temporal dimension, all bands in "
    "it; one file where the cube has no time. NaN is the nodata value of floating-point cubes."
)
FORMATS = [
    Format(
        name,
        title,
        _HOW,
        ("raster",),
        lambda data, options, target, name=name: GeoTiffs(data, options, target, name),  # type: ignore[misc]
        PARAMETERS,
    )
    for name, title in (("GTiff", "GeoTIFF"), ("COG", "Cloud-optimised GeoTIFF"))
]
