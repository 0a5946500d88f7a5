"""``MTD_ALL.xml`` of a MUSCATE L2A product, element by element as true products of format 1.16 have it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, ElementTree, indent, tostring

from numpy.typing import NDArray

from backend.demo import angles
from backend.demo.spectra import PHYSICAL_GAIN, S2_RESOLUTION, SOLAR_IRRADIANCE
from backend.demo.xml import add, add_spectrum
from processes.band_names import padded

if TYPE_CHECKING:
    from backend.demo.muscate import MuscateOptions
    from backend.demo.observe import Acquisition

GROUPS = {"R1": ("B2", "B3", "B4", "B8"), "R2": ("B5", "B6", "B7", "B8A", "B11", "B12")}
ALL_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")

_BIT_MASKS = (
    ("Water", "MG2", 1), ("Cloud", "MG2", 2), ("Snow", "MG2", 3), ("Cloud_Shadow", "MG2", 4),
    ("Topography_Shadow", "MG2", 5), ("Hidden_Surface", "MG2", 6), ("Sun_Too_Low", "MG2", 7), ("Tangent_Sun", "MG2", 8),
)  # fmt: skip


def metadata(acquisition: Acquisition, options: MuscateOptions, name: str, cloud: int, snow: int) -> str:
    """The document as text.

    Parameters
    ----------
    name : product name
    cloud, snow : percent of the valid pixels
    """
    root = Element(
        "Muscate_Metadata_Document",
        {
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": "Muscate_Metadata.xsd",
        },
    )
    _identification(root, acquisition, name)
    _characteristics(root, acquisition, options, name)
    product = add(add(root, "Product_Organisation"), "Muscate_Product")
    _organisation(product, options, name)
    _geoposition(root, acquisition)
    _geometry(root, acquisition)
    _radiometry(root)
    _quality(root, acquisition, name, cloud, snow)
    _production(root, acquisition, name)
    indent(ElementTree(root), "    ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _times(acquisition: Acquisition) -> tuple[str, str]:
    """Acquisition and production instants; the production is three days later, so it is the same in every run."""
    when = acquisition.track.time
    made = when + timedelta(days=3)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z", f"{made:%Y-%m-%dT%H:%M:%S}.000000Z"


def _identification(root: Element, acquisition: Acquisition, name: str) -> None:
    part = add(root, "Metadata_Identification")
    add(part, "METADATA_FORMAT", "METADATA_MUSCATE", version="1.16")
    add(part, "METADATA_PROFILE", "USER")
    add(part, "METADATA_INFORMATION", "EXPERT")
    part = add(root, "Dataset_Identification")
    add(part, "IDENTIFIER", name.rsplit("_V", 1)[0])
    add(part, "AUTHORITY", "THEIA")
    # what is synthetic says so
    add(part, "PRODUCER", "TUILE_DEMO")
    add(part, "PROJECT", "SENTINEL2")
    add(part, "GEOGRAPHICAL_ZONE", f"T{acquisition.tile.name}", type="Tile")


def _characteristics(root: Element, acquisition: Acquisition, options: MuscateOptions, name: str) -> None:
    part = add(root, "Product_Characteristics")
    acquired, produced = _times(acquisition)
    add(part, "PRODUCT_ID", name)
    add(part, "ACQUISITION_DATE", acquired)
    add(part, "PRODUCTION_DATE", produced)
    add(part, "PRODUCT_VERSION", options.version.replace("-", "."))
    add(part, "PRODUCT_LEVEL", "L2A")
    add(part, "PLATFORM", f"SENTINEL2{acquisition.track.platform}")
    add(part, "ORBIT_NUMBER", acquisition.track.absolute_orbit, type="Orbit")
    span = add(part, "UTC_Acquisition_Range")
    add(span, "MEAN", acquired)
    add(span, "DATE_PRECISION", "0.001", unit="s")
    _bands(add(part, "Band_Global_List", count=str(len(ALL_BANDS))), ALL_BANDS)
    groups = add(part, "Band_Group_List")
    for group, bands in GROUPS.items():
        _bands(add(add(groups, "Group", group_id=group), "Band_List", count=str(len(bands))), bands)


def _bands(parent: Element, bands: Iterable[str]) -> None:
    for band in bands:
        add(parent, "BAND_ID", band)


def _properties(parent: Element, tag: str, nature: str, encoding: str, compression: str) -> None:
    part = add(parent, f"{tag}_Properties")
    add(part, "NATURE", nature)
    add(part, "FORMAT", "image/tiff")
    add(part, "ENCODING", encoding)
    add(part, "ENDIANNESS", "LittleEndian")
    add(part, "COMPRESSION", compression)


def _organisation(product: Element, options: MuscateOptions, name: str) -> None:
    packed = "None" if options.layout.compression == "none" else options.layout.compression.upper()
    written = [b for b in ALL_BANDS if padded(b) in options.bands]
    if {"B2", "B3", "B4"} <= set(written):
        add(product, "QUICKLOOK", f"{name}_QKL_ALL.jpg", bands_id="B4,B3,B2")
    images = add(product, "Image_List")
    kinds = (("Surface_Reflectance", "SRE"), ("Flat_Reflectance", "FRE"))
    for nature, kind in kinds if options.sre else kinds[1:]:
        image = add(images, "Image")
        _properties(image, "Image", nature, "int16", packed)
        files = add(image, "Image_File_List")
        for band in written:
            add(files, "IMAGE_FILE", f"{name}_{kind}_{band}.tif", band_id=band)
    for number, nature in (("1", "Water_Vapor_Content"), ("2", "Aerosol_Optical_Thickness")):
        image = add(images, "Image")
        _properties(image, "Image", nature, "byte", packed)
        files = add(image, "Image_File_List")
        for group in GROUPS:
            add(files, "IMAGE_FILE", f"{name}_ATB_{group}.tif", group_id=group, band_number=number)
    _mask_list(add(product, "Mask_List"), name, packed)


def _mask_list(masks: Element, name: str, packed: str) -> None:
    def mask(nature: str) -> Element:
        element = add(masks, "Mask")
        _properties(element, "Mask", nature, "byte", packed)
        return add(element, "Mask_File_List")

    def per_group(nature: str, kind: str, bit: int | None) -> None:
        files = mask(nature)
        for group in GROUPS:
            attributes = {"group_id": group} | ({"bit_number": str(bit)} if bit else {})
            add(files, "MASK_FILE", f"MASKS/{name}_{kind}_{group}.tif", **attributes)

    per_group("WVC_Interpolation", "IAB", 1)
    per_group("AOT_Interpolation", "IAB", 2)
    per_group("Detailed_Cloud", "CLM", None)
    per_group("Edge", "EDG", None)
    files = mask("Saturation")
    for group, bands in GROUPS.items():
        for bit, band in enumerate(bands, 1):
            add(files, "MASK_FILE", f"MASKS/{name}_SAT_{group}.tif", band_id=band, bit_number=str(bit))
    for nature, kind, bit in _BIT_MASKS:
        per_group(nature, kind, bit)


def _geoposition(root: Element, acquisition: Acquisition) -> None:
    tile = acquisition.tile
    part = add(root, "Geoposition_Informations")
    crs = add(part, "Coordinate_Reference_System")
    add(crs, "GEO_TABLES", "EPSG")
    horizontal = add(crs, "Horizontal_Coordinate_System")
    zone, hemisphere = tile.epsg % 100, "N" if tile.epsg < 32700 else "S"
    add(horizontal, "HORIZONTAL_CS_TYPE", "PROJECTED")
    add(horizontal, "HORIZONTAL_CS_NAME", f"WGS 84 / UTM zone {zone}{hemisphere}")
    add(horizontal, "HORIZONTAL_CS_CODE", tile.epsg)
    for frame in ("Raster_CS", "Metadata_CS"):
        cs = add(part, frame)
        add(cs, f"{frame.upper()}_TYPE", "CELL")
        add(cs, "PIXEL_ORIGIN", "0")
    position = add(part, "Geopositioning")
    corners = add(position, "Global_Geopositioning")
    side = tile.size * 10
    for label, dx, dy in (
        ("upperLeft", 0, 0), ("upperRight", side, 0), ("lowerRight", side, side), ("lowerLeft", 0, side),
        ("center", side / 2, side / 2),
    ):  # fmt: skip
        lon, lat = tile.lonlat(tile.ulx + dx, tile.uly - dy)
        point = add(corners, "Point", name=label)
        add(point, "LAT", f"{lat:.9g}")
        add(point, "LON", f"{lon:.9g}")
        add(point, "X", f"{tile.ulx + dx:g}" if dx % 1 else int(tile.ulx + dx))
        add(point, "Y", f"{tile.uly - dy:g}" if dy % 1 else int(tile.uly - dy))
    groups = add(position, "Group_Geopositioning_List")
    for group, resolution in (("R1", 10), ("R2", 20)):
        entry = add(groups, "Group_Geopositioning", group_id=group)
        _, size = tile.resized(resolution)
        for tag, value in (
            ("ULX", tile.ulx), ("ULY", tile.uly), ("XDIM", resolution), ("YDIM", -resolution), ("NROWS", size), ("NCOLS", size),
        ):  # fmt: skip
            add(entry, tag, value)


def _angle_pair(parent: Element, zenith: NDArray, azimuth: NDArray) -> None:
    for tag, values in (("Zenith", zenith), ("Azimuth", azimuth)):
        grid = add(parent, tag, step_unit="m", values_unit="deg")
        add(grid, "COL_STEP", angles.STEP)
        add(grid, "ROW_STEP", angles.STEP)
        rows = add(grid, "Values_List")
        for line in angles.rows_of(values, 4):
            add(rows, "VALUES", line)


def _geometry(root: Element, acquisition: Acquisition) -> None:
    part = add(root, "Geometric_Informations")
    means = add(part, "Mean_Value_List")
    zenith, azimuth = angles.mean_sun(acquisition)
    sun = add(means, "Sun_Angles")
    add(sun, "ZENITH_ANGLE", f"{zenith:.6g}", unit="deg")
    add(sun, "AZIMUTH_ANGLE", f"{azimuth:.6g}", unit="deg")
    views = add(means, "Mean_Viewing_Incidence_Angle_List")
    for band in ALL_BANDS:
        zenith, azimuth = angles.mean_view(acquisition, padded(band))
        view = add(views, "Mean_Viewing_Incidence_Angle", band_id=band)
        add(view, "ZENITH_ANGLE", f"{zenith:.6g}", unit="deg")
        add(view, "AZIMUTH_ANGLE", f"{azimuth:.6g}", unit="deg")
    grids = add(part, "Angles_Grids_List")
    _angle_pair(add(grids, "Sun_Angles_Grids"), *angles.sun_grids(acquisition))
    lists = add(grids, "Viewing_Incidence_Angles_Grids_List")
    for band in ALL_BANDS:
        entry = add(lists, "Band_Viewing_Incidence_Angles_Grids_List", band_id=band)
        for number, view_zenith, view_azimuth in angles.view_grids(acquisition, padded(band)):
            strip = add(entry, "Viewing_Incidence_Angles_Grids", detector_id=f"{number:02d}")
            _angle_pair(strip, view_zenith, view_azimuth)


def _radiometry(root: Element) -> None:
    part = add(root, "Radiometric_Informations")
    add(part, "REFLECTANCE_QUANTIFICATION_VALUE", "10000")
    add(part, "WATER_VAPOR_CONTENT_QUANTIFICATION_VALUE", "20")
    add(part, "AEROSOL_OPTICAL_THICKNESS_QUANTIFICATION_VALUE", "200")
    special = add(part, "Special_Values_List")
    for label, value in (
        ("nodata", -10000),
        ("water_vapor_content_nodata", 0),
        ("aerosol_optical_thickness_nodata", 0),
    ):
        add(special, "SPECIAL_VALUE", value, name=label)
    bands = add(part, "Spectral_Band_Informations_List")
    for band in ALL_BANDS:
        long = padded(band)
        entry = add(bands, "Spectral_Band_Informations", band_id=band)
        native = add(add(entry, "Calibration_Coefficients_Lists"), "Native_Coefficients_List")
        add(native, "COEFFICIENT", PHYSICAL_GAIN[long], name="PhysicalGain")
        add(entry, "SOLAR_IRRADIANCE", SOLAR_IRRADIANCE[long], unit="W/m²/µm")
        add(entry, "SPATIAL_RESOLUTION", S2_RESOLUTION[long], unit="m")
        add_spectrum(entry, long, 6)


def _quality(root: Element, acquisition: Acquisition, name: str, cloud: int, snow: int) -> None:
    current = add(add(root, "Quality_Informations"), "Current_Product")
    quality = add(add(current, "Product_Quality_List", level="N2"), "Product_Quality")
    source = add(quality, "Source_Product")
    acquired, produced = _times(acquisition)
    add(source, "PRODUCT_ID", name)
    add(source, "ACQUISITION_DATE", acquired)
    add(source, "PRODUCTION_DATE", produced)
    indices = add(quality, "Global_Index_List")
    for label, value in (
        ("CloudPercent", cloud), ("SnowPercent", snow), ("RainDetected", "false"), ("HotSpotDetected", "false"),
        ("SunGlintDetected", "false"),
    ):  # fmt: skip
        add(indices, "QUALITY_INDEX", value, name=label)


def _production(root: Element, acquisition: Acquisition, name: str) -> None:
    acquired, produced = _times(acquisition)
    job = add(add(add(root, "Production_Informations"), "Processing_Jobs_List"), "Job")
    add(job, "WORKPLAN_ID", "tuile_demo_archive")
    add(job, "STEP_ID", "demo_archive")
    add(job, "JOB_ID", "1")
    add(job, "PRODUCER_NAME", "TUILE_DEMO")
    add(job, "START_PRODUCTION_DATE", produced)
    add(job, "END_PRODUCTION_DATE", produced)
    products = add(job, "Products_List")
    for side, level in (("Inputs_List", "L1C"), ("Outputs_List", "L2A")):
        product = add(add(products, side), "PRODUCT")
        add(product, "PRODUCT_ID", name.replace("_L2A_", f"_{level}_"))
        add(product, "ACQUISITION_DATE", acquired)
        add(product, "PRODUCTION_DATE", produced)
