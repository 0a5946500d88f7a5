"""Snow line, season and merge against their definitions, pixel by pixel and day by day, on random inputs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from processes import cube as cubes
from processes.errors import ProcessError
from processes.lis import merge_snow, snow_line, snow_synthesis

CODES = np.array([0, 0, 100, 100, 35, 1, 205, 205, 205, 254, 255], np.uint8)
START, END = "2017-09-01", "2018-08-31"
NEVER = 65535


def snow_cube(values, dates, step=20.0, origin=(3e5, 4.8e6), crs="EPSG:32631", chunks=None):
    h, w = values.shape[-2:]
    coords = {
        "t": np.array(dates, "datetime64[ns]"),
        "y": origin[1] - step * (np.arange(h) + 0.5),
        "x": origin[0] + step * (np.arange(w) + 0.5),
    }
    made = cubes.cube(values, ["t", "y", "x"], coords, crs=crs, nodata=255)
    return made.chunk(chunks) if chunks else made


def heights_like(cube, values):
    return cubes.cube(values, ["y", "x"], {"y": cube.y.values, "x": cube.x.values}, crs="EPSG:32631")


# --- snow line -----------------------------------------------------------------------------------------------------


def krajci(snow: np.ndarray, bare: np.ndarray, z: np.ndarray, step: float) -> tuple[float, float]:
    """The elevation with the fewest snow pixels below and bare pixels at or above it; mean of equals."""
    clear = snow | bare
    if not clear.any():
        return np.nan, np.nan
    low = np.floor((z[clear].min() + 500) / step) * step - 500
    candidates = np.arange(low, z[clear].max() + step + 1e-9, step)
    candidates = candidates[: int(np.searchsorted(candidates, z[clear].max(), side="right")) + 1]
    cost = np.array([(snow & (z < e)).sum() + (bare & (z >= e)).sum() for e in candidates])
    return float(candidates[cost == cost.min()].mean()), float(1 - cost.min() / clear.sum())


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), step=st.sampled_from([1, 10, 20, 37, 50]), noise=st.sampled_from([0, 60, 500]),
    whole=st.booleans(), chunks=st.sampled_from([None, {"y": 9, "x": 17}]),
)  # fmt: skip
def test_snow_line_of_each_geometry_is_the_definition(seed, step, noise, whole, chunks):
    rng = np.random.default_rng(seed)
    h, w = 24, 30
    z = rng.uniform(-100, 4000) + np.linspace(0, rng.uniform(100, 2500), w)[None] + rng.normal(0, 40, (h, w))
    z = np.rint(z).astype(np.int16) if whole else z
    line = np.quantile(z, rng.uniform(0.05, 0.95))
    codes = np.where(z + rng.normal(0, noise, (2, h, w)) > line, 100, 0).astype(np.uint8)
    codes[rng.random(codes.shape) < rng.uniform(0, 1)] = 205
    cube = snow_cube(codes, ["2017-12-30", "2018-01-04"], chunks=chunks)
    back = Transformer.from_crs("EPSG:32631", "EPSG:4326", always_xy=True)
    areas = [
        shapely.box(3e5 - 500, 4.8e6 - 201, 3e5 + 333, 4.8e6 + 500),  # beyond the cube
        shapely.Point(3e5 + 341, 4.8e6 - 287).buffer(171),
        shapely.box(3e5 + 5000, 4.8e6, 3e5 + 6000, 4.8e6 + 100),  # none of it
    ]
    given = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {},
                "geometry": shapely.geometry.mapping(
                    shapely.transform(a, lambda p: np.stack(back.transform(*p.T), axis=1))
                ),
            }
            for a in areas
        ],
    }
    out = snow_line(cube, dem=heights_like(cube, z), geometries=given, step=step, min_clear=0).compute()
    xs, ys = np.meshgrid(cube.x.values, cube.y.values)
    for k, area in enumerate(areas):
        inside = shapely.contains_xy(area, xs, ys)
        for t in range(2):
            got = out.isel(geometry=k, t=t).values.astype(float)
            if not inside.any():
                assert np.isnan(got).all()
                continue
            snow, bare = inside & (codes[t] == 100), inside & (codes[t] == 0)
            expected = krajci(snow, bare, z.astype(float), step)
            np.testing.assert_allclose(got[:2], expected, rtol=1e-6)
            assert got[2] == pytest.approx((snow | bare).sum() / inside.sum())


def test_nothing_is_rejected_silently():
    """Mixed snow: the default gives an elevation and its confidence; asking for more withholds only the elevation."""
    rng = np.random.default_rng(1)
    z = np.linspace(500, 2500, 60)[None].repeat(60, 0)
    codes = np.where(z + rng.normal(0, 600, z.shape) > 1400, 100, 0).astype(np.uint8)[None]
    cube = snow_cube(codes, ["2018-01-04"])
    dem = heights_like(cube, z)
    plain, strict = (snow_line(cube, dem=dem, **more).values[0, 0] for more in ({}, {"min_confidence": 0.92}))
    assert 1000 < plain[0] < 1800 and 0.6 < plain[1] < 0.92 and plain[2] == 1
    assert np.isnan(strict[0]) and strict[1] == plain[1] and strict[2] == 1
    for name in ("min_clear", "min_confidence"):
        with pytest.raises(ProcessError, match=name):
            snow_line(cube, dem=dem, **{name: 92})


# --- season --------------------------------------------------------------------------------------------------------


def day_of(label) -> int:
    return int(np.datetime64(str(label)[:10], "D").astype(int))


def one_per_day(maps: list[tuple[int, np.ndarray]]) -> dict[int, np.ndarray]:
    """Maps by day: the first in the list with a value up to 100, else the last one's value."""
    out: dict[int, np.ndarray] = {}
    for day, values in maps:
        out[day] = np.where(out[day] <= 100, out[day], values) if day in out else values
    return out


