"""Fetch what a user's graph names on the web, and nothing inside the own network.

Only http and https. A host may be reached if all its addresses are public, or if ``Env.fetch_allow`` lists it: a name, an
address, ``name:port``, or a network (``10.1.0.0/16``). The address checked is the one connected to, for every redirect
too, so that a name cannot change its address in between. Answers are limited in size and time. Nothing of the service
or of the user's request is sent along: no cookies, no credentials of the environment, no proxies.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import create_connection

from processes.errors import ProcessError

SCHEMES = ("http", "https")
JSON_BYTES = 64 << 20
FILE_BYTES = 4 << 30
TIMEOUT_S = 30.0  # to connect, and between two pieces of an answer
TOTAL_S = 1800.0  # for one answer
REDIRECTS = 5
RETRIES = 3
_AGENT = "Tuile"
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class Part(NamedTuple):
    """A part of a file, the size of the file, and what changes when it does (empty where the server does not say)."""

    data: bytes
    size: int
    stamp: str


class Guard:
    """Says which hosts may be reached. ``allow``: see the module."""

    def __init__(self, allow: Iterable[str] = ()):
        self.networks: list[Any] = []
        self.names: set[str] = set()
        for entry in allow:
            try:
                self.networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self.names.add(entry.lower().rstrip("."))

    def address(self, host: str, port: int) -> str:
        """The address to connect to. Raises ``ProcessError('AccessDenied')`` for hosts that may not be reached."""
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ProcessError("NoDataAvailable", f"The host '{host}' cannot be found: {error}") from None
        addresses = [str(entry[4][0]) for entry in found]
        plain = host.lower().strip("[]").rstrip(".")
        if {plain, f"{plain}:{port}"} & self.names:
            return addresses[0]
        for address in addresses:
            if not self._reachable(address):
                raise ProcessError(
                    "AccessDenied",
                    f"The host '{host}' lies in a private network and may not be reached from here. The operator of this "
                    "service can allow it (TUILE_FETCH_ALLOW).",
                    host=host,
                )
        return addresses[0]

    def _reachable(self, text: str) -> bool:
        address: Any = ipaddress.ip_address(text.split("%")[0])
        if any(address.version == n.version and address in n for n in self.networks):
            return True
        for inner in (getattr(address, "ipv4_mapped", None), getattr(address, "sixtofour", None)):
            if inner is not None:
                return self._reachable(str(inner))
        if address.version == 6 and address in ipaddress.ip_network("64:ff9b::/96"):  # NAT64: an IPv4 address inside
            return self._reachable(str(ipaddress.ip_address(int(address) & 0xFFFFFFFF)))
        return address.is_global and not address.is_multicast

    def check(self, url: str) -> str:
        """``url`` if it may be fetched. Raises ``ProcessParameterInvalid``, ``AccessDenied``, ``NoDataAvailable``."""
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise ProcessError("ProcessParameterInvalid", f"'{shown(url)}' is not a URL: {error}.") from None
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise ProcessError(
                "ProcessParameterInvalid",
                f"'{shown(url)}' is not an address that can be fetched: only http(s)://host/...",
            )
        self.address(parts.hostname, port)
        return url


def shown(url: str) -> str:
    """A URL for messages: without credentials and query, which may hold a signature."""
    parts = urlsplit(str(url))
    return (
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme and parts.netloc else str(url)
    )


def _connections(guard: Guard) -> tuple[type[HTTPConnectionPool], type[HTTPSConnectionPool]]:
    """Connection pools that connect to checked addresses only."""

    def connect(self: Any) -> socket.socket:
        address = guard.address(self.host, self.port)
        try:
            return create_connection(
                (address, self.port),
                self.timeout,
                source_address=self.source_address,
                socket_options=self.socket_options,
            )
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(self, f"{self.host} does not answer") from error
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, f"{self.host} cannot be reached: {error}") from error

    plain = type("GuardedHTTPConnection", (HTTPConnection,), {"_new_conn": connect})
    secure = type("GuardedHTTPSConnection", (HTTPSConnection,), {"_new_conn": connect})
    return (
        type("GuardedHTTPPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        type("GuardedHTTPSPool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    )


class _Adapter(HTTPAdapter):
    def __init__(self, guard: Guard):
        self._pools = _connections(guard)
        retry = urllib3.Retry(
            RETRIES, redirect=0, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), raise_on_status=False,
            allowed_methods=None, respect_retry_after_header=True,
        )  # fmt: skip
        super().__init__(max_retries=retry)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = dict(zip(SCHEMES, self._pools))


@dataclass(frozen=True)
class Answer:
    """What a service answered: status, headers (by name in any case), and the JSON document, None where it has none."""

    status: int
    headers: Mapping[str, str]
    document: Any


class Fetcher:
    """A guarded session. Use as a context manager, or close it."""

    def __init__(self, allow: Iterable[str] = ()):
        self.guard = Guard(allow)
        self.session = requests.Session()
        self.session.trust_env = False  # no .netrc, no proxies
        self.session.max_redirects = REDIRECTS
        self.session.headers.update({"User-Agent": _AGENT})
        for scheme in SCHEMES:
            self.session.mount(f"{scheme}://", _Adapter(self.guard))

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: Any) -> None:
        self.session.close()

    def _open(self, url: str, method: str = "GET", **more: Any) -> requests.Response:
        self.guard.check(url)
        try:
            answer = self.session.request(method, url, stream=True, timeout=TIMEOUT_S, **more)
        except requests.TooManyRedirects:
            raise ProcessError("NoDataAvailable", f"{shown(url)} redirects more than {REDIRECTS} times.") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise ProcessError("NoDataAvailable", f"{shown(url)} cannot be fetched: {_reason(error)}") from None
        if answer.status_code >= 400:
            answer.close()
            hint = " It needs a login or its signature has expired." if answer.status_code in (401, 403) else ""
            raise ProcessError(
                "NoDataAvailable", f"{shown(url)} cannot be fetched: HTTP status {answer.status_code}.{hint}",
                status=answer.status_code,
            )  # fmt: skip
        return answer

    def json(self, url: str, *, method: str = "GET", params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """A JSON document of at most 64 MiB, and nothing else. Raises `ProcessError`."""
        more = {"params": params} if params else {}
        if body is not None:
            more["json"] = body
        with self._open(url, method, headers={"Accept": "application/json, application/geo+json"}, **more) as answer:
            held = b"".join(_pieces(answer, JSON_BYTES, url))
        try:
            return json.loads(held)
        except (ValueError, RecursionError):
            raise ProcessError("NoDataAvailable", f"{shown(url)} is not a JSON document.") from None

    def post(self, url: str, body: Any) -> Answer:
        """Send JSON, get JSON of at most 64 MiB; sent again while the service is busy (429, 502 to 504). Raises
        `ProcessError`."""
        with self._open(url, "POST", json=body, headers={"Accept": "application/json"}) as answer:
            held = b"".join(_pieces(answer, JSON_BYTES, url))
        try:
            document = json.loads(held) if held.strip() else None
        except (ValueError, RecursionError):
            raise ProcessError("NoDataAvailable", f"{shown(url)} did not answer with JSON.") from None
        return Answer(answer.status_code, answer.headers, document)

    def download(self, url: str, target: Path, most: int = FILE_BYTES) -> Path:
        """The file behind ``url`` as ``target``, whole or not at all. Raises `ProcessError`."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
            part = Path(scratch) / "part"
            with self._open(url) as answer, part.open("wb") as out:
                for piece in _pieces(answer, most, url):
                    out.write(piece)
            shutil.move(part, target)
        return target

    def part(self, url: str, start: int, stop: int) -> Part:
        """Bytes ``start`` to ``stop`` of a file, less where it ends. Raises `ProcessError`."""
        for attempt in range(RETRIES):
            try:
                return self._part(url, start, stop)
            except ProcessError as error:
                if attempt + 1 == RETRIES or error.code != "NoDataAvailable" or "status" in error.data:
                    raise
        raise AssertionError("unreachable")

    def _part(self, url: str, start: int, stop: int) -> Part:
        with self._open(url, headers={"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}) as answer:
            said = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if answer.status_code != 206 or said is None or int(said[1]) != start:
                raise ProcessError(
                    "StorageFailure", f"The server of {shown(url)} does not answer requests for parts of a file."
                )
            stamp = answer.headers.get("ETag") or answer.headers.get("Last-Modified", "")
            return Part(b"".join(_pieces(answer, stop - start, url)), int(said[2]), stamp)

    def resolved(self, url: str) -> str:
        """The address ``url`` leads to after redirects, each checked."""
        with self._open(url, headers={"Range": "bytes=0-0"}) as answer:
            return str(answer.url)


def _pieces(answer: requests.Response, most: int, url: str) -> Iterable[bytes]:
    started, size = time.monotonic(), 0
    try:
        for piece in answer.iter_content(1 << 18):
            size += len(piece)
            if size > most:
                raise ProcessError("NoDataAvailable", f"{shown(url)} is larger than {most >> 20} MiB.")
            if time.monotonic() - started > TOTAL_S:
                raise ProcessError("NoDataAvailable", f"{shown(url)} takes longer than {TOTAL_S:.0f} s to fetch.")
            yield piece
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ProcessError("NoDataAvailable", f"{shown(url)} broke off: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    """The innermost reason, without the wrapping of the libraries."""
    cause: Any = error
    while True:
        inner = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
        if not isinstance(inner, BaseException):
            break
        cause = inner
    if isinstance(cause, ProcessError):
        return cause.message
    return str(cause).rpartition("object at ")[2].partition(": ")[2] or str(cause) or type(cause).__name__


def listed(names: Sequence[str]) -> str:
    """Names for a message, shortened."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
