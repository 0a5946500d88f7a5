"""Tiles show the right pixels: against the exact projection, against GDAL, against the graph's own resampling."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.warp import reproject

from backend.errors import OpenEOError
from backend.graph.run import execute
from backend.services.layer import Layer
from backend.services.mercator import Block, Tile, range_of, resolution
from backend.services.messages import About, Encoding
from processes.load import kept
from tests.unit.backend.services.conftest import (
    COLLECTION,
    CRS,
    NORTH,
    SIZE,
    STEP,
    WEST,
    call,
    graph,
    load,
    ref,
)

PNG = Encoding()
NATIVE = 14  # the zoom whose pixels (about 7 m on the ground) are next below the data's 10 m
MEDIAN = {"process_graph": {"m": call("median", True, data={"from_parameter": "data"})}}
DAY_0 = ["2024-05-01", "2024-05-02"]
RED = graph(load=load(["B04"], DAY_0), save=call("save_result", True, data=ref("load"), format="PNG"))


def composite(**more: Any) -> dict[str, Any]:
    """NDVI, median over the dates."""
    return graph(
        load=load(["B04", "B08"]),
        ndvi=call("ndvi", data=ref("load")),
        median=call("reduce_dimension", not more, data=ref("ndvi"), dimension="t", reducer=MEDIAN),
        **more,
    )


def centres(grid: Any) -> tuple[np.ndarray, np.ndarray]:
    """Column and row (fractional) of the data under the centres of a grid's pixels, by the exact projection."""
    rows, cols = np.mgrid[: grid.shape[0], : grid.shape[1]] + 0.5
    x, y = Transformer.from_crs("EPSG:3857", CRS, always_xy=True).transform(*(grid.affine * (cols, rows)))
    return (x - WEST) / STEP, (NORTH - y) / STEP


def blocks(about: About, zoom: int) -> list[Block]:
    first_col, last_col, first_row, last_row = range_of(zoom, about.bounds)
    tiles = [Tile(zoom, x, y) for y in range(first_row, last_row + 1) for x in range(first_col, last_col + 1)]
    return list(dict.fromkeys(t.block() for t in tiles))


def middle(about: About, zoom: int) -> Block:
    """The block that holds the middle of the data."""
    west, south, east, north = about.bounds
    x, y = (west + east) / 2, (south + north) / 2
    col, _, row, _ = range_of(zoom, (x, y, x, y))
    return Tile(zoom, col, row).block()


def values(layer: Layer, grid: Any, about: About, time: str | None = None) -> np.ndarray:
    held = layer._pixels(grid, about, time)
    assert held is not None
    return held[0]


def test_a_tile_holds_the_pixel_under_each_centre(layer: Any, archive: Any) -> None:
    shown = layer(RED, min=0, max=255)
    about = shown.about()
    checked = 0
    for block in blocks(about, NATIVE):
        col, row = centres(block.grid)
        inside = (col >= 0) & (col < SIZE) & (row >= 0) & (row < SIZE)
        if not inside.any():
            continue
        got = values(shown, block.grid, about)[0]
        c, r = (np.clip(np.floor(v).astype(int), 0, SIZE - 1) for v in (col, row))
        wanted = np.where(inside, archive[0, "B04"][r, c], np.nan)
        # a centre within 0.01 pixels of an edge may fall to either side
        near = np.minimum(np.abs(col - np.rint(col)), np.abs(row - np.rint(row))) < 0.011
        same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
        assert same[~near].all()
        assert same.mean() > 0.99
        checked += 1
    assert checked > 10


def test_a_tile_equals_gdal(layer: Any, files: Path) -> None:
    shown = layer(RED, min=0, max=255)
    about = shown.about()
    grid = middle(about, NATIVE).grid
    wanted = np.zeros((512, 512), "i2")
    with rasterio.open(files / "B04_0.tif") as source:
        reproject(rasterio.band(source, 1), wanted, dst_transform=grid.affine, dst_crs="EPSG:3857", tolerance=0,
                  resampling=Resampling.nearest)  # fmt: skip
    got = values(shown, grid, about)[0]
    col, row = centres(grid)
    # GDAL's way from one projection to the other is up to 0.025 pixels from PROJ's own
    near = np.minimum(np.abs(col - np.rint(col)), np.abs(row - np.rint(row))) < 0.03
    assert (got == wanted)[~near].all() and (got == wanted).mean() > 0.97
    assert abs((got - wanted).mean()) < 0.2


