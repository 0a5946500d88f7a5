"""``tuile demo-archive`` as a user types it."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from backend.demo.cli import BENCHMARK, demo_archive


def test_archive_from_the_command_line(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    options = ["--size", "60", "--dates", "1", "--tiles", "31TGK", "--bands", "B04,B08", "--no-sre", "--workers", "1"]
    done = CliRunner().invoke(demo_archive, [str(folder), *options])
    assert done.exit_code == 0, done.output
    assert "1 products in" in done.output
    (product,) = folder.glob("SENTINEL2*")
    assert {p.name.rsplit("_", 1)[1] for p in product.glob("*_FRE_*")} == {"B4.tif", "B8.tif"}
    assert not list(product.glob("*_SRE_*"))
    assert sorted(p.name for p in (folder / "rasters").iterdir()) == [
        "DEM_T31TGK.tif",
        "TCD_T31TGK.tif",
        "WATER_T31TGK.tif",
    ]
    again = CliRunner().invoke(demo_archive, [str(folder), *options])
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "100"], "multiple of 6"),
        (["--orbits", "8,north"], "orbits must be numbers"),
        (["--tiles", "31TGK,31TCJ"], "share no ground"),
        (["--tiles", "Paris"], "not an MGRS tile"),
        (["--dates", "500"], "500 dates asked"),
        (["--bands", "B1"], "bands must be among"),
    ],
)
def test_mistakes_are_told_without_a_traceback(tmp_path: Path, options: list[str], message: str) -> None:
    done = CliRunner().invoke(demo_archive, [str(tmp_path / "a"), *options])
    assert done.exit_code == 1
    assert message in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "a").exists()


def test_the_benchmark_preset_gives_way_to_what_is_typed(tmp_path: Path) -> None:
    seen: dict[str, object] = {}

    def keep(folder: Path, **options: object) -> None:
        seen.update(options)
        raise ValueError("stop here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backend.demo.cli.generate", keep)
        CliRunner().invoke(demo_archive, [str(tmp_path / "a"), "--benchmark", "--bands", "B11"])
    assert seen["size"] == BENCHMARK["size"] == 10980
    assert seen["bands"] == ("B11",)
    assert seen["truth"] is False and seen["dates"] == 12


def test_the_command_has_its_name() -> None:
    assert isinstance(demo_archive, click.Command)
    assert demo_archive.name == "demo-archive"


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("in the way")
    done = CliRunner().invoke(demo_archive, [str(folder), "--size", "60", "--dates", "1"])
    assert done.exit_code != 0
    assert "Traceback" not in done.output
