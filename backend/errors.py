"""`OpenEOError`: the only error type that reaches a client."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Sequence
from typing import Any

from processes.errors import ProcessError

# HTTP status of each code of the openEO API; codes of process exceptions are mistakes of the caller: 400.
STATUS = {
    "AuthenticationRequired": 401,
    "PaymentRequired": 402,
    "AuthenticationSchemeInvalid": 403,
    "TokenInvalid": 403,
    "CredentialsInvalid": 403,
    "PermissionsInsufficient": 403,
    "NotFound": 404,
    "UnsupportedApiVersion": 404,
    "CollectionNotFound": 404,
    "FileNotFound": 404,
    "ProcessGraphNotFound": 404,
    "JobNotFound": 404,
    "ServiceNotFound": 404,
    "MethodNotAllowed": 405,
    "RequestTimeout": 408,
    "ResultLinkExpired": 410,
    "ContentTooLarge": 413,
    "TooManyRequests": 429,
    "Internal": 500,
    "EstimateComplexity": 500,
    "StorageFailure": 500,
    "FeatureUnsupported": 501,
    "InfrastructureMaintenance": 503,
    "InfrastructureBusy": 503,
}


class OpenEOError(Exception):
    """An error as the API tells it.

    Parameters
    ----------
    code : openEO error code
    message : what is wrong and what to do, for a person
    status : HTTP status; by default the code's own, else 400
    path : node path inside the process graph, if the error has one
    data : machine-readable details
    headers : extra HTTP headers (``Retry-After`` ...)
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        path: Sequence[str] = (),
        data: Any = None,
        headers: dict[str, str] | None = None,
    ):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status or STATUS.get(code, 400)
        self.path = tuple(path)
        self.data = data
        self.headers = headers or {}
        self.id = str(uuid.uuid4())

    @classmethod
    def of(cls, error: ProcessError, path: Sequence[str] = ()) -> OpenEOError:
        """The same error, told with the node it happened in."""
        where = f" (node {'/'.join(path)})" if path else ""
        return cls(error.code, error.message + where, path=path, data=error.data or None)

    def to_json(self) -> dict[str, Any]:
        """Body of the HTTP response: id, code, message, links; plus ``path`` and ``data`` where there are any."""
        body: dict[str, Any] = {"id": self.id, "code": self.code, "message": self.message, "links": []}
        if self.path:
            body["path"] = list(self.path)
        if self.data:
            body["data"] = self.data
        return body

    def __reduce__(self):  # pickled between the worker processes of the sync pool
        return _rebuild, (self.code, self.message, self.status, self.path, self.data, self.headers, self.id)


# What a system says of a disk that is full, over quota or read-only.
STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def storage_failure(error: OSError) -> OpenEOError:
    """The error of a server whose disk takes no more; paths stay on the server."""
    return OpenEOError(
        "StorageFailure",
        f"The server's disk takes no more ({os.strerror(error.errno or 0)}). Tell its operator, and try again later.",
    )


def _rebuild(code, message, status, path, data, headers, id):  # type: ignore[no-untyped-def]
    error = OpenEOError(code, message, status=status, path=path, data=data, headers=headers)
    error.id = id
    return error
