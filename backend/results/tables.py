"""GeoJSON, CSV and Parquet: vector cubes and tables.

A table has a row per geometry (and date), a column per band. GeoJSON has a feature per geometry, whose properties
are named by date and band.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from backend.results import describe
from backend.results.asset import Asset
from backend.results.format import PREFIX, Format, Target, unsuitable
from backend.results.plain import InMemory, plain
from processes import cube as cubes
from processes.vector.cube import GEOMETRIES_ONLY, PROPERTIES, column

if TYPE_CHECKING:
    import geopandas as gpd


class Table(InMemory):
    """A table in the making."""

    def __init__(self, data: Any, options: Mapping[str, Any], target: Target, name: str):
        import geopandas as gpd  # heavy: only for who saves tables

        super().__init__(data, target, name)
        self.format, self.options = name, options
        if isinstance(data, xr.DataArray):
            geometry = cubes.dim_of(data, cubes.GEOMETRY)
            if name == "GeoJSON" and geometry is None:
                raise unsuitable(name, "it has no geometries. Save it as CSV or JSON.")
        elif not isinstance(data, pd.DataFrame):
            raise unsuitable(name, "it is neither a cube nor a table. Save it as JSON.")
        elif name == "GeoJSON" and not isinstance(data, gpd.GeoDataFrame):
            raise unsuitable(name, "the table has no geometries. Save it as CSV or Parquet.")

    def finish(self) -> list[Asset]:
        data = self.whole() if isinstance(self.data, xr.DataArray) else self.data
        path = self.target.path({"GeoJSON": "geojson", "CSV": "csv", "Parquet": "parquet"}[self.format])
        if self.format == "GeoJSON":
            frame = wide(data) if isinstance(data, xr.DataArray) else data
            path.write_text(json.dumps(_features(frame), allow_nan=False, ensure_ascii=False), encoding="utf-8")
            media_type = "application/geo+json"
        else:
            frame = long(data) if isinstance(data, xr.DataArray) else data
            if self.format == "CSV":
                _texts(frame).to_csv(path, index=False, sep=self.options["separator"])
                media_type = "text/csv"
            else:
                frame.to_parquet(path, index=False, compression="zstd")
                media_type = "application/vnd.apache.parquet"
        return [self._asset(path, media_type, frame)]

    def _asset(self, path: Any, media_type: str, frame: pd.DataFrame) -> Asset:
        import geopandas as gpd

        geometry, bbox = _extent(frame)
        is_cube = isinstance(self.data, xr.DataArray)
        time = cubes.dim_of(self.data, cubes.TEMPORAL) if is_cube else None
        metadata: dict[str, Any] = {"table:row_count": len(frame)}
        metadata["table:columns"] = [{"name": str(c), "type": str(t)} for c, t in frame.dtypes.items()]
        if isinstance(frame, gpd.GeoDataFrame) and frame.crs is not None and frame.crs.to_epsg():
            metadata["proj:code"] = f"EPSG:{4326 if self.format == 'GeoJSON' else frame.crs.to_epsg()}"
        return Asset(
            path,
            media_type,
            self.format,
            metadata=metadata,
            properties=describe.time_properties(cubes.labels(self.data, time) if time else [])
            | describe.sources(self.data),
            geometry=geometry,
            bbox=bbox,
            cube=describe.dimensions(self.data) if is_cube else None,
        )


def long(data: xr.DataArray) -> pd.DataFrame:
    """A row per label of every dimension but the bands, a column per band (``value`` without bands).

    Geometries are in the column ``geometry`` (a GeoDataFrame then), numbered by ``feature_index``; coordinates along
    them are columns.
    """
    import geopandas as gpd

    geometry, band = cubes.dim_of(data, cubes.GEOMETRY), cubes.dim_of(data, cubes.BANDS)
    if band is None and geometry is not None and PROPERTIES in data.dims:
        band = PROPERTIES  # of load_geojson: each has its own type
    rows = [str(d) for d in data.dims if d != band]
    values = data.transpose(*rows, *([band] if band else [])).values
    sizes = [data.sizes[d] for d in rows]
    index = np.indices(sizes).reshape(len(rows), -1) if rows else np.zeros((0, 1), int)
    columns: dict[str, Any] = {}
    shapes = None
    for d, at in zip(rows, index):
        labels = cubes.labels(data, d)
        if d == geometry:
            columns["feature_index"] = at
            for name, coordinate in _along(data, d).items():
                columns[name] = coordinate[at]
            shapes = np.array(labels, dtype=object)[at]
        else:
            columns[d] = np.array([v if isinstance(v, (int, float)) else describe.text(v) for v in labels])[at]
    flat = values.reshape(index.shape[1], data.sizes[band] if band else 1)
    names = (
        []
        if data.attrs.get(GEOMETRIES_ONLY)
        else [describe.text(v) for v in cubes.labels(data, band)]
        if band
        else ["value"]
    )
    for n, name in enumerate(names):
        values = flat[:, n]
        columns[name if name not in columns else f"{name}_"] = column(values) if values.dtype == object else values
    if shapes is None:
        return pd.DataFrame(columns)
    assert geometry is not None
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=describe.geometry_crs(data, geometry))


def wide(data: xr.DataArray) -> gpd.GeoDataFrame:
    """A row per geometry; a column per combination of the other labels, joined by ``_`` (``value`` where none)."""
    import geopandas as gpd

    geometry = cubes.dim_of(data, cubes.GEOMETRY)
    assert geometry is not None
    others = [str(d) for d in data.dims if d != geometry]
    values = data.transpose(geometry, *others).values.reshape(data.sizes[geometry], -1)
    names = [""]
    for d in others:
        names = [f"{n}_{describe.text(v)}".lstrip("_") for n in names for v in cubes.labels(data, d)]
    columns = {} if data.attrs.get(GEOMETRIES_ONLY) else {n or "value": values[:, k] for k, n in enumerate(names)}
    shapes = np.array(cubes.labels(data, geometry), dtype=object)
    return gpd.GeoDataFrame(
        _along(data, geometry) | columns, geometry=shapes, crs=describe.geometry_crs(data, geometry)
    )


def _along(data: xr.DataArray, geometry: str) -> dict[str, np.ndarray]:
    """Coordinates that say something of the geometries: their properties."""
    return {str(n): c.values for n, c in data.coords.items() if n != geometry and c.dims == (geometry,)}


def _features(frame: gpd.GeoDataFrame) -> dict[str, Any]:
    """GeoJSON (RFC 7946: EPSG:4326, longitude first)."""
    placed = frame.to_crs(4326) if frame.crs is not None else frame
    name = placed.geometry.name
    properties = placed.drop(columns=name).to_dict(orient="records")
    features = [
        {
            "type": "Feature",
            "id": str(n),
            "geometry": plain(shape.__geo_interface__) if shape is not None and not shape.is_empty else None,
            "properties": {str(k): _cell(v) for k, v in row.items()},
        }
        for n, (shape, row) in enumerate(zip(placed.geometry, properties))
    ]
    return {"type": "FeatureCollection", "features": features}


def _cell(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return describe.text(value.to_datetime64())
    return None if value is pd.NaT or value is pd.NA else plain(value)


def _texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Geometries as WKT."""
    import geopandas as gpd

    if not isinstance(frame, gpd.GeoDataFrame):
        return frame
    return pd.DataFrame(frame).assign(**{frame.geometry.name: frame.geometry.to_wkt()})


