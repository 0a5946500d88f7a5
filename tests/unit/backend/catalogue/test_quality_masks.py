"""Quality masks of Sentinel-2: polygons before baseline 04.00, rasters since; footprints choose the detector of an angle."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely import Polygon, contains_xy

from backend.catalogue.index import Catalogue
from processes.env import Env
from processes.errors import ProcessError
from processes.load import gml
from processes.load.angles import S2_BAND_IDS, read_angles
from processes.load.items import item_bands
from processes.load.load_collection import load_collection
from processes.load.safexml import parse, read_bytes
from tests.unit.backend.catalogue.conftest import write_raster

NAME = "S2A_MSIL1C_20171207T105421_N0206_R051_T31TCJ_20171207T125244"
OLD = "S2A_OPER_MSK_{kind}_EPA__20160101T120000_A002734_T31TCJ_{band}_MSIL1C.gml"
HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<eop:Mask xmlns:eop="http://www.opengis.net/eop/2.0" xmlns:gml="http://www.opengis.net/gml/3.2" gml:id="M">
<gml:boundedBy><gml:Envelope srsName="urn:ogc:def:crs:EPSG:8.7:{epsg}"><gml:lowerCorner>0 0 0</gml:lowerCorner></gml:Envelope></gml:boundedBy>
<eop:maskMembers>{members}</eop:maskMembers></eop:Mask>"""
MEMBER = """<eop:MaskFeature gml:id="{id}"><eop:maskType codeSpace="urn:gs2:S2PDGS:maskType">{kind}</eop:maskType><eop:extentOf>
<gml:Polygon gml:id="{id}_P"><gml:exterior><gml:LinearRing><gml:posList srsDimension="{dim}">{outer}</gml:posList></gml:LinearRing></gml:exterior>{holes}
</gml:Polygon></eop:extentOf></eop:MaskFeature>"""
HOLE = "<gml:interior><gml:LinearRing><gml:posList srsDimension='{dim}'>{ring}</gml:posList></gml:LinearRing></gml:interior>"


def positions(ring: list[tuple[float, float]], dim: int) -> str:
    return " ".join(f"{x} {y}" + (" 0" if dim == 3 else "") for x, y in [*ring, ring[0]])


def mask(
    *features: tuple[str, str, list[tuple[float, float]]], dim: int = 3, epsg: int = 32631, holes: str = ""
) -> str:
    members = "".join(
        MEMBER.format(id=id, kind=kind, dim=dim, outer=positions(ring, dim), holes=holes) for id, kind, ring in features
    )
    return HEAD.format(epsg=epsg, members=members)


