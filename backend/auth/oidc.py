"""OpenID Connect: access tokens of configured providers.

A token that is a JWT is checked here, with the provider's published keys: signature, issuer, expiry and, if the
provider is configured with an ``audience``, audience. An opaque token is shown to the provider's userinfo endpoint;
since that says nothing about the audience, opaque tokens are refused where one is configured.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy.exc import IntegrityError

from backend.errors import OpenEOError
from backend.store import users
from backend.store.db import Database
from backend.store.models import User

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LEEWAY = 30  # seconds by which clocks may differ
KEYS_LIFETIME = 3600  # seconds
KEYS_MIN_AGE = 60  # an unknown key id makes us look again, but not more often than this
USERINFO_LIFETIME = 300  # seconds an opaque token's answer is remembered
TIMEOUT = 10  # seconds to wait for a provider
# What `/credentials/oidc` shows of a provider; everything else in its configuration is ours.
PUBLIC = ("id", "issuer", "title", "description", "scopes", "default_clients", "links", "authorization_parameters")


@dataclass
class Provider:
    """One configured provider and what was fetched from it."""

    id: str
    issuer: str
    audience: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    _metadata: dict[str, Any] | None = None
    _keys: KeySet | None = None
    _keys_time: float = 0.0
    _userinfo: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def claims(self, token: str) -> dict[str, Any]:
        """Claims of a valid token. Raises ``TokenInvalid``, or ``InfrastructureBusy`` if the provider is silent."""
        claims = self._jwt_claims(token) if is_jwt(token) else self._opaque_claims(token)
        if not isinstance(claims.get("sub"), str):
            raise _invalid("it names no subject")
        return claims

    def _jwt_claims(self, token: str) -> dict[str, Any]:
        try:
            claims = jwt.decode(token, self._key_set(), algorithms=ALGORITHMS).claims
        except (JoseError, ValueError):
            # Perhaps signed with a key published since: look once more.
            try:
                claims = jwt.decode(token, self._key_set(renew=True), algorithms=ALGORITHMS).claims
            except (JoseError, ValueError) as error:
                raise _invalid("its signature cannot be verified") from error
        if not _same_issuer(claims.get("iss"), self.issuer):
            raise _invalid(f"it was not issued by {self.issuer}")
        checks: dict[str, Any] = {"exp": {"essential": True}}
        if self.audience:
            checks["aud"] = {"essential": True, "values": list(self.audience)}
        try:
            jwt.JWTClaimsRegistry(leeway=LEEWAY, **checks).validate(claims)
        except JoseError as error:
            raise _invalid(f"{error.description or error.error}".rstrip(".")) from error
        return claims

    def _opaque_claims(self, token: str) -> dict[str, Any]:
        if self.audience:
            raise _invalid(f"provider '{self.id}' needs tokens that are JWTs")
        key = hashlib.sha256(token.encode()).hexdigest()
        time_, claims = self._userinfo.get(key, (0.0, {}))
        if time.monotonic() - time_ < USERINFO_LIFETIME and claims:
            return claims
        url = self.metadata().get("userinfo_endpoint")
        if not url:
            raise _invalid(f"provider '{self.id}' can only check tokens that are JWTs")
        response = self._get(url, headers={"Authorization": f"Bearer {token}"})
        if response.status_code != 200:
            raise _invalid(f"provider '{self.id}' does not know it")
        with self._lock:
            fresh = {k: v for k, v in self._userinfo.items() if time.monotonic() - v[0] < USERINFO_LIFETIME}
            self._userinfo = fresh | {key: (time.monotonic(), response.json())}
        return self._userinfo[key][1]

    def metadata(self) -> dict[str, Any]:
        """The provider's own description (``/.well-known/openid-configuration``)."""
        if self._metadata is None:
            response = self._get(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
            if response.status_code != 200 or not _same_issuer(response.json().get("issuer"), self.issuer):
                raise self._silent(f"its configuration document is missing or names another issuer than {self.issuer}")
            self._metadata = response.json()
        return self._metadata

    def _key_set(self, *, renew: bool = False) -> KeySet:
        with self._lock:
            age = time.monotonic() - self._keys_time
            if self._keys is None or age > KEYS_LIFETIME or (renew and age > KEYS_MIN_AGE):
                response = self._get(self.metadata()["jwks_uri"])
                if response.status_code != 200:
                    raise self._silent(f"its keys answer {response.status_code}")
                self._keys, self._keys_time = KeySet.import_key_set(response.json()), time.monotonic()
            return self._keys

    def _get(self, url: str, **options: Any) -> requests.Response:
        try:
            return requests.get(url, timeout=TIMEOUT, **options)
        except requests.RequestException as error:
            raise self._silent(type(error).__name__) from error

    def _silent(self, reason: str) -> OpenEOError:
        return OpenEOError(
            "InfrastructureBusy",
            f"The identity provider '{self.id}' cannot be asked now ({reason}); try again later.",
            headers={"Retry-After": "30"},
        )


class Providers:
    """All configured providers (setting ``TUILE_OIDC_PROVIDERS``)."""

    def __init__(self, configured: list[dict[str, Any]]):
        self._providers: dict[str, Provider] = {}
        for config in configured:
            if not config.get("id") or not config.get("issuer"):
                raise ValueError(f"TUILE_OIDC_PROVIDERS: a provider needs 'id' and 'issuer', got {config}")
            audience = config.get("audience") or ()
            audience = (audience,) if isinstance(audience, str) else tuple(audience)
            self._providers[config["id"]] = Provider(config["id"], config["issuer"], audience, config)

    def public(self) -> list[dict[str, Any]]:
        """As ``/credentials/oidc`` shows them, those with default clients first (clients take the first)."""
        shown = [
            {"title": p.id, "scopes": ["openid"]} | {k: p.config[k] for k in PUBLIC if p.config.get(k) is not None}
            for p in self._providers.values()
        ]
        return sorted(shown, key=lambda p: not p.get("default_clients"))

    def by_id(self, id: str) -> Provider:
        """Raises ``TokenInvalid`` for an unknown one."""
        if id not in self._providers:
            raise _invalid(f"there is no identity provider '{id}'")
        return self._providers[id]

    def by_issuer(self, token: str) -> Provider:
        """The provider a bare JWT says it comes from. Raises ``TokenInvalid``."""
        issuer = unverified_issuer(token)
        for provider in self._providers.values():
            if _same_issuer(issuer, provider.issuer):
                return provider
        raise _invalid("its issuer is not one of this server's identity providers")


def user_of(database: Database, provider: Provider, token: str) -> User:
    """The user of a valid token; made at the first visit. Raises like `Provider.claims`."""
    claims = provider.claims(token)
    subject = claims["sub"]
    with database.session(read_only=True) as session:
        known = users.by_identity(session, provider.issuer, subject)
    if known is not None:
        return known
    name = next((n for k in ("preferred_username", "email", "name") if isinstance(n := claims.get(k), str)), subject)
    try:
        with database.session() as session:
            return users.create_identity(session, provider.issuer, subject, name)
    except IntegrityError:  # two first visits at the same moment
        with database.session(read_only=True) as session:
            known = users.by_identity(session, provider.issuer, subject)
        if known is None:
            raise
        return known


def is_jwt(token: str) -> bool:
    """Whether a token has the form of a signed JWT."""
    return token.count(".") == 2 and token.startswith("ey")


def unverified_issuer(token: str) -> str | None:
    """What a JWT says about its issuer, unchecked: only good to choose the provider that checks it."""
    payload = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else None


def _same_issuer(a: Any, b: str) -> bool:
    return isinstance(a, str) and a.rstrip("/") == b.rstrip("/")


def _invalid(reason: str) -> OpenEOError:
    return OpenEOError("TokenInvalid", f"The token is not valid: {reason}. Log in again.")
