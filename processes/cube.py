"""The raster cube: an `xarray.DataArray` whose dimension types, nodata and CRS are explicit.

Conventions

- Dims are named ``t, bands, y, x`` when loaded and may be renamed by the user; their types live in
  ``attrs["dims"]``: ``{name: "temporal" | "bands" | "spatial:x" | "spatial:y" | "other"}``. `kind_of`, `dim_of` read them.
- The CRS is in the coordinate ``spatial_ref`` (rioxarray and odc-geo read it). y decreases, x increases (north-up);
  spatial coordinates are pixel centres.
- ``attrs["nodata"]`` is the fill value of an integer cube; float cubes use NaN and have none.
- ``attrs["derived_from"]`` lists item ids. ``attrs["band_info"]``: {band: {common_name, wavelength, ...}}.
- Temporal labels are ``datetime64[ns]`` (UTC) or, after ``rename_labels``/``aggregate_temporal*``, strings.
- Values are dask arrays (lazy) or numpy arrays; processes treat them alike and compute nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from processes.errors import ProcessError, dimension_missing

TEMPORAL, BANDS, X, Y, OTHER, GEOMETRY = "temporal", "bands", "spatial:x", "spatial:y", "other", "geometry"
_DEFAULT_KINDS = {
    "t": TEMPORAL,
    "time": TEMPORAL,
    "bands": BANDS,
    "band": BANDS,
    "x": X,
    "y": Y,
    "geometry": GEOMETRY,
    "geometries": GEOMETRY,
}

# Band names of the STAC electro-optical extension: they may stand for a band of another name
COMMON_NAMES = frozenset(
    [
        "pan",
        "coastal",
        "blue",
        "green",
        "green05",
        "yellow",
        "red",
        "rededge",
        "rededge071",
        "rededge075",
        "rededge078",
        "nir",
        "nir08",
        "nir09",
        "cirrus",
        "swir16",
        "swir22",
        "lwir",
        "lwir11",
        "lwir12",
    ]
)


def cube(
    values: Any,
    dims: Sequence[str],
    coords: Mapping[str, Any],
    *,
    kinds: Mapping[str, str] | None = None,
    crs: Any = None,
    nodata: float | None = None,
    derived_from: Iterable[str] = (),
    band_info: Mapping[str, Mapping[str, Any]] | None = None,
) -> xr.DataArray:
    """A cube from values and coordinates; the one constructor.

    ``kinds`` gives the dimension types; the conventional names ``t, bands, x, y`` need none.
    """
    types = {d: (kinds or {}).get(d) or _DEFAULT_KINDS.get(d, OTHER) for d in dims}
    attrs: dict[str, Any] = {"dims": types}
    if nodata is not None:
        attrs["nodata"] = nodata
    if ids := list(derived_from):
        attrs["derived_from"] = ids
    if band_info:
        attrs["band_info"] = {k: dict(v) for k, v in band_info.items()}
    held = {**coords, "spatial_ref": _spatial_ref(crs)} if crs is not None else dict(coords)
    return xr.DataArray(values, dims=list(dims), coords=held, attrs=attrs)


def kinds(data: xr.DataArray) -> dict[str, str]:
    """Dimension name -> type, for every dimension of the cube."""
    declared = data.attrs.get("dims", {})
    return {str(d): declared.get(d) or _DEFAULT_KINDS.get(str(d), OTHER) for d in data.dims}


def kind_of(data: xr.DataArray, dimension: str) -> str:
    """Type of ``dimension``. Raises ``DimensionNotAvailable``."""
    require(data, dimension)
    return kinds(data)[dimension]


def dims_of(data: xr.DataArray, kind: str) -> list[str]:
    """Names of the dimensions of a type, in the cube's order."""
    return [d for d, k in kinds(data).items() if k == kind]


def dim_of(data: xr.DataArray, kind: str) -> str | None:
    """Name of the single dimension of a type; None where there is none. Raises ``TooManyDimensions``."""
    names = dims_of(data, kind)
    if len(names) > 1:
        raise ProcessError(
            "TooManyDimensions", f"The cube has several {kind} dimensions ({', '.join(names)}); name one."
        )
    return names[0] if names else None


def temporal_dim(data: xr.DataArray, dimension: str | None = None) -> str:
    """The temporal dimension named, or the only one. Raises ``DimensionNotAvailable`` / ``TooManyDimensions``."""
    if dimension is not None:
        require(data, dimension)
        return dimension
    name = dim_of(data, TEMPORAL)
    if name is None:
        raise ProcessError("DimensionNotAvailable", "The cube has no temporal dimension.")
    return name


def bands_dim(data: xr.DataArray) -> str:
    """The band dimension. Raises ``DimensionMissing``."""
    name = dim_of(data, BANDS)
    if name is None:
        raise ProcessError("DimensionMissing", "The cube has no band dimension.")
    return name


def spatial_dims(data: xr.DataArray) -> tuple[str, str]:
    """Names of (y, x). Raises ``DimensionMissing`` where one is absent."""
    y, x = dim_of(data, Y), dim_of(data, X)
    if y is None or x is None:
        raise ProcessError("DimensionMissing", "The cube has no horizontal spatial dimensions x and y.")
    return y, x


