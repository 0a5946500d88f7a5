"""File formats that can be loaded: which there are, and opening local files of them as a cube."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from processes import cube as cubes
from processes.demand import Demand
from processes.env import Env
from processes.errors import ProcessError
from processes.load.load_collection import cube_of_items
from processes.load.load_geojson import with_values
from processes.load.rasters import items_of_file
from processes.vector.cube import (
    as_vector,
    crs_of,
    from_frame,
    from_geojson,
    geometries_of,
    properties_of,
    reprojected,
    vector_cube,
)

_PROPERTIES = {
    "properties": {
        "description": "Properties that become values of the cube, as of `load_geojson`; the others stay with the geometries.",
        "schema": {"type": "array", "items": {"type": "string"}, "default": []},
    }
}
_LAYER = {
    "layer": {"description": "Name of the layer; by default the first one.", "schema": {"type": "string"}},
}

# name -> (title, kinds, options); "raster" formats become raster cubes
FORMATS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "GTiff": ("GeoTIFF, cloud-optimised or not; its bands, and its date where it has one", "raster", {}),
    "netCDF": ("netCDF with variables over (t, y, x) or (y, x), after CF", "raster", {}),
    "GeoJSON": ("GeoJSON", "vector", _PROPERTIES),
    "Parquet": ("GeoParquet", "vector", _PROPERTIES),
    "GPKG": ("GeoPackage", "vector", _PROPERTIES | _LAYER),
}
SUFFIXES = {"GTiff": ".tif", "netCDF": ".nc", "GeoJSON": ".geojson", "Parquet": ".parquet", "GPKG": ".gpkg"}
_ALIASES = {"cog": "GTiff", "geotiff": "GTiff", "geoparquet": "Parquet", "geopackage": "GPKG", "nc": "netCDF"}
GEOJSON_BYTES = 1 << 30


def input_formats() -> dict[str, Any]:
    """``input`` of ``GET /file_formats``."""
    return {
        name: {
            "title": title,
            "gis_data_types": [kind],
            "parameters": {
                # the keywords of the schema stand beside the description (resource parameters of the openEO API)
                k: {"description": p["description"], "required": False, "subtype": k, **p["schema"]}
                for k, p in options.items()
            },
        }
        for name, (title, kind, options) in FORMATS.items()
    }


def format_named(name: str) -> str:
    """The format called ``name`` in any case. Raises ``FormatUnsuitable`` listing what there is."""
    for known in FORMATS:
        if known.lower() == str(name).lower():
            return known
    if (alias := _ALIASES.get(str(name).lower())) is not None:
        return alias
    raise ProcessError(
        "FormatUnsuitable", f"Files of the format '{name}' cannot be loaded; {', '.join(FORMATS)} are possible."
    )


def open_files(
    files: Sequence[tuple[str, Path]], format: str, options: Mapping[str, Any] | None, env: Env
) -> xr.DataArray:
    """One cube of local files, given as ``(name for messages, path)``.

    Rasters: a date per file that has one, their bands together. Vectors: their geometries one after the other, in the
    CRS of the first. Raises ``FormatUnsuitable``.
    """
    known = format_named(format)
    _, kind, possible = FORMATS[known]
    given = {k: v for k, v in (options or {}).items() if v is not None}
    if unknown := sorted(set(given) - set(possible)):
        raise ProcessError(
            "FormatUnsuitable", f"Format {known} has no option '{unknown[0]}'; it has {', '.join(possible) or 'none'}."
        )
    if not files:
        raise ProcessError("FormatUnsuitable", "There is no file to load.")
    if kind == "raster":
        return _rasters(files, known, env)
    return _vectors([(n, _vector(n, p, known, given)) for n, p in files], given)


def _rasters(files: Sequence[tuple[str, Path]], format: str, env: Env) -> xr.DataArray:
    items = []
    for number, (name, path) in enumerate(files):
        try:
            items += items_of_file(path, f"{Path(name).stem}-{number}" if len(files) > 1 else Path(name).stem)
        except ProcessError as error:
            raise _unsuitable(name, format, error.message) from error
    static = all(i.datetime is None for i in items)
    return cube_of_items(items, Demand(), env, static=static)


def _vector(name: str, path: Path, format: str, options: Mapping[str, Any]) -> xr.DataArray:
    import json

    import geopandas as gpd

    try:
        if format == "GeoJSON":
            if path.stat().st_size > GEOJSON_BYTES:
                raise _unsuitable(name, format, "it is larger than 1 GiB; save it as GeoParquet or GeoPackage")
            return from_geojson(json.loads(path.read_text(encoding="utf-8")))
        if format == "Parquet":
            return from_frame(gpd.read_parquet(path))
        with path.open("rb") as stream:
            if not stream.read(16).startswith(b"SQLite format 3"):
                raise _unsuitable(name, format, "it is no GeoPackage")
        return from_frame(gpd.read_file(f"GPKG:{path}", layer=options.get("layer"), engine="pyogrio"))
    except ProcessError as error:
        raise _unsuitable(name, format, error.message) from error
    except Exception as error:  # each of these libraries has its own errors for what is not of its format
        raise _unsuitable(name, format, str(error)) from error


def _unsuitable(name: str, format: str, why: str) -> ProcessError:
    return ProcessError("FormatUnsuitable", f"'{name}' cannot be loaded as {format}: {why}")


def _vectors(parts: Sequence[tuple[str, xr.DataArray]], options: Mapping[str, Any]) -> xr.DataArray:
    import numpy as np

    cubes_ = [as_vector(p) for _, p in parts]
    whole = cubes_[0]
    if len(cubes_) > 1:
        crs = crs_of(cubes_[0])
        geometries = np.concatenate([reprojected(geometries_of(c), crs_of(c), crs) for c in cubes_])
        columns = [properties_of(c) for c in cubes_]
        names = list(dict.fromkeys(n for c in columns for n in c))
        properties = {
            n: [v for c, held in zip(cubes_, columns) for v in (held[n] if n in held else [None] * c.sizes["geometry"])]
            for n in names
        }
        whole = vector_cube(geometries, crs, properties=properties)
    values = with_values(whole, list(options.get("properties") or ()))
    return cubes.like(values, whole) if values is not whole else whole
