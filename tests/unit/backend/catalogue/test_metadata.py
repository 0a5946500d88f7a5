"""Collection metadata keep openEO's and STAC's rules, whatever the archive holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pystac
import pytest

from backend.catalogue.index import Catalogue
from backend.store.db import Database
from tests.unit.backend.catalogue.conftest import make_muscate


@pytest.fixture(scope="module")
def documents(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with Catalogue(Database(f"sqlite:///{tmp_path_factory.mktemp('index') / 'c.sqlite'}")) as opened:
        opened.ingest([shared / "data"])
        yield {c["id"]: c for c in opened.collections()}


def nulls(value: Any, path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in nulls(v, f"{path}/{k}")]
    if isinstance(value, list):
        return [p for k, v in enumerate(value) for p in nulls(v, f"{path}/{k}")]
    return [path] if value is None else []


def test_rules_of_openeo(documents: dict[str, Any]) -> None:
    assert {
        "SENTINEL2_L1C",
        "SENTINEL2_L2A",
        "SENTINEL2_L2A_MAJA",
        "LANDSAT_L1",
        "LANDSAT_L2",
        "LANDSAT8_L2A_THEIA",
        "DEM",
    } <= set(documents)
    for id, document in documents.items():
        json.dumps(document, allow_nan=False)
        assert nulls(document) == [], id
        assert re.fullmatch(r"[\w\-.~/]+", id) and document["stac_version"] in ("1.0.0", "1.1.0")
        assert isinstance(document["summaries"], dict) and isinstance(document["links"], list)
        assert any("datacube" in u for u in document["stac_extensions"])
        ((west, south, east, north),) = document["extent"]["spatial"]["bbox"]
        assert -180 <= west <= east <= 180 and -90 <= south <= north <= 90
        for instant in document["extent"]["temporal"]["interval"][0]:
            assert datetime.fromisoformat(instant.replace("Z", "+00:00"))
        dims = document["cube:dimensions"]
        assert {d["type"] for d in dims.values()} >= {"spatial", "bands"} and dims["x"]["axis"] == "x"
        assert [b["name"] for b in document["bands"]] == dims["bands"]["values"]
        assert len(set(dims["bands"]["values"])) == len(dims["bands"]["values"])
        names = [b["eo:common_name"] for b in document["bands"] if "eo:common_name" in b]
        assert len(names) == len(set(names)), f"{id}: a common name must stand for one band"


def test_pystac_reads_them(documents: dict[str, Any]) -> None:
    for document in documents.values():
        pystac.Collection.from_dict(document).to_dict()


def test_bands_and_time_of_sentinel2(documents: dict[str, Any]) -> None:
    document = documents["SENTINEL2_L2A"]
    values = document["cube:dimensions"]["bands"]["values"]
    assert values[:12] == ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
    assert {"SCL", "CLOUD", "CLOUD_SHADOW", "CIRRUS", "SNOW", "WATER", "VALID", "SZA", "VAA"} <= set(values)
    red = next(b for b in document["bands"] if b["name"] == "B04")
    assert (red["eo:common_name"], red["eo:center_wavelength"]) == ("red", 0.665)
    t = document["cube:dimensions"]["t"]
    assert len(t["values"]) == 122 and t["values"] == sorted(t["values"])
    assert t["extent"] == document["extent"]["temporal"]["interval"][0]


def test_static_collections_have_no_time(documents: dict[str, Any]) -> None:
    assert "t" not in documents["DEM"]["cube:dimensions"]


def test_queryables(catalogue: Catalogue, tmp_path: Path) -> None:
    make_muscate(tmp_path / "a")
    catalogue.ingest([tmp_path / "a"])
    schema = catalogue.queryables("SENTINEL2_L2A_MAJA")
    assert schema["properties"]["eo:cloud_cover"]["type"] == "number"
    assert schema["properties"]["platform"]["enum"] == ["sentinel-2a"]
