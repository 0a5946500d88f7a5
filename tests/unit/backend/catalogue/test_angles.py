"""Angles interpolated from the 5 km grids: as vectors, per detector, on any grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from processes.errors import ProcessError
from processes.load.angles import AngleGrids, _of_strips, make_strip, read_angles

TILE = GeoBox((1098, 1098), Affine(100, 0, 300000, 0, -100, 4900020), "EPSG:32631")


@pytest.fixture(scope="session")
def mtd(shared: Path) -> str:
    return str(next((shared / "data" / "s2_l1c_safe_T31TCJ_2dates_alcd").glob("S2A*/GRANULE/*/MTD_TL.xml")))


def test_means_agree_with_the_metadata(mtd: str) -> None:
    assert abs(float(np.mean(read_angles("s2_tile", mtd, "SZA", TILE))) - 65.7554) < 0.02
    assert abs(float(np.mean(read_angles("s2_tile", mtd, "SAA", TILE))) - 162.6892) < 0.02
    vza = read_angles("s2_tile", mtd, "VZA_B04", TILE)
    assert vza.dtype == np.float32 and np.nanmin(vza) >= 0 and np.nanmax(vza) < 12.5


def test_nodes_are_reproduced(mtd: str) -> None:
    """A pixel centred on a node gets the node's value."""
    import xml.etree.ElementTree as ET

    first = ET.parse(mtd).getroot().find(".//Sun_Angles_Grid/Zenith/Values_List/VALUES")
    assert first is not None and first.text
    nodes = GeoBox((1, 3), Affine(5000, 0, 300000 - 2500, 0, -5000, 4900020 + 2500), "EPSG:32631")
    np.testing.assert_allclose(
        read_angles("s2_tile", mtd, "SZA", nodes)[0], [float(v) for v in first.text.split()[:3]], atol=2e-5
    )


def test_a_block_of_the_tile_is_the_tile(mtd: str) -> None:
    """Blocks are computed apart and must fit without a seam."""
    for band in ("SZA", "SAA", "VZA", "VAA"):
        whole = read_angles("s2_tile", mtd, band, TILE)
        part = read_angles("s2_tile", mtd, band, TILE[300:500, 700:900])
        np.testing.assert_array_equal(part, whole[300:500, 700:900])


def test_another_crs_gives_the_same_angles(mtd: str) -> None:
    there = TILE[400:600, 400:600].to_crs("EPSG:4326")
    other = read_angles("s2_tile", mtd, "SZA", there)
    assert (
        abs(float(np.nanmean(other)) - float(np.mean(read_angles("s2_tile", mtd, "SZA", TILE[400:600, 400:600]))))
        < 0.01
    )


def test_outside_the_grid_there_is_nothing(mtd: str) -> None:
    far = GeoBox((4, 4), Affine(100, 0, 900000, 0, -100, 4900020), "EPSG:32631")
    assert np.isnan(read_angles("s2_tile", mtd, "SZA", far)).all()
    assert np.isnan(read_angles("s2_tile", mtd, "VZA", far)).all()


def grids(*strips: tuple[np.ndarray, np.ndarray]) -> AngleGrids:
    made = tuple(
        s
        for z, a in strips
        if (
            s := make_strip(
                np.tan(np.radians(z)) * np.sin(np.radians(a)), np.tan(np.radians(z)) * np.cos(np.radians(a))
            )
        )
    )
    return AngleGrids("EPSG:32631", (0.0, 20000.0), (5000.0, 5000.0), None, {"": made})


def view(g: AngleGrids, box: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    east, north = _of_strips(g, g.view[""], box)
    return np.degrees(np.arctan(np.hypot(east, north))), np.degrees(np.arctan2(east, north)) % 360


def test_azimuth_crosses_north_without_a_turn() -> None:
    azimuth = np.tile([350.0, 358, 6, 14, 22], (5, 1))
    box = GeoBox((20, 20), Affine(1000, 0, 0, 0, -1000, 20000), "EPSG:32631")
    _, got = view(grids((np.full((5, 5), 5.0), azimuth)), box)
    around = (got + 180) % 360 - 180
    assert around.min() > -11 and around.max() < 23 and (np.diff(around, axis=1) > 0).all()


def test_each_detector_keeps_its_own_azimuth() -> None:
    """Neighbouring detectors look to opposite sides near nadir: no pixel may get the mean of the two."""
    z = np.full((5, 5), 2.0)
    left, right = z.copy(), z.copy()
    left[:, 3:], right[:, :2] = np.nan, np.nan
    box = GeoBox((20, 20), Affine(1000, 0, 0, 0, -1000, 20000), "EPSG:32631")
    zenith, azimuth = view(
        grids((left, np.where(np.isnan(left), np.nan, 100.0)), (right, np.where(np.isnan(right), np.nan, 285.0))), box
    )
    assert set(np.unique(azimuth.round(3))) == {100.0, 285.0}
    np.testing.assert_allclose(zenith, 2.0, atol=1e-9)
    assert (azimuth[:, :8].round() == 100).all() and (azimuth[:, 13:].round() == 285).all()


def test_outside_the_detectors_there_is_nothing() -> None:
    z = np.full((5, 5), 3.0)
    z[:, 2:] = np.nan
    box = GeoBox((20, 20), Affine(1000, 0, 0, 0, -1000, 20000), "EPSG:32631")
    zenith, _ = view(grids((z, np.where(np.isnan(z), np.nan, 100.0))), box)
    assert np.isfinite(zenith[:, :9]).all() and np.isnan(zenith[:, 10:]).all()


def test_what_cannot_be_read_is_told(tmp_path: Path, mtd: str) -> None:
    bad = tmp_path / "MTD_TL.xml"
    bad.write_bytes(Path(mtd).read_bytes()[:50000])
    for source, href, band in (
        ("s2_tile", str(bad), "SZA"),
        ("s2_tile", str(tmp_path / "gone"), "SZA"),
        ("s2_tile", mtd, "VZA_B99"),
        ("nope", mtd, "SZA"),
    ):
        with pytest.raises(ProcessError) as told:
            read_angles(source, href, band, TILE)
        assert told.value.code == "StorageFailure" and href in told.value.message
