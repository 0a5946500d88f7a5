"""Metadata from anywhere: whole samples parse, damaged or hostile ones are rejections with a name, never tracebacks."""

from __future__ import annotations

import gzip
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from backend.catalogue.index import Catalogue
from backend.catalogue.reader import Rejected
from backend.catalogue.readers import landsat, muscate_l2a, sentinel2_metadata, sentinel2_safe
from processes.load import safexml
from processes.load.angles import s2_tile
from tests.unit.backend.catalogue.conftest import make_muscate, write_raster

CUTS = (0.02, 0.3, 0.6, 0.9, 0.999)


@pytest.fixture(scope="session")
def samples(shared: Path) -> dict[str, bytes]:
    """Name -> content of every Sentinel-2 metadata sample."""
    root = shared / "data" / "s2_metadata_samples"
    return {str(p.relative_to(root)): gzip.decompress(p.read_bytes()) for p in sorted(root.rglob("*.xml.gz"))}


def cloud_layout(folder: Path, tile_xml: bytes) -> Path:
    """The smallest product that a tile's metadata describes: two by two pixels over its whole extent."""
    geo = re.search(rb"EPSG:(\d+).*?<ULX>(-?\d+)</ULX>\s*<ULY>(-?\d+)</ULY>", tile_xml, re.DOTALL)
    code, left, top = (int(v) for v in geo.groups()) if geo else (32631, 300000, 4900020)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.xml").write_bytes(tile_xml)
    write_raster(folder / "B02.tif", np.ones((2, 2), "u2"), step=54900, left=left, top=top, crs=f"EPSG:{code}")
    return folder


def is_tile(text: bytes) -> bool:
    return bool(re.search(rb"<(n1:)?Level-(1C|2A)_Tile_ID", text[:2000]))


def test_all_samples_parse(samples: dict[str, bytes], tmp_path: Path) -> None:
    assert len(samples) == 39
    tiles = {n: t for n, t in samples.items() if is_tile(t)}
    assert len(tiles) >= 20
    for number, (name, text) in enumerate(sorted(tiles.items())):
        (item,) = sentinel2_safe.read(cloud_layout(tmp_path / str(number), text))
        assert item.datetime is not None and re.fullmatch(r"sentinel-2[ab]", item.properties["platform"]), name
        assert re.fullmatch(r"MGRS-\d{2}[A-Z]{3}", item.properties["grid:code"]), name
        if b"<Tile_Geocoding" in text:
            grids = s2_tile(text)
            assert grids.sun is not None and np.isfinite(grids.sun).all(), name
    for name, text in samples.items():
        if "MTD_MSIL" in name:
            root = safexml.parse(text)
            assert sentinel2_metadata.scales_of(root)["reflectance"] == 1e-4, name
            offsets = set(sentinel2_metadata.offsets_of(root, None).values())
            baseline = re.search(r"_N(\d{4})_", name)
            assert offsets == ({-1000.0} if baseline and int(baseline[1]) >= 400 else set()), name


def test_truncated_samples_are_named_rejections(samples: dict[str, bytes], tmp_path: Path) -> None:
    for number, (name, text) in enumerate(samples.items()):
        for share in CUTS:
            folder = cloud_layout(tmp_path / f"{number}", text[: int(len(text) * share)])
            with pytest.raises(Rejected) as told:
                sentinel2_safe.read(folder)
            assert told.value.path == folder and "metadata.xml" in told.value.reason, (name, share)


