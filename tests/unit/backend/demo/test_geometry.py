"""Tiles, sun and passes against facts of real products."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from backend.demo.geometry import Ground, PixelMap, Track, mgrs_origin, passes, sun_angles, windows


@pytest.mark.parametrize(
    ("name", "epsg", "ulx", "uly"),
    [
        ("31TCJ", 32631, 300000, 4900020),
        ("31UDS", 32631, 399960, 5700000),
        ("29UNU", 32629, 499980, 5900040),
        ("55JEJ", 32755, 499980, 6900040),
        ("56JMM", 32756, 399960, 6700000),
    ],
)
def test_origin_of_real_tiles(name: str, epsg: int, ulx: int, uly: int) -> None:
    found = mgrs_origin(name)
    assert found[0] == epsg
    assert found[1] == ulx
    assert abs(found[2] - uly) <= 60
    assert found[1] % 60 == found[2] % 60 == 0


@pytest.mark.parametrize("name", ["31TIK", "61TGK", "31TZZ", "T31", "31AGK"])
def test_no_tile(name: str) -> None:
    with pytest.raises(ValueError, match="not an MGRS tile"):
        mgrs_origin(name)


def test_windows_lie_in_their_tiles_and_overlap() -> None:
    west, east = windows(["31TGK", "32TLQ"], 180, 0.5)
    for grid in (west, east):
        _, ulx, uly = mgrs_origin(grid.name)
        assert (grid.ulx - ulx) % 60 == (uly - grid.uly) % 60 == 0
        assert 0 <= grid.ulx - ulx <= 109800 - 1800
    assert west.epsg != east.epsg
    distance = (east.centre[0] - west.centre[0]) * 111_320 * np.cos(np.radians(west.centre[1]))
    assert distance == pytest.approx(900, abs=80)


def test_tiles_far_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="share no ground"):
        windows(["31TGK", "31TCJ"], 180, 0.5)


def test_pixel_map_is_exact_and_the_same_in_any_block() -> None:
    (grid,) = windows(["32TLQ"], 600, 0.5)
    ground = Ground(6.7, 44.6)
    pixels = PixelMap(ground, grid.epsg, grid.transform, grid.size, 100)
    x, y = pixels.block(-100, -100, 800, 800)
    cols, rows = np.meshgrid(np.arange(-100, 700) + 0.5, np.arange(-100, 700) + 0.5)
    true_x, true_y = ground.from_crs(grid.epsg, grid.ulx + 10 * cols, grid.uly - 10 * rows)
    assert np.abs(x - true_x).max() < 0.01
    assert np.abs(y - true_y).max() < 0.01
    np.testing.assert_array_equal(pixels.block(37, 411, 50, 70)[0], x[137:187, 511:581])


def test_sun_of_a_real_product() -> None:
    # mean sun angle of S2A_MSIL1C_20240120T105341_N0510_R051_T31TCJ over the tile's centre
    zenith, azimuth = sun_angles(datetime(2024, 1, 20, 10, 58, 50, tzinfo=UTC), 1.2, 43.7)
    assert zenith == pytest.approx(65.755, abs=0.2)
    assert azimuth == pytest.approx(162.69, abs=0.3)


def test_passes_fall_on_true_orbits() -> None:
    # both really happened: S2A orbit 51 on 2024-01-20 (number 44807), S2B on 2024-03-05 (36542)
    found = passes([51], datetime(2024, 1, 1, tzinfo=UTC), 70, 14, [0.0])
    days = {(t.platform, f"{t.time:%Y%m%d}", t.absolute_orbit) for t in found}
    assert {("A", "20240120", 44807), ("B", "20240305", 36542)} <= days
    assert [t.time for t in found] == sorted(t.time for t in found)


def test_too_many_dates_are_refused() -> None:
    with pytest.raises(ValueError, match="dates asked"):
        passes([8], datetime(2024, 1, 1, tzinfo=UTC), 20, 12, [0.0])


def test_detectors_look_forward_and_backward() -> None:
    track = Track(8, 1, "A", datetime(2024, 6, 1, 10, 40, tzinfo=UTC), 0.0)
    zero = np.zeros(1)
    zenith_odd, azimuth_odd = track.view_angles(zero, zero, 7, "B02")
    zenith_even, azimuth_even = track.view_angles(zero, zero, 6, "B02")
    assert zenith_odd == pytest.approx(zenith_even)
    assert abs(azimuth_odd - azimuth_even) == pytest.approx(180)
    assert track.detector(np.array([150_000.0]), zero)[0] == 0
