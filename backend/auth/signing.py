"""Signed URLs: whoever has the link may read one resource until it expires.

The signature covers what the link gives access to (``resource``, such as ``job:<id>``) and when it ends, not the rest of
the URL: clients and proxies may add query parameters.
"""

from __future__ import annotations

import hashlib
import hmac
import time

from backend.errors import OpenEOError


class Signer:
    """Signs and checks with the server's key.

    Parameters
    ----------
    key : at least 16 bytes
    lifetime : seconds a link is valid
    """

    def __init__(self, key: bytes, lifetime: int):
        if len(key) < 16:
            raise ValueError("TUILE_SECRET_KEY is too short: use at least 16 characters")
        self._key = hashlib.sha256(b"tuile signed urls\0" + key).digest()
        self.lifetime = lifetime

    def query(self, resource: str, *, expires: int | None = None) -> dict[str, str]:
        """Query parameters that make a link to ``resource`` valid until ``expires`` (Unix seconds)."""
        expires = self.expires() if expires is None else expires
        return {"expires": str(expires), "signature": self._signature(resource, str(expires))}

    def expires(self) -> int:
        """When a link signed now ends, Unix seconds."""
        return int(time.time()) + self.lifetime

    def check(self, resource: str, expires: str, signature: str) -> None:
        """Raise ``PermissionsInsufficient`` for a wrong signature, ``ResultLinkExpired`` for one that is over."""
        if not hmac.compare_digest(self._signature(resource, expires).encode(), signature.encode()):
            raise OpenEOError(
                "PermissionsInsufficient", "The signature of this link is wrong; ask its owner for the whole link."
            )
        if int(expires) < time.time():
            raise OpenEOError("ResultLinkExpired", "This link has expired; ask for the job's results again.")

    def _signature(self, resource: str, expires: str) -> str:
        return hmac.new(self._key, f"{expires}\0{resource}".encode(), hashlib.sha256).hexdigest()
