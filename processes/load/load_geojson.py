"""`load_geojson`: a vector cube of GeoJSON in the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from processes import cube as cubes
from processes.errors import parameter_invalid
from processes.registry import process
from processes.vector.cube import (
    NAME,
    PROPERTIES,
    column,
    crs_of,
    from_geojson,
    geometries_of,
    properties_of,
    vector_cube,
)


@process()
def load_geojson(data: Mapping[str, Any], properties: Sequence[str] = ()) -> xr.DataArray:
    """A vector cube with a label per feature; the properties named become its values.

    Without ``properties`` the cube has geometries and no values. Several properties, or one with single values, make
    the dimension ``properties`` with their names; one property of arrays is laid out along it by index. All other
    properties stay as coordinates of the geometries. Missing values are nodata.
    Raises ``ProcessParameterInvalid`` for what is not GeoJSON, a GeometryCollection and properties no feature has.
    """
    if not isinstance(data, Mapping):
        raise parameter_invalid("data", "it is not a GeoJSON object")
    features = from_geojson(data, collection=False)
    return with_values(features, list(properties or ()))


def with_values(features: xr.DataArray, names: Sequence[str]) -> xr.DataArray:
    """The properties ``names`` of a vector cube without values as its values (see `load_geojson`)."""
    held = properties_of(features)
    if not names:
        return features
    cubes.check_unique(names, "Property")
    if unknown := [n for n in names if n not in held]:
        there = ", ".join(held) or "none"
        raise parameter_invalid("properties", f"no feature has the property '{unknown[0]}'; there are {there}")
    columns = [list(held[n]) for n in names]
    labels: list[Any] = list(names)
    if len(names) == 1 and any(isinstance(v, (list, tuple)) for v in columns[0]):
        rows = [v if isinstance(v, (list, tuple)) else [] if v is None else [v] for v in columns[0]]
        labels = list(range(max(map(len, rows))))
        columns = [[r[k] if k < len(r) else None for r in rows] for k in labels]
    if any(isinstance(v, (list, tuple, dict)) for c in columns for v in c):
        raise parameter_invalid("properties", "arrays and objects are possible only where one property is named")
    arrays = [column(c) for c in columns]
    numbers = all(a.dtype.kind in "iufb" or all(v is None for v in a) for a in arrays)
    values: Any = np.empty((len(features), len(arrays)), "f8" if numbers else object)
    for k, a in enumerate(arrays):
        values[:, k] = np.nan if numbers and a.dtype == object else a
    return vector_cube(
        geometries_of(features),
        crs_of(features),
        values,
        dims=(NAME, PROPERTIES),
        coords={PROPERTIES: labels},
        kinds={PROPERTIES: cubes.OTHER},
        properties={k: v for k, v in held.items() if k not in names},
    )
