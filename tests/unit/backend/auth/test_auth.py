"""Passwords, tokens, signed links, the server's key, the command line."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from backend.auth import basic
from backend.auth.bearer import Authenticator
from backend.auth.cli import user as cli
from backend.auth.oidc import Providers
from backend.auth.passwords import hash_password, matches
from backend.auth.secret import secret_key
from backend.auth.signing import Signer
from backend.errors import OpenEOError
from backend.settings import Settings
from backend.store import users
from backend.store.db import Database
from backend.store.models import Token


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'tuile.sqlite'}")
    database.upgrade()
    with database.session() as session:
        users.set_user(session, "alice", "correct horse")
    yield database
    database.close()


def code(call) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(OpenEOError) as caught:
        call()
    return caught.value.code


def test_passwords_are_scrypt_and_salted() -> None:
    one, two = hash_password("x"), hash_password("x")
    assert one.startswith("scrypt:") and one != two
    assert matches(one, "x") and not matches(one, "y")
    assert not matches(None, "nobody has this password")


def test_login_gives_a_token_that_is_kept_hashed(database: Database) -> None:
    token = basic.login(database, "alice", "correct horse")
    assert basic.user_of(database, token).name == "alice"
    with database.session(read_only=True) as session:
        kept = session.scalars(select(Token)).one()
    assert token not in kept.hash and kept.expires > kept.created


@pytest.mark.parametrize("name, password", [("alice", "wrong"), ("nobody", "correct horse"), ("", "")])
def test_wrong_credentials(database: Database, name: str, password: str) -> None:
    assert code(lambda: basic.login(database, name, password)) == "CredentialsInvalid"


def test_expired_token(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basic, "LIFETIME", timedelta(seconds=-1))
    token = basic.login(database, "alice", "correct horse")
    assert code(lambda: basic.user_of(database, token)) == "TokenInvalid"


@pytest.mark.parametrize(
    "header, expected",
    [
        (None, "AuthenticationRequired"),
        ("", "AuthenticationRequired"),
        ("Basic YTpi", "AuthenticationSchemeInvalid"),
        ("Bearer", "TokenInvalid"),
        ("Bearer basic//", "TokenInvalid"),
        ("Bearer basic//wrong", "TokenInvalid"),
        ("Bearer oidc/nowhere/token", "TokenInvalid"),
        ("Bearer oidc/nowhere", "TokenInvalid"),
        ("Bearer something", "TokenInvalid"),
        ("Bearer eyJ.x.y", "TokenInvalid"),
    ],
)
def test_headers_that_are_refused(database: Database, header: str | None, expected: str) -> None:
    assert code(lambda: Authenticator(database, Providers([])).user(header)) == expected


def test_header_that_is_accepted(database: Database) -> None:
    token = basic.login(database, "alice", "correct horse")
    assert Authenticator(database, Providers([])).user(f"bearer  basic//{token}").name == "alice"


def test_signature_covers_resource_and_time() -> None:
    signer = Signer(b"0123456789abcdef", 60)
    query = signer.query("job:1")
    signer.check("job:1", **query)
    assert code(lambda: signer.check("job:2", **query)) == "PermissionsInsufficient"
    later = str(int(query["expires"]) + 1)
    assert code(lambda: signer.check("job:1", later, query["signature"])) == "PermissionsInsufficient"
    assert code(lambda: signer.check("job:1", "x", "ü")) == "PermissionsInsufficient"
    assert code(lambda: Signer(b"another key of 16", 60).check("job:1", **query)) == "PermissionsInsufficient"
    old = signer.query("job:1", expires=int(time.time()) - 1)
    assert code(lambda: signer.check("job:1", **old)) == "ResultLinkExpired"


def test_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        Signer(b"short", 60)


def test_key_is_made_once_and_private(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    key = secret_key(settings)
    assert len(key) == 64 and secret_key(settings) == key
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["secret.key"]
    assert secret_key(Settings(data_dir=tmp_path, secret_key="from outside")) == b"from outside"


def test_command_line(tmp_path: Path) -> None:
    def run(*args: str, input: str | None = None):  # type: ignore[no-untyped-def]
        return CliRunner(env={"TUILE_DATA_DIR": str(tmp_path)}).invoke(cli, args, input=input)

    assert run("add", "bob", "--password", "short").exit_code == 1
    assert run("add", "bob", input="long enough\nlong enough\n").exit_code == 0
    again = run("add", "bob", "--password", "long enough")
    assert again.exit_code == 1 and "exists" in again.output
    database = Database(Settings(data_dir=tmp_path).database)
    token = basic.login(database, "bob", "long enough")
    assert run("passwd", "bob", "--password", "even longer").exit_code == 0
    assert code(lambda: basic.user_of(database, token)) == "TokenInvalid"
    assert basic.login(database, "bob", "even longer")
    assert "bob\tpassword" in run("list").output
    with database.session(read_only=True) as session:
        bob = users.by_name(session, "bob")
    assert bob is not None
    (tmp_path / "files" / bob.id).mkdir(parents=True)
    assert run("remove", "bob", input="n\n").exit_code == 1
    assert run("remove", "bob", "--yes").exit_code == 0
    assert run("list").output == "" and not (tmp_path / "files" / bob.id).exists()
    missing = run("remove", "bob", "--yes")
    assert missing.exit_code == 1 and "there is no user" in missing.output
