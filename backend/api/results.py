"""Results of batch jobs: start, stop, the STAC document, the files behind signed links."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

from flask import Blueprint, Response, request, send_file

from backend.api import parse
from backend.api.jobs import owned
from backend.api.links import url
from backend.api.render import log_entry, nothing, reply
from backend.context import context
from backend.errors import OpenEOError
from backend.results import stac
from backend.store import jobs
from backend.store import logs as store_logs
from backend.store.models import Job, JobAsset

blueprint = Blueprint("results", __name__)
GEOJSON = "application/geo+json"


@blueprint.post("/jobs/<job_id>/results")
def start(job_id: str) -> Response:
    """Queue the job; nothing happens if it is queued or running."""
    _mine(job_id)
    context().jobs.start(job_id)
    return nothing(202)


@blueprint.delete("/jobs/<job_id>/results")
def stop(job_id: str) -> Response:
    """Cancel the job; nothing happens if it is not queued or running."""
    _mine(job_id)
    context().jobs.cancel(job_id)
    return nothing()


@blueprint.get("/jobs/<job_id>/results")
def get(job_id: str) -> Response:
    job = _readable(job_id, f"job:{job_id}")
    partial = parse.flag("partial")
    if job.status == "error" and not partial:
        return _failure(job)
    if job.status != "finished" and not partial:
        raise OpenEOError(
            "JobNotFinished", f"The job is {job.status}: results are there when it is finished (or ask partial=true)."
        )
    links = _Links(job, partial)
    document = stac.result_document(job, _assets(job), links.urls(), expires=links.expires)
    return reply(document, headers={"OpenEO-Costs": "0"})


@blueprint.get("/jobs/<job_id>/results/items/<item_id>")
def item(job_id: str, item_id: str) -> Response:
    job = _readable(job_id, f"job:{job_id}/items/{item_id}")
    links = _Links(job, partial=False)
    for asset in _assets(job):
        if stac.has_item(asset) and stac.item_id(job, asset) == item_id:
            return reply(stac.item_document(job, asset, links.urls(), expires=links.expires), type=GEOJSON)
    raise OpenEOError("NotFound", f"The results of job '{job_id}' have no item '{item_id}'.")


@blueprint.get("/jobs/<job_id>/results/sources")
def sources(job_id: str) -> Response:
    """All source products, where they are too many for links."""
    job = _readable(job_id, f"job:{job_id}/sources")
    return reply(stac.sources_document(job, _assets(job), _Links(job, partial=False).urls()))


@blueprint.get("/jobs/<job_id>/results/assets/<path:name>")
def asset(job_id: str, name: str) -> Response:
    """A result file, with HEAD and ranges; by signed link or by its owner's token."""
    job = _readable(job_id, f"job:{job_id}/assets/{name}")
    found = next((a for a in _assets(job) if a.name == name), None)
    path = context().jobs.folder(job_id) / name
    if found is None or not path.is_file():
        raise OpenEOError("NotFound", f"The results of job '{job_id}' have no file '{name}'.")
    return send_file(path.absolute(), mimetype=found.media_type, download_name=path.name, conditional=True)


def _mine(job_id: str) -> Job:
    user = parse.user()
    with context().database.session(read_only=True) as session:
        return owned(session, job_id, user.id)


def _readable(job_id: str, resource: str) -> Job:
    """The job, for who has a signed link to ``resource`` or is its owner."""
    signature = request.args.get("signature")
    if signature is None:
        return _mine(job_id)
    context().signer.check(resource, request.args.get("expires", ""), signature)
    with context().database.session(read_only=True) as session:
        job = jobs.get(session, job_id)
    if job is None:
        raise OpenEOError("JobNotFound", f"The batch job '{job_id}' does not exist.")
    return job


def _assets(job: Job) -> list[JobAsset]:
    with context().database.session(read_only=True) as session:
        return jobs.assets(session, job.id)


def _failure(job: Job) -> Response:
    """424: the entry of the log that says why the job failed."""
    with context().database.session(read_only=True) as session:
        entry = store_logs.last_error(session, job.id)
    if entry is not None:
        return reply(log_entry(entry), 424)
    told = {"id": job.id, "level": "error", "message": job.error_message or "The job failed."}
    return reply(told | ({"code": job.error_code} if job.error_code else {}), 424)


class _Links:
    """Signed links of one result document; all end at the same instant.

    Who came by a signed link gets links that end when that one does: a link cannot prolong itself.
    """

    def __init__(self, job: Job, partial: bool):
        self._job, self._partial, self._signer = job, partial, context().signer
        given = request.args.get("expires", "") if "signature" in request.args else ""
        self._expires = int(given) if given else self._signer.expires()
        self.expires = datetime.fromtimestamp(self._expires, UTC)

    def urls(self) -> stac.Urls:
        id = self._job.id
        canonical = self._signed(
            f"job:{id}", url("results.get", job_id=id), {"partial": "true"} if self._partial else {}
        )
        return stac.Urls(
            # The address the document can be read at by whoever got it.
            self_=canonical if "signature" in request.args else request.url,
            canonical=canonical,
            file=lambda name: self._signed(f"job:{id}/assets/{name}", url("results.asset", job_id=id, name=name)),
            item=lambda item: self._signed(f"job:{id}/items/{item}", url("results.item", job_id=id, item_id=item)),
            sources=self._signed(f"job:{id}/sources", url("results.sources", job_id=id)),
        )

    def _signed(self, resource: str, address: str, query: dict[str, str] | None = None) -> str:
        return f"{address}?{urlencode((query or {}) | self._signer.query(resource, expires=self._expires))}"
