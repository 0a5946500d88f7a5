"""What views read from a request: the user, a JSON body, query parameters."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import g, request

from backend.context import context
from backend.errors import OpenEOError
from backend.graph.declared import declared_parameters
from backend.store.logs import LEVELS
from backend.store.models import User

JSON_MAX = 32 << 20  # bytes of a JSON body
JSON_DEPTH = 250  # objects and arrays within each other: a callback in a callback takes five
# What no database and no UTF-8 response can hold: U+0000 and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
ANY_DAY = ("", "..")
LAST = datetime.max.replace(tzinfo=UTC)


def user() -> User:
    """The user who sends the request. Raises the errors of `Authenticator.user`."""
    found = context().authenticator.user(request.headers.get("Authorization"))
    g.user_id = found.id
    return found


def optional_user() -> User | None:
    """The user, or None without login; a wrong token is still an error."""
    return user() if request.headers.get("Authorization") else None


def client_address() -> str:
    """Address of who sends the request.

    The one a proxy tells (the last of ``X-Forwarded-For``: those before it are the sender's own words) is believed from a
    proxy in the server's own network only; whoever reaches the server from elsewhere could write anything there.
    """
    # middleware of `backend.app` may have put the proxy's words in the place of the peer's address
    peer = request.environ.get("werkzeug.proxy_fix.orig", {}).get("REMOTE_ADDR") or request.environ.get(
        "REMOTE_ADDR", ""
    )
    told = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(told)) if ipaddress.ip_address(peer).is_private else peer
    except ValueError:
        return peer


def body() -> dict[str, Any]:
    """The request's JSON object."""
    request.max_content_length = JSON_MAX
    if request.mimetype and request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        raise OpenEOError("ContentTypeInvalid", f"Send application/json, not {request.mimetype}.")
    value = _json(request.get_data())
    if not isinstance(value, dict):
        raise OpenEOError("ContentInvalid", "The request's body must be a JSON object.")
    return value


def _json(data: bytes) -> Any:
    """JSON as the standard has it: what Python's reader takes beyond it could be stored, but never be sent again."""
    try:
        value = json.loads(data, parse_constant=_no_number)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # also UnicodeDecodeError and numbers of more digits than Python converts
        raise OpenEOError("ContentInvalid", f"The request's body is not JSON: {error}.") from None
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > JSON_DEPTH:
            raise _too_deep()
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and _UNSTORABLE.search(item):
                raise OpenEOError("ContentInvalid", "Text must not hold U+0000 or half of a surrogate pair.")
            elif isinstance(item, int | float) and not _in_range(item):
                raise OpenEOError("ContentInvalid", "A number is out of the range of 64 bit floating point.")
        level = below
    return value


def _no_number(name: str) -> Any:
    raise OpenEOError("ContentInvalid", f"{name} is not a JSON value; use null for no data.")


def _in_range(number: float) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:
        return False


def _too_deep() -> OpenEOError:
    return OpenEOError("ContentInvalid", f"The JSON in the request's body is nested more than {JSON_DEPTH} deep.")


def process(value: Any) -> dict[str, Any]:
    """A process object as clients send it.

    Raises ``ProcessGraphMissing``, ``ProcessGraphInvalid``, ``ProcessInvalid``.
    """
    if not isinstance(value, dict) or value.get("process_graph") is None:
        raise OpenEOError("ProcessGraphMissing", "The process has no 'process_graph'.")
    graph = value["process_graph"]
    if not isinstance(graph, dict) or not graph:
        raise OpenEOError("ProcessGraphInvalid", "'process_graph' must be an object with at least one node.")
    for node_id, node in graph.items():
        if not isinstance(node, dict) or not isinstance(node.get("process_id"), str):
            raise OpenEOError("ProcessGraphInvalid", f"Node '{node_id}' has no 'process_id'.", path=(str(node_id),))
    declared_parameters(value)
    # Optional fields that are null mean the same as absent; the graph itself is kept as it is.
    return {k: v for k, v in value.items() if v is not None or k == "process_graph"}


def text(value: Mapping[str, Any], name: str) -> str | None:
    """An optional string of a body."""
    found = value.get(name)
    if found is not None and not isinstance(found, str):
        raise OpenEOError("ContentInvalid", f"'{name}' must be a string.")
    return found


def plan(value: Mapping[str, Any]) -> str | None:
    """The billing plan: there is one, it is free, and its name is ``free``."""
    found = text(value, "plan")
    if found is not None and found.lower() != "free":
        raise OpenEOError("BillingPlanInvalid", f"There is no billing plan '{found}'; leave it out or use 'free'.")
    return found


def budget(value: Mapping[str, Any]) -> float | None:
    """The budget of a request (nothing costs anything here)."""
    found = value.get("budget")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not found >= 0:
        raise OpenEOError("BudgetInvalid", "'budget' must be a number, at least 0.")
    return float(found)


def log_level(value: Mapping[str, Any]) -> str:
    """The least severe level to keep; ``info`` where nothing is said."""
    found = text(value, "log_level") or "info"
    return _level(found.lower(), "log_level")


# What jobs and services have in common: member of a body -> reader of the body.
COMMON: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "process": lambda value: process(value["process"]),
    "title": lambda value: text(value, "title"),
    "description": lambda value: text(value, "description"),
    "plan": plan,
    "budget": budget,
    "log_level": log_level,
}


