"""Names, metadata and manifest of a Sentinel-2 L1C SAFE product, processing baseline 05.10 (PSD 14)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent, tostring

from numpy.typing import NDArray

from backend.demo import angles
from backend.demo.geometry import earth_sun_factor
from backend.demo.observe import Acquisition
from backend.demo.spectra import PHYSICAL_GAIN, S2_BANDS, S2_CENTRE, S2_RESOLUTION, SOLAR_IRRADIANCE, spectral_response

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


def _add(parent: Element, tag: str, text: Any = None, **attributes: str) -> Element:
    element = SubElement(parent, tag, attributes)
    if text is not None:
        element.text = str(text)
    return element


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
    general = _add(root, "n1:General_Info")
    _product_info(_add(general, "Product_Info"), acquisition, names)
    _image_characteristics(_add(general, "Product_Image_Characteristics"), acquisition)
    geometry = _add(root, "n1:Geometric_Info")
    footprint = _add(geometry, "Product_Footprint")
    corners = _add(_add(footprint, "Product_Footprint"), "Global_Footprint")
    _add(corners, "EXT_POS_LIST", " ".join(_corners(acquisition)) + " ")
    _add(footprint, "RASTER_CS_TYPE", "POINT")
    _add(footprint, "PIXEL_ORIGIN", "1")
    crs = _add(geometry, "Coordinate_Reference_System")
    _add(crs, "GEO_TABLES", "EPSG", version="1")
    _add(crs, "HORIZONTAL_CS_TYPE", "GEOGRAPHIC")
    auxiliary = _add(root, "n1:Auxiliary_Data_Info")
    _add(auxiliary, "GIPP_List")
    _add(auxiliary, "PRODUCTION_DEM_TYPE", "TUILE_DEMO_TERRAIN")
    _add(auxiliary, "GRI_List")
    quality = _add(root, "n1:Quality_Indicators_Info")
    _add(quality, "Cloud_Coverage_Assessment", f"{cloud:.10g}")
    _add(quality, "Snow_Coverage_Assessment", f"{snow:.10g}")
    technical = _add(quality, "Technical_Quality_Assessment")
    _add(technical, "DEGRADED_ANC_DATA_PERCENTAGE", "0.0")
    _add(technical, "DEGRADED_MSI_DATA_PERCENTAGE", "0")
    checks = _add(quality, "Quality_Control_Checks")
    inspections = _add(checks, "Quality_Inspections")
    for check in (
        "FORMAT_CORRECTNESS",
        "GENERAL_QUALITY",
        "GEOMETRIC_QUALITY",
        "RADIOMETRIC_QUALITY",
        "SENSOR_QUALITY",
    ):
        _add(inspections, "quality_check", "PASSED", checkType=check)
    _add(checks, "Failed_Inspections")
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
        _add(info, tag, value)
    take = _add(info, "Datatake", datatakeIdentifier=names.datatake)
    _add(take, "SPACECRAFT_NAME", f"Sentinel-2{track.platform}")
    _add(take, "DATATAKE_TYPE", "INS-NOBS")
    _add(take, "DATATAKE_SENSING_START", _instant(track.time))
    _add(take, "SENSING_ORBIT_NUMBER", track.relative_orbit)
    _add(take, "SENSING_ORBIT_DIRECTION", "DESCENDING")
    query = _add(info, "Query_Options", completeSingleTile="true")
    _add(query, "PRODUCT_FORMAT", "SAFE_COMPACT")
    granule = _add(
        _add(_add(info, "Product_Organisation"), "Granule_List"),
        "Granule",
        datastripIdentifier=names.datastrip_id,
        granuleIdentifier=names.tile_id,
        imageFormat="JPEG2000",
    )
    for image in (*S2_BANDS, "TCI"):
        _add(granule, "IMAGE_FILE", f"GRANULE/{names.granule}/IMG_DATA/{names.image}_{image}")


def _image_characteristics(part: Element, acquisition: Acquisition) -> None:
    for text, value in (("NODATA", 0), ("SATURATED", 65535)):
        special = _add(part, "Special_Values")
        _add(special, "SPECIAL_VALUE_TEXT", text)
        _add(special, "SPECIAL_VALUE_INDEX", value)
    order = _add(part, "Image_Display_Order")
    for channel, index in (("RED", 3), ("GREEN", 2), ("BLUE", 1)):
        _add(order, f"{channel}_CHANNEL", index)
    _add(part, "QUANTIFICATION_VALUE", 10000, unit="none")
    offsets = _add(part, "Radiometric_Offset_List")
    for k in range(len(S2_BANDS)):
        _add(offsets, "RADIO_ADD_OFFSET", RADIO_ADD_OFFSET, band_id=str(k))
    conversion = _add(part, "Reflectance_Conversion")
    _add(conversion, "U", f"{earth_sun_factor(acquisition.track.time):.15g}")
    irradiance = _add(conversion, "Solar_Irradiance_List")
    for k, band in enumerate(S2_BANDS):
        _add(irradiance, "SOLAR_IRRADIANCE", SOLAR_IRRADIANCE[band], bandId=str(k), unit="W/m²/µm")
    spectra = _add(part, "Spectral_Information_List")
    for k, band in enumerate(S2_BANDS):
        physical = "B" + band[1:].lstrip("0")
        entry = _add(spectra, "Spectral_Information", bandId=str(k), physicalBand=physical)
        _add(entry, "RESOLUTION", S2_RESOLUTION[band])
        first, last, response = spectral_response(band)
        wavelength = _add(entry, "Wavelength")
        _add(wavelength, "MIN", first, unit="nm")
        _add(wavelength, "MAX", last, unit="nm")
        _add(wavelength, "CENTRAL", S2_CENTRE[band], unit="nm")
        curve = _add(entry, "Spectral_Response")
        _add(curve, "STEP", 1, unit="nm")
        _add(curve, "VALUES", " ".join(f"{v:.8g}" for v in response))
    for k, band in enumerate(S2_BANDS):
        _add(part, "PHYSICAL_GAINS", PHYSICAL_GAIN[band], bandId=str(k))


def _grid(parent: Element, zenith: NDArray, azimuth: NDArray) -> None:
    for tag, values in (("Zenith", zenith), ("Azimuth", azimuth)):
        grid = _add(parent, tag)
        _add(grid, "COL_STEP", angles.STEP, unit="m")
        _add(grid, "ROW_STEP", angles.STEP, unit="m")
        rows = _add(grid, "Values_List")
        for line in angles.rows_of(values, 4):
            _add(rows, "VALUES", line)


def _pair(parent: Element, zenith: float, azimuth: float) -> None:
    _add(parent, "ZENITH_ANGLE", f"{zenith:.15g}", unit="deg")
    _add(parent, "AZIMUTH_ANGLE", f"{azimuth:.15g}", unit="deg")


def _tile(acquisition: Acquisition, names: Names, cloud: float, snow: float) -> Element:
    root = Element("n1:Level-1C_Tile_ID", {"xmlns:n1": f"{PSD}S2_PDI_Level-1C_Tile_Metadata.xsd", "xmlns:xsi": _XSI})
    root.set("xsi:schemaLocation", f"{PSD}S2_PDI_Level-1C_Tile_Metadata.xsd")
    general = _add(root, "n1:General_Info")
    _add(general, "TILE_ID", names.tile_id, metadataLevel="Brief")
    _add(general, "DATASTRIP_ID", names.datastrip_id, metadataLevel="Standard")
    _add(general, "DOWNLINK_PRIORITY", "NOMINAL", metadataLevel="Standard")
    _add(general, "SENSING_TIME", f"{acquisition.track.time:%Y-%m-%dT%H:%M:%S.%f}Z", metadataLevel="Standard")
    archiving = _add(general, "Archiving_Info", metadataLevel="Expertise")
    _add(archiving, "ARCHIVING_CENTRE", "2APS")
    _add(archiving, "ARCHIVING_TIME", f"{names.made:%Y-%m-%dT%H:%M:%S}.000000Z")
    geometry = _add(root, "n1:Geometric_Info")
    _geocoding(_add(geometry, "Tile_Geocoding", metadataLevel="Brief"), acquisition)
    tile_angles = _add(geometry, "Tile_Angles", metadataLevel="Standard")
    _grid(_add(tile_angles, "Sun_Angles_Grid"), *angles.sun_grids(acquisition))
    _pair(_add(tile_angles, "Mean_Sun_Angle"), *angles.mean_sun(acquisition))
    for k, band in enumerate(S2_BANDS):
        for number, zenith, azimuth in angles.view_grids(acquisition, band):
            strip = _add(tile_angles, "Viewing_Incidence_Angles_Grids", bandId=str(k), detectorId=str(number))
            _grid(strip, zenith, azimuth)
    means = _add(tile_angles, "Mean_Viewing_Incidence_Angle_List")
    for k, band in enumerate(S2_BANDS):
        _pair(_add(means, "Mean_Viewing_Incidence_Angle", bandId=str(k)), *angles.mean_view(acquisition, band))
    quality = _add(root, "n1:Quality_Indicators_Info", metadataLevel="Standard")
    content = _add(quality, "Image_Content_QI")
    _add(content, "CLOUDY_PIXEL_PERCENTAGE", f"{cloud:.10g}")
    _add(content, "DEGRADED_MSI_DATA_PERCENTAGE", "0")
    _add(content, "SNOW_PIXEL_PERCENTAGE", f"{snow:.10g}")
    masks = _add(quality, "Pixel_Level_QI", geometry="FULL_RESOLUTION")
    path = f"GRANULE/{names.granule}/QI_DATA"
    for k, band in enumerate(S2_BANDS):
        for kind in ("MSK_DETFOO", "MSK_QUALIT"):
            _add(masks, "MASK_FILENAME", f"{path}/{kind}_{band}.jp2", bandId=str(k), type=kind)
    _add(masks, "MASK_FILENAME", f"{path}/MSK_CLASSI_B00.jp2", type="MSK_CLASSI")
    _add(quality, "PVI_FILENAME", f"{path}/{names.image}_PVI.jp2")
    return root


def _geocoding(part: Element, acquisition: Acquisition) -> None:
    tile = acquisition.tile
    hemisphere = "N" if tile.epsg < 32700 else "S"
    _add(part, "HORIZONTAL_CS_NAME", f"WGS84 / UTM zone {tile.epsg % 100}{hemisphere}")
    _add(part, "HORIZONTAL_CS_CODE", f"EPSG:{tile.epsg}")
    for resolution in (10, 20, 60):
        _, size = tile.resized(resolution)
        entry = _add(part, "Size", resolution=str(resolution))
        _add(entry, "NROWS", size)
        _add(entry, "NCOLS", size)
    for resolution in (10, 20, 60):
        entry = _add(part, "Geoposition", resolution=str(resolution))
        for tag, value in (("ULX", tile.ulx), ("ULY", tile.uly), ("XDIM", resolution), ("YDIM", -resolution)):
            _add(entry, tag, value)


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
    units = _add(
        _add(root, "informationPackageMap"), "xfdu:contentUnit", textInfo="SENTINEL-2 MSI Level-1C User Product"
    )
    units.set("unitType", "Product_Level-1C")
    metadata = _add(root, "metadataSection")
    platform = _add(metadata, "metadataObject", ID="platform", category="DMD", classification="DESCRIPTION")
    data = _add(
        _add(platform, "metadataWrap", mimeType="text/xml", vocabularyName="SAFE", textInfo="Platform"), "xmlData"
    )
    entry = _add(data, "safe:platform")
    _add(entry, "safe:familyName", "SENTINEL")
    _add(entry, "safe:number", f"2{acquisition.track.platform}")
    objects = _add(root, "dataObjectSection")
    for path in files:
        key = path.relative_to(folder).as_posix().replace("/", "_").replace(".", "_")
        unit = _add(units, "xfdu:contentUnit", ID=f"{key}_Unit", unitType="Measurement Data Unit")
        _add(unit, "dataObjectPointer", dataObjectID=key)
        kind = "text/xml" if path.suffix == ".xml" else "application/octet-stream"
        body = path.read_bytes()
        stream = _add(_add(objects, "dataObject", ID=key), "byteStream", mimeType=kind, size=str(len(body)))
        _add(stream, "fileLocation", locatorType="URL", href=f"./{path.relative_to(folder).as_posix()}")
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        _add(stream, "checksum", digest, checksumName="MD5")
    _save(root, folder / "manifest.safe")