def test_no_shift_between_pixels(layer: Any, archive: Any) -> None:
    """Interpolated, a ramp is the ramp at the centre of each pixel: half a pixel off would be 4 numbers."""
    shown = layer(RED, "bilinear", min=0, max=255)
    about = shown.about()
    grid = middle(about, NATIVE + 2).grid
    col, row = centres(grid)
    wanted = (col - 0.5) + 7 * (row - 0.5) + 1
    assert np.abs(values(shown, grid, about)[0] - wanted).max() < 0.1


@pytest.mark.parametrize("zoom", [NATIVE - 1, NATIVE - 2, NATIVE - 3])
def test_overviews_do_not_shift(layer: Any, zoom: int) -> None:
    shown = layer(RED, min=0, max=255)
    about = shown.about()
    grid = middle(about, zoom).grid
    col, row = centres(grid)
    step = resolution(zoom) / about.metres
    inside = (col > 4 * step) & (col < SIZE - 4 * step) & (row > 4 * step) & (row < SIZE - 4 * step)
    error = (values(shown, grid, about)[0] - ((col - 0.5) + 7 * (row - 0.5) + 1))[inside]
    assert inside.sum() > 1000
    assert np.abs(error).max() <= 8 * step  # no pixel is further than the overview's own
    assert abs(error.mean()) < 0.5  # and together they lie where they belong


