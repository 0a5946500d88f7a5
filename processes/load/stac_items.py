"""Items of other makers in the form of README.md: STAC 1.0 and 1.1, with what they leave out read from the files.

What an asset lacks makes that asset unusable, with a reason; an item without a usable asset is left out, and a load
without any item tells the reasons.
"""

from __future__ import annotations

import hashlib
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pystac

from processes import times
from processes.env import Env
from processes.errors import ProcessError
from processes.load.fetch import Fetcher
from processes.load.rasters import LABEL, entries, header, items_of_netcdf, kind_of, projection
from processes.load.remote import marked
from processes.load.stac_search import THREADS, instants_of

RASTER = re.compile(r"\.(tiff?|jp2|nc|h5|hdf5?|png|jpe?g)$", re.IGNORECASE)
NETCDF = re.compile(r"\.(nc4?|cdf|h5)$", re.IGNORECASE)
RASTER_TYPES = ("image/tiff", "image/vnd.stac.geotiff", "image/jp2", "application/x-netcdf", "application/netcdf")
NOT_DATA = ("thumbnail", "overview", "visual", "metadata")
_BAND_KEYS = ("nodata", "data_type", "gsd", "unit", "classification:classes")


@dataclass
class Converter:
    """Converts the items of one load; remembers headers per asset key, checks of hosts and reasons."""

    fetcher: Fetcher
    env: Env
    collections: Mapping[str, Mapping[str, Any]]
    wanted: Sequence[str] | None = None  # bands asked for: assets without any of them are not touched
    reasons: dict[str, str] = field(default_factory=dict)
    _local: bool = False

    def convert(self, documents: Sequence[Mapping[str, Any]]) -> list[pystac.Item]:
        """Usable items, in order."""
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(self._item, documents))
        return [i for items in found for i in items]

    def offered(self, documents: Sequence[Mapping[str, Any]]) -> set[str]:
        """Names and common names of the bands that the items declare."""
        out: set[str] = set()
        for document in documents:
            declared = self.collections.get(str(document.get("collection")), {}).get("item_assets") or {}
            for key, asset in (document.get("assets") or {}).items():
                for band in bands_of({**(declared.get(key) or {}), **asset}, key):
                    out |= {str(band["name"]), str(band.get("eo:common_name"))}
        return out

    def explain(self) -> str:
        """Why assets could not be used, each reason once."""
        seen: dict[str, str] = {}
        for where, why in self.reasons.items():
            seen.setdefault(why, where)
        texts = [f"{where}: {why}" for why, where in seen.items()]
        return "; ".join(texts[:6]) + (f"; and {len(texts) - 6} more reasons" if len(texts) > 6 else "")

    def _item(self, document: Mapping[str, Any]) -> list[pystac.Item]:
        id = str(document.get("id", "item"))
        collection = self.collections.get(str(document.get("collection")), {})
        declared = collection.get("item_assets") or {}
        rasters: dict[str, tuple[str, dict[str, Any]]] = {}
        out: list[pystac.Item] = []
        for key, asset in (document.get("assets") or {}).items():
            fields = {**(declared.get(key) or {}), **asset}
            if not _is_raster(fields):
                continue
            # files of job results hold one cube: a band without a name is the same in all of them
            bands = bands_of(fields, "var" if "cube:dimensions" in (document.get("properties") or {}) else key)
            if self.wanted is not None and bands and not ({str(b["name"]) for b in bands} | {b.get("eo:common_name") for b in bands} | {key}) & set(self.wanted):  # fmt: skip
                continue
            try:
                if _is_netcdf(fields):
                    out += self._netcdf(document, id, key, fields)
                else:
                    rasters[key] = self._raster(document, fields, bands, key)
            except ProcessError as error:
                self.reasons[f"{id}/{key}"] = error.message
        if rasters:
            out.append(self._assembled(document, id, rasters))
        if not out and not any(where.startswith(f"{id}/") for where in self.reasons):
            self.reasons[id] = "it has no raster asset" + (" with the bands asked for" if self.wanted else "")
        return out

    def _href(self, fields: Mapping[str, Any]) -> str:
        """The path or address to open. Raises `ProcessError`."""
        candidates = [fields["href"], *(a.get("href") for a in (fields.get("alternate") or {}).values())]
        href = next((h for h in candidates if urlsplit(str(h)).scheme in ("http", "https")), str(fields["href"]))
        if self._local and Path(href).is_absolute():
            return href
        return marked(self.fetcher.resolved(href), self.env.fetch_allow)

    def _raster(
        self, document: Mapping[str, Any], fields: Mapping[str, Any], bands: list[dict[str, Any]], key: str
    ) -> tuple[str, dict[str, Any]]:
        href = self._href(fields)
        grid = grid_fields(fields, document.get("properties") or {})
        told = bands and all("data_type" in b and ("nodata" in b or b["data_type"].startswith("float")) for b in bands)
        if grid is None or not told:
            found = header(href)
            grid = projection(found)
            if len(bands) > len(found.dtypes):
                raise ProcessError(
                    "StorageFailure", f"it declares {len(bands)} bands, the file has {len(found.dtypes)}."
                )
            of_file = entries(found, [str(b["name"]) for b in bands] or ([key] if len(found.dtypes) == 1 else []))
            bands = [{**own, **_present(said)} for own, said in zip(of_file, bands)] if bands else of_file
        return href, {**grid, "bands": [b | {"tuile:kind": kind_of(b)} for b in bands]}

    def stored(self, document: Mapping[str, Any], fields: Mapping[str, Any]) -> Path:
        """A file on this machine: the asset's own, or a copy in the workspace. Raises `ProcessError`."""
        href = self._href(fields)
        if urlsplit(href).scheme not in ("http", "https"):
            return Path(href)
        folder = (self.env.workspace or Path(tempfile.gettempdir())) / "fetched"
        version = f"{fields.get('file:checksum', '')}{(document.get('properties') or {}).get('updated', '')}"
        name = hashlib.sha256(f"{href}{version}".encode()).hexdigest()[:32]
        path = folder / f"{name}{'.nc' if _is_netcdf(fields) else ''}"
        if not path.is_file():
            self.fetcher.download(href, path)
        return path

    def _netcdf(self, document: Mapping[str, Any], id: str, key: str, fields: Mapping[str, Any]) -> list[pystac.Item]:
        path = self.stored(document, fields)
        with path.open("rb") as stream:
            hdf5 = stream.read(4) == b"\x89HDF"
        said = {str(b["name"]): b for b in bands_of(fields, key)}
        items = items_of_netcdf(path, f"{id}_{key}", hdf5=hdf5)
        for item in items:
            for asset in item.assets.values():
                for band in asset.extra_fields["bands"]:
                    band |= {k: v for k, v in _present(said.get(band["name"], {})).items() if k.startswith("eo:")}
        return items

    def _assembled(
        self, document: Mapping[str, Any], id: str, rasters: Mapping[str, tuple[str, dict[str, Any]]]
    ) -> pystac.Item:
        properties = dict(document.get("properties") or {})
        first, _ = instants_of(document)
        label = _own_label(properties)
        when: datetime | None = None
        if label is not None:
            properties[LABEL] = label
        if label is not None or first:
            when = _instant(str(label if label is not None else first)) or _instant(str(first))
        if when is None:
            properties |= {"start_datetime": "1970-01-01T00:00:00Z", "end_datetime": "1970-01-01T00:00:00Z"}
        if take := _datatake(properties, first):
            properties["tuile:datatake"] = take
        item = pystac.Item(id, document.get("geometry"), document.get("bbox"), when, properties)
        # the finest asset first: a band that comes at several resolutions is taken from it
        for key, (href, fields) in sorted(rasters.items(), key=lambda kv: abs(kv[1][1]["proj:transform"][0])):
            item.add_asset(key, pystac.Asset(href, extra_fields=fields))
        return item


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in fields.items() if v is not None}