def longest(runs: list[tuple[int, int]]) -> tuple[int, int]:
    return max(runs, key=lambda r: (r[1] - r[0], -r[0]))


def pixel_season(
    series: dict[int, int], filled: dict[int, int], first: int, last: int, original: bool
) -> dict[str, int]:
    """Layers of one pixel: ``series`` day -> code as observed, ``filled`` after the snow line."""
    seen = sorted(d for d, v in series.items() if v <= 100)
    out = {"NOBS": len(seen), "CCD": len(series) - len(seen)}
    if not seen:
        names = ("SCD", "SOD", "SMOD", "NSP", "GAP", "SINCE", "PSL")
        return out | dict.fromkeys(names, 0 if original else NEVER)
    known = sorted(d for d, v in filled.items() if v <= 100)
    daily = []
    for day in range(first, last + 1):
        after, before = [d for d in known if d >= day][:1], [d for d in known if d <= day][-1:]
        if before and after and before != after:  # 0/100 interpolated, snow from 50 on
            a, b = before[0], after[0]
            value = (100 * (filled[a] > 0) * (b - day) + 100 * (filled[b] > 0) * (day - a)) / (b - a)
        else:
            value = 100 * (filled[(before or after)[0]] > 0)
        daily.append(value >= 50)
    flips = [*pairwise([False, *daily, False])]
    starts, stops = ([k for k, pair in enumerate(flips) if pair == p] for p in ((False, True), (True, False)))
    runs = [(a, b - 1) for a, b in zip(starts, stops)]
    out |= {"SCD": sum(daily), "SOD": 0, "SMOD": 0, "NSP": len(runs)}
    if original:
        out["NSP"] = sum(a != b for a, b in pairwise(daily))
    if sum(daily) > 10:
        out |= dict(zip(("SOD", "SMOD"), longest(runs)))
    inside = [d - first for d in seen if first <= d <= last]
    out["GAP"] = max(b - a - 1 for a, b in pairwise([-1, *inside, last - first + 1]))
    out["SINCE"] = last - first - inside[-1] if inside else NEVER
    days, year = sorted(series), (np.datetime64(last, "D").astype("datetime64[Y]").astype(int) + 1970)
    may = day_of(f"{year}-05-01")
    may = may if may <= last else day_of(f"{year - 1}-05-01")
    begin = min(days, key=lambda d: (abs(d - may), d))
    late = [series[d] for d in days if d >= begin and series[d] <= 100]
    out["PSL"] = int(bool(late) and all(v > 0 for v in late))
    return out


