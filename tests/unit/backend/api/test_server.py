"""``tuile serve`` as a process: it tells where it is, answers, logs JSON, ends cleanly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from backend.server import listen, url_of
from backend.store.db import Database
from backend.store.schema import head
from tests.unit.backend.api.conftest import Server


def test_serve_until_terminated(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("TUILE_")} | {"TUILE_DATA_DIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "backend.cli", "serve", "--port", "0", "--no-worker"],
        env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        if not first.startswith("Tuile is at http://127.0.0.1:"):
            process.terminate()
            pytest.fail(first + process.communicate(timeout=20)[1])
        url = first.split()[-1]
        told = requests.get(f"{url}/.well-known/openeo", timeout=10).json()
        assert told["versions"][0]["url"] == f"{url}/openeo/1.2"
        assert requests.get(f"{url}/health", timeout=10).json() == {"status": "ok"}
        process.send_signal(signal.SIGTERM)
        lines = [json.loads(x) for x in process.communicate(timeout=20)[1].splitlines()]
        assert process.returncode == 0
        assert [x["path"] for x in lines if x["logger"] == "tuile.request"] == ["/.well-known/openeo", "/health"]
    finally:
        process.kill()
        process.communicate()
    database = Database(f"sqlite:///{tmp_path / 'tuile.sqlite'}")
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == head()
    database.close()


@pytest.mark.parametrize("host, shown", [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_address(server: Server, host: str, shown: str) -> None:
    listening = listen(server.app, host, 0)
    try:
        assert url_of(listening).startswith(shown) and int(url_of(listening).rpartition(":")[2]) > 0
    finally:
        listening.close()
