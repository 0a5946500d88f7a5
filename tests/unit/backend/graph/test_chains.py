"""`lis_snow` and `wasp_synthesis` through the evaluator, on files: against the generator's truth, and read back in."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr

from backend.catalogue import open_catalogue
from backend.errors import OpenEOError
from backend.graph.run import execute
from backend.settings import Settings
from processes import cube as cubes
from processes.env import Env, Limits
from processes.lis import lis_snow
from processes.lis.inputs import open_item, read_item
from processes.load.load_collection import load_collection

S2 = "SENTINEL2_L2A_MAJA"
DAY = "2024-03-21"
REFLECTANCE = ("B02", "B03", "B04", "B08", "B8A", "B11")


@pytest.fixture(scope="module")
def mountains(tmp_path_factory) -> Path:
    """A valley between two ranges in March: snow on the upper half, clouds, a lake, a swath's end."""
    from backend.demo.archive import generate

    folder = tmp_path_factory.mktemp("mountains") / "demo"
    generate(folder, size=360, dates=5, start=date(2024, 3, 1), days=40, seed=10, tiles=("31TGK",), bands=REFLECTANCE,
             distribution="D", workers=1)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def catalogue(mountains, tmp_path_factory) -> Any:
    return _index(mountains, tmp_path_factory.mktemp("data"))


@pytest.fixture
def service(catalogue, workspace, log) -> Env:
    def sink(level, message, *, code=None, data=None, path=()):
        log.append((level, message))

    return Env(catalogue, limits=Limits(memory=1 << 30, threads=2), workspace=workspace, sink=sink)


def _index(archive: Path, data: Path) -> Any:
    found = open_catalogue(Settings(archive=archive, data_dir=data))  # type: ignore[call-arg]
    report = found.ingest([archive])
    assert not report.rejected
    return found


def run(env: Env, out: Path, process_id: str, bands: list[str] | None = None, **arguments: Any) -> xr.Dataset:
    """The netCDF file that load_collection -> process -> save_result makes."""
    load = {"id": S2, "spatial_extent": None, "temporal_extent": None} | ({"bands": bands} if bands else {})
    graph = {
        "load": {"process_id": "load_collection", "arguments": load},
        "chain": {"process_id": process_id, "arguments": {"data": {"from_node": "load"}, **arguments}},
        "save": {"process_id": "save_result", "arguments": {"data": {"from_node": "chain"}, "format": "netCDF"}, "result": True},
    }  # fmt: skip
    out.mkdir()
    (asset,) = execute({"process_graph": graph}, env, out)
    return xr.load_dataset(asset.path, mask_and_scale=False)


