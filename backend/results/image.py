"""PNG and JPEG: a picture of the first date, stretched to 8 bits.

Pixels wait in a raw file on disk (the stretch may depend on all of them) and go to the encoder line by line, so memory
does not grow with the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from backend.results import describe
from backend.results.asset import Asset
from backend.results.format import PREFIX, Format, Output, Target, unsuitable
from backend.results.raster import raster
from processes import cube as cubes

_ROWS = 512  # rows stretched at once
_SAMPLE = 1_000_000  # pixels percentiles are taken from


class Picture(Output):
    """A picture in the making: bands of the first date in a raw file, one plane after the other."""

    def __init__(self, data: Any, options: Mapping[str, Any], target: Target, name: str):
        self.format, self.options = name, options
        self.raster = raster(_chosen(data, options.get("bands"), name), name)
        self.cube = self.raster.cube
        self.limit = 65_500 if name == "JPEG" else 2**31 - 1
        if max(self.raster.height, self.raster.width) > self.limit:
            raise unsuitable(name, f"a JPEG is at most {self.limit} pixels wide and high. Save it as COG.")
        self.palette = _palette(options.get("colormap"), name)
        n = len(self.raster.bands or [None])
        if self.palette and n > 1:
            raise unsuitable(name, "a colormap needs a single band; choose one with the option 'bands'.")
        self.path = target.path("png" if name == "PNG" else "jpg")
        self._raw = target.folder / f".{target.stem}.raw"
        self.pixels = np.memmap(self._raw, self.cube.dtype, "w+", shape=(n, self.raster.height, self.raster.width))

    def write(self, where: tuple[slice, ...], payload: Any) -> None:
        for _, b, y, x, plane in self.raster.planes(where, payload):
            self.pixels[b, y : y + plane.shape[0], x : x + plane.shape[1]] = plane

    def finish(self) -> list[Asset]:
        import warnings

        import rasterio
        import rasterio.errors
        import rasterio.shutil

        low, high = self._range()
        colours = 3 if self.palette or len(self.pixels) >= 3 else 1
        alpha = self.format == "PNG" and self._has_holes()
        flat = self._raw.with_suffix(".tif")
        size = {"width": self.raster.width, "height": self.raster.height, "count": colours + alpha}
        # pictures carry no georeference beside them, and GDAL must leave no .aux.xml
        with rasterio.Env(GDAL_PAM_ENABLED="NO"), warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(flat, "w", driver="GTiff", dtype="uint8", photometric="MINISBLACK", **size) as file:
                for y in range(0, self.raster.height, _ROWS):
                    rows = np.asarray(self.pixels[:, y : y + _ROWS])
                    out = self._eight_bits(rows, low, high, colours, alpha)
                    file.write(out, window=((y, y + out.shape[1]), (0, out.shape[2])))
            extra = {"quality": self.options["quality"]} if self.format == "JPEG" else {"zlevel": 6}
            rasterio.shutil.copy(flat, self.path, driver=self.format, **extra)
        flat.unlink()
        return [self._asset()]

    def _range(self) -> tuple[np.ndarray, np.ndarray]:
        """Value per band that becomes 0 (or the palette's first colour) and 255 (its last)."""
        n, given = len(self.pixels), (self.options.get("min"), self.options.get("max"))
        whole = self.pixels.dtype == np.uint8 and given == (None, None) and "stretch" not in self.options
        if whole:
            return np.zeros(n), np.full(n, 255.0)
        ends = [_per_band(v, n, k, self.format) for v, k in zip(given, ("min", "max"))]
        if None in (e if e is None else 0 for e in ends):
            step = max(1, int(np.ceil(np.sqrt(self.pixels[0].size / _SAMPLE))))
            percent = self.options.get("stretch") or [2, 98]
            found = np.array([self._percentiles(band[::step, ::step], percent) for band in self.pixels])
            ends = [found[:, k] if e is None else e for k, e in enumerate(ends)]
        low, high = (np.asarray(e, float) for e in ends)
        return low, np.where(high > low, high, low + 1)

    def _percentiles(self, sample: np.ndarray, percent: Sequence[float]) -> tuple[float, float]:
        values = sample[self._valid(sample)].astype("f8")
        if not values.size:
            return 0.0, 1.0
        low, high = np.percentile(values, percent)
        return float(low), float(high)

    def _valid(self, values: np.ndarray) -> np.ndarray:
        if values.dtype.kind == "f":
            return np.isfinite(values)
        nodata = self.raster.nodata
        return np.ones(values.shape, bool) if nodata is None else values != nodata

    def _has_holes(self) -> bool:
        return not all(self._valid(self.pixels[:, y : y + _ROWS]).all() for y in range(0, self.raster.height, _ROWS))

    def _eight_bits(self, rows: np.ndarray, low: np.ndarray, high: np.ndarray, colours: int, alpha: bool) -> np.ndarray:
        """``rows`` (bands, h, w) as uint8 (colours [+ alpha], h, w). Without alpha, nodata is black."""
        valid = self._valid(rows).all(axis=0)
        shape = (-1, 1, 1)
        with np.errstate(invalid="ignore"):
            share = (rows.astype("f8") - low.reshape(shape)) / (high - low).reshape(shape)
        share = np.clip(np.where(valid, share, 0), 0, 1)
        if self.palette:
            out, known = _coloured(self.palette, rows[0], share[0])
            valid = valid & known
        elif len(share) == 4:
            out = np.rint(share[:3] * 255).astype("u1")
        else:
            out = np.rint(share * 255).astype("u1")
        out = np.where(valid, out, 0).astype("u1")
        if len(rows) == 4 and not self.palette and alpha:
            return np.concatenate([out, (valid * np.rint(share[3] * 255)).astype("u1")[None]])
        return np.concatenate([out, (valid * 255).astype("u1")[None]]) if alpha else out

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


def _chosen(data: Any, wanted: Sequence[str] | None, name: str) -> Any:
    """First date; the bands asked for, else all of up to four, else the first three; 2 bands cannot be shown."""
    if not isinstance(data, xr.DataArray):
        return data  # `raster` tells what is wrong
    time, band = cubes.dim_of(data, cubes.TEMPORAL), cubes.dim_of(data, cubes.BANDS)
    pick: dict[str, Any] = {}
    if time is not None and data.sizes[time]:
        pick[time] = slice(0, 1)
    if band is not None:
        labels = [describe.text(v) for v in cubes.labels(data, band)]
        if unknown := [b for b in wanted or () if b not in labels]:
            raise unsuitable(name, f"the cube has no band {', '.join(unknown)}; it has {', '.join(labels)}.")
        if wanted:
            pick[band] = [labels.index(b) for b in wanted]
        elif len(labels) > (4 if name == "PNG" else 3):
            pick[band] = slice(0, 3)
        if len(wanted or labels) == 2:
            raise unsuitable(name, "a picture has 1, 3 or 4 bands, the cube has 2; choose with the option 'bands'.")
    elif wanted:
        raise unsuitable(name, "the cube has no bands to choose from.")
    return cubes.like(data.isel(pick), data) if pick else data


def _per_band(value: Any, n: int, option: str, name: str) -> np.ndarray | None:
    if value is None:
        return None
    values = np.atleast_1d(np.asarray(value, float))
    if len(values) not in (1, n):
        raise unsuitable(name, f"option '{option}' has {len(values)} values for {n} bands.")
    return np.broadcast_to(values, n)


Palette = tuple[dict[int, tuple[int, ...]] | None, np.ndarray | None]


def _palette(given: Any, name: str) -> Palette | None:
    """Option ``colormap``: an object value -> colour, or a list of colours along the stretch."""
    if given is None:
        return None
    if isinstance(given, dict):
        return {int(k): _colour(v, name) for k, v in given.items()}, None
    return None, np.array([_colour(v, name) for v in given], float)


def _colour(value: Any, name: str) -> tuple[int, ...]:
    from PIL import ImageColor

    if isinstance(value, str):
        try:
            return ImageColor.getrgb(value)[:3]
        except ValueError:
            raise unsuitable(name, f"'{value}' is not a colour; write #rrggbb.") from None
    return tuple(int(v) for v in value[:3])


def _coloured(palette: Palette, values: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours (3, h, w) of a band and which pixels have one."""
    classes, ramp = palette
    if classes is not None:
        out, known = np.zeros((3, *values.shape), "u1"), np.zeros(values.shape, bool)
        for value, colour in classes.items():
            here = values == value
            known |= here
            out[:, here] = np.array(colour, "u1")[:, None]
        return out, known
    assert ramp is not None
    at = np.linspace(0, 1, len(ramp))
    out = np.stack([np.rint(np.interp(share, at, ramp[:, k])) for k in range(3)]).astype("u1")
    return out, np.ones(values.shape, bool)


_NUMBER_OR_LIST = {
    "anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 4}]
}
PARAMETERS = PREFIX | {
    "bands": {
        "description": "Bands to show, in the order red, green, blue (, alpha), or one. By default the first three of "
        "more than four.",
        "schema": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 4},
    },
    "min": {"description": "Value that becomes black, one for all bands or one each.", "schema": _NUMBER_OR_LIST},
    "max": {"description": "Value that becomes white, one for all bands or one each.", "schema": _NUMBER_OR_LIST},
    "stretch": {
        "description": "Percentiles that become black and white where min and max are not given; [2, 98] if absent.",
        "schema": {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 100},
            "minItems": 2,
            "maxItems": 2,
        },
    },
    "colormap": {
        "description": "Colours of a single band: a list of at least two along the stretch, or an object from value to "
        "colour; values without a colour are transparent. A colour is '#rrggbb' or [r, g, b].",
        "schema": {
            "anyOf": [
                {"type": "array", "minItems": 2, "items": {"type": ["string", "array"]}},
                {"type": "object", "propertyNames": {"pattern": "^-?[0-9]+$"}, "minProperties": 1},
            ]
        },
    },
}
QUALITY = {
    "quality": {
        "description": "JPEG quality.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 85},
    }
}
_HOW = "A picture of the first date: one band in grey or coloured, three as red, green and blue{}. Values are stretched to 8 bits; uint8 is taken as it is."
FORMATS = [
    Format(
        "PNG",
        "PNG picture",
        _HOW.format(", a fourth as transparency; nodata is transparent"),
        ("raster",),
        lambda data, options, target: Picture(data, options, target, "PNG"),
        PARAMETERS,
    ),
    Format(
        "JPEG",
        "JPEG picture",
        _HOW.format("; nodata is black"),
        ("raster",),
        lambda data, options, target: Picture(data, options, target, "JPEG"),
        PARAMETERS | QUALITY,
    ),
]
