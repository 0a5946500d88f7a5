"""Shortcuts of blocks give what the long way gives."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from backend.graph.callbacks import CompiledCallback
from processes import cube as cubes
from processes import heap
from processes.blocks import reduce_blocks, reduce_groups
from processes.probe import decode

EQUALS_ONE = {
    "a": {"process_id": "array_element", "arguments": {"data": {"from_parameter": "data"}, "index": 0}},
    "e": {"process_id": "eq", "arguments": {"x": {"from_node": "a"}, "y": 1}, "result": True},
}
LOOKS = {"r": {"process_id": "inspect", "arguments": {"data": {"from_parameter": "data"}}, "result": True}}


def mask_cube(lazy: bool):
    values = np.random.default_rng(0).choice(np.array([0, 1, 255], "u1"), (3, 1, 40, 30))
    data = da.from_array(values, chunks=(3, 1, 16, 30)) if lazy else values
    coords = {"t": np.arange(3), "bands": ["CLOUD"], "y": -np.arange(40.0), "x": np.arange(30.0)}
    return values, cubes.cube(data, ("t", "bands", "y", "x"), coords, nodata=255)


@pytest.mark.parametrize("lazy", [True, False])
def test_masks_by_table_equal_masks_by_pixel(lazy):
    values, data = mask_cube(lazy)
    compiled = CompiledCallback(EQUALS_ONE)
    assert compiled.pointwise
    by_table = reduce_blocks(data, compiled, "bands")
    by_pixel = reduce_blocks(data, lambda data, context=None: compiled(data=data, context=context), "bands")
    assert by_table.dtype == by_pixel.dtype == np.float32
    np.testing.assert_array_equal(by_table.values, by_pixel.values)
    expected = np.where(values[:, 0] == 255, np.nan, values[:, 0] == 1)
    np.testing.assert_array_equal(by_table.values, expected)


def test_callbacks_that_look_beyond_a_pixel_are_not_looked_up():
    assert not CompiledCallback(LOOKS).pointwise


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2"])
@pytest.mark.parametrize("nodata", [0, -1, 255, 0.5, 70000])
def test_decoding_in_one_pass(dtype, nodata):
    info = np.iinfo(dtype)
    block = np.random.default_rng(1).integers(info.min, info.max, (2, 9, 7), dtype, endpoint=True)
    block[0, 0, :3] = 0, info.max, info.min
    expected = np.where(block.astype("f8") == nodata, np.nan, block.astype("f8"))
    for given in (block, block[:, ::2], block.transpose(2, 0, 1)):
        out = decode(given, nodata)
        assert out.dtype == np.float32
    np.testing.assert_array_equal(decode(block, nodata), expected)


def test_groups_of_neighbours_and_of_others():
    values = np.random.default_rng(2).random((6, 5, 4)).astype("f4")
    data = cubes.cube(
        da.from_array(values, chunks=(6, 5, 4)),
        ("t", "y", "x"),
        {"t": np.arange(6), "y": -np.arange(5.0), "x": np.arange(4.0)},
    )
    groups = [np.array([1, 2, 3]), np.array([0, 5]), np.array([4, 3])]
    seen = []

    def last(data, context=None):
        seen.append(list(data.labels))
        return data.values[-1]

    out = reduce_groups(data, last, "t", groups, ["a", "b", "c"]).values
    np.testing.assert_array_equal(out, values[[3, 5, 3]])
    assert [1, 2, 3] in seen and [0, 5] in seen and [4, 3] in seen


def test_memory_is_given_back_after_an_error():
    with pytest.raises(ZeroDivisionError), heap.kept():
        _ = np.ones(1 << 20) / (1 // 0)
    with heap.kept():
        assert np.ones(1 << 20).sum() == 1 << 20