def truth(archive: Path, instant: Any, layer: str, factor: int = 1) -> np.ndarray:
    """A layer of the truth on one date, averaged over squares of ``factor`` pixels."""
    day = np.datetime_as_string(instant, "D").replace("-", "")
    with rasterio.open(archive / "truth" / "T31TGK" / day / f"{layer}.tif") as source:
        values = source.read(1) * source.scales[0]
    h, w = values.shape
    return values.reshape(h // factor, factor, w // factor, factor).mean(axis=(1, 3))


def test_snow_by_graph_is_the_snow_that_is_there(service, mountains, log, tmp_path):
    snow = run(service, tmp_path / "a", "lis_snow")
    assert [n for n in snow.data_vars if n != "crs"] == ["SEB", "NDSI", "FSCTOC", "FSCOG", "QCTOC", "QCOG", "EXPERT"]
    assert snow["SEB"].dtype == np.uint8 and snow["SEB"].shape == (5, 180, 180)
    seb, fraction = snow["SEB"].values, snow["FSCTOC"].values
    assert set(np.unique(seb)) <= {0, 100, 205, 255} and (seb == 205).any() and (seb == 255).any()
    right, pixels, error = 0, 0, []
    for k, instant in enumerate(snow["t"].values):
        real = truth(mountains, instant, "snow_fraction", 2)
        sky = truth(mountains, instant, "cloud_optical_depth", 2) + truth(mountains, instant, "shadow", 2)
        plain = (sky == 0) & (seb[k] <= 100) & (np.abs(real - 0.5) > 0.3)
        right += int(((seb[k] == 100) == (real > 0.5))[plain].sum())
        pixels += int(plain.sum())
        error.append((fraction[k] / 100 - real)[plain])
    assert pixels > 30_000 and right / pixels > 0.95
    assert np.sqrt(np.mean(np.concatenate(error) ** 2)) < 0.15
    assert sum("products ready" in message for _, message in log) == 5


def test_the_second_request_is_free(service, log, workspace, tmp_path):
    first = run(service, tmp_path / "a", "lis_snow")
    files = {p: p.stat().st_mtime_ns for p in workspace.rglob("*") if p.is_file()}
    log.clear()
    again = run(service, tmp_path / "b", "lis_snow")
    assert not log and files == {p: p.stat().st_mtime_ns for p in workspace.rglob("*") if p.is_file()}
    xr.testing.assert_equal(first, again)
    run(service, tmp_path / "c", "lis_snow", mode="lis")
    assert sum("products ready" in message for _, message in log) == 5, "other parameters are another stage"


def test_a_whole_tile_as_a_cube_gives_what_the_stage_gives(service, tmp_path):
    """The bands of each product on its 20 m grid, as a plain cube: the same snow, digit by digit, in mode lis."""
    stage = run(service, tmp_path / "a", "lis_snow", mode="lis")
    for item in service.catalogue.search(S2):
        source = open_item(item)
        block = read_item(source)
        names = {"B03": block.green, "B04": block.red, "B11": block.swir, "B02": block.blue, "B8A": block.nir}
        planes = [np.where(v == -10000, np.nan, v * np.float32(1e-4)) for v in names.values()]
        rows, cols = source.grid.shape
        a = source.grid.affine
        coords = {
            "bands": [*names, "CLM", "MG2"],
            "y": a.f + a.e * (np.arange(rows) + 0.5),
            "x": a.c + a.a * (np.arange(cols) + 0.5),
        }
        values = np.stack([*planes, block.cloud, block.geo]).astype(np.float32)
        cube = cubes.cube(values, ["bands", "y", "x"], coords, crs=str(source.grid.crs))
        sun = [item.properties["view:sun_azimuth"], item.properties["view:sun_elevation"]]
        plain = lis_snow(cube, sensor=source.sensor.id, sun_angles=sun, mode="lis", env=service).compute()
        when = np.datetime64(item.datetime.replace(tzinfo=None), "ns")
        made = stage.sel(t=when)
        for band in ("SEB", "NDSI", "FSCTOC", "FSCOG", "EXPERT"):
            np.testing.assert_array_equal(plain.sel(bands=band).values, made[band].values, err_msg=f"{item.id} {band}")


def test_a_composite_by_graph_is_the_ground_that_is_there(service, mountains, log, tmp_path):
    made = run(service, tmp_path / "a", "wasp_synthesis", date=DAY)
    assert [n for n in made.data_vars if n != "crs"] == [*REFLECTANCE, "FLG", "WGT", "DTS", "NCL"]
    assert made["t"].values.astype("M8[D]").tolist() == [date(2024, 3, 21)]
    flag, weight, clear = (made[n].values[0] for n in ("FLG", "WGT", "NCL"))
    assert {2, 4} <= set(np.unique(flag)) <= {0, 1, 2, 3, 4} and (weight[flag == 4] > 0).all()
    days = made["DTS"].values[0] - (date(2024, 3, 21) - date(2000, 1, 1)).days
    assert np.abs(days[flag > 0]).max() <= 23 and len(np.unique(days[flag > 0])) > 5
    dates = sorted(p.name for p in (mountains / "truth" / "T31TGK").glob("2*"))
    instants = [np.datetime64(f"{d[:4]}-{d[4:6]}-{d[6:]}") for d in dates]
    sky = np.stack([truth(mountains, t, "cloud_optical_depth") + truth(mountains, t, "shadow") for t in instants])
    seen = np.stack([truth(mountains, t, "detector") > 0 for t in instants])
    really = ((sky == 0) & seen).sum(axis=0)
    assert clear.max() <= len(dates) and np.corrcoef(clear.ravel(), really.ravel())[0, 1] > 0.6
    ground = []
    for day in dates:
        with rasterio.open(mountains / "truth" / "T31TGK" / day / "reflectance_10m.tif") as source:
            ground.append(source.read(source.descriptions.index("B04") + 1) * 1e-4)
    good = (flag == 4) & (clear >= 2)
    assert good.mean() > 0.2
    assert np.median(np.abs(made["B04"].values[0] - np.median(ground, axis=0))[good]) < 0.02
    log.clear()
    again = run(service, tmp_path / "b", "wasp_synthesis", date=DAY)
    assert not log
    xr.testing.assert_equal(made, again)


def test_the_composite_has_the_bands_of_the_input(service, tmp_path):
    made = run(service, tmp_path / "a", "wasp_synthesis", bands=["red", "B02", "CLM"], date=DAY)
    assert [n for n in made.data_vars if n != "crs"] == ["B04", "B02", "FLG", "WGT", "DTS", "NCL"]


@pytest.mark.parametrize(
    ("process_id", "arguments", "collection", "bands"),
    [("lis_snow", {}, "LIS_SNOW", ["SEB", "NDSI", "FSCTOC", "FSCOG", "QCTOC", "QCOG", "EXPERT"]),
     ("wasp_synthesis", {"date": DAY}, "SENTINEL2_L3A_WASP", ["B04", "B11", "FLG", "WGT", "DTS", "NCL"])],
)  # fmt: skip
def test_products_are_read_back_as_a_collection(service, tmp_path, process_id, arguments, collection, bands):
    made = run(replace(service, workspace=tmp_path / "products"), tmp_path / "a", process_id, **arguments)
    found = _index(tmp_path / "products" / process_id, tmp_path / "data")
    cube = load_collection(collection, bands=bands, env=Env(found))
    assert cube.sizes["t"] == made.sizes["t"]
    for band in bands:
        read, kept = cube.sel(bands=band).values.astype(np.float32), made[band].values.astype(np.float32)
        np.testing.assert_array_equal(np.nan_to_num(read, nan=-1), np.nan_to_num(kept, nan=-1), err_msg=band)
    (item, *_) = found.search(collection)
    assert item.properties["grid:code"] == "MGRS-31TGK" and "eo:snow_cover" in item.properties


def test_a_resampled_cube_takes_the_plain_function(service, log, tmp_path):
    """Resampling the bands and masks by hand leaves the stage unused, and finds nearly the same snow."""
    stage = run(service, tmp_path / "a", "lis_snow", mode="lis")
    log.clear()
    load = {"id": S2, "spatial_extent": None, "temporal_extent": None}
    graph = {
        "load": {"process_id": "load_collection", "arguments": {**load, "bands": ["B03", "B04", "B11"]}},
        "coarse": {"process_id": "resample_spatial", "arguments": {"data": {"from_node": "load"}, "resolution": 20, "method": "cubic"}},
        "clouds": {"process_id": "load_collection", "arguments": {**load, "bands": ["CLM_R2"]}},
        "snow": {"process_id": "lis_snow", "arguments": {
            "data": {"from_node": "coarse"}, "cloud_mask": {"from_node": "clouds"}, "mode": "lis"}},
        "save": {"process_id": "save_result", "arguments": {"data": {"from_node": "snow"}, "format": "netCDF"}, "result": True},
    }  # fmt: skip
    out = tmp_path / "b"
    out.mkdir()
    (asset,) = execute({"process_graph": graph}, service, out)
    plain = xr.load_dataset(asset.path, mask_and_scale=False)
    assert not log, "no product was made"
    assert np.mean(plain["SEB"].values == stage["SEB"].values) > 0.97


def test_seasons_and_snow_lines_of_products_by_graph(service, mountains, tmp_path):
    """What comes after `lis_snow` in a graph: season, merged series and snow line, saved to files."""
    snow = run(service, tmp_path / "a", "lis_snow")
    graph = {
        "load": {"process_id": "load_collection", "arguments": {"id": S2, "spatial_extent": None, "temporal_extent": None}},
        "snow": {"process_id": "lis_snow", "arguments": {"data": {"from_node": "load"}}},
        "days": {"process_id": "merge_snow", "arguments": {"data": {"from_node": "snow"}, "other": {"from_node": "snow"}}},
        "season": {"process_id": "snow_synthesis", "arguments": {
            "data": {"from_node": "snow"}, "start": "2024-03-01", "end": "2024-04-10", "fill": "snowline"}},
        "line": {"process_id": "snow_line", "arguments": {"data": {"from_node": "snow"}, "min_confidence": 0.9}},
        **{f"save_{name}": {"process_id": "save_result", "arguments": {"data": {"from_node": name}, "format": format}}
           for name, format in (("days", "netCDF"), ("season", "netCDF"), ("line", "CSV"))},
    }  # fmt: skip
    graph["save_line"]["result"] = True
    out = tmp_path / "b"
    out.mkdir()
    assets = {a.path.name: a.path for a in execute({"process_graph": graph}, service, out)}
    cubes_saved = [xr.load_dataset(p, mask_and_scale=False) for p in assets.values() if p.suffix == ".nc"]
    (season,) = [d for d in cubes_saved if "SCD" in d.data_vars]
    (days,) = [d for d in cubes_saved if "SCD" not in d.data_vars]
    (merged,) = [days[n].values for n in days.data_vars if n != "crs"]
    np.testing.assert_array_equal(merged, snow["SEB"].values)
    seen = (snow["SEB"].values <= 100).any(axis=0)
    scd = season["SCD"].values
    assert (scd[seen] <= 41).all() and (scd[~seen] == 65535).all()
    with rasterio.open(mountains / "truth" / "T31TGK" / "static" / "elevation.tif") as source:
        height = source.read(1).reshape(180, 2, 180, 2).mean(axis=(1, 3))
    assert scd[seen & (height > 1900)].mean() > 30 > 5 > scd[seen & (height < 1100)].mean()
    with next(p for p in assets.values() if p.suffix == ".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 and {"t", "RSLE", "CONFIDENCE", "CLEAR"} <= set(rows[0])
    lines = [float(r["RSLE"]) for r in rows if r["RSLE"]]
    assert lines and 1100 < np.median(lines) < 1700, "the world's snow line is at 1200 to 1500 m then"


def saved(
    env: Env, out: Path, process_id: str, format: str, extent: Any = None, then: Any = None, **options: Any
) -> Any:
    """Assets of load_collection -> process (-> a step) -> save_result in a native format."""
    load = {"id": S2, "spatial_extent": extent, "temporal_extent": None}
    arguments = {"date": DAY} if process_id == "wasp_synthesis" else {}
    graph: dict[str, Any] = {
        "load": {"process_id": "load_collection", "arguments": load},
        "made": {"process_id": process_id, "arguments": {"data": {"from_node": "load"}, **arguments}},
        "save": {"process_id": "save_result", "arguments": {"data": {"from_node": "made"}, "format": format, "options": options}, "result": True},
    }  # fmt: skip
    if then is not None:
        graph["then"] = {"process_id": then[0], "arguments": {"data": {"from_node": "made"}, **then[1]}}
        graph["save"]["arguments"]["data"] = {"from_node": "then"}
    out.mkdir()
    return execute({"process_graph": graph}, env, out)


NATIVE = [
    ("lis_snow", "LIS", "LIS_SNOW", r"LIS_S2-SNOW_T31TGK_\d{8}T\d{6}_1.1", 5),
    ("wasp_synthesis", "MUSCATE", "SENTINEL2_L3A_WASP", r"SENTINEL2._20240321-000000-000_L3A_T31TGK_C_V1-0", 1),
]


@pytest.mark.parametrize(("process_id", "format", "collection", "named", "dates"), NATIVE)
def test_whole_products_are_saved_as_they_lie(
    process_id, format, collection, named, dates, service, workspace, tmp_path
):
    assets = saved(service, tmp_path / "a", process_id, format)
    folders = sorted({a.name.partition("/")[0] for a in assets})
    assert len(folders) == dates and all(re.fullmatch(named, f) for f in folders)
    assert all(a.path == tmp_path / "a" / a.name and a.path.is_file() for a in assets)
    assert sum(p.is_file() for p in (tmp_path / "a").rglob("*")) == len(assets)
    for folder in folders:
        mine = {p.relative_to(tmp_path / "a" / folder): p for p in (tmp_path / "a" / folder).rglob("*") if p.is_file()}
        stages = list(workspace.glob(f"{process_id}/*/{folder}"))  # of other tests too, with other parameters
        assert any(
            {p.relative_to(m) for p in m.rglob("*") if p.is_file()} == set(mine)
            and all((m / name).read_bytes() == path.read_bytes() for name, path in mine.items())
            for m in stages
        )
    if format == "MUSCATE":  # every resolution of its own
        (fine,) = (a for a in assets if a.name.endswith("MASKS/" + folders[0] + "_FLG_R1.tif"))
        (coarse,) = (a for a in assets if a.name.endswith("_FLG_R2.tif"))
        assert fine.metadata["proj:shape"] == [360, 360] and coarse.metadata["proj:shape"] == [180, 180]
        assert {"_MTD_ALL.xml", "_QKL_ALL.jpg", "_IPP_ALL.xml"} <= {a.name[-12:] for a in assets}
    again = _index(tmp_path / "a", tmp_path / "data")
    back = load_collection(collection, env=Env(again))
    whole = run(service, tmp_path / "b", process_id, **({"date": DAY} if dates == 1 else {}))
    for name in (n for n in whole.data_vars if n != "crs"):
        values = back.sel(bands=name).values
        np.testing.assert_array_equal(values, whole[name].values, err_msg=name)


@pytest.mark.parametrize(("process_id", "format", "collection", "named", "dates"), NATIVE)
@pytest.mark.parametrize("then", [None, ("apply", {"process": {"process_graph": {"a": {
    "process_id": "add", "arguments": {"x": {"from_parameter": "x"}, "y": 0}, "result": True}}}})])  # fmt: skip
def test_a_part_of_them_is_written_and_ingests(
    then, process_id, format, collection, named, dates, service, log, tmp_path
):
    part = {"west": 702000, "south": 4902000, "east": 703000, "north": 4903000, "crs": 32631}
    with rasterio.open(
        next(Path(service.catalogue.search(S2)[0].assets["FRE_B02"].href).parent.glob("*FRE_B2.tif"))
    ) as f:
        left, top = f.bounds.left, f.bounds.top
    part |= {"west": left + 400, "east": left + 2000, "south": top - 2400, "north": top - 800}
    assets = saved(service, tmp_path / "a", process_id, format, part, then)
    folders = sorted({a.name.partition("/")[0] for a in assets})
    assert len(folders) == dates and all(re.fullmatch(named, f) for f in folders)
    back = load_collection(collection, env=Env(_index(tmp_path / "a", tmp_path / "data")))
    load = {"id": S2, "spatial_extent": part, "temporal_extent": None}
    (tmp_path / "b").mkdir()
    graph = {
        "load": {"process_id": "load_collection", "arguments": load},
        "made": {"process_id": process_id, "arguments": {"data": {"from_node": "load"}, **({"date": DAY} if dates == 1 else {})}},
        "save": {"process_id": "save_result", "arguments": {"data": {"from_node": "made"}, "format": "netCDF"}, "result": True},
    }  # fmt: skip
    (asset,) = execute({"process_graph": graph}, service, tmp_path / "b")
    whole = xr.load_dataset(asset.path, mask_and_scale=False)
    for name in (n for n in whole.data_vars if n != "crs"):
        np.testing.assert_array_equal(back.sel(bands=name).values, whole[name].values, err_msg=name)
    if format == "LIS":
        meta = json.loads((tmp_path / "a" / folders[0] / f"{folders[0]}_MTD.json").read_text())
        assert meta["extent_used"]["kind"] == "tile" and meta["mode"] == "plus" and "histogram" in meta
        seb = whole["SEB"].values[0]
        assert meta["snow_percent"] == pytest.approx(100 * (seb == 100).sum() / max((seb != 255).sum(), 1))
    else:
        text = (tmp_path / "a" / folders[0] / "DATA" / f"{folders[0]}_IPP_ALL.xml").read_text()
        assert text.count("<PRODUCT_ID date=") == 5 and "<MODE>plus" in text


@pytest.mark.parametrize("tile", ["../up", "a/b", "", 7])
def test_a_hostile_tile_is_refused_before_the_chain_runs(tile, service, log, tmp_path):
    with pytest.raises(OpenEOError, match="Option 'tile' of format LIS") as caught:
        saved(service, tmp_path / "a", "lis_snow", "LIS", tile=tile)
    assert caught.value.code == "FormatUnsuitable" and not log and not list((tmp_path / "a").iterdir())


def test_a_tile_of_the_users_own_names_the_products(service, tmp_path):
    assets = saved(service, tmp_path / "a", "lis_snow", "LIS", tile="ALPS")
    assert {a.name.split("_")[2] for a in assets} == {"ALPS"}
    back = load_collection("LIS_SNOW", bands=["SEB"], env=Env(_index(tmp_path / "a", tmp_path / "data")))
    np.testing.assert_array_equal(back.values[:, 0], run(service, tmp_path / "b", "lis_snow")["SEB"].values)