def fill_by_line(codes: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Clouds far enough above the day's regional snow line are snow, as far below bare (README, Season)."""
    snow, bare = (codes > 0) & (codes <= 100), codes == 0
    clear = snow | bare
    line, confidence = krajci(snow, bare, z, 20.0)
    if not clear.any() or clear.mean() < 0.15 or confidence < 0.92:
        return codes
    centre = np.floor((z + 500) / 20) * 20 - 490
    wrong = np.sort(np.abs(centre - line)[np.where(centre > line, bare, snow)])
    margin = 40.0 if not wrong.size else float(np.clip(wrong[int(np.ceil(0.95 * wrong.size)) - 1], 40, 250))
    hidden = codes > 100
    return np.where(hidden & (z > line + margin), 100, np.where(hidden & (z < line - margin), 0, codes))


def by_definition(maps, z, start, end, margin, fill, original):
    """All layers of a season: maps as (day, codes), in order of preference within a day."""
    first, last = day_of(start), day_of(end)
    inside = sorted((m for m in maps if first - margin <= m[0] <= last + margin), key=lambda m: m[0])
    daily = one_per_day(inside)
    lined = {d: fill_by_line(v, z) if fill == "snowline" else v for d, v in daily.items()}
    h, w = z.shape
    layers: dict[str, np.ndarray] = {}
    for y in range(h):
        for x in range(w):
            series = {d: int(v[y, x]) for d, v in daily.items()}
            filled = {d: int(v[y, x]) for d, v in lined.items()}
            for name, value in pixel_season(series, filled, first, last, original).items():
                layers.setdefault(name, np.zeros((h, w), int))[y, x] = value
    return layers


def dates_of(rng: np.random.Generator, kind: str) -> list[np.datetime64]:
    """Acquisitions with a time of day, not in order."""
    begin = np.datetime64("2017-08-10T10:30")
    n = {"single": 1, "few": 3}.get(kind, int(rng.integers(4, 26)))
    if kind == "new year":
        days = np.arange(n) * 3 + 120  # from 8 December on
    elif kind == "same days":
        days = rng.integers(60, 70, n)
    elif kind == "outside":
        days = np.concatenate([[2, 8], rng.integers(30, 380, n), [390, 396]])
    else:
        days = rng.integers(15, 395, n)
    out = [
        begin + np.timedelta64(int(d), "D") + np.timedelta64(int(m), "m")
        for d, m in zip(days, rng.integers(0, 300, len(days)))
    ]
    return [out[k] for k in rng.permutation(len(out))]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["any", "single", "few", "new year", "same days", "outside"]),
    cover=st.sampled_from(["random", "all cloudy", "winter", "always snow"]), fill=st.sampled_from(["linear", "snowline"]),
    mode=st.sampled_from(["plus", "lis"]), margin=st.sampled_from([0, 7, 15, 60]), densify=st.booleans(),
    chunks=st.sampled_from([None, {"t": 3, "y": 2, "x": 5}]),
    season=st.sampled_from([(START, END), ("2017-12-20", "2018-01-12"), ("2018-01-01", "2018-01-01"), ("2017-10-01", "2018-04-20")]),
)  # fmt: skip
def test_season_is_the_definition(seed, kind, cover, fill, mode, margin, densify, chunks, season):
    rng = np.random.default_rng(seed)
    h, w = 5, 7
    z = np.sort(rng.uniform(600, 2600, h * w)).reshape(h, w)
    z = np.rint(z).astype(np.int16)

    def maps(dates):
        out = np.empty((len(dates), h, w), np.uint8)
        for k, when in enumerate(dates):
            distance = abs(day_of(when) - day_of("2018-01-25"))
            truth = np.where(z > 700 + 11 * distance, 100, 0)
            out[k] = {"random": rng.choice(CODES, (h, w)), "all cloudy": 205, "always snow": 100}.get(cover, truth)
            out[k][rng.random((h, w)) < 0.4] = rng.choice([205, 255])
        return out

    dates = dates_of(rng, kind)
    mine = maps(dates)
    cube = snow_cube(mine, dates)
    listed = [(day_of(d), mine[k]) for k, d in enumerate(dates)]
    more = {}
    if densify:
        other_dates = dates_of(rng, kind)
        theirs = maps(other_dates)[:, ::2, ::2]
        more["densify"] = snow_cube(theirs, other_dates, step=40.0)
        moved = theirs.repeat(2, 1).repeat(2, 2)[:, :h, :w]
        # data comes before the other sensor on a day, and within a sensor the order of the cube decides
        listed += [(day_of(d), moved[k]) for k, d in enumerate(other_dates)]
        if chunks:
            more["densify"] = more["densify"].chunk({"y": 2})
    first, last = day_of(season[0]), day_of(season[1])
    arguments = {"margin": margin, "fill": fill, "mode": mode, "dem": heights_like(cube, z), **more}
    data = cube.chunk(chunks) if chunks else cube
    if not any(first - margin <= d <= last + margin for d, _ in listed):
        with pytest.raises(ProcessError, match="no date"):
            snow_synthesis(data, *season, **arguments)
        return
    got = snow_synthesis(data, *season, **arguments).compute(scheduler="sync")
    expected = by_definition(listed, z.astype(float), *season, margin, fill, mode == "lis")
    for name, values in expected.items():
        np.testing.assert_array_equal(got.sel(bands=name).values, values, err_msg=name)
    assert set(expected) == set(got.bands.values)


