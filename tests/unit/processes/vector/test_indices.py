"""Spectral indices: every formula of the catalogue, how bands are found, what is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import spyndex

from processes import cube as cubes
from processes.apply.indices import catalogue, constants, spectral_bands, spectral_indices, spectral_indices_demand
from processes.demand import Demand
from processes.errors import ProcessError
from tests.unit.processes.cubes.samples import Make, values

RNG = np.random.default_rng(1)
NAMES = list(spectral_bands())
REFLECTANCE = RNG.uniform(0.02, 0.6, (len(NAMES), 4, 5))


def every_band() -> Any:
    """A cube with a band per spectral band of the catalogue."""
    data = cubes.cube(
        REFLECTANCE,
        ("bands", "y", "x"),
        {"bands": NAMES, "y": np.arange(4)[::-1] * 10.0, "x": np.arange(5) * 10.0},
        crs=32631,
    )
    data.attrs["band_info"] = {n: {"common_name": spectral_bands()[n][0][0]} for n in NAMES}
    return data


def own_values(name: str) -> dict[str, float]:
    """Numbers for the variables that have no band and no default (radar, wavelengths)."""
    import re

    names = {v for v in catalogue()[name].variables if v not in NAMES and v not in constants()}
    return {v: 0.3 + 0.1 * k for k, v in enumerate(sorted(names)) if not re.fullmatch("k[A-Z][A-Z]", v)}


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_index_is_that_of_the_library(name: str) -> None:
    given = own_values(name)
    params: dict[str, Any] = {n: REFLECTANCE[k] for k, n in enumerate(NAMES)} | constants() | given
    for v in catalogue()[name].variables:
        if v.startswith("k") and len(v) == 3:
            params[v] = np.exp(-((np.asarray(params[v[1]]) - params[v[2]]) ** 2) / (2 * 0.5**2))
    with np.errstate(all="ignore"):
        expected = np.asarray(spyndex.computeIndex(name, {v: params[v] for v in catalogue()[name].variables}), "f8")
    got = spectral_indices(every_band(), name, given)
    assert got.dims == ("y", "x")
    expected = np.where(np.isfinite(expected), expected, np.nan)
    np.testing.assert_allclose(got.values, np.broadcast_to(expected, (4, 5)), rtol=1e-4, atol=1e-5)


def test_bands_by_wavelength_stand_ins_and_labels() -> None:
    v = values(holes=0)
    data = Make()(v)
    data.attrs["band_info"] = {"B1": {"wavelength": 0.66}, "B2": {"common_name": "nir08"}, "B3": {}}
    expected = (v[:, 1] - v[:, 0]) / (v[:, 1] + v[:, 0])
    np.testing.assert_allclose(spectral_indices(data, "ndvi").values, expected, rtol=1e-5)
    other = spectral_indices(data, "NDVI", {"R": "B3"}).values
    np.testing.assert_allclose(other, (v[:, 1] - v[:, 2]) / (v[:, 1] + v[:, 2]), rtol=1e-5)


@pytest.mark.parametrize(
    ("indices", "variables", "code"),
    [("NDVIX", None, "IndexUnknown.*NDVI"), (["EVI"], None, "BandMissing.*blue"), ("NDVI", {"N": "B9"}, "BandMissing.*B9"),
     ("NDVI", {"Q": 1}, "variables"), ([], None, "at least one"), (["NDVI", "ndvi"], None, "more than once"),
     ("NDVI", {"N": True}, "number"), ("TTVI", None, "BandMissing")],
)  # fmt: skip
def test_what_is_wrong_is_told(indices: Any, variables: Any, code: str) -> None:
    with pytest.raises(ProcessError, match=code):
        spectral_indices(Make()(values()), indices, variables)


def test_several_bands_with_one_common_name() -> None:
    data = Make()(values())
    data.attrs["band_info"] = {b: {"common_name": "red"} for b in ("B1", "B3")} | {"B2": {"common_name": "nir"}}
    with pytest.raises(ProcessError, match="BandAmbiguous"):
        spectral_indices(data, "NDVI")
    spectral_indices(data, "NDVI", {"R": "B1"})


def test_an_index_that_is_there_is_not_added_again() -> None:
    data = spectral_indices(Make()(values()), ["NDVI"], append=True)
    assert cubes.labels(data, "bands") == ["B1", "B2", "B3", "NDVI"]
    assert data.attrs["band_info"]["B1"]["common_name"] == "red"
    with pytest.raises(ProcessError, match="BandExists"):
        spectral_indices(data, ["NDVI"], append=True)


def test_demand_names_the_bands() -> None:
    def bands(**args: Any) -> Any:
        return spectral_indices_demand(args, Demand(bands=("NDVI",)))["data"].bands

    assert bands(indices=["NDVI", "NDMI"]) == ("nir", "red", "swir16")
    assert bands(indices="NDVI", variables={"N": "B8A"}) == ("B8A", "red")
    assert bands(indices="NDVI", append=True) is None
    assert bands(indices="nothing") is None
    assert bands(indices={"from_parameter": "x"}) is None
