"""Hand-made pixels: every rule of the synthesis, and the cases where the original goes wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from processes.errors import ProcessError
from processes.wasp.composite import CLOUD, LAND, SNOW, WATER
from tests.unit.processes.wasp.helpers import Options, block, pixel, run


def test_land_is_the_weighted_mean_and_so_is_its_date():
    refl, flag, weight, day, clear = pixel(
        run(block([[100, 1000], [200, 3000]], [LAND, LAND], [1.0, 3.0]), [-10, 10], robust=False)
    )
    assert refl == [175.0, 2500.0]
    assert (flag, weight, day, clear) == (LAND, 4.0, 5.0, 2)


def test_a_single_date_is_kept_as_it_is():
    refl, flag, _, day, clear = pixel(run(block([[123, 4567]], [LAND], [0.37]), [7]))
    assert (refl, flag, day, clear) == ([123.0, 4567.0], LAND, 7.0, 1)


def test_a_pixel_seen_only_next_to_clouds_has_weight_zero_and_still_a_value():
    for mode in ("plus", "wasp1"):
        refl, flag, weight, _, _ = pixel(run(block([[500], [600]], [LAND, CLOUD], [0.0, 0.0]), [0, 5], mode=mode))
        assert refl == [500.0] and flag == LAND
        assert weight == pytest.approx(0.001, abs=2e-5)


def test_always_cloudy_takes_the_date_of_smallest_blue_for_all_bands():
    values = [[5000, 9], [3000, 7], [4000, 8]]
    for mode in ("plus", "wasp1"):
        refl, flag, weight, _, clear = pixel(run(block(values, [CLOUD] * 3), [-5, 0, 5], mode=mode))
        assert flag == CLOUD and weight == 0 and clear == 0
        assert refl[1] == pytest.approx(7, abs=2) and refl[0] == pytest.approx(3000, abs=2)
    assert pixel(run(block(values, [CLOUD] * 3), [-5, 0, 5]))[3] == 0.0


def test_on_equal_blue_the_earlier_cloudy_date_stays():
    refl, *_ = pixel(run(block([[3000, 1], [3000, 2]], [CLOUD] * 2), [-5, 5]))
    assert refl == [3000.0, 1.0]


def test_a_cloudy_date_with_all_bands_beats_a_darker_one_without():
    refl, *_ = pixel(run(block([[3000, -10000], [4000, 2]], [CLOUD] * 2), [-5, 5]))
    assert refl == [4000.0, 2.0]


def test_one_cloudy_date_for_a_whole_coarse_pixel():
    made = block([[3000, 1], [4000, 2]], [CLOUD] * 2, size=2)
    made.dn[1, 0, 0, 0] = 2900  # one 10 m pixel alone would choose the second date
    result = run(replace(made, cell=2), [-5, 5])
    assert np.unique(result.date).tolist() == [-5.0]
    assert np.unique(result.refl[1]).tolist() == [1.0]


def test_a_missing_band_is_averaged_over_the_dates_that_have_it():
    refl, _, weight, *_ = pixel(
        run(block([[100, -10000], [104, 3000], [102, 1000]], [LAND] * 3, [5.0, 1.0, 1.0]), [-1, 0, 1])
    )
    assert refl[1] == 2000.0
    assert refl[0] == pytest.approx((500 + 104 + 102) / 7, abs=1e-3)
    assert weight == 7.0


def test_negative_numbers_are_values_in_plus_and_nodata_in_wasp1():
    made = block([[-30, -40]], [WATER])
    refl, flag, *_ = pixel(run(made, [0]))
    assert (refl, flag) == ([-30.0, -40.0], WATER)
    refl, flag, *_ = pixel(run(made, [0], mode="wasp1"))
    assert np.isnan(refl).all() and flag == 0


def test_partial_swath_uses_the_dates_that_see_the_pixel():
    made = block([[100, 200], [300, 400]], [LAND, LAND], size=4)
    made.dn[0, :, :, :2] = -10000
    made.cls[0, :, :2] = 0
    result = run(made, [-5, 5], robust=False)
    assert np.unique(result.refl[0, :, :2]).tolist() == [300.0]
    assert np.unique(result.refl[0, :, 2:]).tolist() == [200.0]
    assert np.unique(result.clear[:, :2]).tolist() == [1]


def test_never_seen_is_nodata():
    for mode in ("plus", "wasp1"):
        refl, flag, weight, day, clear = pixel(run(block([[-10000]], [0]), [0], mode=mode))
        assert np.isnan(refl[0]) and np.isnan(day) and (flag, weight, clear) == (0, 0.0, 0)


def test_snow_and_water_are_means_and_do_not_mix():
    refl, flag, weight, day, clear = pixel(run(block([[8000], [7000], [200]], [SNOW, SNOW, WATER]), [-6, 0, 6]))
    assert (refl, flag, weight, day, clear) == ([7500.0], SNOW, 0.0, -3.0, 3)
    assert pixel(run(block([[8000], [200]], [SNOW, WATER]), [-6, 6]))[:2] == ([200.0], WATER)


def test_the_original_keeps_the_last_water_date():
    refl, flag, *_ = pixel(run(block([[100], [200]], [WATER, WATER]), [-6, 6], mode="wasp1"))
    assert (refl, flag) == ([200.0], WATER)


def test_land_wins_over_snow_water_and_cloud():
    refl, flag, _, _, clear = pixel(run(block([[50], [8000], [700], [90]], [CLOUD, SNOW, LAND, WATER]), [-9, -3, 3, 9]))
    assert (refl, flag, clear) == ([700.0], LAND, 3)


def test_robust_drops_the_hazy_date_and_never_all():
    made = block([[400, 2000], [410, 2100], [900, 2900]], [LAND] * 3)
    assert pixel(run(made, [-5, 0, 5]))[0] == [405.0, 2050.0]
    assert pixel(run(made, [-5, 0, 5], robust=False))[0] == pytest.approx([570.0, 2333.33], abs=0.1)
    two_groups = block([[400], [410], [6000], [6010]], [LAND] * 4)
    assert pixel(run(two_groups, [-5, 0, 5, 9]))[0] == [405.0]


def test_dates_across_new_year():
    synthesis, days = date(2018, 1, 1), [-22, -3, 10, 22]
    made = block([[500]] * 4, [LAND] * 4)
    assert pixel(run(made, days, synthesis))[3] == pytest.approx(1.75)
    doy = pixel(run(made, days, synthesis, mode="wasp1"))[3]
    assert doy > 100  # the original averages 343, 362, 10 and 22


def test_order_of_dates_and_cut_into_blocks_do_not_matter():
    rng = np.random.default_rng(5)
    made = block([[0] * 3] * 7, [LAND] * 7, size=16)
    made.dn[:] = rng.integers(100, 5000, made.dn.shape)
    made.cls[:] = rng.choice([0, 1, 2, 3, 4, 4, 4], made.cls.shape)
    made.weight[:] = rng.random(made.weight.shape)
    days = [-20, -15, -8, 0, 3, 11, 19]
    whole = run(made, days)
    order = [3, 0, 6, 2, 5, 1, 4]
    mixed = replace(made, dn=made.dn[order], cls=made.cls[order], blue=made.dn[order][:, 0], weight=made.weight[order])
    other = run(mixed, [days[i] for i in order])
    land = whole.flag == LAND
    assert np.array_equal(whole.flag, other.flag) and land.any()
    for name in ("refl", "weight", "date", "clear"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(other, name))
    part = replace(
        made,
        dn=made.dn[:, :, 3:9, 5:],
        cls=made.cls[:, 3:9, 5:],
        blue=made.dn[:, 0, 3:9, 5:],
        weight=made.weight[:, 3:9, 5:],
    )
    np.testing.assert_array_equal(run(part, days).refl, whole.refl[:, 3:9, 5:])


@pytest.mark.parametrize(
    "options",
    [{"mode": "best"}, {"brdf": "ross"}, {"half_window": 0}, {"mode": "wasp1", "robust": True}, {"weights": {"aot": 1}},
     {"weights": {"date_weight_min": 2}}, {"coefficients": {"B02": [0.4, 0.1, 0.1, 0.0]}}],
)  # fmt: skip
def test_wrong_options_are_told(options):
    with pytest.raises(ProcessError) as error:
        Options.of(**options)
    assert error.value.code == "ProcessParameterInvalid"


def test_window():
    day = date(2018, 5, 2)
    assert Options.of().takes(day + timedelta(days=23), day) and not Options.of().takes(day - timedelta(days=24), day)
    assert Options.of(mode="wasp1").takes(day + timedelta(days=24), day)