def members(value: Mapping[str, Any], readers: Mapping[str, Callable[[Mapping[str, Any]], Any]]) -> dict[str, Any]:
    """The members of a body that there are readers for, as they read them; only what the body names."""
    return {name: read(value) for name, read in readers.items() if name in value}


def refuse(value: Mapping[str, Any], ours: Iterable[str], what: str) -> None:
    """Raises ``PropertyNotEditable`` for the first of ``ours`` that a body would change."""
    for name in ours:
        if name in value:
            raise OpenEOError("PropertyNotEditable", f"'{name}' of a {what} cannot be changed.")


def query_level(default: str) -> str:
    """Query parameter ``level``."""
    return _level((request.args.get("level") or default).lower(), "level")


def _level(value: str, name: str) -> str:
    if value not in LEVELS:
        raise OpenEOError("ParameterInvalid", f"'{name}' is one of {', '.join(LEVELS)}.")
    return value


def flag(name: str) -> bool:
    """A boolean query parameter; present without value means true."""
    value = request.args.get(name)
    return value is not None and value.lower() in ("", "true", "1")


@dataclass(frozen=True)
class Page:
    """The part of a list that is asked for: ``limit`` None means everything."""

    limit: int | None
    offset: int


def page() -> Page:
    """Query parameters ``limit`` (at least 1) and ``offset``."""
    limit = number("limit", 1)
    return Page(limit, number("offset", 0) or 0)


def number(name: str, least: int) -> int | None:
    """An optional integer query parameter."""
    value = request.args.get(name)
    if value in (None, ""):
        return None
    # Bounded: an integer beyond 64 bits is an error in the database, not here.
    if not value.isdecimal() or not least <= int(value[:19]) or len(value) > 18:
        raise OpenEOError("ParameterInvalid", f"Query parameter '{name}' must be an integer, at least {least}.")
    return int(value)


def bbox() -> tuple[float, float, float, float] | None:
    """Query parameter ``bbox`` in degrees: west, south, east, north (heights of six numbers are ignored)."""
    value = request.args.get("bbox")
    if not value:
        return None
    try:
        numbers = [float(v) for v in value.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 6:
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != 4 or not (-90 <= numbers[1] <= numbers[3] <= 90) or not all(-180 <= x <= 180 for x in numbers):
        raise OpenEOError("ParameterInvalid", "'bbox' is west,south,east,north in degrees, with south <= north.")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def interval() -> tuple[str | None, str | None] | None:
    """Query parameter ``datetime``: an instant, or ``start/end`` where either may be ``..``; half-open on return."""
    value = request.args.get("datetime")
    if not value:
        return None
    parts = value.split("/")
    if len(parts) > 2:
        raise _bad_datetime(value)
    start, end = parts[0], parts[-1]
    if start in ANY_DAY and end in ANY_DAY:
        return None
    return (None if start in ANY_DAY else _instant(start)[0]), (None if end in ANY_DAY else _instant(end)[1])


def after() -> tuple[str, str] | None:
    """Query parameter ``after``: instant and id of the last item of the page before."""
    value = request.args.get("after")
    if not value:
        return None
    instant, comma, id = value.partition(",")
    if not comma:
        raise OpenEOError("ParameterInvalid", "'after' comes from the link 'next' of a page of items; follow that.")
    return _instant(instant)[0], id


def _instant(value: str) -> tuple[str, str]:
    """First instant of ``value`` and the first one after it: both ends of an OGC interval belong to it."""
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        instant = instant.astimezone(UTC)
    except (ValueError, OverflowError):  # overflow: the year 0 or 10000 in UTC
        raise _bad_datetime(value) from None
    step = timedelta(days=1) if len(value) == 10 else timedelta(microseconds=1)
    after = instant + min(step, LAST - instant)
    return tuple(i.isoformat(timespec="microseconds").replace("+00:00", "Z") for i in (instant, after))  # type: ignore[return-value]


def _bad_datetime(value: str) -> OpenEOError:
    return OpenEOError(
        "ParameterInvalid", f"'datetime' is an RFC 3339 instant or start/end with '..' for open, not '{value}'."
    )