def require(data: xr.DataArray, dimension: str) -> str:
    if dimension not in data.dims:
        raise dimension_missing(dimension, data.dims)
    return dimension


def labels(data: xr.DataArray, dimension: str) -> list[Any]:
    """Labels along ``dimension``: str, int, float or datetime64; 0..n-1 where the dimension has no coordinate."""
    require(data, dimension)
    if dimension in data.coords:
        values = data.coords[dimension].values
        return list(values) if values.dtype.kind == "M" else values.tolist()
    return list(range(data.sizes[dimension]))


def plain_labels(data: xr.DataArray, dimension: str) -> list[Any]:
    """Labels as openEO's JSON has them: instants are RFC 3339 text (UTC)."""

    def plain(value: Any) -> Any:
        if not isinstance(value, np.datetime64):
            return value
        whole = value.astype("datetime64[s]")
        return f"{whole if whole == value else value}Z"

    return [plain(v) for v in labels(data, dimension)]


def bands_named(data: xr.DataArray, common_name: str) -> list[str]:
    """Bands with a common name (``red``, ``nir`` ...), in the cube's order."""
    info = data.attrs.get("band_info", {})
    present = labels(data, bands_dim(data))
    return [b for b in present if info.get(b, {}).get("common_name") == common_name]


def crs_of(data: xr.DataArray) -> Any:
    """`odc.geo.crs.CRS` of the cube, or None."""
    ref = data.coords.get("spatial_ref")
    if ref is None:
        return None
    from odc.geo.crs import CRS

    if code := int(ref):
        return CRS(f"EPSG:{code}")
    text = ref.attrs.get("crs_wkt") or ref.attrs.get("spatial_ref")
    return CRS(text) if text else None


def with_crs(data: xr.DataArray, crs: Any) -> xr.DataArray:
    """The same cube, with ``crs`` (anything pyproj takes) as its coordinate ``spatial_ref``."""
    return data.assign_coords(spatial_ref=_spatial_ref(crs))


def _spatial_ref(crs: Any) -> xr.DataArray:
    from odc.geo.crs import norm_crs

    known = norm_crs(crs)
    wkt = known.to_wkt()
    return xr.DataArray(np.int32(known.epsg or 0), attrs={"crs_wkt": wkt, "spatial_ref": wkt})


def geobox_of(data: xr.DataArray) -> GeoBox:
    """The cube's grid. Raises ``DimensionMissing`` without x/y or CRS; one-pixel axes take the other axis' step."""
    from affine import Affine

    y, x = spatial_dims(data)
    crs = crs_of(data)
    if crs is None:
        raise ProcessError("DimensionMissing", "The cube has no coordinate reference system.")
    ys, xs = data.coords[y].values, data.coords[x].values
    hint = data.attrs.get("resolution")
    dx = (xs[-1] - xs[0]) / (len(xs) - 1) if len(xs) > 1 else None
    dy = (ys[-1] - ys[0]) / (len(ys) - 1) if len(ys) > 1 else None
    dx = dx if dx is not None else (abs(dy) if dy is not None else hint or 1.0)
    dy = dy if dy is not None else -abs(dx)
    return GeoBox((len(ys), len(xs)), Affine(dx, 0, xs[0] - dx / 2, 0, dy, ys[0] - dy / 2), crs)


def spatial_coords(geobox: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """Pixel-centre coordinates (ys, xs), float64, of a north-up grid."""
    a = geobox.affine
    return a.f + (np.arange(geobox.shape[0]) + 0.5) * a.e, a.c + (np.arange(geobox.shape[1]) + 0.5) * a.a


def north_up(data: xr.DataArray, y: str, x: str) -> xr.DataArray:
    """The same cube with y falling and x rising, as rasters are."""
    turn = {}
    for name, falling in ((y, True), (x, False)):
        values = labels(data, name)
        if len(values) > 1 and (values[-1] < values[0]) != falling:
            turn[name] = slice(None, None, -1)
    return like(data.isel(turn), data) if turn else data


def like(result: xr.DataArray, source: xr.DataArray, **attrs: Any) -> xr.DataArray:
    """Give ``result`` the metadata of ``source`` (types of the dimensions both have, CRS, origin), plus ``attrs``."""
    merged = {**source.attrs, **result.attrs, **attrs}
    merged["dims"] = {
        **kinds(source),
        **result.attrs.get("dims", {}),
        **attrs.get("dims", {}),
    }
    merged["dims"] = {str(d): merged["dims"].get(d) or _DEFAULT_KINDS.get(str(d), OTHER) for d in result.dims}
    if merged.get("nodata") is not None and result.dtype.kind == "f":
        merged.pop("nodata")
    out = result.copy(deep=False)
    out.attrs = merged
    if "spatial_ref" in source.coords and not (
        out.coords["spatial_ref"].attrs if "spatial_ref" in out.coords else None
    ):
        out = out.assign_coords(spatial_ref=source.coords["spatial_ref"])
    return out


def check_unique(values: Iterable[Hashable], what: str) -> None:
    """Raises ``ProcessParameterInvalid`` naming the first label that comes twice."""
    seen: set[Hashable] = set()
    for value in values:
        if value in seen:
            raise ProcessError("ProcessParameterInvalid", f"{what} '{value}' comes more than once.")
        seen.add(value)
