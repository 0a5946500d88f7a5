"""The types of web services and how they may be configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.errors import OpenEOError
from backend.results.options import PARAMETERS, QUALITY
from backend.services.mercator import ZOOMS
from backend.services.messages import Encoding

PICTURE = tuple(PARAMETERS)  # settings that are options of the picture itself
RESAMPLINGS = ("near", "bilinear", "cubic")
_OVER = " Wins over the option of the same name of the graph's own save_result."
_ZOOM = {"type": "integer", "minimum": ZOOMS[0], "maximum": ZOOMS[-1]}
_SETTINGS: dict[str, dict[str, Any]] = {
    "tile_size": {
        "description": "Pixels along the side of a tile. 512 shows the same area of a tile in twice the resolution.",
        "schema": {"type": "integer", "enum": [256, 512], "default": 256},
    },
    "format": {
        "description": "Format of the tiles. PNG shows what has no data transparent, JPEG black.",
        "schema": {"type": "string", "enum": ["png", "jpeg"], "default": "png"},
    },
    "minzoom": {"description": "First zoom tiles are made for.", "schema": _ZOOM | {"default": 0}},
    "maxzoom": {
        "description": "Last zoom tiles are made for. Beyond the resolution of the data their pixels are enlarged.",
        "schema": _ZOOM | {"default": 20},
    },
    "resampling": {
        "description": "How pixels of the data become pixels of the map where the map shows all the data hold; 'near' "
        "keeps values (classes).",
        "schema": {"type": "string", "enum": list(RESAMPLINGS), "default": "near"},
    },
    **{n: {**p, "description": p["description"] + _OVER} for n, p in PARAMETERS.items()},
    **QUALITY,
}
_VERSION = {
    "version": {
        "description": "Version of the WMTS standard.",
        "schema": {"type": "string", "enum": ["1.0.0"], "default": "1.0.0"},
    }
}
_WHAT = (
    "The result of the process in web mercator (EPSG:3857), computed tile by tile when it is looked at: one band in grey "
    "or coloured, three as red, green and blue; values are stretched to 8 bits, with the same stretch for all tiles."
)
TYPES: dict[str, dict[str, Any]] = {
    "XYZ": {
        "title": "XYZ map tiles",
        "description": _WHAT + " `@2x` after the row gives tiles of 512 pixels, `.png` or `.jpg` another format.",
        "settings": _SETTINGS,
        "about": "https://wiki.openstreetmap.org/wiki/Slippy_map_tilenames",
    },
    "WMTS": {
        "title": "OGC Web Map Tile Service",
        "description": _WHAT + " Key-value and RESTful requests, tile matrix set WebMercatorQuad; a temporal dimension "
        "of the result is the dimension TIME.",
        "settings": _VERSION | _SETTINGS,
        "about": "https://www.ogc.org/standard/wmts/",
    },
}


def service_types() -> dict[str, Any]:
    """Body of ``GET /service_types``. Every setting has a ``subtype``: validators of the API's definition take a setting
    for several things at once otherwise."""
    return {
        name: {
            "title": type["title"],
            "description": type["description"],
            "configuration": {
                n: {"description": p["description"], "required": False, "subtype": n.replace("_", "-"), **p["schema"]}
                for n, p in type["settings"].items()
            },
            "process_parameters": [],
            "links": [{"rel": "about", "href": type["about"], "title": type["title"]}],
        }
        for name, type in TYPES.items()
    }


def type_named(name: Any) -> str:
    """The type called ``name`` in any case. Raises ``ServiceUnsupported``."""
    found = next((t for t in TYPES if isinstance(name, str) and t.lower() == name.lower()), None)
    if found is None:
        raise OpenEOError("ServiceUnsupported", f"There is no service type '{name}'; there are {', '.join(TYPES)}.")
    return found


def checked(type: str, given: Any) -> dict[str, Any]:
    """The settings a client gave, null meaning "not given".

    Raises ``ServiceConfigUnsupported`` (no such setting), ``ServiceConfigInvalid``.
    """
    from jsonschema import Draft7Validator

    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise OpenEOError("ServiceConfigInvalid", "'configuration' must be an object.")
    settings = TYPES[type]["settings"]
    known, out = {n.lower(): n for n in settings}, {}
    for key, value in given.items():
        if value is None:
            continue
        if (name := known.get(key.lower())) is None:
            raise OpenEOError(
                "ServiceConfigUnsupported", f"{type} services have no setting '{key}'; they have {', '.join(settings)}."
            )
        problem = next(Draft7Validator(settings[name]["schema"]).iter_errors(value), None)
        if problem is not None:
            raise OpenEOError("ServiceConfigInvalid", f"Setting '{key}': {problem.message}.")
        out[name] = value
    _consistent(complete(type, out))
    return out


def _consistent(settings: Mapping[str, Any]) -> None:
    from backend.results.paint import palette

    if settings["minzoom"] > settings["maxzoom"]:
        raise OpenEOError("ServiceConfigInvalid", "'minzoom' is greater than 'maxzoom'.")
    try:
        palette(settings.get("colormap"), "map tiles")
    except (OpenEOError, TypeError, ValueError) as error:
        told = error.message if isinstance(error, OpenEOError) else "a colour is '#rrggbb' or [r, g, b]"
        raise OpenEOError("ServiceConfigInvalid", f"Setting 'colormap': {told}") from None


def complete(type: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """``configuration`` with the defaults of what is not set."""
    settings = TYPES[type]["settings"]
    defaults = {n: p["schema"]["default"] for n, p in settings.items() if "default" in p["schema"]}
    return {**defaults, **configuration}


def picture_options(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are options of the picture."""
    return {n: v for n, v in configuration.items() if n in PICTURE}


def encoding(settings: Mapping[str, Any], suffix: str | None = None) -> Encoding:
    """How tiles are encoded; ``suffix`` (png, jpg, jpeg) of a request wins over the setting."""
    format = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg"}[suffix] if suffix else settings["format"]
    return Encoding(format, settings["quality"])
