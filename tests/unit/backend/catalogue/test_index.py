"""Questions to the index, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import json
import random
import threading
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pystac
import pytest
import sqlalchemy as sa
from shapely.geometry import box, mapping

from backend.catalogue.index import Catalogue
from backend.catalogue.tables import collection, document, meta
from processes.errors import ProcessError

START = datetime(2020, 1, 1, 10, tzinfo=UTC)


def make(id: str, *, collection: str = "C", west: float = 1, south: float = 43, size: float = 1, days: float = 0, when: datetime | None = START, **properties: Any) -> pystac.Item:  # fmt: skip
    bounds = (west, south, west + size, south + size)
    extra = {"start_datetime": "1970-01-01T00:00:00Z", "end_datetime": "2099-12-31T00:00:00Z"} if when is None else {}
    asset = pystac.Asset(
        f"/a/{id}.tif",
        extra_fields={"proj:code": "EPSG:32631", "bands": [{"name": "B01", "tuile:kind": "reflectance"}]},
    )
    made = pystac.Item(
        id,
        mapping(box(*bounds)),
        list(bounds),
        when and when + timedelta(days=days),
        {**extra, **properties},
        assets={"data": asset},
    )
    made.collection_id = collection
    return made


def put(catalogue: Catalogue, *items: pystac.Item, path: str | None = None) -> None:
    for item in items:
        catalogue.put(path or f"/a/{item.id}", "x", "test", [item], None, 0.0)


def ids(items: list[pystac.Item]) -> list[str]:
    return [i.id for i in items]


def test_order_and_half_open_interval(either: Catalogue) -> None:
    put(either, make("b", days=1), make("a", days=1), make("z"), make("c", days=2))
    assert ids(either.search("C")) == ["z", "a", "b", "c"]
    assert ids(either.search("C", interval=("2020-01-02T10:00:00Z", "2020-01-03T10:00:00Z"))) == ["a", "b"]
    assert ids(either.search("C", interval=("2020-01-02", None))) == ["a", "b", "c"]
    assert ids(either.search("C", interval=(None, "2020-01-02"))) == ["z"]
    assert either.search("C", interval=("2021-01-01", "2020-01-01")) == []


def test_boxes(either: Catalogue) -> None:
    put(
        either,
        make("here"),
        make("east", west=10),
        make("edge", west=179.5, size=0.5),
        make("tiny", west=5, size=0.001),
    )
    assert ids(either.search("C", bbox=(1.2, 43.2, 1.3, 43.3))) == ["here"]
    assert ids(either.search("C", bbox=(-20, 40, 6, 50))) == ["here", "tiny"]
    assert ids(either.search("C", bbox=(2, 44, 2, 44))) == ["here"]  # a point on the corner
    assert ids(either.search("C", bbox=(179.9, 40, -170, 50))) == ["edge"]
    assert either.search("C", bbox=(1.2, 50, 1.3, 51)) == []


def test_the_footprint_counts_not_its_box(either: Catalogue) -> None:
    """Half a tile seen by a passing orbit: the empty corner is not a hit."""
    item = make("half")
    item.geometry = {"type": "Polygon", "coordinates": [[[1, 43], [2, 43], [1, 44], [1, 43]]]}
    put(either, item)
    assert ids(either.search("C", bbox=(1.1, 43.1, 1.2, 43.2))) == ["half"]
    assert either.search("C", bbox=(1.8, 43.8, 1.9, 43.9)) == []


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([("eo:cloud_cover", "<=", 20)], ["a", "b"]),
        ([("eo:cloud_cover", "<", 20), ("platform", "=", "sentinel-2a")], ["a"]),
        ([("eo:cloud_cover", "between", (10, 60))], ["b", "c"]),
        ([("platform", "in", ["sentinel-2b", "x"])], ["b"]),
        ([("platform", "!=", "sentinel-2a")], ["b"]),
        ([("sat:relative_orbit", "=", 51)], ["a", "c"]),
        ([("grid:code", "=", "MGRS-31TCJ")], ["a"]),
        ([("view:sun_elevation", ">", 40)], ["b", "c"]),
        ([("view:sun_elevation", "between", (30, 45)), ("eo:cloud_cover", "<", 50)], ["a", "b"]),
        ([("view:sun_elevation", "<", "text")], []),
        ([("eo:cloud_cover", "<", "text")], []),
        ([("eo:cloud_cover", "between", (0, "text"))], []),
        ([("eo:cloud_cover", "in", [5, "text"])], ["a"]),
        ([("platform", ">", 3)], []),
        ([("platform", "!=", 3)], ["a", "b", "c"]),
        ([("nothing", "=", 1)], []),
    ],
)
def test_conditions(either: Catalogue, where: list[tuple[str, str, Any]], expected: list[str]) -> None:
    put(
        either,
        make(
            "a",
            platform="sentinel-2a",
            **{"eo:cloud_cover": 5.0, "sat:relative_orbit": 51, "grid:code": "MGRS-31TCJ", "view:sun_elevation": 30},
        ),
        make(
            "b",
            days=1,
            platform="sentinel-2b",
            **{"eo:cloud_cover": 20.0, "sat:relative_orbit": 8, "view:sun_elevation": 45},
        ),
        make(
            "c",
            days=2,
            platform="sentinel-2a",
            **{"eo:cloud_cover": 60.0, "sat:relative_orbit": 51, "view:sun_elevation": 60},
        ),
        make("unknown", days=3),
    )
    assert ids(either.search("C", where=where)) == expected


def test_unknown_things_are_told(either: Catalogue) -> None:
    put(either, make("a"))
    for ask in (
        lambda: either.search("NOPE"),
        lambda: either.collection("NOPE"),
        lambda: either.dates("NOPE"),
        lambda: either.count("NOPE"),
    ):
        with pytest.raises(ProcessError, match="CollectionNotFound"):
            ask()
    with pytest.raises(ProcessError, match="operator"):
        either.search("C", where=[("platform", "~", "x")])
    with pytest.raises(ProcessError, match="ISO 8601"):
        either.search("C", interval=("yesterday", None))
    assert either.item("C", "nope") is None and either.item("NOPE", "a") is None


def test_paging_meets_every_item_once(either: Catalogue) -> None:
    put(either, *(make(f"i{n:02d}", days=n // 3) for n in range(10)))
    got: list[str] = []
    after = None
    while page := either.search("C", limit=3, after=after):
        got += ids(page)
        assert page[-1].datetime is not None
        after = (page[-1].datetime.isoformat(), page[-1].id)
    assert got == [f"i{n:02d}" for n in range(10)]


def test_the_newest_version_hides_the_others_and_gives_way_again(either: Catalogue) -> None:
    old = make("p_v1", **{"tuile:product": "p", "processing:version": "04.00", "created": "2022-01-01T00:00:00Z"})
    new = make("p_v2", **{"tuile:product": "p", "processing:version": "05.10", "created": "2024-01-01T00:00:00Z"})
    again = make("p_v2b", **{"tuile:product": "p", "processing:version": "05.10", "created": "2024-06-01T00:00:00Z"})
    put(either, new, old)
    assert ids(either.search("C")) == ["p_v2"] and either.count("C") == 1
    put(either, again)
    assert ids(either.search("C")) == ["p_v2b"] and ids(either.search("C", superseded=True)) == [
        "p_v1",
        "p_v2",
        "p_v2b",
    ]
    either.remove(["/a/p_v2b"])
    either.remove(["/a/p_v2"])
    assert ids(either.search("C")) == ["p_v1"]
    assert either.item("C", "p_v1") is not None


def test_versions_sort_by_value(either: Catalogue) -> None:
    put(either, *(make(f"v{v}", **{"tuile:product": "p", "processing:version": v}) for v in ("1.9", "1.10", "1.2")))
    assert ids(either.search("C")) == ["v1.10"]


def test_the_same_product_in_two_places_comes_once(either: Catalogue) -> None:
    put(either, make("a"), path="/disk1/a")
    put(either, make("a"), path="/disk2/a")
    assert ids(either.search("C")) == ["a"]
    either.remove(["/disk1/a"])
    assert ids(either.search("C")) == ["a"]


def test_static_collections_ignore_time(either: Catalogue) -> None:
    put(either, make("dem", collection="DEM", when=None))
    assert ids(either.search("DEM", interval=("2020-01-01", "2020-02-01"))) == ["dem"]
    assert "t" not in either.collection("DEM")["cube:dimensions"]


def test_dates_and_pairs(either: Catalogue) -> None:
    tiles = [make(f"t{n}", west=1 + n * 0.5, days=n / 86400, **{"tuile:datatake": "A"}) for n in range(3)]
    put(
        either,
        *tiles,
        make("next", days=5, **{"tuile:datatake": "B"}),
        make("far", west=20, days=7, **{"tuile:datatake": "Z"}),
    )
    put(
        either,
        make("l1", collection="L", days=0.1),
        make("l2", collection="L", days=5.2),
        make("l3", collection="L", days=9),
    )
    here = (1.4, 43.2, 1.45, 43.3)
    assert either.dates("C", here) == ["2020-01-01T10:00:00Z", "2020-01-06T10:00:00Z"]
    assert either.dates("C") == ["2020-01-01T10:00:00Z", "2020-01-06T10:00:00Z", "2020-01-08T10:00:00Z"]
    assert either.dates("C", here, ("2020-01-02", None)) == ["2020-01-06T10:00:00Z"]
    found = either.pairs("C", "L", here, max_hours=6)
    assert [(p.a[:10], p.b[:10], round(p.hours, 3)) for p in found] == [
        ("2020-01-01", "2020-01-01", 2.4),
        ("2020-01-06", "2020-01-06", 4.8),
    ]
    assert either.pairs("C", "L", here, max_hours=1) == []
    assert [round(p.hours) for p in either.pairs("L", "C", here, max_hours=6)] == [-2, -5]
    assert len(either.pairs("C", "C", here, max_hours=24 * 6)) == 1
    with pytest.raises(ProcessError, match="filtered by"):
        either.dates("C", where=[("processing:version", "=", "1")])


def test_metadata_follows_the_index(either: Catalogue) -> None:
    put(either, make("a"))
    assert either.collection("C")["extent"]["temporal"]["interval"] == [
        ["2020-01-01T10:00:00Z", "2020-01-01T10:00:00Z"]
    ]
    assert either.collection("C") is either.collection("C")  # cached
    put(either, make("b", days=3))
    assert either.collection("C")["cube:dimensions"]["t"]["extent"] == ["2020-01-01T10:00:00Z", "2020-01-04T10:00:00Z"]


def test_what_is_merged_equals_what_is_looked_at_anew(either: Catalogue) -> None:
    """Metadata grow item by item; removals, newer versions and the antimeridian included."""
    rng = random.Random(4)
    for n in range(40):
        name = f"p{rng.randrange(25)}"
        told = {
            "eo:cloud_cover": rng.uniform(0, 100), "view:sun_elevation": rng.uniform(10, 70), "platform": rng.choice("ab"),
            "grid:code": f"MGRS-{rng.randrange(30):02d}TCJ", "sat:relative_orbit": rng.randrange(1, 9), "tuile:product": name,
            "tuile:datatake": f"D{rng.randrange(12)}", "processing:version": str(n), "proj:code": f"EPSG:326{rng.randrange(31, 33)}",
        }  # fmt: skip
        west = 179.8 if n == 30 else rng.uniform(-20, 20)
        made = make(f"i{n}", west=west, size=0.5, days=rng.uniform(0, 99), **told)
        if west > 179:
            made.bbox = [179.8, 43, -179.7, 43.5]
        put(either, made)
        if n % 7 == 6:
            either.remove([f"/a/i{rng.randrange(n)}"])
        grown = either.collection("C")
        with either.engine.begin() as connection:
            connection.execute(sa.update(collection).values(facts=None, described_generation=None))
        anew = Catalogue(either.database).collection("C")
        assert anew == grown, n
        crossing = any(i.bbox and i.bbox[0] > i.bbox[2] for i in either.search("C"))
        assert (anew["extent"]["spatial"]["bbox"][0][2] == 180.0) is crossing


def test_readers_and_writers_at_once(either: Catalogue) -> None:
    put(either, make("first"))
    failures: list[BaseException] = []

    def write(k: int) -> None:
        try:
            for n in range(10):
                put(either, make(f"w{k}_{n}", days=n))
        except BaseException as error:
            failures.append(error)

    def read() -> None:
        try:
            for _ in range(20):
                assert ids(either.search("C", bbox=(0, 40, 5, 50)))[0] == "first"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(k,)) for k in range(3)] + [
        threading.Thread(target=read) for _ in range(2)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failures == [] and either.count("C") == 31


def test_an_older_index_is_brought_up_to_date(either: Catalogue) -> None:
    put(
        either,
        make("low", **{"view:sun_elevation": 20, "view:azimuth": "nan"}),
        make("high", days=1, **{"view:sun_elevation": 60}),
    )
    before = either.collection("C")
    with either.engine.begin() as connection:
        for name in ("snow_cover", "sun_elevation", "sun_azimuth", "off_nadir", "view_azimuth"):
            connection.exec_driver_sql(f"ALTER TABLE catalogue_item DROP COLUMN {name}")
        for name in ("shrunk", "facts", "facts_upto", "facts_shrunk"):
            connection.exec_driver_sql(f"ALTER TABLE catalogue_collection DROP COLUMN {name}")
        connection.execute(sa.update(meta).where(meta.c.key == "schema").values(value="3"))
    opened = Catalogue(either.database)
    assert ids(opened.search("C", where=[("view:sun_elevation", ">", 40)])) == ["high"]
    put(opened, make("more", days=2, **{"view:sun_elevation": 70}))
    assert opened.dates("C", where=[("view:sun_elevation", ">=", 60)]) == [
        "2020-01-02T10:00:00Z",
        "2020-01-03T10:00:00Z",
    ]
    assert before["summaries"]["view:sun_elevation"] == {"minimum": 20, "maximum": 60}
    assert opened.collection("C")["summaries"]["view:sun_elevation"] == {"minimum": 20, "maximum": 70}


def test_numbers_that_json_does_not_know(either: Catalogue) -> None:
    made = make("a", odd=float("inf"))
    made.assets["data"].extra_fields["bands"][0]["nodata"] = float("nan")
    put(either, made)
    (got,) = either.search("C")
    assert got.properties["odd"] == "inf" and got.assets["data"].extra_fields["bands"][0]["nodata"] == "nan"
    json.dumps(either.collection("C"), allow_nan=False)
    with either.engine.begin() as connection:  # as older indexes have them
        old = json.dumps({**got.to_dict(), "odd": float("nan")}).encode()
        connection.execute(sa.update(document).values(json=zlib.compress(old)))
    assert either.search("C")[0].id == "a"


def test_items_come_back_as_they_were_put(either: Catalogue) -> None:
    made = make("a", **{"eo:cloud_cover": 5.0, "tuile:datatake": "D"})
    made.assets["data"].roles, made.assets["data"].media_type = ["data"], "image/tiff"
    made.extra_fields["mine"] = {"k": [1]}
    made.add_link(pystac.Link("license", "https://example.org/l"))
    put(either, made, make("static", collection="S", when=None))
    for id, collection_id in (("a", "C"), ("static", "S")):
        (got,) = either.search(collection_id)
        as_pystac = pystac.Item.from_dict(got.to_dict(include_self_link=False, transform_hrefs=False))
        assert got.to_dict() == as_pystac.to_dict() and got.id == id and got.assets["data"].owner is got
    assert either.search("C")[0].to_dict()["assets"] == made.to_dict()["assets"]
    assert either.search("C")[0].datetime == START and either.search("S")[0].datetime is None


def test_an_index_of_another_version_is_told(either: Catalogue) -> None:
    with either.engine.begin() as connection:
        connection.execute(sa.update(meta).where(meta.c.key == "schema").values(value="0"))
    with pytest.raises(ProcessError, match="another version"):
        Catalogue(either.database)
