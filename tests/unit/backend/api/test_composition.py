"""The application as it is put together for real: no stand-ins, an empty archive."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask import Flask

from backend.app import create_app
from backend.context import Context
from backend.files import FileSpace
from backend.settings import Settings
from backend.store import schema, users
from backend.store.cli import db
from processes.errors import ProcessError
from tests.unit.backend.api.conftest import API
from tests.unit.backend.api.test_openapi import problems


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = create_app(Settings(data_dir=tmp_path))
    yield app
    context: Context = app.extensions["tuile"]
    context.sync.close()
    context.database.close()


@pytest.mark.parametrize("path", ["/", "/file_formats", "/collections", "/udf_runtimes", "/service_types"])
def test_real_answers_follow_the_standard(app: Flask, shared: Path, path: str) -> None:
    assert problems(shared, path, "get", app.test_client().get(API + path)) == []


def test_processes_are_those_that_are_implemented(app: Flask) -> None:
    told = app.test_client().get(f"{API}/processes").json["processes"]
    ids = [p["id"] for p in told]
    assert ids == sorted(ids) and {"load_collection", "save_result", "ndvi", "reduce_dimension"} <= set(ids)
    for process in told:  # R needs all of these
        assert isinstance(process["parameters"], list) and "schema" in process["returns"] and process["description"]


def test_empty_archive_has_a_page_that_says_what_to_do(app: Flask) -> None:
    assert "tuile ingest" in app.test_client().get("/").text


def test_processing_parameters(app: Flask) -> None:
    told = app.test_client().get(f"{API}/processing_parameters").json
    assert [p["name"] for p in told["create_job_parameters"]] == ["skip_unreadable"]
    assert "MiB of memory" in told["create_job_parameters"][0]["description"]


def test_environment_shows_the_users_own_files(app: Flask) -> None:
    context: Context = app.extensions["tuile"]
    with context.database.session() as session:
        user = users.set_user(session, "alice", "correct horse")
    space = FileSpace(context.database, context.settings.files_dir, user)
    space.put("a/b.txt", io.BytesIO(b"x"), None)
    assert context.environments.env(user.id).files.path("a/b.txt").read_bytes() == b"x"
    for user_id, name in ((user.id, "none"), ("somebody else", "a/b.txt"), (None, "a/b.txt")):
        with pytest.raises(ProcessError) as caught:
            context.environments.env(user_id).files.path(name)
        assert caught.value.code == "FileNotFound"
    with pytest.raises(ProcessError) as caught:
        context.environments.env(user.id).files.path("../../tuile.sqlite")
    assert caught.value.code == "FilePathInvalid"


def test_database_commands(tmp_path: Path) -> None:
    runner = CliRunner(env={"TUILE_DATA_DIR": str(tmp_path / "new")})
    newest = schema.head()
    assert runner.invoke(db, ["version"]).output == f"schema none, newest {newest}\n"
    assert runner.invoke(db, ["upgrade"]).output.startswith(f"schema none -> {newest} in sqlite:///")
    assert runner.invoke(db, ["upgrade"]).output.startswith(f"schema {newest} -> {newest}")
