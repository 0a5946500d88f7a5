"""Basic login: name and password in, bearer token out."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from backend.auth import throttle
from backend.auth.passwords import matches
from backend.errors import OpenEOError
from backend.store import users
from backend.store.db import Database
from backend.store.models import User

LIFETIME = timedelta(days=7)


def login(database: Database, name: str, password: str, *, address: str = "", limit: int = 0) -> str:
    """A new token for the user.

    Parameters
    ----------
    name, password : as they were sent
    address : the client's
    limit : failures after which logins have to wait (`Settings.login_failures`)

    Raises
    ------
    OpenEOError
        ``CredentialsInvalid``; ``TooManyRequests`` without a look at the password.
    """
    with throttle.attempt(database, name, address, limit):
        with database.session(read_only=True) as session:
            user = None if "\0" in name else users.by_name(session, name)  # PostgreSQL cannot even look for it
        # Outside the transaction: scrypt takes its time.
        if not matches(user.password_hash if user else None, password) or user is None:
            raise OpenEOError("CredentialsInvalid", "User name or password is wrong.")
    token = secrets.token_urlsafe(32)
    with database.session() as session:
        users.add_token(session, user.id, _hash(token), LIFETIME)
    return token


def user_of(database: Database, token: str) -> User:
    """The user of a token of `login`. Raises ``TokenInvalid``."""
    with database.session(read_only=True) as session:
        user = users.by_token(session, _hash(token))
    if user is None:
        raise OpenEOError("TokenInvalid", "The token is not valid or has expired; log in again.")
    return user


def _hash(token: str) -> str:
    # A random token of 256 bits needs no salt and no slow hash.
    return hashlib.sha256(token.encode()).hexdigest()
