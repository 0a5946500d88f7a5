"""The small parts: the tile matrix set, PNG files, the cache, settings, labels."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.errors import OpenEOError
from backend.services.cache import TileCache
from backend.services.encode import blank, encode
from backend.services.mercator import (
    HALF,
    Tile,
    in_degrees,
    in_plane,
    range_of,
    resolution,
    scale_denominator,
    zoom_of,
)
from backend.services.messages import Encoding
from backend.services.times import label_of, shown_times
from backend.services.types import TYPES, checked, complete, service_types, type_named
from processes.resample.warp import lattice_spans


def test_tile_matrix_set() -> None:
    # OGC 17-083r4, table D.1
    assert scale_denominator(0) == pytest.approx(559082264.0287178, rel=1e-9)
    assert scale_denominator(18) == pytest.approx(2132.729583849784, rel=1e-9)
    assert resolution(0) == pytest.approx(156543.03392804097)
    assert Tile(0, 0, 0).bounds == pytest.approx((-HALF, -HALF, HALF, HALF))
    assert Tile(1, 1, 0).bounds == pytest.approx((0, 0, HALF, HALF), abs=1e-6)
    # Toulouse; row = (1 - ln(tan(lat) + 1 / cos(lat)) / pi) / 2 * 2**14 = 5982.15
    assert range_of(14, in_plane((1.4437, 43.6043, 1.4437, 43.6043))) == (8257, 8257, 5982, 5982)
    assert in_degrees(in_plane((-10, 40, 5, 60))) == pytest.approx((-10, 40, 5, 60))
    assert in_plane((-180, -90, 180, 90)) == pytest.approx((-HALF, -HALF, HALF, HALF))
    assert [zoom_of(resolution(z)) for z in (0, 7, 24)] == [0, 7, 24]
    assert zoom_of(14.0) == 14 and zoom_of(1e9) == 0 and zoom_of(1e-9) == 24


@pytest.mark.parametrize(
    "tile", [Tile(0, 0, 0), Tile(1, 1, 1), Tile(9, 259, 187), Tile(14, 8259, 5982), Tile(20, 5, 7, 512)]
)
def test_blocks(tile: Tile) -> None:
    block = tile.block()
    assert tile in block.tiles and all(t.exists and t.block() == block for t in block.tiles)
    assert len(set(block.tiles)) == block.across**2
    left, bottom, right, top = block.grid.boundingbox
    assert (left, bottom, right, top) == pytest.approx(block.bounds, abs=1e-6)
    if tile.z >= 2:  # one tile of the lattice that resampling works on
        a = block.grid.affine
        assert lattice_spans(512, a.c, a.a, 512) == [(0, 512)] == lattice_spans(512, a.f, a.e, 512)


@pytest.mark.parametrize("tile", [Tile(-1, 0, 0), Tile(25, 0, 0), Tile(3, 8, 0), Tile(3, 0, -1), Tile(0, 1, 0)])
def test_tiles_that_do_not_exist(tile: Tile) -> None:
    assert not tile.exists


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(256, 256), (1, 7), (512, 3)])
def test_png(channels: int, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, channels), dtype=np.uint8)
    image = Image.open(io.BytesIO(encode(pixels, Encoding("png"))))
    image.load()
    assert image.mode == ("L", "LA", "RGB", "RGBA")[channels - 1]
    assert (np.asarray(image).reshape(pixels.shape) == pixels).all()


def test_png_is_as_small_as_the_usual_ones() -> None:
    rows, cols = np.mgrid[:256, :256]
    noise = np.random.default_rng(0).normal(0, 3, (256, 256))
    pixels = np.clip(rows / 2 + cols / 3 + noise, 0, 255).astype(np.uint8)[..., None]
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(out, "PNG", compress_level=6)
    assert len(encode(pixels, Encoding("png"))) < 1.15 * len(out.getvalue())


def test_blank_tiles() -> None:
    image = Image.open(io.BytesIO(blank(256, Encoding("png"))))
    assert image.size == (256, 256) and np.asarray(image.convert("RGBA"))[..., 3].max() == 0
    assert Image.open(io.BytesIO(blank(512, Encoding("jpeg")))).size == (512, 512)


def test_cache(tmp_path: Path) -> None:
    cache = TileCache(tmp_path, 10_000)
    assert cache.get("u", "s", "k", "1.png") is None
    cache.put("u", "s", "k", "1.png", b"x" * 100)
    cache.put("u", "s", "k", "2.png", b"")
    assert cache.get("u", "s", "k", "1.png") == b"x" * 100 and cache.get("u", "s", "k", "2.png") == b""
    cache.put("u", "s", "newer", "1.png", b"y")
    assert cache.get("u", "s", "k", "1.png") is None and cache.get("u", "s", "newer", "1.png") == b"y"
    cache.forget("u", "s")
    assert cache.get("u", "s", "newer", "1.png") is None


def test_cache_is_bounded(tmp_path: Path) -> None:
    cache = TileCache(tmp_path, 10_000)
    cache.put("other", "s", "k", "n", b"z" * 5000)
    for n in range(9):
        cache.put("u", "s", "k", str(n), b"x" * 1000)
        os.utime(tmp_path / "u" / "s" / "k" / str(n), (n, n))
    assert cache.get("u", "s", "k", "0") is not None  # looked at: the newest now
    cache.put("u", "s", "k", "last", b"x" * 1500)
    kept = {p.name for p in (tmp_path / "u" / "s" / "k").iterdir()}
    assert "0" in kept and "last" in kept and "1" not in kept and "2" not in kept
    assert sum(p.stat().st_size for p in (tmp_path / "u" / "s" / "k").iterdir()) <= 8000
    assert cache.get("other", "s", "k", "n") is not None
    cache.put("u", "s", "k", "huge", b"x" * 20_000)
    assert cache.get("u", "s", "k", "huge") is None
    nothing = TileCache(tmp_path / "none", 0)
    nothing.put("u", "s", "k", "n", b"x")
    assert nothing.get("u", "s", "k", "n") is None


def test_a_full_disk_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    cache = TileCache(tmp_path / "file", 10_000)
    cache.put("u", "s", "k", "n", b"x")
    assert cache.get("u", "s", "k", "n") is None


def test_settings() -> None:
    assert type_named("xyz") == "XYZ" and type_named("Wmts") == "WMTS"
    for wrong in ("WCS", None, 3):
        with pytest.raises(OpenEOError) as caught:
            type_named(wrong)
        assert caught.value.code == "ServiceUnsupported"
    assert checked("XYZ", None) == {} == checked("XYZ", {"tile_size": None})
    given = {"TILE_SIZE": 512, "min": [0, 1, 2], "colormap": ["#000", "red"], "maxzoom": 12}
    assert checked("XYZ", given)["tile_size"] == 512
    settings = complete("XYZ", checked("XYZ", given))
    assert (settings["format"], settings["minzoom"], settings["maxzoom"], settings["min"]) == ("png", 0, 12, [0, 1, 2])
    assert checked("WMTS", {"version": "1.0.0"})


@pytest.mark.parametrize(
    ("configuration", "code"),
    [
        ({"nope": 1}, "ServiceConfigUnsupported"),
        ({"version": "1.0.0"}, "ServiceConfigUnsupported"),
        ({"tile_size": 300}, "ServiceConfigInvalid"),
        ({"tile_size": True}, "ServiceConfigInvalid"),
        ({"maxzoom": 99}, "ServiceConfigInvalid"),
        ({"minzoom": 10, "maxzoom": 5}, "ServiceConfigInvalid"),
        ({"format": "webp"}, "ServiceConfigInvalid"),
        ({"colormap": ["#000", "not a colour"]}, "ServiceConfigInvalid"),
        ({"colormap": ["#000", ["a", 1, 2]]}, "ServiceConfigInvalid"),
        ({"stretch": [0, 101]}, "ServiceConfigInvalid"),
        ({"resampling": "sum"}, "ServiceConfigInvalid"),
        ([], "ServiceConfigInvalid"),
        ("x", "ServiceConfigInvalid"),
    ],
)
def test_wrong_settings(configuration: object, code: str) -> None:
    with pytest.raises(OpenEOError) as caught:
        checked("XYZ", configuration)
    assert caught.value.code == code


def test_no_setting_is_required() -> None:
    """The Web Editor's quick view takes the first type that needs none."""
    told = service_types()
    assert list(told) == list(TYPES) and next(iter(told)) == "XYZ"
    assert not any(s["required"] for t in told.values() for s in t["configuration"].values())


def test_labels() -> None:
    labels = ("2024-05-01T10:30:00Z", "2024-05-02T10:30:00Z")
    assert shown_times(labels) == ["2024-05-01", "2024-05-02"]
    assert shown_times((*labels, "2024-05-02T10:40:00Z")) == [*labels, "2024-05-02T10:40:00Z"]
    assert shown_times(("a", "b")) == ["a", "b"] and shown_times(()) == []
    assert label_of(labels, None) is None is label_of(labels, "default")
    assert label_of(labels, "2024-05-02") == labels[1] == label_of(labels, labels[1])
    assert label_of(("2024-05-02T10:30:00.123Z",), "2024-05-02T10:30:00Z") == "2024-05-02T10:30:00.123Z"
    with pytest.raises(OpenEOError) as caught:
        label_of(labels, "2030-01-01")
    assert "2024-05-01 to 2024-05-02" in caught.value.message
    with pytest.raises(OpenEOError):
        label_of((), "2030-01-01")
