"""Who sends a request: ``Authorization: Bearer ...``.

Forms: ``basic//<token>`` (from `/credentials/basic`), ``oidc/<provider>/<token>``, and a bare JWT of a configured
provider (openEO 1.3).
"""

from __future__ import annotations

from backend.auth import basic, oidc
from backend.errors import OpenEOError
from backend.store.db import Database
from backend.store.models import User


class Authenticator:
    """Turns the header into a user."""

    def __init__(self, database: Database, providers: oidc.Providers):
        self._database = database
        self.providers = providers

    def user(self, header: str | None) -> User:
        """The user of an ``Authorization`` header.

        Raises
        ------
        OpenEOError
            ``AuthenticationRequired`` (401) without header, ``AuthenticationSchemeInvalid`` (403) for another scheme
            than Bearer, ``TokenInvalid`` (403).
        """
        if not header:
            raise OpenEOError(
                "AuthenticationRequired",
                "This needs a login: send a bearer token.",
                headers={"WWW-Authenticate": 'Bearer realm="openEO"'},
            )
        scheme, _, token = header.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer":
            raise OpenEOError("AuthenticationSchemeInvalid", "Use the Bearer scheme with a token from the login.")
        if token.startswith("basic//"):
            return basic.user_of(self._database, token.removeprefix("basic//"))
        if token.startswith("oidc/"):
            _, provider_id, token = (*token.split("/", 2), "", "")[:3]
            return oidc.user_of(self._database, self.providers.by_id(provider_id), token)
        if oidc.is_jwt(token):
            return oidc.user_of(self._database, self.providers.by_issuer(token), token)
        raise OpenEOError("TokenInvalid", "A token starts with 'basic//' or 'oidc/<provider>/', or is a JWT.")
