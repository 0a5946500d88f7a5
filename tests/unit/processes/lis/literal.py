"""The rules of let-it-snow 1.11, word for word from their description, in plain numpy.

Nothing here comes from `processes.lis`: masks, grids, histogram, passes, codes, quality and percentages are written out again,
slowly, so that the two can be compared pixel by pixel. The coarse red is GDAL's own averaging, as in the original.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from affine import Affine
from rasterio.warp import Resampling, reproject
from scipy.ndimage import distance_transform_edt, label

NODATA = -10000


@dataclass(frozen=True)
class Layout:
    """One column of the table of inputs."""

    multi: int
    rf: int
    slope: int = 0
    shadows: tuple[int, ...] = ()
    high: int = 0
    all_bits: int = 0  # all of them set is cloud; 0: any value above 0 is
    scl: bool = False
    fractional: bool = True
    sun: bool = True  # whether the geophysical raster has the sun's bits and water


LAYOUTS = {
    "s2_muscate": Layout(10, 12, 64, (32, 64), 128),
    "s2_maja_native": Layout(10, 12, 0, (4, 8), 128),
    "s2_sen2cor": Layout(10, 12, scl=True),
    "l8_muscate": Layout(1, 8, 64, (32, 64), 128, fractional=False),
    "l8_muscate_old": Layout(1, 8, 8, (64, 128), 32, fractional=False, sun=False),
    "l8_lasrc": Layout(10, 8, 0, (8,), 800, 224, fractional=False),
    "take5": Layout(1, 8, 8, (64, 128), 32, fractional=False, sun=False),
}


@dataclass
class Settings:
    """Defaults of the original; reflectances in milli, the shaded difference in digital numbers."""

    dz: float = 100
    ndsi_pass1: float = 0.4
    red_pass1: float = 200
    ndsi_pass2: float = 0.15
    red_pass2: float = 40
    fsnow_lim: float = 0.1
    fclear_lim: float = 0.1
    fsnow_total_lim: float = 0.001
    red_darkcloud: float = 300
    red_backtocloud: float = 100
    strict_cloud_mask: bool = False
    rm_snow_inside_cloud: bool = False
    rm_radius: int = 5
    rm_cloud_share: float = 0.85
    rm_min_area: int = 25000
    shaded_snow: bool = True
    shaded_difference: float = 160
    rf: int | None = None


@dataclass
class Result:
    layers: dict[str, np.ndarray]
    snow_line: float
    histogram: list[list[float]]
    snow_percent: float
    cloud_percent: float
    met: set[str] = field(default_factory=set)  # branches of the rules that this scene went through


def halved(band: np.ndarray) -> np.ndarray:
    """A 10 m band at 20 m: taps around each 2 x 2 block, in integers (256 per direction)."""
    taps = {-3: -3, -2: -9, -1: 29, 0: 111, 1: 111, 2: 29, 3: -9, 4: -3}
    h, w = band.shape
    out = np.full((h // 2, w // 2), NODATA, np.int16)
    for y in range(h // 2):
        for x in range(w // 2):
            if band[2 * y + 1, 2 * x + 1] == NODATA:
                continue
            total = weight = 0
            for j, a in taps.items():
                for i, b in taps.items():
                    row, col = 2 * y + j, 2 * x + i
                    if 0 <= row < h and 0 <= col < w and band[row, col] != NODATA:
                        total, weight = total + a * b * int(band[row, col]), weight + a * b
            if weight > 0:
                out[y, x] = min(max((2 * total + weight) // (2 * weight), -32768), 32767)
    return out


def coarse_red(red: np.ndarray, rf: int) -> np.ndarray:
    """Red averaged to floor(size / rf) cells and brought back by nearest neighbour, both by GDAL."""
    h, w = red.shape
    ch, cw = max(h // rf, 1), max(w // rf, 1)
    fine, big = Affine(20, 0, 3e5, 0, -20, 4.8e6), Affine(20 * w / cw, 0, 3e5, 0, -20 * h / ch, 4.8e6)
    cells, back = np.full((ch, cw), NODATA, np.int16), np.full((h, w), NODATA, np.int16)
    same: dict[str, Any] = {"src_crs": "EPSG:32631", "dst_crs": "EPSG:32631"}
    reproject(red, cells, src_transform=fine, dst_transform=big, src_nodata=NODATA, dst_nodata=NODATA, resampling=Resampling.bilinear, **same)  # fmt: skip
    reproject(cells, back, src_transform=big, dst_transform=fine, resampling=Resampling.nearest, **same)
    return back


def masks(cloud: np.ndarray, s: Layout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All clouds, shadows, high clouds."""
    v = cloud.astype(int)
    if s.scl:
        return np.isin(v, (3, 8, 9, 10)), v == 3, v == 10
    everything = (v & s.all_bits) == s.all_bits if s.all_bits else v > 0
    shadow = np.zeros(v.shape, bool)
    for bit in s.shadows:
        shadow |= (v & bit) == bit
    return everything, shadow, (v & s.high) == s.high


