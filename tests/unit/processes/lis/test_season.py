"""snow_synthesis and merge_snow: hand cases, a slow reference on random series, laziness, fills."""

from __future__ import annotations

from itertools import pairwise

import dask
import numpy as np
import pytest
import xarray as xr

from processes import cube as cubes
from processes.errors import ProcessError
from processes.kernels.lis_season import LAYERS, NODATA
from processes.lis import merge_snow, snow_synthesis
from processes.lis.season import season

S, B, C, N = 100, 0, 205, 255


def one(values, days, length, **options):
    """Layers of one pixel as a dict."""
    days = np.asarray(days, np.int64)
    unique, slots = np.unique(days, return_inverse=True)
    planes = np.asarray(values, np.uint8).reshape(-1, 1, 1)
    out = season(planes, slots.astype(np.int64), unique, length, **options)
    return dict(zip(LAYERS, out[:, 0, 0].tolist()))


# (values, days, season length, number of snow periods, SCD)
PERIODS = [
    pytest.param([B, B, B], [0, 10, 20], 30, 0, 0, id="never snow"),
    pytest.param([S, S, S], [0, 10, 20], 30, 1, 30, id="always snow"),
    pytest.param([B, S, B], [0, 10, 20], 30, 1, 11, id="one winter, ties to snow both ways"),
    pytest.param([S, B, S], [0, 10, 20], 30, 2, 21, id="snow at both ends"),
    pytest.param([B, S, B, S, B], [0, 10, 20, 30, 40], 50, 2, 22, id="two winters"),
    pytest.param([B, S, C, S, B], [0, 10, 20, 30, 40], 50, 1, 31, id="a cloud does not split"),
    pytest.param([C, S, N], [0, 10, 20], 30, 1, 30, id="one observation holds all year"),
    pytest.param([S, B], [-10, 0], 30, 0, 0, id="snow before the season only"),
    pytest.param([S, B], [-2, 5], 30, 1, 2, id="snow reaches in from the margin"),
    pytest.param([B, S], [25, 34], 30, 0, 0, id="snow after the season only"),
    pytest.param([S, B, S, B, S], [0, 1, 2, 3, 4], 5, 3, 3, id="every other day"),
    pytest.param([B, 7, B], [0, 3, 6], 10, 1, 3, id="any fraction is snow; odd gaps"),
]


@pytest.mark.parametrize(("values", "days", "length", "periods", "duration"), PERIODS)
def test_snow_periods(values, days, length, periods, duration):
    got = one(values, days, length)
    assert (got["NSP"], got["SCD"]) == (periods, duration)


def test_onset_and_melt_are_those_of_the_longest_run():
    got = one([S, B, S, S, B], [0, 12, 30, 60, 70], 100)
    # runs: days 0..6 (7) and 21..65 (45)
    assert (got["SCD"], got["SOD"], got["SMOD"], got["NSP"]) == (52, 21, 65, 2)
    # equally long runs: the first
    got = one([S, B, S, B], [5, 15, 25, 35], 60)
    assert (got["SOD"], got["SMOD"]) == (0, 10) and got["SCD"] == 11 + 11
    # ten days of snow or fewer have no dates
    assert one([B, S, B], [0, 4, 8], 30)["SOD"] == 0


def test_counts_gaps_and_never_observed():
    got = one([C, B, N, S], [0, 4, 9, 20], 30)
    assert (got["NOBS"], got["CCD"]) == (2, 2)
    assert (got["GAP"], got["SINCE"]) == (15, 9)
    never = one([C, N, 254], [0, 4, 9], 30)
    assert (never["NOBS"], never["CCD"]) == (0, 3)
    assert {never[k] for k in ("SCD", "SOD", "SMOD", "NSP", "GAP", "SINCE", "PSL")} == {NODATA}
    assert one([C, N, 254], [0, 4, 9], 30, edges=True)["SCD"] == 0


def test_same_day_first_clear_value_wins():
    assert one([C, S, B], [3, 3, 3], 10)["SCD"] == 10
    assert one([C, N], [3, 3], 10)["CCD"] == 1


def test_periods_as_the_original_counts_them():
    assert one([B, S, B], [0, 10, 20], 30, edges=True)["NSP"] == 2
    assert one([S, S], [0, 10], 30, edges=True)["NSP"] == 0


