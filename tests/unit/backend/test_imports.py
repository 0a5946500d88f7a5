"""What is not imported: start-up time is made of imports, and each of these costs more than all of ours together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# What only some requests need. Numbers are what an import costs, in milliseconds of CPU, with what it alone pulls in.
SELDOM = ("scipy.ndimage", "scipy.stats", "geopandas", "sklearn", "matplotlib", "distributed", "zarr", "netCDF4", "tifffile",
          "openeo", "torch", "lightgbm", "onnxruntime", "IPython", "pytest")  # fmt: skip
# What computes: the API's process never does (numba 200, pandas 250, xarray 350, dask.array 200, networkx 100).
COMPUTING = ("numba", "pandas", "xarray", "dask.array", "scipy", "networkx", "processes.blocks", "backend.graph.run")


def imported_by(code: str, tmp_path: Path) -> set[str]:
    """Modules a fresh interpreter has after ``code``."""
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n'.join(sys.modules))"],
        cwd=Path(__file__).parents[3], env={"PATH": "", "HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(told.stdout.split())


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import backend.cli", (*SELDOM, *COMPUTING, "flask", "rasterio", "sqlalchemy", "pydantic")),
        ("import backend.app", (*SELDOM, *COMPUTING)),
        ("import backend.jobs.process, backend.jobs.sync", (*SELDOM, *COMPUTING)),
        ("import backend.graph.run; from processes.registry import processes; processes()", SELDOM),
        ("from backend.results.format import all_formats; all_formats()", SELDOM),
    ],
)
def test_start_up_is_light(code: str, without: tuple[str, ...], tmp_path: Path) -> None:
    found = imported_by(code, tmp_path)
    assert not {m for m in without if m in found}


def test_the_api_is_built_without_what_computes(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from backend.app import create_app; from backend.settings import Settings\n"
        f"app = create_app(Settings(data_dir=Path({str(tmp_path)!r}), archive=[]))\n"
        "assert app.test_client().get('/openeo/1.2/').status_code == 200\n"
        "assert app.test_client().get('/openeo/1.2/collections').status_code == 200"
    )
    found = imported_by(code, tmp_path)
    assert not {m for m in (*SELDOM, *COMPUTING) if m in found}


def test_a_first_picture_needs_no_more(tmp_path: Path) -> None:
    """To compute blocks with threads dask imports nothing of distributed."""
    code = (
        "import numpy as np, xarray as xr; from pathlib import Path; from backend.results import write\n"
        "from processes.save.save_result import SaveResult\n"
        "data = xr.DataArray(np.ones((9, 9), 'u1'), dims=('y', 'x'), coords={'y': range(9, 0, -1), 'x': range(9)}).chunk()\n"
        f"write([SaveResult(data, 'PNG', {{}})], Path({str(tmp_path)!r}))"
    )
    found = imported_by(code, tmp_path)
    assert "numba" in found
    assert not {m for m in SELDOM if m in found}
