"""Every kind of STAC address, and what it may leave out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dask
import numpy as np
import pytest

from processes import cube as cubes
from processes.demand import Demand
from processes.env import Env
from processes.errors import ProcessError
from processes.load import stac_search
from processes.load.fetch import Fetcher
from processes.load.load_stac import load_stac
from tests.unit.processes.cubes.samples import building
from tests.unit.processes.load_stac.server import NORTH, WEST, Site, item, raster

A = np.arange(2 * 6 * 8, dtype="u2").reshape(2, 6, 8)
DATES = ("2021-01-01T10:00:00Z", "2021-01-11T10:00:00Z", "2021-02-01T10:00:00Z")


def computed(data: Any) -> np.ndarray:
    return data.compute(scheduler="sync").values


def series(site: Site, **fields: Any) -> list[dict[str, Any]]:
    """Three items of two files each; values are 100 x number of the item + those of A. 1.0 fields."""
    out = []
    for k, when in enumerate(DATES):
        assets = {}
        for b, name in enumerate(("red", "nir")):
            raster(site.folder / f"{k}/{name}.tif", (A[b : b + 1] + 100 * k).astype("u2"), nodata=0)
            assets[f"{name}-10m"] = {
                "href": f"./{k}/{name}.tif", "type": "image/tiff; application=geotiff", "roles": ["data"],
                "eo:bands": [{"name": f"B{b + 1}", "common_name": name}],
                "raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 0.5, "offset": -1}], **fields,
            }  # fmt: skip
        assets["thumb"] = {"href": "./none.png", "type": "image/png", "roles": ["thumbnail"]}
        out.append(item(f"i{k}", when, assets, **{"eo:cloud_cover": 10 * k}))
    return out


def physical(k: int) -> np.ndarray:
    dn = (A + 100 * k).astype("f4")
    return np.where(dn == 0, np.nan, dn * np.float32(0.5) - 1)


def test_single_item_with_other_asset_names_than_bands(site: Site, env: Env) -> None:
    site["/i.json"] = series(site)[0]
    with building():
        data = load_stac(site.url("/i.json"), env=env)
    assert data.dims == ("t", "bands", "y", "x")
    assert cubes.labels(data, "bands") == ["B1", "B2"]
    np.testing.assert_array_equal(computed(data)[0], physical(0))
    assert data["x"].values[0] == WEST + 5 and data["y"].values[0] == NORTH - 5
    assert data.attrs["derived_from"] == ["i0"]
    for name in ("nir", "B2", "nir-10m"):  # common name, band name, asset key
        chosen = load_stac(site.url("/i.json"), bands=[name], env=env)
        assert cubes.labels(chosen, "bands") == ["B2"]


def test_no_credentials_and_cookies_are_sent(site: Site, env: Env) -> None:
    site["/i.json"] = series(site)[0]
    load_stac(site.url("/i.json"), env=env)
    sent = {k.lower() for _, _, headers in site.requests for k in headers}
    assert not sent & {"authorization", "cookie", "proxy-authorization"}


def test_stac_1_1_bands_in_one_file(site: Site, env: Env) -> None:
    raster(site.folder / "all.tif", A.astype("i2"), nodata=-1)
    fields = {
        "href": "all.tif", "type": "image/tiff", "nodata": 5, "data_type": "int16", "raster:scale": 2,
        "bands": [{"name": "one", "eo:common_name": "red"}, {"name": "two", "nodata": "nan", "raster:scale": 3}],
    }  # fmt: skip
    site["/i.json"] = item("i", DATES[0], {"data": fields})
    data = load_stac(site.url("/i.json"), env=env)
    expected = A.astype("f4") * np.array([2, 3], "f4")[:, None, None]
    expected[0][A[0] == 5] = np.nan
    np.testing.assert_array_equal(computed(data)[0], expected)
    two = load_stac(site.url("/i.json"), bands=["two", "red"], env=env)
    assert cubes.labels(two, "bands") == ["two", "one"]
    np.testing.assert_array_equal(computed(two)[0], expected[::-1])


def test_without_any_band_metadata_the_file_tells(site: Site, env: Env) -> None:
    raster(site.folder / "plain.tif", A[:1].astype("u1"), nodata=7)
    site["/i.json"] = item("i", DATES[0], {"classes": {"href": "plain.tif", "type": "image/tiff"}})
    data = load_stac(site.url("/i.json"), env=env)
    assert cubes.labels(data, "bands") == ["classes"]
    assert data.dtype == np.uint8 and data.attrs["nodata"] == 7
    np.testing.assert_array_equal(computed(data)[0, 0], A[0])


def test_static_catalogue_prunes_collections(site: Site, env: Env) -> None:
    items = series(site)
    for document in items:
        site[f"/{document['id']}.json"] = document
    span = {"spatial": {"bbox": [[4, 43, 5, 44]]}, "temporal": {"interval": [["2021-01-01T00:00:00Z", None]]}}
    far = {"spatial": {"bbox": [[50, 10, 51, 11]]}, "temporal": {"interval": [[None, None]]}}
    links = [{"rel": "item", "href": f"./{i['id']}.json"} for i in items]
    site["/catalog.json"] = {"type": "Catalog", "id": "c", "links": [{"rel": "child", "href": "near.json"}, {"rel": "child", "href": "far.json"}]}  # fmt: skip
    site["/near.json"] = {"type": "Collection", "id": "near", "extent": span, "links": links}
    site["/far.json"] = {"type": "Collection", "id": "far", "extent": far, "links": [{"rel": "item", "href": "lost.json"}]}  # fmt: skip
    area = {"west": 4.2, "south": 43.3, "east": 4.3, "north": 43.4}
    data = load_stac(site.url("/catalog.json"), area, ["2021-01-05", "2021-03-01"], env=env)
    assert cubes.plain_labels(data, "t") == list(DATES[1:])
    assert not [path for path, _, _ in site.requests if path == "/lost.json"]
    assert not [path for path, _, _ in site.requests if path.startswith("/0/")]  # no file of the first date is opened


def api(site: Site, items: list[dict[str, Any]], *, search: bool = False) -> None:
    """An API with pages of one item; the next page's address repeats the query."""

    def page(path: str) -> Any:
        def answer(query: dict[str, str]) -> dict[str, Any]:
            at = int(query.get("token", 0))
            rest = "&".join(f"{k}={v}" for k, v in query.items() if k != "token")
            more = [{"rel": "next", "href": f"{site.base}{path}?{rest}&token={at + 1}"}] if at + 1 < len(items) else []
            return {"type": "FeatureCollection", "features": items[at : at + 1], "links": more}

        return answer

    site["/"] = {
        "type": "Catalog", "id": "root", "conformsTo": ["https://api.stacspec.org/v1.0.0/item-search"] + (["https://api.stacspec.org/v1.0.0/item-search#filter"] if search else []),
        "links": [{"rel": "search", "href": "/search", "method": "GET"}],
    }  # fmt: skip
    site["/collections/c"] = {
        "type": "Collection", "id": "c", "extent": {},
        "links": [{"rel": "items", "href": "/collections/c/items"}, {"rel": "root", "href": "/"}],
    }  # fmt: skip
    site["/collections/c/items"], site["/search"] = page("/collections/c/items"), page("/search")
    for document in items:
        document["collection"] = "c"
        for asset in document["assets"].values():
            asset["href"] = site.url(asset["href"].lstrip("."))


