"""The static STAC: complete, linked, valid."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pystac
import pytest
from click.testing import CliRunner

from backend.catalogue import export as module
from backend.catalogue.export import export, problems
from backend.catalogue.index import Catalogue
from tests.unit.backend.catalogue.conftest import make_muscate

ID = "SENTINEL2_L2A_MAJA"


def test_every_document_is_valid_and_reachable(catalogue: Catalogue, shared: Path, tmp_path: Path) -> None:
    names = (
        "s2_l2a_safe_T29UNU_20221005",
        "landsat8_c1_L1TP_167055_ethiopia",
        "muscate_l2a_T30TYP_20181023",
        "dem_srtm3_alps",
        "s2_l1c_safe_decimated",
    )
    catalogue.ingest([shared / "data" / n for n in names])
    done = export(catalogue, tmp_path / "static")
    assert done.problems == [] and done.items == catalogue.count() == 9
    root = pystac.Catalog.from_file(str(tmp_path / "static" / "catalog.json"))
    assert {i.id for i in root.get_items(recursive=True)} >= {"N45E006", "LC08_L1TP_167055_20170308_20170317_01_T1"}
    assert len(list(root.get_children())) == done.collections == 5


def test_many_items_go_by_year(catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLAT", 1)
    monkeypatch.setattr(module, "PAGE", 2)
    for day in ("20170401", "20180401", "20180402", "20180403", "20180404"):
        make_muscate(
            tmp_path / "a",
            when=f"{day}-103813-308",
            bands=("B2", "B3", "B4", "B8", "B5", "B6", "B7", "B8A", "B11", "B12"),
        )
    catalogue.ingest([tmp_path / "a"])
    done = export(catalogue, tmp_path / "static")
    assert done.problems == [] and done.items == 5
    root = pystac.Catalog.from_file(str(tmp_path / "static" / "catalog.json"))
    assert len({i.id for i in root.get_items(recursive=True)}) == 5
    assert sorted(p.name for p in (tmp_path / "static" / ID).iterdir() if p.is_dir()) == ["2017", "2018"]


# Fields and values that the schemas of the extensions allow (they are on the network, so the facts are told here)
KNOWN = {
    "eo": {
        "cloud_cover",
        "snow_cover",
        "common_name",
        "center_wavelength",
        "full_width_half_max",
        "solar_illumination",
    },
    "proj": {"code", "shape", "transform", "bbox", "centroid", "geometry", "wkt2", "projjson"},
    "raster": {"scale", "offset", "spatial_resolution", "sampling", "bits_per_sample", "histogram"},
    "view": {"off_nadir", "azimuth", "sun_azimuth", "sun_elevation", "incidence_angle"},
    "sat": {"orbit_state", "relative_orbit", "absolute_orbit"},
    "grid": {"code"},
    "processing": {"version", "level", "facility", "lineage", "software", "datetime", "expression"},
}
COMMON_NAMES = {
    "pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071", "rededge075", "rededge078", "nir", "nir08",
    "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12",
}  # fmt: skip
RANGES = {"eo:cloud_cover": (0, 100), "eo:snow_cover": (0, 100), "view:off_nadir": (0, 90), "view:azimuth": (0, 360),
          "view:sun_azimuth": (0, 360), "view:sun_elevation": (-90, 90), "sat:relative_orbit": (1, 1e9)}  # fmt: skip


def fields(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner)


def test_what_belongs_to_an_extension_is_declared_and_allowed(
    catalogue: Catalogue, shared: Path, tmp_path: Path
) -> None:
    """Every item and collection of the shared data, against the rules of the extensions' schemas."""
    catalogue.ingest([shared / "data"])
    export(catalogue, tmp_path / "static", check=0)
    checked = 0
    for path in (tmp_path / "static").rglob("*.json"):
        body = json.loads(path.read_text())
        used = set()
        for key, value in fields(body):
            prefix, colon, name = key.partition(":")
            if not colon or prefix not in KNOWN:
                continue
            used.add(prefix)
            assert name in KNOWN[prefix], (path, key)
            if key == "eo:common_name":
                assert value in COMMON_NAMES, (path, value)
            if key in RANGES and not isinstance(value, dict | list):
                assert RANGES[key][0] <= value <= RANGES[key][1], (path, key, value)
            if key == "sat:orbit_state":
                assert value in ("ascending", "descending") or body["type"] == "Collection", (path, value)
            checked += 1
        declared = {u.split("/")[3] for u in body.get("stac_extensions", ())}
        names = {"proj": "projection"}
        wanted = {names.get(p, p) for p in used}
        assert wanted - {"grid"} <= declared, path
        # schemas ask for at least one of their fields; that of grid knows items only
        assert declared - {"datacube"} <= wanted and not ("grid" in declared and body["type"] == "Collection"), path
        if body["type"] == "Feature":
            assert ("grid:code" in body["properties"]) is ("grid" in declared), path
            for prefix in ("view", "sat"):
                assert (prefix in declared) is any(k.startswith(f"{prefix}:") for k in body["properties"]), path
    assert checked > 10_000


def test_what_is_wrong_is_found() -> None:
    assert problems({"type": "Catalog", "stac_version": "1.1.0", "id": "x", "links": []})
    assert not problems({"type": "Catalog", "stac_version": "1.1.0", "id": "x", "description": "y", "links": []})


def test_stac_validator_accepts_it(catalogue: Catalogue, tmp_path: Path) -> None:
    """The core schemas come from pystac: the network may be out of reach."""
    make_muscate(tmp_path / "a")
    catalogue.ingest([tmp_path / "a"])
    export(catalogue, tmp_path / "static")
    schemas = Path(pystac.__file__).parent / "validation" / "jsonschemas"
    base = "https://schemas.stacspec.org/v1.1.0"
    local = schemas / "stac-spec" / "v1.1.0"
    found = {f"https://geojson.org/schema/{n}.json": schemas / "geojson" / f"{n}.json" for n in ("Feature", "Geometry")}
    found |= {f"{base}/{k}-spec/json-schema/{k}.json": local / f"{k}.json" for k in ("item", "collection", "catalog")}
    for n in ("common", "bands", "basics", "datetime", "provider", "licensing", "instrument", "data-values"):
        found |= {f"{base}/item-spec/json-schema/{n}.json": local / f"{n}.json", f"{n}.json": local / f"{n}.json"}
    maps = [part for url, path in found.items() for part in ("-s", url, str(path))]
    for document in sorted((tmp_path / "static").rglob("*.json")):
        command = [str(Path(sys.executable).with_name("stac-validator")), "validate", "--core", str(document), *maps]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert ran.returncode == 0 and '"valid_stac": true' in ran.stdout, ran.stdout


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from backend.catalogue.cli import catalogue as group
    from backend.catalogue.cli import ingest

    monkeypatch.setenv("TUILE_DATA_DIR", str(tmp_path / "data"))
    make_muscate(tmp_path / "a")
    assert CliRunner().invoke(ingest, [str(tmp_path / "a")]).exit_code == 0
    done = CliRunner().invoke(group, ["export", str(tmp_path / "static")])
    assert done.exit_code == 0 and "1 items in 1 collections" in done.output
    body = json.loads((tmp_path / "static" / ID / "collection.json").read_text())
    assert [link["rel"] for link in body["links"]].count("item") == 1
