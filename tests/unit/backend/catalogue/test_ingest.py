"""Ingest: idempotent, incremental, honest about what it does not take."""

from __future__ import annotations

import os
import shutil
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from backend.catalogue import tree
from backend.catalogue.index import Catalogue
from backend.catalogue.ingest import ingest
from backend.catalogue.reader import Rejected
from backend.catalogue.watch import look, watch
from processes.errors import ProcessError
from tests.unit.backend.catalogue.conftest import make_muscate, write_raster

ID = "SENTINEL2_L2A_MAJA"


def test_a_second_ingest_reads_nothing_again(catalogue: Catalogue, tmp_path: Path) -> None:
    make_muscate(tmp_path / "archive")
    first = catalogue.ingest([tmp_path / "archive"])
    assert (len(first.added), first.items, first.rejected) == (1, 1, [])
    before = catalogue.generation()
    second = catalogue.ingest([tmp_path / "archive"])
    assert (len(second.unchanged), second.added, second.changed) == (1, [], [])
    assert catalogue.generation() == before  # nothing was written: cached metadata stays good


def test_changed_and_removed_products_follow_the_archive(catalogue: Catalogue, tmp_path: Path) -> None:
    one = make_muscate(tmp_path / "a")
    two = make_muscate(tmp_path / "a", when="20180420-104021-461")
    catalogue.ingest([tmp_path / "a"])
    text = next(one.glob("*MTD_ALL.xml"))
    text.write_text(text.read_text().replace(">12<", ">77<"))
    shutil.rmtree(two)
    report = catalogue.ingest([tmp_path / "a"])
    assert report.changed == [str(one)] and report.removed == [str(two)]
    found = catalogue.search(ID)
    assert [i.properties["eo:cloud_cover"] for i in found] == [77]
    shutil.rmtree(one)
    catalogue.ingest([tmp_path / "a"])
    with pytest.raises(ProcessError, match="CollectionNotFound"):
        catalogue.search(ID)
    assert catalogue.collections() == []


def test_an_archive_that_is_gone_empties_nothing(catalogue: Catalogue, tmp_path: Path) -> None:
    make_muscate(tmp_path / "mount" / "a")
    catalogue.ingest([tmp_path / "mount" / "a"])
    shutil.rmtree(tmp_path / "mount")
    report = catalogue.ingest([tmp_path / "mount" / "a"])
    assert [r.reason for r in report.rejected] == ["does not exist"] and catalogue.count(ID) == 1