def test_api_collection_pages_and_sends_extents(site: Site, env: Env) -> None:
    api(site, series(site))
    area = {"west": WEST, "south": NORTH - 60, "east": WEST + 80, "north": NORTH, "crs": 32631}
    data = load_stac(site.url("/collections/c"), area, ["2021-01-01", "2021-02-01"], ["B1"], env=env)
    assert cubes.plain_labels(data, "t") == list(DATES[:2])
    asked = [q for path, q, _ in site.requests if path == "/collections/c/items"]
    assert len(asked) == 3
    west, south, east, north = (float(v) for v in asked[0]["bbox"].split(","))
    assert 4.2 < west < east < 4.3 and 43.3 < south < north < 43.4
    assert asked[0]["datetime"] == "2021-01-01T00:00:00Z/2021-02-01T00:00:00Z"
    assert not [p for p, _, _ in site.requests if p.endswith("nir.tif")], "bands not asked for are not touched"
    np.testing.assert_array_equal(computed(data)[1, 0], physical(1)[0])


class AtMost:
    comparison = ("<=", 10)

    def __call__(self, value: Any) -> bool:
        return value <= 10


@pytest.mark.parametrize("search", [False, True])
def test_properties_are_sent_where_the_api_filters_and_tested_anyway(site: Site, env: Env, search: bool) -> None:
    api(site, series(site), search=search)
    data = load_stac(site.url("/collections/c"), properties={"eo:cloud_cover": AtMost()}, env=env)
    assert cubes.plain_labels(data, "t") == list(DATES[:2])
    filters = [q["filter"] for _, q, _ in site.requests if "filter" in q]
    assert bool(filters) == search
    assert all(f == '"eo:cloud_cover" <= 10' for f in filters)


