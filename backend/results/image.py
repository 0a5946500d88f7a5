"""PNG and JPEG: a picture of the first date, stretched to 8 bits.

Pixels wait (the stretch may depend on all of them) and go to the encoder line by line; those of a large picture wait in
a raw file on disk, so memory does not grow with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from backend.results import describe
from backend.results.asset import Asset
from backend.results.format import PREFIX, Format, Output, Target, unsuitable
from backend.results.options import PARAMETERS, QUALITY
from backend.results.paint import (
    Painter,
    chosen,
    found_range,
    given_range,
    palette,
    valid_of,
    widened,
)
from backend.results.png import PngWriter
from backend.results.raster import raster

_SMALL = 16 << 20  # bytes that may wait in memory
_ROWS = 512  # rows stretched at once
_SAMPLE = 1_000_000  # pixels percentiles are taken from


class Picture(Output):
    """A picture in the making: bands of the first date in a raw file, one plane after the other."""

    def __init__(self, data: Any, options: Mapping[str, Any], target: Target, name: str):
        self.format, self.options = name, options
        self.raster = raster(chosen(data, options.get("bands"), name), name)
        self.cube = self.raster.cube
        self.limit = 65_500 if name == "JPEG" else 2**31 - 1
        if max(self.raster.height, self.raster.width) > self.limit:
            raise unsuitable(name, f"a JPEG is at most {self.limit} pixels wide and high. Save it as COG.")
        self.palette = palette(options.get("colormap"), name)
        n = len(self.raster.bands or [None])
        if self.palette and n > 1:
            raise unsuitable(name, "a colormap needs a single band; choose one with the option 'bands'.")
        self.path = target.path("png" if name == "PNG" else "jpg")
        self._raw = target.folder / f".{target.stem}.raw"
        shape = (n, self.raster.height, self.raster.width)
        small = np.prod(shape) * self.cube.dtype.itemsize <= _SMALL
        self.pixels = (
            np.empty(shape, self.cube.dtype) if small else np.memmap(self._raw, self.cube.dtype, "w+", shape=shape)
        )

    def write(self, where: tuple[slice, ...], payload: Any) -> None:
        for _, b, y, x, plane in self.raster.planes(where, payload):
            self.pixels[b, y : y + plane.shape[0], x : x + plane.shape[1]] = plane

    def finish(self) -> list[Asset]:
        painter = Painter(*self._range(), self.palette, self.raster.nodata)
        if self.format == "PNG":
            self._png(painter)
        else:
            self._jpeg(painter)
        return [self._asset()]

    def _png(self, painter: Painter) -> None:
        alpha = self._has_holes()
        with self.path.open("wb") as file:
            writer = PngWriter(file, self.raster.width, self.raster.height, painter.colours + alpha)
            for y in range(0, self.raster.height, _ROWS):
                painted = painter.paint(np.asarray(self.pixels[:, y : y + _ROWS]), alpha)
                writer.write(np.moveaxis(painted, 0, -1))
            writer.finish()

    def _jpeg(self, painter: Painter) -> None:
        import warnings

        import rasterio
        import rasterio.errors
        import rasterio.shutil

        flat = self._raw.with_suffix(".tif")
        size = {"width": self.raster.width, "height": self.raster.height, "count": painter.colours}
        # pictures carry no georeference beside them, and GDAL must leave no .aux.xml
        with rasterio.Env(GDAL_PAM_ENABLED="NO"), warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(flat, "w", driver="GTiff", dtype="uint8", photometric="MINISBLACK", **size) as file:
                for y in range(0, self.raster.height, _ROWS):
                    out = painter.paint(np.asarray(self.pixels[:, y : y + _ROWS]), alpha=False)
                    file.write(out, window=((y, y + out.shape[1]), (0, out.shape[2])))
            rasterio.shutil.copy(flat, self.path, driver=self.format, quality=self.options["quality"])
        flat.unlink()

    def _range(self) -> tuple[np.ndarray, np.ndarray]:
        """Both ends of the stretch, per band."""
        low, high = given_range(self.options, self.pixels.dtype, len(self.pixels), self.format)
        if low is None or high is None:
            step = max(1, int(np.ceil(np.sqrt(self.pixels[0].size / _SAMPLE))))
            found = found_range([band[::step, ::step] for band in self.pixels], self.options, self.raster.nodata)
            low, high = (f if g is None else g for f, g in zip(found, (low, high)))
        return widened(low, high)

    def _has_holes(self) -> bool:
        nodata = self.raster.nodata
        return not all(
            valid_of(np.asarray(self.pixels[:, y : y + _ROWS]), nodata).all()
            for y in range(0, self.raster.height, _ROWS)
        )

    def _asset(self) -> Asset:
        geobox = describe.grid(self.raster.cube)
        geometry, bbox = describe.footprint(geobox) if geobox is not None else (None, None)
        times = self.raster.times or []
        return Asset(
            path=self.path,
            media_type="image/png" if self.format == "PNG" else "image/jpeg",
            title=f"Picture{f' of {describe.text(times[0])}' if times else ''}",
            roles=("data", "visual"),
            metadata=describe.projection(geobox) if geobox is not None else {},
            properties=describe.time_properties(times, self.cube) | describe.sources(self.cube),
            geometry=geometry,
            bbox=bbox,
        )

    def close(self) -> None:
        del self.pixels
        self._raw.unlink(missing_ok=True)
        self._raw.with_suffix(".tif").unlink(missing_ok=True)


_HOW = "A picture of the first date: one band in grey or coloured, three as red, green and blue{}. Values are stretched to 8 bits; uint8 is taken as it is."
FORMATS = [
    Format(
        "PNG",
        "PNG picture",
        _HOW.format(", a fourth as transparency; nodata is transparent"),
        ("raster",),
        lambda data, options, target: Picture(data, options, target, "PNG"),
        PREFIX | PARAMETERS,
    ),
    Format(
        "JPEG",
        "JPEG picture",
        _HOW.format("; nodata is black"),
        ("raster",),
        lambda data, options, target: Picture(data, options, target, "JPEG"),
        PREFIX | PARAMETERS | QUALITY,
    ),
]