def test_an_unreadable_folder_keeps_what_was_known(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_muscate(tmp_path / "a" / "closed")
    catalogue.ingest([tmp_path / "a"])
    real = os.scandir

    def guarded(path: Path) -> object:  # root may read every folder: what it would see is told by hand
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("backend.catalogue.ingest.os.scandir", guarded)
    report = catalogue.ingest([tmp_path / "a"])
    assert "cannot be read: Permission denied" in report.rejected[0].reason and catalogue.count(ID) == 1


def test_a_half_copied_product_waits(catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_muscate(tmp_path / "a", bands=("B2", "B3", "B4"))
    report = catalogue.ingest([tmp_path / "a"])
    assert "copy may not have finished" in report.rejected[0].reason and report.added == []
    monkeypatch.setattr(tree, "SETTLE", 0)  # nothing has changed for long enough: somebody chose these bands
    assert len(catalogue.ingest([tmp_path / "a"]).added) == 1
    assert "B08" not in catalogue.collection(ID)["cube:dimensions"]["bands"]["values"]


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_raster_rejects_its_product_by_name(catalogue: Catalogue, tmp_path: Path, share: float) -> None:
    folder = make_muscate(tmp_path / "a")
    victim = next(folder.glob("*FRE_B4.tif"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[: int(len(whole) * share)])
    (rejected,) = catalogue.ingest([tmp_path / "a"]).rejected
    assert rejected.path == folder and "FRE_B4.tif" in rejected.reason
    victim.write_bytes(whole)
    assert len(catalogue.ingest([tmp_path / "a"]).added) == 1


def test_a_jpeg2000_file_cut_short_is_seen(tmp_path: Path) -> None:
    from backend.catalogue.grids import truncated

    path = write_raster(
        tmp_path / "a.jp2", np.random.default_rng(0).integers(0, 9999, (64, 64)).astype("u2"), driver="JP2OpenJPEG"
    )
    assert truncated(path) is None
    whole = path.read_bytes()
    for size in (len(whole) // 2, len(whole) - 1, 20):
        path.write_bytes(whole[:size])
        assert truncated(path) is not None


def test_files_with_the_names_of_unfinished_copies(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = make_muscate(tmp_path / "a")
    (folder / "SENTINEL2A_FRE_B2.tif.part").write_bytes(b"x")
    (tmp_path / "a" / "next.zip.part").write_bytes(b"x")
    reasons = {r.path.name: r.reason for r in catalogue.ingest([tmp_path / "a"]).rejected}
    assert set(reasons) == {folder.name, "next.zip.part"} and all(
        "copy has not finished" in r for r in reasons.values()
    )


def test_rasters_nobody_knows_are_named(catalogue: Catalogue, tmp_path: Path) -> None:
    write_raster(tmp_path / "a" / "holiday.tif", np.zeros((4, 4), "u1"))
    (tmp_path / "a" / "notes.txt").write_text("not a raster")
    (rejected,) = catalogue.ingest([tmp_path / "a"]).rejected
    assert "holiday.tif" in rejected.reason and "notes.txt" not in rejected.reason


def test_a_folder_can_be_passed_over(catalogue: Catalogue, tmp_path: Path) -> None:
    write_raster(tmp_path / "a" / "truth" / "deep" / "cloud.tif", np.zeros((4, 4), "u1"))
    (tmp_path / "a" / "truth" / ".tuileignore").touch()
    assert catalogue.ingest([tmp_path / "a"]).rejected == []


def test_a_link_back_to_a_parent_folder_ends(catalogue: Catalogue, tmp_path: Path) -> None:
    make_muscate(tmp_path / "a")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a", target_is_directory=True)
    assert len(catalogue.ingest([tmp_path / "a"]).added) == 1


def test_processes_read_what_threads_read(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.catalogue.ingest.POOL_FROM", 2)
    for day in (1, 2, 3):
        make_muscate(tmp_path / "a", when=f"2018040{day}-103813-308")
    seen: list[tuple[int, int]] = []
    report = ingest(
        catalogue,
        [tmp_path / "a"],
        workers=2,
        isolate=True,
        on_progress=lambda done, total, _: seen.append((done, total)),
    )
    assert len(report.added) == 3 and seen == [(1, 3), (2, 3), (3, 3)]


def test_zip_bombs_are_refused(catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "BOMB_FLOOR", 1 << 20)
    name = "SENTINEL2A_20180417-103813-308_L2A_T31TCJ_D_V1-9"
    (tmp_path / "a").mkdir()
    with zipfile.ZipFile(tmp_path / "a" / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(f"{name}/{name}_FRE_B2.tif", bytes(4 << 20))
    (rejected,) = catalogue.ingest([tmp_path / "a"]).rejected
    assert "zip bomb" in rejected.reason


def test_a_zipped_product_is_read_in_place(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = make_muscate(tmp_path / "b")
    (tmp_path / "a").mkdir()
    shutil.make_archive(str(tmp_path / "a" / folder.name), "zip", folder.parent, folder.name)
    assert len(catalogue.ingest([tmp_path / "a"]).added) == 1
    (item,) = catalogue.search(ID)
    assert item.assets["FRE_B02"].href.startswith("/vsizip/")


def test_watch_takes_a_product_when_it_has_come_to_rest(catalogue: Catalogue, tmp_path: Path) -> None:
    seen: dict[str, str] = {}
    (tmp_path / "a").mkdir()
    look(catalogue, [tmp_path / "a"], seen)
    make_muscate(tmp_path / "a")
    assert look(catalogue, [tmp_path / "a"], seen).added == []  # it has just appeared
    assert len(look(catalogue, [tmp_path / "a"], seen).added) == 1
    stop, reports = threading.Event(), []
    worker = threading.Thread(
        target=watch,
        args=(catalogue, [tmp_path / "a"]),
        kwargs={"interval": 0.05, "on_report": reports.append, "stop": stop},
    )
    worker.start()
    make_muscate(tmp_path / "a", when="20180420-104021-461")
    end = time.monotonic() + 20
    while time.monotonic() < end and catalogue.count(ID) < 2:
        time.sleep(0.05)
    stop.set()
    worker.join(20)
    assert catalogue.count(ID) == 2 and not worker.is_alive() and reports


def test_the_command_names_what_it_rejects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from backend.catalogue.cli import catalogue as group
    from backend.catalogue.cli import ingest as command

    monkeypatch.setenv("TUILE_DATA_DIR", str(tmp_path / "data"))
    make_muscate(tmp_path / "a")
    write_raster(tmp_path / "a" / "holiday.tif", np.zeros((4, 4), "u1"))
    done = CliRunner().invoke(command, [str(tmp_path / "a")])
    assert done.exit_code == 0, done.output
    assert "holiday.tif" in done.output and "1 added" in done.output
    assert CliRunner().invoke(command, [str(tmp_path / "a"), "--strict"]).exit_code == 1
    assert "SENTINEL2_L2A_MAJA" in CliRunner().invoke(group, ["list"]).output
    told = CliRunner().invoke(group, ["dates", "NOPE"])
    assert told.exit_code == 1 and "does not exist" in told.output


def test_one_archive_however_it_is_named(catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_muscate(tmp_path / "a")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert len(catalogue.ingest(["../a"]).added) == 1
    again = catalogue.ingest([tmp_path / "a"])
    assert (len(again.unchanged), len(again.added)) == (1, 0)


def test_questions_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from backend.catalogue.cli import catalogue as group
    from backend.catalogue.cli import ingest as command

    monkeypatch.setenv("TUILE_DATA_DIR", str(tmp_path / "data"))
    for day in ("20180401", "20180402"):
        make_muscate(tmp_path / "a", when=f"{day}-103813-308")
    assert CliRunner().invoke(command, [str(tmp_path / "a")]).exit_code == 0
    ask = ["dates", "SENTINEL2_L2A_MAJA"]
    for where, count in (
        ("eo:cloud_cover<=12", 2),
        ("eo:cloud_cover < 12", 0),
        ("view:sun_elevation>59", 2),
        ("platform=sentinel-2b", 0),
    ):
        done = CliRunner().invoke(group, [*ask, "--where", where])
        assert done.exit_code == 0 and len(done.output.splitlines()) == count, (where, done.output)
    assert CliRunner().invoke(group, [*ask, "--where", "cloudy"]).exit_code == 2
    assert CliRunner().invoke(group, [*ask, "--where", "tuile:zone=x"]).exit_code == 1
    pairs = ["pairs", "SENTINEL2_L2A_MAJA", "SENTINEL2_L2A_MAJA", "--where", "eo:cloud_cover<50"]
    assert len(CliRunner().invoke(group, pairs).output.splitlines()) == 1


def test_a_reader_that_crashes_costs_one_product(catalogue: Catalogue, tmp_path: Path, shared: Path) -> None:
    """A damaged HDF5 file can end the process that opens it."""
    source = next((shared / "data" / "s2_l2a_timeseries_31UDS").glob("L8_SR_10m*.nc"))
    whole = source.read_bytes()
    rng = np.random.default_rng(1)
    for n in range(3):
        broken = bytearray(whole)
        for at in rng.integers(100, 20_000, 60):
            broken[at] = rng.integers(0, 256)
        path = tmp_path / "a" / source.name.replace("L8_SR_10m_", f"L8_SR_10m_{n}")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(broken))
    make_muscate(tmp_path / "a")
    report = catalogue.ingest([tmp_path / "a"])
    assert [Path(p).name[:10] for p in report.added if "SENTINEL2A" in p] == ["SENTINEL2A"]
    assert len(report.added) + len(report.rejected) == 4
    assert all(r.path.suffix == ".nc" and r.reason and "cannot make sense" not in r.reason for r in report.rejected)


def test_a_process_that_dies_is_a_rejection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from backend.catalogue import alone

    monkeypatch.setattr(alone.sys, "executable", shutil.which("false"))
    with pytest.raises(Rejected, match="crashed the reader"):
        alone.read_alone(tmp_path / "x.nc", "netcdf_series")