def test_only_what_the_extent_touches_is_read(site: Site, env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file of 8 MB a small area of one band costs its directory and a tile or two."""
    import rasterio

    held = np.random.default_rng(0).integers(0, 10_000, (2, 1536, 1536)).astype("u2")
    raster(site.folder / "plain.tif", held)
    with rasterio.open(site.folder / "plain.tif") as source:
        profile = source.profile | {
            "tiled": True,
            "blockxsize": 256,
            "blockysize": 256,
            "compress": "deflate",
            "interleave": "band",
        }
    with rasterio.open(site.folder / "big.tif", "w", **profile) as out:
        out.write(held)
    bands = [{"name": "B1", "data_type": "uint16", "nodata": 0}, {"name": "B2", "data_type": "uint16", "nodata": 0}]
    document = item("i", DATES[0], {"a": {"href": "big.tif", "type": "image/tiff", "bands": bands}})
    document["bbox"] = [4.2, 43.1, 4.5, 43.4]
    site["/i.json"] = document
    sizes: list[int] = []
    part = Fetcher.part

    def counted(self: Fetcher, url: str, start: int, stop: int) -> Any:
        sizes.append(stop - start)
        return part(self, url, start, stop)

    monkeypatch.setattr(Fetcher, "part", counted)
    area = {"west": WEST + 5300, "south": NORTH - 4500, "east": WEST + 5900, "north": NORTH - 4100, "crs": 32631}
    data = load_stac(site.url("/i.json"), area, bands=["B2"], env=env)
    np.testing.assert_array_equal(computed(data)[0, 0], held[1, 410:450, 530:590])
    assert sum(sizes) < 600_000 < (site.folder / "big.tif").stat().st_size / 10


def test_a_search_that_can_only_be_posted_is_posted_page_by_page(site: Site, env: Env) -> None:
    items = series(site)
    api(site, items, search=True)
    landing = site.answers["/"]
    site["/"] = {**landing, "links": [{"rel": "search", "href": "/posted", "method": "POST"}]}

    def page(body: dict[str, Any]) -> dict[str, Any]:
        at = body.get("page", 0)
        after = {"rel": "next", "href": "/posted", "method": "POST", "body": {"page": at + 1}, "merge": True}
        return {"type": "FeatureCollection", "features": [items[at]], "links": [after] if at + 1 < len(items) else []}

    site.posted["/posted"] = page
    area = {"west": WEST, "south": NORTH - 60, "east": WEST + 80, "north": NORTH, "crs": 32631}
    data = load_stac(site.url("/collections/c"), area, properties={"eo:cloud_cover": AtMost()}, env=env)
    assert cubes.plain_labels(data, "t") == list(DATES[:2])
    bodies = [q for path, q, _ in site.requests if path == "/posted"]
    assert len(bodies) == len(items)
    for body in bodies:  # later pages repeat what was asked
        assert body["collections"] == ["c"] and body["filter"] == '"eo:cloud_cover" <= 10' and len(body["bbox"]) == 4


def test_item_search_address(site: Site, env: Env) -> None:
    api(site, series(site))
    data = load_stac(site.url("/search?collections=c"), temporal_extent=["2021-01-05", None], env=env)
    assert cubes.plain_labels(data, "t") == list(DATES[1:])


def test_whole_api_is_refused(site: Site, env: Env) -> None:
    api(site, series(site))
    with pytest.raises(ProcessError, match="one of its collections"):
        load_stac(site.url("/"), env=env)


def test_item_assets_of_the_collection_say_what_items_do_not(site: Site, env: Env) -> None:
    items = series(site)
    declared = {}
    for document in items:
        document["links"] = [{"rel": "collection", "href": "/c.json"}]
        document["collection"] = "c"
        for key, asset in document["assets"].items():
            declared[key] = {k: asset.pop(k) for k in ("eo:bands", "raster:bands") if k in asset}
    site["/c.json"] = {"type": "Collection", "id": "c", "item_assets": declared, "links": []}
    site["/i.json"] = items[1]
    data = load_stac(site.url("/i.json"), env=env)
    assert cubes.labels(data, "bands") == ["B1", "B2"]
    np.testing.assert_array_equal(computed(data)[0], physical(1))


def test_demand_narrows_what_is_looked_at(site: Site, env: Env) -> None:
    api(site, series(site))
    x0, y0 = WEST + 20, NORTH - 40
    box = (x0, y0, x0 + 20, y0 + 20, "EPSG:32631")
    want = Demand(box=box, interval=("2021-01-05T00:00:00Z", None), bands=("B2",))
    data = load_stac(site.url("/collections/c"), env=replace(env, demand=want))
    assert data.shape == (2, 1, 2, 2)
    np.testing.assert_array_equal(computed(data)[0, 0], physical(1)[1, 2:4, 2:4])
    assert not [p for p, _, _ in site.requests if p.endswith("red.tif")]


def test_demanded_bands_that_nothing_declares_leave_all_bands(site: Site, env: Env) -> None:
    api(site, series(site))
    data = load_stac(site.url("/collections/c"), env=replace(env, demand=Demand(bands=("red", "nir08"))))
    assert cubes.labels(data, "bands") == ["B1", "B2"]


def test_reason_for_every_asset(site: Site, env: Env) -> None:
    document = item("i", DATES[0], {
        "gone": {"href": "gone.tif", "type": "image/tiff"},
        "s3": {"href": "s3://bucket/a.tif", "type": "image/tiff"},
        "local": {"href": "file:///etc/passwd.tif", "type": "image/tiff"},
        "text": {"href": "notes.txt", "type": "text/plain"},
    })  # fmt: skip
    site["/i.json"] = document
    with pytest.raises(ProcessError, match="NoDataAvailable") as caught:
        load_stac(site.url("/i.json"), env=env)
    assert "i/gone: " in caught.value.message and "404" in caught.value.message
    assert "s3://bucket/a.tif" in caught.value.message
    assert "i/local: " in caught.value.message
    assert "text" not in caught.value.message


def test_an_unusable_asset_is_left_out_with_a_warning(site: Site, env: Env) -> None:
    document = series(site)[0]
    document["assets"]["broken"] = {"href": "broken.tif", "type": "image/tiff"}
    (site.folder / "broken.tif").write_bytes(b"II*\0 no image")
    site["/i.json"] = document
    said: list[str] = []
    data = load_stac(
        site.url("/i.json"), env=replace(env, sink=lambda level, text, **_: said.append(f"{level} {text}"))
    )
    assert cubes.labels(data, "bands") == ["B1", "B2"]
    assert any(s.startswith("warning") and "i0/broken" in s for s in said)


def test_virtual_rasters_that_point_elsewhere_are_refused(site: Site, env: Env) -> None:
    secret = site.folder.parent / "secret.tif"
    raster(secret, A[:1])
    vrt = (
        '<VRTDataset rasterXSize="8" rasterYSize="6"><SRS>EPSG:32631</SRS><GeoTransform>600000,10,0,4801000,0,-10</GeoTransform>'
        f'<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename>{secret}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (site.folder / "a.tif").write_text(vrt)
    site["/i.json"] = item("i", DATES[0], {"a": {"href": "a.tif", "type": "image/tiff"}})
    with pytest.raises(ProcessError, match="cannot be used"):
        load_stac(site.url("/i.json"), env=env)


def test_a_running_job_is_waited_for(site: Site, env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    items = series(site)
    for document in items:
        site[f"/{document['id']}.json"] = document

    def results(_: Any) -> dict[str, Any]:
        asked.append(1)
        done = len(asked) > 2
        links = [{"rel": "item", "href": f"/{i['id']}.json"} for i in items] if done else []
        return {"type": "Collection", "id": "j", "openeo:status": "finished" if done else "running", "links": links, "extent": {}}  # fmt: skip

    site["/jobs/j/results"] = results
    monkeypatch.setattr(stac_search, "POLL_FIRST_S", 0.01)
    data = load_stac(site.url("/jobs/j/results?partial=true&token=x"), env=env)
    assert data.sizes["t"] == 3 and len(asked) == 3


@pytest.mark.parametrize("status", ["error", "canceled"])
def test_a_failed_job_is_told(site: Site, env: Env, status: str) -> None:
    site["/r"] = {"type": "Collection", "id": "j", "openeo:status": status, "links": [], "extent": {}}
    with pytest.raises(ProcessError, match=f"'{status}'"):
        load_stac(site.url("/r?signature=secret"), env=env)
    with pytest.raises(ProcessError) as caught:
        load_stac(site.url("/r?signature=secret"), env=env)
    assert "secret" not in caught.value.message


def test_a_job_that_runs_too_long_is_told(site: Site, env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    site["/r"] = {"type": "Collection", "id": "j", "openeo:status": "running", "links": [], "extent": {}}
    monkeypatch.setattr(stac_search, "POLL_FIRST_S", 0.01)
    monkeypatch.setattr(stac_search, "POLL_TOTAL_S", 0.02)
    with pytest.raises(ProcessError, match="still runs"):
        load_stac(site.url("/r"), env=env)


def test_nothing_in_the_extents(site: Site, env: Env) -> None:
    site["/i.json"] = series(site)[0]
    with pytest.raises(ProcessError, match="NoDataAvailable"):
        load_stac(site.url("/i.json"), temporal_extent=["2030-01-01", None], env=env)


def test_chunks_do_not_matter(site: Site, env: Env) -> None:
    api(site, series(site))
    small = replace(env, limits=replace(env.limits, memory=1 << 20, threads=8))
    a, b = (load_stac(site.url("/collections/c"), env=e) for e in (env, small))
    with dask.config.set(scheduler="sync"):
        np.testing.assert_array_equal(a.values, b.values)