def test_perpetual_snow():
    assert one([B, S, C, S], [0, 10, 20, 25], 30, may=1)["PSL"] == 1
    assert one([B, S, B, S], [0, 10, 20, 25], 30, may=1)["PSL"] == 0
    assert one([S, C, C], [0, 10, 20], 30, may=1)["PSL"] == 0


def reference(values, days, length):
    """Day by day, slowly, with exact ties."""
    per_day: dict[int, int] = {}
    for v, d in zip(values.tolist(), days.tolist()):
        if per_day.get(d, 255) > 100:
            per_day[d] = v
    seen = sorted(d for d, v in per_day.items() if v <= 100)
    out = {"NOBS": len(seen), "CCD": len(per_day) - len(seen)}
    if not seen:
        return out
    daily = []
    for d in range(length):
        nearest = min(abs(d - e) for e in seen if True)
        after, before = [e for e in seen if e >= d], [e for e in seen if e <= d]
        around = [e for e in (before[-1:] + after[:1]) if abs(d - e) == nearest]
        daily.append(any(per_day[e] > 0 for e in around))
    runs, start = [], None
    for d, snow in enumerate([*daily, False]):
        if snow and start is None:
            start = d
        elif not snow and start is not None:
            runs.append((start, d - 1))
            start = None
    out |= {"SCD": sum(daily), "NSP": len(runs), "SOD": 0, "SMOD": 0}
    if sum(daily) > 10:
        longest = max(runs, key=lambda r: (r[1] - r[0], -r[0]))
        out |= {"SOD": longest[0], "SMOD": longest[1]}
    inside = [d for d in seen if 0 <= d < length]
    edges = [-1, *inside, length]
    out["GAP"] = max(b - a - 1 for a, b in pairwise(edges))
    out["SINCE"] = length - 1 - inside[-1] if inside else NODATA
    return out


def test_random_series_against_the_slow_reference():
    rng = np.random.default_rng(4)
    for _ in range(120):
        n = int(rng.integers(1, 160))
        days = np.sort(rng.integers(-15, 150, n))
        share = rng.random()
        p = np.array([0.4 * share, 0.3 * share, 0.1 * share, 1 - 0.8 * share])
        values = rng.choice(np.array([B, S, 30, C], np.uint8), n, p=p / p.sum())
        got = one(values, days, 135)
        for name, value in reference(values, days, 135).items():
            assert got[name] == value, name


def series(values, dates, crs="EPSG:32631", step=20.0, chunks=None):
    values = np.asarray(values, np.uint8)
    h, w = values.shape[1:]
    coords = {
        "t": np.array(dates, "datetime64[ns]"),
        "y": 4.8e6 - step * (np.arange(h) + 0.5),
        "x": 3e5 + step * (np.arange(w) + 0.5),
    }
    made = cubes.cube(values, ["t", "y", "x"], coords, crs=crs, nodata=255)
    return made.chunk(chunks) if chunks else made


