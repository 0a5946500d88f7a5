"""Meteorology and aerosol forecast inside an L1C granule: ``AUX_ECMWFT`` and ``AUX_CAMSFO``, GRIB edition 1.

As in true products of baseline 04.00 and later: fields on a 9 x 9 latitude-longitude grid over the tile, interpolated
to the sensing time; parameters of ECMWF tables 128 and 210. The values are the world's own haze and vapour at the grid's
nodes, so a chain that uses them starts near the truth.
"""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from backend.demo.atmosphere import OZONE
from backend.demo.observe import Acquisition
from backend.demo.terrain import elevation_block
from backend.demo.weather import haze_block

NODES = 9
TILE = 109_800.0
OZONE_CM_ATM = 46.694
"""cm-atm of ozone per kg/m2."""
ANGSTROM = 1.3
SPECIES = {208: 0.10, 209: 0.12, 210: 0.36, 211: 0.06, 212: 0.26}
"""Shares of the optical thickness at 550 nm: sea salt, dust, organic matter, black carbon, sulphate."""
SPECTRUM = {213: 469.0, 214: 670.0, 215: 865.0, 216: 1240.0}
"""Parameter of table 210 -> wavelength (nm) of a further total optical thickness."""


def write(folder: Path, acquisition: Acquisition) -> None:
    """Write both files into a granule's AUX_DATA folder. The grid covers the 109.8 km of a whole tile."""
    tile, place = acquisition.tile, acquisition.place
    to = Transformer.from_crs(tile.epsg, 4326, always_xy=True)
    corners = [to.transform(tile.ulx + dx, tile.uly - dy) for dx in (0.0, TILE) for dy in (0.0, TILE)]
    west, east = min(c[0] for c in corners), max(c[0] for c in corners)
    south, north = min(c[1] for c in corners), max(c[1] for c in corners)
    lon, lat = np.meshgrid(np.linspace(west, east, NODES), np.linspace(north, south, NODES))
    x, y = Transformer.from_crs(4326, place.ground.crs, always_xy=True).transform(lon, lat)
    z = elevation_block(x, y, place.world.seed)
    weather = acquisition.weather
    aot, vapour = haze_block(x, y, z, weather.aot, weather.vapour, weather.seed)
    when, box = acquisition.track.time, (west, south, east, north)
    flat = np.ones(z.shape)
    meteo = [
        (128, 137, 1, vapour * 10.0), (128, 151, 1, 101_325.0 * flat), (128, 206, 1, OZONE / OZONE_CM_ATM * flat),
        (128, 165, 1, 2.0 * flat), (128, 166, 1, 1.0 * flat), (128, 157, 100, 60.0 * flat),
    ]  # fmt: skip
    aerosol = [(128, 129, 1, z * 9.80665), (210, 207, 1, aot)]
    aerosol += [(210, code, 1, aot * (nm / 550.0) ** -ANGSTROM) for code, nm in SPECTRUM.items()]
    aerosol += [(210, code, 1, aot * share) for code, share in SPECIES.items()]
    folder.mkdir(parents=True, exist_ok=True)
    for name, fields in (("AUX_ECMWFT", meteo), ("AUX_CAMSFO", aerosol)):
        (folder / name).write_bytes(b"".join(message(t, p, k, v, box, when) for t, p, k, v in fields))


def _signed(value: int, size: int) -> bytes:
    """Sign and magnitude, as GRIB 1 has negative numbers."""
    return (abs(value) | ((1 << (8 * size - 1)) if value < 0 else 0)).to_bytes(size, "big")


def _ibm(value: float) -> bytes:
    """IBM single-precision number, rounded down so that no packed value is negative."""
    if value == 0:
        return bytes(4)
    exponent = math.ceil(math.log(abs(value), 16) + 1e-12)
    mantissa = math.floor(value / 16.0**exponent * (1 << 24))
    if abs(mantissa) >= 1 << 24:
        exponent += 1
        mantissa = math.floor(value / 16.0**exponent * (1 << 24))
    sign = 0x80 if mantissa < 0 else 0
    return bytes([sign | (exponent + 64)]) + abs(mantissa).to_bytes(3, "big")


def _from_ibm(data: bytes) -> float:
    sign = -1 if data[0] & 0x80 else 1
    return sign * int.from_bytes(data[1:], "big") / (1 << 24) * 16.0 ** ((data[0] & 0x7F) - 64)


def message(
    table: int, parameter: int, level: int, values: NDArray, box: tuple[float, float, float, float], when: datetime
) -> bytes:
    """One GRIB 1 message (WMO Manual on Codes, FM 92-IX): a regular grid, rows from the north, 16-bit packing.

    Parameters
    ----------
    table, parameter : ECMWF code; level : type of level (1 surface, 100 pressure)
    values : (rows, columns)
    box : west, south, east, north (degrees) of the outer nodes
    when : instant the values hold at: minutes after midnight
    """
    west, south, east, north = (round(v * 1000) for v in box)
    rows, cols = values.shape
    minutes = when.hour * 60 + when.minute
    product = bytes([table, 98, 128, 255, 128, parameter, level, 0, 0, when.year % 100, when.month, when.day, 0, 0])
    # unit 0: minutes; time range 10: the period fills both its bytes
    product += bytes([0])
    product += minutes.to_bytes(2, "big") + bytes([10, 0, 0, 0, (when.year - 1) // 100 + 1, 0]) + _signed(0, 2)
    grid = bytes([0, 255, 0]) + cols.to_bytes(2, "big") + rows.to_bytes(2, "big")
    grid += _signed(north, 3) + _signed(west, 3) + bytes([128]) + _signed(south, 3) + _signed(east, 3)
    grid += round((east - west) / (cols - 1)).to_bytes(2, "big") + round((north - south) / (rows - 1)).to_bytes(
        2, "big"
    )
    grid += bytes(5)
    low = _ibm(float(values.min()))
    reference = _from_ibm(low)
    reach = float(values.max()) - reference
    scale = math.ceil(math.log2(reach / 65535)) if reach > 0 else 0
    packed = np.clip(np.rint((values - reference) / 2.0**scale), 0, 65535).astype(">u2").tobytes()
    padding = len(packed) % 2
    data = bytes([8 * padding]) + _signed(scale, 2) + low + bytes([16]) + packed + bytes(padding)
    parts = [product, grid, data]
    body = b"".join((len(p) + 3).to_bytes(3, "big") + p for p in parts)
    return b"GRIB" + (len(body) + 12).to_bytes(3, "big") + bytes([1]) + body + b"7777"
