"""load_collection against rasterio + numpy on the same files, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine

from processes import blocks, cube
from processes.demand import Demand
from processes.env import Env, Limits
from processes.errors import ProcessError
from processes.load import source
from processes.load.load_collection import load_collection
from tests.unit.processes.load.conftest import MemoryCatalogue, make_item, write_raster

UTM31, UTM32 = "EPSG:32631", "EPSG:32632"
RED = {"name": "B04", "eo:common_name": "red", "raster:scale": 1e-4, "tuile:offset_dn": 0, "tuile:kind": "reflectance"}
SWIR = {**RED, "name": "B11", "eo:common_name": "swir16"}
X0, Y0 = 600000, 4900000


def random_dn(shape, seed=0, holes=0.1):
    rng = np.random.default_rng(seed)
    dn = rng.integers(0, 10000, shape).astype("i2")
    dn[rng.random(shape) < holes] = -10000
    return dn


def reflectance(dn):
    return np.where(dn == -10000, np.float32("nan"), (dn.astype("f4") + np.float32(0)) * np.float32(1e-4))


@pytest.fixture
def scene(tmp_path):
    """Two dates; a 10 m band and a 20 m band shifted by (-10 m, +10 m), and a bit mask."""
    items, truth = [], {}
    for n, day in enumerate(("2024-06-01T10:50:00", "2024-06-11T10:50:00")):
        dn10, dn20 = random_dn((200, 220), n), random_dn((100, 110), 10 + n)
        bits = np.random.default_rng(20 + n).integers(0, 256, (200, 220)).astype("u1")
        files = {
            "B04": (write_raster(tmp_path / f"{n}b4.tif", dn10, Affine(10, 0, X0, 0, -10, Y0), UTM31, -10000), [RED]),
            "B11": (write_raster(tmp_path / f"{n}b11.tif", dn20, Affine(20, 0, X0 - 10, 0, -20, Y0 + 10), UTM31, -10000), [SWIR]),
            "CLM": (write_raster(tmp_path / f"{n}clm.tif", bits, Affine(10, 0, X0, 0, -10, Y0), UTM31),
                    [{"name": "CLM", "tuile:kind": "class"}, {"name": "CLOUD", "tuile:decode": {"any_bits": 2}},
                     {"name": "HIGH", "tuile:decode": {"all_bits": 129}}]),
        }  # fmt: skip
        items.append(make_item(f"P{n}", day, files, platform="sentinel-2a"))
        truth[n] = (dn10, dn20, bits)
    return MemoryCatalogue({"S2": items}), truth


def window(x, y, w, h):
    return {
        "west": X0 + x * 10,
        "east": X0 + (x + w) * 10,
        "north": Y0 - y * 10,
        "south": Y0 - (y + h) * 10,
        "crs": UTM31,
    }


def test_equals_rasterio_bit_for_bit_on_the_source_grid(scene):
    catalogue, truth = scene
    data = load_collection("S2", window(30, 40, 100, 90), None, ["red"], env=Env(catalogue))
    assert data.dims == ("t", "bands", "y", "x") and data.dtype == np.float32
    assert cube.geobox_of(data).affine == Affine(10, 0, X0 + 300, 0, -10, Y0 - 400)
    for n in (0, 1):
        np.testing.assert_array_equal(data.values[n, 0], reflectance(truth[n][0])[40:130, 30:130])


def test_mixed_resolutions_place_each_coarse_pixel_under_its_fine_ones(scene):
    catalogue, truth = scene
    data = load_collection("S2", window(11, 13, 60, 50), None, ["B04", "B11"], env=Env(catalogue)).values
    rows = (np.arange(13, 63) + 1) // 2  # the 20 m grid starts 10 m to the north-west
    cols = (np.arange(11, 71) + 1) // 2
    np.testing.assert_array_equal(data[0, 1], reflectance(truth[0][1])[rows[:, None], cols[None, :]])
    np.testing.assert_array_equal(data[1, 0], reflectance(truth[1][0])[13:63, 11:71])


def test_a_crop_of_a_crop_is_the_same_pixels(scene):
    catalogue, _ = scene
    whole = load_collection("S2", None, None, ["B04"], env=Env(catalogue))
    assert whole.shape == (2, 1, 200, 220)
    odd = {"west": X0 + 304.0, "east": X0 + 1001.0, "south": Y0 - 903.0, "north": Y0 - 107.0, "crs": UTM31}
    part = load_collection("S2", odd, None, ["B04"], env=Env(catalogue))
    np.testing.assert_array_equal(part.values, whole.sel(x=part.x, y=part.y).values)
    assert part.x.values[0] == X0 + 305 and part.x.values[-1] == X0 + 995
    assert part.y.values[0] == Y0 - 115 and part.y.values[-1] == Y0 - 895


def test_the_demand_crops_without_moving_the_grid(scene):
    catalogue, _ = scene
    whole = load_collection("S2", window(0, 0, 220, 200), None, ["B04", "B11"], env=Env(catalogue))
    box = (X0 + 503.0, Y0 - 997.0, X0 + 1503.0, Y0 - 492.0, UTM31)
    demand = Demand(box=box, buffer=2, bands=("B11",), interval=("2024-06-05T00:00:00Z", None))
    part = load_collection("S2", window(0, 0, 220, 200), None, ["B04", "B11"], env=Env(catalogue).at(("n",), demand))
    assert part.bands.values.tolist() == ["B11"] and part.sizes["t"] == 1
    assert part.x.values[0] == X0 + 505 - 20
    np.testing.assert_array_equal(part.values[0, 0], whole.sel(x=part.x, y=part.y).values[1, 1])


def test_masks_are_decoded_and_stay_integers(scene):
    catalogue, truth = scene
    data = load_collection("S2", window(0, 0, 220, 200), None, ["CLOUD", "HIGH"], env=Env(catalogue))
    assert data.dtype == np.uint8 and data.attrs["nodata"] == 255
    np.testing.assert_array_equal(data.values[0, 0], (truth[0][2] & 2) != 0)
    np.testing.assert_array_equal(data.values[1, 1], (truth[1][2] & 129) == 129)
    mixed = load_collection("S2", window(0, 0, 220, 200), None, ["B04", "CLOUD"], env=Env(catalogue))
    assert mixed.dtype == np.float32
    np.testing.assert_array_equal(mixed.values[0, 1], ((truth[0][2] & 2) != 0).astype("f4"))


def test_values_do_not_depend_on_blocks(scene):
    catalogue, _ = scene
    asked = {"spatial_extent": window(3, 5, 190, 170), "bands": ["B04", "B11", "CLOUD"]}
    one = load_collection("S2", **asked, env=Env(catalogue))
    many = load_collection("S2", **asked, env=Env(catalogue, limits=Limits(memory=1 << 20, threads=2)))
    assert blocks.blocks_of(many) > blocks.blocks_of(one)
    np.testing.assert_array_equal(one.values, many.values)


def test_bands_share_a_block_unless_it_outgrows_the_cache_or_somebody_wants_them_together(scene, monkeypatch):
    catalogue, _ = scene
    apart, together = Demand(whole=frozenset({"t"})), Demand(whole=frozenset({"t", "bands"}))

    def bands(demand):
        env = Env(catalogue).at(("n",), demand)
        return load_collection("S2", None, None, ["B04", "B11"], env=env).chunksizes["bands"]

    assert bands(apart) == (2,)
    monkeypatch.setattr(source, "CACHED", 1000)
    assert bands(apart) == (1, 1) and bands(together) == (2,)


def test_overlapping_tiles_of_one_datatake_take_the_first_valid_pixel(tmp_path):
    a, b = random_dn((80, 80), 1, 0.3), random_dn((80, 80), 2, 0.3)
    items = [
        make_item("A", "2024-06-01T10:00:01", {"B04": (write_raster(tmp_path / "a.tif", a, Affine(10, 0, X0, 0, -10, Y0), UTM31, -10000), [RED])},
                  platform="s2a", **{"tuile:datatake": "D1"}),
        make_item("B", "2024-06-01T10:00:05", {"B04": (write_raster(tmp_path / "b.tif", b, Affine(10, 0, X0 + 400, 0, -10, Y0), UTM31, -10000), [RED])},
                  platform="s2a", **{"tuile:datatake": "D1"}),
    ]  # fmt: skip
    data = load_collection("S2", None, None, ["B04"], env=Env(MemoryCatalogue({"S2": items})))
    assert data.shape == (1, 1, 80, 120) and data.t.values[0] == np.datetime64("2024-06-01T10:00:01")
    left, right = np.full((80, 120), np.nan, "f4"), np.full((80, 120), np.nan, "f4")
    left[:, :80], right[:, 40:] = reflectance(a), reflectance(b)
    np.testing.assert_array_equal(data.values[0, 0], np.where(np.isnan(left), right, left))
    assert data.attrs["derived_from"] == ["A", "B"]


def test_across_utm_zones_every_pixel_is_the_one_its_centre_falls_in(tmp_path):
    from pyproj import Transformer

    # a field that is a function of the position: each source pixel carries its own centre, so no shift can hide
    x32, y32 = Transformer.from_crs(UTM31, UTM32, always_xy=True).transform(X0 + 150000, Y0)
    x32, y32 = round(x32 / 10) * 10, round(y32 / 10) * 10
    cols = np.broadcast_to(np.arange(150, dtype="i2"), (150, 150)).copy()
    item = make_item(
        "Z",
        "2024-06-01T10:00:00",
        {
            "B04": (
                write_raster(tmp_path / "z.tif", cols, Affine(10, 0, x32, 0, -10, y32), UTM32, -10000),
                [{**RED, "raster:scale": 1.0}],
            )
        },
    )
    other = make_item(
        "Y",
        "2024-06-01T10:00:00",
        {
            "B04": (
                write_raster(
                    tmp_path / "y.tif",
                    np.full((300, 300), -10000, "i2"),
                    Affine(10, 0, X0 + 149000, 0, -10, Y0 + 500),
                    UTM31,
                    -10000,
                ),
                [RED],
            )
        },
    )
    box = {"west": X0 + 150200, "east": X0 + 150900, "south": Y0 - 900, "north": Y0 - 300, "crs": UTM31}
    data = load_collection("S2", box, None, ["B04"], env=Env(MemoryCatalogue({"S2": [item, other]})))
    assert str(cube.crs_of(data)) == UTM31
    xs, ys = np.meshgrid(data.x.values, data.y.values)
    x, y = Transformer.from_crs(UTM31, UTM32, always_xy=True).transform(xs, ys)
    expected = np.floor((x - x32) / 10)
    got = data.values[0, 0]
    inside = (expected >= 0) & (expected < 150) & (y < y32) & (y > y32 - 1500)
    assert inside.any()
    np.testing.assert_array_equal(got[inside], expected[inside])


def test_a_mask_without_nodata_does_not_hide_the_tile_beside_it_in_another_zone(tmp_path):
    from pyproj import Transformer

    # the tile of the neighbouring zone comes first and covers only a part: beside it the mask is unknown, not 0
    x32, y32 = Transformer.from_crs(UTM31, UTM32, always_xy=True).transform(X0 + 150000, Y0)
    x32, y32 = round(x32 / 10) * 10, round(y32 / 10) * 10
    bands = [{"name": "CLOUD", "tuile:decode": {"any_bits": 1}}]
    ones = np.ones((400, 400), "u1")
    first = write_raster(tmp_path / "a.tif", np.zeros((60, 60), "u1"), Affine(10, 0, x32, 0, -10, y32), UTM32)
    second = write_raster(tmp_path / "b.tif", ones, Affine(10, 0, X0 + 149000, 0, -10, Y0 + 1000), UTM31)
    items = [
        make_item("A", "2024-06-01T10:00:00", {"CLM": (first, bands)}, platform="s", **{"tuile:datatake": "D"}),
        make_item("B", "2024-06-01T10:00:01", {"CLM": (second, bands)}, platform="s", **{"tuile:datatake": "D"}),
    ]
    data = load_collection("S2", None, None, ["CLOUD"], env=Env(MemoryCatalogue({"S2": items})))
    assert str(cube.crs_of(data)) == UTM31
    xs, ys = np.meshgrid(data.x.values, data.y.values)
    x, y = Transformer.from_crs(UTM31, UTM32, always_xy=True).transform(xs, ys)
    in_first = (x > x32) & (x < x32 + 600) & (y < y32) & (y > y32 - 600)
    in_second = (xs > X0 + 149000) & (xs < X0 + 153000) & (ys < Y0 + 1000) & (ys > Y0 - 3000)
    expected = np.where(in_first, 0, np.where(in_second, 1, 255))
    np.testing.assert_array_equal(data.values[0, 0], expected)


@pytest.mark.parametrize(
    "args, code, words",
    [
        ({"bands": ["B99"]}, "ProcessParameterInvalid", "B99"),
        ({"spatial_extent": {"west": 1, "east": 2, "south": 44, "north": 43}}, "ProcessParameterInvalid", "south"),
        ({"spatial_extent": {"west": 3, "east": 2, "south": 43, "north": 44}}, "ProcessParameterInvalid", "west"),
        ({"spatial_extent": {"west": 100, "east": 101, "south": 43, "north": 44}}, "NoDataAvailable", "S2"),
        ({"temporal_extent": ["2020-01-01", "2020-02-01"]}, "NoDataAvailable", "S2"),
        ({"temporal_extent": ["2020-02-01", "2020-01-01"]}, "TemporalExtentEmpty", "end"),
        ({"temporal_extent": ["yesterday", None]}, "ProcessParameterInvalid", "yesterday"),
        ({"spatial_extent": {"west": 1, "east": 2, "south": 43, "north": 44, "crs": "EPSG:999999"}}, "ProcessParameterInvalid", "999999"),
    ],
)  # fmt: skip
def test_mistakes_are_told(scene, args, code, words):
    with pytest.raises(ProcessError) as caught:
        load_collection("S2", **args, env=Env(scene[0]))
    assert caught.value.code == code and words in caught.value.message


def test_a_truncated_file_is_named_or_left_out_as_configured(scene, tmp_path):
    from processes.load.read import take_unreadable

    catalogue, truth = scene
    broken = tmp_path / "1b4.tif"
    broken.write_bytes(broken.read_bytes()[:9000])
    data = load_collection("S2", window(0, 0, 220, 200), None, ["B04"], env=Env(catalogue))
    with pytest.raises(ProcessError) as caught:
        data.compute()
    assert caught.value.code == "StorageFailure" and "1b4.tif" in caught.value.message
    data = load_collection(
        "S2", window(0, 0, 220, 200), None, ["B04"], env=Env(catalogue, limits=Limits(skip_unreadable=True))
    )
    np.testing.assert_array_equal(data.values[0, 0], reflectance(truth[0][0]))
    assert list(take_unreadable()) == [str(broken)]


def test_real_muscate_clip_has_its_20_m_grid_10_m_off(shared, tmp_path):
    product = next((shared / "data/muscate_l2a_T30TYP_20181023").glob("SENTINEL2B*"))
    files = {}
    for number, meta in ((4, RED), (8, {**RED, "name": "B08"}), (11, SWIR)):
        path = next(product.glob(f"*_FRE_B{number}.tif"))
        files[meta["name"]] = (str(path), [{**meta, "nodata": -10000}])
    item = make_item(product.name, "2018-10-23T10:51:07", files)
    box = {"west": 743500, "east": 745500, "south": 4840000, "north": 4841500, "crs": "EPSG:32630"}
    data = load_collection("S2", box, None, ["B04", "B08", "B11"], env=Env(MemoryCatalogue({"S2": [item]}))).values[0]
    assert data.shape == (3, 150, 200)
    for k, number in ((0, 4), (1, 8)):
        with rasterio.open(files["B04" if number == 4 else "B08"][0]) as source:
            dn = source.read(1, window=source.window(743500, 4840000, 745500, 4841500))
        np.testing.assert_array_equal(data[k], reflectance(dn))
    with rasterio.open(files["B11"][0]) as source:
        points = [(743505 + 10 * c, 4841495 - 10 * r) for r in range(0, 150, 7) for c in range(0, 200, 7)]
        sampled = np.array([v[0] for v in source.sample(points)]).reshape(22, 29)
    np.testing.assert_array_equal(data[2][::7, ::7], reflectance(sampled))


def test_demanded_bands_are_found_by_common_name_and_anything_unknown_keeps_all(scene):
    catalogue, _ = scene

    def loaded(*bands):
        return load_collection("S2", env=Env(catalogue).at(("n",), Demand(bands=bands))).bands.values.tolist()

    assert loaded("swir16", "B04") == ["B04", "B11"] and loaded("red") == ["B04"]
    assert loaded("B04", "nir") == ["B04", "B11", "CLM", "CLOUD", "HIGH"]


def test_a_load_of_one_pixel_knows_its_grid(scene):
    data = load_collection("S2", window(5, 6, 1, 1), None, ["B11"], env=Env(scene[0]))
    assert data.shape[2:] == (1, 1) and cube.geobox_of(data).affine.a == 20