def _extent(frame: pd.DataFrame) -> tuple[dict[str, Any] | None, tuple[float, float, float, float] | None]:
    """Bounding box of the geometries in EPSG:4326, as geometry and bbox."""
    import geopandas as gpd
    from shapely.geometry import box, mapping

    if not isinstance(frame, gpd.GeoDataFrame) or frame.crs is None or not len(frame):
        return None, None
    placed = frame.geometry.drop_duplicates().to_crs(4326)
    west, south, east, north = (float(v) for v in placed.total_bounds)
    if not np.isfinite([west, south, east, north]).all():
        return None, None
    return plain(mapping(box(west, south, east, north))), (west, south, east, north)


def _format(name: str, title: str, how: str, kinds: tuple[str, ...], more: Mapping[str, Any] | None = None) -> Format:
    return Format(
        name,
        title,
        how,
        kinds,
        lambda data, options, target: Table(data, options, target, name),
        PREFIX | dict(more or {}),
    )


FORMATS = [
    _format(
        "GeoJSON",
        "GeoJSON",
        "A feature per geometry in EPSG:4326; its properties are named by date and band.",
        ("vector",),
    ),
    _format(
        "CSV",
        "Comma-separated values",
        "A row per geometry and date (per label of every dimension but the bands), a column per band; geometries as WKT.",
        ("vector", "table", "raster"),
        {
            "separator": {
                "description": "Between columns.",
                "schema": {"type": "string", "default": ",", "maxLength": 1},
            }
        },
    ),
    _format(
        "Parquet",
        "(Geo)Parquet",
        "The columns of CSV; GeoParquet where there are geometries.",
        ("vector", "table", "raster"),
    ),
]
