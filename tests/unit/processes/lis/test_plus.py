"""Mode ``plus`` on scenes nobody chose: what must hold whatever they show, and that neither threads nor chunks matter."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from processes.lis import lis_snow, snow_metadata
from processes.lis.detect import Block, detect
from processes.lis.params import NODATA, SENSORS, Params
from tests.unit.processes.lis.literal import LAYOUTS, masks
from tests.unit.processes.lis.scenes import as_cube, plane
from tests.unit.processes.lis.test_literal import COVERS, HOLES, RELIEFS, SHAPES, SKIES, scene


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), shape=SHAPES, sensor=st.sampled_from(sorted(LAYOUTS)), relief=st.sampled_from(RELIEFS),
    cover=st.sampled_from(COVERS), sky=st.sampled_from(SKIES), holes=HOLES, ice=st.booleans(),
    law=st.sampled_from(["auto", "tanh", "unmix"]), local=st.booleans(),
)  # fmt: skip
def test_what_must_hold(seed, shape, sensor, relief, cover, sky, holes, ice, law, local):
    block = scene(seed, shape, sensor, relief, cover, sky, holes)
    params = Params(ice=ice, fsc=law, local_snow_line=local)
    layers, meta = detect(block, SENSORS[sensor], params)
    again, told = detect(block, SENSORS[sensor], params, threads=3)
    for name, values in layers.items():
        np.testing.assert_array_equal(values, again[name], err_msg=name)
    assert meta == told
    seb, toc, og, expert = (layers[k] for k in ("SEB", "FSCTOC", "FSCOG", "EXPERT"))
    hole = (block.green == NODATA) | (block.red == NODATA) | (block.swir == NODATA)
    np.testing.assert_array_equal(seb == 255, hole)
    assert set(np.unique(seb)) <= {0, 100, 205, 255}
    for name in ("NDSI", "FSCTOC", "FSCOG", "QCTOC", "QCOG"):
        assert ((layers[name] == 255) == hole).all(), name
    everything, shadow, high = masks(block.cloud, LAYOUTS[sensor])
    assert not (seb[shadow | high] == 100).any(), "shadows and high clouds are never snow"
    assert not (toc[seb == 100] > 100).any() and not (toc[seb == 0] > 100).any()
    assert (og[toc <= 100] >= toc[toc <= 100]).all()
    assert ((everything | shadow | high)[~hole] == (expert[~hole] & 16 > 0)).all()
    assert (layers["NDSI"][seb == 100] <= 100).all()
    n = max(int((~hole).sum()), 1)
    assert abs(meta["snow_percent"] - 100 * (seb == 100).sum() / n) < 1e-9
    assert abs(meta["cloud_percent"] - 100 * (seb == 205).sum() / n) < 1e-9
    counted = np.array(meta["histogram"])[:, 1].sum() if meta["histogram"] else 0
    known = ~hole & (block.dem >= -500) & (block.dem < 9000)
    assert counted in (0, known.sum())
    assert meta["snow_line_found"] == (-1000 < meta["snow_line"] < 1e9)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(20, 64), cols=st.integers(20, 64), holes=HOLES)
def test_chunks_do_not_matter(seed, rows, cols, holes):
    block = scene(seed, (64, 64), "s2_muscate", "mountain", "mixed", "patches", holes)
    aux = {"sun_angles": [150, 30], "sensor": "s2_muscate"}
    whole = lis_snow(as_cube([block]), dem=plane(block.dem), tcd=plane(block.tcd), **aux)
    cut = lis_snow(as_cube([block], (rows, cols)), dem=plane(block.dem, (31, 64)), tcd=plane(block.tcd), **aux)
    np.testing.assert_array_equal(cut.compute(scheduler="sync").values, whole.values)
    assert snow_metadata(cut) == snow_metadata(whole)


def test_scenes_are_copied_not_changed():
    """Inputs come back as they went in, water or not."""
    block = scene(1, (40, 40), "s2_muscate", "mountain", "mixed", "patches", "none")
    before = {k: None if v is None else v.copy() for k, v in asdict(block).items()}
    detect(block, SENSORS["s2_muscate"], water=np.ones((40, 40), np.uint8))
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(block, name), values)
    assert isinstance(block, Block)
