"""Pytest plugin for the official suite; runs in the suite's environment, imports nothing of this project.

The suite validates STAC documents with stac-validator, which fetches the schemas of the STAC specification from the
network. pystac, which the suite depends on, carries the same schemas of the version that we serve; they are handed to
stac-validator here. A schema that pystac does not carry is fetched as ever.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jsonschema
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource
from stac_validator import validate

SCHEMAS = get_local_schema_cache()
REGISTRY: Any = Registry().with_resources([(uri, Resource.from_contents(schema)) for uri, schema in SCHEMAS.items()])
_fetch = validate.fetch_and_parse_schema


def _schema(uri: str) -> Any:
    return SCHEMAS[uri] if uri in SCHEMAS else _fetch(uri)


def _validate(instance: Any, schema: Any) -> None:
    if schema.get("$id", "").rstrip("#") in SCHEMAS:
        jsonschema.validate(instance, schema, registry=REGISTRY)
    else:
        jsonschema.validate(instance, schema)


def pytest_configure() -> None:
    validate.fetch_and_parse_schema = _schema
    validate.jsonschema = SimpleNamespace(validate=_validate, exceptions=jsonschema.exceptions)