def square(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    """In metres from the upper left corner of the tile, y downwards."""
    return [(300000 + x, 4900020 - y) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]


@pytest.fixture
def product(tmp_path: Path, shared: Path) -> Path:
    """A product of baseline 02.06: 1200 m of B01 and B02, GML masks."""
    true = next((shared / "data" / "s2_l1c_safe_T31TCJ_2dates_alcd").glob("S2A*.SAFE"))
    root = tmp_path / "a" / f"{NAME}.SAFE"
    granule = root / "GRANULE" / "L1C_T31TCJ_A012840_20171207T105421"
    granule.mkdir(parents=True)
    shutil.copy(next(true.rglob("MTD_TL.xml")), granule / "MTD_TL.xml")
    text = re.sub(r"<(IMAGE_FILE|RADIO_ADD_OFFSET).*?</\1>", "", (true / "MTD_MSIL1C.xml").read_text())
    (root / "MTD_MSIL1C.xml").write_text(text.replace("05.10", "02.06"))
    for band, step in (("B01", 60), ("B02", 10)):
        n = 1200 // step
        dn = np.arange(n * n, dtype="u2").reshape(n, n) + 1
        write_raster(granule / "IMG_DATA" / f"T31TCJ_20171207T105421_{band}.jp2", dn, step=step, driver="JP2OpenJPEG")
    quality = granule / "QI_DATA"
    quality.mkdir()
    triangle = [(300000.0, 4900020.0), (300555.0, 4900020.0), (300000.0, 4899333.0)]
    hole = HOLE.format(dim=2, ring=positions(square(100, 100, 200, 200), 2))
    (quality / "MSK_CLOUDS_B00.gml").write_text(
        mask(("OPAQUE.0", "OPAQUE", triangle), ("CIRRUS.0", "CIRRUS", square(60, 0, 900, 600)), dim=2, holes=hole)
    )
    (quality / "MSK_SATURA_B02.gml").write_text(
        mask(("QT_SATURATED_PIXELS_L1A-D5.0", "QT_SATURATED_PIXELS_L1A", square(500, 500, 604, 604)))
    )
    (quality / "MSK_NODATA_B02.gml").write_text(
        mask(
            ("a", "QT_PARTIALLY_CORRECTED_PIXELS", square(0, 0, 500, 500)),
            ("b", "QT_NODATA_PIXELS", square(0, 0, 30, 30)),
        )
    )
    (quality / "MSK_DEFECT_B02.gml").write_text(HEAD.format(epsg=32631, members=""))
    left, right = square(-500, 0, 706, 1200), square(706, 0, 1800, 1200)
    (quality / "MSK_DETFOO_B02.gml").write_text(
        mask(
            ("detector_footprint-B02-05-0", "DETECTOR_FOOTPRINT", left),
            ("detector_footprint-B02-06-1", "DETECTOR_FOOTPRINT", right),
        )
    )
    return root


def loaded(catalogue: Catalogue, band: str) -> np.ndarray:
    return load_collection("SENTINEL2_L1C", bands=[band], env=Env(catalogue=catalogue)).compute().values[0, 0]


def centres(n: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Of pixels, in metres from the upper left corner, y downwards."""
    at = (np.arange(n) + 0.5) * step
    return np.meshgrid(at, at)


def test_clouds_of_a_product_before_rasters(catalogue: Catalogue, product: Path) -> None:
    assert catalogue.ingest([product.parent]).rejected == []
    x, y = centres(20, 60)  # made at 60 m
    hole = (x > 100) & (x < 200) & (y > 100) & (y < 200)
    cloud = (x / 555 + y / 687 < 1) & ~hole
    cirrus = (x > 60) & (x < 900) & (y < 600) & ~hole
    np.testing.assert_array_equal(loaded(catalogue, "CLOUD"), cloud.astype("u1"))
    np.testing.assert_array_equal(loaded(catalogue, "CIRRUS"), cirrus.astype("u1"))
    both = load_collection("SENTINEL2_L1C", bands=["B02", "CLOUD"], env=Env(catalogue=catalogue)).compute().values[0]
    np.testing.assert_array_equal(both[1], np.kron(cloud, np.ones((6, 6))))


def test_masks_of_single_bands(catalogue: Catalogue, product: Path) -> None:
    catalogue.ingest([product.parent])
    x, y = centres(120, 10)
    np.testing.assert_array_equal(
        loaded(catalogue, "SATURA_B02"), ((x > 500) & (x < 604) & (y > 500) & (y < 604)).astype("u1")
    )
    np.testing.assert_array_equal(loaded(catalogue, "NODATA_B02"), ((x < 30) & (y < 30)).astype("u1"))
    assert not loaded(catalogue, "DEFECT_B02").any()
    np.testing.assert_array_equal(loaded(catalogue, "DETFOO_B02"), np.where(x < 706, 5, 6))
    usual = load_collection("SENTINEL2_L1C", env=Env(catalogue=catalogue))
    assert list(usual.bands.values) == ["B01", "B02", "CLOUD", "CIRRUS", "VALID", "SZA", "SAA", "VZA", "VAA"]


def test_blocks_and_other_grids_agree(product: Path) -> None:
    """A window of a mask is the mask's window."""
    href = str(next(product.rglob("MSK_CLOUDS_B00.gml")))
    grid = GeoBox((100, 100), Affine(12, 0, 300000, 0, -12, 4900020), "EPSG:32631")
    whole = gml.draw(href, grid)
    assert set(np.unique(whole)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(gml.draw(href, grid[20:50, 10:90]), whole[20:50, 10:90])


def test_old_names_and_zips(catalogue: Catalogue, product: Path) -> None:
    for path in list(product.rglob("*.gml")):
        kind, band = re.fullmatch(r"MSK_(\w+)_(B\d\d)\.gml", path.name).groups()  # type: ignore[union-attr]
        path.rename(path.with_name(OLD.format(kind=kind, band=band)))
    archive = product.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as z:
        for path in product.rglob("*"):
            z.write(path, path.relative_to(product.parent))
    shutil.rmtree(product)
    assert catalogue.ingest([archive]).rejected == []
    assert loaded(catalogue, "CLOUD").any()
    x, _ = centres(120, 10)
    np.testing.assert_array_equal(loaded(catalogue, "DETFOO_B02"), np.where(x < 706, 5, 6))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "DTD or entities"),
        ("<Mask><maskMembers>", "cannot be parsed"),
        ("<html/>", "is no mask"),
        (mask(("a", "OPAQUE", square(0, 0, 60, 60)), epsg=32630), "EPSG:32630"),
        (mask(("a", "OPAQUE", square(0, 0, 60, 60))).replace(" 0</gml:posList>", " </gml:posList>"), "incomplete"),
        (mask(("a", "OPAQUE", square(0, 0, 60, 60))).replace("300060", "nan"), "incomplete"),
        (mask(("a", "OPAQUE", square(0, 0, 60, 60))).replace("300060", "word"), "could not convert"),
    ],
)
def test_a_damaged_mask_is_named(catalogue: Catalogue, product: Path, text: str, told: str) -> None:
    path = next(product.rglob("MSK_CLOUDS_B00.gml"))
    path.write_text(text)
    catalogue.ingest([product.parent])
    with pytest.raises(ProcessError, match=told) as error:
        loaded(catalogue, "CLOUD")
    assert error.value.code == "StorageFailure" and path.name in error.value.message


