"""Results exported to workspaces and collections, read back by the processes that read such things."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import xarray as xr

from backend.catalogue import open_catalogue
from backend.environment import Environments
from backend.errors import OpenEOError
from backend.exports.collections import UserCollections
from backend.files import FileSpace
from backend.graph.run import check, execute
from backend.results import write
from backend.settings import Settings
from backend.store import files, users
from backend.store.db import Database
from processes import cube as cubes
from processes.env import Env
from processes.errors import ProcessError
from processes.load.load_collection import load_collection
from processes.load.load_files import load_uploaded_files
from processes.save.save_result import SaveResult

DATES = np.array(["2024-06-01T10:50:31", "2024-06-11T10:50:31"], "M8[ns]")


def sample(first: int = 0, dates: Any = DATES) -> xr.DataArray:
    values = (first + np.arange(2 * 2 * 30 * 40, dtype="f4").reshape(2, 2, 30, 40)) / 7
    values[0, 0, :3, :4] = np.nan
    coords = {
        "t": dates,
        "bands": ["B04", "B08"],
        "y": 4900000.0 - 5 - 10 * np.arange(30),
        "x": 300000.0 + 5 + 10 * np.arange(40),
    }
    return cubes.cube(values, ["t", "bands", "y", "x"], coords, crs=32631)


class House:
    """A service's rooms, with users."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.settings = Settings(data_dir=folder, secret_key="for tests only, long enough")  # type: ignore[call-arg]
        self.database = Database(self.settings.database)
        self.database.upgrade()
        self.environments = Environments(self.settings, self.database, open_catalogue(self.settings))

    def user(self, name: str, quota: int | None = None) -> str:
        with self.database.session() as session:
            made = users.set_user(session, name, "correct horse")
            made.quota = quota
            return made.id

    def env(self, user: str, job: str | None = None) -> Env:
        return self.environments.env(user, job=job)

    def space(self, user: str) -> FileSpace:
        with self.database.session(read_only=True) as session:
            return FileSpace(self.database, self.settings.files_dir, users.get(session, user))

    def names(self, user: str) -> list[str]:
        with self.database.session(read_only=True) as session:
            return [row.path for row in files.files(session, user)]

    def upload(self, user: str, cube: xr.DataArray, name: str = "in.nc") -> None:
        (self.folder / "made").mkdir(exist_ok=True)
        (asset,) = write([SaveResult(cube, "netCDF")], self.folder / "made")
        self.space(user).put(name, io.BytesIO(asset.path.read_bytes()), None)

    def run(
        self, user: str, *exports: dict[str, Any], job: str | None = None, format: str = "GTiff", file: str = "in.nc",
        options: dict[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        """An uploaded cube, saved and exported; every export is a leaf of the graph."""
        save = {"data": {"from_node": "load"}, "format": format, "options": options or {"filename_prefix": "out"}}
        graph: dict[str, Any] = {
            "load": {"process_id": "load_uploaded_files", "arguments": {"paths": [file], "format": "netCDF"}},
            "save": {"process_id": "save_result", "arguments": save},
        }
        for n, export in enumerate(exports):
            before = export.pop("after", "save")
            graph[f"e{n}"] = {**export, "arguments": {"data": {"from_node": before}, **export["arguments"]}}
        list(graph.values())[-1]["result"] = True
        out = self.folder / "out" / (job or "sync")
        out.mkdir(parents=True, exist_ok=True)
        return execute({"process_graph": graph}, self.env(user, job), out)


def to_workspace(workspace: str = "snow", **more: Any) -> dict[str, Any]:
    return {"process_id": "export_workspace", "arguments": {"workspace": workspace, **more}}


def to_collection(collection: str = "MY_SNOW") -> dict[str, Any]:
    return {"process_id": "export_collection", "arguments": {"collection": collection}}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def ann(house: House) -> str:
    id = house.user("ann")
    house.upload(id, sample())
    return id


def test_native_products_stay_folders_in_a_workspace(house: House) -> None:
    bob = house.user("bob")
    codes = ["SEB", "NDSI", "FSCTOC", "FSCOG", "QCTOC", "QCOG", "EXPERT"]
    coords = {
        "t": DATES,
        "bands": codes,
        "y": 4900000.0 - 10 - 20 * np.arange(30),
        "x": 300000.0 + 10 + 20 * np.arange(40),
    }
    values = np.random.default_rng(2).choice(np.array([0, 100, 205, 255], "u1"), (2, 7, 30, 40))
    house.upload(bob, cubes.cube(values, ["t", "bands", "y", "x"], coords, crs=32631, nodata=255))
    house.run(bob, to_workspace(), format="LIS", options={"tile": "T31TGL"}, job="j-1")
    at = house.space(bob).path("snow/j-1/collection.json").parent
    found = open_catalogue(Settings(archive=at, data_dir=house.folder / "again"))  # type: ignore[call-arg]
    report = found.ingest(sorted(p for p in at.iterdir() if p.name.startswith("LIS_")))
    assert len(report.added) == 2 and not report.rejected
    back = load_collection("LIS_SNOW", bands=codes, env=Env(found))
    np.testing.assert_array_equal(back.values, values)
    collection = pystac.Collection.from_file(str(at / "collection.json"))
    items = list(collection.get_items())
    assert len(items) == 14
    for item in items:
        (asset,) = item.assets.values()
        assert Path(asset.get_absolute_href()).is_file()  # type: ignore[arg-type]


def same(got: xr.DataArray, expected: xr.DataArray) -> None:
    assert got.dims == expected.dims
    np.testing.assert_array_equal(got.compute().values, expected.values)
    for d in expected.dims:
        assert cubes.plain_labels(got, str(d)) == cubes.plain_labels(expected, str(d))
    assert cubes.crs_of(got) == cubes.crs_of(expected)


def test_a_workspace_is_stac_with_its_files_in_the_users_own_storage(house: House, ann: str) -> None:
    assets = house.run(ann, to_workspace(), job="j-1")
    assert len(assets) == 2 and all(a.path.is_file() for a in assets), "the result itself stays"
    names = house.names(ann)
    assert "snow/j-1/collection.json" in names
    copied = [n for n in names if n.startswith("snow/") and n.endswith(".tif")]
    assert [house.space(ann).path(n).read_bytes() for n in copied] == [a.path.read_bytes() for a in assets]
    catalogue = pystac.Collection.from_file(str(house.space(ann).path("snow/j-1/collection.json")))
    items = list(catalogue.get_items())
    assert len(items) == 2
    for item in items:
        assert all(Path(a.get_absolute_href() or "").is_file() for a in item.assets.values())
    back = load_uploaded_files(sorted(copied), "GTiff", env=house.env(ann))
    assert back.sizes["bands"] == 2
    np.testing.assert_array_equal(np.sort(np.ravel(back.values)), np.sort(np.ravel(sample().values)))


def test_merge_extends_a_collection_and_running_again_changes_nothing(house: House, ann: str) -> None:
    house.run(ann, to_workspace(merge="all"), job="j-1")
    house.upload(ann, sample(5, DATES + np.timedelta64(30, "D")), "later.nc")
    for _ in range(2):  # a job that is run again after its worker died
        house.run(ann, to_workspace(merge="all"), job="j-2", file="later.nc")
    path = house.space(ann).path("snow/all/collection.json")
    collection = json.loads(path.read_text())
    assert collection["id"] == "j-1"
    assert len([x for x in collection["links"] if x["rel"] == "item"]) == 4
    assert collection["extent"]["temporal"]["interval"] == [["2024-06-01T10:50:31Z", "2024-07-11T10:50:31Z"]]
    assert len(list(pystac.Collection.from_file(str(path)).get_items())) == 4


def test_files_without_a_place_are_exported_too(house: House, ann: str) -> None:
    graph = {
        "c": {"process_id": "constant", "arguments": {"x": 42}},
        "s": {"process_id": "save_result", "arguments": {"data": {"from_node": "c"}, "format": "JSON"}},
        "e": {**to_workspace(), "result": True},
    }
    graph["e"]["arguments"]["data"] = {"from_node": "s"}
    (house.folder / "o").mkdir()
    execute({"process_graph": graph}, house.env(ann, "j-9"), house.folder / "o")
    collection = json.loads(house.space(ann).path("snow/j-9/collection.json").read_text())
    (href,) = [a["href"] for a in collection["assets"].values()]
    assert json.loads(house.space(ann).path(f"snow/j-9/{href.removeprefix('./')}").read_text()) == 42


@pytest.mark.parametrize("format", ["GTiff", "COG", "netCDF"])
def test_a_collection_is_loaded_with_the_values_and_labels_that_went_in(house: House, ann: str, format: str) -> None:
    house.run(ann, to_collection(), job="j-1", format=format)
    env = house.env(ann)
    same(load_collection("MY_SNOW", env=env), sample())
    one = load_collection("MY_SNOW", temporal_extent=["2024-06-10", "2024-06-12"], bands=["B08"], env=env)
    same(one, sample().isel(t=[1], bands=[1]))
    meta = env.catalogue.collection("MY_SNOW")
    assert meta["cube:dimensions"]["bands"]["values"] == ["B04", "B08"]
    assert meta["id"] == "MY_SNOW"
    graph = {"l": {"process_id": "load_collection", "arguments": {"id": "MY_SNOW", "spatial_extent": None, "temporal_extent": None}, "result": True}}  # fmt: skip
    assert check({"process_graph": graph}, env) == []


def test_a_collection_grows(house: House, ann: str) -> None:
    house.run(ann, to_collection(), job="j-1")
    assert load_collection("MY_SNOW", env=house.env(ann)).sizes["t"] == 2
    later = sample(5, DATES + np.timedelta64(30, "D"))
    house.upload(ann, later, "later.nc")
    house.run(ann, to_collection(), job="j-2", file="later.nc")
    same(load_collection("MY_SNOW", env=house.env(ann)), xr.concat([sample(), later], "t"))


def test_others_see_nothing_of_it(house: House, ann: str) -> None:
    house.run(ann, to_collection(), to_workspace(), job="j-1")
    for other in (house.env(house.user("bob")), house.environments.env(None)):
        with pytest.raises(ProcessError, match="CollectionNotFound"):
            load_collection("MY_SNOW", env=other)
        assert "MY_SNOW" not in [c["id"] for c in other.catalogue.collections()]  # type: ignore[attr-defined]
        with pytest.raises(ProcessError, match="FileNotFound"):
            other.files.path("snow/j-1/collection.json")
    bob = house.user("bob")
    house.upload(bob, sample(9))
    house.run(bob, to_collection(), job="j-2")  # the same name, another collection
    same(load_collection("MY_SNOW", env=house.env(bob)), sample(9))
    same(load_collection("MY_SNOW", env=house.env(ann)), sample())


def test_one_result_in_two_places_is_written_once_with_the_changes_of_its_branch(house: House, ann: str) -> None:
    changes = {"process_id": "stac_modify", "arguments": {"changes": {"title": "Snow of June", "keywords": ["snow"]}}}
    assets = house.run(ann, to_workspace("plain"), changes, {**to_workspace("titled"), "after": "e1"}, {**to_collection(), "after": "e2"}, job="j-1")  # fmt: skip
    assert len(assets) == 2, "two branches of one save_result are one set of files"
    read = {w: json.loads(house.space(ann).path(f"{w}/j-1/collection.json").read_text()) for w in ("plain", "titled")}
    assert read["titled"]["title"] == "Snow of June" != read["plain"]["title"]
    assert house.env(ann).catalogue.collection("MY_SNOW")["title"] == "Snow of June"


def test_a_synchronous_request_exports_too_and_changes_without_an_export_are_told(
    house: House, ann: str, caplog: pytest.LogCaptureFixture
) -> None:
    house.run(ann, to_workspace())
    (collection,) = [n for n in house.names(ann) if n.endswith("collection.json")]
    assert collection.startswith("snow/r-")
    assert "stac_modify" not in caplog.text
    house.run(ann, {"process_id": "stac_modify", "arguments": {"changes": {"title": "x"}}})
    assert "stac_modify changes what is exported after it" in caplog.text


@pytest.mark.parametrize(
    ("export", "format", "code"),
    [
        (to_workspace("../other"), "GTiff", "ProcessParameterInvalid"),
        (to_workspace(".."), "GTiff", "FilePathInvalid"),
        (to_workspace("a", merge="../../b"), "GTiff", "FilePathInvalid"),
        (to_collection("a/../../b"), "GTiff", "ProcessParameterInvalid"),
        (to_collection(".."), "GTiff", "ProcessParameterInvalid"),
        (to_collection(), "PNG", "FormatUnsuitable"),
        (to_collection(), "CSV", "FormatUnsuitable"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    house: House, ann: str, export: Any, format: str, code: str
) -> None:
    with pytest.raises(OpenEOError, match=code):
        house.run(ann, export, format=format, job="j-1")
    assert list((house.folder / "out" / "j-1").iterdir()) == []
    assert house.names(ann) == ["in.nc"]


def test_what_is_not_saved_cannot_be_exported(house: House, ann: str) -> None:
    with pytest.raises(OpenEOError, match="save_result"):
        house.run(ann, {**to_workspace(), "after": "load"})
    from processes.save.exports import export_workspace

    with pytest.raises(ProcessError, match="FeatureUnsupported"):
        export_workspace(SaveResult(1, "JSON"), "a", env=Env())


@pytest.mark.parametrize("export", [to_workspace(), to_collection()], ids=["workspace", "collection"])
def test_a_full_storage_fails_the_job_and_leaves_no_result(house: House, export: Any) -> None:
    poor = house.user("poor")
    house.upload(poor, sample())
    with house.database.session() as session:
        users.get(session, poor).quota = files.used(session, poor) + 100  # type: ignore[union-attr]
    with pytest.raises(OpenEOError, match="StorageQuotaExceeded"):
        house.run(poor, export, job="j-1")
    assert list((house.folder / "out" / "j-1").iterdir()) == []


def test_a_collection_can_be_deleted(house: House, ann: str) -> None:
    house.run(ann, to_collection("a.b~c"), job="j-1")
    own = UserCollections(house.settings.collections_dir, ann)
    assert own.ids() == ["a.b~c"] and own.size() > 0
    assert own.remove("a.b~c") and not own.remove("a.b~c")
    assert own.ids() == [] and own.size() == 0
    with pytest.raises(ProcessError, match="CollectionNotFound"):
        load_collection("a.b~c", env=house.env(ann))
