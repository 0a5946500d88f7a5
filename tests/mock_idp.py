"""An OpenID Connect provider for tests: real HTTP, real keys, no browser.

Gives out access tokens to clients by client credentials and the device code grant (which it grants at once), as JWTs
or opaque; publishes its keys and answers userinfo.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "tuile-test", "client secret"


class MockIdp:
    """State of the provider; `issuer` is its address."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, parameters={"kid": "k1", "use": "sig", "alg": "RS256"})
        self.issuer = ""
        self.opaque: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []

    def claims(self, subject: str = "s-1", **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        basic = {"iss": self.issuer, "sub": subject, "aud": "tuile", "iat": now, "exp": now + 300}
        return {k: v for k, v in (basic | {"preferred_username": "carol"} | changes).items() if v is not None}

    def token(self, subject: str = "s-1", *, key: RSAKey | None = None, **changes: Any) -> str:
        """A JWT; claims that are None are left out."""
        key = key or self.key
        return jwt.encode({"alg": "RS256", "kid": key.kid}, self.claims(subject, **changes), key)

    def opaque_token(self, subject: str = "s-1") -> str:
        token = secrets.token_urlsafe(16)
        self.opaque[token] = {"sub": subject, "email": "dave@example.org"}
        return token

    def answer(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        self.requests.append(path)
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}/jwks",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "token_endpoint": f"{self.issuer}/token",
                "device_authorization_endpoint": f"{self.issuer}/device",
                "authorization_endpoint": f"{self.issuer}/authorize",
                "scopes_supported": ["openid", "email", "offline_access"],
            }
        if path == "/jwks":
            return 200, {"keys": [self.key.as_dict(private=False)]}
        if path == "/userinfo":
            found = self.opaque.get(authorization.removeprefix("Bearer "))
            return (200, found) if found else (401, {"error": "invalid_token"})
        if path == "/device":
            return 200, {
                "device_code": "d1",
                "user_code": "CODE",
                "verification_uri": f"{self.issuer}/verify",
                "interval": 1,
                "expires_in": 60,
            }
        if path == "/token":
            if form.get("grant_type") == "client_credentials" and form.get("client_secret") != SECRET:
                return 401, {"error": "invalid_client"}
            return 200, {"access_token": self.token(), "token_type": "Bearer", "expires_in": 300}
        return 404, {"error": "not found"}


@contextmanager
def mock_idp() -> Iterator[MockIdp]:
    """A provider that listens on a free port of this machine."""
    idp = MockIdp()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self._reply({k: v[0] for k, v in parse_qs(text).items()})

        def _reply(self, form: dict[str, str]) -> None:
            status, value = idp.answer(self.path.partition("?")[0], form, self.headers.get("Authorization", ""))
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    idp.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield idp
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
