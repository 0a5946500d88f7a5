"""Fading in of dates, against plain distances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from processes.errors import ProcessError
from processes.wasp.composite import Options
from processes.wasp.rims import CELL, RimGrid


def faded(unseen: np.ndarray, resolution: float = 10.0, fade: float = 120.0) -> np.ndarray:
    grid = RimGrid.of(*unseen.shape, resolution, fade)
    assert grid is not None
    cells = grid.start()
    grid.add(unseen, 0, 0, cells)
    weight = np.ones(unseen.shape, np.float32)
    grid.fade(grid.pack(cells), 0, 0, weight)
    return weight


def blobs(shape: tuple[int, int], seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    unseen = np.zeros(shape, bool)
    for _ in range(5):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        unseen[y : y + 9, x : x + 14] = True
    return unseen


def test_weights_rise_with_the_distance():
    unseen = blobs((120, 160))
    weight = faded(unseen)
    metres = distance_transform_edt(~unseen) * 10
    assert weight[unseen].max() < 0.2
    assert (weight[metres > 120 + 2 * CELL] == 1).all()
    middle = (metres > 50) & (metres < 70)
    assert weight[middle].min() > 0.25 and weight[middle].max() < 0.75
    # no step: neighbours differ by what 10 m of 120 m may be
    assert np.abs(np.diff(weight, axis=1)).max() < 0.2 and np.abs(np.diff(weight, axis=0)).max() < 0.2


def test_nothing_unseen_and_nothing_seen():
    assert (faded(np.zeros((50, 40), bool)) == 1).all()
    np.testing.assert_array_equal(faded(np.ones((50, 40), bool)), np.float32(1e-3))


@pytest.mark.parametrize("resolution", [5.0, 10.0, 20.0, 30.0])
def test_any_cut_gives_the_same_weights(resolution):
    unseen = blobs((97, 131), seed=4)
    whole = faded(unseen, resolution)
    grid = RimGrid.of(*unseen.shape, resolution, 120.0)
    assert grid is not None
    cells = grid.start()
    for y in range(0, 97, 31):
        for x in range(0, 131, 17):
            grid.add(unseen[y : y + 31, x : x + 17], y, x, cells)
    packed = grid.pack(cells)
    assert packed.shape == grid.packed_shape and packed.dtype == np.uint8
    for y, x, h, w in ((0, 0, 40, 40), (31, 17, 33, 60), (90, 120, 7, 11), (13, 64, 1, 1), (0, 1, 97, 130)):
        part = np.ones((h, w), np.float32)
        grid.fade(packed, y, x, part)
        np.testing.assert_array_equal(part, whole[y : y + h, x : x + w])


def test_a_rise_of_less_than_a_cell_is_none():
    assert RimGrid.of(100, 100, 10.0, 0.0) is None and RimGrid.of(100, 100, 60.0, 50.0) is None


def test_the_parameter():
    assert Options.of().weighting.edge_fade == 120 and Options.of(mode="wasp1").weighting.edge_fade == 0
    for options in ({"weights": {"edge_fade": -1}}, {"weights": {"edge_fade": 5000}}, {"mode": "wasp1", "level": True},
                    {"mode": "wasp1", "weights": {"edge_fade": 100}}):  # fmt: skip
        with pytest.raises(ProcessError) as error:
            Options.of(**options)
        assert error.value.code == "ProcessParameterInvalid"
