"""PNG and JPEG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.errors import OpenEOError
from backend.results import write
from processes.save.save_result import SaveResult
from tests.unit.backend.results.conftest import MakeCube


def test_three_bands_are_colours_and_nodata_is_transparent(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube()
    [asset] = write([SaveResult(cube, "png", {"min": 0, "max": [6000, 6000, 3000]})], tmp_path)
    picture = np.asarray(Image.open(asset.path))
    assert picture.shape == (700, 900, 4) and asset.media_type == "image/png"
    first = cube.values[0]
    expected = np.rint(np.clip(first / np.array([6000, 6000, 3000]).reshape(-1, 1, 1), 0, 1) * 255)
    np.testing.assert_array_equal(picture[50:, 60:, :3], np.moveaxis(expected, 0, -1)[50:, 60:])
    assert (picture[:40, :50, 3] == 0).all() and (picture[40:, :, 3] == 255).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["openEO.png"]


def test_default_stretch_is_the_middle_96_percent(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(("y", "x"))
    [asset] = write([SaveResult(cube, "PNG")], tmp_path)
    picture = np.asarray(Image.open(asset.path))
    assert picture.shape == (700, 900, 2)
    valid = picture[..., 1] > 0
    assert 0.015 < (picture[..., 0][valid] == 0).mean() < 0.025
    assert 0.015 < (picture[..., 0][valid] == 255).mean() < 0.025


def test_uint8_is_taken_as_it_is(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(("y", "x"), dtype="u1", size=(60, 70))
    [asset] = write([SaveResult(cube, "PNG")], tmp_path)
    np.testing.assert_array_equal(np.asarray(Image.open(asset.path)), cube.values)


def test_colormaps(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(("y", "x"), dtype="u1", size=(60, 70))
    values = np.zeros((60, 70), "u1")
    values[0, :3] = [1, 2, 3]
    classes = {"colormap": {"1": "#ff0000", "2": [0, 255, 0], "3": "blue"}}
    ramp = {"colormap": ["#000000", "#ffff00"], "min": 0, "max": 3, "filename_prefix": "ramp"}
    [a, b] = write([SaveResult(cube.copy(data=values), "PNG", o) for o in (classes, ramp)], tmp_path)
    picture = np.asarray(Image.open(a.path).convert("RGBA"))
    assert picture[0, :3, :3].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert b.path.name == "ramp.png"
    assert np.asarray(Image.open(b.path).convert("RGB"))[0, :4].tolist()[2:] == [[255, 255, 0], [0, 0, 0]]


def test_jpeg_and_chosen_bands(tmp_path: Path, make_cube: MakeCube) -> None:
    [asset] = write([SaveResult(make_cube(), "JPEG", {"bands": ["B02"], "quality": 95})], tmp_path)
    picture = Image.open(asset.path)
    assert picture.mode == "L" and picture.size == (900, 700) and picture.format == "JPEG"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bands": ["B99"]}, "no band B99"),
        ({"bands": ["B02", "B03"]}, "1, 3 or 4 bands"),
        ({"colormap": ["#000000", "#ffffff"]}, "single band"),
        ({"min": [1, 2]}, "2 values for 3 bands"),
        ({"quality": 3}, "no option 'quality'"),
        ({"stretch": [2]}, "stretch"),
    ],
)
def test_what_a_picture_cannot_be(tmp_path: Path, make_cube: MakeCube, options: dict, says: str) -> None:
    with pytest.raises(OpenEOError, match=says) as caught:
        write([SaveResult(make_cube(size=(20, 20)), "PNG", options)], tmp_path)
    assert caught.value.code == "FormatUnsuitable"
    assert list(tmp_path.iterdir()) == []