def _is_raster(fields: Mapping[str, Any]) -> bool:
    roles = fields.get("roles") or []
    if any(r in NOT_DATA for r in roles):
        return False
    media_type = str(fields.get("type", "")).lower()
    if media_type.startswith(RASTER_TYPES):
        return True
    named = bool(RASTER.search(urlsplit(str(fields["href"])).path))
    return named if not media_type or media_type == "application/octet-stream" else named and "data" in roles


def _is_netcdf(fields: Mapping[str, Any]) -> bool:
    return "netcdf" in str(fields.get("type", "")).lower() or bool(NETCDF.search(urlsplit(str(fields["href"])).path))


def bands_of(fields: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The bands an asset declares, in one list (``bands`` of 1.1, ``eo:bands`` and ``raster:bands`` of 1.0); empty where
    it declares none. What 1.1 says of the asset holds for its bands."""
    new = [b for b in fields.get("bands") or [] if isinstance(b, Mapping)]
    eo, raster = fields.get("eo:bands") or [], fields.get("raster:bands") or []
    count = max(len(new), len(eo), len(raster))
    out = []
    for k in range(count):
        n, e, r = (x[k] if k < len(x) and isinstance(x[k], Mapping) else {} for x in (new, eo, raster))
        name = n.get("name") or e.get("name") or r.get("name") or (key if count == 1 else f"{key}_{k + 1}")
        entry: dict[str, Any] = {"name": str(name), "tuile:index": k + 1}
        shared = {i: fields[i] for i in (*_BAND_KEYS, "raster:scale", "raster:offset") if i in fields}
        common = {f"eo:{i}": e[i] for i in ("common_name", "center_wavelength", "full_width_half_max") if i in e}
        stored = {f"raster:{i}": r[i] for i in ("scale", "offset") if i in r}
        stored |= {i: r[i] for i in _BAND_KEYS if i in r}
        own = {i: v for i, v in n.items() if i in _BAND_KEYS or i.startswith(("eo:", "raster:"))}
        entry |= shared | common | stored | own
        if "nodata" in entry:
            entry["nodata"] = nodata_of(entry["nodata"])
        if entry.get("data_type") in (None, "other"):
            entry.pop("data_type", None)
        out.append(entry)
    return out


def nodata_of(value: Any) -> float | None:
    """nodata as STAC writes it: a number or ``nan``, ``inf``, ``-inf``."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def grid_fields(fields: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any] | None:
    """``proj:code``, ``proj:shape``, ``proj:transform`` of an asset or its item; None where they do not tell."""
    said = {**{k: v for k, v in properties.items() if k.startswith("proj:")}, **fields}
    code = said.get("proj:code") or (f"EPSG:{said['proj:epsg']}" if said.get("proj:epsg") else said.get("proj:wkt2"))
    shape, transform, box = said.get("proj:shape"), said.get("proj:transform"), said.get("proj:bbox")
    if not code or not shape or len(shape) != 2:
        return None
    if not transform and box and len(box) == 4:
        transform = [(box[2] - box[0]) / shape[1], 0, box[0], 0, -(box[3] - box[1]) / shape[0], box[3]]
    if not transform or len(transform) < 6:
        return None
    a, b, _, d, e, _ = (float(v) for v in transform[:6])
    if b or d or a <= 0 or e >= 0 or not all(math.isfinite(float(v)) for v in transform[:6]):
        return None  # the file is asked, and tells what is wrong with it
    return {"proj:code": str(code), "proj:shape": list(shape), "proj:transform": list(transform[:6])}


def _own_label(properties: Mapping[str, Any]) -> str | None:
    """The one temporal label of a file of job results."""
    for dimension in (properties.get("cube:dimensions") or {}).values():
        values = dimension.get("values") or []
        if dimension.get("type") == "temporal" and len(values) == 1:
            return str(values[0])
    return None


def _instant(text: str) -> datetime | None:
    try:
        when: datetime = times.parse(text).astype("M8[us]").item()
    except ProcessError:
        return None
    return when.replace(tzinfo=UTC)


def _datatake(properties: Mapping[str, Any], first: str | None) -> str | None:
    """What the tiles of one pass have in common, where the item says: they make one slice."""
    if take := properties.get("tuile:datatake") or properties.get("s2:datatake_id"):
        return str(take)
    if (path := properties.get("landsat:wrs_path")) and first:
        return f"{path}_{first[:10]}"
    return None