# --- merge ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), step=st.sampled_from([20.0, 30.0, 45.0, 10.0]), lazy=st.booleans(),
    shift=st.tuples(st.sampled_from([0.0, 7.0, -45.0, 2000.0]), st.sampled_from([0.0, 3.0, 55.0])),
)  # fmt: skip
def test_merge_is_the_definition(seed, step, lazy, shift):
    rng = np.random.default_rng(seed)
    h, w = 9, 11
    mine = rng.choice(CODES, (3, h, w))
    theirs = rng.choice(CODES, (4, 8, 6))
    dates = ["2017-12-31T10:00", "2018-01-01T10:00", "2018-01-01T10:20"]
    others = ["2018-01-01T23:00", "2017-12-31T09:00", "2018-01-03T10:00", "2018-01-03T11:00"]
    cube = snow_cube(mine, dates, chunks={"y": 4} if lazy else None)
    other = snow_cube(theirs, others, step=step, origin=(3e5 + shift[0], 4.8e6 + shift[1]))
    got = merge_snow(cube, other).compute(scheduler="sync")
    cols = np.floor((cube.x.values - (3e5 + shift[0])) / step).astype(int)
    rows = np.floor(((4.8e6 + shift[1]) - cube.y.values) / step).astype(int)
    inside = ((rows >= 0) & (rows < 8))[:, None] & ((cols >= 0) & (cols < 6))[None]
    moved = theirs[:, np.clip(rows, 0, 7)][:, :, np.clip(cols, 0, 5)]
    moved = np.where(inside, moved, 255)
    maps = [(day_of(d), mine[k]) for k, d in enumerate(dates)] + [(day_of(d), moved[k]) for k, d in enumerate(others)]
    expected = one_per_day(maps)
    assert [day_of(t) for t in got.t.values] == sorted(expected)
    for k, day in enumerate(sorted(expected)):
        np.testing.assert_array_equal(got.values[k], expected[day])
    labels = [np.datetime64(t, "m") for t in ("2017-12-31T09:00", "2018-01-01T10:00", "2018-01-03T10:00")]
    assert got.t.values.astype("M8[m]").tolist() == np.array(labels).tolist()


def test_merge_across_zones_takes_the_pixel_that_holds_the_centre():
    """Landsat in the neighbouring UTM zone: each pixel gets what lies under its centre."""
    rng = np.random.default_rng(2)
    theirs = rng.choice(CODES[:-1], (1, 60, 60))
    to = Transformer.from_crs("EPSG:32631", "EPSG:32632", always_xy=True)
    x0, y0 = to.transform(700000.0, 4800000.0)
    other = snow_cube(theirs, ["2018-01-03"], step=30.0, origin=(x0 - 300, y0 + 300), crs="EPSG:32632")
    cube = snow_cube(np.full((1, 40, 40), 255, np.uint8), ["2018-01-03"], origin=(700000.0, 4800000.0))
    got = merge_snow(cube, other).values[0]
    xs, ys = to.transform(*np.meshgrid(cube.x.values, cube.y.values))
    col, row = (xs - (x0 - 300)) / 30, ((y0 + 300) - ys) / 30
    sure = (np.abs(col - np.rint(col)) > 0.02) & (np.abs(row - np.rint(row)) > 0.02)
    inside = sure & (col > 0) & (col < 60) & (row > 0) & (row < 60)
    assert inside.mean() > 0.7
    expected = theirs[0][np.clip(row, 0, 59).astype(int), np.clip(col, 0, 59).astype(int)]
    np.testing.assert_array_equal(got[inside], expected[inside])
