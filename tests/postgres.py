"""A PostgreSQL server of the test's own: in a temporary folder, on a socket there, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def binaries() -> Path | None:
    """Folder of ``initdb`` and ``pg_ctl``; None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parts[-3]))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).resolve().parent if path else None


@contextmanager
def postgres() -> Iterator[str]:
    """URL of an empty database. PostgreSQL refuses to run as root: there it runs as user ``postgres``."""
    bin = binaries()
    if bin is None:
        raise RuntimeError("PostgreSQL is not installed: run .ci/system-packages")
    folder = Path(tempfile.mkdtemp(prefix="tuile-pg-"))
    run: list[str | Path] = []
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        run = ["runuser", "-u", "postgres", "--"]
    data, log = folder / "data", folder / "log"
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c max_connections=40"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
    try:
        subprocess.run([*run, bin / "initdb", "-D", data, "-A", "trust", "-U", "tuile", "--no-sync"], **quiet)
        subprocess.run([*run, bin / "pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start"], **quiet)
        try:
            yield f"postgresql://tuile@/postgres?host={folder}"
        finally:
            subprocess.run([*run, bin / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **quiet)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
