"""Batch jobs: create, list, describe, change, delete; logs and estimate."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from backend.api import parse
from backend.api.links import url
from backend.api.listing import listing
from backend.api.logs import log_reply
from backend.api.render import job as render_job
from backend.api.render import job_summary, nothing, reply
from backend.context import context
from backend.errors import OpenEOError
from backend.store import jobs, udps
from backend.store.models import Job

blueprint = Blueprint("jobs", __name__)
OURS = ("id", "status", "progress", "created", "updated", "queued", "started", "finished", "usage", "costs", "links")


@blueprint.get("/jobs")
def list_jobs() -> Response:
    return listing("jobs", jobs.jobs, jobs.total, job_summary)


@blueprint.post("/jobs")
def create() -> Response:
    user = parse.user()
    body = parse.body()
    fields = _fields({"process": None, "log_level": None} | body)
    with context().database.session() as session:
        job = jobs.create(session, user.id, fields.pop("process"), **fields)
    headers = {"Location": url("jobs.describe", job_id=job.id), "OpenEO-Identifier": job.id}
    return nothing(201, headers)


@blueprint.get("/jobs/<job_id>")
def describe(job_id: str) -> Response:
    user = parse.user()
    with context().database.session(read_only=True) as session:
        return reply(render_job(owned(session, job_id, user.id)))


@blueprint.patch("/jobs/<job_id>")
def change(job_id: str) -> Response:
    user = parse.user()
    body = parse.body()
    with context().database.session() as session:
        job = owned(session, job_id, user.id)
        parse.refuse(body, OURS, "job")
        fields = _fields(body)
        fields["options"] = job.options | fields.pop("options")
        if not jobs.change(session, job_id, **fields):
            raise OpenEOError("JobLocked", "The job is queued or running: cancel it before you change it.")
    return nothing()


@blueprint.delete("/jobs/<job_id>")
def delete(job_id: str) -> Response:
    user = parse.user()
    ctx = context()
    with ctx.database.session(read_only=True) as session:
        owned(session, job_id, user.id)
    ctx.jobs.cancel(job_id)
    ctx.jobs.delete_results(job_id)
    with ctx.database.session() as session:
        jobs.remove(session, job_id)
    return nothing()


@blueprint.get("/jobs/<job_id>/logs")
def logs(job_id: str) -> Response:
    user = parse.user()
    with context().database.session(read_only=True) as session:
        job = owned(session, job_id, user.id)
        return reply(log_reply(session, job_id, job.log_level))


@blueprint.get("/jobs/<job_id>/estimate")
def estimate(job_id: str) -> Response:
    """Size of the result in bytes; beside it what would be read, from the index alone."""
    user = parse.user()
    ctx = context()
    with ctx.database.session(read_only=True) as session:
        job = owned(session, job_id, user.id)
        namespace = udps.namespace(session, user.id)
    from backend.graph import run  # what computes is heavy, and few ask for an estimate

    found = run.estimate(job.process, ctx.environments.env(user.id), namespace=namespace)
    return reply({"size": found["output_bytes"]} | {f"tuile:{k}": v for k, v in found.items() if v is not None})


def owned(session: Session, job_id: str, user_id: str) -> Job:
    """The user's job; somebody else's does not exist for them. Raises ``JobNotFound``."""
    job = jobs.get(session, job_id, user_id)
    if job is None:
        raise OpenEOError("JobNotFound", f"The batch job '{job_id}' does not exist.")
    return job


def _fields(body: dict[str, Any]) -> dict[str, Any]:
    """Columns of a job from a body: only what the body names; what the standard does not know goes to ``options``."""
    fields = parse.members(body, parse.COMMON)
    fields["options"] = {k: v for k, v in body.items() if k not in parse.COMMON and k not in OURS and v is not None}
    return fields
