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


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("holes", [False, True])
def test_many_rows_are_packed_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bands: int, holes: bool
) -> None:
    """A picture of more rows than are stretched at once, that waits on disk: decoders see what numpy computes."""
    from processes import cube as cubes

    rng = np.random.default_rng(4)
    values = rng.normal(0.3, 0.2, (bands, 1300, 70)).astype("f4")
    if holes:
        values[0, 600:700, 10:20] = np.nan
    data = cubes.cube(values, ("bands", "y", "x"), {"bands": list("abc"[:bands]), "y": -np.arange(1300.0), "x": np.arange(70.0)})  # fmt: skip
    monkeypatch.setattr("backend.results.image._SMALL", 0)
    [asset] = write([SaveResult(data, "PNG", {"min": 0, "max": 0.6})], tmp_path)
    picture = np.asarray(Image.open(asset.path)).reshape(1300, 70, bands + holes)
    share = np.clip((values.astype("f8") - 0) / 0.6, 0, 1)
    gone = np.isnan(values).any(axis=0)
    wanted = np.where(gone, 0, np.rint(np.nan_to_num(share) * 255)).astype("u1")
    np.testing.assert_array_equal(picture[..., :bands], np.moveaxis(wanted, 0, -1))
    if holes:
        np.testing.assert_array_equal(picture[..., bands], np.where(gone, 0, 255))
    assert [p.name for p in tmp_path.iterdir()] == ["openEO.png"]


def test_the_encoder_refuses_what_does_not_fit() -> None:
    import io

    from backend.results.png import PngWriter

    writer = PngWriter(io.BytesIO(), 4, 3, 3)
    with pytest.raises(ValueError, match="does not fit"):
        writer.write(np.zeros((1, 5, 3), "u1"))
    writer.write(np.zeros((2, 4, 3), "u1"))
    with pytest.raises(ValueError, match="does not fit"):
        writer.write(np.zeros((2, 4, 3), "u1"))
    with pytest.raises(ValueError, match="2 of 3 rows"):
        writer.finish()