def snow_line(
    dem: np.ndarray, p1: np.ndarray, cloud: np.ndarray, p: Settings
) -> tuple[float | None, list[list[float]]]:
    """Elevation from the first snowy bin, and the histogram; None and nothing for a flat scene."""
    known = (dem > -413) & (dem < 8850)
    if not known.any():
        return None, []
    low, high = int(dem[known].min()), int(dem[known].max())
    number = int((high - low) / p.dz)
    if number < 1:
        return None, []
    width = np.float32((high - low) / number)
    edges = [low + float(np.float32(k) * width) for k in range(number)] + [float(high)]
    rows, first = [], None
    for k in range(number):
        inside = known & (dem >= edges[k]) & ((dem < edges[k + 1]) if k < number - 1 else (dem <= high))
        total, clouds, snow = int(inside.sum()), int((inside & cloud).sum()), int((inside & p1 & ~cloud).sum())
        clear = total - clouds
        rows.append([(edges[k] + edges[k + 1]) / 2, total, clouds, snow, clear - snow])
        if first is None and total and clear and clear / total > p.fclear_lim and snow / clear > p.fsnow_lim:
            first = k
    if first is None:
        return None, rows
    return float(np.floor(rows[max(first - 2, 0)][0] - p.dz / 2)), rows


def without_ringed_snow(p1: np.ndarray, clouds: np.ndarray, p: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Pass 1.5: large 4-connected snow regions in a ring of cloud turn into cloud."""
    p1, cloud1 = p1.copy(), clouds.copy()
    regions, number = label(p1)
    for k in range(1, number + 1):
        region = regions == k
        if region.sum() <= p.rm_min_area:
            continue
        ring = (distance_transform_edt(~region) <= p.rm_radius) & ~region
        if ring.any() and clouds[ring].mean() > p.rm_cloud_share:
            p1[region], cloud1[region] = False, True
    return p1, cloud1


def fractions(ndsi: np.ndarray, tcd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FSC-TOC percent from the truncated NDSI percent, and a function's worth of FSC-OG by tree cover."""
    law = 0.5 * np.tanh(2.65 * (ndsi.astype(float) / 100) - 1.42) + 0.5
    toc = np.trunc((100 * np.minimum(law, 1)).astype(np.float32)).astype(float)
    return toc, on_ground(toc, tcd)


def on_ground(toc: np.ndarray, tcd: np.ndarray) -> np.ndarray:
    tree = tcd.astype(float)
    with np.errstate(all="ignore"):
        og = np.minimum((toc / 100) / (1 - tree / 100), 1)
    og = np.where((tree == 100) & (toc == 0), 0, np.where(tree > 100, toc / 100, og))
    return np.trunc((100 * og).astype(np.float32))


def snow(block: Any, sensor: str, p: Settings, water: np.ndarray | None = None) -> Result:
    """All layers of a scene (`processes.lis.detect.Block`)."""
    s, met = LAYOUTS[sensor], set()
    bands = {k: getattr(block, k) for k in ("green", "red", "swir", "blue", "nir")}
    if water is not None:
        bands = {k: None if v is None else np.where(water == 1, np.int16(NODATA), v) for k, v in bands.items()}
    g, r, w = (bands[k].astype(np.float64) for k in ("green", "red", "swir"))
    with np.errstate(all="ignore"):
        ndsi = (g - w) / (g + w)
    tcd = np.full(g.shape, 255) if block.tcd is None else block.tcd.astype(int)
    geo = np.zeros(g.shape, int) if block.geo is None else block.geo.astype(int)
    allc, shadow, high = masks(block.cloud, s)
    back = allc & (r > p.red_backtocloud * s.multi)
    rc = coarse_red(bands["red"], p.rf or s.rf)
    with np.errstate(invalid="ignore"):
        p1 = ~allc & (ndsi > p.ndsi_pass1) & (r > p.red_pass1 * s.multi)
    cloud1 = allc
    if p.rm_snow_inside_cloud:
        p1, cloud1 = without_ringed_snow(p1, allc, p)
    refine = (allc & (rc > p.red_darkcloud * s.multi)) | shadow | high | (cloud1 != allc)
    zs, histogram = snow_line(block.dem, p1, cloud1, p)
    p2 = sh = np.zeros(g.shape, bool)
    run2 = p1.mean() > p.fsnow_total_lim
    if run2:
        zz = zs if zs is not None else 1e9
        with np.errstate(invalid="ignore"):
            p2 = ~refine & (block.dem > zz) & (ndsi > p.ndsi_pass2) & (r > p.red_pass2 * s.multi)
        if p.shaded_snow and bands["blue"] is not None and bands["nir"] is not None and block.relief is not None:
            sky = bands["blue"].astype(float) - bands["nir"].astype(float)
            sh = ~refine & (block.dem >= zz) & (block.relief == 1) & (sky > p.shaded_difference)
    unsure = sh & ~p1 & ~p2
    hole = w == NODATA
    found = p1 | p2 | sh
    if p.strict_cloud_mask:
        found = found & ~back
    seb = np.where(hole, 255, np.where(found, 100, np.where(refine | back, 205, 0)))
    white = seb == 100
    with np.errstate(all="ignore"):
        whole = np.nan_to_num((100 * ndsi).astype(np.float32), nan=0.0, posinf=255, neginf=0)
    percent = np.trunc(np.clip(whole, 0, 255))
    toc, og = fractions(percent, tcd)
    toc = np.where(unsure, 100, np.where(white, toc, seb))
    og = np.where(white, np.where(unsure, on_ground(np.full(g.shape, 100.0), tcd), og), seb)
    sun_low, tangent, wet = (
        ((geo & 64) > 0, (geo & 128) > 0, (geo & 1) > 0) if s.sun else (np.zeros(g.shape, bool),) * 3
    )
    through = white & (block.cloud > 0)
    base = 100 - 30.0 * tangent - 50.0 * sun_low - 25.0 * through - 25.0 * wet
    qc_toc = np.trunc(np.minimum(3, 4 - np.maximum(0, base - 100.0 * sh) / 25))
    qc_og = np.trunc(np.minimum(3, 4 - np.maximum(0, base - 80.0 * tcd) / 25))
    flags = (
        sun_low + 2 * tangent + 4 * wet + 8 * ((tcd > 90) & (tcd <= 100)) + 16 * through + 32 * (tcd > 100) + 64 * sh
    )
    slope = geo >= s.slope if s.slope else np.zeros(g.shape, bool)
    layers = {
        "SEB": seb, "NDSI": np.where(white, percent, seb), "FSCTOC": toc, "FSCOG": og,
        "QCTOC": np.where(toc <= 100, qc_toc, toc), "QCOG": np.where(og <= 100, qc_og, og), "QCFLAGS": flags,
        "EXPERT": p1 + 2 * p2 + 4 * cloud1 + 8 * refine + 16 * allc + 32 * slope,
    }  # fmt: skip
    if not s.fractional:
        layers |= {k: np.full(g.shape, 255) for k in ("FSCTOC", "FSCOG", "QCTOC", "QCOG")}
    n = max(int((~hole).sum()), 1)
    seen = {
        "pass 1": p1, "pass 2": p2 & ~p1, "shaded": sh, "unsure shade": unsure, "back to cloud": back & (seb == 205),
        "through a cloud": allc & white, "bright cloud": allc & (rc > p.red_darkcloud * s.multi), "no data": hole,
        "shadow": shadow, "high": high, "snow on no data": hole & p1, "removed": cloud1 != allc,
        "clear under dark cloud": allc & (seb == 0), "dense forest": white & (tcd == 100), "no tree cover": white & (tcd > 100),
    }  # fmt: skip
    met |= {k for k, v in seen.items() if v.any()}
    met |= {"pass 2 skipped"} if not run2 else {"no snow line"} if zs is None else {"snow line"}
    met |= {"flat"} if not histogram else set()
    line = -1000.0 if not run2 else 1e9 if zs is None else zs
    return Result(layers, line, histogram, 100 * white.sum() / n, 100 * (seb == 205).sum() / n, met)
