"""``tuile user``: accounts for basic login."""

from __future__ import annotations

import shutil

import click
from sqlalchemy.orm import Session

from backend.auth.passwords import hash_password
from backend.settings import Settings
from backend.store import users
from backend.store.db import Database
from backend.store.models import User

MIN_LENGTH = 8

_password = click.option(
    "--password",
    envvar="TUILE_USER_PASSWORD",
    help="The password; without this option it is asked for (or read from TUILE_USER_PASSWORD).",
)


@click.group()
def user() -> None:
    """Manage the accounts of basic login."""


@user.command()
@click.argument("name")
@_password
def add(name: str, password: str | None) -> None:
    """Add the user NAME."""
    database = _database()
    with database.session(read_only=True) as session:
        if users.by_name(session, name) is not None:
            raise click.ClickException(f"user '{name}' exists; 'tuile user passwd {name}' sets a new password")
    hashed = hash_password(_ask(password))
    with database.session() as session:
        users.create(session, name, hashed)
    click.echo(f"user '{name}' added")


@user.command("list")
def list_() -> None:
    """List all users."""
    with _database().session(read_only=True) as session:
        for one in users.users(session):
            kind = "password" if one.password_hash else f"oidc {one.issuer}"
            click.echo(f"{one.name}\t{kind}\tsince {one.created:%Y-%m-%d}\t{one.id}")


@user.command()
@click.argument("name")
@_password
def passwd(name: str, password: str | None) -> None:
    """Set a new password for NAME and end all sessions."""
    database = _database()
    with database.session(read_only=True) as session:
        one = _find(session, name)
    if one.issuer is not None:
        raise click.ClickException(f"user '{name}' logs in at {one.issuer}: there is no password to set here")
    hashed = hash_password(_ask(password))
    with database.session() as session:
        _find(session, name).password_hash = hashed
        users.remove_tokens(session, one.id)
    click.echo(f"password of '{name}' set; all sessions ended")


@user.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Remove NAME with all jobs, results, stored processes and files."""
    settings = Settings()
    database = _database()
    with database.session(read_only=True) as session:
        one = _find(session, name)
        job_ids = users.job_ids(session, one.id)
    if not yes:
        click.confirm(f"Remove '{name}' with {len(job_ids)} jobs and all files?", abort=True)
    with database.session() as session:
        users.remove(session, _find(session, name))
    own = [settings.files_dir / one.id, settings.collections_dir / one.id]
    for folder in [settings.results_dir / i for i in job_ids] + own:
        shutil.rmtree(folder, ignore_errors=True)
    click.echo(f"user '{name}' removed")


def _database() -> Database:
    database = Database(Settings().database)
    database.upgrade()
    return database


def _find(session: Session, name: str) -> User:
    one = users.by_name(session, name)
    if one is None:
        raise click.ClickException(f"there is no user '{name}'; 'tuile user list' shows all")
    return one


def _ask(password: str | None) -> str:
    password = password or click.prompt("Password", hide_input=True, confirmation_prompt=True)
    if len(password) < MIN_LENGTH:
        raise click.ClickException(f"a password needs at least {MIN_LENGTH} characters")
    return password
