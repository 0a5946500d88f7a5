"""Snow lines, FSC laws, relief shade and coarse cells on their own."""

from __future__ import annotations

import numpy as np
import pytest

from processes import cube as cubes
from processes.errors import ProcessError
from processes.kernels.lis_detect import FINE, JOINT
from processes.lis import fsc, mixture, snow_line
from processes.lis.grids import coarse, halve, triangle
from processes.lis.line import elevation_bins, regional_snow_line, snow_line_margin, snow_line_of_bins
from processes.lis.mixture import law_of_scene
from processes.lis.params import NODATA, Params
from processes.lis.relief import relief_shade
from tests.bench.lis_scene import cast_shadow, fractal


def test_regional_snow_line_is_the_least_misplaced():
    z = np.arange(0, 3001, 20.0)
    centre = (z[:-1] + z[1:]) / 2
    rng = np.random.default_rng(1)
    share = 1 / (1 + np.exp(-(centre - 1340) / 50))
    snow = rng.binomial(400, share)
    line, confidence = regional_snow_line(400 - snow, snow, z)
    assert abs(line - 1340) <= 20 and 0.95 < confidence < 1
    assert 40 <= snow_line_margin(400 - snow, snow, z, line) <= 200
    brute = [snow[centre < e].sum() + (400 - snow)[centre >= e].sum() for e in z]
    assert brute[int(np.flatnonzero(z == line)[0])] == min(brute)


def test_ties_take_the_mean_and_nothing_is_nan():
    z = np.arange(0, 101, 10.0)
    none, some = np.zeros(10, int), np.zeros(10, int)
    none[2], some[6] = 5, 5
    line, confidence = regional_snow_line(none, some, z)
    assert (line, confidence) == (45.0, 1.0)
    assert np.isnan(regional_snow_line(none * 0, none * 0, z)[0])


def test_bins_of_a_flat_scene():
    fine = np.zeros((3, 9500), int)
    fine[0, 1500:1550] = 10
    assert elevation_bins(fine, 100) is None
    fine[0, 1500:1701] = 10
    bins = elevation_bins(fine, 100)
    assert bins.shape == (2, 5) and bins[:, 1].sum() == 2010 and bins[0, 0] == 1050
    assert snow_line_of_bins(bins, Params()) is None


