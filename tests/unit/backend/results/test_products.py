"""Cubes saved as native products of the chains, and the folders ingested again."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import xarray as xr

from backend.catalogue import open_catalogue
from backend.errors import OpenEOError
from backend.results import formats, write
from backend.settings import Settings
from processes import cube as cubes
from processes.env import Env
from processes.errors import ProcessError
from processes.lis import lis_snow, snow_metadata
from processes.load.load_collection import load_collection
from processes.save.save_result import SaveResult
from processes.wasp import wasp_synthesis
from processes.wasp.cube_product import write_cube
from tests.unit.processes.lis.scenes import as_cube, mountain, plane, with_swath
from tests.unit.processes.wasp.helpers import cube as wasp_input

LIS = ["SEB", "NDSI", "FSCTOC", "FSCOG", "QCTOC", "QCOG", "EXPERT"]


def snow(chunks: Any = (100, 64)) -> xr.DataArray:
    blocks = [mountain(1), with_swath(mountain(1, line=1900.0), 70)]
    return lis_snow(as_cube(blocks, chunks), dem=plane(blocks[0].dem))


def synthesis(size: tuple[int, int] = (90, 130), chunks: Any = None, **options: Any) -> xr.DataArray:
    """Three dates in March, clouds on each; one corner never has data."""
    rng = np.random.default_rng(3)
    dn = rng.integers(200, 5000, (3, 4, *size)).astype(np.int16)
    dn[..., :9, :9] = -10000
    cloud = (rng.random((3, *size)) > 0.6).astype(np.uint8)
    days = [date(2018, 3, 1) + timedelta(days=10 * k) for k in range(3)]
    data = wasp_input(dn, cloud, days, ["B02", "B03", "B04", "B08"])
    if chunks:
        data = data.chunk({"y": chunks[0], "x": chunks[1]})
    return wasp_synthesis(data, date=["2018-03-08", "2018-03-15"], **options)


def reloaded(folder: Path, collection: str, at: Path) -> xr.DataArray:
    """The cube of what lies in ``folder``, ingested."""
    catalogue = open_catalogue(Settings(archive=at / "none", data_dir=at / "data"))  # type: ignore[call-arg]
    report = catalogue.ingest([folder])
    assert report.added and not report.rejected
    return load_collection(collection, env=Env(catalogue))


def items(folder: Path, at: Path, collection: str) -> list[Any]:
    catalogue = open_catalogue(Settings(archive=at / "none", data_dir=at / "data"))  # type: ignore[call-arg]
    catalogue.ingest([p for p in folder.iterdir() if p.name.startswith("LIS_")])
    return list(catalogue.search(collection))


@pytest.mark.parametrize("chunks", [None, (100, 64)])
def test_snow_of_any_cube_is_ingested_with_equal_values(tmp_path: Path, chunks: Any) -> None:
    cube = snow(chunks)
    (tmp_path / "out").mkdir()
    assets = write([SaveResult(cube, "lis", {"tile": "T31TGL"})], tmp_path / "out")
    homes = ["LIS_S2-SNOW_T31TGL_20240105T105000_1.1", "LIS_S2-SNOW_T31TGL_20240110T105000_1.1"]
    assert [p.name for p in sorted((tmp_path / "out").iterdir())] == homes
    files = [*(f"_{n}.tif" for n in LIS), "_MTD.json", "_MTD.xml", "_HIST.txt", ".json"]
    assert {a.name for a in assets} == {f"{h}/{h}{f}" for h in homes for f in files}
    data = [a for a in assets if "data" in a.roles]
    assert len(data) == 14 and all(a.properties["datetime"] and a.bbox and a.metadata["bands"] for a in data)
    back = reloaded(tmp_path / "out", "LIS_SNOW", tmp_path)
    np.testing.assert_array_equal(back.sel(bands=LIS).values, cube.values)
    assert back.t.values.tolist() == cube.t.values.tolist()
    for home, told in zip(homes, snow_metadata(cube)):
        beside = json.loads((tmp_path / "out" / home / f"{home}_MTD.json").read_text())
        for key in ("snow_line", "fsc_law", "mode", "extent_used", "snow_line_found"):
            assert beside[key] == told[key]
        assert beside["snow_percent"] == pytest.approx(told["snow_percent"])
        assert beside["cloud_percent"] == pytest.approx(told["cloud_percent"])
        with rasterio.open(tmp_path / "out" / home / f"{home}_SEB.tif") as file:
            assert file.dtypes == ("uint8",) and file.nodata == 255


def test_metadata_of_a_date_are_computed_with_its_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from processes.lis import cubes as lis_cubes

    seen: list[int] = []
    true = lis_cubes.make_block
    monkeypatch.setattr(lis_cubes, "make_block", lambda *a: seen.append(1) or true(*a))
    write([SaveResult(snow((120, 120)), "LIS", {"tile": "A"})], tmp_path)
    assert len(seen) == 2 * 4


def test_cubes_that_went_through_other_processes(tmp_path: Path) -> None:
    """One date of two, a part, upside down, as floats with gaps and a band of its own: what the product holds is written."""
    cube = snow()
    part = cubes.like(cube.isel(t=[1], y=slice(20, 150), x=slice(60, 200)), cube)
    floats = cubes.like(part.astype("f4").where(part != 255), part)
    more = xr.concat([floats.isel(bands=[0]).assign_coords(bands=["EXTRA"]), floats], dim="bands", join="override")
    turned = cubes.like(more.isel(y=slice(None, None, -1)), floats)
    write([SaveResult(turned, "LIS", {"tile": "A_b1"})], tmp_path)
    (home,) = tmp_path.iterdir()
    assert home.name == "LIS_S2-SNOW_A_b1_20240110T105000_1.1"
    back = reloaded(tmp_path, "LIS_SNOW", tmp_path / "x")
    bits = cubes.labels(part, "bands").index("EXPERT")
    expected = part.values.copy()
    expected[:, bits] = np.where(expected[:, bits] == 255, 0, expected[:, bits])
    np.testing.assert_array_equal(back.sel(bands=LIS).values, expected)
    told = json.loads((home / f"{home.name}_MTD.json").read_text())
    seb = part.values[0, 0]
    assert told["snow_percent"] == pytest.approx(100 * (seb == 100).sum() / (seb != 255).sum())
    assert told["extent_used"] == snow_metadata(cube)[1]["extent_used"]


@pytest.mark.parametrize(("chunks", "mode"), [(None, "plus"), ((40, 33), "plus"), ((40, 33), "wasp1")])
def test_syntheses_of_any_cube_are_ingested_with_equal_values(tmp_path: Path, chunks: Any, mode: str) -> None:
    cube = synthesis(chunks=chunks, mode=mode)
    (tmp_path / "out").mkdir()
    assets = write([SaveResult(cube, "MUSCATE", {"tile": "T31TGL"})], tmp_path / "out")
    homes = [f"SENTINEL2X_201803{d}-000000-000_L3A_T31TGL_C_V1-0" for d in ("08", "15")]
    files = [f"_FRC_{b}.tif" for b in ("B2", "B3", "B4", "B8")] + ["_QKL_ALL.jpg", "_MTD_ALL.xml"]
    assert {a.name for a in assets} == (
        {f"{h}/{h}{f}" for h in homes for f in files}
        | {f"{h}/MASKS/{h}_{m}_R1.tif" for h in homes for m in ("FLG", "WGT", "DTS", "NCL")}
        | {f"{h}/DATA/{h}_IPP_ALL.xml" for h in homes}
    )
    back = reloaded(tmp_path / "out", "SENTINEL2_L3A_WASP", tmp_path)
    for name in cubes.labels(cube, "bands"):
        ours, again = cube.sel(bands=name).values, back.sel(bands=name).values
        flag = cube.sel(bands="FLG").values
        if name == "DTS":
            ours, again = ours[flag > 0], again[flag > 0]
        if name == "FLG":
            again = np.nan_to_num(again)  # 0, no data, is the file's nodata
        np.testing.assert_allclose(again, ours, atol=1e-6, err_msg=name)
    root = ElementTree.parse(tmp_path / "out" / homes[0] / f"{homes[0]}_MTD_ALL.xml").getroot()
    assert root.findtext(".//PERIOD_START") == "2018-03-01" and root.findtext(".//PERIOD_STOP") == "2018-03-21"
    ipp = ElementTree.parse(tmp_path / "out" / homes[0] / "DATA" / f"{homes[0]}_IPP_ALL.xml").getroot()
    assert ipp.findtext("MODE") == mode


@pytest.mark.parametrize("mode", ["plus", "wasp1"])
def test_products_of_the_archive_are_saved_again(tmp_path: Path, mode: str) -> None:
    """Tile, platform and the unit of dates are those of the products; parameters that nobody knows are not told."""
    write_cube(synthesis(mode=mode), tmp_path / "a", tile="T31TGL")
    first = reloaded(tmp_path / "a", "SENTINEL2_L3A_WASP", tmp_path / "one")
    (tmp_path / "b").mkdir()
    assets = write([SaveResult(first, "MUSCATE")], tmp_path / "b")
    assert {a.name.partition("/")[0] for a in assets} == {p.name for p in (tmp_path / "a").iterdir()}
    assert not list((tmp_path / "b").rglob("*IPP*"))
    second = reloaded(tmp_path / "b", "SENTINEL2_L3A_WASP", tmp_path / "two")
    np.testing.assert_array_equal(second.values, first.values)
    write([SaveResult(snow(), "LIS", {"tile": "T31TGL"})], tmp_path / "one")
    first = reloaded(tmp_path / "one", "LIS_SNOW", tmp_path / "three")
    (tmp_path / "c").mkdir()
    write([SaveResult(first, "LIS")], tmp_path / "c")
    second = reloaded(tmp_path / "c", "LIS_SNOW", tmp_path / "four")
    np.testing.assert_array_equal(second.sel(bands=LIS).values, first.sel(bands=LIS).values)
    catalogued = {i.id: i.properties for i in items(tmp_path / "c", tmp_path / "five", "LIS_SNOW")}
    for id, told in ((i.id, i.properties) for i in items(tmp_path / "one", tmp_path / "six", "LIS_SNOW")):
        for key in ("grid:code", "platform", "lis:mode", "lis:snow_line"):
            assert catalogued[id].get(key) == told.get(key)


def test_plain_python_writes_the_same_syntheses(tmp_path: Path) -> None:
    cube = synthesis()
    items = write_cube(cube, tmp_path / "a", tile="T31TGL")
    (tmp_path / "b").mkdir()
    write([SaveResult(cube, "MUSCATE", {"tile": "T31TGL"})], tmp_path / "b")
    for item in items:
        for key in ("FRC_B02", "FLG_R1", "DTS_R1"):
            path = Path(item.assets[key].href)
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def refused(cube: Any, format: str, out: Path, **options: Any) -> str:
    with pytest.raises(OpenEOError) as caught:
        write([SaveResult(cube, format, options)], out)
    assert caught.value.code == "FormatUnsuitable" and list(out.iterdir()) == []
    return caught.value.message


def test_what_cannot_be_a_product_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    def never(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    whole = snow()
    lazy = cubes.like(whole.copy(data=whole.data.map_blocks(never, dtype="u1")), whole)
    few = cubes.like(lazy.isel(bands=[0, 1, 3]), lazy)
    assert "lacks the bands FSCTOC, QCTOC, QCOG, EXPERT of lis_snow; it has SEB, NDSI, FSCOG" in refused(
        few, "LIS", tmp_path, tile="A"
    )
    assert "lacks the bands FLG, WGT, DTS, NCL of wasp_synthesis" in refused(lazy, "MUSCATE", tmp_path, tile="A")
    assert "Give the option 'tile'" in refused(lazy, "LIS", tmp_path)
    assert "no temporal dimension of dates" in refused(
        cubes.like(lazy.isel(t=0, drop=True), lazy), "LIS", tmp_path, tile="A"
    )
    months = cubes.like(lazy.assign_coords(t=["2024-01", "2024-02"]), lazy)
    assert "no temporal dimension of dates" in refused(months, "LIS", tmp_path, tile="A")
    twice = cubes.like(lazy.assign_coords(t=np.array(["2024-01-05"] * 2, "M8[ns]")), lazy)
    assert "two dates make the product" in refused(twice, "LIS", tmp_path, tile="A")
    plain = synthesis()
    layers = cubes.like(plain.sel(bands=["FLG", "WGT", "DTS", "NCL"]), plain)
    assert "no reflectance band" in refused(layers, "MUSCATE", tmp_path, tile="A")
    for value in (3, {"a": 1}):
        assert "raster cube" in refused(value, "MUSCATE", tmp_path, tile="A")


def test_values_that_are_no_codes_are_refused(tmp_path: Path) -> None:
    cube = snow()
    assert "no codes" in refused(cubes.like(cube / 100.0, cube), "LIS", tmp_path, tile="A")
    cube = synthesis()
    assert "no whole numbers" in refused(cubes.like(cube / 3.0, cube), "MUSCATE", tmp_path, tile="A")


@pytest.mark.parametrize(
    "tile", ["../up", "/etc", "a/b", "", ".", "..", "a\x00b", "T31TGL\n", "é", "x" * 41, "a b", 31, ["A"]]
)
@pytest.mark.parametrize("format", ["LIS", "MUSCATE"])
def test_a_tile_cannot_lead_elsewhere(tmp_path: Path, format: str, tile: Any) -> None:
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    refused(snow() if format == "LIS" else synthesis(), format, out, tile=tile)
    assert [p.name for p in tmp_path.rglob("*")] == ["deep", "out"]


def test_records_of_hostile_items_name_no_path(tmp_path: Path) -> None:
    """A zone of a catalogue on the web is text of somebody else."""
    cube = snow()
    cube.attrs["products"] = [{"id": "x", "datetime": None, "tuile:zone": "../../up", "platform": "../s2"}]
    write([SaveResult(cube, "LIS")], tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir())[0] == "LIS_S2-SNOW_______up_20240105T105000_1.1"
    made = synthesis()
    made.attrs["products"] = [{"id": "x", "datetime": None, "tuile:zone": "../../up", "platform": "../s2"}]
    (tmp_path / "l3a").mkdir()
    write([SaveResult(made, "MUSCATE")], tmp_path / "l3a")
    assert {p.name.split("_L3A_")[1] for p in (tmp_path / "l3a").iterdir()} == {"______up_C_V1-0"}


def test_two_results_of_the_same_names(tmp_path: Path) -> None:
    cube, again = snow(), snow()
    with pytest.raises(OpenEOError, match="make the same product LIS_S2"):
        write([SaveResult(cube, "LIS", {"tile": "A"}), SaveResult(again, "LIS", {"tile": "A"})], tmp_path)
    assert list(tmp_path.iterdir()) == []
    write([SaveResult(cube, "LIS", {"tile": "A"}), SaveResult(again, "LIS", {"tile": "B"})], tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_unknown_options_are_named(tmp_path: Path) -> None:
    assert "has no option 'filename_prefix'; it has tile" in refused(snow(), "LIS", tmp_path, filename_prefix="x")


def test_the_formats_are_listed() -> None:
    listed = formats()["output"]
    assert listed["LIS"]["title"] == "Theia/LIS snow product"
    assert listed["MUSCATE"]["title"] == "MUSCATE L3A synthesis"
    for name in ("LIS", "MUSCATE"):
        assert listed[name]["gis_data_types"] == ["raster"]
        assert listed[name]["parameters"]["tile"]["pattern"] == "^[A-Za-z0-9_]{1,40}$"


def test_a_cube_without_tile_in_plain_python(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="Give the option 'tile'"):
        write_cube(synthesis(), tmp_path)
    assert list(tmp_path.iterdir()) == []
