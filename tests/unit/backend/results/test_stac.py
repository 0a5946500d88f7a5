"""Result documents: what clients and STAC libraries need of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import pytest

from backend.results import stac, write
from backend.store.models import Job, JobAsset
from processes.save.save_result import SaveResult
from tests.unit.backend.results.conftest import MakeCube

TIME = datetime(2024, 7, 1, 12, tzinfo=UTC)
URLS = stac.Urls(
    self_="https://x/jobs/j1/results",
    file=lambda name: f"https://x/signed/{name}?s=1",
    item=lambda i: f"https://x/items/{i}",
    canonical="https://x/jobs/j1/results?s=1",
    sources="https://x/jobs/j1/sources",
    source=lambda i: f"https://x/collections/c/items/{i}",
)


def job(**changes: Any) -> Job:
    fields = {"id": "j1", "status": "finished", "created": TIME, "updated": TIME, "finished": TIME} | changes
    return Job(**fields)


def rows(assets) -> list[JobAsset]:
    return [
        JobAsset(
            job_id="j1",
            ordinal=n,
            name=a.path.name,
            media_type=a.media_type,
            title=a.title,
            roles=list(a.roles),
            metadata_=dict(a.metadata),
            properties=dict(a.properties),
            geometry=a.geometry,
            bbox=list(a.bbox) if a.bbox else None,
            cube=a.cube,
            size=a.path.stat().st_size,
        )
        for n, a in enumerate(assets)
    ]


def nulls(value: Any, path: str = "") -> list[str]:
    if value is None:
        return [path]
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in nulls(v, f"{path}/{k}")]
    if isinstance(value, list):
        return [p for n, v in enumerate(value) for p in nulls(v, f"{path}/{n}")]
    return []


@pytest.fixture
def series(tmp_path: Path, make_cube: MakeCube) -> list[JobAsset]:
    return rows(write([SaveResult(make_cube(size=(20, 30)), "COG")], tmp_path))


def test_collection(series: list[JobAsset]) -> None:
    document = stac.result_document(job(), series, URLS, expires=TIME)
    assert nulls(document) == []
    assert document["openeo:status"] == "finished" and document["expires"] == "2024-07-01T12:00:00Z"
    collection = pystac.Collection.from_dict(document)
    assert collection.extent.temporal.to_dict()["interval"] == [["2024-06-01T10:50:31Z", "2024-06-11T10:50:31Z"]]
    asset = document["assets"]["openEO_2024-06-01Z.tif"]
    assert asset["href"] == "https://x/signed/openEO_2024-06-01Z.tif?s=1" and asset["roles"] == ["data"]
    assert asset["file:size"] > 0 and asset["proj:code"] == "EPSG:32631"
    rels = {link["rel"]: link["href"] for link in document["links"]}
    assert rels["canonical"] == URLS.canonical and rels["item"].startswith("https://x/items/j1_")
    assert [link["title"] for link in document["links"] if link["rel"] == "derived_from"] == ["S2A_1", "S2A_2"]
    # the files of a series are one cube: it reloads with all its dates
    dimensions = document["cube:dimensions"]
    assert list(dimensions) == ["t", "bands", "y", "x"]
    assert dimensions["t"]["values"] == ["2024-06-01T10:50:31Z", "2024-06-11T10:50:31Z"]
    assert dimensions["bands"]["values"] == [b["name"] for b in document["bands"]]


def test_items(series: list[JobAsset]) -> None:
    document = stac.item_document(job(), series[1], URLS, expires=TIME)
    assert nulls(document) == []
    item = pystac.Item.from_dict(document)
    assert item.datetime == datetime(2024, 6, 11, 10, 50, 31, tzinfo=UTC) and item.collection_id == "j1"
    assert item.properties["cube:dimensions"]["t"]["values"] == ["2024-06-11T10:50:31Z"]
    assert item.properties["proj:code"] == "EPSG:32631" and "derived_from" not in item.properties
    assert stac.has_item(series[1])


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("created", "running"),
        ("queued", "running"),
        ("running", "running"),
        ("error", "error"),
        ("canceled", "canceled"),
    ],
)
def test_documents_of_unfinished_jobs(status: str, told: str) -> None:
    document = stac.result_document(job(status=status, finished=None), [], URLS)
    assert document["openeo:status"] == told and document["assets"] == {} and nulls(document) == []
    pystac.Collection.from_dict(document)


def test_many_sources_are_a_document_of_their_own(series: list[JobAsset]) -> None:
    series[0].properties = {**series[0].properties, "derived_from": [f"p{n}" for n in range(500)]}
    document = stac.result_document(job(), series, URLS)
    links = [link for link in document["links"] if link["rel"] == "derived_from"]
    assert [link["href"] for link in links] == [URLS.sources]
    listed = stac.sources_document(job(), series, URLS)
    assert listed["derived_from"][:2] == ["p0", "p1"] and len(listed["derived_from"]) == 502


def test_few_sources_nobody_knows_are_listed_too(series: list[JobAsset]) -> None:
    document = stac.result_document(job(), series, replace(URLS, source=lambda _: None))
    assert [k["href"] for k in document["links"] if k["rel"] == "derived_from"] == [URLS.sources]
    assert stac.result_document(job(), [], URLS)["links"][-1]["rel"] == "canonical"


def test_files_without_place_and_different_cubes(tmp_path: Path, make_cube: MakeCube) -> None:
    cube = make_cube(("bands", "y", "x"), size=(20, 30))
    assets = rows(
        write([SaveResult(cube, "COG"), SaveResult(cube.isel(x=slice(9)), "COG"), SaveResult(3, "JSON")], tmp_path)
    )
    document = stac.result_document(job(), assets, URLS)
    assert "cube:dimensions" not in document and len(document["assets"]) == 3
    assert sum(link["rel"] == "item" for link in document["links"]) == 2
    assert document["extent"]["temporal"]["interval"] == [["2024-07-01T12:00:00Z", "2024-07-01T12:00:00Z"]]
    item = stac.item_document(job(), assets[0], URLS)
    assert item["properties"]["datetime"] == "2024-07-01T12:00:00Z"