def test_files_of_tiles(layer: Any, archive: Any) -> None:
    shown = layer(RED, min=0, max=9973)
    about = shown.about()
    block = middle(about, NATIVE)
    pixels = values(shown, block.grid, about)[0]
    images = shown.draw(block, about, None, PNG)
    assert len(images) == 4
    for n, data in enumerate(images):
        part = pixels[256 * (n // 2) : 256 * (n // 2 + 1), 256 * (n % 2) : 256 * (n % 2 + 1)]
        image = Image.open(io.BytesIO(data))
        assert (image.size, image.mode) == ((256, 256), "L")
        assert (np.asarray(image) == np.rint(part / 9973 * 255)).all()


def test_neighbours_make_one_picture(layer: Any, tmp_path: Path, catalogue: Any) -> None:
    """Tiles side by side equal one large rendering, and what the graph itself resamples to that grid."""
    shown = layer(composite(), min=-1, max=1)
    about = shown.about()
    col, _, row, _ = range_of(NATIVE, about.bounds)
    tiles = [Tile(NATIVE, col + 1 + i, row + 1 + j) for j in range(4) for i in range(4)]
    single = {}
    for block in dict.fromkeys(t.block() for t in tiles):
        single |= dict(zip(block.tiles, shown.draw(block, about, None, PNG)))
    arrays = [np.asarray(Image.open(io.BytesIO(single[t]))) for t in tiles]
    mosaic = np.block([[arrays[4 * j + i] for i in range(4)] for j in range(4)])
    step = resolution(NATIVE)
    west, north = tiles[0].bounds[0], tiles[0].bounds[3]
    large = {"process_id": "resample_spatial", "arguments": {"data": ref("median"), "resolution": step,
             "projection": 3857, "method": "near"}}  # fmt: skip
    process = composite(
        large=large, save=call("save_result", True, data=ref("large"), format="GTiff", options={"overviews": "none"})
    )
    (asset,) = execute(process, shown.env, tmp_path, parameters={})
    with rasterio.open(asset.path) as file:
        assert file.crs.to_epsg() == 3857
        off_x, off_y = (west - file.transform.c) / step, (file.transform.f - north) / step
        assert abs(off_x - round(off_x)) < 1e-6 > abs(off_y - round(off_y))
        whole = file.read(1)[round(off_y) : round(off_y) + 1024, round(off_x) : round(off_x) + 1024]
    wanted = np.rint(np.clip((whole + 1) / 2, 0, 1) * 255)
    different = mosaic != wanted
    assert different.mean() < 2e-3  # centres within 0.01 pixels of an edge
    seams = np.zeros(mosaic.shape, bool)
    seams[:, 255::256] = seams[:, 256::256] = seams[255::256] = seams[256::256] = True
    assert different[seams].mean() < 4e-3


@pytest.mark.parametrize("zoom", [NATIVE, NATIVE - 2])
def test_kept_blocks_of_files_change_no_tile(layer: Any, zoom: int, monkeypatch: Any) -> None:
    """With and without a memory for blocks that were unpacked; drawn again from that memory."""
    shown = layer(RED, min=0, max=9973)
    about = shown.about()

    def drawn() -> list[list[bytes | None]]:
        return [shown.draw(b, about, None, PNG) for b in blocks(about, zoom)[:6]]

    monkeypatch.setattr(kept, "KEPT", kept.Kept(0))
    wanted = drawn()
    assert sum(image is not None for images in wanted for image in images) > 3
    kept.allow(64 << 20)
    assert drawn() == wanted and drawn() == wanted


def test_a_file_that_changes_is_read_again(layer: Any, files: Path, catalogue: Any, monkeypatch: Any) -> None:
    """Also by a process that keeps blocks and open files: it looks at the time of the last change."""
    monkeypatch.setattr(kept, "KEPT", kept.Kept(64 << 20))
    shown = layer(RED, min=0, max=9973)
    about = shown.about()
    block = middle(about, NATIVE)
    before = values(shown, block.grid, about)
    path = files / "B04_0.tif"
    original = path.read_bytes()
    try:
        with rasterio.open(path, "r+") as file:
            file.write(np.full(file.shape, 4321, "i2"), 1)
        after = values(shown, block.grid, about)
    finally:
        path.write_bytes(original)
    assert (after == np.float32(4321)).all() and not (before == np.float32(4321)).all()
    assert (values(shown, block.grid, about) == before).all()


def test_double_resolution_shows_the_same_area(layer: Any, archive: Any) -> None:
    shown = layer(RED, min=0, max=9973)
    about = shown.about()
    tile = middle(about, NATIVE).tiles[0]
    double = Tile(tile.z, tile.x, tile.y, 512)
    (data,) = shown.draw(double.block(), about, None, PNG)
    image = Image.open(io.BytesIO(data))
    col, row = centres(double.block().grid)
    assert image.size == (512, 512)
    wanted = archive[0, "B04"][np.floor(row).astype(int), np.floor(col).astype(int)]
    assert (np.asarray(image) == np.rint(wanted / 9973 * 255)).mean() > 0.99


def test_beside_the_data_tiles_are_transparent(layer: Any) -> None:
    shown = layer(RED, min=0, max=9973)
    about = shown.about()
    corner = blocks(about, NATIVE)[0]
    images = shown.draw(corner, about, None, PNG)
    held = next(i for i in images if i is not None)
    alpha = np.asarray(Image.open(io.BytesIO(held)).convert("LA"))[..., 1]
    col, row = centres(corner.grid)
    n = images.index(held)
    inside = ((col >= 0) & (row >= 0))[256 * (n // 2) :][:256, 256 * (n % 2) :][:, :256]
    assert ((alpha == 255) == inside).mean() > 0.99 and 0 < inside.mean() < 1
    assert shown.draw(Tile(NATIVE, 0, 0).block(), about, None, PNG) == [None] * 4
    black = [i for i in shown.draw(corner, about, None, Encoding("jpeg", 90)) if i is not None]
    assert Image.open(io.BytesIO(black[0])).mode == "L"


def test_dates(layer: Any, archive: Any) -> None:
    shown = layer(graph(load=load(["B08"]) | {"result": True}), min=0, max=255)
    about = shown.about()
    assert about.dated and [t[:10] for t in about.times] == ["2024-05-01", "2024-05-02", "2024-05-03"]
    grid = middle(about, NATIVE).grid
    col, row = (np.floor(v).astype(int) for v in centres(grid))
    for day, label in ((0, None), (0, about.times[0]), (2, about.times[2])):
        got = values(shown, grid, about, label)
        assert got.shape == (1, 512, 512)
        assert (got[0] == archive[day, "B08"][row, col]).mean() > 0.99
    named = graph(
        load=load(["B08"]),
        named=call(
            "aggregate_temporal",
            True,
            data=ref("load"),
            reducer=MEDIAN,
            labels=["a", "b", "c"],
            intervals=[[f"2024-05-0{n}", f"2024-05-0{n + 1}"] for n in (1, 2, 3)],
        ),
    )
    shown = layer(named, min=0, max=255)
    about = shown.about()
    assert about.times == ("a", "b", "c") and not about.dated
    assert (values(shown, grid, about, "b")[0] == archive[1, "B08"][row, col]).mean() > 0.99


def test_one_stretch_for_all_tiles(layer: Any) -> None:
    about = layer(RED).about()
    # of c + 7 r the share sqrt(2 * 0.02 * 1200 * 8400) from either end of 1 ... 9593
    assert 600 < about.low[0] < 670 and 8930 < about.high[0] < 9000
    again = layer(RED).about()
    assert again == about
    small = layer(RED, max_pixels=300_000).about()  # too few for the whole: windows
    assert abs(small.low[0] - about.low[0]) < 2000 and small.high[0] > 7000
    half = layer(RED, min=5).about()
    assert half.low == (5.0,) and half.high == about.high


def test_options_of_the_graph_and_of_the_service(layer: Any) -> None:
    saved = graph(
        load=load(["B04", "B08"], DAY_0),
        save=call("save_result", True, data=ref("load"), format="PNG",
                  options={"bands": ["B04"], "min": 0, "max": 10, "colormap": ["#000000", "#ff0000"]}),
    )  # fmt: skip
    shown = layer(saved, max=9973)
    about = shown.about()
    assert (about.low, about.high) == ((0.0,), (9973.0,))
    image = Image.open(io.BytesIO(shown.draw(middle(about, NATIVE), about, None, PNG)[0]))
    assert image.mode == "RGB"
    red, green, _ = np.moveaxis(np.asarray(image), -1, 0)
    assert red.max() > 50 and green.max() == 0


def test_masks_with_other_reach_go_together(layer: Any, archive: Any) -> None:
    """A kernel works on the data's own pixels; what it is merged with then does too."""
    kernel = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    mixed = graph(
        red=load(["B04"], DAY_0),
        nir=load(["B08"], DAY_0),
        same=call("apply_kernel", data=ref("nir"), kernel=kernel),
        both=call("merge_cubes", True, cube1=ref("red"), cube2=ref("same")),
    )
    shown = layer(mixed, bands=["B08"], min=0, max=255)
    about = shown.about()
    grid = middle(about, NATIVE).grid
    col, row = (np.floor(v).astype(int) for v in centres(grid))
    assert (values(shown, grid, about)[0] == archive[0, "B08"][row, col]).mean() > 0.99


def test_what_cannot_be_shown_is_told(layer: Any) -> None:
    def problem(process: dict[str, Any], **options: Any) -> OpenEOError:
        with pytest.raises(OpenEOError) as caught:
            layer(process, **options).about()
        return caught.value

    assert problem(graph(a=call("add", True, x=1, y=2))).code == "FormatUnsuitable"
    assert problem(graph(a=load(["B04", "B08"]) | {"result": True})).code == "FormatUnsuitable"  # two bands
    assert problem(graph(a=load(["B99"]) | {"result": True})).code == "ProcessParameterInvalid"
    assert problem(graph(a=load(["B04"], ["1999-01-01", "1999-02-01"]) | {"result": True})).code == "NoDataAvailable"
    assert problem(RED, bands=["B08"]).code == "FormatUnsuitable"
    cycle = graph(a=call("add", True, x=ref("a"), y=2))
    assert problem(cycle).code == "ProcessGraphInvalid"


def test_effects_belong_into_jobs(layer: Any) -> None:
    process = graph(
        load=load(["B04"]),
        export=call("export_workspace", True, data=ref("load"), workspace="w", merge="m"),
    )
    with pytest.raises(OpenEOError) as caught:
        layer(process)
    assert caught.value.code in ("ProcessGraphInvalid", "ProcessUnsupported")


def test_too_much_for_one_block_is_refused(layer: Any) -> None:
    kernel = {"process_id": "apply_kernel", "arguments": {"data": ref("load"), "kernel": [[1]]}, "result": True}
    shown = layer(graph(load=load(["B04"], DAY_0), kernel=kernel), max_pixels=500_000, min=0, max=1)
    about = shown.about()
    assert shown.draw(middle(about, NATIVE), about, None, PNG)[0] is not None
    with pytest.raises(OpenEOError) as caught:  # at the data's own pixels, for the kernel's sake
        shown.draw(middle(about, NATIVE - 3), about, None, PNG)
    assert caught.value.code == "ProcessGraphComplexity" and "Zoom in" in caught.value.message


def test_one_source_may_end_within_the_map(layer: Any, catalogue: Any, archive: Any) -> None:
    """Where one of two collections has nothing, the other one still shows."""
    import copy

    from shapely.geometry import box, mapping

    west = copy.deepcopy(catalogue.collections[COLLECTION][0])
    west.geometry, west.bbox = mapping(box(-10, 0, -9.9, 0.1)), [-10, 0, -9.9, 0.1]
    catalogue.collections["ELSEWHERE"] = [west]
    two = graph(
        a=load(["B04"], DAY_0),
        b=load(["B08"], DAY_0, id="ELSEWHERE"),
        both=call("merge_cubes", True, cube1=ref("a"), cube2=ref("b")),
    )
    shown = layer(two, bands=["B04"], min=0, max=255)
    about = layer(RED, min=0, max=255).about()
    grid = middle(about, NATIVE).grid
    col, row = (np.floor(v).astype(int) for v in centres(grid))
    assert (values(shown, grid, about)[0] == archive[0, "B04"][row, col]).mean() > 0.99
