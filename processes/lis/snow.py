"""``lis_snow`` on cubes: snow, cloud and fractional snow cover per date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from processes import cube as cubes
from processes.env import Env
from processes.errors import parameter_invalid
from processes.lis.cubes import UNIFORM, Inputs, run_cube
from processes.lis.params import (
    MODES,
    NO_SWIR,
    Params,
    Sensor,
    guess_sensor,
    in_bit_order,
    roles_of,
    sensor_of,
    with_uniform_masks,
)
from processes.lis.terrain import archive_bands, find_dem, reproject_plane, warp_class, warp_dem
from processes.registry import process


@process()
def lis_snow(
    data: xr.DataArray,
    cloud_mask: xr.DataArray | None = None,
    dem: Any = None,
    tcd: xr.DataArray | None = None,
    water: xr.DataArray | None = None,
    relief_shadow: xr.DataArray | None = None,
    sun_angles: Any = None,
    sensor: str = "auto",
    params: Mapping[str, Any] | None = None,
    mode: str = "plus",
    *,
    env: Env | None = None,
) -> xr.DataArray:
    """Detect snow on every date of a cube (Gascoin et al. 2019, 2020).

    Parameters
    ----------
    data : cube with green, red and SWIR reflectance (0..1; integer cubes are digital numbers), for shaded snow and ice
        also blue and NIR, and a cloud raster (``CLM``, ``SCL`` ...) or the 0/1 masks ``CLOUD CLOUD_SHADOW CIRRUS``.
        Bands are found by the names of `processes.lis.params.SENSORS`. The grid must be in metres.
    cloud_mask : cube with the cloud raster or the 0/1 masks, where ``data`` has none
    dem : elevation in metres (cube), or the id of a collection; default: collection ``DEM`` of the archive
    tcd : tree cover density, percent, above 100 unavailable; default: collection ``TCD`` where there is one
    water : 1 where a pixel is to be left out
    relief_shadow : 1 in relief shade; default: computed from the DEM where the sun's direction is known
    sun_angles : ``[azimuth, elevation]`` of the sun in degrees; default: bands ``SAA`` and ``SZA`` of ``data``
    sensor : key of `SENSORS`, or ``auto``
    params : see `Params`
    mode : ``plus``, or ``lis`` for the results of let-it-snow 1.11 digit by digit
    env : archive to take the DEM from

    Returns
    -------
    Cube (t, bands, y, x), uint8, nodata 255, bands SEB NDSI FSCTOC FSCOG QCTOC QCOG EXPERT. The snow line is that of the
    cube's own extent; `snow_metadata` tells it, with percentages and histogram, and the extent used.

    Raises
    ------
    ProcessError
        ``ProcessParameterInvalid`` for bands, sensors, grids and parameters that do not fit; ``NoDataAvailable`` where
        there is no elevation.
    """
    if mode not in MODES:
        raise parameter_invalid("mode", f"'{mode}' is unknown; use one of {', '.join(MODES)}.")
    settings = Params.of(params)
    names = [str(n) for n in cubes.labels(data, cubes.bands_dim(data))]
    mask_names = _band_names(cloud_mask)
    family, assumed = _family(data, cloud_mask, [*names, *mask_names], sensor)
    grid = cubes.geobox_of(data)
    service = env or Env()
    elevation = _elevation(dem, data, grid, service, mode)
    trees = _static(tcd, grid, "tcd") if tcd is not None else _archived("TCD", grid, service, 255)
    wet = _static(water, grid, "water") if water is not None else _archived("WATER", grid, service, 0)
    shade = _static(relief_shadow, grid, "relief_shadow") if relief_shadow is not None else None
    statics = {"dem": elevation, "tcd": trees, "water": wet, "relief": shade, "order_assumed": assumed}
    dates = [
        (label, inputs, sun if settings.shaded_snow else None)
        for label, inputs, sun in _dates(data, cloud_mask, family, sun_angles, statics)
    ]
    if not dates:
        raise parameter_invalid("data", "the cube has no date.")
    if set(dates[0][1].cloud) <= set(UNIFORM):
        family = with_uniform_masks(family)
    return run_cube(dates, data, family, settings, mode)


def _dates(
    data: xr.DataArray, mask: xr.DataArray | None, sensor: Sensor, sun_angles: Any, statics: Mapping[str, Any]
) -> Iterator[tuple[Any, Inputs, Sequence[Any] | None]]:
    """Label, planes and sun of each date."""
    time = cubes.dim_of(data, cubes.TEMPORAL)
    for k, label in enumerate(cubes.labels(data, time) if time else [None]):
        planes = _planes(data.isel({time: k}) if time else data)
        bands = _roles(planes, sensor, _told(data, "wavelength"))
        geo = next((planes[n] for n in sensor.geo if n in planes), None)
        yield label, Inputs(bands, _clouds(planes, mask, label, sensor), geo, **statics), _sun(sun_angles, planes)


def _told(data: xr.DataArray | None, key: str) -> dict[str, Any]:
    """What ``band_info`` of a cube says of its bands."""
    info = {} if data is None else data.attrs.get("band_info", {})
    return {str(n): told[key] for n, told in info.items() if key in told}


def _family(data: xr.DataArray, mask: xr.DataArray | None, names: Sequence[str], sensor: str) -> tuple[Sensor, bool]:
    """The sensor asked for or recognised, with the bit order that the collection tells of its CLM raster.

    Second: whether it does not tell, so that Theia's order is assumed (and checked, `processes.lis.cubes.check_order`).
    """
    if sensor != "auto":
        return sensor_of(sensor), False
    family = guess_sensor(names, _told(data, "wavelength"))
    raster = next((n for n in family.cloud if n in names), None)
    if raster is None or not raster.startswith("CLM"):
        return family, False
    order = {**_told(data, "bit_order"), **_told(mask, "bit_order")}.get(raster)
    if order == "mixed":
        raise parameter_invalid(
            "sensor",
            f"the dates' {raster} rasters are in two bit orders (Theia's and the native MAJA writer's). Load the bands "
            "CLOUD, CLOUD_SHADOW and CIRRUS instead, or run lis_snow on the collection as it is loaded.",
        )
    return in_bit_order(family, order), order is None


def _band_names(data: xr.DataArray | None) -> list[str]:
    if data is None:
        return []
    name = cubes.dim_of(data, cubes.BANDS)
    if name is None:
        # a single unnamed plane: taken as whatever raster the sensor has
        return ["CLM"] if data.attrs.get("band") is None else [str(data.attrs["band"])]
    return [str(n) for n in cubes.labels(data, name)]


def _planes(data: xr.DataArray) -> dict[str, Any]:
    """Planes (y, x) of a cube without time, by band name."""
    band = cubes.bands_dim(data)
    y, x = cubes.spatial_dims(data)
    rest = [d for d in data.dims if d not in (band, y, x)]
    if rest:
        raise parameter_invalid(
            "data", f"the cube has dimensions that snow detection does not know: {', '.join(map(str, rest))}."
        )
    ordered = data.transpose(band, y, x).data
    return {str(n): ordered[k] for k, n in enumerate(cubes.labels(data, band))}


def _roles(planes: Mapping[str, Any], sensor: Sensor, wavelengths: Mapping[str, float]) -> dict[str, Any]:
    roles = roles_of(sensor, planes, wavelengths)
    if roles is None:
        wanted = ", ".join(f"{role} ({' or '.join(options)})" for role, options in sensor.bands.items())
        raise parameter_invalid("data", f"sensor {sensor.id} needs the bands {wanted}. {NO_SWIR}")
    out = {role: planes[name] for role, name in roles.items()}
    extra = {role: next((n for n in names if n in planes), None) for role, names in sensor.shaded.items()}
    if extra and all(extra.values()):
        out.update({role: planes[name] for role, name in extra.items() if name})
    return out


def _clouds(planes: Mapping[str, Any], mask: xr.DataArray | None, label: Any, sensor: Sensor) -> dict[str, Any]:
    """The cloud raster, else the uniform masks, of ``cloud_mask`` first and of ``data`` after it."""
    offered = [planes]
    if mask is not None:
        here = _at(mask, label)
        if cubes.dim_of(here, cubes.BANDS) is None:
            return {sensor.cloud[0]: _squeeze(here, "cloud_mask")}
        offered.insert(0, _planes(here))
    for source in offered:
        if raw := next((n for n in sensor.cloud if n in source), None):
            return {raw: source[raw]}
    for source in offered:
        if "CLOUD" in source:
            return {n: source[n] for n in UNIFORM if n in source}
    raise parameter_invalid(
        "cloud_mask", f"sensor {sensor.id} needs a cloud raster ({', '.join(sensor.cloud)}) or the band CLOUD."
    )


def _at(data: xr.DataArray, label: Any) -> xr.DataArray:
    """The date ``label`` of an auxiliary cube; its only date, or all of it, where it does not say."""
    time = cubes.dim_of(data, cubes.TEMPORAL)
    if time is None:
        return data
    labels = cubes.labels(data, time)
    if len(labels) == 1:
        return data.isel({time: 0})
    for k, other in enumerate(labels):
        if other == label:
            return data.isel({time: k})
    raise parameter_invalid(
        "cloud_mask", f"it has no date {label}; its dates are {', '.join(map(str, labels[:5]))} ..."
    )


def _squeeze(data: xr.DataArray, parameter: str) -> Any:
    y, x = cubes.spatial_dims(data)
    for name in [d for d in data.dims if d not in (y, x)]:
        if data.sizes[name] != 1:
            raise parameter_invalid(
                parameter, f"one plane is wanted, but dimension '{name}' has {data.sizes[name]} labels."
            )
        data = data.isel({name: 0})
    return data.transpose(y, x).data


def _static(aux: xr.DataArray, grid: GeoBox, parameter: str) -> Any:
    """A plane of an auxiliary cube on ``grid``; resampled as a whole where its own grid is another."""
    plane = _squeeze(aux, parameter)
    own = cubes.geobox_of(aux)
    if (
        own.shape == grid.shape
        and own.crs == grid.crs
        and own.affine.almost_equals(grid.affine, 1e-6 * abs(grid.affine.a))
    ):
        return plane
    if own.crs is None:
        raise parameter_invalid(parameter, "it has no coordinate reference system and is not on the grid of the data.")
    spline = parameter == "dem"
    if not isinstance(plane, da.Array):
        return reproject_plane(plane, own, grid, spline=spline)
    whole = plane.rechunk(-1).to_delayed().item()
    moved = dask.delayed(reproject_plane, pure=False)(whole, own, grid, spline=spline)
    return da.from_delayed(moved, grid.shape, np.float32)


def _elevation(dem: Any, data: xr.DataArray, grid: GeoBox, env: Env, mode: str = "plus") -> Any:
    """Elevation on a grid: the cube given, else from the archive. Voids: see `processes.lis.terrain`."""
    if isinstance(dem, xr.DataArray):
        return _static(dem, grid, "dem")
    if dem is not None and not isinstance(dem, str):
        raise parameter_invalid("dem", "it must be a cube of elevations or the id of a collection.")
    bands = find_dem(grid, env, dem or "DEM")
    if not isinstance(data.data, da.Array):
        return _warped(bands, grid, mode)
    return da.from_delayed(dask.delayed(_warped, pure=False)(bands, grid, mode), grid.shape, np.int16)


def _warped(bands: Sequence[Any], grid: GeoBox, mode: str) -> np.ndarray:
    return warp_dem(bands, grid, fill_voids=mode == "plus")[0]


def _archived(collection: str, grid: GeoBox, env: Env, fill: int) -> Any:
    bands = archive_bands(collection, collection, grid, env)
    if not bands:
        return None
    return da.from_delayed(dask.delayed(warp_class, pure=False)(bands, grid, fill), grid.shape, np.uint8)


def _sun(angles: Any, planes: Mapping[str, Any]) -> Sequence[Any] | None:
    """(azimuth, elevation) of a date: given, or from the angle bands (planes); None where unknown."""
    if isinstance(angles, xr.DataArray):
        own = _planes(_at(angles, None)) if cubes.dim_of(angles, cubes.BANDS) else {}
        if not {"SAA", "SZA"} <= set(own):
            raise parameter_invalid("sun_angles", "a cube of sun angles needs the bands SAA and SZA.")
        planes = own
    elif angles is not None:
        values: list[Any] = list(angles)
        if isinstance(angles, Mapping):
            values = [angles.get("azimuth"), angles.get("elevation")]
        if len(values) != 2 or not all(isinstance(v, (int, float)) for v in values) or not 0 < values[1] <= 90:
            raise parameter_invalid("sun_angles", "give [azimuth, elevation] in degrees, the elevation above 0.")
        return float(values[0]), float(values[1])
    if {"SAA", "SZA"} <= set(planes):
        return planes["SAA"], 90.0 - planes["SZA"]
    return None
