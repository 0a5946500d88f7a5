"""Weights and directional correction against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ive

from processes.errors import ProcessError
from processes.wasp.bessel import scaled_bessel
from processes.wasp.directional import (
    ROY_2016,
    Coefficients,
    factor,
    fill_nodes,
    geometric_kernel,
    read_scattering,
    volume_kernel,
)
from processes.wasp.weights import (
    CoarseGrid,
    Weighting,
    aerosol_weight,
    date_weight,
    discrete_gaussian,
    keys_cubic,
    smooth,
)

DEFAULT = Weighting()


def weight_of(cloud: np.ndarray, mode: str = "plus", step: int = 24) -> np.ndarray:
    grid = CoarseGrid(*cloud.shape, step, mode)  # type: ignore[arg-type]
    sums = grid.start()
    grid.add(cloud.astype(np.uint8), 0, 0, sums)
    small, large = grid.fields(sums, DEFAULT)
    return grid.weight(small, large, np.ones((1, 1), np.float32), 1.0, 0, 0, np.empty(cloud.shape, np.float32))


def test_aerosol_weight():
    np.testing.assert_allclose(
        aerosol_weight(np.array([-1, 0, 0.4, 0.8, 3, np.nan]), DEFAULT), [1, 1, 0.665, 0.33, 0.33, 1], atol=1e-6
    )


def test_date_weight_is_linear_in_plus_and_dead_in_wasp1():
    assert [date_weight(d, 20, DEFAULT) for d in (0, 10, -20)] == [1.0, 0.75, 0.5]
    assert [date_weight(d, 23, DEFAULT, "wasp1") for d in (0, 22, -23, 45, 46)] == [1.0, 1.0, 0.5, 0.5, 0.0]


def test_discrete_gaussian_is_the_bessel_kernel():
    kernel = discrete_gaussian(4.0)
    n = np.arange(len(kernel)) - len(kernel) // 2
    raw = ive(np.abs(n), 4.0)
    assert 0.99 <= raw.sum() < 1.0
    np.testing.assert_allclose(kernel, raw / raw.sum(), rtol=1e-12)
    assert len(discrete_gaussian(100.0, "wasp1")) == len(discrete_gaussian(100.0))
    np.testing.assert_allclose(discrete_gaussian(100.0, "wasp1"), discrete_gaussian(100.0), atol=6e-5)
    np.testing.assert_array_equal(discrete_gaussian(900.0, "wasp1"), discrete_gaussian(900.0))


@pytest.mark.parametrize("t", [0.5, 3.7, 3.8, 4.0, 100.0, 600.0])
def test_bessel_functions_are_right_to_what_is_published(t):
    for n in (0, 1, 2, 7, 20):
        near = 6e-7 if n < 2 or t < 50 else 6e-2 if t > 200 else 6e-4  # the recurrence begins too low for large t
        assert scaled_bessel(n, t) == pytest.approx(ive(n, t), rel=near)


def test_cubic_kernel_interpolates():
    np.testing.assert_allclose(keys_cubic(np.array([0.0, 1.0, 2.0, -1.0, 2.5])), [1, 0, 0, 0, 0], atol=1e-15)
    assert keys_cubic(np.array([0.3, -0.7, 1.3, -1.7])).sum() == pytest.approx(1.0)


def test_all_clear_and_all_cloudy():
    assert (weight_of(np.zeros((50, 70), bool)) == 1).all()
    np.testing.assert_allclose(weight_of(np.ones((50, 70), bool)), 0, atol=1e-12)


def test_weight_falls_towards_a_cloud_and_ignores_its_side():
    cloud = np.zeros((480, 480), bool)
    cloud[:, :120] = True
    weight = weight_of(cloud)
    row = weight[240]
    assert row[60] < 0.2 < row[200] < row[300] < row[470] < 1.0
    np.testing.assert_allclose(weight_of(cloud[:, ::-1])[:, ::-1], weight, atol=1e-12)
    np.testing.assert_allclose(weight_of(cloud.T).T, weight, atol=1e-6)


@pytest.mark.parametrize("shape", [(100, 130), (24, 24), (7, 300), (49, 25)])
def test_any_cut_gives_the_same_weights(shape):
    rng = np.random.default_rng(1)
    cloud = rng.random(shape) < 0.5
    grid = CoarseGrid(*shape, 24)
    whole, parts = grid.start(), grid.start()
    grid.add(cloud.astype(np.uint8), 0, 0, whole)
    for y in range(0, shape[0], 31):
        for x in range(0, shape[1], 17):
            ys, xs, share = grid.part(cloud[y : y + 31, x : x + 17].astype(np.uint8), y, x)
            parts[ys, xs] += share
    np.testing.assert_array_equal(whole, parts)
    small, large = grid.fields(whole, DEFAULT)
    one = grid.weight(small, large, np.ones((1, 1), np.float32), 1.0, 0, 0, np.empty(shape, np.float32))
    y, x = shape[0] // 3, shape[1] // 4
    part = np.empty((shape[0] - y, shape[1] - x), np.float32)
    grid.weight(small, large, np.ones((1, 1), np.float32), 1.0, y, x, part)
    np.testing.assert_array_equal(part, one[y:, x:])


def test_enlargement_against_plain_interpolation():
    rng = np.random.default_rng(2)
    for step in (3, 4, 24):
        grid = CoarseGrid(5 * step, 6 * step, step)
        fields = rng.random((5, 6)) * 0.9
        zero = np.zeros_like(fields)
        got = grid.weight(
            fields, zero, np.ones((1, 1), np.float32), 1.0, 0, 0, np.empty((5 * step, 6 * step), np.float32)
        )
        along = [(np.arange(n * step) + 0.5) / step - 0.5 for n in (5, 6)]
        matrices = []
        for n, at in zip((5, 6), along):
            matrix = np.zeros((len(at), n))
            for k in range(-1, 3):
                node = np.floor(at).astype(int) + k
                np.add.at(matrix, (np.arange(len(at)), np.clip(node, 0, n - 1)), keys_cubic(at - node))
            matrices.append(matrix)
        field = matrices[0] @ fields @ matrices[1].T
        np.testing.assert_allclose(got, np.where(field >= 1, 0, 1 - np.abs(field)), atol=1e-6)


def test_smoothing_keeps_the_sum_of_a_constant_and_spreads_a_point():
    assert smooth(np.ones((9, 9)), 2.0) == pytest.approx(np.ones((9, 9)))
    point = np.zeros((41, 41))
    point[20, 20] = 1
    assert smooth(point, 2.0).sum() == pytest.approx(1.0)


def test_unknown_weight_is_named():
    with pytest.raises(ProcessError, match="sigma"):
        Weighting.of({"sigma": 1})


def test_kernels_are_zero_at_nadir_and_reciprocal():
    zero = np.zeros(1)
    assert geometric_kernel(zero, zero, zero)[0] == pytest.approx(0.0, abs=1e-12)
    a, b, phi = np.deg2rad([[35.0], [20.0], [70.0]])
    assert geometric_kernel(a, b, phi) == pytest.approx(geometric_kernel(b, a, phi))
    assert volume_kernel(a, b, phi) == pytest.approx(volume_kernel(b, a, phi))


@pytest.mark.parametrize(
    ("sun", "view", "azimuth", "kernels", "expected"),
    [(43.3, 9.0, 50.0, "roy", 0.977), (43.3, 9.0, 50.0, "wasp1", 0.934), (42.4, 9.0, 130.0, "roy", 1.023),
     (42.4, 9.0, 130.0, "wasp1", 1.081), (60.0, 10.0, 0.0, "roy", 0.965), (60.0, 10.0, 180.0, "roy", 1.029),
     (60.0, 10.0, 0.0, "wasp1", 0.80), (60.0, 10.0, 180.0, "wasp1", 1.30)],
)  # fmt: skip
def test_factor_of_blue_as_measured_and_published(sun, view, azimuth, kernels, expected):
    assert float(factor(ROY_2016["B02"], sun, view, azimuth, kernels)) == pytest.approx(expected, abs=0.006)


def test_factor_is_one_at_nadir_without_kernels_and_nan_without_angles():
    assert float(factor(ROY_2016["B08"], 40.0, 0.0, 123.0)) == pytest.approx(1.0)
    assert float(factor(ROY_2016["B08"], 40.0, 10.0, 0.0, "none")) == 1.0
    assert float(factor(Coefficients(0.0), 40.0, 10.0, 0.0)) == 1.0
    assert np.isnan(factor(ROY_2016["B08"], 40.0, np.nan, 0.0))


def test_holes_take_the_nearest_node():
    grid = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 3.5]])
    filled = fill_nodes(grid)
    assert filled[1, 0] == 1.0 and filled[1, 2] == 3.5 and not np.isnan(filled).any()


def test_scattering_file(tmp_path):
    path = tmp_path / "scattering.txt"
    path.write_text("# V0 V1 R0 R1\n" + "".join(f"0.{n} 0 0.1 0 # band\n" for n in range(10)))
    read = read_scattering(path)
    assert read["B02"] == Coefficients(0.0, 0.0, 0.1, 0.0) and read["B05"].v0 == 0.4
    path.write_text("1 2 3 4\n")
    with pytest.raises(ProcessError, match="10 lines"):
        read_scattering(path)
