"""What clients see of the limit on failed logins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import openeo
import pytest
from openeo.rest import OpenEoApiError

from backend.auth import throttle
from backend.store import users
from tests.unit.backend.api.conftest import API, PASSWORD, Server
from tests.unit.backend.api.test_live import running

LOGIN = f"{API}/credentials/basic"
STRANGER, PROXY = "8.8.8.8", "10.0.0.7"


@pytest.fixture
def limited(make_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that lets two failures pass; logging in is quick."""
    monkeypatch.setattr("backend.auth.passwords.generate_password_hash", lambda password, method: f"hash {password}")
    monkeypatch.setattr("backend.auth.passwords.check_password_hash", lambda kept, given: kept == f"hash {given}")
    server = make_server(login_failures=2)
    with server.database.session() as session:
        users.set_user(session, "alice", PASSWORD)
    return server


def test_the_answer(limited: Server) -> None:
    for _ in range(2):
        assert limited.anonymous.get(LOGIN, auth=("alice", "wrong")).status_code == 403
    answer = limited.anonymous.get(LOGIN, auth=("alice", PASSWORD))
    assert answer.status_code == 429 and answer.json["code"] == "TooManyRequests"
    wait = answer.headers["Retry-After"]
    assert int(wait) == throttle.WINDOW.total_seconds() / 2 and f"Wait {wait} seconds" in answer.json["message"]
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
    assert "access_token" not in answer.text


def test_tokens_go_on_working(limited: Server) -> None:
    alice = limited.login("alice")
    for k in range(30):
        limited.anonymous.get(LOGIN, auth=(("alice", "bob", f"{k}")[k % 3], "wrong"))
    assert limited.anonymous.get(LOGIN, auth=("alice", PASSWORD)).status_code == 429
    assert alice.get(f"{API}/me").json["name"] == "alice"


@pytest.mark.parametrize(
    ("public_url", "peer", "told", "same"),
    [
        (None, PROXY, "{}", False),  # a proxy in the server's network tells who asks
        ("https://openeo.example.org", PROXY, "{}", False),
        ("https://openeo.example.org", "127.0.0.1", "10.9.9.9, {}", False),
        (
            None,
            PROXY,
            "{}, 198.51.100.4",
            True,
        ),  # what a client says of itself before the proxy's word counts for nothing
        (None, STRANGER, "{}", True),  # a client without proxy can say what it likes
        ("https://openeo.example.org", STRANGER, "{}", True),
        (None, PROXY, "nonsense {}", True),
    ],
)
def test_whose_address_counts(
    make_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, public_url: str | None, peer: str, told: str,
    same: bool,
) -> None:  # fmt: skip
    seen = []
    monkeypatch.setattr(throttle, "_network", lambda address: seen.append(address) or address)
    monkeypatch.setattr("backend.auth.basic.matches", lambda kept, given: False)
    server = make_server(public_url=public_url)
    for k in (1, 2):
        headers = {"X-Forwarded-For": told.format(f"203.0.113.{k}")}
        server.anonymous.get(LOGIN, auth=("a", "b"), headers=headers, environ_overrides={"REMOTE_ADDR": peer})
    assert len(set(seen)) == (1 if same else 2)


def test_the_python_client_shows_the_message(limited: Server) -> None:
    with running(limited) as url:
        connection = openeo.connect(url, retry=False)
        for _ in range(2):
            with pytest.raises(OpenEoApiError, match="CredentialsInvalid"):
                connection.authenticate_basic("alice", "wrong")
        with pytest.raises(OpenEoApiError, match=r"\[429\] TooManyRequests: Too many logins .* Wait 300 seconds"):
            connection.authenticate_basic("alice", PASSWORD)


def test_the_python_client_waits_and_goes_on(limited: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default it waits as long as it is told and tries again."""
    monkeypatch.setattr(throttle, "WINDOW", timedelta(seconds=4))
    with running(limited) as url:
        connection = openeo.connect(url)
        for _ in range(3):
            with pytest.raises(OpenEoApiError, match="CredentialsInvalid"):
                connection.authenticate_basic("alice", "wrong")
        assert connection.authenticate_basic("alice", PASSWORD).describe_account()["name"] == "alice"
