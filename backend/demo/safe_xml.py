"""Names, metadata and manifest of a Sentinel-2 L1C SAFE product, processing baseline 05.10 (PSD 14)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, indent, tostring

from numpy.typing import NDArray

from backend.demo import angles
from backend.demo.geometry import earth_sun_factor
from backend.demo.observe import Acquisition
from backend.demo.spectra import PHYSICAL_GAIN, S2_BANDS, S2_RESOLUTION, SOLAR_IRRADIANCE
from backend.demo.xml import add, add_spectrum
from processes.band_names import short

BASELINE = "05.10"
RADIO_ADD_OFFSET = -1000
PSD = "https://psd-14.sentinel2.eo.esa.int/PSD/"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"


def _stamp(when: datetime) -> str:
    return f"{when:%Y%m%dT%H%M%S}"


def _instant(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


@dataclass(frozen=True)
class Names:
    """Names of the product and its granule; `image` starts the names of the rasters."""

    product: str
    granule: str
    image: str
    tile_id: str
    datastrip_id: str
    datatake: str
    made: datetime

    @classmethod
    def of(cls, acquisition: Acquisition) -> Names:
        """Names of an acquisition; the product is made two hours after it."""
        track, tile = acquisition.track, acquisition.tile
        made, number = track.time + timedelta(hours=2), BASELINE.replace(".", "")
        sat, start, done = f"S2{track.platform}", _stamp(track.time), _stamp(track.time + timedelta(hours=2))
        return cls(
            product=f"{sat}_MSIL1C_{start}_N{number}_R{track.relative_orbit:03d}_T{tile.name}_{done}.SAFE",
            granule=f"L1C_T{tile.name}_A{track.absolute_orbit:06d}_{start}",
            image=f"T{tile.name}_{start}",
            tile_id=f"{sat}_OPER_MSI_L1C_TL_2APS_{done}_A{track.absolute_orbit:06d}_T{tile.name}_N{BASELINE}",
            datastrip_id=f"{sat}_OPER_MSI_L1C_DS_2APS_{done}_S{start}_N{BASELINE}",
            datatake=f"G{sat}_{start}_{track.absolute_orbit:06d}_N{BASELINE}",
            made=made,
        )


def _save(root: Element, path: Path) -> None:
    indent(ElementTree(root), "  ")
    path.parent.mkdir(parents=True, exist_ok=True)
    header = '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n'
    path.write_text(header + tostring(root, encoding="unicode") + "\n", encoding="utf-8")


def write(folder: Path, acquisition: Acquisition, names: Names, cloud: float, snow: float) -> None:
    """Write MTD_MSIL1C.xml, MTD_TL.xml and manifest.safe beside the rasters, which must be there.

    Parameters
    ----------
    cloud, snow : percent of the valid pixels
    """
    _save(_product(acquisition, names, cloud, snow), folder / "MTD_MSIL1C.xml")
    _save(_tile(acquisition, names, cloud, snow), folder / "GRANULE" / names.granule / "MTD_TL.xml")
    _manifest(folder, acquisition)


def _product(acquisition: Acquisition, names: Names, cloud: float, snow: float) -> Element:
    root = Element("n1:Level-1C_User_Product", {"xmlns:n1": f"{PSD}User_Product_Level-1C.xsd", "xmlns:xsi": _XSI})
    root.set("xsi:schemaLocation", f"{PSD}User_Product_Level-1C.xsd")
    general = add(root, "n1:General_Info")
    _product_info(add(general, "Product_Info"), acquisition, names)
    _image_characteristics(add(general, "Product_Image_Characteristics"), acquisition)
    geometry = add(root, "n1:Geometric_Info")
    footprint = add(geometry, "Product_Footprint")
    corners = add(add(footprint, "Product_Footprint"), "Global_Footprint")
    add(corners, "EXT_POS_LIST", " ".join(_corners(acquisition)) + " ")
    add(footprint, "RASTER_CS_TYPE", "POINT")
    add(footprint, "PIXEL_ORIGIN", "1")
    crs = add(geometry, "Coordinate_Reference_System")
    add(crs, "GEO_TABLES", "EPSG", version="1")
    add(crs, "HORIZONTAL_CS_TYPE", "GEOGRAPHIC")
    auxiliary = add(root, "n1:Auxiliary_Data_Info")
    add(auxiliary, "GIPP_List")
    add(auxiliary, "PRODUCTION_DEM_TYPE", "TUILE_DEMO_TERRAIN")
    add(auxiliary, "GRI_List")
    quality = add(root, "n1:Quality_Indicators_Info")
    add(quality, "Cloud_Coverage_Assessment", f"{cloud:.10g}")
    add(quality, "Snow_Coverage_Assessment", f"{snow:.10g}")
    technical = add(quality, "Technical_Quality_Assessment")
    add(technical, "DEGRADED_ANC_DATA_PERCENTAGE", "0.0")
    add(technical, "DEGRADED_MSI_DATA_PERCENTAGE", "0")
    checks = add(quality, "Quality_Control_Checks")
    inspections = add(checks, "Quality_Inspections")
    for check in (
        "FORMAT_CORRECTNESS",
        "GENERAL_QUALITY",
        "GEOMETRIC_QUALITY",
        "RADIOMETRIC_QUALITY",
        "SENSOR_QUALITY",
    ):
        add(inspections, "quality_check", "PASSED", checkType=check)
    add(checks, "Failed_Inspections")
    return root


def _corners(acquisition: Acquisition) -> list[str]:
    """Latitude and longitude around the window, closed, clockwise from the upper left."""
    tile, side = acquisition.tile, acquisition.tile.size * 10
    out = []
    for dx, dy in ((0, 0), (side, 0), (side, side), (0, side), (0, 0)):
        lon, lat = tile.lonlat(tile.ulx + dx, tile.uly - dy)
        out += [f"{lat:.15g}", f"{lon:.15g}"]
    return out


def _product_info(info: Element, acquisition: Acquisition, names: Names) -> None:
    track = acquisition.track
    for tag, value in (
        ("PRODUCT_START_TIME", _instant(track.time)),
        ("PRODUCT_STOP_TIME", _instant(track.time)),
        ("PRODUCT_URI", names.product),
        ("PROCESSING_LEVEL", "Level-1C"),
        ("PRODUCT_TYPE", "S2MSI1C"),
        ("PROCESSING_BASELINE", BASELINE),
        ("PRODUCT_DOI", "Not applicable"),
        ("GENERATION_TIME", f"{names.made:%Y-%m-%dT%H:%M:%S}.000000Z"),
        ("PREVIEW_IMAGE_URL", "Not applicable"),
        ("PREVIEW_GEO_INFO", "Not applicable"),
    ):
        add(info, tag, value)
    take = add(info, "Datatake", datatakeIdentifier=names.datatake)
    add(take, "SPACECRAFT_NAME", f"Sentinel-2{track.platform}")
    add(take, "DATATAKE_TYPE", "INS-NOBS")
    add(take, "DATATAKE_SENSING_START", _instant(track.time))
    add(take, "SENSING_ORBIT_NUMBER", track.relative_orbit)
    add(take, "SENSING_ORBIT_DIRECTION", "DESCENDING")
    query = add(info, "Query_Options", completeSingleTile="true")
    add(query, "PRODUCT_FORMAT", "SAFE_COMPACT")
    granule = add(
        add(add(info, "Product_Organisation"), "Granule_List"),
        "Granule",
        datastripIdentifier=names.datastrip_id,
        granuleIdentifier=names.tile_id,
        imageFormat="JPEG2000",
    )
    for image in (*S2_BANDS, "TCI"):
        add(granule, "IMAGE_FILE", f"GRANULE/{names.granule}/IMG_DATA/{names.image}_{image}")


def _image_characteristics(part: Element, acquisition: Acquisition) -> None:
    for text, value in (("NODATA", 0), ("SATURATED", 65535)):
        special = add(part, "Special_Values")
        add(special, "SPECIAL_VALUE_TEXT", text)
        add(special, "SPECIAL_VALUE_INDEX", value)
    order = add(part, "Image_Display_Order")
    for channel, index in (("RED", 3), ("GREEN", 2), ("BLUE", 1)):
        add(order, f"{channel}_CHANNEL", index)
    add(part, "QUANTIFICATION_VALUE", 10000, unit="none")
    offsets = add(part, "Radiometric_Offset_List")
    for k in range(len(S2_BANDS)):
        add(offsets, "RADIO_ADD_OFFSET", RADIO_ADD_OFFSET, band_id=str(k))
    conversion = add(part, "Reflectance_Conversion")
    add(conversion, "U", f"{earth_sun_factor(acquisition.track.time):.15g}")
    irradiance = add(conversion, "Solar_Irradiance_List")
    for k, band in enumerate(S2_BANDS):
        add(irradiance, "SOLAR_IRRADIANCE", SOLAR_IRRADIANCE[band], bandId=str(k), unit="W/m²/µm")
    spectra = add(part, "Spectral_Information_List")
    for k, band in enumerate(S2_BANDS):
        entry = add(spectra, "Spectral_Information", bandId=str(k), physicalBand=short(band))
        add(entry, "RESOLUTION", S2_RESOLUTION[band])
        add_spectrum(entry, band, 8)
    for k, band in enumerate(S2_BANDS):
        add(part, "PHYSICAL_GAINS", PHYSICAL_GAIN[band], bandId=str(k))


def _grid(parent: Element, zenith: NDArray, azimuth: NDArray) -> None:
    for tag, values in (("Zenith", zenith), ("Azimuth", azimuth)):
        grid = add(parent, tag)
        add(grid, "COL_STEP", angles.STEP, unit="m")
        add(grid, "ROW_STEP", angles.STEP, unit="m")
        rows = add(grid, "Values_List")
        for line in angles.rows_of(values, 4):
            add(rows, "VALUES", line)


def _pair(parent: Element, zenith: float, azimuth: float) -> None:
    add(parent, "ZENITH_ANGLE", f"{zenith:.15g}", unit="deg")
    add(parent, "AZIMUTH_ANGLE", f"{azimuth:.15g}", unit="deg")


def _tile(acquisition: Acquisition, names: Names, cloud: float, snow: float) -> Element:
    root = Element("n1:Level-1C_Tile_ID", {"xmlns:n1": f"{PSD}S2_PDI_Level-1C_Tile_Metadata.xsd", "xmlns:xsi": _XSI})
    root.set("xsi:schemaLocation", f"{PSD}S2_PDI_Level-1C_Tile_Metadata.xsd")
    general = add(root, "n1:General_Info")
    add(general, "TILE_ID", names.tile_id, metadataLevel="Brief")
    add(general, "DATASTRIP_ID", names.datastrip_id, metadataLevel="Standard")
    add(general, "DOWNLINK_PRIORITY", "NOMINAL", metadataLevel="Standard")
    add(general, "SENSING_TIME", f"{acquisition.track.time:%Y-%m-%dT%H:%M:%S.%f}Z", metadataLevel="Standard")
    archiving = add(general, "Archiving_Info", metadataLevel="Expertise")
    add(archiving, "ARCHIVING_CENTRE", "2APS")
    add(archiving, "ARCHIVING_TIME", f"{names.made:%Y-%m-%dT%H:%M:%S}.000000Z")
    geometry = add(root, "n1:Geometric_Info")
    _geocoding(add(geometry, "Tile_Geocoding", metadataLevel="Brief"), acquisition)
    tile_angles = add(geometry, "Tile_Angles", metadataLevel="Standard")
    _grid(add(tile_angles, "Sun_Angles_Grid"), *angles.sun_grids(acquisition))
    _pair(add(tile_angles, "Mean_Sun_Angle"), *angles.mean_sun(acquisition))
    for k, band in enumerate(S2_BANDS):
        for number, zenith, azimuth in angles.view_grids(acquisition, band):
            strip = add(tile_angles, "Viewing_Incidence_Angles_Grids", bandId=str(k), detectorId=str(number))
            _grid(strip, zenith, azimuth)
    means = add(tile_angles, "Mean_Viewing_Incidence_Angle_List")
    for k, band in enumerate(S2_BANDS):
        _pair(add(means, "Mean_Viewing_Incidence_Angle", bandId=str(k)), *angles.mean_view(acquisition, band))
    quality = add(root, "n1:Quality_Indicators_Info", metadataLevel="Standard")
    content = add(quality, "Image_Content_QI")
    add(content, "CLOUDY_PIXEL_PERCENTAGE", f"{cloud:.10g}")
    add(content, "DEGRADED_MSI_DATA_PERCENTAGE", "0")
    add(content, "SNOW_PIXEL_PERCENTAGE", f"{snow:.10g}")
    masks = add(quality, "Pixel_Level_QI", geometry="FULL_RESOLUTION")
    path = f"GRANULE/{names.granule}/QI_DATA"
    for k, band in enumerate(S2_BANDS):
        for kind in ("MSK_DETFOO", "MSK_QUALIT"):
            add(masks, "MASK_FILENAME", f"{path}/{kind}_{band}.jp2", bandId=str(k), type=kind)
    add(masks, "MASK_FILENAME", f"{path}/MSK_CLASSI_B00.jp2", type="MSK_CLASSI")
    add(quality, "PVI_FILENAME", f"{path}/{names.image}_PVI.jp2")
    return root


def _geocoding(part: Element, acquisition: Acquisition) -> None:
    tile = acquisition.tile
    hemisphere = "N" if tile.epsg < 32700 else "S"
    add(part, "HORIZONTAL_CS_NAME", f"WGS84 / UTM zone {tile.epsg % 100}{hemisphere}")
    add(part, "HORIZONTAL_CS_CODE", f"EPSG:{tile.epsg}")
    for resolution in (10, 20, 60):
        _, size = tile.resized(resolution)
        entry = add(part, "Size", resolution=str(resolution))
        add(entry, "NROWS", size)
        add(entry, "NCOLS", size)
    for resolution in (10, 20, 60):
        entry = add(part, "Geoposition", resolution=str(resolution))
        for tag, value in (("ULX", tile.ulx), ("ULY", tile.uly), ("XDIM", resolution), ("YDIM", -resolution)):
            add(entry, tag, value)


def _manifest(folder: Path, acquisition: Acquisition) -> None:
    """``manifest.safe``: every file with its size and checksum (MD5 is what the format asks for)."""
    root = Element(
        "xfdu:XFDU",
        {
            "xmlns:gml": "http://www.opengis.net/gml",
            "xmlns:safe": "http://www.esa.int/safe/sentinel/1.1",
            "xmlns:xfdu": "urn:ccsds:schema:xfdu:1",
            "version": "esa/safe/sentinel/1.1/sentinel-2/msi/archive_l1c_user_product",
        },
    )
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    units = add(add(root, "informationPackageMap"), "xfdu:contentUnit", textInfo="SENTINEL-2 MSI Level-1C User Product")
    units.set("unitType", "Product_Level-1C")
    metadata = add(root, "metadataSection")
    platform = add(metadata, "metadataObject", ID="platform", category="DMD", classification="DESCRIPTION")
    data = add(
        add(platform, "metadataWrap", mimeType="text/xml", vocabularyName="SAFE", textInfo="Platform"), "xmlData"
    )
    entry = add(data, "safe:platform")
    add(entry, "safe:familyName", "SENTINEL")
    add(entry, "safe:number", f"2{acquisition.track.platform}")
    objects = add(root, "dataObjectSection")
    for path in files:
        key = path.relative_to(folder).as_posix().replace("/", "_").replace(".", "_")
        unit = add(units, "xfdu:contentUnit", ID=f"{key}_Unit", unitType="Measurement Data Unit")
        add(unit, "dataObjectPointer", dataObjectID=key)
        kind = "text/xml" if path.suffix == ".xml" else "application/octet-stream"
        body = path.read_bytes()
        stream = add(add(objects, "dataObject", ID=key), "byteStream", mimeType=kind, size=str(len(body)))
        add(stream, "fileLocation", locatorType="URL", href=f"./{path.relative_to(folder).as_posix()}")
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        add(stream, "checksum", digest, checksumName="MD5")
    _save(root, folder / "manifest.safe")
