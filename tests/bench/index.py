"""Time the catalogue's searches over a million items, on SQLite and PostgreSQL.

``python -m tests.bench.index [--items 1000000] [--database sqlite|postgresql|URL] [--repeat 20]``

Synthetic Sentinel-2 archive: every MGRS-like 100 km cell between 60 S and 70 N on land-like stripes, one item every few
days on its own orbit. Documents are one real-sized compressed item shared by all rows (reading and parsing them is
timed, writing a million different ones is not the point). Prints the median and worst milliseconds of each question,
and exits with status 1 when one exceeds ``--limit``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import sqlalchemy as sa
from shapely.geometry import box, mapping

from backend.catalogue.index import Catalogue
from backend.catalogue.tables import collection, document, item
from backend.store.db import Database

DAY = 86_400_000_000
CHUNK = 20_000


def template() -> bytes:
    """A compressed item as large as a MUSCATE product with forty assets."""
    assets = {
        f"FRE_B{i:02d}": {
            "href": f"/archive/SENTINEL2A_20180417-103813-308_L2A_T32TLR_D_V1-9/SENTINEL2A_FRE_B{i}.tif",
            "type": "image/tiff; application=geotiff",
            "proj:code": "EPSG:32632", "proj:shape": [10980, 10980], "proj:transform": [10.0, 0.0, 300000.0, 0.0, -10.0, 5100000.0],
            "bands": [{"name": f"B{i:02d}", "data_type": "int16", "nodata": -10000, "raster:scale": 0.0001, "tuile:kind": "reflectance"}],
        }
        for i in range(40)
    }  # fmt: skip
    body = {
        "type": "Feature", "stac_version": "1.1.0", "stac_extensions": [], "id": "template", "links": [], "assets": assets,
        "geometry": {"type": "Polygon", "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]},
        "bbox": [-180, -90, 180, 90], "collection": "SENTINEL2_L2A_MAJA",
        "properties": {"datetime": "2018-04-17T10:38:13Z", "platform": "sentinel-2a", "eo:cloud_cover": 12.0, "view:sun_elevation": 47.0},
    }  # fmt: skip
    return zlib.compress(json.dumps(body).encode(), 6)


def rows(n: int, seed: int = 1) -> Iterator[dict[str, np.ndarray]]:
    """Columns of ``n`` synthetic items in chunks."""
    rng = np.random.default_rng(seed)
    lat, lon = (a.ravel() for a in np.meshgrid(np.arange(-60, 70, 0.9), np.arange(-180, 180, 1.2), indexing="ij"))
    land = np.sin(np.radians(lon * 3)) + np.cos(np.radians(lat * 4)) > 0.2
    lat, lon = lat[land], lon[land]
    per_tile = -(-n // len(lat))
    for first in range(0, n, CHUNK):
        k = np.arange(first, min(first + CHUNK, n))
        tile, step = k // per_tile, k % per_tile
        days = 16_600 + (step * 3650 / per_tile).astype(int) + tile % 51
        start = (days * 86400 + 36_000 + (lon[tile] * -200).astype(int) + tile % 60).astype("i8") * 1_000_000
        yield {
            "number": k + 1, "tile": tile, "start": start, "west": lon[tile], "south": lat[tile],
            "east": np.where(lon[tile] + 1.4 > 180, lon[tile] + 1.4 - 360, lon[tile] + 1.4), "north": lat[tile] + 1.0,
            "cloud": rng.uniform(0, 100, len(k)), "orbit": tile % 143 + 1, "platform": k % 2,
        }  # fmt: skip


def fill(catalogue: Catalogue, n: int) -> float:
    """Write ``n`` items; seconds it took."""
    began = time.perf_counter()
    shared = template()
    with catalogue.engine.begin() as connection:
        number = connection.execute(
            sa.insert(collection).values(id="SENTINEL2_L2A_MAJA", static=False).returning(collection.c.number)
        ).scalar_one()
    for chunk in rows(n):
        values = [
            {
                "number": int(k), "collection": number, "id": f"S2_{t:05d}_{s}", "path": f"/a/{k}", "start": int(s), "west": float(w),
                "south": float(so), "east": float(e), "north": float(no), "cloud_cover": float(c),
                "sun_elevation": float(20 + c / 2), "off_nadir": float(c / 10), "platform": "sentinel-2" + "ab"[p],
                "relative_orbit": int(o), "tile": f"MGRS-{t:05d}", "datatake": f"s2{'ab'[p]}_{s // DAY}_R{o:03d}",
                "product": f"p{k}", "version": "", "code": "EPSG:32632", "hidden": False,
            }
            for k, t, s, w, so, e, no, c, o, p in zip(*chunk.values())
        ]  # fmt: skip
        with catalogue.engine.begin() as connection:
            connection.execute(sa.insert(item), values)
            connection.execute(sa.insert(document), [{"number": v["number"], "json": shared} for v in values])
            catalogue.places.put(connection, values)
    if catalogue.engine.dialect.name == "postgresql":  # numbers were given, not drawn
        with catalogue.engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('catalogue_item', 'number'), {n})")
    catalogue.optimize()
    return time.perf_counter() - began


def questions(catalogue: Catalogue) -> dict[str, Callable[[], Any]]:
    """What users ask: each returns something with a length."""
    id, here = "SENTINEL2_L2A_MAJA", (73.5, 2.4, 73.7, 2.6)
    year, month = ("2018-01-01", "2019-01-01"), ("2018-06-01", "2018-07-01")
    return {
        "items of a place, one year": lambda: catalogue.search(id, bbox=here, interval=year),
        "items of a place, all years, cloud < 10": lambda: catalogue.search(
            id, bbox=here, where=[("eo:cloud_cover", "<", 10.0)]
        ),
        "items of a region (5 x 4 deg), one month": lambda: catalogue.search(
            id, bbox=(72, 0, 77, 4), interval=month, where=[("eo:cloud_cover", "<=", 20.0)]
        ),
        "items across the antimeridian, one month": lambda: catalogue.search(
            id, bbox=(179, -2, -179, 2), interval=month
        ),
        "items of a region, all years, angles": lambda: catalogue.search(
            id,
            bbox=(72, 0, 77, 4),
            where=[("view:sun_elevation", ">", 60.0), ("view:off_nadir", "<", 8.5), ("eo:cloud_cover", "<", 84.0)],
        ),
        "items of a tile, one orbit": lambda: catalogue.search(
            id, interval=year, where=[("grid:code", "=", "MGRS-05148"), ("sat:relative_orbit", "=", 1)]
        ),
        "first page of a collection (100)": lambda: catalogue.search(id, limit=100),
        "dates of a place, all years": lambda: catalogue.dates(id, here),
        "dates of a region (5 x 4 deg), one year": lambda: catalogue.dates(id, (72, 0, 77, 4), year),
        "count of a region (5 x 4 deg), all years": lambda: range(catalogue.count(id, bbox=(72, 0, 77, 4))),
        "same-day pairs of a place, one year": lambda: catalogue.pairs(id, id, here, year, 24 * 6),
    }


@contextmanager
def database(kind: str, folder: Path) -> Iterator[Database]:
    """SQLite in ``folder``, a PostgreSQL server started for the occasion, or the URL given."""
    with ExitStack() as stack:
        if kind == "postgresql":
            from tests.postgres import postgres

            url = stack.enter_context(postgres())
        else:
            url = f"sqlite:///{folder / 'index.sqlite'}" if kind == "sqlite" else kind
        opened = Database(url)
        stack.callback(opened.close)
        yield opened


def described(catalogue: Catalogue) -> tuple[float, float]:
    """Seconds to describe the collections anew, and after one more product."""
    more = pystac.Item("more", mapping(box(2, 43, 3, 44)), [2, 43, 3, 44], datetime(2030, 1, 1, tzinfo=UTC), {})
    more.collection_id = "SENTINEL2_L2A_MAJA"
    with catalogue.engine.begin() as connection:
        connection.execute(sa.update(collection).values(facts=None, described_generation=None, described_at=None))
    took = []
    for _ in range(2):
        began = time.perf_counter()
        Catalogue(catalogue.database).collections()
        took.append(time.perf_counter() - began)
        catalogue.put("/a/more", "x", "bench", [more], None, 0.0)
    return took[0], took[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--database", default="sqlite")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--limit", type=float, default=50.0, help="milliseconds a median may take")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, database(options.database, Path(folder)) as opened:
        catalogue = Catalogue(opened)
        print(f"{options.database}: {options.items} items written in {fill(catalogue, options.items):.0f} s")
        slow = 0
        anew, grown = described(catalogue)
        print(f"collections described anew in {anew:.2f} s, after one more product in {grown * 1000:.1f} ms")
        for name, ask in questions(catalogue).items():
            found, times = ask(), []
            for _ in range(options.repeat):
                began = time.perf_counter()
                ask()
                times.append((time.perf_counter() - began) * 1000)
            median = statistics.median(times)
            slow += median > options.limit
            print(f"{name:44} {len(found):7} found  median {median:7.1f} ms  worst {max(times):7.1f} ms")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
