"""``--to-cog``: the same pixels from cheaper files, tracked with their product."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from backend.catalogue import cogs
from backend.catalogue.index import Catalogue
from processes.env import Env
from processes.load.load_collection import load_collection
from tests.unit.backend.catalogue.conftest import make_muscate


@pytest.fixture
def product(shared: Path, tmp_path: Path) -> Path:
    source = next((shared / "data" / "s2_l1c_safe_T31TCJ_2dates_alcd").glob("S2A*.SAFE"))
    target = tmp_path / "a" / source.name
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("MSK_DETFOO*", "MSK_QUALIT*", "MSK_CLASSI*"))
    return target


def test_copies_hold_the_same_pixels(catalogue: Catalogue, product: Path, tmp_path: Path) -> None:
    catalogue.ingest([tmp_path / "a"])
    names = ["B02", "B8A", "VALID", "SZA"]
    before = load_collection("SENTINEL2_L1C", bands=names, env=Env(catalogue=catalogue)).compute()
    report = catalogue.ingest([tmp_path / "a"], to_cog=tmp_path / "cogs")
    assert report.changed == [str(product)] and report.rejected == []
    (item,) = catalogue.search("SENTINEL2_L1C")
    copy = item.assets["B02"]
    assert Path(copy.href).parent == product.with_name(product.name + cogs.SUFFIX)
    assert copy.extra_fields["tuile:original"].endswith("_B02.jp2") and "cloud-optimized" in str(copy.media_type)
    with rasterio.open(copy.href) as src:
        assert src.driver == "GTiff" and src.compression and src.compression.name == "zstd"
    after = load_collection("SENTINEL2_L1C", bands=names, env=Env(catalogue=catalogue)).compute()
    np.testing.assert_array_equal(before.values, after.values)


def test_it_is_done_once_and_goes_with_the_product(catalogue: Catalogue, product: Path, tmp_path: Path) -> None:
    catalogue.ingest([tmp_path / "a"], to_cog=tmp_path / "cogs")
    folder = product.with_name(product.name + cogs.SUFFIX)
    stamp = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert len(stamp) == 13
    for to_cog in (tmp_path / "cogs", None):
        assert len(catalogue.ingest([tmp_path / "a"], to_cog=to_cog).unchanged) == 1
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == stamp
    shutil.rmtree(product)
    catalogue.ingest([tmp_path / "a"])
    assert not folder.exists()


def test_a_read_only_archive_gets_its_copies_elsewhere(
    product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.catalogue.cogs.os.access", lambda path, mode: False)
    folder = cogs.folder_for(product, tmp_path / "cogs")
    assert folder.parent == tmp_path / "cogs" and folder.name.startswith(product.name)


def test_what_is_tiled_or_small_stays(catalogue: Catalogue, tmp_path: Path) -> None:
    make_muscate(tmp_path / "a")
    catalogue.ingest([tmp_path / "a"], to_cog=tmp_path / "cogs")
    assert [p.name for p in (tmp_path / "a").iterdir() if p.name.endswith(cogs.SUFFIX)] == []
    assert len(catalogue.ingest([tmp_path / "a"], to_cog=tmp_path / "cogs").unchanged) == 1


def test_a_full_disk_costs_the_copies_only(
    catalogue: Catalogue, product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("backend.catalogue.cogs._copy", full)
    (rejected,) = catalogue.ingest([tmp_path / "a"], to_cog=tmp_path / "cogs").rejected
    assert "No space left" in rejected.reason
    assert catalogue.count("SENTINEL2_L1C") == 1  # served from its own files
    assert [p.name for p in (tmp_path / "a").iterdir()] == [product.name]
