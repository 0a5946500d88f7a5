"""Dimensions, labels and metadata by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from processes import cube as cubes
from processes.apply import methods
from processes.apply.apply import apply_dimension
from processes.apply.ndvi import ndvi
from processes.combine.dimensions import (
    add_dimension,
    create_data_cube,
    dimension_labels,
    drop_dimension,
    flatten_dimensions,
    rename_dimension,
    rename_labels,
    unflatten_dimension,
)
from processes.env import Env
from processes.errors import ProcessError
from processes.filter.labels import filter_bands, filter_labels
from processes.reduce.dimension import reduce_dimension
from tests.unit.processes.cubes.samples import RENAMED, Make, computed, values

MAKE = Make()
CUBE = MAKE(np.arange(24, dtype="f4").reshape(2, 3, 2, 2))


def error_of(function: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(ProcessError) as error:
        function(*args, **kwargs)
    return error.value.code


def test_a_cube_can_be_built_from_nothing() -> None:
    got = add_dimension(add_dimension(create_data_cube(), "x", 3.0, "spatial"), "bands", "B04", "bands")
    assert cubes.kinds(got) == {"bands": cubes.BANDS, "x": cubes.X}
    assert got.shape == (1, 1)
    assert np.isnan(got.values).all()


def test_add_dimension_types_and_labels() -> None:
    got = add_dimension(CUBE, "when", "2020-06-01T00:00:00Z", "temporal")
    assert cubes.kind_of(got, "when") == cubes.TEMPORAL
    assert cubes.labels(got, "when") == [np.datetime64("2020-06-01")]
    assert cubes.labels(add_dimension(CUBE, "when", "2020-djf", "temporal"), "when") == ["2020-djf"]
    assert cubes.kind_of(add_dimension(CUBE, "height", 3, "spatial"), "height") == "spatial:z"
    full = add_dimension(CUBE, "height", 3, "spatial")
    assert error_of(add_dimension, full, "again", 3, "spatial") == "DimensionExists"
    assert error_of(add_dimension, CUBE, "t", 1) == "DimensionExists"
    assert error_of(add_dimension, CUBE, "z", 1, "colour") == "ProcessParameterInvalid"
    place = add_dimension(CUBE, "place", "POINT (3 45)", "geometry")
    assert cubes.kind_of(place, "place") == cubes.GEOMETRY and cubes.labels(place, "place")[0].x == 3
    for label in ("month", 1, ""):
        assert error_of(add_dimension, CUBE, "place", label, "geometry") == "ProcessParameterInvalid"


def test_drop_dimension() -> None:
    assert error_of(drop_dimension, CUBE, "t") == "DimensionLabelCountMismatch"
    assert error_of(drop_dimension, CUBE, "z") == "DimensionNotAvailable"
    got = drop_dimension(CUBE.isel(t=[0]), "t")
    assert got.dims == ("bands", "y", "x")
    assert "t" not in got.attrs["dims"]
    assert "t" not in got.coords


def test_rename_dimension() -> None:
    got = rename_dimension(CUBE, "x", "ost")
    assert cubes.spatial_dims(got) == ("y", "ost")
    assert cubes.crs_of(got).epsg == 32631
    assert error_of(rename_dimension, CUBE, "z", "a") == "DimensionNotAvailable"
    assert error_of(rename_dimension, CUBE, "t", "x") == "DimensionExists"
    assert cubes.kind_of(rename_dimension(rename_dimension(CUBE, "t", "a"), "bands", "t"), "t") == cubes.BANDS


def test_rename_labels() -> None:
    got = rename_labels(CUBE, "bands", ["b", "a"], ["B2", "B1"])
    assert cubes.labels(got, "bands") == ["a", "b", "B3"]
    assert got.attrs["band_info"]["a"]["common_name"] == "red"
    numbered = CUBE.assign_coords(bands=[0, 1, 2])
    assert cubes.labels(rename_labels(numbered, "bands", ["red"]), "bands") == ["red", 1, 2]
    dated = rename_labels(CUBE, "t", ["first"], ["2020-01-01"])
    assert cubes.plain_labels(dated, "t") == ["first", "2020-02-01T00:00:00Z"]
    # two labels may change places
    assert cubes.labels(rename_labels(CUBE, "bands", ["B2", "B1"], ["B1", "B2"]), "bands") == ["B2", "B1", "B3"]


@pytest.mark.parametrize(
    ("target", "source", "code"),
    [
        (["a"], [], "LabelsNotEnumerated"),
        (["a", "b"], ["B1"], "LabelMismatch"),
        (["a"], ["B9"], "LabelNotAvailable"),
        (["B3"], ["B1"], "LabelExists"),
        (["a", "a"], ["B1", "B2"], "LabelExists"),
    ],
)
def test_rename_labels_errors(target: list[str], source: list[str], code: str) -> None:
    assert error_of(rename_labels, CUBE, "bands", target, source) == code


def test_more_labels_than_there_are() -> None:
    numbered = CUBE.assign_coords(bands=[0, 1, 2])
    assert error_of(rename_labels, numbered, "bands", ["a", "b", "c", "d"]) == "LabelMismatch"


def test_dimension_labels() -> None:
    assert dimension_labels(CUBE, "t") == ["2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z"]
    assert dimension_labels(CUBE, "bands") == ["B1", "B2", "B3"]
    assert dimension_labels(CUBE, "y") == [4800015.0, 4800005.0]
    assert error_of(dimension_labels, CUBE, "z") == "DimensionNotAvailable"


def test_flatten_and_back() -> None:
    flat = flatten_dimensions(CUBE, ["bands", "t"], "all", "/")
    assert cubes.labels(flat, "all")[:2] == ["B1/2020-01-01T00:00:00Z", "B1/2020-02-01T00:00:00Z"]
    assert cubes.kind_of(flat, "all") == cubes.OTHER
    back = unflatten_dimension(flat, "all", ["bands", "t"], "/")
    np.testing.assert_array_equal(back.values, CUBE.transpose("bands", "t", "y", "x").values)
    shuffled = unflatten_dimension(flat.isel(all=[3, 0, 5, 1, 4, 2]), "all", ["bands", "t"], "/")
    np.testing.assert_array_equal(
        shuffled.sel(bands="B3", t="2020-01-01T00:00:00Z").values, CUBE.isel(bands=2, t=0).values
    )


def test_flatten_errors() -> None:
    assert error_of(flatten_dimensions, CUBE, ["t", "z"], "all") == "DimensionNotAvailable"
    assert error_of(flatten_dimensions, CUBE, ["t", "bands"], "x") == "TargetDimensionExists"
    flat = flatten_dimensions(CUBE, ["bands", "t"], "all")
    assert error_of(unflatten_dimension, flat, "z", ["a", "b"]) == "DimensionNotAvailable"
    assert error_of(unflatten_dimension, flat, "all", ["x", "b"]) == "TargetDimensionExists"
    assert error_of(unflatten_dimension, flat, "all", ["a", "b", "c"]) == "ProcessParameterInvalid"
    assert error_of(unflatten_dimension, flat.isel(all=slice(5)), "all", ["a", "b"]) == "ProcessParameterInvalid"


def test_filter_bands() -> None:
    assert error_of(filter_bands, CUBE) == "BandFilterParameterMissing"
    assert error_of(filter_bands, CUBE.isel(bands=0, drop=True), ["B1"]) == "DimensionMissing"
    assert error_of(filter_bands, CUBE, wavelengths=[[2, 1]]) == "ProcessParameterInvalid"
    assert cubes.labels(filter_bands(CUBE, ["B9"]), "bands") == []
    got = filter_bands(CUBE, ["nir", "B1", "B2"])
    assert cubes.labels(got, "bands") == ["B2", "B1"]
    assert list(got.attrs["band_info"]) == ["B2", "B1"]
    # a band's own name goes before another's common name
    odd = rename_labels(CUBE, "bands", ["red"], ["B3"])
    assert cubes.labels(filter_bands(odd, ["red"]), "bands") == ["red"]


def test_filter_labels_without_verdict_drops_the_label() -> None:
    got = filter_labels(CUBE, lambda value, context: None if value == "B1" else value == "B2", "bands")
    assert cubes.labels(got, "bands") == ["B2"]
    assert error_of(filter_labels, CUBE, lambda value, context: True, "z") == "DimensionNotAvailable"


def test_ndvi_errors_and_metadata() -> None:
    assert error_of(ndvi, CUBE.isel(bands=0, drop=True)) == "DimensionAmbiguous"
    assert error_of(ndvi, filter_bands(CUBE, ["B1"])) == "NirBandAmbiguous"
    assert error_of(ndvi, filter_bands(CUBE, ["B2"])) == "RedBandAmbiguous"
    assert error_of(ndvi, CUBE, target_band="B3") == "BandExists"
    two = CUBE.copy()
    two.attrs = {**CUBE.attrs, "band_info": {"B1": {"common_name": "nir"}, "B2": {"common_name": "nir"}}}
    assert error_of(ndvi, two, red="B3") == "NirBandAmbiguous"
    with_band = ndvi(CUBE, target_band="index")
    assert cubes.labels(with_band, "bands") == ["B1", "B2", "B3", "index"]
    assert cubes.kind_of(with_band, "bands") == cubes.BANDS
    zero = MAKE(np.zeros((1, 2, 1, 1), "f4"))
    assert np.isnan(ndvi(zero).values).all()


def test_apply_dimension_labels() -> None:
    def two(data: Any, context: Any = None) -> np.ndarray:
        return np.stack([data.values[0], data.values[-1]])

    same = apply_dimension(CUBE, lambda data, context: data.values[::-1], "bands")
    assert cubes.labels(same, "bands") == ["B1", "B2", "B3"]
    fewer = apply_dimension(CUBE, two, "bands")
    assert cubes.labels(fewer, "bands") == [0, 1]
    assert cubes.kind_of(fewer, "bands") == cubes.BANDS
    other = apply_dimension(CUBE, two, "t", "stats")
    assert (cubes.labels(other, "stats"), cubes.kind_of(other, "stats")) == ([0, 1], cubes.OTHER)
    assert other.dims == ("stats", "bands", "y", "x")
    into = apply_dimension(add_dimension(CUBE, "extra", "a"), two, "t", "extra")
    assert sorted(map(str, into.dims)) == ["bands", "extra", "x", "y"]
    assert cubes.labels(into, "extra") == [0, 1]
    assert error_of(apply_dimension, CUBE, two, "z") == "DimensionNotAvailable"


@pytest.mark.parametrize("chunking", ["numpy", "everything"])
def test_apply_dimension_into_a_dimension_with_several_labels(chunking: str) -> None:
    """Two statistics over time for each of three bands become six bands, band by band, and the log says so."""
    told: list[str] = []
    env = Env(sink=lambda level, message, **_: told.append(f"{level} {message}"))
    array = values()

    def extremes(data: Any, context: Any = None) -> np.ndarray:
        assert data.dimension == "t" and len(data.labels) == array.shape[0]
        return np.stack([np.fmin.reduce(data.values), np.fmax.reduce(data.values)])

    make = Make(chunking)
    got = apply_dimension(make(array), extremes, "t", "bands", env=env)
    assert got.dims == ("bands", "y", "x")
    assert cubes.labels(got, "bands") == list(range(6))
    assert cubes.kind_of(got, "bands") == cubes.BANDS
    low, high = np.fmin.reduce(array), np.fmax.reduce(array)
    np.testing.assert_array_equal(computed(got), np.stack([low, high], axis=1).reshape(6, *array.shape[2:]))
    assert told == [
        "info apply_dimension: 'bands' had 3 labels; for each the 2 values computed from 't' follow one another in 'bands'."
    ]
    over_bands = apply_dimension(make(array), extremes_of_any, "bands", "t")
    assert over_bands.dims == ("t", "y", "x") and cubes.kind_of(over_bands, "t") == cubes.TEMPORAL
    low, high = np.fmin.reduce(array, axis=1), np.fmax.reduce(array, axis=1)
    np.testing.assert_array_equal(computed(over_bands), np.stack([low, high], axis=1).reshape(12, *array.shape[2:]))


def extremes_of_any(data: Any, context: Any = None) -> np.ndarray:
    return np.stack([np.fmin.reduce(data.values), np.fmax.reduce(data.values)])


def test_apply_dimension_of_a_constant_array() -> None:
    got = apply_dimension(CUBE, lambda data, context: [1, 2], "t", "n")
    assert got.shape == (2, 3, 2, 2)
    np.testing.assert_array_equal(got.values[1], 2)


def test_apply_dimension_result_that_depends_on_the_values() -> None:
    lazy = apply_dimension(
        Make("rows")(values()), lambda data, context: data.values[: 1 + int(data.values.size > 20)], "t"
    )
    with pytest.raises(ProcessError, match="same number everywhere"):
        computed(lazy)


def test_metadata_survives_a_chain() -> None:
    cube = Make("everything", RENAMED)(values())
    cube.attrs["derived_from"] = ["item"]
    got = reduce_dimension(ndvi(cube), lambda data, context: data.values[0], RENAMED["t"])
    assert got.attrs["derived_from"] == ["item"]
    assert got.attrs["dims"] == {RENAMED["y"]: cubes.Y, RENAMED["x"]: cubes.X}
    assert cubes.geobox_of(got).shape == (8, 10)
    assert cubes.crs_of(got).epsg == 32631


def test_reduce_of_a_dimension_that_is_not_there() -> None:
    assert error_of(reduce_dimension, CUBE, lambda data, context: data.values[0], "z") == "DimensionNotAvailable"


def test_methods_that_are_not_there_name_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    table: dict[str, Any] = {"cloud_detection": {}, "atmospheric_correction": {"MAJA": lambda data, options, **_: data}}
    monkeypatch.setattr(methods, "_methods", table)
    with pytest.raises(ProcessError, match="available are: MAJA"):
        methods.atmospheric_correction(CUBE, "FORCE")
    with pytest.raises(ProcessError, match="No method of cloud_detection"):
        methods.cloud_detection(CUBE, None)
    assert methods.atmospheric_correction(CUBE, "maja") is CUBE
    assert methods.atmospheric_correction(CUBE, None) is CUBE
