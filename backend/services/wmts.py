"""OGC Web Map Tile Service 1.0.0 (OGC 07-057r7): the capabilities document, what a request asks for, exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from backend.errors import OpenEOError
from backend.services.encode import MEDIA_TYPES
from backend.services.mercator import HALF, in_degrees, range_of, scale_denominator
from backend.services.messages import About
from backend.services.times import shown_times

LAYER, STYLE, MATRIX_SET = "result", "default", "WebMercatorQuad"
# the same squares under the names clients know them by
MATRIX_SETS = ("webmercatorquad", "googlemapscompatible", "epsg:3857", "epsg:900913")
TEXT = "text/xml"
_NAMESPACES = {
    "": "http://www.opengis.net/wmts/1.0",
    "ows": "http://www.opengis.net/ows/1.1",
    "xlink": "http://www.w3.org/1999/xlink",
}
_OWS = f"{{{_NAMESPACES['ows']}}}"
_WMTS = f"{{{_NAMESPACES['']}}}"
_HREF = f"{{{_NAMESPACES['xlink']}}}href"
for _prefix, _uri in _NAMESPACES.items():
    ET.register_namespace(_prefix, _uri)


@dataclass(frozen=True)
class Asked:
    """A tile as a request names it; ``time`` as the client wrote it."""

    z: int
    x: int
    y: int
    suffix: str | None
    time: str | None


def asked(given: Mapping[str, str]) -> Asked:
    """What a GetTile request (names of its parameters in lower case) asks for.

    Raises ``MissingParameterValue``, ``InvalidParameterValue``, ``TileOutOfRange``.
    """
    for name in ("layer", "tilematrixset", "tilematrix", "tilerow", "tilecol"):
        if not given.get(name):
            raise OpenEOError("MissingParameterValue", f"GetTile needs the parameter {name.upper()}.", data=name)
    if given["layer"] != LAYER:
        raise _invalid("layer", f"there is one layer, '{LAYER}', not '{given['layer']}'")
    if given.get("style", STYLE).lower() not in ("", STYLE):
        raise _invalid("style", f"there is one style, '{STYLE}'")
    if given["tilematrixset"].lower() not in MATRIX_SETS:
        raise _invalid("tilematrixset", f"there is one tile matrix set, '{MATRIX_SET}'")
    suffix = None
    if format := given.get("format"):
        suffix = {v: k for k, v in MEDIA_TYPES.items()}.get(format.lower())
        if suffix is None:
            raise _invalid("format", f"tiles come as {' or '.join(MEDIA_TYPES.values())}")
    matrix = given["tilematrix"].rpartition(":")[2]
    numbers = []
    for name, value in (("tilematrix", matrix), ("tilecol", given["tilecol"]), ("tilerow", given["tilerow"])):
        if not (value.isascii() and value.isdecimal() and len(value) < 10):
            raise _invalid(name, f"'{value}' is not a number")
        numbers.append(int(value))
    z, x, y = numbers
    return Asked(z, x, y, suffix, given.get("time"))


def _invalid(name: str, reason: str) -> OpenEOError:
    return OpenEOError("InvalidParameterValue", f"Parameter {name.upper()}: {reason}.", data=name)


def exception(error: OpenEOError) -> bytes:
    """An OWS exception report."""
    root = ET.Element(f"{_OWS}ExceptionReport", version="1.0.0")
    told = ET.SubElement(root, f"{_OWS}Exception", exceptionCode=error.code)
    if isinstance(error.data, str):
        told.set("locator", error.data)
    ET.SubElement(told, f"{_OWS}ExceptionText").text = _clean(error.message)
    return _document(root)


def capabilities(
    about: About, settings: Mapping[str, Any], url: str, title: str | None, description: str | None
) -> bytes:
    """The capabilities document of a service at ``url``.

    ``settings`` are those of the service, complete.
    """
    root = ET.Element(f"{_WMTS}Capabilities", version="1.0.0")
    who = ET.SubElement(root, f"{_OWS}ServiceIdentification")
    ET.SubElement(who, f"{_OWS}Title").text = _clean(title or "openEO web service")
    if description:
        ET.SubElement(who, f"{_OWS}Abstract").text = _clean(description)
    ET.SubElement(who, f"{_OWS}ServiceType").text = "OGC WMTS"
    ET.SubElement(who, f"{_OWS}ServiceTypeVersion").text = "1.0.0"
    operations = ET.SubElement(root, f"{_OWS}OperationsMetadata")
    for name in ("GetCapabilities", "GetTile"):
        operation = ET.SubElement(operations, f"{_OWS}Operation", name=name)
        http = ET.SubElement(ET.SubElement(operation, f"{_OWS}DCP"), f"{_OWS}HTTP")
        get = ET.SubElement(http, f"{_OWS}Get", {_HREF: f"{url}?"})
        constraint = ET.SubElement(get, f"{_OWS}Constraint", name="GetEncoding")
        ET.SubElement(ET.SubElement(constraint, f"{_OWS}AllowedValues"), f"{_OWS}Value").text = "KVP"
    contents = ET.SubElement(root, f"{_WMTS}Contents")
    _layer(contents, about, settings, url, title, description)
    _matrix_set(contents, settings)
    ET.SubElement(root, f"{_WMTS}ServiceMetadataURL", {_HREF: f"{url}/1.0.0/WMTSCapabilities.xml"})
    return _document(root)


def _layer(
    contents: ET.Element,
    about: About,
    settings: Mapping[str, Any],
    url: str,
    title: str | None,
    description: str | None,
) -> None:
    layer = ET.SubElement(contents, f"{_WMTS}Layer")
    ET.SubElement(layer, f"{_OWS}Title").text = _clean(title or "Result")
    if description:
        ET.SubElement(layer, f"{_OWS}Abstract").text = _clean(description)
    west, south, east, north = in_degrees(about.bounds)
    box = ET.SubElement(layer, f"{_OWS}WGS84BoundingBox")
    ET.SubElement(box, f"{_OWS}LowerCorner").text = f"{west:.8f} {south:.8f}"
    ET.SubElement(box, f"{_OWS}UpperCorner").text = f"{east:.8f} {north:.8f}"
    ET.SubElement(layer, f"{_OWS}Identifier").text = LAYER
    style = ET.SubElement(layer, f"{_WMTS}Style", isDefault="true")
    ET.SubElement(style, f"{_OWS}Identifier").text = STYLE
    media = MEDIA_TYPES[settings["format"]]
    for each in (media, *(m for m in MEDIA_TYPES.values() if m != media)):
        ET.SubElement(layer, f"{_WMTS}Format").text = each
    times = shown_times(about.times)
    if times:
        dimension = ET.SubElement(layer, f"{_WMTS}Dimension")
        ET.SubElement(dimension, f"{_OWS}Identifier").text = "TIME"
        ET.SubElement(dimension, f"{_OWS}UOM").text = "ISO8601"
        ET.SubElement(dimension, f"{_WMTS}Default").text = _clean(times[0])
        ET.SubElement(dimension, f"{_WMTS}Current").text = "false"
        for label in times:
            ET.SubElement(dimension, f"{_WMTS}Value").text = _clean(label)
    link = ET.SubElement(layer, f"{_WMTS}TileMatrixSetLink")
    ET.SubElement(link, f"{_WMTS}TileMatrixSet").text = MATRIX_SET
    limits = ET.SubElement(link, f"{_WMTS}TileMatrixSetLimits")
    for z in range(settings["minzoom"], settings["maxzoom"] + 1):
        first_col, last_col, first_row, last_row = range_of(z, about.bounds)
        limit = ET.SubElement(limits, f"{_WMTS}TileMatrixLimits")
        ET.SubElement(limit, f"{_WMTS}TileMatrix").text = str(z)
        for name, value in (("MinTileRow", first_row), ("MaxTileRow", last_row), ("MinTileCol", first_col), ("MaxTileCol", last_col)):  # fmt: skip
            ET.SubElement(limit, f"{_WMTS}{name}").text = str(value)
    when = "/{TIME}" if times else ""
    for format, each in MEDIA_TYPES.items():
        template = f"{url}/{LAYER}/{{Style}}{when}/{{TileMatrixSet}}/{{TileMatrix}}/{{TileRow}}/{{TileCol}}.{format}"
        ET.SubElement(layer, f"{_WMTS}ResourceURL", format=each, resourceType="tile", template=template)


def _matrix_set(contents: ET.Element, settings: Mapping[str, Any]) -> None:
    size = settings["tile_size"]
    matrices = ET.SubElement(contents, f"{_WMTS}TileMatrixSet")
    ET.SubElement(matrices, f"{_OWS}Identifier").text = MATRIX_SET
    ET.SubElement(matrices, f"{_OWS}SupportedCRS").text = "urn:ogc:def:crs:EPSG::3857"
    if size == 256:  # the registered set is that of 256 pixels
        ET.SubElement(matrices, f"{_WMTS}WellKnownScaleSet").text = "urn:ogc:def:wkss:OGC:1.0:GoogleMapsCompatible"
    for z in range(settings["minzoom"], settings["maxzoom"] + 1):
        matrix = ET.SubElement(matrices, f"{_WMTS}TileMatrix")
        ET.SubElement(matrix, f"{_OWS}Identifier").text = str(z)
        ET.SubElement(matrix, f"{_WMTS}ScaleDenominator").text = repr(scale_denominator(z, size))
        ET.SubElement(matrix, f"{_WMTS}TopLeftCorner").text = f"{-HALF!r} {HALF!r}"
        for name, value in (
            ("TileWidth", size),
            ("TileHeight", size),
            ("MatrixWidth", 1 << z),
            ("MatrixHeight", 1 << z),
        ):
            ET.SubElement(matrix, f"{_WMTS}{name}").text = str(value)


def _document(root: ET.Element) -> bytes:
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    """``text`` without the control characters XML cannot hold."""
    return "".join(c for c in text if c >= " " or c in "\t\n\r" if c not in "\ufffe\uffff")
