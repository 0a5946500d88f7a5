"""Passwords of basic login: scrypt, as `werkzeug.security` does it."""

from __future__ import annotations

from functools import cache

from werkzeug.security import check_password_hash, generate_password_hash


def hash_password(password: str) -> str:
    """Salted scrypt hash of a password."""
    return generate_password_hash(password, method="scrypt")


def matches(password_hash: str | None, password: str) -> bool:
    """Whether ``password`` is the one; takes as long for users that do not exist or have none."""
    right = check_password_hash(password_hash or _nobody(), password)
    return right and password_hash is not None


@cache
def _nobody() -> str:
    return hash_password("nobody has this password")
