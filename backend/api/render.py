"""How rows become the JSON of the API. No field is ever null: what is unknown is absent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Response

from backend.api.links import link, url
from backend.store.models import Job, LogEntry, ProcessGraph, UserFile
from backend.store.types import rfc3339


def reply(
    value: Any, status: int = 200, *, type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON response."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text, status, headers, content_type=type)


def nothing(status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    """A response without body."""
    return Response(status=status, headers=headers)


def known(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {k: v for k, v in fields.items() if v is not None}


def without_nulls(value: Any) -> Any:
    """``value`` without the null members of its objects, all the way down."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [without_nulls(v) for v in value]
    return value


def job_summary(job: Job) -> dict[str, Any]:
    """As in a list of jobs."""
    times = {
        name: rfc3339(time)
        for name in ("created", "updated", "queued", "started", "finished")
        if (time := getattr(job, name)) is not None
    }
    return known(
        id=job.id,
        title=job.title,
        description=job.description,
        status=job.status,
        progress=round(job.progress, 1) if job.status in ("running", "finished", "error", "canceled") else None,
        plan=job.plan,
        budget=job.budget,
        **times,
    )


def job(job: Job) -> dict[str, Any]:
    """With everything: what a client sent beyond the standard comes back too."""
    own = job_summary(job) | known(process=job.process, log_level=job.log_level, usage=job.usage)
    own["links"] = [link("monitor", url("jobs.logs", job_id=job.id), title="Logs")]
    if job.status in ("finished", "error", "canceled"):
        own["links"].append(link("results", url("results.get", job_id=job.id), title="Results"))
    return job.options | own


def log_entry(entry: LogEntry) -> dict[str, Any]:
    return known(
        id=str(entry.id),
        level=entry.level,
        message=entry.message,
        time=entry.time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        code=entry.code,
        path=[{"node_id": str(node)} for node in entry.path] if entry.path else None,
        data=entry.data,
    )


def udp_summary(row: ProcessGraph) -> dict[str, Any]:
    """A stored process without its graph."""
    return {k: v for k, v in udp(row).items() if k != "process_graph"}


def udp(row: ProcessGraph) -> dict[str, Any]:
    own = {"id": row.id, "public": row.public}
    links = [x for x in row.process.get("links", []) if isinstance(x, dict) and x.get("rel") != "canonical"]
    if row.public:
        shared = url("processes.shared", namespace=f"u:{row.user_id}", process_id=row.id)
        links.append(link("canonical", shared, title="Public address of this process"))
    return row.process | own | ({"links": links} if links else {})


def file(row: UserFile) -> dict[str, Any]:
    return {"path": row.path, "size": row.size, "modified": rfc3339(row.modified)}
