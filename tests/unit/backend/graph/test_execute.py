"""The whole flow on real files: graph in, file out, against direct computation and against the generator's truth."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pystac
import pytest
import rasterio
from rasterio.warp import Resampling, reproject

from backend.errors import OpenEOError
from backend.graph.run import check, estimate, execute
from processes import registry, stages
from processes.env import Env, Limits
from processes.errors import ProcessError

S2 = "SENTINEL2_L2A_MAJA"


def call(process_id, result=False, **arguments):
    return {"process_id": process_id, "arguments": arguments, **({"result": True} if result else {})}


def node(id):
    return {"from_node": id}


def callback(**nodes):
    return {"process_graph": nodes}


def reducer(process_id, **arguments):
    return callback(r=call(process_id, True, data={"from_parameter": "data"}, **arguments))


def element(index):
    return call("array_element", data={"from_parameter": "data"}, index=index)


IS_CLOUD = callback(b=element(0), e=call("eq", True, x=node("b"), y=1))


def composite(**load):
    return {
        "load": call("load_collection", id=S2, bands=["B04", "B08"], **load),
        "clouds": call("load_collection", id=S2, bands=["CLOUD"], **load),
        "cloudy": call("reduce_dimension", data=node("clouds"), dimension="bands", reducer=IS_CLOUD),
        "clear": call("mask", data=node("load"), mask=node("cloudy")),
        "ndvi": call("ndvi", data=node("clear"), nir="B08", red="B04"),
        "median": call("reduce_dimension", data=node("ndvi"), dimension="t", reducer=reducer("median")),
        "save": call("save_result", True, data=node("median"), format="COG"),
    }


def run(graph, env, out, **options):
    out.mkdir(exist_ok=True)
    return execute({"process_graph": graph}, env, out, **options)


def failure(graph, env, out, **options) -> OpenEOError:
    with pytest.raises(OpenEOError) as caught:
        run(graph, env, out, **options)
    assert list(out.iterdir()) == [], "a failed request leaves nothing behind"
    return caught.value


def test_a_composite_over_two_utm_zones_has_no_seam_hole_or_shift(env, small_archive, tmp_path):
    shares: list[float] = []
    (asset,) = run(
        composite(spatial_extent=None, temporal_extent=None), env, tmp_path / "out", on_progress=shares.append
    )
    assert shares == sorted(shares) and shares[-1] == 1 and len(set(shares)) > 2
    with rasterio.open(asset.path) as result:
        ndvi, profile = result.read(1), result.profile
    assert profile["crs"].to_epsg() in (32631, 32632) and abs(profile["transform"].a) == 10

    def onto_grid(path, resampling=Resampling.nearest):
        with rasterio.open(path) as source:
            out = np.full(ndvi.shape, np.nan, "f4")
            values = source.read(1).astype("f4") * source.scales[0]
            reproject(values, out, src_transform=source.transform, src_crs=source.crs, src_nodata=source.nodata,
                      dst_transform=profile["transform"], dst_crs=profile["crs"], dst_nodata=np.nan, resampling=resampling)  # fmt: skip
            return out

    # the same composite, from the generator's truth: NDVI of the bare surface where its sky was clear
    series: dict[str, list[np.ndarray]] = {}
    covered = np.zeros(ndvi.shape, bool)
    for day in sorted((small_archive / "truth").glob("T*/2*")):
        sky, surface = onto_grid(day / "cloud_optical_depth.tif"), onto_grid(day / "ndvi.tif")
        series.setdefault(day.name, []).append(np.where(sky == 0, surface, np.nan))
        covered |= ~np.isnan(surface)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dates = [np.nanmean(np.stack(tiles), axis=0) for tiles in series.values()]
        truth, clear = np.nanmedian(np.stack(dates), axis=0), (~np.isnan(np.stack(dates))).sum(axis=0)
    seen = ~np.isnan(ndvi)
    inner = covered & (clear >= 3)
    inner[[0, -1]] = inner[:, [0, -1]] = False
    assert (seen & inner).sum() / inner.sum() > 0.99, "no holes"
    good = seen & inner
    assert np.nanmedian(np.abs(ndvi - truth)[good]) < 0.03
    # no shift: the truth moved by a pixel in any direction fits worse
    error = np.mean(np.abs(ndvi - truth)[good])
    for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
        moved = np.roll(truth, shift, axis)
        both = good & ~np.isnan(moved)
        assert np.mean(np.abs(ndvi - moved)[both]) > 1.3 * error
    # no seam: left and right of where the second tile begins the error is the same
    with rasterio.open(next(small_archive.glob("*T32TLQ*/*_FRE_B4.tif"))) as tile:
        column = round((tile.bounds.left - profile["transform"].c) / 10)
    near = np.zeros(ndvi.shape, bool)
    near[:, max(column - 6, 0) : column + 6] = True
    assert np.mean(np.abs(ndvi - truth)[good & near]) < 2 * error + 0.01


def test_real_product_equals_the_formula_bit_for_bit(shared, tmp_path):
    from backend.catalogue import open_catalogue
    from backend.settings import Settings

    folder = shared / "data/muscate_l2a_T30TYP_20181023"
    catalogue = open_catalogue(Settings(archive=folder, data_dir=tmp_path))  # type: ignore[call-arg]
    catalogue.ingest([folder])
    west, south, east, north = 745000, 4839000, 748210, 4841070
    extent = {"west": west, "south": south, "east": east, "north": north, "crs": "EPSG:32630"}
    graph = {
        "load": call("load_collection", id=S2, spatial_extent=extent, temporal_extent=["2018-10-01", "2018-11-01"], bands=["B04", "B08"]),
        "ndvi": call("ndvi", data=node("load")),
        "save": call("save_result", True, data=node("ndvi"), format="GTiff"),
    }  # fmt: skip
    (asset,) = run(graph, Env(catalogue), tmp_path / "out")
    values = {}
    for number in (4, 8):
        with rasterio.open(next(folder.glob(f"SENTINEL2B*/*_FRE_B{number}.tif"))) as source:
            window = source.window(west, south, east, north)
            dn = source.read(1, window=window)
            values[number] = np.where(
                dn == -10000, np.float32(np.nan), (dn.astype("f4") + np.float32(0)) * np.float32(1e-4)
            )
            transform = source.window_transform(window)
    expected = (values[8] - values[4]) / (values[8] + values[4])
    with rasterio.open(asset.path) as result:
        assert result.transform == transform and result.crs.to_epsg() == 32630 and result.dtypes == ("float32",)
        np.testing.assert_array_equal(result.read(1), expected)


@pytest.mark.parametrize(
    "change, code, path, words",
    [
        ({"load": {"id": "NOPE"}}, "CollectionNotFound", ("load",), "NOPE"),
        ({"load": {"bands": ["B04", "B99"]}}, "ProcessParameterInvalid", ("load",), "B99"),
        ({"load": {"spatial_extent": {"west": 1, "east": 2, "south": 46, "north": 45}}}, "ProcessParameterInvalid", ("load",), "south"),
        ({"load": {"spatial_extent": {"west": 2, "east": 1, "south": 45, "north": 46}}}, "ProcessParameterInvalid", ("load",), "west"),
        ({"load": {"spatial_extent": {"west": 100, "east": 101, "south": 45, "north": 46}}}, "NoDataAvailable", ("load",), S2),
        ({"load": {"temporal_extent": ["2031-01-01", "2032-01-01"]}}, "NoDataAvailable", ("load",), "2031"),
        ({"load": {"spatial_extent": "everywhere"}}, "ProcessParameterInvalid", ("load",), "spatial_extent"),
        ({"load": {"colour": "blue"}}, "ProcessParameterUnsupported", ("load",), "colour"),
        ({"median": {"dimension": None}}, "ProcessParameterRequired", ("median",), "dimension"),
        ({"median": {"dimension": "time"}}, "DimensionNotAvailable", ("median",), "time"),
        ({"median": {"reducer": callback(r=call("medain", True, data={"from_parameter": "data"}))}}, "ProcessUnsupported", ("median", "reducer", "r"), "median"),
        ({"median": {"reducer": reducer("median", ignore="yes")}}, "ProcessParameterUnsupported", ("median", "reducer", "r"), "ignore"),
        ({"load": {"bands": [{"a": 1}, "B04"]}}, "ProcessParameterInvalid", ("load",), "bands"),
        ({"load": {"bands": 5}}, "ProcessParameterInvalid", ("load",), "bands"),
        ({"median": {"data": {"from_parameter": "none"}}}, "ProcessParameterRequired", ("median",), "none"),
        ({"median": {"data": node("load"), "dimension": {"from_node": "load"}}}, "ProcessParameterInvalid", ("median",), "must be a text, not a data cube"),
        ({"save": {"format": "PDF"}}, "FormatUnsuitable", ("save",), "COG"),
        ({"clear": {"mask": node("nowhere")}}, "ProcessGraphInvalid", ("clear",), "nowhere"),
        ({"load": {"temporal_extent": ["2024-03-02", "2024-03-01"]}}, "TemporalExtentEmpty", ("load",), "end"),
    ],
)  # fmt: skip
def test_mistakes_have_the_right_code_and_node(env, tmp_path, change, code, path, words):
    graph = json.loads(json.dumps(composite(spatial_extent=None, temporal_extent=None)))
    for id, arguments in change.items():
        for name, value in arguments.items():
            if value is None:
                graph[id]["arguments"].pop(name)
            else:
                graph[id]["arguments"][name] = value
    error = failure(graph, env, tmp_path / "out")
    assert (error.code, error.path) == (code, path) and words in error.message


def test_a_value_where_a_cube_belongs_is_named(env, tmp_path):
    graph = composite(spatial_extent=None, temporal_extent=None)
    graph["three"] = call("add", x=1, y=2)
    graph["clear"]["arguments"]["mask"] = node("three")
    error = failure(graph, env, tmp_path / "out")
    assert (error.code, error.path) == ("ProcessParameterInvalid", ("clear",))
    assert "'mask' in process 'mask' is invalid: it must be a data cube, not a number" in error.message


def test_a_cube_where_a_condition_belongs_is_named(env, tmp_path):
    graph = composite(spatial_extent=None, temporal_extent=None)
    graph["either"] = call("if", value=node("load"), accept=node("load"), reject=node("clear"))
    graph["median"]["arguments"]["data"] = node("either")
    error = failure(graph, env, tmp_path / "out")
    assert (error.code, error.path) == ("ProcessParameterInvalid", ("either",))


def test_every_problem_is_told_at_once(env, tmp_path):
    graph = composite(spatial_extent=None, temporal_extent=None)
    graph["load"]["arguments"]["bands"] = ["B77"]
    graph["median"]["process_id"] = "reduce"
    graph["save"]["arguments"]["format"] = "PDF"
    problems = check({"process_graph": graph}, env)
    assert {(p["code"], p["path"][0]) for p in problems} == {
        ("ProcessParameterInvalid", "load"), ("ProcessUnsupported", "median"), ("FormatUnsuitable", "save"),
    }  # fmt: skip
    assert check({"process_graph": composite(spatial_extent=None, temporal_extent=None)}, env) == []


def test_too_many_nodes(env, tmp_path):
    assert (
        failure(composite(spatial_extent=None, temporal_extent=None), env, tmp_path / "o", max_nodes=5).code
        == "ProcessGraphComplexity"
    )


def test_too_many_pixels_are_refused_before_anything_is_read(env, tmp_path):
    error = failure(composite(spatial_extent=None, temporal_extent=None), env, tmp_path / "o", max_pixels=1000)
    assert error.code == "ProcessGraphComplexity" and "batch job" in error.message and error.data["pixels"] > 1000


def test_too_large_a_result_is_refused_too(env, tmp_path):
    """Few pixels read, resampled to the ten-thousandth of their size, would occupy a synchronous slot for hours."""
    graph = composite(spatial_extent=None, temporal_extent=None)
    before = graph["save"]["arguments"]["data"]
    graph["fine"] = call("resample_spatial", data=before, resolution=0.05)
    graph["save"]["arguments"]["data"] = node("fine")
    error = failure(graph, env, tmp_path / "o", max_pixels=10_000_000)
    assert error.code == "ProcessGraphComplexity" and "writes" in error.message


def test_data_that_a_format_cannot_hold_names_the_node(env, tmp_path):
    graph = composite(spatial_extent=None, temporal_extent=None)
    graph["save"]["arguments"] |= {"format": "PNG", "options": {"bands": "nonsense"}}
    error = failure(graph, env, tmp_path / "o")
    assert (error.code, error.path) == ("FormatUnsuitable", ("save",))


def test_equal_nodes_and_unused_nodes_cost_nothing(env, tmp_path):
    graph = composite(spatial_extent=None, temporal_extent=None)
    before = estimate({"process_graph": graph}, env)
    graph["again"] = json.loads(json.dumps(graph["load"]))
    graph["other"] = call("load_collection", id=S2, spatial_extent=None, temporal_extent=None, bands=["B11"])
    graph["ndvi"]["arguments"]["data"] = node("clear")
    graph["clear"]["arguments"]["data"] = node("again")
    assert estimate({"process_graph": graph}, env) == before


def test_filters_after_the_load_are_pushed_into_it(env, tmp_path):
    plain = estimate({"process_graph": composite(spatial_extent=None, temporal_extent=None)}, env)
    graph = composite(spatial_extent=None, temporal_extent=None)
    bbox = env.catalogue.collection(S2)["extent"]["spatial"]["bbox"][0]
    middle = {"west": bbox[0] * 0.6 + bbox[2] * 0.4, "east": bbox[0] * 0.4 + bbox[2] * 0.6,
              "south": bbox[1] * 0.6 + bbox[3] * 0.4, "north": bbox[1] * 0.4 + bbox[3] * 0.6}  # fmt: skip
    graph["crop"] = call("filter_bbox", data=node("median"), extent=middle)
    graph["save"]["arguments"]["data"] = node("crop")
    cropped = estimate({"process_graph": graph}, env)
    assert cropped["pixels"] < plain["pixels"] / 10
    (whole,) = run(composite(spatial_extent=None, temporal_extent=None), env, tmp_path / "whole")
    (part,) = run(graph, env, tmp_path / "part")
    with rasterio.open(whole.path) as a, rasterio.open(part.path) as b:
        np.testing.assert_array_equal(a.read(1, window=a.window(*b.bounds)), b.read(1))


@pytest.fixture
def broken(small_archive, tmp_path):
    """The archive with one truncated band, indexed before it broke."""
    from backend.catalogue import open_catalogue
    from backend.settings import Settings

    folder = tmp_path / "archive"
    shutil.copytree(small_archive, folder, ignore=shutil.ignore_patterns("truth"))
    catalogue = open_catalogue(Settings(archive=folder, data_dir=tmp_path / "data"))  # type: ignore[call-arg]
    catalogue.ingest([folder])
    victim = next(folder.glob("*T31TGK*/*_FRE_B8.tif"))
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 3])
    return catalogue, victim


def test_a_truncated_tile_is_named_and_the_request_fails_clean(broken, tmp_path):
    catalogue, victim = broken
    error = failure(composite(spatial_extent=None, temporal_extent=None), Env(catalogue), tmp_path / "o")
    assert error.code == "StorageFailure" and victim.name in error.message


def test_a_truncated_tile_is_left_out_where_that_is_asked_and_the_log_says_so(broken, tmp_path):
    catalogue, victim = broken
    said = []
    env = Env(
        catalogue, limits=Limits(skip_unreadable=True), sink=lambda level, message, **_: said.append((level, message))
    )
    (asset,) = run(composite(spatial_extent=None, temporal_extent=None), env, tmp_path / "o")
    assert asset.path.stat().st_size > 0
    assert [m for level, m in said if level == "warning" and victim.name in m]


def test_values_and_cubes_without_save_result(env, tmp_path):
    (asset,) = run({"a": call("add", True, x=1, y=2)}, env, tmp_path / "v")
    assert json.loads(asset.path.read_text()) == 3
    graph = composite(spatial_extent=None, temporal_extent=None)
    graph.pop("save")
    graph["median"]["result"] = True
    (asset,) = run(graph, env, tmp_path / "c")
    assert asset.media_type.startswith("application/x-netcdf")


def test_parameters_of_the_process(env, tmp_path):
    process = {
        "parameters": [
            {"name": "k", "schema": {"type": "number"}},
            {"name": "n", "schema": {}, "optional": True, "default": 5},
        ],
        "process_graph": {"a": call("add", True, x={"from_parameter": "k"}, y={"from_parameter": "n"})},
    }
    for given, value in (({"k": 1}, 6), ({"k": 1, "n": 10}, 11)):
        out = tmp_path / str(value)
        out.mkdir()
        (asset,) = execute(process, env, out, parameters=given)
        assert json.loads(asset.path.read_text()) == value
    assert check(process, env) == []
    with pytest.raises(OpenEOError, match="ProcessParameterRequired"):
        execute(process, env, tmp_path, parameters={})


# ---- chains as stages --------------------------------------------------------------------------------------------


def _produce(task, out, env):
    """Toy chain: doubles the red band of each product on its own grid."""
    (item,) = task.stac_items()
    from processes.load.items import item_bands

    band = item_bands(item)["B04"]
    with rasterio.open(band.href) as source:
        dn, profile = source.read(1), source.profile
    path = out / f"{item.id}_twice.tif"
    with rasterio.open(path, "w", **{**profile, "dtype": "int32"}) as target:
        target.write(np.where(dn == -10000, -10000, dn.astype("i4") * task.params.get("factor", 2)).astype("i4"), 1)
    made = pystac.Item(f"{item.id}_twice", item.geometry, item.bbox, item.datetime, dict(item.properties))
    extra = {
        "name": "TWICE",
        "data_type": "int32",
        "nodata": -10000,
        "raster:scale": 1e-4,
        "tuile:offset_dn": 0,
        "tuile:kind": "reflectance",
    }
    grid = {
        "proj:code": str(band.geobox.crs),
        "proj:shape": list(band.geobox.shape),
        "proj:transform": list(band.geobox.affine)[:6],
    }
    made.add_asset("twice", pystac.Asset(str(path), extra_fields={**grid, "bands": [extra]}))
    RUNS.append(item.id)
    return [made]


RUNS: list[str] = []


@pytest.fixture
def toy_chain(monkeypatch, tmp_path):
    spec = tmp_path / "toy_chain.json"
    spec.write_text(json.dumps({"id": "toy_chain", "parameters": [
        {"name": "data", "schema": {"type": "object", "subtype": "datacube"}},
        {"name": "factor", "schema": {"type": "number"}, "optional": True, "default": 2}], "returns": {"schema": {}}}))  # fmt: skip

    def toy_chain(data, factor=2):
        return data * factor

    monkeypatch.setitem(registry.processes(), "toy_chain", registry.Process("toy_chain", toy_chain, spec_file=spec))
    monkeypatch.setitem(stages.CHAINS, "toy_chain", stages.ProductChain("toy_chain", "1", _produce))
    RUNS.clear()


def _chain_graph(**load):
    return {
        "load": call("load_collection", id=S2, bands=["B04"], spatial_extent=None, temporal_extent=None),
        "season": call("filter_temporal", data=node("load"), extent=["2024-01-01", "2024-06-01"]),
        "twice": call("toy_chain", data=node("season"), factor=3),
        "first": call("reduce_dimension", data=node("twice"), dimension="t", reducer=reducer("first")),
        "save": call("save_result", True, data=node("first"), format="GTiff"),
    }


def test_a_chain_runs_on_whole_products_once(env, toy_chain, tmp_path):
    (asset,) = run(_chain_graph(), env, tmp_path / "a")
    made = len(RUNS)
    assert made > 1 and len(set(RUNS)) == made
    (again,) = run(_chain_graph(), env, tmp_path / "b")
    assert len(RUNS) == made, "the second request for the same products is free"
    assert asset.path.read_bytes() == again.path.read_bytes()
    plain = _chain_graph()
    plain["twice"] = call("filter_bands", data=node("season"), bands=["B04"])
    (once,) = run(plain, env, tmp_path / "c")
    with rasterio.open(asset.path) as a, rasterio.open(once.path) as b:
        np.testing.assert_allclose(a.read(1), b.read(1) * 3, rtol=1e-5)


def test_a_chain_on_any_other_cube_is_its_plain_function(env, toy_chain, tmp_path):
    graph = _chain_graph()
    graph["bands"] = call(
        "apply", data=node("season"), process=callback(a=call("absolute", True, x={"from_parameter": "x"}))
    )
    graph["twice"]["arguments"]["data"] = node("bands")
    run(graph, env, tmp_path / "a")
    assert RUNS == []


def test_a_chain_that_fails_leaves_no_product_and_tells_its_node(env, toy_chain, tmp_path, monkeypatch):
    def fails(task, out, env):
        (out / "half.tif").write_bytes(b"half")
        raise ProcessError("NoDataAvailable", "there is no DEM")

    monkeypatch.setitem(stages.CHAINS, "toy_chain", stages.ProductChain("toy_chain", "2", fails))
    error = failure(_chain_graph(), env, tmp_path / "o")
    assert (error.code, error.path) == ("NoDataAvailable", ("twice",))
    assert not list(env.workspace.rglob("half.tif"))


def test_a_dispatcher_may_send_the_stage_elsewhere(env, toy_chain, tmp_path):
    from dataclasses import replace

    sent = []

    class Elsewhere:
        def run(self, stage, env):
            sent.append(stage)
            raise stages.StagePending(stage)

    away = replace(env, dispatch=Elsewhere())
    with pytest.raises(stages.StagePending):
        run(_chain_graph(), away, tmp_path / "o")
    for task in sent[0].tasks:  # what the workers do
        stages.run_task(env.workspace, task, env)
    assert len(run(_chain_graph(), away, tmp_path / "p")) == 1 and len(sent) == 1
    with pytest.raises(OpenEOError, match="EstimateComplexity"):
        estimate({"process_graph": {**_chain_graph(), "twice": call("toy_chain", data=node("season"), factor=9)}}, env)


def test_a_result_without_dates_tells_when_it_was_seen(env, tmp_path):
    (asset,) = run(composite(spatial_extent=None, temporal_extent=["2024-03-01", "2024-09-01"]), env, tmp_path / "o")
    start, end = asset.properties["start_datetime"], asset.properties["end_datetime"]
    assert "2024-03" <= start < end < "2024-09"
