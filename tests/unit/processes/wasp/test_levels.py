"""Levelling of dates: it finds what was put in, and leaves alone what is not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from processes.wasp.composite import average
from processes.wasp.levels import (
    TYPICAL_AOT,
    fit_levels,
    known_aot,
    levelled,
    sample_positions,
    sample_windows,
)
from tests.unit.processes.wasp.helpers import Options, block


def series(
    offset: np.ndarray, slope: np.ndarray, *, seed: int = 1, pixels: int = 4000, noise: float = 30.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (T, 1, n), land (T, n) and aerosol (T, n) of fields that differ by an offset and a residual per date."""
    rng = np.random.default_rng(seed)
    dates = len(offset)
    surface = rng.uniform(300, 3000, pixels)
    aot = rng.uniform(0.05, 0.4, (dates, 1)) + rng.normal(0, 0.05, (dates, pixels))
    land = rng.random((dates, pixels)) < 0.6
    values = surface + offset[:, None] + slope[:, None] * aot + rng.normal(0, noise, (dates, pixels))
    return values[:, None].astype(np.float32), land, aot.astype(np.float32)


def taken_off(levels: np.ndarray, aot: np.ndarray) -> np.ndarray:
    """What levelling takes off each date at its mean aerosol, (T,) DN of the first band."""
    return levels[:, 0, 0] + levels[:, 0, 1] * aot.mean(axis=1)


def test_it_finds_the_aerosol_residual():
    slope = np.array([0.0, 400.0, -300.0, 150.0, 0.0, 800.0])
    values, land, aot = series(np.zeros(6), slope)
    found = taken_off(fit_levels(values, land, aot), aot)
    truth = slope * aot.mean(axis=1)
    assert np.abs(found - truth).max() < 0.35 * np.abs(truth).max()
    assert np.std(found - truth) < 0.15 * np.std(truth)


def test_dates_without_residual_stay_as_they_are():
    values, land, aot = series(np.zeros(5), np.zeros(5))
    assert np.abs(taken_off(fit_levels(values, land, aot), aot)).max() < 4


def test_missed_clouds_and_harvest_do_not_count():
    values, land, aot = series(np.zeros(5), np.zeros(5))
    values[2, 0, :600] += 4000  # a cloud that the mask missed
    values[3:, 0, 1000:1800] -= 900  # fields cut between two dates
    assert np.abs(taken_off(fit_levels(values, land, aot), aot)).max() < 12


def test_a_common_change_with_time_is_brought_to_one_level_only():
    """What all dates share cannot be told from the surface: the mean of the dates stays."""
    values, land, aot = series(np.full(6, 100.0), np.zeros(6))
    assert abs(taken_off(fit_levels(values, land, aot), aot).mean()) < 4


@pytest.mark.parametrize("land_of", ["one date", "never two", "few pixels"])
def test_what_cannot_be_compared_stays(land_of):
    values, land, aot = series(np.array([200.0, -200.0]), np.zeros(2))
    if land_of == "one date":
        values, land, aot = values[:1], land[:1], aot[:1]
    elif land_of == "never two":
        land[1] = ~land[0]
    else:
        land[:, 40:] = False
    np.testing.assert_array_equal(fit_levels(values, land, aot), 0)


def test_a_date_without_land_or_band_stays():
    values, land, aot = series(np.array([0.0, 90.0, -90.0]), np.zeros(3))
    values[1] = np.nan
    found = fit_levels(values, land, aot)
    np.testing.assert_array_equal(found[1], 0)
    assert (found[2] != 0).any()


def test_unknown_aerosol_is_typical_and_negative_is_none():
    np.testing.assert_array_equal(
        known_aot(np.array([np.nan, -0.1, 0.3], np.float32)), np.float32([TYPICAL_AOT, 0, 0.3])
    )
    values, land, aot = series(np.array([80.0, -80.0, 0.0]), np.zeros(3))
    unknown = fit_levels(values, land, np.full_like(aot, np.nan))
    left = np.array([80.0, -80.0, 0.0]) - (unknown[:, 0, 0] + unknown[:, 0, 1] * np.float32(TYPICAL_AOT))
    assert np.std(left) < 25


@pytest.mark.parametrize("size", [1, 2, 3, 7, 39, 40, 199, 200, 400, 401, 1000, 10980])
def test_any_part_of_an_axis_has_its_share_of_the_sample(size):
    whole = sample_positions(size)
    assert len(whole) and (np.diff(whole) > 0).all() and whole[0] >= 0 and whole[-1] < size
    assert size == 1 or (whole % 2 == 1).all()
    parts = [sample_positions(size, s, min(37, size - s)) + s for s in range(0, size, 37)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    inside = np.concatenate([np.arange(a, a + n) for a, n in sample_windows(size)])
    assert set(whole) <= set(inside) and len(whole) <= 200


def test_the_order_of_dates_does_not_matter():
    values, land, aot = series(np.array([80.0, -80.0, 0.0, 30.0]), np.array([100.0, 0.0, -200.0, 0.0]))
    order = [2, 0, 3, 1]
    np.testing.assert_array_equal(
        fit_levels(values[order], land[order], aot[order]), fit_levels(values, land, aot)[order]
    )


def test_a_step_between_dates_goes_and_snow_water_and_clouds_are_left_alone():
    rng = np.random.default_rng(3)
    made = block([[0]] * 4, [4] * 4, size=48)
    made.dn[:] = rng.integers(800, 1200, (48, 48)) + np.array([0, 150, -150, 0])[:, None, None, None]
    made.cls[1, :, 24:] = 1  # the brighter date counts on the left only
    made.cls[:, 40:] = 3
    made.cls[:, 36:40] = 1
    aot = np.full(made.cls.shape, 0.2, np.float32)
    options = Options.of(robust=False)
    days = [-10, -5, 5, 10]
    plain, level = average(made, days, options), average(levelled(made, aot), days, options)
    surface = np.median(made.dn[[0, 3], 0], axis=0)
    step = [
        abs(float((r.refl[0] - surface)[:36, :24].mean() - (r.refl[0] - surface)[:36, 24:].mean()))
        for r in (plain, level)
    ]
    assert step[1] < 0.35 * step[0]
    np.testing.assert_array_equal(level.refl[:, 36:], plain.refl[:, 36:])
    coded = replace(levelled(made, aot), aot=np.full(made.cls.shape, 40, np.uint8))
    assert coded.level is not None
    coded = replace(coded, level=coded.level * np.float32([1, 1 / 200]))
    np.testing.assert_array_equal(average(coded, days, options).flag, level.flag)
    np.testing.assert_allclose(average(coded, days, options).refl, level.refl, atol=0.1)
