"""Directional effects: the kernels' known values, and what the two orbits see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from backend.demo.archive import generate
from backend.demo.directional import kernels, view_factor
from tests.unit.backend.demo.conftest import raster


def test_kernels_at_nadir() -> None:
    volume, geometry = kernels(0.0, 0.0, 0.0)
    # sun and view from above: 4/(3 pi) * (pi/2)/2 * 2 - 1/3 in the hot spot, and no shadow to be seen
    assert float(volume) == pytest.approx(1 / 3)
    assert float(geometry) == pytest.approx(0.0)


@pytest.mark.parametrize(("sun", "azimuth", "correction"), [(43.3, 50.0, 0.977), (42.4, 130.0, 1.023)])
def test_published_factors(sun: float, azimuth: float, correction: float) -> None:
    """B02 at a view zenith of 9 degrees: published corrections to nadir."""
    factor = view_factor("B02", *np.radians([sun, 9.0, azimuth]))
    assert 1 / float(factor) == pytest.approx(correction, abs=0.003)


def test_two_orbits_see_different_land_and_the_truth_does_not(tmp_path: Path) -> None:
    options = {"size": 60, "dates": 2, "tiles": ("31TGK",), "bands": ("B08",), "seed": 6, "sre": False, "workers": 1}
    plain = generate(tmp_path / "plain", **options)  # type: ignore[arg-type]
    turned = generate(tmp_path / "turned", directional=True, **options)  # type: ignore[arg-type]
    ratios = []
    for a, b, track in zip(plain.products, turned.products, plain.season.tracks, strict=True):
        day = Path("truth") / "T31TGK" / f"{track.time:%Y%m%d}"
        with rasterio.open(raster(a, "FRE_B8")) as one, rasterio.open(raster(b, "FRE_B8")) as two:
            first, second = one.read(1).astype(float), two.read(1).astype(float)
        truths = [(f / day / "reflectance_10m.tif").read_bytes() for f in (plain.folder, turned.folder)]
        assert truths[0] == truths[1]
        with rasterio.open(plain.folder / day / "cloud_optical_depth.tif") as src:
            clear = (src.read(1) == 0) & (first > 0)
        ratios.append(float(np.median(second[clear] / first[clear])))
    # orbit 8 looks from the west, away from the morning sun; orbit 108 from the east, with it behind
    assert [t.relative_orbit for t in plain.season.tracks] == [8, 108]
    assert ratios[0] < 1 < ratios[1]
    assert ratios[1] - ratios[0] > 0.03
