"""`run_ogcapi`, `run_ogcapi_externally`: processes of OGC API - Processes (Part 1: Core 1.0).

The process's description tells its inputs. ``context`` gives inputs by name; the data becomes the input ``data``, else
the only input that ``context`` leaves open. Arrays and cubes travel as `processes.external.wire` writes them. A process
that answers at once and one that makes a job (201 with its address) are served alike.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from processes.env import Env
from processes.errors import ProcessError, parameter_invalid
from processes.external.wire import datacube, failed, from_datacube, in_memory, is_array
from processes.load.fetch import Fetcher, shown
from processes.registry import process

POLL_FIRST_S, POLL_MOST_S, POLL_TOTAL_S = 0.2, 30.0, 3600.0
ENDED = ("successful", "failed", "dismissed")


@process(pure=False)
def run_ogcapi(data: Any, id: str, context: Mapping[str, Any] | None = None, *, env: Env | None = None) -> Any:
    """What the process ``id`` of this service's own OGC API makes of ``data``. Raises ``InvalidOgcApiProcess``."""
    env = env or Env()
    if env.ogcapi is None:
        raise ProcessError(
            "InvalidOgcApiProcess",
            f"The OGC API process '{id}' does not exist: this service runs no OGC API Processes of its own "
            "(TUILE_OGCAPI_URL). With the address of one, use run_ogcapi_externally.",
        )
    # its address comes from the operator, who may well have it in the own network
    return _run(data, env.ogcapi, id, context, (*env.fetch_allow, _host(env.ogcapi)))


@process(pure=False)
def run_ogcapi_externally(
    data: Any, url: str, id: str, context: Mapping[str, Any] | None = None, *, env: Env | None = None
) -> Any:
    """What the process ``id`` of the OGC API at ``url`` (its landing page) makes of ``data``.

    Raises ``InvalidOgcApiProcess``, ``ExternalServiceFailed``, ``AccessDenied`` (a private network).
    """
    return _run(data, url, id, context, (env or Env()).fetch_allow)


def _host(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _run(data: Any, url: str, id: str, context: Mapping[str, Any] | None, allow: tuple[str, ...]) -> Any:
    if not isinstance(id, str) or not id:
        raise parameter_invalid("id", "it must be the id of a process")
    held = in_memory(data)
    given = dict(context or {})
    address = f"{url.rstrip('/')}/processes/{quote(id, safe='')}"
    with Fetcher(allow) as fetcher:
        name = _input(_description(fetcher, address, id), given, id)
        inputs = {**given, name: datacube(held) if is_array(held) else held}
        answer = fetcher.post(f"{address}/execution", {"inputs": inputs, "response": "document"})
        document = answer.document
        if answer.status == 201 or _is_job(document):
            job = answer.headers.get("Location") or _link(document, "monitor") or _link(document, "self")
            if not job:
                raise failed(f"the OGC API process '{id}' became a job that does not tell its address")
            document = _awaited(fetcher, urljoin(address, job), id)
    return _result(document, held)


def _description(fetcher: Fetcher, address: str, id: str) -> Mapping[str, Any]:
    try:
        found = fetcher.json(address)
    except ProcessError as error:
        if error.data.get("status") == 404:
            raise ProcessError("InvalidOgcApiProcess", f"{shown(address)}: no process '{id}' is there.") from error
        raise
    if not isinstance(found, Mapping):
        raise failed(f"{shown(address)} is not the description of a process")
    return found


def _input(description: Mapping[str, Any], given: Mapping[str, Any], id: str) -> str:
    """The input that the data is."""
    inputs = description.get("inputs") or {}
    names = list(inputs) if isinstance(inputs, Mapping) else [str(i.get("id")) for i in inputs]
    if unknown := [k for k in given if k not in names]:
        raise parameter_invalid(
            "context", f"'{id}' has no input {', '.join(unknown)}; it has {', '.join(names) or 'none'}"
        )
    free = [n for n in names if n not in given]
    if "data" in free:
        return "data"
    required = [n for n in free if not isinstance(inputs, Mapping) or inputs[n].get("minOccurs", 1) != 0]
    for candidates in (free, required):
        if len(candidates) == 1:
            return candidates[0]
    raise parameter_invalid(
        "context", f"give all inputs of '{id}' but the one that is the data; left open are {', '.join(free) or 'none'}"
    )


def _is_job(document: Any) -> bool:
    return isinstance(document, Mapping) and "jobID" in document and "status" in document


def _link(document: Any, rel: str) -> str | None:
    links = document.get("links") or [] if isinstance(document, Mapping) else []
    return next((str(x["href"]) for x in links if isinstance(x, Mapping) and x.get("rel") == rel and "href" in x), None)


def _awaited(fetcher: Fetcher, job: str, id: str) -> Any:
    """Results of a job, asked for until it has ended. Raises ``ExternalServiceFailed``."""
    started, pause = time.monotonic(), POLL_FIRST_S
    while True:
        status = fetcher.json(job)
        state = status.get("status") if isinstance(status, Mapping) else None
        if state in ENDED:
            break
        if time.monotonic() - started > POLL_TOTAL_S:
            raise failed(f"the job of '{id}' has not ended after {POLL_TOTAL_S:.0f} s")
        time.sleep(pause)
        pause = min(pause * 2, POLL_MOST_S)
    if state != "successful":
        raise failed(f"the job of '{id}' ended as {state}: {status.get('message') or 'it gives no reason'}")
    results = _link(status, "http://www.opengis.net/def/rel/ogc/1.0/results")
    return fetcher.json(urljoin(job, results) if results else f"{job.rstrip('/')}/results")


def _result(document: Any, sent: Any) -> Any:
    """The value of the only output, or of the one called ``data`` or ``result``; all outputs by name where unclear."""
    value = document
    if isinstance(document, Mapping) and not _is_datacube(document):
        outputs = {k: v for k, v in document.items() if k != "links"}
        name = next(
            (n for n in ("data", "result") if n in outputs), next(iter(outputs), None) if len(outputs) == 1 else None
        )
        value = outputs[name] if name is not None else outputs
    if isinstance(value, Mapping) and "value" in value and set(value) <= {"value", "mediaType", "encoding", "schema"}:
        value = value["value"]
    if _is_datacube(value) and is_array(sent):
        return from_datacube(value, sent)
    if is_array(sent) and isinstance(value, list):  # nested lists in the order sent
        return from_datacube({**datacube(sent), "data": value}, sent)
    return value


def _is_datacube(value: Any) -> bool:
    return isinstance(value, Mapping) and "data" in value and "dimensions" in value
