"""OIDC against a provider of our own: what is let in, what is not."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from backend.auth import oidc
from backend.auth.bearer import Authenticator
from backend.auth.oidc import Providers
from backend.errors import OpenEOError
from backend.store.db import Database
from tests.mock_idp import MockIdp, mock_idp


@pytest.fixture
def idp() -> Iterator[MockIdp]:
    with mock_idp() as idp:
        yield idp


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'tuile.sqlite'}")
    database.upgrade()
    yield database
    database.close()


def authenticator(database: Database, idp: MockIdp, **config: Any) -> Authenticator:
    return Authenticator(database, Providers([{"id": "mock", "issuer": idp.issuer} | config]))


def refused(authenticator: Authenticator, token: str) -> str:
    with pytest.raises(OpenEOError) as caught:
        authenticator.user(f"Bearer {token}")
    return caught.value.code


def test_legacy_form_and_bare_jwt_are_the_same_user(database: Database, idp: MockIdp) -> None:
    auth = authenticator(database, idp)
    one = auth.user(f"Bearer oidc/mock/{idp.token()}")
    two = auth.user(f"Bearer {idp.token()}")
    other = auth.user(f"Bearer {idp.token('s-2')}")
    assert one.id == two.id != other.id
    assert one.name == "carol" and one.password_hash is None
    assert idp.requests.count("/jwks") == 1


def test_issuer_with_a_slash_more(database: Database, idp: MockIdp) -> None:
    auth = Authenticator(database, Providers([{"id": "mock", "issuer": idp.issuer + "/"}]))
    assert auth.user(f"Bearer {idp.token()}").name == "carol"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"nbf": int(time.time()) + 3600},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"sub": None},
        {"sub": 7},
    ],
)
def test_claims_that_are_refused(database: Database, idp: MockIdp, changes: dict[str, Any]) -> None:
    auth = authenticator(database, idp)
    assert refused(auth, f"oidc/mock/{idp.token(**changes)}") == "TokenInvalid"
    assert refused(auth, idp.token(**changes)) == "TokenInvalid"


def test_foreign_key_is_refused(database: Database, idp: MockIdp) -> None:
    forged = RSAKey.generate_key(2048, parameters={"kid": "k1"})
    assert refused(authenticator(database, idp), idp.token(key=forged)) == "TokenInvalid"


def test_unsigned_and_symmetric_tokens_are_refused(database: Database, idp: MockIdp) -> None:
    auth = authenticator(database, idp)
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()  # noqa: E731
    assert refused(auth, f"{part({'alg': 'none'})}.{part(idp.claims())}.") == "TokenInvalid"
    # the classic: the public key taken as the secret of an HMAC
    signed = f"{part({'alg': 'HS256', 'kid': 'k1'})}.{part(idp.claims())}"
    mac = hmac.digest(idp.key.as_pem(private=False), signed.encode(), "sha256")
    confused = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert refused(auth, confused) == "TokenInvalid"


@pytest.mark.parametrize("token", ["ey.ey.ey", "eyJhbGciOiJSUzI1NiJ9.e30.AA", "eyü.ü.ü", "ey" + "A" * 9000 + ".e30.AA"])
def test_garbage_is_refused(database: Database, idp: MockIdp, token: str) -> None:
    auth = authenticator(database, idp)
    assert refused(auth, token) == "TokenInvalid"
    assert refused(auth, f"oidc/mock/{token}") == "TokenInvalid"


def test_audience(database: Database, idp: MockIdp) -> None:
    auth = authenticator(database, idp, audience=["tuile"])
    assert auth.user(f"Bearer {idp.token(aud=['x', 'tuile'])}")
    assert refused(auth, idp.token(aud="another service")) == "TokenInvalid"
    assert refused(auth, idp.token(aud=None)) == "TokenInvalid"
    assert refused(auth, f"oidc/mock/{idp.opaque_token()}") == "TokenInvalid"


def test_opaque_token_is_shown_to_the_provider_once(database: Database, idp: MockIdp) -> None:
    auth = authenticator(database, idp)
    token = f"oidc/mock/{idp.opaque_token('s-9')}"
    assert auth.user(f"Bearer {token}").name == "dave@example.org"
    assert auth.user(f"Bearer {token}").subject == "s-9"
    assert idp.requests.count("/userinfo") == 1
    assert refused(auth, "oidc/mock/unknown") == "TokenInvalid"
    assert refused(auth, "oidc/mock/") == "TokenInvalid"


def test_new_keys_are_fetched_but_not_for_every_forgery(
    database: Database, idp: MockIdp, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = authenticator(database, idp)
    auth.user(f"Bearer {idp.token()}")
    idp.key = RSAKey.generate_key(2048, parameters={"kid": "k2", "use": "sig", "alg": "RS256"})
    assert refused(auth, idp.token()) == "TokenInvalid"
    assert idp.requests.count("/jwks") == 1
    monkeypatch.setattr(oidc, "KEYS_MIN_AGE", -1)
    assert auth.user(f"Bearer {idp.token()}").name == "carol"
    assert idp.requests.count("/jwks") == 2


def test_silent_provider_is_not_the_users_fault(database: Database) -> None:
    with mock_idp() as gone:
        token = gone.token()
    with pytest.raises(OpenEOError) as caught:
        authenticator(database, gone).user(f"Bearer {token}")
    assert (caught.value.code, caught.value.status) == ("InfrastructureBusy", 503)
    assert caught.value.headers["Retry-After"] == "30"


def test_public_description_hides_ours_and_puts_default_clients_first() -> None:
    clients = [{"id": "c", "grant_types": ["refresh_token"]}]
    shown = Providers(
        [
            {"id": "a", "issuer": "https://a", "audience": "x", "client_secret": "y"},
            {"id": "b", "issuer": "https://b", "title": "B", "scopes": ["openid", "email"], "default_clients": clients},
        ]
    ).public()
    assert [p["id"] for p in shown] == ["b", "a"]
    assert shown[1] == {"id": "a", "issuer": "https://a", "title": "a", "scopes": ["openid"]}
    with pytest.raises(ValueError, match="issuer"):
        Providers([{"id": "a"}])