def mixtures(law, n=40000, seed=0, sky=1.0, least=0.0):
    """Joint histogram of NDSI and green of random mixtures under a law, their fractions, NDSI and green."""
    rng = np.random.default_rng(seed)
    f = np.concatenate(
        [rng.uniform(least, 1, n // 2), np.zeros(n // 4) if least == 0 else np.ones(n // 4), np.ones(n // 4)]
    )
    green = 0.09 + f * (0.9 - 0.09)
    swir = 0.24 + f * (0.09 - 0.24)
    if law == "tanh":
        n0 = (np.arctanh(np.clip(2 * f - 1, -0.93, 0.85)) + 1.42) / 2.65
        swir = np.where(f > 0.03, green * (1 - n0) / (1 + n0), swir)
    green, swir = green * sky, swir * (sky * 0.7 if sky < 1 else 1)
    ndsi = (green - swir) / (green + swir)
    i = np.clip(((ndsi + 1) * JOINT // 2).astype(int), 0, JOINT - 1)
    j = np.clip((green * (FINE if sky < 1 else 1) * JOINT // 2).astype(int), 0, JOINT - 1)
    joint = np.zeros((JOINT, JOINT), np.int64)
    np.add.at(joint, (i, j), 1)
    return joint, f, ndsi, green


def rmse(percent, f):
    return np.sqrt(np.mean((percent / 100 - f) ** 2))


def by_place(table, green, ndsi, fine=1):
    i = np.clip(((ndsi + 1) * JOINT // 2).astype(int), 0, JOINT - 1)
    return table[i, np.clip((green * fine * JOINT // 2).astype(int), 0, JOINT - 1)]


@pytest.mark.parametrize("law", ["linear", "tanh"])
def test_one_estimate_serves_both_laws_of_mixing(law):
    lit, f, ndsi, green = mixtures(law)
    dark, f_dark, ndsi_dark, green_dark = mixtures(law, sky=0.2)
    name, _, tables = law_of_scene(np.stack([lit, dark]), "auto")
    assert name == "mixture"
    found, shaded = ndsi > 0.15, ndsi_dark > 0.15
    assert rmse(by_place(tables[0], green, ndsi)[found], f[found]) < 0.05
    assert rmse(by_place(tables[1], green_dark, ndsi_dark, FINE)[shaded], f_dark[shaded]) < 0.08
    # NDSI alone needs to know the law
    linear = fsc.linear_tables(np.stack([lit, dark]))[0][(100 * ndsi[found]).astype(int)]
    published = fsc.tanh_table()[(100 * ndsi[found]).astype(int)]
    right, wrong = (linear, published) if law == "linear" else (published, linear)
    assert rmse(right, f[found]) < 0.055 < rmse(wrong, f[found])


def test_ground_under_shade_follows_from_the_sun_where_it_is_all_snow():
    lit, *_ = mixtures("linear")
    dark, f, ndsi, green = mixtures("linear", sky=0.2)
    white, *_ = mixtures("linear", sky=0.2, least=0.5)
    members = [mixture.shade_members(j, mixture.lit_members(lit)) for j in (dark, white)]
    assert members[1].ground == pytest.approx(members[0].ground, rel=0.35)
    table = mixture.table(members[1], FINE)
    assert rmse(by_place(table, green, ndsi, FINE), f) < 0.1


def test_fraction_grows_with_brightness_and_with_ndsi_between_the_end_members():
    members = mixture.Members((0.09, 0.24), (0.9, 0.09), (0.01, 0.02), (0.02, 0.01), 0.1)
    table = mixture.table(members).astype(int)
    at = np.linspace(0.05, 0.95, 19)
    green, swir = 0.09 + at * 0.81, 0.24 - at * 0.15
    percent = by_place(table, green, (green - swir) / (green + swir))
    assert (np.diff(percent) > 0).all() and np.abs(percent / 100 - at).max() < 0.05
    assert table[195, 199] == 100  # brighter than any mixture: still a decision, not an underflow
    assert table[60, 9] == 0


def test_too_little_to_judge_is_the_published_law():
    empty = np.zeros((2, JOINT, JOINT), np.int64)
    for law in ("auto", "unmix", "tanh"):
        name, tables, tables_2d = law_of_scene(empty, law)
        assert name == "tanh" and (tables == fsc.tanh_table()).all() and tables_2d.size == 0


def test_published_law():
    assert fsc.tanh_law(0.0) == pytest.approx(0.0552, abs=1e-4)
    assert fsc.tanh_law(1.42 / 2.65) == 0.5
    assert fsc.tanh_table()[40] == 32 and fsc.tanh_table()[100] == 92


@pytest.mark.parametrize(("zenith", "azimuth"), [(60, 150), (70, 95), (50, 200), (65, 270), (62, 359), (30, 45)])
def test_swept_shadow_is_the_shadow_of_every_ray(zenith, azimuth):
    dem = 300 * fractal(np.random.default_rng(3), 160, 4.0)
    swept = relief_shade(dem, 20.0, azimuth, 90 - zenith) == 1
    brute = cast_shadow(dem, 20.0, zenith, azimuth)
    assert (swept == brute).mean() > 0.975


def test_wall_casts_a_shadow_of_the_right_length_up_to_the_border():
    dem = np.zeros((60, 60))
    dem[30] = 100.0
    shade = relief_shade(dem, 10.0, 180.0, 45.0)  # sun in the south: the shadow falls north, 100 m long
    assert shade[20:30].all() or shade[21:30].all()
    assert not shade[:20].any() and not shade[30:].any()
    assert (shade[25] == 1).all()  # no unshaded border
    assert relief_shade(dem, 10.0, 180.0, 90.0).sum() == 0


def test_self_shade():
    east = np.arange(50)[None] * -20.0 + np.zeros((50, 1))  # falls eastwards: faces east
    assert relief_shade(east, 20.0, 270.0, 30.0, hillshade_lim=0.2).mean() > 0.9
    assert relief_shade(east, 20.0, 90.0, 30.0, hillshade_lim=0.2).sum() == 0
    with pytest.raises(ProcessError, match="elevation"):
        relief_shade(east, 20.0, 90.0, -3.0)


def test_coarse_snaps_near_whole_scales_as_gdal_does():
    from affine import Affine
    from rasterio.warp import Resampling, reproject

    rng = np.random.default_rng(1)
    for size, rf in ((366, 12), (397, 12), (500, 12), (403, 8), (240, 12)):
        red = rng.integers(0, 9000, (size, size)).astype(np.int16)
        red[: size // 7, : size // 2] = NODATA
        n = size // rf
        expected = np.full((n, n), NODATA, np.int16)
        fine, big = Affine(20, 0, 0, 0, -20, 0), Affine(20 * size / n, 0, 0, 0, -20 * size / n, 0)
        reproject(red, expected, src_transform=fine, dst_transform=big, src_crs="EPSG:32631", dst_crs="EPSG:32631", src_nodata=NODATA, dst_nodata=NODATA, resampling=Resampling.bilinear)  # fmt: skip
        assert np.abs(coarse(red, rf).astype(int) - expected).max() <= 1
        assert (coarse(red, rf) != expected).mean() < 1e-3
    assert triangle(240, 20)[0].shape[0] == 20


def test_halving_keeps_constants_and_follows_the_lower_right_pixel():
    flat = np.full((40, 50), 1234, np.int16)
    assert (halve(flat) == 1234).all()
    holes = flat.copy()
    holes[11, 13] = NODATA
    out = halve(holes)
    assert out[5, 6] == NODATA and (out == NODATA).sum() == 1 and (out[out != NODATA] == 1234).all()
    holes = flat.copy()
    holes[10, 12] = NODATA
    assert (halve(holes) == 1234).all()
    with pytest.raises(ProcessError):
        halve(flat[:39])


def snow_cube(height, lines, cloud=0.0, chunks=None):
    rng = np.random.default_rng(0)
    values = np.stack([np.where(height > line, 100, 0) for line in lines]).astype(np.uint8)
    values[rng.random(values.shape) < cloud] = 205
    n, m = height.shape
    coords = {
        "t": np.array(["2024-01-05", "2024-01-10"], "datetime64[ns]")[: len(lines)],
        "y": 4.8e6 - 20 * (np.arange(n) + 0.5),
        "x": 3e5 + 20 * (np.arange(m) + 0.5),
    }
    made = cubes.cube(values, ["t", "y", "x"], coords, crs="EPSG:32631", nodata=255)
    dem = cubes.cube(height, ["y", "x"], {k: coords[k] for k in ("y", "x")}, crs="EPSG:32631")
    return (made.chunk(chunks), dem.chunk({"y": 33})) if chunks else (made, dem)


def test_snow_line_per_geometry_and_date():
    import dask

    height = np.linspace(500, 2500, 120)[None].repeat(100, 0)
    made, dem = snow_cube(height, [1200.0, 1600.0], cloud=0.3)
    from pyproj import Transformer
    from shapely.geometry import box, mapping
    from shapely.ops import transform

    back = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True).transform
    areas = [box(3e5, 4.8e6 - 2000, 3e5 + 2400, 4.8e6 - 1000), box(3e5, 4.8e6 - 900, 3e5 + 2400, 4.8e6)]
    collection = {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {}, "geometry": mapping(transform(back, a))} for a in areas],
    }
    out = snow_line(made, dem=dem, geometries=collection)
    assert out.dims == ("geometry", "t", "bands") and out.sizes["geometry"] == 2
    rsle = out.sel(bands="RSLE").values
    assert np.abs(rsle - [[1200, 1600], [1200, 1600]]).max() <= 20
    assert (out.sel(bands="CONFIDENCE").values > 0.95).all()
    assert np.abs(out.sel(bands="CLEAR").values - 0.7).max() < 0.05
    lazy_cube, lazy_dem = snow_cube(height, [1200.0, 1600.0], cloud=0.3, chunks={"y": 41, "x": 50})

    def refuse(*_, **__):
        raise AssertionError("computed early")

    with dask.config.set(scheduler=refuse):
        lazy = snow_line(lazy_cube, dem=lazy_dem, geometries=collection)
    np.testing.assert_array_equal(lazy.compute(scheduler="sync").values, out.values)


def test_snow_line_is_withheld_under_clouds():
    height = np.linspace(500, 2500, 120)[None].repeat(100, 0)
    made, dem = snow_cube(height, [1200.0], cloud=0.95)
    out = snow_line(made, dem=dem)
    assert np.isnan(out.sel(bands="RSLE").values).all()
    assert out.sizes["geometry"] == 1
    with pytest.raises(ProcessError, match="step"):
        snow_line(made, dem=dem, step=0)
