"""Landsat as it is distributed: tar archives, read where they lie; hostile and broken ones are refused by name."""

from __future__ import annotations

import gzip
import io
import math
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from backend.catalogue.index import Catalogue
from processes.env import Env
from processes.load import tars
from processes.load.items import item_bands
from processes.load.load_collection import load_collection

C1 = "LC08_L1TP_167055_20170308_20170317_01_T1"
C2 = "LC08_L2SP_005009_20150710_20200908_02_T2"


def pack(folder: Path, target: Path, mode: str, prefix: str = "") -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, mode) as tar:
        for file in sorted(folder.glob("L*")):
            tar.add(file, f"{prefix}{file.name}")
    return target


def loaded(catalogue: Catalogue, collection: str, band: str) -> np.ndarray:
    return load_collection(collection, bands=[band], env=Env(catalogue=catalogue)).compute().values[0, 0]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".TGZ"])
@pytest.mark.parametrize("prefix", ["", "./", f"{C1}/"])
def test_collection_1(catalogue: Catalogue, tmp_path: Path, shared: Path, suffix: str, prefix: str) -> None:
    source = shared / "data" / "landsat8_c1_L1TP_167055_ethiopia"
    path = pack(source, tmp_path / "a" / f"{C1}{suffix}", "w" if suffix == ".tar" else "w:gz", prefix)
    assert catalogue.ingest([tmp_path / "a"]).rejected == []
    (item,) = catalogue.search("LANDSAT_L1")
    assert item.id == C1 and item.assets["B4"].href.startswith("/vsitar/")
    elevation = float((source / f"{C1}_MTL.txt").read_text().split("SUN_ELEVATION = ")[1].split()[0])
    with rasterio.open(source / f"{C1}_B4.TIF") as src:
        dn = src.read(1)
    scale = np.float32(2e-5 / math.sin(math.radians(elevation)))
    expected = np.where(dn == 65535, np.float32(np.nan), (dn.astype("f4") - np.float32(5000)) * scale)
    np.testing.assert_array_equal(loaded(catalogue, "LANDSAT_L1", "B04"), expected)
    np.testing.assert_allclose(loaded(catalogue, "LANDSAT_L1", "SZA"), 90 - elevation, atol=1e-4)
    assert list(path.parent.iterdir()) == [path]  # GDAL would leave an index beside it
    assert catalogue.ingest([tmp_path / "a"]).unchanged == [str(path)]


def test_collection_2(catalogue: Catalogue, tmp_path: Path, shared: Path) -> None:
    source = shared / "data" / "landsat8_c2_L2SP_decimated"
    pack(source, tmp_path / "a" / f"{C2}.tar", "w")
    assert catalogue.ingest([tmp_path / "a"]).rejected == []
    (packed,) = catalogue.search("LANDSAT_L2")
    catalogue.ingest([source])
    catalogue.remove([str(tmp_path / "a" / f"{C2}.tar")])
    (plain,) = catalogue.search("LANDSAT_L2")
    assert packed.properties == plain.properties and packed.bbox == plain.bbox
    assert item_bands(packed).keys() == item_bands(plain).keys()


def member(tar: tarfile.TarFile, name: str, data: bytes = b"x", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data) if info.isreg() else None)


def several(tar: tarfile.TarFile, *names: str) -> None:
    for name in names:
        member(tar, name)


def linked(kind: bytes) -> Callable[[tarfile.TarFile], None]:
    return lambda tar: member(tar, f"{C1}_B4.TIF", b"", type=kind, linkname="/etc/passwd")


HOSTILE: dict[str, tuple[Callable[[tarfile.TarFile], None], str]] = {
    "up": (lambda tar: member(tar, "../../etc/x_B4.TIF"), "unsafe member name"),
    "inside and up": (lambda tar: member(tar, f"a/../../{C1}_B4.TIF"), "unsafe member name"),
    "absolute": (lambda tar: member(tar, "/etc/passwd"), "unsafe member name"),
    "backslash": (lambda tar: member(tar, "..\\..\\x"), "unsafe member name"),
    "symbolic link": (linked(tarfile.SYMTYPE), "no plain file"),
    "hard link": (linked(tarfile.LNKTYPE), "no plain file"),
    "device": (linked(tarfile.CHRTYPE), "no plain file"),
    "pipe": (linked(tarfile.FIFOTYPE), "no plain file"),
    "long names": (lambda tar: member(tar, f"{'x' * 120}/{C1}_B4.TIF"), "--format=gnu"),
    "nothing": (lambda tar: None, "no MTL.txt"),
    "two": (lambda tar: several(tar, f"{C1}_MTL.txt", f"{C1[:-1]}2_MTL.txt"), "2 MTL.txt"),
    "other": (lambda tar: member(tar, f"{C1}_MTL.txt", b"GROUP = A\nEND\n"), "no band raster"),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_hostile_archives(catalogue: Catalogue, tmp_path: Path, case: str, suffix: str) -> None:
    fill, told = HOSTILE[case]
    path = tmp_path / "a" / f"{C1}{suffix}"
    path.parent.mkdir()
    with tarfile.open(path, "w" if suffix == ".tar" else "w:gz") as tar:
        fill(tar)
    (rejected,) = catalogue.ingest([path.parent]).rejected
    assert rejected.path == path and told in rejected.reason


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_archives_cut_short(catalogue: Catalogue, tmp_path: Path, shared: Path, suffix: str, share: float) -> None:
    source = shared / "data" / "landsat8_c1_L1TP_167055_ethiopia"
    path = pack(source, tmp_path / "a" / f"{C1}{suffix}", "w" if suffix == ".tar" else "w:gz")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    (rejected,) = catalogue.ingest([path.parent]).rejected
    assert rejected.path == path and "cannot be listed" in rejected.reason


def test_damaged_bytes_never_traceback(catalogue: Catalogue, tmp_path: Path, shared: Path) -> None:
    source = shared / "data" / "landsat8_c1_L1TP_167055_ethiopia"
    rng = np.random.default_rng(3)
    for mode, suffix in (("w", ".tar"), ("w:gz", ".tar.gz")):
        path = pack(source, tmp_path / "a" / f"{C1}{suffix}", mode)
        whole = path.read_bytes()
        for _ in range(12):
            broken = bytearray(whole)
            for at in rng.integers(0, len(broken) if suffix == ".tar.gz" else 3000, 8):
                broken[at] = rng.integers(0, 256)
            path.write_bytes(bytes(broken))
            for rejected in catalogue.ingest([path.parent]).rejected:
                assert rejected.path == path and rejected.reason and "cannot make sense" not in rejected.reason
        path.unlink()


def test_bombs(catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / f"{C1}.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        member(tar, f"{C1}_B4.TIF", bytes(8 << 20))
    monkeypatch.setattr(tars, "BOMB_FLOOR", 1 << 20)
    (rejected,) = catalogue.ingest([path.parent]).rejected
    assert "bomb" in rejected.reason
    path.write_bytes(gzip.compress(b"\0" * (8 << 20)))
    (rejected,) = catalogue.ingest([path.parent]).rejected
    assert "MTL" in rejected.reason or "bomb" in rejected.reason


def test_endless_lists(catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "MAX_ENTRIES", 20)
    path = tmp_path / "a" / f"{C1}.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for n in range(30):
            member(tar, f"f{n}")
    (rejected,) = catalogue.ingest([path.parent]).rejected
    assert "more than 20 entries" in rejected.reason
