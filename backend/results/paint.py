"""How values become colours: which bands are shown, the stretch to 8 bits, palettes, transparency.

Pictures (`backend.results.image`) and map tiles (`backend.services`) follow the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from backend.results import describe
from backend.results.format import unsuitable
from processes import cube as cubes
from processes.probe import stored_nodata

Palette = tuple[dict[int, tuple[int, ...]] | None, np.ndarray | None]


@dataclass(frozen=True)
class Painter:
    """Paints planes of numbers.

    Attributes
    ----------
    low, high : value per band that becomes 0 (or the palette's first colour) and 255 (its last)
    palette : colours of a single band
    nodata : fill value of integers; floats use NaN
    """

    low: np.ndarray
    high: np.ndarray
    palette: Palette | None = None
    nodata: float | None = None

    @property
    def colours(self) -> int:
        """Colour channels of what is painted: 1 (grey) or 3."""
        return 3 if self.palette or len(self.low) >= 3 else 1

    def paint(self, rows: np.ndarray, alpha: bool) -> np.ndarray:
        """``rows`` (bands, h, w) as uint8 (colours [+ alpha], h, w). Without alpha, nodata is black."""
        if not self.palette and len(rows) != 4:
            return self._shades(rows, alpha)
        valid = valid_of(rows, self.nodata).all(axis=0)
        shape = (-1, 1, 1)
        with np.errstate(invalid="ignore"):
            share = (rows.astype("f8") - self.low.reshape(shape)) / (self.high - self.low).reshape(shape)
        share = np.clip(np.where(valid, share, 0), 0, 1)
        if self.palette:
            out, known = coloured(self.palette, rows[0], share[0])
            valid = valid & known
        elif len(share) == 4:
            out = np.rint(share[:3] * 255).astype("u1")
        else:
            out = np.rint(share * 255).astype("u1")
        out = np.where(valid, out, 0).astype("u1")
        if len(rows) == 4 and not self.palette and alpha:
            return np.concatenate([out, (valid * np.rint(share[3] * 255)).astype("u1")[None]])
        return np.concatenate([out, (valid * 255).astype("u1")[None]]) if alpha else out

    def _shades(self, rows: np.ndarray, alpha: bool) -> np.ndarray:
        """`paint` of grey and of three colours, in one pass; planes of the result are views of pixels side by side."""
        from processes.kernels.stretch import shades  # numba only where it is needed

        n, (nodata, known) = len(rows), stored_nodata(self.nodata, rows.dtype)
        out = np.empty((*rows.shape[1:], n + alpha), np.uint8)
        valid = np.empty(rows.shape[1:], bool)
        low, high = (np.ascontiguousarray(v, "f8") for v in (self.low, self.high))
        shades(np.ascontiguousarray(rows), low, high, nodata, known, out, valid)
        if alpha:
            np.multiply(valid, 255, out=out[..., n], casting="unsafe")
        return np.moveaxis(out, -1, 0)


def valid_of(values: np.ndarray, nodata: float | None) -> np.ndarray:
    """Where there is a value."""
    if values.dtype.kind == "f":
        return np.isfinite(values)
    return np.ones(values.shape, bool) if nodata is None else values != nodata


def given_range(
    options: Mapping[str, Any], dtype: np.dtype, n: int, name: str
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Lower and upper end of the stretch of ``n`` bands, as far as options or uint8 fix them. Raises
    ``FormatUnsuitable``."""
    given = options.get("min"), options.get("max")
    if dtype == np.uint8 and given == (None, None) and "stretch" not in options:
        return np.zeros(n), np.full(n, 255.0)
    low, high = (_per_band(v, n, k, name) for v, k in zip(given, ("min", "max")))
    return low, high


def found_range(
    bands: Sequence[np.ndarray], options: Mapping[str, Any], nodata: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Both ends per band from a sample of its pixels: the percentiles of the option ``stretch``."""
    percent = options.get("stretch") or [2, 98]
    found = np.array([_percentiles(band, percent, nodata) for band in bands])
    return found[:, 0], found[:, 1]


def _percentiles(sample: np.ndarray, percent: Sequence[float], nodata: float | None) -> tuple[float, float]:
    values = sample[valid_of(sample, nodata)].astype("f8")
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, percent)
    return float(low), float(high)


def widened(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A range nothing is divided by zero with."""
    return np.asarray(low, float), np.where(high > low, high, np.asarray(low, float) + 1)


def chosen(data: Any, wanted: Sequence[str] | None, name: str, time: int = 0) -> Any:
    """One date (by default the first); the bands asked for, else all of up to four, else the first three; 2 bands cannot be shown."""
    if not isinstance(data, xr.DataArray):
        return data  # `raster` tells what is wrong
    along, band = cubes.dim_of(data, cubes.TEMPORAL), cubes.dim_of(data, cubes.BANDS)
    pick: dict[str, Any] = {}
    if along is not None and data.sizes[along]:
        pick[along] = slice(time, time + 1)
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


def palette(given: Any, name: str) -> Palette | None:
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


def coloured(palette: Palette, values: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
