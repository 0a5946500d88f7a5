"""From 10 m to 20 m, from 20 m to the coarse cells that judge how bright a cloud is.

Formulas: anti-aliased cubic convolution (Keys 1981, a = -0.5) and triangle-weighted averages, as in let-it-snow
(Gascoin et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from processes.errors import parameter_invalid
from processes.kernels.lis_resample import coarse_rows, halve_rows
from processes.lis.params import NODATA


def in_bands(work: Callable[[int, int], object], rows: int, threads: int, height: int = 256) -> list[object]:
    """Call ``work(first, last)`` over bands of rows on ``threads`` threads; results in order of rows."""
    cuts = [(y, min(y + height, rows)) for y in range(0, rows, height)]
    if threads <= 1 or len(cuts) == 1:
        return [work(*c) for c in cuts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda c: work(*c), cuts))


def halve(band: np.ndarray, *, nodata: int = NODATA, threads: int = 1) -> np.ndarray:
    """A 10 m band on the 20 m grid.

    Parameters
    ----------
    band : int16 (2h, 2w)

    Returns
    -------
    int16 (h, w). A pixel is valid exactly where the lower right of its four source pixels is; nodata taps are left
    out and the others renormalised; rounded half up.
    """
    if band.ndim != 2 or band.dtype != np.int16 or band.shape[0] % 2 or band.shape[1] % 2:
        raise parameter_invalid("data", f"a 10 m band must be int16 with even size, got {band.dtype} {band.shape}.")
    out = np.empty((band.shape[0] // 2, band.shape[1] // 2), np.int16)
    in_bands(lambda a, b: halve_rows(band, nodata, out, a, b, 0), out.shape[0], threads)
    return out


def triangle(size: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (cells, taps) and first taps of a triangle filter from ``size`` pixels to ``cells`` cells.

    The half-width is the scale ``size / cells``, taken as a whole number where it is within 0.05 of one: GDAL's
    down-sampling does so, hence also the reference.
    """
    scale = size / cells
    width = float(round(scale)) if abs(scale - round(scale)) < 0.05 else scale
    centres = (np.arange(cells) + 0.5) * scale
    start = np.floor(centres - width - 0.5).astype(np.int64)
    taps = int(np.ceil(2 * width)) + 2
    position = start[:, None] + np.arange(taps)[None] + 0.5
    return np.maximum(0.0, 1.0 - np.abs(position - centres[:, None]) / width), start


def cells_of(size: int, rf: int) -> int:
    """Number of coarse cells along ``size`` pixels (at least one)."""
    return max(size // rf, 1)


def coarse(red: np.ndarray, rf: int, *, nodata: int = NODATA, threads: int = 1) -> np.ndarray:
    """Red averaged over coarse cells.

    Parameters
    ----------
    red : int16 (h, w)
    rf : pixels per cell

    Returns
    -------
    int16 (h // rf, w // rf): `NODATA` where the cell's centre pixel is.
    """
    out = np.empty((cells_of(red.shape[0], rf), cells_of(red.shape[1], rf)), np.int16)
    wy, sy = triangle(red.shape[0], out.shape[0])
    wx, sx = triangle(red.shape[1], out.shape[1])
    red = np.ascontiguousarray(red)
    in_bands(lambda a, b: coarse_rows(red, nodata, wy, sy, wx, sx, out, a, b), out.shape[0], threads, 32)
    return out


def nearest_cells(size: int, cells: int) -> np.ndarray:
    """Cell of each of ``size`` pixels when cells are brought back by nearest neighbour: int32."""
    return np.minimum(np.floor((np.arange(size) + 0.5) * cells / size), cells - 1).astype(np.int32)
