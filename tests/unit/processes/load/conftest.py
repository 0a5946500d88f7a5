"""Small rasters with items, and a catalogue that holds them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from shapely.geometry import box, mapping

from processes.errors import ProcessError
from processes.extents import transformer
from processes.load import read


class MemoryCatalogue:
    """The catalogue protocol over a list of items."""

    def __init__(self, collections: dict[str, list[pystac.Item]]):
        self.collections = collections
        self.searches: list[dict[str, Any]] = []

    def collection(self, collection_id):
        if collection_id not in self.collections:
            raise ProcessError("CollectionNotFound", f"Collection '{collection_id}' does not exist.")
        items = self.collections[collection_id]
        names = list(
            dict.fromkeys(b["name"] for i in items for a in i.assets.values() for b in a.extra_fields["bands"])
        )
        boxes = np.array([i.bbox for i in items])
        whole = [*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]
        return {
            "id": collection_id,
            "extent": {"spatial": {"bbox": [whole]}},
            "cube:dimensions": {"t": {"type": "temporal"}, "bands": {"type": "bands", "values": names}},
        }

    def search(self, collection_id, *, bbox=None, interval=None, where=()):
        self.searches.append({"bbox": bbox, "interval": interval, "where": list(where)})
        out = []
        for item in self.collections[collection_id]:
            stamp = item.datetime.strftime("%Y-%m-%dT%H:%M:%SZ")
            if interval and ((interval[0] and stamp < interval[0]) or (interval[1] and stamp >= interval[1])):
                continue
            if bbox and not box(*item.bbox).intersects(box(*bbox)):
                continue
            out.append(item)
        return out


def write_raster(
    path: Path, values: np.ndarray, transform: Affine, crs: str, nodata: float | None = None, block: int = 64
):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        crs=crs,
        transform=transform,
        nodata=nodata,
        tiled=True,
        blockxsize=block,
        blockysize=block,
        compress="deflate",
    ) as out:
        out.write(values, 1)
    return str(path)


def make_item(id: str, when: str, files: dict[str, tuple[str, list[dict[str, Any]]]], **properties: Any) -> pystac.Item:
    """An item of ``{asset key: (path, bands)}``, with the grid of each file as the contract wants it."""
    item = None
    for key, (href, bands) in files.items():
        with rasterio.open(href) as source:
            left, bottom, right, top = source.bounds
            x, y = transformer(source.crs.to_string(), "EPSG:4326").transform(
                [left, right, left, right], [bottom, bottom, top, top]
            )
            bounds = (min(x), min(y), max(x), max(y))
            grid = {
                "proj:code": source.crs.to_string(),
                "proj:shape": list(source.shape),
                "proj:transform": list(source.transform)[:6],
            }
            dtype, nodata = source.dtypes[0], source.nodata
        if item is None:
            item = pystac.Item(
                id,
                mapping(box(*bounds)),
                list(bounds),
                datetime.fromisoformat(when).replace(tzinfo=UTC),
                dict(properties),
            )
        full = [{"data_type": dtype, **({} if nodata is None else {"nodata": nodata}), **b} for b in bands]
        item.add_asset(key, pystac.Asset(href, extra_fields={**grid, "bands": full}))
    assert item is not None
    return item


@pytest.fixture
def memory_catalogue():
    return MemoryCatalogue


def levels_read(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Which overviews are read from now on (None: the pixels themselves)."""
    seen: list[int | None] = []
    real = read.read_window

    def spy(band: Any, window: Any, level: int | None = None) -> np.ndarray:
        seen.append(level)
        return real(band, window, level)

    monkeypatch.setattr(read, "read_window", spy)
    return seen
