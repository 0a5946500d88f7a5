"""Who is measured: their environments (made here with pip, once), their processes, one measurement."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# A peer that asks for more fails, and the table says so; without a limit the system would end whom it likes.
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4


@dataclass(frozen=True)
class Contender:
    """``requirements`` None: this project's own environment. ``bare`` ones are installed without their dependencies:
    openeo-processes-dask asks for the GDAL bindings, which must be compiled against the system's GDAL, and pins xvec."""

    name: str
    peer: str
    requirements: tuple[str, ...] | None = None
    bare: tuple[str, ...] = ()
    shares: str | None = None  # the peer whose environment this one uses

    def folder(self, cache: Path) -> Path:
        """Where the environment lies: what was asked for is part of the name."""
        wanted = json.dumps([self.requirements, self.bare])
        return cache / "venvs" / f"{self.shares or self.peer}-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"


_XARRAY = ("xarray", "dask[array]", "rioxarray", "rasterio", "netcdf4", "pandas")
CONTENDERS = [
    Contender("decode", "decode"),
    Contender("ours", "ours"),
    Contender("ours-http", "ours_http"),
    Contender("tuile run", "ours_cli"),
    Contender("rasterio+numpy", "plain", ("rasterio", "numpy", "netcdf4")),
    Contender("odc-stac+xarray", "odcstac", ("odc-stac", "pystac", *_XARRAY)),
    Contender("odc-stac, tuned", "odcstac_tuned", ("odc-stac", "pystac", *_XARRAY), shares="odcstac"),
    Contender("odc-stac, chunks 512", "odcstac_blocks", ("odc-stac", "pystac", *_XARRAY), shares="odcstac"),
    Contender("rioxarray", "rioxarray_", _XARRAY),
    Contender("stackstac", "stackstac_", ("stackstac", "pystac", *_XARRAY)),
    Contender(
        "openeo-processes-dask", "processes_dask",
        ("odc-stac", "pystac", "pystac-client", "planetary-computer", "dask-geopandas", "geopandas", "openeo", "scipy",
         "dask[array,dataframe,distributed]", "openeo-pg-parser-networkx", "joblib", "pyarrow", "stac-validator",
         "geoparquet", *_XARRAY),
        ("openeo-processes-dask", "xvec==0.2.0"),
    ),
]  # fmt: skip


def environment(contender: Contender, cache: Path) -> Path:
    """The contender's Python; its environment is made if need be. Raises CalledProcessError."""
    if contender.requirements is None:
        return Path(sys.executable)
    folder = contender.folder(cache)
    python = folder / "bin" / "python"
    if not (folder / "complete").is_file():
        print(f"installing {contender.name} into {folder} ...", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *contender.requirements], check=True)
        if contender.bare:
            subprocess.run([*pip, "--no-deps", *contender.bare], check=True)
        (folder / "complete").touch()
    return python


def is_installed(contender: Contender, cache: Path) -> bool:
    return contender.requirements is None or (contender.folder(cache) / "complete").is_file()


class Running:
    """A contender's process."""

    def __init__(self, contender: Contender, python: Path, log: Path):
        self.contender, self._log = contender, log.open("w")
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("TUILE_", "GDAL_", "PYTHON"))}
        # sums of squares in linear algebra must not take a third core
        environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        if contender.requirements is not None:
            environ["BENCH_MEMORY"] = str(MEMORY)
        if contender.requirements is None:
            environ["PYTHONPATH"] = str(HERE.parents[1])
        self.process = subprocess.Popen(
            [str(python), str(HERE / "worker.py"), str(HERE / "peers" / f"{contender.peer}.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=environ,
            start_new_session=True,  # its own children end with it
        )  # fmt: skip
        started = self._answer()
        if "error" in started:
            raise RuntimeError(started["error"])
        self.import_cpu = float(started["import_cpu"])
        self.versions: dict[str, str] = {}

    def ask(self, do: str, limit: float = 600.0, **request: Any) -> dict[str, Any]:
        """One request; raises RuntimeError with the contender's traceback, or after ``limit`` seconds, which end it."""
        assert self.process.stdin is not None
        if self.process.poll() is not None:
            raise RuntimeError("ended before")
        self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self.process.stdin.flush()
        reply = self._answer(limit)
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply

    def _answer(self, limit: float = 600.0) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], limit)
        if not ready:
            self._kill()
            raise RuntimeError(f"more than {limit:.0f} s, ended")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.contender.name} ended with status {self.process.wait()}; see {self._log.name}")
        return json.loads(line)

    def _kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self._kill()
        self._log.close()
