"""Results of a job as STAC: a Collection for the job, an Item per file that has a place on Earth.

Pure functions from rows to JSON; where things are served is told by `Urls`, so views only sign and render. No field
is ever null: what is unknown is absent (see ``docs`` on client compatibility).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backend.results.asset import Asset
from backend.store.models import Job, JobAsset
from backend.store.types import finite, rfc3339

STAC_VERSION = "1.1.0"
EXTENSIONS = {
    "proj:": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster:": "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "eo:": "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "file:": "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "cube:": "https://stac-extensions.github.io/datacube/v2.2.0/schema.json",
    "processing:": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "table:": "https://stac-extensions.github.io/table/v1.2.0/schema.json",
}
TIMESTAMPS = "https://stac-extensions.github.io/timestamps/v1.1.0/schema.json"
# Above this, sources are listed in a document of their own: long link lists break clients (geopyspark-driver#1278).
MAX_SOURCE_LINKS = 20
WHOLE_EARTH = [-180.0, -90.0, 180.0, 90.0]


@dataclass(frozen=True)
class Urls:
    """Absolute URLs of what a result document points to.

    Attributes
    ----------
    self_ : of the document itself
    canonical : signed URL of the same document, if there is one (keeps ``partial``)
    file : name of a file in the result folder -> its (signed) URL
    item : id of a result item -> its (signed) URL
    sources : URL of `sources_document`, if it is served
    source : id of a source product -> URL of its item, None where it is not known
    """

    self_: str
    file: Callable[[str], str]
    item: Callable[[str], str]
    canonical: str | None = None
    sources: str | None = None
    source: Callable[[str], str | None] = lambda _: None


def asset_row(job_id: str, n: int, asset: Asset) -> JobAsset:
    """The row of a written file, the ``n``-th of a job."""
    return JobAsset(
        job_id=job_id,
        ordinal=n,
        name=asset.name,
        media_type=asset.media_type,
        title=asset.title,
        roles=list(asset.roles),
        metadata_=finite(dict(asset.metadata)),
        properties=finite(dict(asset.properties)),
        geometry=finite(dict(asset.geometry)) if asset.geometry else None,
        bbox=list(asset.bbox) if asset.bbox else None,
        cube=finite(dict(asset.cube)) if asset.cube else None,
        size=asset.path.stat().st_size,
    )


def item_id(job: Job, asset: JobAsset) -> str:
    """Id of the item that describes a file: unique among all jobs."""
    return f"{job.id}_{asset.name.replace('/', '_')}"


def has_item(asset: JobAsset) -> bool:
    """Whether a file gets an item: it holds data and has a footprint."""
    return "data" in asset.roles and asset.geometry is not None


def result_document(
    job: Job, assets: Sequence[JobAsset], urls: Urls, *, expires: datetime | None = None
) -> dict[str, Any]:
    """STAC Collection of a job's results, as ``GET /jobs/{id}/results`` answers.

    Parameters
    ----------
    job, assets : rows; ``assets`` may be empty or partial, ``openeo:status`` tells
    urls : where the document, its items and its files are served
    expires : when signed URLs end
    """
    data = [a for a in assets if "data" in a.roles]
    boxes = [a.bbox for a in data if a.bbox]
    document: dict[str, Any] = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": job.id,
        "title": job.title or f"Results of batch job {job.id}",
        "description": job.description or f"Results of batch job {job.id}.",
        "license": "other",
        "extent": {"spatial": {"bbox": [_union(boxes)]}, "temporal": {"interval": [_interval(job, data)]}},
        "created": rfc3339(job.created),
        "updated": rfc3339(job.updated),
        "openeo:status": "running" if job.status in ("created", "queued") else job.status,
        "links": _links(job, data, urls),
        "assets": {a.name: asset_document(a, urls.file(a.name)) for a in assets},
    }
    if expires is not None:
        document["expires"] = rfc3339(expires)
    if (dims := _shared_dimensions(data)) is not None:
        document["cube:dimensions"] = dims
    codes = sorted({c for a in data if (c := a.metadata_.get("proj:code"))})
    bands = _shared_bands(data)
    if codes:
        document["summaries"] = {"proj:code": codes}
    if bands:
        document["bands"] = bands
    document["stac_extensions"] = _extensions(document, timestamps=True)
    return document


def item_document(job: Job, asset: JobAsset, urls: Urls, *, expires: datetime | None = None) -> dict[str, Any]:
    """STAC Item of one file (see `has_item`); ``urls.self_`` is the URL of the *collection* document."""
    properties = {k: v for k, v in asset.properties.items() if k != "derived_from" and v is not None}
    if "datetime" not in properties:
        if "start_datetime" in properties:
            properties["datetime"] = properties["start_datetime"]
        else:
            properties["datetime"] = rfc3339(job.finished or job.updated)
    properties |= {"created": rfc3339(job.finished or job.updated), "updated": rfc3339(job.updated)}
    properties |= {k: v for k, v in asset.metadata_.items() if k.startswith("proj:")}
    if asset.cube:
        properties["cube:dimensions"] = asset.cube
    if expires is not None:
        properties["expires"] = rfc3339(expires)
    links: list[dict[str, Any]] = [
        {"rel": "self", "href": urls.item(item_id(job, asset)), "type": "application/geo+json"},
        {"rel": "collection", "href": urls.self_, "type": "application/json"},
        {"rel": "parent", "href": urls.self_, "type": "application/json"},
    ]
    document: dict[str, Any] = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "id": item_id(job, asset),
        "collection": job.id,
        "geometry": asset.geometry,
        "bbox": asset.bbox,
        "properties": properties,
        "links": links + _source_links(asset.properties.get("derived_from", ()), urls),
        "assets": {asset.name: asset_document(asset, urls.file(asset.name))},
    }
    document["stac_extensions"] = _extensions(document, timestamps=expires is not None)
    return document


def asset_document(asset: JobAsset, href: str) -> dict[str, Any]:
    """STAC asset of one file."""
    document = {
        "href": href,
        "type": asset.media_type,
        "title": asset.title or asset.name,
        "roles": list(asset.roles),
        "file:size": asset.size,
    }
    return document | {k: v for k, v in asset.metadata_.items() if v is not None}


def sources_document(job: Job, assets: Sequence[JobAsset], urls: Urls) -> dict[str, Any]:
    """All source products of a job, for clients that want the whole list."""
    ids = sources(assets)
    return {
        "job": job.id,
        "derived_from": ids,
        "links": [{"rel": "derived_from", "href": href, "title": i} for i in ids if (href := urls.source(i))],
    }


def sources(assets: Sequence[JobAsset]) -> list[str]:
    """Ids of the source products of these files, each once, in order of first appearance."""
    return list(dict.fromkeys(i for a in assets for i in a.properties.get("derived_from", ())))


def _links(job: Job, data: Sequence[JobAsset], urls: Urls) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = [{"rel": "self", "href": urls.self_, "type": "application/json"}]
    if urls.canonical:
        links.append({"rel": "canonical", "href": urls.canonical, "type": "application/json"})
    links += [
        {"rel": "item", "href": urls.item(item_id(job, a)), "type": "application/geo+json", "title": a.name}
        for a in data
        if has_item(a)
    ]
    return links + _source_links(sources(data), urls)


def _source_links(ids: Sequence[str], urls: Urls) -> list[dict[str, Any]]:
    """A link per source where they are few and known, else one to the list of them."""
    found = [(i, urls.source(i)) for i in ids] if len(ids) <= MAX_SOURCE_LINKS else []
    if ids and urls.sources and not (found and all(href for _, href in found)):
        title = f"{len(ids)} source products"
        return [{"rel": "derived_from", "href": urls.sources, "type": "application/json", "title": title}]
    return [{"rel": "derived_from", "href": h, "type": "application/geo+json", "title": i} for i, h in found if h]


def _union(boxes: Sequence[Sequence[float]]) -> list[float]:
    """Box around all boxes (which do not cross the antimeridian, or each spans it wholly); the Earth for none."""
    if not boxes:
        return WHOLE_EARTH
    west, south, east, north = zip(*boxes)
    return [min(west), min(south), max(east), max(north)]


def _interval(job: Job, data: Sequence[JobAsset]) -> list[str]:
    """Closed interval of all files; that of the job where no file has a time."""
    starts, ends = [], []
    for asset in data:
        p = asset.properties
        if start := p.get("start_datetime") or p.get("datetime"):
            starts.append(start)
            ends.append(p.get("end_datetime") or start)
    if not starts:
        return [rfc3339(job.created), rfc3339(job.finished or job.updated)]
    return [min(starts), max(ends)]


def _shared_dimensions(data: Sequence[JobAsset]) -> dict[str, Any] | None:
    """``cube:dimensions`` of the cube that all files together hold; None where they hold different cubes.

    Files of one cube differ in their temporal dimension alone: its labels are joined.
    """
    cubes = [a.cube for a in data if a.cube]
    if not cubes or len(cubes) != len(data):
        return None
    first = cubes[0]
    times = [d for d, v in first.items() if v.get("type") == "temporal"]
    rest = {d: v for d, v in first.items() if d not in times}
    if any({d: v for d, v in c.items() if d not in times} != rest or set(c) != set(first) for c in cubes[1:]):
        return None
    joined = {}
    for d in times:
        values = sorted({v for c in cubes for v in c[d].get("values", [])})
        joined[d] = first[d] | {"values": values}
        if all("extent" in c[d] for c in cubes):
            joined[d]["extent"] = [min(c[d]["extent"][0] for c in cubes), max(c[d]["extent"][1] for c in cubes)]
    return {d: joined.get(d, v) for d, v in first.items()}


def _shared_bands(data: Sequence[JobAsset]) -> list[dict[str, Any]]:
    """Bands by name, without what is a file's own (statistics)."""
    seen: dict[str, dict[str, Any]] = {}
    for asset in data:
        for band in asset.metadata_.get("bands", ()):
            if "name" in band:
                seen.setdefault(band["name"], {k: v for k, v in band.items() if k != "statistics"})
    return list(seen.values())


def _extensions(document: Mapping[str, Any], *, timestamps: bool) -> list[str]:
    """Extensions whose prefix is used anywhere in the document."""
    used: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                used.update(p for p in EXTENSIONS if isinstance(key, str) and key.startswith(p))
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(document)
    return [EXTENSIONS[p] for p in EXTENSIONS if p in used] + ([TIMESTAMPS] if timestamps else [])
