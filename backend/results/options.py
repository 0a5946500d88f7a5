"""Options of pictures, which map tiles have too: what they mean and may be. Plain data, cheap to import."""

from __future__ import annotations

from typing import Any

_NUMBER_OR_LIST = {
    "anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 4}]
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "bands": {
        "description": "Bands to show, in the order red, green, blue (, alpha), or one. By default the first three of "
        "more than four.",
        "schema": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 4},
    },
    "min": {"description": "Value that becomes black, one for all bands or one each.", "schema": _NUMBER_OR_LIST},
    "max": {"description": "Value that becomes white, one for all bands or one each.", "schema": _NUMBER_OR_LIST},
    "stretch": {
        "description": "Percentiles that become black and white where min and max are not given; [2, 98] if absent.",
        "schema": {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 100},
            "minItems": 2,
            "maxItems": 2,
        },
    },
    "colormap": {
        "description": "Colours of a single band: a list of at least two along the stretch, or an object from value to "
        "colour; values without a colour are transparent. A colour is '#rrggbb' or [r, g, b].",
        "schema": {
            "anyOf": [
                {"type": "array", "minItems": 2, "items": {"type": ["string", "array"]}},
                {"type": "object", "propertyNames": {"pattern": "^-?[0-9]+$"}, "minProperties": 1},
            ]
        },
    },
}
QUALITY = {
    "quality": {
        "description": "JPEG quality.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 85},
    }
}