def test_garbled_samples_never_traceback(samples: dict[str, bytes], tmp_path: Path) -> None:
    """Well-formed XML with wrong contents: values emptied, renamed or turned into words."""
    rng = np.random.default_rng(5)
    tiles = [t for t in samples.values() if is_tile(t)][:6]
    spoil = [
        lambda t: re.sub(rb">[^<>]+<", b"><", t),
        lambda t: re.sub(rb">-?\d+(\.\d+)?<", b">nonsense<", t),
        lambda t: re.sub(rb">-?\d+(\.\d+)?<", b">1e999<", t),
        lambda t: re.sub(rb"<(/?)VALUES>", rb"<\1VALEURS>", t),
        lambda t: re.sub(rb'(bandId|detectorId)="\d+"', rb'\1="99999999999"', t),
        lambda t: t.replace(b"SENSING_TIME", b"SENSED"),
    ]
    for number, text in enumerate(tiles):
        for change in spoil:
            folder = cloud_layout(tmp_path / str(number), change(text))
            try:
                (item,) = sentinel2_safe.read(folder)
                item.to_dict()
            except Rejected as told:
                assert told.reason
            try:
                s2_tile((folder / "metadata.xml").read_bytes())
            except ValueError as told:  # BadXml is one
                assert str(told)
        for _ in range(20):  # random bytes in random places
            broken = bytearray(text)
            for at in rng.integers(0, len(broken), 10):
                broken[at] = rng.integers(0, 256)
            try:
                sentinel2_safe.read(cloud_layout(tmp_path / f"r{number}", bytes(broken)))
            except Rejected as told:
                assert told.reason


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><Muscate_Metadata_Document>&c;</Muscate_Metadata_Document>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<Muscate_Metadata_Document><Product_Characteristics><PRODUCT_ID>&x;</PRODUCT_ID></Product_Characteristics></Muscate_Metadata_Document>"""


@pytest.mark.parametrize(
    "text", [LAUGHS, OUTSIDE, b"<!DOCTYPE a><a/>", b"", b"\x00\x01", b"<a>" * 3000 + b"</a>" * 3000]
)
def test_hostile_xml_is_refused(tmp_path: Path, text: bytes) -> None:
    folder = make_muscate(tmp_path)
    next(folder.glob("*MTD_ALL.xml")).write_bytes(text)
    with pytest.raises(Rejected, match=r"MTD_ALL\.xml") as told:
        muscate_l2a.read(folder)
    assert "root:" not in told.value.reason
    with pytest.raises(safexml.BadXml):
        safexml.parse(text)


def test_a_metadata_member_that_is_a_bomb(tmp_path: Path) -> None:
    path = tmp_path / "S2A_MSIL1C_20240120T105341_N0510_R051_T31TCJ_20240120T125244.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("GRANULE/L1C/MTD_TL.xml", b"<a>" + b" " * (32 << 20) + b"</a>")
    with pytest.raises(Rejected, match="zip bomb"):
        sentinel2_safe.read(path)


def test_zip_members_outside_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "S2A_MSIL1C_20240120T105341_N0510_R051_T31TCJ_20240120T125244.zip"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("a/../../etc/x.jp2", b"x")
    with pytest.raises(Rejected, match="unsafe"):
        sentinel2_safe.read(path)


def test_a_zip_cut_short(tmp_path: Path, shared: Path) -> None:
    source = next((shared / "data" / "s2_l1c_safe_decimated").glob("*T56JMM*.zip"))
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes()[:-5000])
    with pytest.raises(Rejected, match="cannot be listed"):
        sentinel2_safe.read(path)


def test_truncated_landsat_metadata(tmp_path: Path, shared: Path) -> None:
    source = shared / "data" / "landsat8_c1_L1TP_167055_ethiopia"
    for file in source.glob("*.TIF"):
        (tmp_path / file.name).symlink_to(file)
    whole = next(source.glob("*MTL.txt"))
    text = whole.read_bytes()
    target = tmp_path / whole.name
    target.write_bytes(text)
    assert len(landsat.read(target)) == 1
    for share in CUTS[:-1]:
        target.write_bytes(text[: int(len(text) * share)])
        with pytest.raises(Rejected, match="MTL"):
            landsat.read(target)


def test_antimeridian_tiles(catalogue: Catalogue, samples: dict[str, bytes], tmp_path: Path) -> None:
    """Tiles of zone 1 that reach over 180 degrees: found from both sides, and only there."""
    crossing = {n: t for n, t in samples.items() if is_tile(t) and re.search(r"_T01(WCP|WCS|KAB|CCV|VCG|LAC)", n)}
    assert len(crossing) >= 5
    for number, text in enumerate(crossing.values()):
        cloud_layout(tmp_path / "a" / f"S2_{number}", text)
        (tmp_path / "a" / f"S2_{number}" / "B02.tif").rename(
            tmp_path / "a" / f"S2_{number}" / "B02.jp2"
        )  # GDAL looks at the content
    report = catalogue.ingest([tmp_path / "a"])
    assert report.rejected == []
    ids = {c["id"] for c in catalogue.collections()}
    items = [i for c in ids for i in catalogue.search(c, superseded=True)]
    over = [i for i in items if i.bbox and i.bbox[0] > i.bbox[2]]
    assert over and all(i.geometry and i.geometry["type"] == "MultiPolygon" for i in over)
    for item in over:
        assert item.bbox is not None and item.collection_id is not None
        west, south, east, north = item.bbox
        middle = (south + north) / 2
        boxes = {
            (179.9, middle - 0.01, -179.9, middle + 0.01): True, (-180, middle - 0.01, east, middle + 0.01): True,
            (west, middle - 0.01, 180, middle + 0.01): True, (0, middle - 0.01, 10, middle + 0.01): False, (-170, middle, 170, middle): False,
        }  # fmt: skip
        for box, expected in boxes.items():
            found = {i.id for i in catalogue.search(item.collection_id, bbox=box, superseded=True)}
            assert (item.id in found) is expected, (item.id, box)
    for id in ids:
        assert catalogue.collection(id)["extent"]["spatial"]["bbox"][0][0] >= -180