def test_masks_that_are_rasters(catalogue: Catalogue, shared: Path) -> None:
    root = next((shared / "data" / "s2_l1c_safe_T31TCJ_2dates_alcd").glob("S2A*.SAFE"))
    assert catalogue.ingest([root]).rejected == []
    (item,) = catalogue.search("SENTINEL2_L1C")
    bands = item_bands(item)
    for name, pattern, index in (
        ("DETFOO_B01", "MSK_DETFOO_B01.jp2", 1), ("SATURA_B01", "MSK_QUALIT_B01.jp2", 8), ("CIRRUS", "MSK_CLASSI_B00.jp2", 2),
    ):  # fmt: skip
        with rasterio.open(next(root.rglob(pattern))) as src:
            np.testing.assert_array_equal(loaded(catalogue, name), src.read(index))
    assert bands["LOST_B04"].index == 3 and bands["SATURA_B04"].extra and not bands["CLOUD"].extra


def test_real_footprints_are_the_polygons(shared: Path) -> None:
    """Of a decimated product, against an independent test of each pixel's centre."""
    path = next((shared / "data" / "s2_l1c_safe_decimated").glob("*T55JEJ*.zip"))
    with zipfile.ZipFile(path) as z:
        member = next(n for n in z.namelist() if n.endswith("MSK_DETFOO_B04.gml"))
        root = parse(z.read(member))
    grid = GeoBox((109, 109), Affine(1000, 0, 499980, 0, -1000, 6900040), "EPSG:32755")
    got = gml.draw(f"/vsizip/{path}/{member}", grid)
    x, y = np.meshgrid(499980 + (np.arange(109) + 0.5) * 1000, 6900040 - (np.arange(109) + 0.5) * 1000)
    expected = np.zeros((109, 109), int)
    for number, feature in zip((7, 8, 9, 10, 11, 12), root.iter("MaskFeature")):
        ring = np.array((feature.find(".//posList").text or "").split(), float).reshape(-1, 3)[:, :2]  # type: ignore[union-attr]
        expected[contains_xy(Polygon(ring), x, y)] = number
    assert (got > 0).mean() > 0.95 and (got == expected).mean() > 0.9999


