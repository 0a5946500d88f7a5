"""Which overview of a file stands for its pixels where they are only looked at (`processes.demand.View`).

A picture whose pixels are `k` times those of the file takes each of them from the coarsest level that is not coarser than
the picture. What a level's pixel stands for depends on how it was made, and a picture must not move by it:

- an average, and whatever GDAL makes but nearest neighbours, is centred on the area that its pixel covers: levels up to
  a factor of `k` serve;
- a nearest neighbour (GDAL: the pixel in the upper left of the area) and the low pass of a JPEG 2000 wavelet (ISO/IEC
  15444-1, F.3: the even samples) are samples: the pixel ``f n`` of the file stands at ``n``. Levels up to ``k / 2``
  serve, so that a sample is no further than a quarter of the picture's pixel (and half a pixel of the file) from its
  centre; with a factor of ``k`` the picture would be half a pixel off.

Classes and masks are read from nearest neighbours only: a mean of codes is no code, and of a level that does not tell
how it was made nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass

from odc.geo.geobox import GeoBox

from processes.load.items import Band

NEAREST, CENTRED = "nearest", "centred"
_SLACK = 1.01  # a factor may be so much larger than the pixel: 1001 pixels make 501, a factor of 1.998


@dataclass(frozen=True)
class Level:
    """A reduced version of a file's pixels.

    Attributes
    ----------
    number
        GDAL's: 0 is the first reduction. None: the pixels themselves.
    shape
        (rows, columns)
    ratio
        Pixels of the file per pixel of the level, (rows, columns).
    shift
        Where the level's first pixel begins, in pixels of the file, (rows, columns).
    """

    number: int | None
    shape: tuple[int, int]
    ratio: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)


def level_for(band: Band, step: float) -> Level | None:
    """The level of a band's file for a picture with pixels of ``step`` pixels of the file; None: the pixels themselves.

    Raises ``ProcessError('StorageFailure')`` naming a file that cannot be opened.
    """
    from processes.load.read import open_band

    if band.source is not None or step < 2:
        return None
    file = open_band(band)
    if file.shape != band.geobox.shape:
        return None
    factors = file.overviews(band.index)
    number = _coarsest(factors, step)
    if number is None:
        return None
    jpeg2000 = file.driver.startswith("JP2")
    kind = NEAREST if jpeg2000 else _kind(band, number)
    if band.integer and (jpeg2000 or kind != NEAREST):
        return None
    if kind == NEAREST:
        number = _coarsest(factors, step / 2)
        if number is None:
            return None
    rows, cols = open_band(band, number).shape
    if jpeg2000:
        ratio = float(factors[number]), float(factors[number])
    else:  # GDAL spreads the level over the file, also where its size is odd
        ratio = band.geobox.shape[0] / rows, band.geobox.shape[1] / cols
    shift = (0.5 - ratio[0] / 2, 0.5 - ratio[1] / 2) if kind == NEAREST else (0.0, 0.0)
    return Level(number, (rows, cols), ratio, shift)


def _coarsest(factors: list[int], step: float) -> int | None:
    usable = [k for k, f in enumerate(factors) if f <= step * _SLACK]
    return max(usable, key=lambda k: factors[k], default=None)


def _kind(band: Band, number: int) -> str | None:
    """How a level was made, as GDAL keeps it in the level's metadata; None where nothing is told."""
    from processes.load.read import open_band

    told = open_band(band, number).tags(band.index).get("RESAMPLING")
    return None if told is None else NEAREST if told.upper().startswith("NEAR") else CENTRED


def step_of(source: GeoBox, target: GeoBox) -> float:
    """Pixels of ``source`` per pixel of ``target`` along the finer axis, at the middle of ``target``."""
    from processes.resample.warp import axis_steps

    return min(axis_steps(source, target))