def winter(n=40, seed=0):
    """A slope: higher pixels are snowed longer; a third of the pixels of each date under clouds."""
    rng = np.random.default_rng(seed)
    height = np.linspace(800, 2800, n)[None].repeat(n, 0)
    dates = np.arange("2017-08-25", "2018-09-10", 6, dtype="datetime64[D]")
    days = (dates - np.datetime64("2018-01-20")).astype(int)
    line = 1000 + 12.0 * np.abs(days)
    truth = (height[None] > line[:, None, None]) * S
    clouds = rng.random((len(dates), 4, 4)).repeat(n // 4, 1).repeat(n // 4, 2) < 0.45
    return series(np.where(clouds, C, truth), dates), height


def test_synthesis_of_a_cube_is_lazy_and_independent_of_chunks():
    cube, height = winter()
    dem = cubes.cube(height, ["y", "x"], {"y": cube.y.values, "x": cube.x.values}, crs="EPSG:32631")
    for fill in ("linear", "snowline"):
        plain = snow_synthesis(cube, "2017-09-01", "2018-08-31", fill=fill, dem=dem)
        assert plain.dims == ("bands", "y", "x") and plain.dtype == np.uint16
        assert plain.attrs["nodata"] == NODATA
        scd = plain.sel(bands="SCD").values.astype(int)
        assert scd[:, -8:].mean() > scd[:, 15:20].mean() + 60

        def refuse(*_, **__):
            raise AssertionError("computed early")

        with dask.config.set(scheduler=refuse):
            lazy = snow_synthesis(
                cube.chunk({"t": 7, "y": 16, "x": 25}), "2017-09-01", "2018-08-31", fill=fill, dem=dem
            )
        np.testing.assert_array_equal(lazy.compute(scheduler="sync").values, plain.values)


def test_filling_with_the_snow_line_comes_closer_to_the_truth():
    cube, height = winter(seed=3)
    dem = cubes.cube(height, ["y", "x"], {"y": cube.y.values, "x": cube.x.values}, crs="EPSG:32631")
    days = (np.arange("2017-09-01", "2018-09-01", dtype="datetime64[D]") - np.datetime64("2018-01-20")).astype(int)
    truth = (height[None] > (1000 + 12.0 * np.abs(days))[:, None, None]).sum(0)
    error = {}
    for fill in ("linear", "snowline"):
        got = snow_synthesis(cube, "2017-09-01", "2018-08-31", fill=fill, dem=dem).sel(bands="SCD").values.astype(float)
        error[fill] = np.sqrt(np.mean((got - truth) ** 2))
    assert error["snowline"] < 0.85 * error["linear"]


def test_merge_takes_the_first_clear_map_of_a_day():
    mine = series([[[C, S], [B, N]], [[S, S], [S, S]]], ["2018-01-03T10:00", "2018-01-08T10:00"])
    theirs = series([[[B, B], [B, C]], [[B, B], [B, B]]], ["2018-01-03T11:00", "2018-01-05T11:00"])
    out = merge_snow(mine, theirs)
    assert [str(t)[:10] for t in out.t.values] == ["2018-01-03", "2018-01-05", "2018-01-08"]
    assert out.values[0].tolist() == [[B, S], [B, C]]
    assert out.values[1].tolist() == [[B, B], [B, B]]


def test_merge_brings_the_other_grid_by_nearest_neighbour():
    mine = series(np.full((1, 6, 6), C), ["2018-01-03"])
    theirs = series([[[S, B], [B, S]]], ["2018-01-03"], step=40.0)
    out = merge_snow(mine, theirs).values[0]
    assert out[:4, :4].tolist() == np.kron([[S, B], [B, S]], np.ones((2, 2), int)).tolist()
    # outside the other sensor's map both saw nothing: its fill stays
    assert (out[4:] == N).all() and (out[:, 4:] == N).all()
    lazy = merge_snow(mine.chunk({"y": 3}), theirs.chunk({"x": 1}))
    np.testing.assert_array_equal(lazy.values[0], out)


def test_densify_fills_days():
    mine = series([[[S]], [[B]]], ["2018-01-01", "2018-01-31"])
    theirs = series([[[B]]], ["2018-01-05"])
    alone = snow_synthesis(mine, "2018-01-01", "2018-01-31")
    both = snow_synthesis(mine, "2018-01-01", "2018-01-31", densify=theirs)
    assert int(alone.sel(bands="SCD")[0, 0]) == 16
    assert int(both.sel(bands="SCD")[0, 0]) == 3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"fill": "spline"}, "fill"),
        ({"end": "2017-01-01"}, "season"),
        ({"start": "winter"}, "not a date"),
        ({"start": "2030-01-01", "end": "2030-12-31"}, "no date"),
        ({"margin": -1}, "negative"),
    ],
)
def test_mistakes_are_told(change, match):
    cube, _ = winter(8)
    with pytest.raises(ProcessError, match=match):
        snow_synthesis(cube, **{"start": "2017-09-01", "end": "2018-08-31", **change})


def test_band_is_found_or_asked_for():
    cube, _ = winter(8)
    many = xr.concat([cube, cube], "bands").assign_coords(bands=["A", "SEB"])
    many.attrs = cube.attrs
    got = snow_synthesis(many, "2017-09-01", "2018-08-31")
    np.testing.assert_array_equal(got.values, snow_synthesis(cube, "2017-09-01", "2018-08-31").values)
    with pytest.raises(ProcessError, match="SEB"):
        snow_synthesis(many.assign_coords(bands=["A", "C"]), "2017-09-01", "2018-08-31")