@pytest.mark.parametrize(
    "which", ["s2_l1c_safe_T31TCJ_2dates_alcd/S2A*/GRANULE/*/MTD_TL.xml", "s2_l1c_safe_decimated/*T55JEJ*.zip"]
)
@pytest.mark.parametrize("band", ["B04", "B10"])
def test_angles_are_those_of_the_detector_that_saw_the_pixel(shared: Path, which: str, band: str) -> None:
    """At the nodes, of two detectors that both see them, the one whose footprint holds them; exactly its grid's values."""
    path = next((shared / "data").glob(which))
    href = str(path)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as z:
            href = f"/vsizip/{path}/{next(n for n in z.namelist() if n.endswith('MTD_TL.xml'))}"
    root = parse(read_bytes(href))
    place = root.find(".//Geoposition")
    assert place is not None
    x0, y0 = (float(place.findtext(t) or "nan") for t in ("ULX", "ULY"))
    box = GeoBox((22, 22), Affine(5000, 0, x0 - 2500, 0, -5000, y0 + 2500), root.findtext(".//HORIZONTAL_CS_CODE"))
    footprint = href.rsplit("/", 1)[0] + f"/QI_DATA/MSK_DETFOO_{band}"
    nodes_x, nodes_y = x0 + np.arange(22) * 5000 + 1, y0 - np.arange(22) * 5000 - 1  # a metre inside the tile
    if path.suffix == ".zip":
        small = [gml.draw(f"{footprint}.gml", GeoBox((1, 1), Affine(2, 0, x - 1, 0, -2, y + 1), str(box.crs)))[0, 0] for y in nodes_y for x in nodes_x]  # fmt: skip
        seen = np.reshape(small, (22, 22))
    else:
        with rasterio.open(f"{footprint}.jp2") as src:
            rows, cols = (np.floor(v).astype(int) for v in ((src.transform.f - nodes_y) / src.res[1], (nodes_x - src.transform.c) / src.res[0]))  # fmt: skip
            seen = src.read(1)[np.ix_(rows, cols)]
    zenith, azimuth = (read_angles("s2_tile", href, f"{n}_{band}", box) for n in ("VZA", "VAA"))
    checked = shared_nodes = 0
    told: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for element in root.iter("Viewing_Incidence_Angles_Grids"):
        if element.get("bandId") == str(S2_BAND_IDS.index(band)):
            told[int(element.get("detectorId") or 0)] = (_grid(element, "Zenith"), _grid(element, "Azimuth"))
    for r, c in np.ndindex(22, 22):
        known = [d for d in told if np.isfinite(told[d][0][r, c])]
        if seen[r, c] in known:
            z, a = (layer[r, c] for layer in told[int(seen[r, c])])
            assert abs(zenith[r, c] - z) < 1e-4 and abs((azimuth[r, c] - a + 180) % 360 - 180) < 0.01, (r, c)
            checked, shared_nodes = checked + 1, shared_nodes + (len(known) > 1)
    assert checked > 470 and shared_nodes > 5


def _grid(element: ElementTree.Element, name: str) -> np.ndarray:
    return np.array([(row.text or "").split() for row in element.iterfind(f"{name}/Values_List/VALUES")], float)


def test_the_line_between_two_detectors_is_that_of_the_footprints(
    catalogue: Catalogue, product: Path, shared: Path
) -> None:
    catalogue.ingest([product.parent])
    azimuth = loaded(catalogue, "VAA_B02")
    # here the true grids have other detectors (see the footprints): fall back; with theirs the line is at 706 m
    text = (next(product.rglob("MTD_TL.xml"))).read_text()
    ids = sorted({int(v) for v in re.findall(r'bandId="1" detectorId="(\d+)"', text)})
    near = [d for d in ids if np.isfinite(_node(text, d))]
    assert near and np.isfinite(azimuth).all()
    footprint = next(product.rglob("MSK_DETFOO_B02.gml"))
    two = ids[:2]
    footprint.write_text(
        footprint.read_text().replace("B02-05-", f"B02-{two[0]:02d}-").replace("B02-06-", f"B02-{two[1]:02d}-")
    )
    metadata = next(product.rglob("MTD_TL.xml"))
    metadata.touch()
    step = np.abs((np.diff(loaded(catalogue, "VAA_B02"), axis=1) + 180) % 360 - 180)
    assert (step.argmax(axis=1) == 70).all() and step.max() > 10 * np.median(step)


def _node(text: str, detector: int) -> float:
    found = re.search(rf'bandId="1" detectorId="{detector}">.*?<VALUES>(\S+)', text, re.DOTALL)
    return float(found[1]) if found else float("nan")
