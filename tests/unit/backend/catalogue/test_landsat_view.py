"""The view of Landsat scenes, told by the place in the swath, against the ephemeris that comes with a product."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from backend.catalogue.readers import landsat
from processes.load.angles import landsat_mtl, read_angles
from processes.load.items import item_bands
from processes.load.landsat_view import look, track

EARTH_TURNS = 7.2921e-5  # rad/s


@pytest.fixture(scope="module")
def scene(shared: Path) -> Path:
    return shared / "data" / "landsat8_c2_L2SP_decimated"


def ephemeris(text: str, name: str) -> np.ndarray:
    found = re.search(rf"EPHEMERIS_{name}\s*=\s*\(([^)]*)\)", text)
    assert found is not None
    return np.array([float(v) for v in found[1].replace("\n", " ").split(",")])


def test_against_the_ephemeris(scene: Path) -> None:
    """The satellite sees a point when it is in the plane across the (inertial) velocity."""
    text = gzip.decompress(next(scene.glob("*ANG.txt.gz")).read_bytes()).decode()
    position = np.stack([ephemeris(text, f"ECEF_{axis}") for axis in "XYZ"], axis=1)
    velocity = np.gradient(position, ephemeris(text, "TIME"), axis=0) + np.cross([0, 0, EARTH_TURNS], position)
    box = GeoBox((5, 5), Affine(45000, 0, 380700, 0, -45000, 8123800), "EPSG:32624")
    metadata = str(next(scene.glob("*MTL.txt")))
    zenith, azimuth = (read_angles("landsat_mtl", metadata, n, box) for n in ("VZA", "VAA"))
    x, y = box.affine * np.meshgrid(np.arange(5) + 0.5, np.arange(5) + 0.5)
    lon, lat = Transformer.from_crs("EPSG:32624", 4326, always_xy=True).transform(np.asarray(x), np.asarray(y))
    ground = np.stack(Transformer.from_crs(4979, 4978, always_xy=True).transform(lon, lat, np.zeros_like(lon)), axis=-1)
    for r, c in np.ndindex(5, 5):
        ahead = ((ground[r, c] - position) * velocity).sum(axis=1)
        k = int(np.flatnonzero(ahead[:-1] * ahead[1:] <= 0)[0])
        share = ahead[k] / (ahead[k] - ahead[k + 1])
        line = position[k] + share * (position[k + 1] - position[k]) - ground[r, c]
        a, b = np.radians(lon[r, c]), np.radians(lat[r, c])
        east = line @ [-np.sin(a), np.cos(a), 0]
        north = line @ [-np.sin(b) * np.cos(a), -np.sin(b) * np.sin(a), np.cos(b)]
        up = line @ [np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)]
        true = np.degrees(np.arctan2(np.hypot(east, north), up))
        assert abs(zenith[r, c] - true) < 0.2
        turn = (azimuth[r, c] - np.degrees(np.arctan2(east, north)) + 180) % 360 - 180
        assert abs(turn) < (4 if true > 2 else 10) or true < 0.5


def test_bands_of_a_product(scene: Path) -> None:
    (item,) = landsat.read(next(scene.glob("*MTL.txt")))
    assert {"SZA", "SAA", "VZA", "VAA"} <= item_bands(item).keys()


def test_heading_of_the_track() -> None:
    assert track(0) == pytest.approx(192.05, abs=0.1) and track(45) == track(-45) > track(0)


@pytest.mark.parametrize(
    "change",
    [
        ("UTM_ZONE = 24", "UTM_ZONE = 99"), ("UTM_ZONE = 24", ""), ("_X_PRODUCT = 629400.000", "_X_PRODUCT = 9e99"),
        ('NADIR_OFFNADIR = "NADIR"', 'NADIR_OFFNADIR = "OFFNADIR"'), ("_Y_PRODUCT = 7879200.000", "_Y_PRODUCT = nan"),
    ],
)  # fmt: skip
def test_without_a_place_in_the_swath_there_is_the_sun(scene: Path, change: tuple[str, str]) -> None:
    text = next(scene.glob("*MTL.txt")).read_text().replace(*change)
    grids = landsat_mtl(text.encode())
    assert grids.sun is not None and not grids.view
    assert look(dict(re.findall(r"^\s*(\w+) = \"?([^\"\n]*)\"?$", text, re.MULTILINE))) is None
