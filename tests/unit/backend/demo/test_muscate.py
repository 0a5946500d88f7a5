"""Layout and metadata of the MUSCATE products, element by element against a true one."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio

from backend.demo.archive import Archive, generate
from backend.demo.geometry import mgrs_origin
from tests.unit.backend.demo.conftest import raster

TRUE = "muscate_metadata_samples/sen2agri_readers/MAJA/SENTINEL2A_20160928-105637-665_L2A_T31UDS_C_V1-0_MTD_ALL.xml.gz"


def test_every_product_is_complete(archive: Archive) -> None:
    assert len(archive.products) == 8
    for product in archive.products:
        assert re.fullmatch(r"SENTINEL2[AB]_\d{8}-\d{6}-\d{3}_L2A_T\d\d[A-Z]{3}_C_V3-0", product.name)
        root = ElementTree.parse(product / f"{product.name}_MTD_ALL.xml").getroot()
        listed = {e.text for tag in ("IMAGE_FILE", "MASK_FILE", "QUICKLOOK") for e in root.iter(tag)}
        there = {str(p.relative_to(product)) for p in product.rglob("*") if p.is_file()} - {
            f"{product.name}_MTD_ALL.xml"
        }
        assert there == listed
        assert len(there) == 10 + 10 + 2 + 10 + 1
    assert not list(archive.folder.glob(".*"))


def test_rasters_have_the_true_types_and_grids(archive: Archive) -> None:
    product = archive.products[0]
    tile = archive.season.tiles[0]
    assert f"T{tile.name}" in product.name
    for name, dtype, count, resolution in (
        ("FRE_B2", "int16", 1, 10), ("SRE_B12", "int16", 1, 20), ("ATB_R1", "uint8", 2, 10), ("ATB_R2", "uint8", 2, 20),
        ("CLM_R1", "uint8", 1, 10), ("SAT_R2", "uint8", 1, 20),
    ):  # fmt: skip
        with rasterio.open(raster(product, name)) as src:
            assert (src.dtypes[0], src.count, src.res) == (dtype, count, (resolution, resolution))
            assert src.crs.to_epsg() == tile.epsg == mgrs_origin(tile.name)[0]
            assert (src.bounds.left, src.bounds.top) == (tile.ulx, tile.uly)
            assert src.width == src.height == tile.size * 10 // resolution


def _shape(element: ElementTree.Element, path: str = "") -> set[str]:
    """Paths of elements with the names of their attributes, as true products have them."""
    here = f"{path}/{element.tag}[{','.join(sorted(element.attrib))}]"
    return {here}.union(*(_shape(child, here) for child in element))


def test_metadata_has_the_structure_of_a_true_product(archive: Archive, shared: Path) -> None:
    with gzip.open(shared / "data" / TRUE) as file:
        true = ElementTree.parse(file).getroot()
    ours = ElementTree.parse(next(archive.products[0].glob("*_MTD_ALL.xml"))).getroot()
    # the private directory is the only part of a true product that is left out
    missing = {p for p in _shape(true) - _shape(ours) if "/Data_List" not in p}
    assert not missing
    assert not _shape(ours) - _shape(true)
    natures = {e.text for e in true.iter("NATURE")} - {"Private_Directory", "Job_Processing_Informations_File"}
    assert {e.text for e in ours.iter("NATURE")} == natures
    for path in ("Radiometric_Informations/Special_Values_List", "Product_Characteristics/Band_Group_List"):
        a, b = true.find(path), ours.find(path)
        assert a is not None and b is not None
        assert [(e.tag, e.attrib, (e.text or "").strip()) for e in a.iter()] == [
            (e.tag, e.attrib, (e.text or "").strip()) for e in b.iter()
        ]
    bits = [
        {(e.get("group_id"), e.get("band_id"), e.get("bit_number"), (e.text or "")[-10:]) for e in r.iter("MASK_FILE")}
        for r in (true, ours)
    ]
    assert bits[0] == bits[1]


def test_angle_grids(archive: Archive) -> None:
    for product in archive.products:
        root = ElementTree.parse(next(product.glob("*_MTD_ALL.xml"))).getroot()
        sun = root.find("Geometric_Informations/Angles_Grids_List/Sun_Angles_Grids/Zenith/Values_List")
        assert sun is not None
        zenith = np.array([[float(v) for v in (row.text or "").split()] for row in sun])
        assert zenith.shape == (23, 23)
        # the sun is lower in the north, and lower in the west before noon
        assert zenith[0, 0] > zenith[-1, 0] and zenith[0, 0] > zenith[0, -1]
        seen = np.zeros((23, 23), int)
        strips = root.findall(
            ".//Band_Viewing_Incidence_Angles_Grids_List[@band_id='B8']/Viewing_Incidence_Angles_Grids"
        )
        for strip in strips:
            values = [
                [float(v) for v in (row.text or "").split()] for row in strip.findall("Zenith/Values_List/VALUES")
            ]
            seen += np.isfinite(values)
        assert seen.max() == 1
        assert len(strips) >= 3


@pytest.mark.parametrize("order", ["C", "D"])
def test_cloud_bits_of_both_orders(order: str, tmp_path: Path) -> None:
    made = generate(
        tmp_path / "a",
        size=60,
        dates=4,
        tiles=("31TGK",),
        distribution=order,
        bands=("B04",),
        sre=False,
        truth=False,
        workers=1,
    )
    seen = 0
    for product in made.products:
        assert f"_{order}_V3-0" in product.name
        with rasterio.open(raster(product, "CLM_R1")) as src:
            clm = src.read(1)
        seen |= int(np.bitwise_or.reduce(clm, axis=None))
        shadow = {"C": 0b1100, "D": 0b110_0000}[order]
        both = (clm & 2) > 0
        shaded = (clm & shadow) > 0
        np.testing.assert_array_equal((clm & 1) > 0, both | shaded)
        assert not (both & shaded).any()
    assert seen & 0b11 == 0b11


def test_strips_without_compression(tmp_path: Path) -> None:
    made = generate(
        tmp_path / "a",
        size=60,
        dates=1,
        tiles=("31TGK",),
        cog=False,
        compression="none",
        sre=False,
        truth=False,
        workers=1,
    )
    with rasterio.open(raster(made.products[0], "FRE_B2")) as src:
        assert src.block_shapes[0][1] == src.width
        assert src.compression is None


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    families = ("muscate", "l1c", "landsat")
    options = {"size": 60, "dates": 1, "tiles": ("31TGK",), "families": families, "workers": 1}

    def content(name: str, **more: object) -> dict[str, bytes]:
        folder = generate(tmp_path / name, **options, **more).folder  # type: ignore[arg-type]
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    first = content("a")
    assert first == content("b")
    other = content("c", seed=8)
    assert first.keys() == other.keys()
    assert sum(first[k] != other[k] for k in first) > len(first) / 2


def test_a_folder_with_other_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="not a demo archive"):
        generate(tmp_path, size=60, dates=1)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_an_archive_replaces_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    options = {"size": 60, "tiles": ("31TGK",), "bands": ("B04",), "sre": False, "truth": False, "workers": 1}
    first = generate(tmp_path / "a", dates=2, **options)  # type: ignore[arg-type]
    (tmp_path / "a" / "mine.txt").write_text("keep")
    second = generate(tmp_path / "a", dates=1, **options)  # type: ignore[arg-type]
    assert not any(p.exists() for p in first.products if p not in second.products)
    assert sorted((tmp_path / "a").glob("SENTINEL2*")) == second.products
    assert (tmp_path / "a" / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"size": 100}, "multiple of 6"),
        ({"bands": ("B01",)}, "bands must be"),
        ({"dates": 0}, "at least one"),
        ({"families": ("spot",)}, "families"),
    ],
)
def test_impossible_options(tmp_path: Path, options: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        generate(tmp_path / "a", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()
