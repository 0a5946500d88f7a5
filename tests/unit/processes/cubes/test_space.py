"""Areas, masks, kernels and grids by hand."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
import pytest
import rasterio.warp
import shapely
from odc.geo.geobox import GeoBox
from scipy import ndimage

from processes import cube as cubes
from processes.aggregate.window import aggregate_spatial_window
from processes.apply.kernel import apply_kernel
from processes.apply.ndvi import ndvi
from processes.apply.neighborhood import apply_neighborhood
from processes.apply.polygon import apply_polygon
from processes.blocks import from_blocks
from processes.errors import ProcessError
from processes.filter.spatial import filter_bbox, filter_spatial
from processes.filter.trim import trim_cube
from processes.geometries import pixels_inside
from processes.mask.mask import mask_
from processes.mask.mask_polygon import mask_polygon
from processes.reduce.dimension import reduce_dimension
from processes.resample import warp as warping
from processes.resample.grids import grid_of, target_grid
from processes.resample.spatial import resample_cube_spatial, resample_spatial
from processes.resample.warp import warp
from processes.vector.cube import vector_cube
from tests.unit.processes.cubes.samples import SOUTH, WEST, Make, box, computed, geojson, months, values

MAKE = Make()


def plane(array: Any, make: Make = MAKE, **options: Any) -> Any:
    return make(np.asarray(array), ("y", "x"), **options)


# --- areas ---


def test_bbox_in_degrees_holds_the_pixels_whose_centres_it_holds() -> None:
    cube = plane(np.arange(80, dtype="f4").reshape(8, 10))
    west, south, east, north = rasterio.warp.transform_bounds(32631, 4326, WEST + 10, SOUTH + 10, WEST + 30, SOUTH + 30)
    got = filter_bbox(cube, {"west": west, "south": south, "east": east, "north": north})
    # the projected box is a little larger than the rectangle: it touches no other centre
    np.testing.assert_array_equal(got.values, [[51, 52], [61, 62]])


def test_bbox_beside_the_cube_leaves_nothing_and_keeps_the_dimensions() -> None:
    got = filter_bbox(plane(np.ones((8, 10))), {"west": 16, "south": 48, "east": 17, "north": 49})
    assert dict(got.sizes) == {"y": 0, "x": 0}
    assert cubes.kinds(got) == {"y": cubes.Y, "x": cubes.X}


def test_bbox_that_is_upside_down() -> None:
    with pytest.raises(ProcessError, match="south"):
        filter_bbox(plane(np.ones((8, 10))), {"west": 1, "south": 49, "east": 2, "north": 48})


def test_crop_of_a_crop_is_the_same_pixels() -> None:
    cube = plane(np.arange(80, dtype="f4").reshape(8, 10))
    wide = {"west": WEST + 1, "south": SOUTH + 1, "east": WEST + 79, "north": SOUTH + 79, "crs": 32631}
    narrow = {"west": WEST + 31, "south": SOUTH + 21, "east": WEST + 60, "north": SOUTH + 64, "crs": 32631}
    np.testing.assert_array_equal(filter_bbox(filter_bbox(cube, wide), narrow).values, filter_bbox(cube, narrow).values)


def test_filter_spatial_of_points_and_lines_keeps_the_pixels_they_touch() -> None:
    cube = plane(np.arange(80, dtype="f4").reshape(8, 10))
    point = filter_spatial(cube, geojson(shapely.Point(WEST + 33, SOUTH + 18)))
    np.testing.assert_array_equal(point.values, [[63]])
    line = filter_spatial(cube, geojson(shapely.LineString([(WEST + 2, SOUTH + 2), (WEST + 28, SOUTH + 22)])))
    expected = np.full((3, 3), np.nan)
    expected[[0, 1, 1, 2, 2], [2, 1, 2, 0, 1]] = [52, 61, 62, 70, 71]
    np.testing.assert_array_equal(line.values, expected)


def test_centre_on_an_edge_is_inside_and_on_the_edge_of_a_hole_too() -> None:
    grid = GeoBox.from_bbox((0, 0, 50, 50), "EPSG:32631", resolution=10)
    square = shapely.box(5, 5, 45, 45)
    assert pixels_inside([square], grid).all()
    ring = shapely.Polygon(square.exterior, [shapely.box(15, 15, 35, 35).exterior])
    expected = np.ones((5, 5), bool)
    expected[2, 2] = False
    np.testing.assert_array_equal(pixels_inside([ring], grid), expected)


@pytest.mark.parametrize("seed", range(4))
def test_pixels_inside_random_polygons_are_those_shapely_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radius = rng.uniform(20, 240, 9)
    polygon = shapely.Polygon(np.column_stack([250 + radius * np.cos(angle), 250 + radius * np.sin(angle)]))
    grid = GeoBox.from_bbox((0, 0, 500, 500), "EPSG:32631", resolution=10)
    xs, ys = np.meshgrid(np.arange(50) * 10 + 5, np.arange(50)[::-1] * 10 + 5)
    np.testing.assert_array_equal(pixels_inside([polygon], grid), shapely.intersects_xy(polygon, xs, ys))


@pytest.mark.parametrize(
    "mask",
    [
        {"type": "Polygon"},
        {"type": "FeatureCollection", "features": []},
        {"type": "Point", "coordinates": [2, 48]},
        {"type": "Nonsense"},
        7,
    ],
)
def test_masks_that_are_no_polygons(mask: Any) -> None:
    with pytest.raises(ProcessError) as error:
        mask_polygon(plane(np.ones((8, 10))), mask)
    assert error.value.code == "ProcessParameterInvalid"


def test_polygons_of_a_vector_cube_serve_as_well() -> None:
    cube = plane(np.ones((8, 10), "f4"))
    area = box(0, 0, 50, 40)
    got = mask_polygon(cube, vector_cube([area, shapely.Polygon()], 32631))
    np.testing.assert_array_equal(got.values, mask_polygon(cube, geojson(area)).values)
    assert np.isfinite(got.values).sum() == 20


def test_bbox_keeps_the_geometries_that_lie_within() -> None:
    held = vector_cube([box(0, 0, 10, 10), box(5, 5, 30, 30), shapely.Polygon()], 32631)
    extent = {"west": WEST, "south": SOUTH, "east": WEST + 20, "north": SOUTH + 20, "crs": 32631}
    assert list(filter_bbox(held, extent).coords["geometry"].values) == [box(0, 0, 10, 10)]


# --- masks ---


@pytest.mark.parametrize(
    ("dtype", "nodata", "replacement", "out", "first"),
    [
        ("f4", None, None, "f4", np.nan),
        ("f8", None, 3, "f8", 3),
        ("u1", 255, None, "u1", 255),
        ("u1", None, None, "f4", np.nan),
        ("i4", None, None, "f8", np.nan),
        ("u1", 255, -1, "i2", -1),
        ("u1", 255, 7, "u1", 7),
        ("u1", 255, 0.5, "f4", 0.5),
        ("?", None, True, "?", 1),
        ("?", None, None, "f4", np.nan),
    ],
)
def test_mask_keeps_the_dtype_that_holds_the_replacement(
    dtype: str, nodata: Any, replacement: Any, out: str, first: float
) -> None:
    cube = plane(np.zeros((2, 2), dtype), nodata=nodata)
    got = mask_(cube, plane(np.array([[1, 0], [0, 0]], "u1")), replacement)
    assert got.dtype == np.dtype(out)
    np.testing.assert_array_equal(got.values, np.array([[first, 0], [0, 0]], out))
    assert got.attrs.get("nodata") == (nodata if out[0] in "ui" else None)


def test_mask_replacement_that_is_text() -> None:
    with pytest.raises(ProcessError, match="ProcessParameterInvalid"):
        mask_(plane(np.ones((2, 2))), plane(np.ones((2, 2))), "cloud")


def test_nodata_of_the_mask_masks_nothing() -> None:
    cube = plane(np.ones((1, 3), "f4"))
    got = mask_(cube, plane(np.array([[255, 1, 0]], "u1"), nodata=255))
    np.testing.assert_array_equal(got.values, [[1, np.nan, 1]])
    got = mask_(cube, plane(np.array([[np.nan, 2, 0]], "f4")))
    np.testing.assert_array_equal(got.values, [[1, np.nan, 1]])


def test_mask_with_labels_in_another_order_is_put_in_order() -> None:
    cube = MAKE(np.zeros((1, 3, 1, 1), "f4"))
    mask = MAKE(np.array([0, 1, 0], "u1").reshape(1, 3, 1, 1), bands=("B3", "B1", "B2"))
    np.testing.assert_array_equal(mask_(cube, mask).values.ravel(), [np.nan, 0, 0])


def test_masks_that_do_not_fit() -> None:
    cube = MAKE(np.zeros((1, 1, 2, 2), "f4"))
    for mask in (
        MAKE(np.zeros((2, 1, 2, 2), "u1")),
        MAKE(np.zeros((1, 1, 2, 2), "u1"), bands=("B9",)),
        MAKE(np.zeros((1, 1, 2, 2), "u1")).rename(bands="other"),
    ):
        with pytest.raises(ProcessError, match="IncompatibleDataCubes"):
            mask_(cube, mask)


# --- neighbours ---


@pytest.mark.parametrize("chunking", ["numpy", "rows", "everything"])
@pytest.mark.parametrize(
    ("border", "mode"),
    [("replicate", "nearest"), ("reflect", "reflect"), ("reflect_pixel", "mirror"), ("wrap", "wrap"), (3, "constant")],
)
@pytest.mark.parametrize("shape", [(3, 5), (13, 1), (1, 9)])
def test_kernel_is_the_correlation_of_scipy(chunking: str, border: Any, mode: str, shape: tuple[int, int]) -> None:
    kernel = np.random.default_rng(0).normal(size=shape)
    v = values((2, 2, 8, 10), holes=0)
    got = computed(apply_kernel(Make(chunking)(v), kernel.tolist(), border=border, factor=2))
    cval = border if mode == "constant" else 0
    expected = 2 * ndimage.correlate(v.astype("f8"), kernel[None, None], mode=mode, cval=cval)
    np.testing.assert_allclose(got.values, expected, rtol=1e-4, atol=1e-4)


def test_kernel_counts_invalid_values_as_asked() -> None:
    v = np.array([[1, np.nan, np.inf, 2]], "f4")
    np.testing.assert_array_equal(apply_kernel(plane(v), [[1, 1, 1]]).values, [[1, 1, 2, 2]])
    np.testing.assert_array_equal(apply_kernel(plane(v), [[1, 1, 1]], replace_invalid=5).values, [[6, 11, 12, 7]])


def test_kernel_of_integers_with_a_border_outside_their_range() -> None:
    got = apply_kernel(plane(np.array([[1, 255, 3]], "u1"), nodata=255), [[1, 1, 1]], border=-1)
    np.testing.assert_array_equal(got.values, [[0, 4, 2]])
    # a border equal to the fill value is a number, not nodata
    got = apply_kernel(plane(np.array([[1, 255, 3]], "u1"), nodata=255), [[1, 1, 1]], border=255)
    np.testing.assert_array_equal(got.values, [[256, 4, 258]])


@pytest.mark.parametrize("kernel", [[[1, 2]], [[1], [2]], [[1, 2, 3], [1]], [1, 2, 3], []])
def test_kernels_that_are_none(kernel: Any) -> None:
    with pytest.raises(ProcessError):
        apply_kernel(plane(np.ones((3, 3))), kernel)


def test_neighborhood_windows_are_equally_large_and_continue_the_coordinates() -> None:
    seen = []

    def look(data: Any, context: Any = None) -> Any:
        seen.append((data.shape, float(data.coords["x"][0]), float(data.coords["y"][0])))
        return data

    cube = plane(np.arange(20, dtype="f4").reshape(4, 5))
    size = [{"dimension": "x", "value": 3, "unit": "px"}, {"dimension": "y", "value": 4, "unit": "px"}]
    got = apply_neighborhood(cube, look, size, [{"dimension": "x", "value": 1, "unit": "px"}])
    np.testing.assert_array_equal(got.values, cube.values)
    assert seen == [((4, 5), WEST - 5, SOUTH + 35), ((4, 5), WEST + 25, SOUTH + 35)]


def test_neighborhood_of_a_time_series_is_a_labelled_array() -> None:
    cube = MAKE(np.arange(4, dtype="f4").reshape(4, 1, 1, 1)).isel(bands=0, y=0, x=0, drop=True)
    cube.attrs["dims"] = {"t": cubes.TEMPORAL}
    got = apply_neighborhood(cube, lambda data, context: data.values + len(data), [{"dimension": "t", "value": "P2M"}])
    np.testing.assert_array_equal(got.values, [2, 3, 4, 5])


def test_neighborhood_callback_that_changes_the_shape() -> None:
    size = [{"dimension": "x", "value": 2, "unit": "px"}]
    with pytest.raises(ProcessError, match="DataCubePropertiesImmutable"):
        apply_neighborhood(plane(np.ones((4, 4), "f4")), lambda data, context: data[:1], size)
    with pytest.raises(ProcessError, match="DimensionNotAvailable"):
        apply_neighborhood(plane(np.ones((4, 4), "f4")), lambda data, context: data, [{"dimension": "z", "value": 1}])


def test_apply_polygon_hands_over_the_mask_value_and_refuses_overlaps() -> None:
    cube = plane(np.ones((8, 10), "f4"))
    seen = []

    def look(data: Any, context: Any = None) -> Any:
        seen.append(data.values.copy())
        return data * 3

    got = apply_polygon(
        cube,
        geojson(shapely.Polygon([(WEST + 0.5, SOUTH + 0.5), (WEST + 19.9, SOUTH + 0.5), (WEST + 1, SOUTH + 19.9)])),
        look,
        -7,
    )
    np.testing.assert_array_equal(seen[0], [[1, -7], [1, 1]])
    assert (got.values == 3).sum() == 3
    assert (got.values == -7).sum() == 77
    with pytest.raises(ProcessError, match="GeometriesOverlap"):
        apply_polygon(cube, geojson(box(0, 0, 50, 50), box(42, 42, 90, 70)), look)
    # polygons that share an edge between centres share no pixel
    apply_polygon(cube, geojson(box(0, 0, 50, 50), box(50, 0, 90, 50)), look)


@pytest.mark.parametrize(
    ("boundary", "align", "x", "expected"),
    [
        ("pad", "upper-left", [10, 30, 50], [[3, 5, 6]]),
        ("pad", "upper-right", [0, 20, 40], [[1, 5, 6]]),
        ("trim", "lower-right", [20, 40], [[5, 6]]),
        ("trim", "upper-left", [10, 30], [[3, 5]]),
    ],
)
def test_windows_and_their_labels(boundary: str, align: str, x: list[float], expected: Any) -> None:
    cube = plane(np.array([[1, 3, 5, 5, 6]], "u1"))
    got = aggregate_spatial_window(cube, lambda data, context: np.nanmax(data.values, 0), [2, 1], boundary, align)
    np.testing.assert_array_equal(got.values, expected)
    np.testing.assert_array_equal(got.coords["x"].values - WEST, x)


@pytest.mark.parametrize(
    "options", [{"size": [0, 2]}, {"size": [1]}, {"size": [2, 2], "boundary": "x"}, {"size": [2, 2], "align": "x"}]
)
def test_windows_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(ProcessError, match="ProcessParameterInvalid"):
        aggregate_spatial_window(plane(np.ones((4, 4))), lambda data, context: data.values.max(0), **options)


# --- grids ---


@pytest.mark.parametrize(
    ("align", "left", "top"),
    [("upper-left", 0, 80), ("upper-right", -20, 80), ("lower-left", 0, 90), ("lower-right", -20, 90)],
)
def test_new_grid_starts_at_the_corner_asked_for(align: str, left: float, top: float) -> None:
    grid = target_grid(grid_of(plane(np.ones((8, 10)))), 30, None, align)
    assert tuple(grid.shape) == (3, 4)
    assert (grid.affine.c - WEST, grid.affine.f - SOUTH) == (left, top)


def test_new_projection_is_anchored_so_that_parts_get_the_same_pixels() -> None:
    cube = plane(values((40, 40), holes=0))
    whole = resample_spatial(cube, 10, 32632)
    part = resample_spatial(cube.isel(x=slice(7, 33), y=slice(5, 31)), 10, 32632)
    inner = part.isel(x=slice(6, -6), y=slice(6, -6))
    same = whole.sel(x=inner.coords["x"], y=inner.coords["y"])
    np.testing.assert_array_equal(inner.values, same.values)
    assert (part.coords["x"].values - 5) % 10 == pytest.approx(0)


@pytest.mark.parametrize("method", list(warping.METHODS))
@pytest.mark.parametrize("projection", [None, 32632])
def test_resampling_is_that_of_gdal_whatever_the_chunks(
    method: str, projection: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warping, "TILE", 8)
    v = np.cumsum(np.cumsum(values((1, 1, 40, 44), holes=0), axis=2), axis=3)
    plain = resample_spatial(MAKE(v), 25, projection, method)
    lazy = resample_spatial(Make("everything")(v), 25, projection, method)
    assert len(lazy.chunks[2]) > 1
    done = computed(lazy).values
    np.testing.assert_array_equal(done, plain.values)
    source, target = grid_of(MAKE(v)), grid_of(plain)
    reference = np.full(target.shape, np.nan, "f4")
    rasterio.warp.reproject(
        v[0, 0],
        reference,
        src_transform=source.affine,
        src_crs=str(source.crs),
        src_nodata=np.nan,
        dst_transform=target.affine,
        dst_crs=str(target.crs),
        dst_nodata=np.nan,
        resampling=warping.METHODS[method],
    )
    both = np.isfinite(reference) & np.isfinite(done[0, 0])
    assert both.mean() > (0.85 if projection is None else 0.6)
    assert (np.isfinite(reference) != np.isfinite(done[0, 0])).mean() < 0.05
    difference = np.abs(done[0, 0] - reference)[both]
    assert np.median(difference) < 0.02 * np.nanstd(reference)


def test_nearest_between_projections_is_the_pixel_that_holds_the_centre() -> None:
    v = np.arange(40 * 40, dtype="f4").reshape(40, 40)
    cube = plane(v)
    got = resample_spatial(cube, 7, 32632)
    source, target = grid_of(cube), grid_of(got)
    xs, ys = np.meshgrid(got.coords["x"].values, got.coords["y"].values)
    px, py = rasterio.warp.transform(str(target.crs), str(source.crs), xs.ravel(), ys.ravel())
    col = np.floor((np.array(px) - WEST) / 10).astype(int)
    row = np.floor((SOUTH + 400 - np.array(py)) / 10).astype(int)
    inside = (col >= 0) & (col < 40) & (row >= 0) & (row < 40)
    expected = np.where(inside, v[np.where(inside, row, 0), np.where(inside, col, 0)], np.nan)
    wrong = ~((got.values.ravel() == expected) | (np.isnan(expected) & np.isnan(got.values.ravel())))
    assert wrong.mean() < 1e-3


def test_nan_of_one_band_does_not_reach_another() -> None:
    v = np.ones((1, 2, 8, 8), "f4")
    v[0, 0] = np.nan
    got = resample_spatial(MAKE(v), 20, method="bilinear").values
    assert np.isnan(got[0, 0]).all()
    assert np.isfinite(got[0, 1]).all()


def test_classes_stay_classes() -> None:
    cube = plane(np.array([[1, 2, 3, 255], [1, 2, 3, 255]], "u1"), nodata=255)
    near = resample_spatial(cube, 20)
    assert near.dtype == np.uint8
    np.testing.assert_array_equal(near.values, [[2, 255]])
    larger = plane(np.zeros((4, 4), "u1"))
    around = resample_cube_spatial(cube, larger)
    assert around.dtype == np.uint8
    np.testing.assert_array_equal(around.values[:2], 255)
    averaged = resample_spatial(cube, 20, method="average")
    assert averaged.dtype == np.float32
    np.testing.assert_array_equal(averaged.values, [[1.5, 3]])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resolution": -1},
        {"resolution": "x"},
        {"resolution": 10, "projection": "nowhere"},
        {"resolution": 10, "align": "x"},
        {"resolution": 3, "method": "x"},
    ],
)
def test_resampling_that_is_not_possible(options: dict[str, Any]) -> None:
    with pytest.raises(ProcessError, match="ProcessParameterInvalid"):
        resample_spatial(plane(np.ones((4, 4))), **options)


def test_resampling_onto_its_own_grid_changes_nothing() -> None:
    cube = plane(values((8, 10)))
    assert warp(cube, grid_of(cube), grid_of(cube)) is cube


# --- reading ---


def test_load_mask_index_and_reducer_are_one_task_per_block() -> None:
    def read(location: Any) -> np.ndarray:
        return np.ones([b - a for a, b in location], "f4")

    chunks = ((6,), (2,), (4, 4), (5, 5))
    coords = {
        "t": months(6),
        "bands": ["B1", "B2"],
        "y": SOUTH + 75 - 10 * np.arange(8),
        "x": WEST + 5 + 10 * np.arange(10),
    }
    info = {"B1": {"common_name": "red"}, "B2": {"common_name": "nir"}}
    data = cubes.cube(
        from_blocks(read, (6, 2, 8, 10), chunks, "f4"), ("t", "bands", "y", "x"), coords, crs=32631, band_info=info
    )
    flags = from_blocks(lambda location: read(location) > 2, (6, 8, 10), (chunks[0], *chunks[2:]), bool)
    clouds = cubes.cube(flags, ("t", "y", "x"), {k: coords[k] for k in ("t", "y", "x")}, crs=32631)
    result = reduce_dimension(ndvi(mask_(data, clouds)), lambda data, context: np.nanmedian(data.values, 0), "t")
    (optimised,) = dask.optimize(result)
    work = [k for k in dict(optimised.__dask_graph__()) if "block" in str(k)]
    assert len(work) == 4, "loading, masking, ndvi and the median of a block should be one task"


def test_trim_cube_reads_once_and_stays_lazy() -> None:
    reads = []

    def read(location: Any) -> np.ndarray:
        reads.append(location)
        out = np.ones([b - a for a, b in location], "f4")
        out[0] = np.nan
        return out

    data = cubes.cube(
        from_blocks(read, (2, 4, 4), ((2,), (2, 2), (4,)), "f4"),
        ("t", "y", "x"),
        {"t": months(2), "y": SOUTH + 35 - 10 * np.arange(4), "x": WEST + 5 + 10 * np.arange(4)},
        crs=32631,
    )
    got = trim_cube(data)
    assert len(reads) == 2
    assert got.sizes["t"] == 1
    assert got.chunks is not None
